// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Time is paused here: what is waited for takes none.

use std::fs;

use tokio::time::{sleep, timeout};

use super::*;
use crate::dns::secondary::fake::{record, version, zone_name};
use crate::dns::store::ZoneLimits;
use crate::model::dns::ZoneName;

struct Bench {
    dir: tempfile::TempDir,
    cell: Arc<ZoneCell>,
    saver: Saver,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let cell = Arc::new(ZoneCell::new(zone_name(), Vec::new()));
    let below = dir.path().join("zones");
    fs::create_dir(&below).unwrap();
    let policy = SavePolicy::default();
    let saver = Saver::new(Arc::clone(&cell), below, policy);
    Bench { dir, cell, saver }
}

impl Bench {
    fn install(&self, serial: u32) {
        let zone = version(serial, &[record("a", 30, "A 10.0.0.1")]);
        self.cell.install(Arc::new(zone));
        self.saver.changed();
    }

    fn load(&self, zone: &ZoneName) -> Option<persist::Loaded> {
        let limits = ZoneLimits::default();
        persist::load(&self.saver.dir, zone, limits).unwrap()
    }

    fn on_disk(&self) -> Option<u32> {
        self.load(&zone_name()).map(|loaded| loaded.version.serial.0)
    }

    fn writes(&self) -> u64 {
        self.cell.writes.load(Ordering::Relaxed)
    }

    /// Lets the saver run for so long.
    async fn run(&self, time: Duration) {
        let _ = timeout(time, self.saver.run()).await;
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_thousand_changes_are_few_writes_and_the_last_one_counts() {
    let bench = bench();
    let changing = async {
        for serial in 1..=1000 {
            bench.install(serial);
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = changing => {}
        () = bench.saver.run() => {}
    }
    // Ten seconds: at once, and every five.
    assert!((2..=3).contains(&bench.writes()), "{}", bench.writes());
    // The third falls together with the last change.
    assert!(bench.on_disk().is_some());
    bench.saver.flush().await;
    assert_eq!(bench.on_disk(), Some(1000));
    let writes = bench.writes();
    bench.saver.flush().await;
    assert_eq!(bench.writes(), writes, "it is there");
}

#[tokio::test(start_paused = true)]
async fn what_comes_within_a_gap_is_written_after_it() {
    let bench = bench();
    bench.install(1);
    bench.run(SECOND).await;
    assert_eq!(bench.on_disk(), Some(1));
    bench.install(2);
    bench.run(3 * SECOND).await;
    assert_eq!(bench.on_disk(), Some(1));
    bench.run(2 * SECOND).await;
    assert_eq!(bench.on_disk(), Some(2), "with nothing more to wake it");
}

#[test]
fn the_gap_follows_what_a_write_costs() {
    let policy = SavePolicy::default();
    for (took_ms, gap_ms) in
        [(1, 5000), (250, 5000), (500, 10_000), (9000, 30_000)]
    {
        let gap = policy.gap(Duration::from_millis(took_ms));
        assert_eq!(gap, Duration::from_millis(gap_ms), "{took_ms}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_from_disk_is_not_written_again() {
    let before = bench();
    before.install(7);
    before.saver.flush().await;
    let loaded = before.load(&zone_name()).unwrap();
    let cell = Arc::new(ZoneCell::new(zone_name(), Vec::new()));
    cell.restore(loaded);
    let dir = before.saver.dir.clone();
    let saver = Saver::new(Arc::clone(&cell), dir, SavePolicy::default());
    saver.changed();
    let _ = timeout(60 * SECOND, saver.run()).await;
    assert_eq!(cell.writes.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_cannot_be_written_is_tried_again() {
    let bench = bench();
    fs::remove_dir(&bench.saver.dir).unwrap();
    fs::write(&bench.saver.dir, b"in the way").unwrap();
    bench.install(1);
    bench.run(SECOND).await;
    assert!(bench.cell.status().store_error.is_some());
    assert_eq!(bench.writes(), 0);
    fs::remove_file(&bench.saver.dir).unwrap();
    bench.run(bench.saver.policy.gap_max - 2 * SECOND).await;
    assert_eq!((bench.writes(), bench.on_disk()), (0, None), "no hurry");
    bench.run(2 * SECOND).await;
    assert_eq!((bench.writes(), bench.on_disk()), (1, Some(1)));
    assert_eq!(bench.cell.status().store_error, None);
    assert!(bench.dir.path().is_dir());
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_version_moves_the_time_of_its_file_alone() {
    let bench = bench();
    bench.install(1);
    bench.run(SECOND).await;
    let path = persist::path_of(&bench.saver.dir, &zone_name());
    let old = std::time::SystemTime::UNIX_EPOCH + 1000 * SECOND;
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(old)
        .unwrap();
    let modified = || fs::metadata(&path).unwrap().modified().unwrap();
    bench.saver.confirmed();
    bench.run(SECOND).await;
    assert_eq!(modified(), old, "written a second ago");
    sleep(TOUCH_EVERY).await;
    bench.saver.confirmed();
    bench.run(SECOND).await;
    assert!(modified() > old);
    assert_eq!(bench.writes(), 1);
}
