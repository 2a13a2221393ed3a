// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Folders that are gone when we are, however we end: dropped as a rule, and
//! removed by whoever ends the program while something blocks.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use tempfile::TempDir;

static ALL: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A folder of ours.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// A fresh folder `PREFIX..` in `parent`.
    pub fn new(parent: &Path, prefix: &str) -> Result<Self> {
        let made = tempfile::Builder::new().prefix(prefix).tempdir_in(parent);
        let made = made.with_context(|| {
            format!("could not write in {}", parent.display())
        })?;
        all().push(made.path().to_owned());
        Ok(Self(made))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        all().retain(|path| path != self.0.path());
    }
}

/// Removes every folder there is: for an end that drops nothing.
pub fn remove_all() {
    for path in all().drain(..) {
        // Nobody is left to be told.
        let _ = std::fs::remove_dir_all(path);
    }
}

fn all() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}
