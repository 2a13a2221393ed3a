// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! SIGKILL at any moment of a transfer and of a write.

use std::time::{Duration, Instant};

use super::{Rig, serial_of};

const KILLS: usize = 52;
/// Of each kind, at least so many must have come in the midst of it.
const AMID: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_amid_transfers_and_writes_the_zone_stays_whole() {
    let mut rig = Rig::start(10_000, 31).await;
    // The first copy.
    let agent = rig.bench.start();
    rig.until_file().await;
    agent.kill().await;
    let (_, mut on_disk) = rig.inspect();
    let (mut amid_writes, mut amid_transfers) = (0, 0);
    let mut kills = 0;
    for round in 0..3 * KILLS {
        // Where a process waits long for its turn, many come too late.
        if kills >= KILLS && amid_writes >= AMID && amid_transfers >= AMID {
            break;
        }
        kills += 1;
        // A new zone waits for whoever starts.
        let newest = rig.real.change().await;
        let agent = rig.bench.start();
        // Names come from the store before any primary is asked.
        let first = rig.first_serial().await;
        assert!((on_disk..=newest).contains(&first), "{first} of {on_disk}");
        let lacks = [amid_writes < AMID, amid_transfers < AMID];
        let writing = match (kills > KILLS, lacks) {
            (true, [true, false]) => true,
            (true, [false, true]) => false,
            _ => round % 2 == 0,
        };
        match writing {
            true => rig.until_writing().await,
            false => tokio::time::sleep(some_millis()).await,
        }
        agent.kill().await;
        let (writing, left) = rig.inspect();
        assert!((on_disk..=newest).contains(&left), "{left} after {on_disk}");
        amid_writes += usize::from(writing);
        amid_transfers += usize::from(left != newest && !writing);
        on_disk = left;
    }
    println!("{kills}: {amid_writes} writing, {amid_transfers} before that");
    assert!(amid_writes >= AMID && amid_transfers >= AMID);
    let _agent = rig.bench.start();
    let newest = rig.real.change().await;
    rig.until_serial(newest).await;
}

fn some_millis() -> Duration {
    Duration::from_millis(fastrand::u64(0..60))
}

impl Rig {
    pub(super) async fn until_file(&self) {
        let begin = Instant::now();
        while !self.file().exists() {
            assert!(begin.elapsed() < Duration::from_secs(20), "no file");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A write has begun, or seems to have been too quick to be seen.
    async fn until_writing(&self) {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(2) {
            if self.leftovers() > 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    fn leftovers(&self) -> usize {
        let Ok(entries) = std::fs::read_dir(self.zones()) else { return 0 };
        let paths = entries.flatten().map(|entry| entry.path());
        paths
            .filter(|path| path.extension().is_some_and(|e| e == "zone-tmp"))
            .count()
    }

    /// Whether a write was cut off, and the serial of the zone's file, which
    /// must be there and whole. Nothing was set aside.
    fn inspect(&self) -> (bool, u32) {
        let mut on_disk = None;
        for entry in std::fs::read_dir(self.zones()).unwrap().flatten() {
            let path = entry.path();
            let ending = path.extension().unwrap().to_str().unwrap();
            match ending {
                "zone" => {
                    on_disk = Some(serial_of(&std::fs::read(&path).unwrap()));
                }
                "zone-tmp" => {}
                other => panic!("{other}: {}", path.display()),
            }
        }
        let leftovers = self.leftovers();
        assert!(leftovers <= 1, "{leftovers} writes left over");
        (leftovers > 0, on_disk.expect("the zone's file"))
    }
}
