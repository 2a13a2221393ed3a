// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Keys that sign cookies, and what they sign: that somebody signed in, and
//! that a browser was signed in from. A cookie says who and when, and no more:
//! what that person may do is looked up on each request.
//!
//! Keys lie on the data folder, so that a restart or a new image signs nobody
//! out; a new one is made each week, and old ones are kept as long as anything
//! that they signed.

use std::io;
use std::path::{Path, PathBuf};

use ring::digest;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::Write;

/// Seconds after which a new key signs.
const TURN: u64 = 7 * 86_400;

/// Seconds that a browser is remembered, and what it is remembered by.
pub(super) const DEVICE_SECONDS: u64 = 90 * 86_400;

/// Seconds that a key is kept.
const KEPT: u64 = DEVICE_SECONDS + 2 * TURN;

/// Longest cookie that is looked at, bytes.
const COOKIE_MOST: usize = 512;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// The step, as a verb.
        doing: &'static str,
        /// The keys' file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{} is damaged; remove it to have new keys made, everybody signs in \
         again then", path.display()
    )]
    Damaged {
        /// The keys' file.
        path: PathBuf,
    },
    /// The system gave no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// A key as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    id: String,
    /// Seconds since the epoch.
    made: u64,
    secret: String,
}

struct Key {
    kept: Kept,
    hmac: hmac::Key,
}

/// The keys, newest first.
pub(super) struct Keys {
    path: PathBuf,
    write: Write,
    keys: Vec<Key>,
}

impl Keys {
    /// Reads the keys, or makes the first.
    pub(super) fn load(
        path: &Path,
        write: Write,
        now: u64,
    ) -> Result<Self, KeyError> {
        let damaged = || KeyError::Damaged { path: path.to_owned() };
        let kept: Vec<Kept> = match std::fs::read(path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|_| damaged())?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => {
                let doing = "read";
                let path = path.to_owned();
                return Err(KeyError::Io { doing, path, source });
            }
        };
        let mut keys = Vec::new();
        for kept in kept {
            let bytes = unhex(&kept.secret).ok_or_else(damaged)?;
            let is_key = bytes.len() == 32 && is_plain(&kept.id);
            if !is_key {
                return Err(damaged());
            }
            let hmac = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
            keys.push(Key { kept, hmac });
        }
        let mut keys = Self { path: path.to_owned(), write, keys };
        keys.turn(now)?;
        Ok(keys)
    }

    /// Makes a new key when it is time, and drops those that are done.
    pub(super) fn turn(&mut self, now: u64) -> Result<(), KeyError> {
        // A clock that was set back makes none.
        let young = |key: &Key| now < key.kept.made.saturating_add(TURN);
        if self.keys.first().is_some_and(young) {
            return Ok(());
        }
        let secret = random::<32>()?;
        let kept =
            Kept { id: hex(&random::<8>()?), made: now, secret: hex(&secret) };
        let hmac = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let keep = |key: &Key| now < key.kept.made.saturating_add(KEPT);
        let old = self.keys.iter().filter(|key| keep(key));
        let all: Vec<&Kept> =
            std::iter::once(&kept).chain(old.map(|key| &key.kept)).collect();
        let text = serde_json::to_vec(&all).expect("texts and numbers");
        (self.write)(&self.path, &text).map_err(|source| KeyError::Io {
            doing: "write",
            path: self.path.clone(),
            source,
        })?;
        self.keys.retain(keep);
        self.keys.insert(0, Key { kept, hmac });
        Ok(())
    }

    /// `PURPOSE.KEY.FIELD....MAC`; fields hold no dot.
    fn seal(&self, purpose: &str, fields: &[&str]) -> String {
        let key = &self.keys[0];
        let mut text = format!("{purpose}.{}", key.kept.id);
        for field in fields {
            debug_assert!(!field.contains('.'));
            text.push('.');
            text.push_str(field);
        }
        let mac = hmac::sign(&key.hmac, text.as_bytes());
        format!("{text}.{}", hex(mac.as_ref()))
    }

    /// The fields of what one of the keys sealed for `purpose`.
    fn open<'a, const N: usize>(
        &self,
        purpose: &str,
        sealed: &'a str,
    ) -> Option<[&'a str; N]> {
        if sealed.len() > COOKIE_MOST {
            return None;
        }
        let (text, mac) = sealed.rsplit_once('.')?;
        let mut parts = text.split('.');
        if parts.next()? != purpose {
            return None;
        }
        let id = parts.next()?;
        let key = self.keys.iter().find(|key| key.kept.id == id)?;
        hmac::verify(&key.hmac, text.as_bytes(), &unhex(mac)?).ok()?;
        let fields: Vec<&str> = parts.collect();
        fields.try_into().ok()
    }
}

/// That somebody signed in. Times are seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// Account.
    pub(super) uuid: String,
    /// Names the session where it is ended.
    pub(super) id: String,
    /// When it began.
    pub(super) started: u64,
    /// When it was last used, to within a few minutes.
    pub(super) seen: u64,
    /// The account's `pwdchangedtime` then: a new password ends it.
    pub(super) password_changed: u64,
}

impl Session {
    /// A new one, beginning `now`.
    pub(super) fn new(
        uuid: &str,
        password_changed: u64,
        now: u64,
    ) -> Result<Self, KeyError> {
        let id = hex(&random::<16>()?);
        let uuid = uuid.to_owned();
        Ok(Self { uuid, id, started: now, seen: now, password_changed })
    }

