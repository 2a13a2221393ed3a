// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The secondary against primaries with CNS's habits and faults: one round at
//! a time, so that no test waits for a timer.

use hickory_proto::rr::Record;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::dns::names::WireName;
use crate::dns::secondary::fake::{
    FakePrimary, Mood, name, record, version, zone_name,
};
use crate::dns::store::persist;

struct Bench {
    secondary: Secondary,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(policy: RefreshPolicy) -> Self {
        // Tests shrink zones as they like; those that mean to, set it back.
        Self::guarded(RefreshPolicy { shrink_percent: 0, ..policy })
    }

    fn guarded(policy: RefreshPolicy) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = TransferSettings {
            store_dir: dir.path().to_owned(),
            source: None,
            zone_limits: ZoneLimits::default(),
            transfer_limits: TransferLimits {
                whole: Duration::from_secs(60),
                idle: Duration::from_secs(30),
            },
            policy,
            save: SavePolicy::default(),
            counters: Arc::default(),
            turns: Turns::default(),
        };
        let cell = Arc::new(ZoneCell::new(zone_name(), Vec::new()));
        Self { secondary: Secondary::new(cell, Arc::new(settings)), dir }
    }

    async fn round(
        &mut self,
        primaries: &[&FakePrimary],
    ) -> Result<(), DnsError> {
        let addrs: Vec<Primary> =
            primaries.iter().map(|primary| primary.addr.into()).collect();
        let outcome = self.secondary.round(&addrs).await;
        self.secondary.saver.flush().await;
        let copy = match &outcome {
            Ok(()) => Ok(()),
            Err(DnsError::HeldBack { server, records, held }) => {
                Err(DnsError::HeldBack {
                    server: *server,
                    records: *records,
                    held: *held,
                })
            }
            Err(_) => Err(DnsError::NoPrimary),
        };
        self.secondary.settle(copy);
        outcome
    }

    fn serial(&self) -> Option<u32> {
        self.secondary.cell.version().map(|version| version.serial.0)
    }

    fn has(&self, owner: &str) -> bool {
        let key = WireName::from_name(&name(owner));
        let version = self.secondary.cell.version().unwrap();
        version.node(key.as_bytes()).is_some()
    }

    /// How long it waits for those that say nothing: not at all long where
    /// one is silent, else as a busy machine wants it.
    fn waits(&mut self, long: bool) {
        let limit = Duration::from_millis(if long { 30_000 } else { 800 });
        let settings = Arc::get_mut(&mut self.secondary.settings);
        let settings = settings.expect("nobody else has them");
        settings.policy.probe_limit = limit;
        settings.transfer_limits.idle = limit;
    }

    fn on_disk(&self) -> Option<u32> {
        persist::load(self.dir.path(), &zone_name(), ZoneLimits::default())
            .unwrap()
            .map(|loaded| loaded.version.serial.0)
    }
}

fn bench() -> Bench {
    let probe_limit = Duration::from_secs(30);
    Bench::new(RefreshPolicy { probe_limit, ..RefreshPolicy::default() })
}

fn a(owner: &str) -> Record {
    record(owner, 30, "A 10.0.0.1")
}

fn many() -> Vec<Record> {
    (0..20).map(|n| a(&format!("v{n}.inst.o"))).collect()
}

#[tokio::test]
async fn a_zone_comes_over_and_onto_the_disk() {
    let primary = FakePrimary::start(7, &many()).await;
    let mut bench = bench();
    bench.round(&[&primary]).await.unwrap();
    assert_eq!(bench.serial(), Some(7));
    assert!(bench.has("v19.inst.o"));
    assert_eq!(bench.on_disk(), Some(7));
    let status = bench.secondary.cell.status();
    assert_eq!(status.records, 22, "the double counts once");
    assert_eq!(status.primary, Some(primary.addr));
    assert!(!status.loaded_from_disk && !status.expired);
}

#[tokio::test]
async fn an_equal_serial_is_not_transferred() {
    let primary = FakePrimary::start(7, &many()).await;
    let mut bench = bench();
    for _ in 0..3 {
        bench.round(&[&primary]).await.unwrap();
    }
    assert_eq!(primary.transfers(), 1);
    primary.set(8, &[a("new")]);
    bench.round(&[&primary]).await.unwrap();
    assert_eq!((bench.serial(), bench.has("new")), (Some(8), true));
    assert!(!bench.has("v1.inst.o"));
}

