// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What we remember about files and daemons, on disk, so that a kill at any
//! moment leaves the next start knowing what is left to do.
//!
//! Before the first rename of a pass every unit about to change is marked
//! pending; the mark goes only once its daemon took the new files. Copies of
//! the files a daemon took last are kept beside the record, by digest: they
//! are what goes back when a daemon refuses. Record and copies are 0600.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::commit::{self, Present};

/// The record of one unit: the files that go together, and their reader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UnitRecord {
    /// Files were or are about to be written and their reader has not taken
    /// them yet.
    #[serde(default)]
    pub(super) pending: bool,
    /// A flag file changed: the daemon needs a restart, not a reload.
    #[serde(default)]
    pub(super) restart: bool,
    /// The files were missing: a new root file system, on which the daemon
    /// has yet to be enabled.
    #[serde(default)]
    pub(super) enable: bool,
    /// Digest over all its files when its reader took them last.
    pub(super) in_force: Option<String>,
    /// Digest over the files it reads at its start alone, as they were when
    /// it started last.
    #[serde(default)]
    pub(super) started_with: Option<String>,
    /// Digest and reason of files with which the daemon would not start.
    /// Offering them again means an outage, so only other files, or an
    /// operator's SIGHUP, end this.
    #[serde(default)]
    pub(super) would_not_start: Option<(String, String)>,
    /// Content, mode and owner of each file its reader took last.
    #[serde(default)]
    pub(super) kept: BTreeMap<PathBuf, Kept>,
}

/// A file as it was when its reader took it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Digest of the content, and name of the copy.
    pub(super) digest: String,
    /// Permission bits.
    pub(super) mode: u32,
    /// User and group.
    pub(super) owner: (u32, u32),
}

/// Everything remembered.
#[derive(Debug, Default)]
pub(super) struct Record {
    dir: PathBuf,
    body: Body,
    saved: Option<Vec<u8>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Body {
    /// Digest of each file as we committed it last: tells drift from change.
    #[serde(default)]
    files: BTreeMap<PathBuf, String>,
    #[serde(default)]
    units: BTreeMap<String, UnitRecord>,
}

impl Record {
    /// Reads the record in `dir`. One that cannot be read is set aside and
    /// an empty one used: at worst a daemon is reloaded once too often.
    pub(super) fn load(dir: &Path) -> Self {
        let path = dir.join("applied.json");
        let body = match commit::look(&path) {
            Ok(Present::Absent) => None,
            Ok(Present::File { bytes, .. }) => {
                match serde_json::from_slice(&bytes) {
                    Ok(body) => Some(body),
                    Err(error) => {
                        tracing::warn!(
                            path = %path.display(),
                            err.message = %error,
                            "record of applied files is damaged; set aside"
                        );
                        let _ = std::fs::rename(
                            &path,
                            dir.join("applied.json.damaged"),
                        );
                        None
                    }
                }
            }
            Err(error) => {
                tracing::warn!(
                    path = %path.display(),
                    err.message = %error,
                    "could not read the record of applied files"
                );
                None
            }
        };
        Self {
            dir: dir.to_owned(),
            body: body.unwrap_or_default(),
            saved: None,
        }
    }

    /// Writes the record if it changed.
    pub(super) fn save(&mut self) -> io::Result<()> {
        let bytes = serde_json::to_vec(&self.body).map_err(io::Error::other)?;
        if self.saved.as_ref() == Some(&bytes) {
            return Ok(());
        }
        self.ensure_dir(&self.dir)?;
        commit::write_atomic(&self.dir.join("applied.json"), &bytes, 0o600)?;
        self.saved = Some(bytes);
        Ok(())
    }

    /// The digest we committed last at `target`.
    pub(super) fn committed(&self, target: &Path) -> Option<&str> {
        self.body.files.get(target).map(String::as_str)
    }

    /// Notes what was committed at `target`.
    pub(super) fn set_committed(&mut self, target: &Path, digest: String) {
        self.body.files.insert(target.to_owned(), digest);
    }