    pub(super) fn seal(&self, keys: &Keys) -> String {
        let [started, seen, changed] =
            [self.started, self.seen, self.password_changed]
                .map(|number| number.to_string());
        let fields = [&self.uuid, &self.id, &started, &seen, &changed];
        keys.seal("s1", &fields.map(String::as_str))
    }

    /// One that a key of ours signed; it may have ended.
    pub(super) fn open(sealed: &str, keys: &Keys) -> Option<Self> {
        let [uuid, id, started, seen, changed] = keys.open("s1", sealed)?;
        Some(Self {
            uuid: uuid.to_owned(),
            id: id.to_owned(),
            started: started.parse().ok()?,
            seen: seen.parse().ok()?,
            password_changed: changed.parse().ok()?,
        })
    }
}

/// What a browser keeps after `login` signed in from it. It is that login's
/// alone: who has one of his own is a stranger to all others.
pub(super) fn seal_device(
    login: &str,
    keys: &Keys,
    now: u64,
) -> Result<String, KeyError> {
    let id = hex(&random::<16>()?);
    Ok(keys.seal("d1", &[&login_tag(login), &id, &now.to_string()]))
}

/// Which browser of `login` it is, if it is one.
pub(super) fn open_device(
    sealed: &str,
    login: &str,
    keys: &Keys,
    now: u64,
) -> Option<String> {
    let [tag, id, made] = keys.open("d1", sealed)?;
    let made: u64 = made.parse().ok()?;
    let lives = now < made.checked_add(DEVICE_SECONDS)?;
    (lives && tag == login_tag(login)).then(|| id.to_owned())
}

/// A cookie holds no login: it may be read by whoever uses the browser next.
fn login_tag(login: &str) -> String {
    hex(&digest::digest(&digest::SHA256, login.as_bytes()).as_ref()[..16])
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 32
        && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| KeyError::Random)?;
    Ok(bytes)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let is_hex = text.len().is_multiple_of(2)
        && text.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_hex {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
        std::fs::write(path, bytes)
    }

    fn keys(dir: &tempfile::TempDir, now: u64) -> Keys {
        Keys::load(&dir.path().join("keys"), write, now).unwrap()
    }

    #[test]
    fn a_session_comes_back_after_a_restart_and_a_turn_of_keys() {
        let dir = tempfile::tempdir().unwrap();
        let first = keys(&dir, 1_000);
        let session = Session::new("u-1", 77, 1_000).unwrap();
        let sealed = session.seal(&first);
        let later = keys(&dir, 1_000 + TURN);
        assert_eq!(later.keys.len(), 2);
        assert_eq!(Session::open(&sealed, &later), Some(session.clone()));
        assert_ne!(session.seal(&later), sealed, "the new key signs");
        let much_later = keys(&dir, 1_000 + KEPT);
        assert_eq!(much_later.keys.len(), 2, "the first one is gone");
        assert_eq!(Session::open(&sealed, &much_later), None);
        // A clock set back is no reason for a new key, nor for none.
        assert_eq!(keys(&dir, 5).keys.len(), 2);
    }

    #[test]
    fn a_cookie_of_one_kind_is_none_of_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let keys = keys(&dir, 1_000);
        let device = seal_device("boss", &keys, 1_000).unwrap();
        let open = |login, now| open_device(&device, login, &keys, now);
        assert!(open("boss", 1_001).is_some());
        assert_eq!(open("other", 1_001), None, "a stranger to others");
        assert_eq!(open("boss", 1_000 + DEVICE_SECONDS), None);
        assert_eq!(Session::open(&device, &keys), None);
        let session = Session::new("u-1", 0, 1_000).unwrap().seal(&keys);
        assert_eq!(open_device(&session, "boss", &keys, 1_001), None);
    }

    #[test]
    fn a_damaged_file_is_said_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        for bad in ["", "{}", "[{\"id\":\"a\",\"made\":1,\"secret\":\"00\"}]"] {
            std::fs::write(&path, bad).unwrap();
            let error = Keys::load(&path, write, 5).err().unwrap();
            assert!(error.to_string().contains("is damaged"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), bad);
        }
    }

    proptest! {
        #[test]
        fn no_changed_cookie_opens(at in 0_usize..200, byte in 33_u8..127) {
            let dir = tempfile::tempdir().unwrap();
            let keys = keys(&dir, 1_000);
            let sealed = Session::new("u-1", 77, 1_000).unwrap().seal(&keys);
            let mut bytes = sealed.clone().into_bytes();
            let at = at % bytes.len();
            // Hex digits of the MAC may be written either way.
            prop_assume!(!bytes[at].eq_ignore_ascii_case(&byte));
            bytes[at] = byte;
            let changed = String::from_utf8(bytes).unwrap();
            prop_assert_eq!(Session::open(&changed, &keys), None);
        }

        #[test]
        fn no_text_crashes(text in "\\PC{0,80}|s1(\\.[0-9a-f]{0,8}){0,9}") {
            let dir = tempfile::tempdir().unwrap();
            let keys = keys(&dir, 1_000);
            prop_assert_eq!(Session::open(&text, &keys), None);
            prop_assert_eq!(open_device(&text, "boss", &keys, 1_000), None);
        }
    }
}
