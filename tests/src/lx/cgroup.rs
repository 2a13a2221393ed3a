// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A control group of its own for each zone. systemd takes what is in its
//! group for its services: two zones in one would end each other's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// How often a group is tried that a process on its last way still is in.
const TRIES: u32 = 100;

/// The folders of one group, one in each hierarchy that systemd looks at;
/// removed when this is dropped.
#[derive(Debug)]
pub(super) struct Cgroup(Vec<PathBuf>);

impl Cgroup {
    /// Makes the group `name`, `tm-<pid>-...`, below our own, and removes
    /// those of processes that are gone.
    pub(super) fn create(name: &str) -> io::Result<Self> {
        let mut made = Self(Vec::new());
        // What nspawn leaves behind looks the same. None of it, no nspawn.
        let _ = sweep(Path::new("/run/systemd/nspawn/propagate"));
        for parent in own(&fs::read_to_string("/proc/self/cgroup")?) {
            sweep(&parent)?;
            let path = parent.join(name);
            fs::create_dir(&path)?;
            made.0.push(path);
        }
        Ok(made)
    }

    /// A process that writes its pid here is in it.
    pub(super) fn doors(&self) -> impl Iterator<Item = PathBuf> {
        self.0.iter().map(|path| path.join("cgroup.procs"))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for path in &self.0 {
            for _ in 0..TRIES {
                if remove(path).is_ok() {
                    break;
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Where this process is, by `/proc/self/cgroup`: in the unified hierarchy,
/// and in systemd's own where the older ones are in use beside it.
fn own(cgroups: &str) -> Vec<PathBuf> {
    let unified = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .find(|path| Path::new(path).join("cgroup.procs").exists());
    let of = |line: &str| {
        let (base, path) = match line.split_once("name=systemd:") {
            Some((_, path)) => ("/sys/fs/cgroup/systemd", path),
            None => (unified?, line.strip_prefix("0::")?),
        };
        Some(Path::new(base).join(path.trim_start_matches('/')))
    };
    cgroups.lines().filter_map(of).filter(|path| path.is_dir()).collect()
}

fn sweep(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)?.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|it| {
            it.strip_prefix("tm-")?.split('-').next()?.parse().ok()
        });
        let Some(owner) = owner else { continue };
        if kill(Pid::from_raw(owner), None) == Err(Errno::ESRCH) {
            // In use after all, or gone already: not ours to mend.
            let _ = remove(&entry.path());
        }
    }
    Ok(())
}

/// Only folders can be removed there, and take their files with them.
fn remove(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
