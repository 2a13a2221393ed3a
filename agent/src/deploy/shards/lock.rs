// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One writer of tags at a time on this machine: two would each plan without
//! what the other is about to do. The lock ends with its holder, however that
//! ends. Writers on two machines are not kept apart: they see the same facts,
//! hence plan the same, and a tag written twice is written once.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use tokio::time::Instant;

/// How often it is tried.
const EVERY: Duration = Duration::from_millis(200);

/// The right to write. Ends when it is dropped.
#[derive(Debug)]
pub struct Writer {
    _file: File,
}

/// Why there is no such right.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{}: held by another monadm that writes tags", .0.display())]
    Held(PathBuf),
    /// The file cannot be had.
    #[error("could not lock {}", .path.display())]
    File {
        /// Where it is to be.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Writer {
    /// Takes the lock, waiting for another holder as long as `patience`.
    pub async fn take(
        path: &Path,
        patience: Duration,
    ) -> Result<Self, LockError> {
        let failed = |source| LockError::File { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(OFlag::O_NOFOLLOW.bits());
        let file = options.open(path).map_err(failed)?;
        let begin = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock)
                    if begin.elapsed() >= patience =>
                {
                    return Err(LockError::Held(path.to_owned()));
                }
                Err(TryLockError::WouldBlock) => {
                    tokio::time::sleep(EVERY).await;
                }
            }
        }
    }
}
