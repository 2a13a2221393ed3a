// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Brings a zone's newest version onto the data folder, at a bearable rate.
//!
//! A file is written whole, so a zone that changes every few seconds would
//! keep the disk busy with copies that nobody reads. Hence: the first version
//! at once, the next after a gap that follows what writing costs, always the
//! newest, and the last one when we are told to stop. A kill loses what came
//! within a gap; the next start serves an older version, whole, and catches up
//! by differences.
//!
//! One task (`transfer.rs`) runs it; the lock below keeps a write that its
//! end has interrupted from being overtaken by an older one.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error};

use crate::dns::catalog::ZoneCell;
use crate::dns::store::ZoneVersion;
use crate::dns::store::persist;

/// How often a zone may be written.
#[derive(Clone, Copy, Debug)]
pub struct SavePolicy {
    /// Shortest time from the end of one write to the next.
    pub gap_min: Duration,
    /// Longest: what a kill may lose. Also the wait after a failure.
    pub gap_max: Duration,
    /// Between the two, the gap is so many times what the last write took.
    pub gap_per_write: u32,
}

impl Default for SavePolicy {
    fn default() -> Self {
        Self {
            gap_min: Duration::from_secs(5),
            gap_max: Duration::from_secs(30),
            // A twentieth of the time at most goes into writing.
            gap_per_write: 20,
        }
    }
}

impl SavePolicy {
    fn gap(&self, took: Duration) -> Duration {
        took.saturating_mul(self.gap_per_write)
            .min(self.gap_max)
            .max(self.gap_min)
    }
}

/// The file's time is moved at most this often.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// What is on disk.
#[derive(Default)]
struct OnDisk {
    /// Of the version written last; keeps none of it in memory.
    version: Weak<ZoneVersion>,
    /// Not before this.
    next_write: Option<Instant>,
    /// When the file's time was last moved.
    touched: Option<Instant>,
    /// The last write failed, and that was said.
    failing: bool,
}

/// See the module.
pub(crate) struct Saver {
    cell: Arc<ZoneCell>,
    dir: PathBuf,
    policy: SavePolicy,
    wake: Notify,
    confirmed: AtomicBool,
    disk: Arc<Mutex<OnDisk>>,
}

impl Saver {
    pub(crate) fn new(
        cell: Arc<ZoneCell>,
        dir: PathBuf,
        policy: SavePolicy,
    ) -> Self {
        let mut disk = OnDisk::default();
        if cell.status().loaded_from_disk
            && let Some(version) = cell.held()
        {
            disk.version = Arc::downgrade(&version);
        }
        Self {
            cell,
            dir,
            policy,
            wake: Notify::new(),
            confirmed: AtomicBool::new(false),
            disk: Arc::new(Mutex::new(disk)),
        }
    }

    /// The cell has another version.
    pub(crate) fn changed(&self) {
        self.wake.notify_one();
    }

    /// A primary confirmed the version that the cell has.
    pub(crate) fn confirmed(&self) {
        self.confirmed.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Writes whenever there is something to write and it is time. May be
    /// dropped at any point; `flush` has the rest.
    pub(crate) async fn run(&self) {
        loop {
            while let Some(due) = self.due() {
                sleep_until(due).await;
                self.write().await;
            }
            if self.confirmed.swap(false, Ordering::Relaxed) {
                self.touch().await;
            }
            self.wake.notified().await;
        }
    }

    /// Writes the newest version now, if it is not there yet.
    pub(crate) async fn flush(&self) {
        self.write().await;
        if self.confirmed.swap(false, Ordering::Relaxed) {
            self.touch().await;
        }
    }

    /// When the cell's version may be written; `None` when it is there.
    fn due(&self) -> Option<Instant> {
        let version = self.cell.held()?;
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = is(&disk.version, &version);
        (!is_there).then(|| disk.next_write.unwrap_or_else(Instant::now))
    }

    async fn write(&self) {
        let (cell, dir) = (Arc::clone(&self.cell), self.dir.clone());
        let (disk, policy) = (Arc::clone(&self.disk), self.policy);
        let writing = move || write_newest(&cell, &dir, &disk, policy);
        if let Err(error) = tokio::task::spawn_blocking(writing).await {
            self.cell.stored(Err(error.to_string()));
        }
    }

    /// Moves the file's time, which says when its version was confirmed.
    async fn touch(&self) {
        {
            let mut disk =
                self.disk.lock().unwrap_or_else(PoisonError::into_inner);
            let lately = |at: Instant| at.elapsed() < TOUCH_EVERY;
            if disk.touched.is_some_and(lately) {
                return;
            }
            disk.touched = Some(Instant::now());
        }
        let (dir, zone) = (self.dir.clone(), self.cell.name.clone());
        let touching = move || persist::touch(&dir, &zone);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(touching).await {
            debug!(
                zone = %self.cell.name,
                err.message = error.to_string(),
                "zone file's time not moved"
            );
        }
    }
}

fn is(weak: &Weak<ZoneVersion>, version: &Arc<ZoneVersion>) -> bool {
    std::ptr::eq(weak.as_ptr(), Arc::as_ptr(version))
}

/// Blocks while another write of the zone is under way.
fn write_newest(
    cell: &ZoneCell,
    dir: &Path,
    disk: &Mutex<OnDisk>,
    policy: SavePolicy,
) {
    let mut disk = disk.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(version) = cell.held() else { return };
    if is(&disk.version, &version) {
        return;
    }
    let began = Instant::now();
    // Until it is over: an end that nobody foresaw is not tried at once again.
    disk.next_write = Some(began + policy.gap_max);
    let saved = persist::save(dir, &cell.name, &version).or_else(|_| {
        // The folder may have been away for a while.
        let _ = std::fs::create_dir_all(dir);
        persist::save(dir, &cell.name, &version)
    });
    let now = Instant::now();
    let gap = match &saved {
        Ok(()) => policy.gap(now - began),
        Err(_) => policy.gap_max,
    };
    disk.next_write = Some(now + gap);
    if saved.is_ok() {
        disk.version = Arc::downgrade(&version);
        disk.touched = Some(now);
    }
    cell.writes.fetch_add(u64::from(saved.is_ok()), Ordering::Relaxed);
    let saved = saved.map_err(|error| error.chain());
    if let (Err(message), false) = (&saved, disk.failing) {
        error!(
            zone = %cell.name,
            err.message = message,
            "zone not written to disk"
        );
    }
    disk.failing = saved.is_err();
    cell.stored(saved);
}

#[cfg(test)]
#[path = "saver_tests.rs"]
mod tests;
