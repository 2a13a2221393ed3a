// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Where monadm keeps what must outlive a run: a folder of its own, which one
//! run at a time may use.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use uuid::Uuid;

use crate::apply::commit::write_atomic;
use crate::deploy::setup::Journal;

/// The folder, unless MONADM_STATE says another.
const FOLDER: &str = "/var/db/monadm";

/// Of one datacenter.
pub(super) struct State {
    file: PathBuf,
    /// Held as long as a run lasts.
    _lock: Option<File>,
}

impl State {
    /// For a run that changes things, and keeps others out.
    ///
    /// Errors: the folder cannot be made, or another run holds it.
    pub(super) fn hold(sdc: Uuid) -> Result<Self> {
        let folder = folder();
        let doing = || format!("could not use {}", folder.display());
        fs::create_dir_all(&folder).with_context(doing)?;
        let path = folder.join("lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(&path).with_context(doing)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another monadm is at work: it holds {}", path.display())
            }
            // Where files cannot be locked, the operator is alone.
            Err(TryLockError::Error(error))
                if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(doing);
            }
        }
        Ok(Self { file: file(&folder, sdc), _lock: Some(lock) })
    }

    /// For a run that only looks.
    pub(super) fn look(sdc: Uuid) -> Self {
        Self { file: file(&folder(), sdc), _lock: None }
    }

    /// The journal as it was left; none is an empty one.
    ///
    /// Errors: it cannot be read.
    pub(super) fn journal(&self) -> Result<Journal> {
        let doing = || format!("could not read {}", self.file.display());
        let text = match fs::read_to_string(&self.file) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(doing),
        };
        let file = self.file.clone();
        let save =
            move |text: &str| write_atomic(&file, text.as_bytes(), 0o600);
        Journal::open(text.as_deref(), Box::new(save)).with_context(doing)
    }
}

fn folder() -> PathBuf {
    let set = std::env::var_os("MONADM_STATE").filter(|set| !set.is_empty());
    set.map_or_else(|| PathBuf::from(FOLDER), PathBuf::from)
}

fn file(folder: &Path, sdc: Uuid) -> PathBuf {
    folder.join(format!("{sdc}.json"))
}
