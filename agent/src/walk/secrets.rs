// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Secrets that are made once and never again: a daemon seals its data with
//! them, and with another secret that data is lost. So one that is there is
//! never written over, whatever it looks like, and one that was there and is
//! gone is not made anew; both are faults that a person must settle.
//!
//! Beside each lies a mark, `.NAME.kept`, that says it has been there. The
//! folder belongs to root: who may read a secret cannot put another in its
//! place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid};
use ring::rand::{SecureRandom, SystemRandom};

use crate::apply::commit::{self, Access, Present};

const MODE: u32 = 0o600;

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// It cannot be read, or written.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// The step, as a verb.
        doing: &'static str,
        /// The secret's file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Something else stands there.
    #[error(
        "{} is damaged: wanted one line of 16 to 512 printable characters; \
         bring the right one back, what it sealed cannot be read with another",
        path.display()
    )]
    Damaged {
        /// The secret's file.
        path: PathBuf,
    },
    /// It was there once.
    #[error(
        "{} is gone: bring it back, what it sealed cannot be read with \
         another; or remove {} to have one made",
        path.display(), mark.display()
    )]
    Gone {
        /// The secret's file.
        path: PathBuf,
        /// What says that it was there.
        mark: PathBuf,
    },
    /// The system gave no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// Sees that a secret is at `path`, readable by `owner` alone.
pub(crate) fn keep(
    path: &Path,
    owner: Option<(Uid, Gid)>,
) -> Result<(), SecretError> {
    let failed = |doing| {
        move |source| SecretError::Io { doing, path: path.to_owned(), source }
    };
    let mark = mark(path);
    let access = Access { mode: Some(MODE), owner };
    match commit::look(path).map_err(failed("read"))? {
        Present::File { bytes, mode, uid } => {
            if !is_secret(&bytes) {
                return Err(SecretError::Damaged { path: path.to_owned() });
            }
            let owned = owner.is_none_or(|(owner, _)| owner.as_raw() == uid);
            if mode != MODE || !owned {
                commit::write_with(path, &bytes, access)
                    .map_err(failed("set the access of"))?;
            }
        }
        Present::Absent if mark.exists() => {
            return Err(SecretError::Gone { path: path.to_owned(), mark });
        }
        Present::Absent => {
            let secret = random()?;
            let staged = commit::stage(path, secret.as_bytes(), access)
                .map_err(failed("make"))?;
            // Unlike a rename, a link never takes another's place.
            fs::hard_link(staged.path(), path).map_err(failed("make"))?;
            drop(staged);
            if let Some(folder) = path.parent() {
                commit::sync_dir(folder).map_err(failed("make"))?;
            }
        }
    }
    if !mark.exists() {
        commit::write_atomic(&mark, b"", MODE).map_err(failed("mark"))?;
    }
    Ok(())
}

fn mark(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.kept"))
}

/// An operator may have brought one of his own; a newline at its end is
/// passed over by its readers.
fn is_secret(bytes: &[u8]) -> bool {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    (16..=512).contains(&line.len()) && line.iter().all(u8::is_ascii_graphic)
}

/// 256 bits, hex.
fn random() -> Result<String, SecretError> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SecretError::Random)?;
    Ok(commit::hex(&bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets/key");
        keep(&path, None).unwrap();
        let secret = fs::read(&path).unwrap();
        assert_eq!(secret.len(), 64);
        let mode = || fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        keep(&path, None).unwrap();
        assert_eq!(mode() & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), secret);
        let other = dir.path().join("secrets/other");
        keep(&other, None).unwrap();
        assert_ne!(fs::read(other).unwrap(), secret);
        let entries = fs::read_dir(dir.path().join("secrets")).unwrap();
        assert_eq!(entries.count(), 4, "nothing staged is left");
    }

    #[test]
    fn what_is_damaged_or_gone_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        keep(&path, None).unwrap();
        let long = [b'x'; 1000];
        for bad in [&b""[..], b"short", b"two lines\nof some length", &long] {
            fs::write(&path, bad).unwrap();
            let error = keep(&path, None).unwrap_err().to_string();
            assert!(error.contains("is damaged"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), bad);
        }
        fs::remove_file(&path).unwrap();
        for _ in 0..2 {
            let error = keep(&path, None).unwrap_err().to_string();
            assert!(error.contains("is gone"), "{error}");
            assert!(!path.exists());
        }
        fs::remove_file(dir.path().join(".key.kept")).unwrap();
        keep(&path, None).unwrap();
    }

    #[test]
    fn an_operators_own_is_taken_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "of-another-installation\n").unwrap();
        keep(&path, None).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"of-another-installation\n");
        fs::remove_file(&path).unwrap();
        assert!(keep(&path, None).is_err());
    }

    #[test]
    fn an_unreadable_secret_is_a_fault() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::create_dir(&path).unwrap();
        let error = keep(&path, None).unwrap_err().to_string();
        assert!(error.contains("could not read"), "{error}");
    }
}