    /// The record of a unit.
    pub(super) fn unit(&self, key: &str) -> UnitRecord {
        self.body.units.get(key).cloned().unwrap_or_default()
    }

    /// The units with kept copies.
    pub(super) fn units_with_copies(&self) -> Vec<(String, UnitRecord)> {
        self.body
            .units
            .iter()
            .filter(|(_, unit)| !unit.kept.is_empty())
            .map(|(key, unit)| (key.clone(), unit.clone()))
            .collect()
    }

    /// A unit's record, to change.
    pub(super) fn unit_mut(&mut self, key: &str) -> &mut UnitRecord {
        self.body.units.entry(key.to_owned()).or_default()
    }

    /// Forgets a unit whose reader is gone.
    pub(super) fn forget_unit(&mut self, key: &str) {
        self.body.units.remove(key);
    }

    /// Forgets what was committed at `target`.
    pub(super) fn forget_committed(&mut self, target: &Path) {
        self.body.files.remove(target);
    }

    /// Forgets which files a daemon would not start with.
    pub(super) fn forget_refusals(&mut self) {
        for unit in self.body.units.values_mut() {
            unit.would_not_start = None;
        }
    }

    /// Keeps a copy of `bytes` under its digest.
    pub(super) fn keep(&self, digest: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.copy(digest);
        if path.exists() {
            return Ok(());
        }
        self.ensure_dir(&self.dir)?;
        self.ensure_dir(&self.dir.join("kept"))?;
        commit::write_atomic(&path, bytes, 0o600)
    }

    /// The copy kept under `digest`, checked against it.
    pub(super) fn recall(&self, digest: &str) -> io::Result<Vec<u8>> {
        let bytes = std::fs::read(self.copy(digest))?;
        if commit::sha256(&bytes) == digest {
            Ok(bytes)
        } else {
            Err(io::Error::other("the kept copy is damaged"))
        }
    }

    /// Removes copies that no unit refers to.
    pub(super) fn forget_unused_copies(&self) {
        let used: BTreeSet<&str> = self
            .body
            .units
            .values()
            .flat_map(|unit| unit.kept.values())
            .map(|kept| kept.digest.as_str())
            .collect();
        let Ok(entries) = std::fs::read_dir(self.dir.join("kept")) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.to_str().is_none_or(|name| !used.contains(name)) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn copy(&self, digest: &str) -> PathBuf {
        self.dir.join("kept").join(digest)
    }

    fn ensure_dir(&self, dir: &Path) -> io::Result<()> {
        let access = commit::Access { mode: Some(0o700), owner: None };
        commit::ensure_dir(dir, access).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_and_a_damaged_one_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = Record::load(dir.path());
        record.set_committed(Path::new("/a"), "d1".to_owned());
        record.unit_mut("daemon:x").pending = true;
        record.save().unwrap();
        let record = Record::load(dir.path());
        assert_eq!(record.committed(Path::new("/a")), Some("d1"));
        assert!(record.unit("daemon:x").pending);
        std::fs::write(dir.path().join("applied.json"), "{\"files\": 3}")
            .unwrap();
        let record = Record::load(dir.path());
        assert_eq!(record.committed(Path::new("/a")), None);
        assert!(dir.path().join("applied.json.damaged").exists());
    }

    #[test]
    fn copies_are_checked_and_unused_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = Record::load(dir.path());
        let digest = commit::sha256(b"content");
        record.keep(&digest, b"content").unwrap();
        assert_eq!(record.recall(&digest).unwrap(), b"content");
        record.unit_mut("daemon:x").kept.insert(
            PathBuf::from("/a"),
            Kept { digest: digest.clone(), mode: 0o600, owner: (0, 0) },
        );
        record.keep("unused", b"other").unwrap();
        record.forget_unused_copies();
        assert!(record.recall(&digest).is_ok());
        assert!(record.recall("unused").is_err());
        std::fs::write(dir.path().join("kept").join(&digest), "x").unwrap();
        assert!(record.recall(&digest).is_err());
    }
}
