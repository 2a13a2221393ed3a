// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One folder per network for roots, logs and data. Its lock file tells a
//! living owner from a dead one, so that leftovers can be swept safely even
//! when a pid was used again.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::ZoneError;

const PREFIX: &str = "tm-";
const LOCK: &str = "lock";
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder `tm-<pid>-<n>-<label>` below the system's temporary folder; gone
/// when this is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    id: String,
    _lock: File,
}

impl Folder {
    pub(crate) fn create(label: &str) -> Result<Self, ZoneError> {
        loop {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let id = format!("{PREFIX}{}-{n}", std::process::id());
            let path = std::env::temp_dir().join(format!("{id}-{label}"));
            match lay_out(&path) {
                Ok(lock) => return Ok(Self { path, id, _lock: lock }),
                // A leftover of an older process with our pid.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(ZoneError::Folder { path, source }),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// `tm-<pid>-<n>`: unique on this machine while this process lives.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "folder not removed");
        }
    }
}

/// Removes a folder and all in it. Tries more than once, for a process on
/// its last way, or another sweeper, may change it meanwhile.
fn remove(path: &Path) -> io::Result<()> {
    let mut last = Ok(());
    for _ in 0..5 {
        last = match fs::remove_dir_all(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        };
        if last.is_ok() && !path.exists() {
            return Ok(());
        }
    }
    last
}

/// The lock is taken before it gets its name: a sweeper never sees it free.
fn lay_out(path: &Path) -> io::Result<File> {
    DirBuilder::new().mode(0o700).create(path)?;
    let fresh = path.join("lock.new");
    let lock = File::create(&fresh)?;
    lock.lock()?;
    fs::rename(&fresh, path.join(LOCK))?;
    Ok(lock)
}

/// Removes the folders that processes killed with SIGKILL left behind.
///
/// Namespaces, mounts and processes need no sweeping: no name keeps them
/// alive, so the kernel ends them with their owner. Returns what was removed.
/// Errors: the temporary folder cannot be listed; a folder that resists is
/// logged and left.
pub fn sweep_stale() -> Result<Vec<PathBuf>, ZoneError> {
    let base = std::env::temp_dir();
    let failed = |source| ZoneError::Folder { path: base.clone(), source };
    let mut swept = Vec::new();
    for entry in fs::read_dir(&base).map_err(failed)?.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(owner_of) else { continue };
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_dir || is_owned(&path, pid) {
            continue;
        }
        match remove(&path) {
            Ok(()) => swept.push(path),
            Err(error) => {
                let path = path.display();
                tracing::warn!(%path, %error, "leftover not removed");
            }
        }
    }
    Ok(swept)
}

/// The pid in `tm-<pid>-<n>-<label>`.
fn owner_of(name: &str) -> Option<i32> {
    let mut parts = name.strip_prefix(PREFIX)?.splitn(3, '-');
    let pid = parts.next()?.parse().ok().filter(|&pid: &i32| pid > 0)?;
    parts.next()?.parse::<u32>().ok()?;
    parts.next().map(|_| pid)
}

/// The lock decides; before it has its name, the pid does.
fn is_owned(path: &Path, pid: i32) -> bool {
    match File::open(path.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_err(),
        Err(_) => kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_is_read_from_the_name() {
        assert_eq!(owner_of("tm-12-0-dc"), Some(12));
        assert_eq!(owner_of("tm-12-0-with-dash"), Some(12));
        for other in ["tm-", "tm-x-0-dc", "tm-12-dc", "tm--1-0-dc", "tm-0-0-a"]
        {
            assert_eq!(owner_of(other), None, "{other}");
        }
    }

    #[test]
    fn living_folder_is_owned_and_goes_with_its_owner() {
        let folder = Folder::create("test").unwrap();
        let path = folder.path().to_owned();
        // Even a pid that cannot be alive does not make it stale.
        assert!(is_owned(&path, i32::MAX));
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn folder_of_the_dead_is_swept() {
        let path = std::env::temp_dir().join(format!(
            "tm-{}-{}-swept",
            i32::MAX,
            fastrand::u32(..)
        ));
        // Others sweep here, too: they are to see it whole.
        let own = std::process::id();
        let aside = std::env::temp_dir().join(format!("localdc-{own}-swept"));
        drop(lay_out(&aside).unwrap());
        assert!(!is_owned(&aside, own as i32));
        fs::rename(&aside, &path).unwrap();
        let begin = std::time::Instant::now();
        while path.exists() && begin.elapsed().as_secs() < 20 {
            sweep_stale().unwrap();
        }
        assert!(!path.exists());
    }
}
