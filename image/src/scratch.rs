// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Folders that are gone when we are, however we end: dropped as a rule,
//! removed by whoever ends the program while something blocks, and where the
//! machine went down swept by the next who works there. Each is locked as long
//! as it has an owner; the lock goes with the process.
//!
//! Who is told to end says so here: whatever writes fails then, and what is
//! being put in its place gets there first.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use tempfile::TempDir;

static ALL: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static ENDING: AtomicBool = AtomicBool::new(false);
/// Held while files are put in their places.
static PLACING: Mutex<()> = Mutex::new(());

/// A folder of ours.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    /// Holds the lock.
    _lock: File,
}

impl Scratch {
    /// A fresh folder `PREFIX..` in `parent`; those of the same prefix that
    /// nobody owns any more are removed.
    pub fn new(parent: &Path, prefix: &str) -> Result<Self> {
        let unwritable = || format!("could not write in {}", parent.display());
        // None sees a folder of another between its making and its lock.
        let turn = File::open(parent).with_context(unwritable)?;
        turn.lock().with_context(unwritable)?;
        sweep(parent, prefix);
        let folder = tempfile::Builder::new()
            .prefix(prefix)
            .tempdir_in(parent)
            .with_context(unwritable)?;
        let lock = File::open(folder.path()).with_context(unwritable)?;
        lock.lock().with_context(unwritable)?;
        all().push(folder.path().to_owned());
        Ok(Self { folder, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        all().retain(|path| path != self.folder.path());
    }
}

/// What cannot be looked at or removed is in nobody's way.
fn sweep(parent: &Path, prefix: &str) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let name = entry.file_name();
        if !is_folder || !name.to_string_lossy().starts_with(prefix) {
            continue;
        }
        let left = File::open(entry.path());
        if left.is_ok_and(|left| left.try_lock().is_ok()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// From now on whoever asks is told that this program ends.
pub fn end() {
    ENDING.store(true, Ordering::Relaxed);
}

/// Errors: this program was told to end.
pub fn goes_on() -> io::Result<()> {
    match ENDING.load(Ordering::Relaxed) {
        true => Err(io::Error::other("told to end")),
        false => Ok(()),
    }
}

/// For as long as files are put in their places: nothing is removed then.
///
/// Errors: as [`goes_on`].
pub fn placing() -> io::Result<MutexGuard<'static, ()>> {
    let held = PLACING.lock().unwrap_or_else(PoisonError::into_inner);
    goes_on().map(|()| held)
}

/// Removes every folder there is: for an end that drops nothing. Nothing is
/// put in its place any more.
pub fn remove_all() {
    end();
    std::mem::forget(PLACING.lock());
    for path in all().drain(..) {
        // Nobody is left to be told.
        let _ = std::fs::remove_dir_all(path);
    }
}

fn all() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_owns_is_swept_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let parent = parent.path();
        std::fs::create_dir(parent.join("work-stale")).unwrap();
        std::fs::write(parent.join("work-stale/file"), "").unwrap();
        std::fs::create_dir(parent.join("other")).unwrap();
        let owned = Scratch::new(parent, "work-").unwrap();
        assert!(!parent.join("work-stale").exists());
        let second = Scratch::new(parent, "work-").unwrap();
        assert!(owned.path().exists() && parent.join("other").exists());
        let path = second.path().to_owned();
        drop(second);
        assert!(!path.exists());
    }
}
