// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Watches files: templates, local manifests, key files, rendered outputs.
//! Says only *that* something changed; whoever hears it looks for itself.
//!
//! Folders are watched rather than files, for a file that is renamed over
//! takes its watch with it. Events of other files in those folders are left
//! out. Where the system has no file events (illumos), folders are polled.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use notify::{EventKind, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, warn};

/// How often folders are looked at where there are no events.
pub const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Quiet time after which changes are reported.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Longest time a stream of changes can hold a report back.
const DEBOUNCE_MAX: Duration = Duration::from_millis(500);

/// What to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// These files alone.
    pub files: BTreeSet<PathBuf>,
    /// Everything directly in these folders.
    pub folders: BTreeSet<PathBuf>,
}

impl Watched {
    fn wants(&self, path: &Path) -> bool {
        // Our own staging is not news.
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().ends_with(b".staged"));
        !hidden
            && (self.files.contains(path)
                || self.folders.contains(path)
                || path.parent().is_some_and(|dir| self.folders.contains(dir))
                || self.leads_to(path))
    }

    /// Whether something wanted lies below `path`: a folder on the way to it
    /// came or went.
    fn leads_to(&self, path: &Path) -> bool {
        self.files.iter().chain(&self.folders).any(|p| p.starts_with(path))
    }

    /// Existing folders whose events are needed, and which those are. The
    /// nearest existing parent stands in for a folder that is still to be made.
    fn roots(&self) -> BTreeMap<PathBuf, Identity> {
        let parents = self.files.iter().filter_map(|file| file.parent());
        let folders = self.folders.iter().map(PathBuf::as_path);
        // Many files share a folder: each is looked at once.
        let dirs: BTreeSet<&Path> = parents.chain(folders).collect();
        let known = |dir: &Path| Some((dir.to_owned(), Identity::of(dir)?));
        let roots = dirs.into_iter();
        roots.filter_map(|dir| dir.ancestors().find_map(known)).collect()
    }
}

/// A watcher with its debounce.
#[derive(Debug)]
pub struct Watch {
    watcher: Option<notify::RecommendedWatcher>,
    watched: Arc<RwLock<Watched>>,
    /// What is watched, and which folder that was.
    roots: BTreeMap<PathBuf, Identity>,
    changes: mpsc::Receiver<()>,
}

/// Which folder a path names: a number may be given again to the next one,
/// but where the system keeps the time of birth that one is younger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

impl Identity {
    /// `None`: there is no such folder.
    fn of(folder: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(folder).ok()?;
        metadata.is_dir().then(|| Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            born: metadata.created().ok(),
        })
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

impl Watch {
    /// Watches nothing yet. Without file events (too many watchers, say) it
    /// never reports, and says so once; the periodic pass remains.
    pub fn new() -> Self {
        let watched = Arc::new(RwLock::new(Watched::default()));
        // One slot: a change that waits to be seen stands for all.
        let (sender, changes) = mpsc::channel(1);
        let wants = Arc::clone(&watched);
        let config = notify::Config::default()
            .with_poll_interval(POLL_INTERVAL)
            .with_follow_symlinks(false);
        let watcher = notify::RecommendedWatcher::new(
            move |event: notify::Result<notify::Event>| {
                let relevant = match event {
                    Ok(event) => {
                        let reading =
                            matches!(event.kind, EventKind::Access(_));
                        let wants = wants.read().expect("no holder panics");
                        !reading
                            && (event.need_rescan()
                                || event.paths.iter().any(|p| wants.wants(p)))
                    }
                    // An overflow: something changed, we do not know what.
                    Err(_) => true,
                };
                if relevant {
                    let _ = sender.try_send(());
                }
            },
            config,
        );
        let watcher = watcher
            .inspect_err(|error| {
                warn!(err.message = %error, "cannot watch files");
            })
            .ok();
        Self { watcher, watched, roots: BTreeMap::new(), changes }
    }

