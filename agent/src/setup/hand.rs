// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Gives a folder of an earlier image's daemon to the account of ours.
//!
//! A link changes its owner itself and is not followed, nor is another file
//! system entered. A file that has a name elsewhere, too, stays whose it is:
//! the daemon of old could make such a name for a file that it may not read,
//! a key say, and would be given it here.
//!
//! A folder goes after what is in it: where a hand-over was cut off, the
//! folder or an entry of it is still another's, which is what the next one
//! looks for. So one that is done costs a look at one folder.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;
use std::time::Instant;

/// Entries at most; what an earlier image left has some thousand.
const ENTRIES: u64 = 1_000_000;

/// Gives `folder` and all below it to `user` and `group`, unless it is theirs
/// or not there; says how many entries it took. Stops at `end`.
///
/// Nobody else may write there meanwhile.
///
/// Errors: of the first entry that could not be given; time or entries out;
/// files left whose they were, since they have names elsewhere.
pub(super) fn over(
    folder: &Path,
    (user, group): (u32, u32),
    end: Instant,
) -> io::Result<u64> {
    let top = match fs::symlink_metadata(folder) {
        Ok(top) if top.is_dir() => top,
        Ok(_) => return Ok(0),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(e),
    };
    let mut theirs = top.uid() == user;
    for entry in fs::read_dir(folder)? {
        theirs &= entry?.metadata()?.uid() == user;
    }
    if theirs {
        return Ok(0);
    }
    let mut walk = Walk { device: top.dev(), end, seen: 0 };
    let mut names = HashMap::new();
    walk.each(folder, &top, &mut |_, found| {
        if several_names(found) {
            *names.entry(found.ino()).or_insert(0) += 1;
        }
        Ok(())
    })?;
    let (mut given, mut left) = (0, Vec::new());
    walk.seen = 0;
    walk.each(folder, &top, &mut |path, found| {
        if found.uid() == user {
        } else if several_names(found) && names[&found.ino()] < found.nlink() {
            left.push(path.to_owned());
        } else {
            lchown(path, Some(user), Some(group))?;
            given += 1;
        }
        Ok(())
    })?;
    match left.first() {
        None => Ok(given),
        Some(first) => Err(io::Error::other(format!(
            "left {} files whose they were, since they have names elsewhere, \
             {} the first; gave {given}",
            left.len(),
            first.display()
        ))),
    }
}

/// Of a folder, the entries `.` and `..` are names, too.
fn several_names(found: &fs::Metadata) -> bool {
    !found.is_dir() && found.nlink() > 1
}

struct Walk {
    device: u64,
    end: Instant,
    seen: u64,
}

impl Walk {
    /// Calls `visit` for all below `path`, then for itself.
    fn each(
        &mut self,
        path: &Path,
        found: &fs::Metadata,
        visit: &mut impl FnMut(&Path, &fs::Metadata) -> io::Result<()>,
    ) -> io::Result<()> {
        if found.dev() != self.device {
            return Ok(());
        }
        self.seen += 1;
        if self.seen > ENTRIES || Instant::now() >= self.end {
            return Err(io::Error::other(format!(
                "given up after {} entries",
                self.seen
            )));
        }
        if found.is_dir() {
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                // Of the entry, not of what a link points at.
                self.each(&entry.path(), &entry.metadata()?, visit)?;
            }
        }
        visit(path, found)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;

    const OLD: u32 = 904;
    const NEW: u32 = 60001;

    fn owner(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().uid()
    }

    /// As the Grafana image of 2023 leaves it.
    fn old_layout() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data/grafana/data");
        fs::create_dir_all(data.join("plugins/x")).unwrap();
        fs::create_dir_all(root.path().join("data/grafana/tls")).unwrap();
        for file in ["grafana.db", "plugins/x/plugin.json"] {
            fs::write(data.join(file), "x").unwrap();
        }
        fs::write(root.path().join("outside"), "x").unwrap();
        symlink(root.path().join("outside"), data.join("log")).unwrap();
        for path in [
            "",
            "grafana.db",
            "plugins",
            "plugins/x",
            "plugins/x/plugin.json",
            "log",
        ] {
            lchown(data.join(path), Some(OLD), Some(OLD)).unwrap();
        }
        root
    }

    #[test]
    fn what_an_earlier_image_left_is_handed_over_once() {
        let root = old_layout();
        let data = root.path().join("data/grafana/data");
        let soon = || Instant::now() + Duration::from_secs(60);
        assert_eq!(over(&data, (NEW, NEW), soon()).unwrap(), 6);
        for path in ["", "grafana.db", "plugins/x/plugin.json", "log"] {
            assert_eq!(owner(&data.join(path)), NEW, "{path}");
        }
        let own = owner(root.path());
        for path in ["outside", "data/grafana/tls", "data/grafana"] {
            assert_eq!(owner(&root.path().join(path)), own, "{path}");
        }
        assert_eq!(over(&data, (NEW, NEW), soon()).unwrap(), 0);
        assert_eq!(
            over(&root.path().join("no"), (NEW, NEW), soon()).unwrap(),
            0
        );
        // The agent gives the folder alone.
        lchown(data.join("grafana.db"), Some(OLD), None).unwrap();
        assert_eq!(over(&data, (NEW, NEW), soon()).unwrap(), 1);
    }

    #[test]
    fn one_that_was_cut_off_is_finished() {
        let root = old_layout();
        let data = root.path().join("data/grafana/data");
        let error = over(&data, (NEW, NEW), Instant::now()).unwrap_err();
        assert!(error.to_string().contains("given up"), "{error}");
        let soon = Instant::now() + Duration::from_secs(60);
        assert_eq!(over(&data, (NEW, NEW), soon).unwrap(), 6);
    }

    /// The daemon of old made a name of its own for the key of the zone; two
    /// names of a file of its own, as uploads of blocks have, are no matter.
    #[test]
    fn what_has_a_name_elsewhere_stays_whose_it_is() {
        let root = old_layout();
        let data = root.path().join("data/grafana/data");
        let key = root.path().join("data/grafana/tls/key.pem");
        fs::write(&key, "secret").unwrap();
        fs::hard_link(&key, data.join("plugins/key")).unwrap();
        fs::hard_link(data.join("grafana.db"), data.join("plugins/copy"))
            .unwrap();
        let soon = Instant::now() + Duration::from_secs(60);
        let error = over(&data, (NEW, NEW), soon).unwrap_err().to_string();
        assert!(error.contains("left 1 files"), "{error}");
        assert!(error.contains("data/plugins/key"), "{error}");
        assert_eq!(owner(&key), owner(root.path()));
        for path in ["", "plugins", "plugins/copy", "plugins/x/plugin.json"] {
            assert_eq!(owner(&data.join(path)), NEW, "{path}");
        }
    }
}