#[tokio::test]
async fn an_equal_serial_is_compared_now_and_then() {
    let primary = FakePrimary::start(7, &many()).await;
    let mut bench = Bench::new(RefreshPolicy {
        full_every: Duration::ZERO,
        ..RefreshPolicy::default()
    });
    bench.round(&[&primary]).await.unwrap();
    primary.set(7, &[a("other")]);
    bench.round(&[&primary]).await.unwrap();
    assert!(bench.has("other"));
}

#[tokio::test]
async fn a_failed_transfer_leaves_the_old_version() {
    let primary = FakePrimary::start(7, &many()).await;
    let mut bench = bench();
    bench.round(&[&primary]).await.unwrap();
    primary.set(8, &[a("new"), a("newer"), a("newest")]);
    for mood in [
        Mood::Refusing,
        Mood::Failing,
        Mood::Cutting,
        Mood::Stalling,
        Mood::Babbling,
        Mood::Silent,
    ] {
        primary.feel(mood);
        bench.waits(!matches!(mood, Mood::Stalling | Mood::Silent));
        bench.round(&[&primary]).await.unwrap_err();
        assert_eq!(bench.serial(), Some(7));
        assert!(bench.has("v1.inst.o"));
        let status = bench.secondary.cell.status();
        assert!(status.last_error.is_some());
    }
    primary.feel(Mood::Good);
    bench.waits(true);
    bench.round(&[&primary]).await.unwrap();
    assert_eq!(bench.serial(), Some(8));
    assert_eq!(bench.secondary.cell.status().last_error, None);
}

#[tokio::test]
async fn messages_may_be_as_large_as_they_can_be() {
    let text = "t".repeat(200);
    let records: Vec<Record> = (0..600)
        .map(|n| record(&format!("v{n}"), 30, &format!("TXT {text}{n}")))
        .collect();
    let primary = FakePrimary::start(7, &records).await;
    primary.feel(Mood::Bulky);
    let mut bench = bench();
    bench.round(&[&primary]).await.unwrap();
    assert_eq!(bench.secondary.cell.status().records, 602);
}

#[tokio::test]
async fn a_zone_above_the_limits_is_refused() {
    let primary = FakePrimary::start(7, &many()).await;
    let mut bench = bench();
    bench.round(&[&primary]).await.unwrap();
    let settings = Arc::get_mut(&mut bench.secondary.settings).unwrap();
    settings.zone_limits.max_records = 30;
    let more: Vec<Record> = (0..40).map(|n| a(&format!("w{n}"))).collect();
    primary.set(8, &more);
    let refused = bench.round(&[&primary]).await;
    assert!(matches!(refused, Err(DnsError::Transfer { .. })));
    assert_eq!(bench.serial(), Some(7));
}

#[tokio::test]
async fn a_serial_that_went_back_is_adopted() {
    let primary = FakePrimary::start(100, &many()).await;
    let mut bench = bench();
    bench.round(&[&primary]).await.unwrap();
    primary.set(90, &[a("restored")]);
    bench.round(&[&primary]).await.unwrap();
    assert_eq!((bench.serial(), bench.has("restored")), (Some(90), true));
}

#[tokio::test]
async fn an_empty_zone_is_held_back() {
    let primary = FakePrimary::start(7, &many()).await;
    let mut bench = bench();
    bench.round(&[&primary]).await.unwrap();
    // The third is our own serial: a coincidence.
    for serial in [5, 6, 7, 8] {
        primary.set(serial, &[]);
        let held = bench.round(&[&primary]).await;
        assert!(matches!(held, Err(DnsError::HeldBack { .. })), "{held:?}");
        assert_eq!(bench.serial(), Some(7));
        assert!(bench.has("v1.inst.o"));
    }
    // Populated again, under a serial between: taken at once.
    primary.set(6, &[a("back")]);
    bench.round(&[&primary]).await.unwrap();
    assert_eq!((bench.serial(), bench.has("back")), (Some(6), true));
    assert!(bench.secondary.doubt_since.is_none());
}

