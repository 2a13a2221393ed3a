// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The certificates that were seen first, one an address, as each UFDS made
//! its own: `ADDRESS DIGEST` in lines, addresses as they are configured. A
//! digest alone is that of the first address.
//!
//! An operator who made UFDS anew takes its line away, or the file. What
//! cannot be read, or is no such line, opens the door to nobody.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use rustls::Error;
use tracing::{info, warn};

use super::Write;
use super::trust::is_pin;

/// What was seen first.
#[derive(Debug)]
pub(super) struct FirstUse {
    path: PathBuf,
    write: Write,
    /// What a digest without an address is of.
    leading: String,
    /// In force, as the file says.
    kept: BTreeMap<String, String>,
    /// In force too, and could not be written: no operator removed these.
    unwritten: BTreeMap<String, String>,
    /// Whether there are lines that mean nothing: no further one is taken.
    damaged: bool,
    /// Shown, and not kept before UFDS took our password as its own.
    shown: BTreeMap<String, String>,
}

impl FirstUse {
    /// Of none yet.
    pub(super) fn new(path: &Path, addresses: &[String], write: Write) -> Self {
        Self {
            path: path.to_owned(),
            write,
            leading: addresses.first().cloned().unwrap_or_default(),
            kept: BTreeMap::new(),
            unwritten: BTreeMap::new(),
            damaged: false,
            shown: BTreeMap::new(),
        }
    }

