// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Networks that logins signed in from: what programs, which keep no cookies,
//! are known by. They are remembered as long as a browser is, over a restart
//! too: else whoever guesses at a login keeps its programs out from then on.
//!
//! The file holds a key of its own and digests under it, in lines of text:
//! `key HEX`, then `UNTIL HEX`, seconds since the epoch. Without the key
//! nobody can tell of which login and network a digest is, though neither is a
//! secret.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ring::hmac;
use tracing::warn;

use super::Write;
use super::attempts::network;
use super::keys::{DEVICE_SECONDS, KeyError, hex, random, unhex};

/// Most that are remembered; those that end soonest give way.
const ROOM: usize = 2_000;

/// Largest file that is read, bytes: twice what we write.
const MOST: u64 = 2 * 80 * ROOM as u64;

/// Seconds after which the file says anew how long one is remembered.
const AGAIN: u64 = 86_400;

type Digest = [u8; 32];

/// The places, by digest, each with the second after which it is moot.
pub(super) struct Places {
    path: PathBuf,
    write: Write,
    secret: Digest,
    key: hmac::Key,
    until: HashMap<Digest, u64>,
}

impl Places {
    /// Those of the last run. A file that cannot be read is as good as none:
    /// all programs are strangers then, and remembered anew.
    pub(super) fn load(
        path: &Path,
        write: Write,
        now: u64,
    ) -> Result<Self, KeyError> {
        let (secret, mut until) = match read(path) {
            Ok(Some(kept)) => kept,
            Ok(None) => (random::<32>()?, HashMap::new()),
            Err(error) => {
                warn!(
                    err.message = %error, path = %path.display(),
                    "where logins signed in from is forgotten"
                );
                (random::<32>()?, HashMap::new())
            }
        };
        until.retain(|_, until| *until > now);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        Ok(Self { path: path.to_owned(), write, secret, key, until })
    }

    /// Whether `login` signed in from the network of `address`.
    pub(super) fn has(&self, login: &str, address: IpAddr, now: u64) -> bool {
        let until = self.until.get(&self.digest(login, address));
        until.is_some_and(|until| *until > now)
    }

    /// `login` signed in from there.
    ///
    /// Errors: it is remembered, but not over a restart.
    pub(super) fn remember(
        &mut self,
        login: &str,
        address: IpAddr,
        now: u64,
    ) -> io::Result<()> {
        let place = self.digest(login, address);
        let until = now + DEVICE_SECONDS;
        if self.until.get(&place).is_some_and(|known| known + AGAIN > until) {
            return Ok(());
        }
        self.until.retain(|_, until| *until > now);
        if self.until.len() >= ROOM && !self.until.contains_key(&place) {
            let soonest = self.until.iter().min_by_key(|(_, until)| **until);
            if let Some(place) = soonest.map(|(place, _)| *place) {
                self.until.remove(&place);
            }
        }
        self.until.insert(place, until);
        let lines = self.until.iter();
        let lines = lines.map(|(at, until)| format!("{until} {}\n", hex(at)));
        let key = format!("key {}\n", hex(&self.secret));
        let text: String = std::iter::once(key).chain(lines).collect();
        (self.write)(&self.path, text.as_bytes())
    }

    /// The length goes in, so that no two pairs are told as one.
    fn digest(&self, login: &str, address: IpAddr) -> Digest {
        let network = network(address);
        let text = format!("{} {login} {network}", login.len());
        let mut digest = [0; 32];
        let signed = hmac::sign(&self.key, text.as_bytes());
        digest.copy_from_slice(signed.as_ref());
        digest
    }
}

type Kept = (Digest, HashMap<Digest, u64>);

/// `None` where there is no file.
fn read(path: &Path) -> io::Result<Option<Kept>> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text)?;
    let damaged = || io::Error::other("the file is damaged");
    parse(&text).map(Some).ok_or_else(damaged)
}

fn parse(text: &str) -> Option<Kept> {
    let digest = |hex: &str| unhex(hex)?.try_into().ok();
    let mut lines = text.lines();
    let secret = digest(lines.next()?.strip_prefix("key ")?)?;
    let places = lines.take(ROOM).map(|line| {
        let (until, place) = line.split_once(' ')?;
        Some((digest(place)?, until.parse().ok()?))
    });
    Some((secret, places.collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(path: &Path, now: u64) -> Places {
        Places::load(path, |p, b| std::fs::write(p, b), now).unwrap()
    }

    #[test]
    fn a_place_outlives_a_restart_and_has_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("places");
        let home: IpAddr = "2001:db8::1".parse().unwrap();
        let near = "2001:db8::2".parse().unwrap();
        let away = "2001:db8:1::1".parse().unwrap();
        load(&path, 10).remember("boss", home, 10).unwrap();
        let mut places = load(&path, 11);
        assert!(places.has("boss", home, 11) && places.has("boss", near, 11));
        assert!(!places.has("boss", away, 11));
        assert!(!places.has("other", home, 11));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("boss") && !text.contains("2001"), "{text}");
        // Not written at each sign-in, but before it matters.
        std::fs::remove_file(&path).unwrap();
        places.remember("boss", home, 20).unwrap();
        assert!(!path.exists());
        places.remember("boss", home, 10 + AGAIN).unwrap();
        let end = 10 + AGAIN + DEVICE_SECONDS;
        assert!(load(&path, end - 1).has("boss", home, end - 1));
        assert!(!load(&path, end).has("boss", home, end));
        assert!(!places.has("boss", home, end));
    }

    #[test]
    fn there_is_no_more_than_there_is_room_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("places");
        let mut places = load(&path, 10);
        let home = "192.0.2.1".parse().unwrap();
        for number in 0..ROOM as u64 {
            let login = format!("n{number}");
            let place = places.digest(&login, home);
            places.until.insert(place, 20 + number);
        }
        places.remember("y", home, 10).unwrap();
        assert_eq!(places.until.len(), ROOM);
        assert!(!places.has("n0", home, 10) && places.has("n1", home, 10));
        let read = load(&path, 10);
        assert_eq!(read.until, places.until, "all of it is read");
        assert!(read.has("y", home, 10));
        assert!(std::fs::metadata(&path).unwrap().len() < MOST);
    }

    #[test]
    fn a_damaged_file_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("places");
        let home = "192.0.2.1".parse().unwrap();
        let key = "0".repeat(64);
        for bad in [
            String::new(),
            "key 00\n".to_owned(),
            format!("{key}\n"),
            format!("key {key}\n5\n"),
            format!("key {key}\nx {key}\n"),
            format!("key {key}\n5 00\n"),
            "\u{fffd}".repeat(1_000),
        ] {
            std::fs::write(&path, &bad).unwrap();
            let mut places = load(&path, 10);
            assert!(!places.has("boss", home, 10), "{bad:?}");
            places.remember("boss", home, 10).unwrap();
            assert!(load(&path, 10).has("boss", home, 10), "{bad:?}");
        }
        std::fs::write(&path, b"\xff\xfe").unwrap();
        assert!(!load(&path, 10).has("boss", home, 10));
    }
}