#[tokio::test]
async fn a_zone_that_lost_much_is_held_back() {
    let primary = FakePrimary::start(7, &many()).await;
    let mut bench = Bench::guarded(RefreshPolicy::default());
    bench.round(&[&primary]).await.unwrap();
    // 22 records with SOA and NS; nine are less than half.
    primary.set(8, &many()[..8]);
    let held = bench.round(&[&primary]).await;
    assert!(matches!(held, Err(DnsError::HeldBack { .. })), "{held:?}");
    assert_eq!(bench.serial(), Some(7));
    let status = bench.secondary.cell.status();
    let doubted = status.held_back.unwrap();
    assert_eq!((doubted.serial.0, doubted.records), (8, 10));
    assert!(status.last_error.unwrap().contains("10 records in place of 22"));
    let counters = bench.secondary.settings.counters.snapshot();
    assert_eq!(counters.held_back, 1);
    // Half is left: taken at once, and all is well.
    primary.set(9, &many()[..9]);
    bench.round(&[&primary]).await.unwrap();
    assert_eq!(bench.serial(), Some(9));
    assert_eq!(bench.secondary.cell.status().held_back, None);
}

#[tokio::test]
async fn an_empty_zone_is_believed_after_a_while() {
    let primary = FakePrimary::start(7, &many()).await;
    let mut bench = bench();
    bench.round(&[&primary]).await.unwrap();
    primary.set(1000, &[]);
    bench.round(&[&primary]).await.unwrap_err();
    let wait = bench.secondary.settings.policy.hold_back;
    bench.secondary.doubt_since = Instant::now().checked_sub(wait);
    bench.round(&[&primary]).await.unwrap();
    assert_eq!((bench.serial(), bench.has("v1.inst.o")), (Some(1000), false));
}

#[tokio::test]
async fn an_empty_zone_is_believed_when_another_primary_agrees() {
    let one = FakePrimary::start(7, &many()).await;
    let two = FakePrimary::start(3, &[]).await;
    let mut bench = bench();
    bench.round(&[&one]).await.unwrap();
    one.set(1000, &[]);
    bench.round(&[&one, &two]).await.unwrap();
    assert_eq!(bench.serial(), Some(1000));
}

#[tokio::test]
async fn a_populated_zone_beats_an_empty_one() {
    let one = FakePrimary::start(1000, &[]).await;
    let two = FakePrimary::start(3, &many()).await;
    let mut bench = bench();
    bench.round(&[&one, &two]).await.unwrap();
    assert_eq!(bench.serial(), Some(3));
    assert_eq!(bench.secondary.cell.status().primary, Some(two.addr));
}

#[tokio::test]
async fn a_new_zone_may_be_empty() {
    let primary = FakePrimary::start(1000, &[]).await;
    let mut bench = bench();
    bench.round(&[&primary]).await.unwrap();
    assert_eq!(bench.serial(), Some(1000));
}

#[tokio::test]
async fn an_empty_zone_may_fill_under_the_same_serial() {
    let primary = FakePrimary::start(1000, &[]).await;
    let mut bench = bench();
    bench.round(&[&primary]).await.unwrap();
    primary.set(1000, &many());
    bench.round(&[&primary]).await.unwrap();
    assert!(bench.has("v1.inst.o"));
}

#[tokio::test]
async fn failover_waits_then_adopts_the_others_serial() {
    let one = FakePrimary::start(100, &many()).await;
    let two = FakePrimary::start(5, &[a("two")]).await;
    let mut bench = bench();
    bench.round(&[&one, &two]).await.unwrap();
    assert_eq!((bench.serial(), two.transfers()), (Some(100), 0));
    one.feel(Mood::Silent);
    bench.waits(false);
    bench.round(&[&one, &two]).await.unwrap_err();
    assert_eq!(bench.serial(), Some(100), "one bad round is no reason");
    bench.round(&[&one, &two]).await.unwrap();
    assert_eq!((bench.serial(), bench.has("two")), (Some(5), true));
    // The first is back: no reason to return.
    one.feel(Mood::Good);
    bench.waits(true);
    bench.round(&[&one, &two]).await.unwrap();
    assert_eq!((bench.serial(), two.transfers()), (Some(5), 1));
}