    /// Watches exactly `watched` from now on. Says whether it watches
    /// folders it did not watch before: what changed there since the caller
    /// looked was not heard. A folder that is watched already is left alone,
    /// so that nothing in it goes unheard.
    pub fn set(&mut self, watched: Watched) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        let roots = watched.roots();
        *self.watched.write().expect("no holder panics") = watched;
        let mut grown = false;
        let mut held = BTreeMap::new();
        for (root, now) in &roots {
            // Looked at first: a folder that takes its place after that is
            // another one, and the next time it is seen to be.
            match self.roots.remove(root) {
                Some(before) if before == *now => {
                    held.insert(root.clone(), *now);
                    continue;
                }
                // The watch went with the folder that was here.
                Some(_) => {
                    let _ = watcher.unwatch(root);
                }
                None => {}
            }
            match watcher.watch(root, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    held.insert(root.clone(), *now);
                    grown = true;
                }
                Err(error) => {
                    debug!(
                        path = %root.display(),
                        err.message = %error,
                        "cannot watch a folder"
                    );
                }
            }
        }
        for gone in self.roots.keys() {
            let _ = watcher.unwatch(gone);
        }
        self.roots = held;
        grown
    }

    /// Forgets what was heard up to now, the last moment included.
    ///
    /// Cancel-safe: what was forgotten stays so.
    pub async fn forget(&mut self) {
        tokio::time::sleep(DEBOUNCE).await;
        while self.changes.try_recv().is_ok() {}
    }

    /// Waits for a change and for the quiet after it.
    ///
    /// Cancel-safe: a change that was heard but not reported is reported by
    /// the next call or seen by the pass that cancelled this one.
    pub async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            // No watcher: never.
            std::future::pending::<()>().await;
        }
        let latest = Instant::now() + DEBOUNCE_MAX;
        loop {
            let quiet = (Instant::now() + DEBOUNCE).min(latest);
            match tokio::time::timeout_at(quiet, self.changes.recv()).await {
                Ok(Some(())) if Instant::now() < latest => {}
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn files(paths: &[&Path]) -> Watched {
        Watched {
            files: paths.iter().map(|p| (*p).to_owned()).collect(),
            folders: BTreeSet::new(),
        }
    }

    #[tokio::test]
    async fn a_rename_over_a_watched_file_is_seen_again_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let mut watch = Watch::new();
        watch.set(files(&[&file]));
        for text in ["one", "two", "three"] {
            let other = dir.path().join("other");
            std::fs::write(&other, text).unwrap();
            std::fs::rename(&other, &file).unwrap();
            tokio::time::timeout(SOON, watch.changed()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_file_in_a_folder_yet_to_be_made_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("later");
        let folder = parent.join("on");
        let file = folder.join("file");
        let mut watched = files(&[&file]);
        watched.folders.insert(folder.clone());
        let mut watch = Watch::new();
        assert!(watch.set(watched.clone()));
        std::fs::create_dir(&parent).unwrap();
        tokio::time::timeout(SOON, watch.changed()).await.unwrap();
        assert!(watch.set(watched.clone()));
        assert!(!watch.set(watched.clone()));
        std::fs::create_dir(&folder).unwrap();
        tokio::time::timeout(SOON, watch.changed()).await.unwrap();
        // The pass that follows sets the watches again.
        watch.set(watched);
        std::fs::write(&file, "x").unwrap();
        tokio::time::timeout(SOON, watch.changed()).await.unwrap();
    }

    /// A change between a pass and its end must not fall between two watches.
    #[tokio::test]
    async fn a_change_while_the_watches_are_set_again_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let mut watch = Watch::new();
        let mut watched = files(&[&file]);
        watched.folders = (0..500)
            .map(|n| dir.path().join(format!("folder{n}")))
            .inspect(|folder| std::fs::create_dir(folder).unwrap())
            .collect();
        assert!(watch.set(watched.clone()));
        for n in 0..50 {
            let other = dir.path().join("other");
            let (from, to) = (other.clone(), file.clone());
            let change = std::thread::spawn(move || {
                std::fs::write(&from, n.to_string()).unwrap();
                std::fs::rename(&from, &to).unwrap();
            });
            assert!(!watch.set(watched.clone()));
            change.join().unwrap();
            tokio::time::timeout(SOON, watch.changed()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_folder_that_was_replaced_is_watched_anew() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        let file = folder.join("file");
        let mut watch = Watch::new();
        for how in ["new", "removed", "renamed"] {
            if how == "renamed" {
                std::fs::rename(&folder, dir.path().join("old")).unwrap();
            } else if how == "removed" {
                std::fs::remove_dir_all(&folder).unwrap();
            }
            std::fs::create_dir(&folder).unwrap();
            assert!(watch.set(files(&[&file])), "{how}");
            watch.forget().await;
            std::fs::write(&file, "x").unwrap();
            let seen = tokio::time::timeout(SOON, watch.changed()).await;
            assert!(seen.is_ok(), "{how}");
        }
    }

    #[tokio::test]
    async fn neighbours_and_staging_are_no_news() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let mut watch = Watch::new();
        watch.set(files(&[&file]));
        std::fs::write(dir.path().join("neighbour"), "x").unwrap();
        std::fs::write(dir.path().join(".file.staged"), "x").unwrap();
        let none = Duration::from_millis(400);
        assert!(tokio::time::timeout(none, watch.changed()).await.is_err());
        std::fs::write(&file, "x").unwrap();
        tokio::time::timeout(SOON, watch.changed()).await.unwrap();
    }
}
