// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Gives a folder of an earlier image's daemon to the account of ours.
//!
//! A link changes its owner itself and is not followed, nor is another file
//! system entered. A folder goes after what is in it: where a hand-over was
//! cut off, the folder or an entry of it is still another's, which is what
//! the next one looks for. So one that is done costs a look at one folder.

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
/// Errors: of the first entry that could not be given; time or entries out.
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
    let mut hand =
        Hand { device: top.dev(), user, group, end, seen: 0, given: 0 };
    hand.give(folder, &top)?;
    Ok(hand.given)
}

struct Hand {
    device: u64,
    user: u32,
    group: u32,
    end: Instant,
    seen: u64,
    given: u64,
}

impl Hand {
    fn give(&mut self, path: &Path, found: &fs::Metadata) -> io::Result<()> {
        if found.dev() != self.device {
            return Ok(());
        }
        self.seen += 1;
        if self.seen > ENTRIES || Instant::now() >= self.end {
            return Err(io::Error::other(format!(
                "given up after {} entries, {} of them handed over",
                self.seen, self.given
            )));
        }
        if found.is_dir() {
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                // Of the entry, not of what a link points at.
                self.give(&entry.path(), &entry.metadata()?)?;
            }
        }
        if found.uid() != self.user {
            lchown(path, Some(self.user), Some(self.group))?;
            self.given += 1;
        }
        Ok(())
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
}