    /// What the file says now; none when there is no file.
    pub(super) fn load(&mut self) -> io::Result<()> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        self.kept.clear();
        self.damaged = text.as_ref().is_some_and(|it| it.trim().is_empty());
        for line in text.iter().flat_map(|text| text.lines()) {
            let words: Vec<_> = line.split_whitespace().collect();
            let (address, digest) = match words[..] {
                [] => continue,
                [digest] => (self.leading.as_str(), digest),
                [address, digest] => (address, digest),
                _ => ("", ""),
            };
            let digest = digest.to_ascii_lowercase();
            match is_pin(&digest) {
                true => drop(self.kept.insert(address.to_owned(), digest)),
                false => self.damaged = true,
            }
        }
        Ok(())
    }

    /// Whether any that is shown at `address` is taken for good.
    pub(super) fn is_open(&mut self, address: &str) -> bool {
        self.look();
        !self.damaged && self.known(address).is_none()
    }

    /// Errors: another one was shown there first.
    pub(super) fn judge(
        &mut self,
        address: &str,
        digest: String,
    ) -> Result<(), Error> {
        self.look();
        match self.known(address) {
            Some(kept) if *kept == digest => Ok(()),
            Some(kept) => Err(Error::General(format!(
                "UFDS shows certificate {digest}, and {kept} is the one it \
                 showed first; if UFDS was made anew, remove the line of \
                 {address} from {}",
                self.path.display()
            ))),
            None if self.damaged => Err(Error::General(format!(
                "UFDS shows certificate {digest} at {address}, and {} is \
                 damaged; remove it to have the next ones taken",
                self.path.display()
            ))),
            None => {
                self.shown.insert(address.to_owned(), digest);
                Ok(())
            }
        }
    }

    /// What was shown at `address` is in force from now on.
    pub(super) fn keep(&mut self, address: &str) {
        let Some(shown) = self.shown.remove(address) else { return };
        if !self.is_open(address) {
            return;
        }
        self.unwritten.insert(address.to_owned(), shown.clone());
        let mut all = self.kept.clone();
        all.extend(self.unwritten.clone());
        let lines = all.iter();
        let text: String =
            lines.map(|(at, digest)| format!("{at} {digest}\n")).collect();
        let path = self.path.display();
        match (self.write)(&self.path, text.as_bytes()) {
            Ok(()) => {
                self.kept = all;
                self.unwritten.clear();
                info!(
                    %address, certificate = %shown, %path,
                    "the certificate of UFDS is pinned"
                );
            }
            Err(error) => warn!(
                err.message = %error, %path,
                "could not keep the certificate of UFDS"
            ),
        }
    }

    fn known(&self, address: &str) -> Option<&String> {
        self.kept.get(address).or_else(|| self.unwritten.get(address))
    }

    /// An operator may have removed one to have another taken. A file that
    /// cannot be looked at was not changed.
    fn look(&mut self) {
        if let Err(error) = self.load() {
            warn!(
                err.message = %error, path = %self.path.display(),
                "the certificates of UFDS stand as they were"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u8) -> String {
        format!("{number:064x}")
    }

    fn first(path: &Path) -> FirstUse {
        let addresses = ["a:636", "b:636"].map(str::to_owned);
        let write: Write = |path, bytes| std::fs::write(path, bytes);
        let mut first = FirstUse::new(path, &addresses, write);
        first.load().unwrap();
        first
    }

    #[test]
    fn each_address_has_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ufds.sha256");
        // As it was when there was one for all.
        std::fs::write(&path, format!("{}\n", digest(1))).unwrap();
        let mut kept = first(&path);
        assert!(!kept.is_open("a:636") && kept.is_open("b:636"));
        assert!(kept.judge("a:636", digest(2)).is_err());
        kept.judge("a:636", digest(1)).unwrap();
        kept.judge("b:636", digest(2)).unwrap();
        assert!(kept.is_open("b:636"), "UFDS has not taken our password");
        kept.keep("b:636");
        for mut kept in [kept, first(&path)] {
            kept.judge("a:636", digest(1)).unwrap();
            kept.judge("b:636", digest(2)).unwrap();
            assert!(kept.judge("a:636", digest(2)).is_err());
            let error = kept.judge("b:636", digest(1)).unwrap_err();
            assert!(error.to_string().contains("line of b:636"), "{error}");
        }
        // Its line alone is taken away.
        let mut kept = first(&path);
        std::fs::write(&path, format!("a:636 {}\n", digest(1))).unwrap();
        assert!(kept.is_open("b:636"));
        assert!(kept.judge("a:636", digest(2)).is_err());
        kept.judge("b:636", digest(3)).unwrap();
    }

    #[test]
    fn a_damaged_file_lets_nobody_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ufds.sha256");
        let good = digest(1);
        for bad in ["", "\n", "x", "b:636 x", "b:636", "a b c"] {
            std::fs::write(&path, format!("{bad}\n")).unwrap();
            let mut kept = first(&path);
            for address in ["a:636", "b:636"] {
                assert!(!kept.is_open(address), "{bad:?}");
                assert!(kept.judge(address, good.clone()).is_err(), "{bad:?}");
            }
        }
        std::fs::write(&path, format!("x\na:636 {good}\n")).unwrap();
        let mut kept = first(&path);
        kept.judge("a:636", good.clone()).unwrap();
        assert!(kept.judge("b:636", good).is_err());
    }

    /// Only a file that is certainly gone opens the door to another.
    #[test]
    fn a_pin_that_cannot_be_looked_at_stands() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("state");
        std::fs::create_dir(&inside).unwrap();
        let mut kept = first(&inside.join("ufds.sha256"));
        assert!(kept.is_open("a:636"));
        kept.judge("a:636", digest(1)).unwrap();
        kept.keep("a:636");
        assert!(!kept.is_open("a:636"));
        // Whoever looks fails, and not for want of the file.
        std::fs::rename(&inside, folder.path().join("moved")).unwrap();
        std::fs::write(&inside, "").unwrap();
        assert!(kept.judge("a:636", digest(2)).is_err());
        kept.judge("a:636", digest(1)).unwrap();
        std::fs::remove_file(&inside).unwrap();
        assert!(kept.is_open("a:636"), "an operator removed it");
        // One that cannot be written stands as well.
        kept.judge("a:636", digest(2)).unwrap();
        kept.keep("a:636");
        assert!(!kept.is_open("a:636"));
        assert!(kept.judge("a:636", digest(3)).is_err());
        std::fs::create_dir(&inside).unwrap();
        kept.judge("b:636", digest(4)).unwrap();
        kept.keep("b:636");
        let mut kept = first(&inside.join("ufds.sha256"));
        kept.judge("a:636", digest(2)).unwrap();
        assert!(kept.judge("b:636", digest(2)).is_err());
    }
}