#[tokio::test]
async fn a_primary_that_is_no_longer_listed_is_left_at_once() {
    let one = FakePrimary::start(100, &many()).await;
    let two = FakePrimary::start(5, &[a("two")]).await;
    let mut bench = bench();
    bench.round(&[&one]).await.unwrap();
    bench.round(&[&two]).await.unwrap();
    assert_eq!(bench.serial(), Some(5));
}

#[tokio::test]
async fn without_data_every_primary_is_tried() {
    let one = FakePrimary::start(100, &many()).await;
    one.feel(Mood::Refusing);
    let two = FakePrimary::start(5, &[a("two")]).await;
    let mut bench = bench();
    bench.round(&[&one, &two]).await.unwrap();
    assert_eq!(bench.serial(), Some(5));
    let none = bench.secondary.round(&[]).await;
    assert!(matches!(none, Err(DnsError::NoPrimary)));
}

#[tokio::test]
async fn a_disk_that_fails_is_said_and_the_zone_served() {
    let primary = FakePrimary::start(7, &many()).await;
    let mut bench = bench();
    std::fs::remove_dir(bench.dir.path()).unwrap();
    std::fs::write(bench.dir.path(), b"in the way").unwrap();
    bench.round(&[&primary]).await.unwrap();
    assert_eq!(bench.serial(), Some(7));
    assert!(bench.secondary.cell.status().store_error.is_some());
    std::fs::remove_file(bench.dir.path()).unwrap();
    primary.set(8, &many());
    bench.round(&[&primary]).await.unwrap();
    assert_eq!(bench.secondary.cell.status().store_error, None);
}

#[tokio::test]
async fn a_zone_past_its_expire_is_withdrawn_by_policy() {
    let policy = RefreshPolicy {
        serve_expired: false,
        expire_min: Duration::ZERO,
        expire_max: Duration::ZERO,
        ..RefreshPolicy::default()
    };
    let primary = FakePrimary::start(7, &many()).await;
    let mut bench = Bench::new(policy);
    bench.round(&[&primary]).await.unwrap();
    assert!(bench.secondary.cell.version().is_some());
    primary.feel(Mood::Failing);
    bench.round(&[&primary]).await.unwrap_err();
    let cell = Arc::clone(&bench.secondary.cell);
    assert!(cell.version().is_none() && cell.status().expired);
    assert_eq!(cell.status().serial, Some(Serial(7)), "still ours");
    // The primary confirms it: no transfer is needed to serve it again.
    primary.feel(Mood::Good);
    bench.round(&[&primary]).await.unwrap();
    assert!(cell.version().is_some());
    assert_eq!(primary.transfers(), 1);
}

#[tokio::test]
async fn an_expired_zone_is_served_and_called_expired() {
    let cell = ZoneCell::new(zone_name(), Vec::new());
    let expire = version(1, &many()).timers.expire;
    for (age, expired) in
        [(expire / 2, false), (expire + Duration::from_secs(60), true)]
    {
        cell.restore(persist::Loaded {
            version: version(1, &many()),
            confirmed: std::time::SystemTime::now() - age,
        });
        let status = cell.status();
        assert_eq!(status.expired, expired);
        assert!(status.loaded_from_disk && cell.version().is_some());
    }
    cell.confirm();
    assert!(!cell.is_expired());
}

/// The key file of its only primary is bad, say.
#[tokio::test]
async fn a_zone_without_primaries_expires_too() {
    let second = Duration::from_millis(50);
    let policy = RefreshPolicy {
        serve_expired: false,
        expire_min: Duration::ZERO,
        expire_max: 8 * second,
        interval_min: second,
        interval_max: second,
        ..RefreshPolicy::default()
    };
    let primary = FakePrimary::start(7, &many()).await;
    let mut bench = Bench::new(policy);
    bench.round(&[&primary]).await.unwrap();
    let cell = Arc::clone(&bench.secondary.cell);
    assert!(cell.version().is_some());
    let stop = CancellationToken::new();
    let task = tokio::spawn(bench.secondary.run(stop.clone()));
    let waiting = async {
        while cell.version().is_some() {
            tokio::time::sleep(second).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
    stop.cancel();
    task.await.unwrap();
}

#[path = "ixfr_tests.rs"]
mod differences;
