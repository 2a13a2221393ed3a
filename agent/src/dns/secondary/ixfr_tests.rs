// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The secondary and differences: taken where they fit, the whole zone where
//! anything is odd about them.

use super::*;
use crate::dns::secondary::fake::{FakePrimary, Mood, record};
use crate::dns::secondary::fake_ixfr::Trap;

fn hosts(from: usize, to: usize) -> Vec<hickory_proto::rr::Record> {
    (from..to).map(|n| a(&format!("h{n}"))).collect()
}

/// A zone taken at serial 1, and two changes since.
async fn behind(mood: Mood) -> (FakePrimary, Bench) {
    let primary = FakePrimary::start(1, &hosts(0, 10)).await;
    let mut bench = bench();
    bench.round(&[&primary]).await.unwrap();
    primary.set(2, &hosts(1, 11));
    primary.set(3, &hosts(2, 12));
    primary.feel(mood);
    (primary, bench)
}

fn assert_current(bench: &Bench) {
    assert_eq!(bench.serial(), Some(3));
    for (owner, there) in [("h1", false), ("h2", true), ("h11", true)] {
        assert_eq!(bench.has(owner), there, "{owner}");
    }
    assert_eq!(bench.secondary.cell.status().records, 12);
}

#[tokio::test]
async fn differences_are_taken() {
    let (primary, mut bench) = behind(Mood::Differing(Trap::None)).await;
    bench.round(&[&primary]).await.unwrap();
    assert_current(&bench);
    assert_eq!(primary.transfers(), 1, "the first one alone was full");
    assert_eq!(bench.on_disk(), Some(3));
    let counters = bench.secondary.settings.counters.snapshot();
    assert_eq!((counters.transfers_ok, counters.transfers_incremental), (2, 1));
    assert_eq!(counters.differences_odd, 0);
}

#[tokio::test]
async fn each_trap_ends_in_a_full_transfer() {
    for trap in Trap::ALL {
        let (primary, mut bench) = behind(Mood::Differing(trap)).await;
        bench.round(&[&primary]).await.unwrap();
        assert_current(&bench);
        assert_eq!(primary.transfers(), 2, "{trap:?}");
        let counters = bench.secondary.settings.counters.snapshot();
        let odd = u64::from(trap != Trap::Unknown);
        assert_eq!(counters.differences_odd, odd, "{trap:?}");
        assert_eq!(counters.transfers_incremental, 0, "{trap:?}");
        // All is well again: the next differences are asked for and taken.
        primary.feel(Mood::Differing(Trap::None));
        primary.set(4, &hosts(3, 13));
        bench.round(&[&primary]).await.unwrap();
        assert_eq!((bench.serial(), primary.transfers()), (Some(4), 2));
    }
}

#[tokio::test]
async fn differences_that_stop_halfway_are_followed_by_a_full_transfer() {
    let (primary, mut bench) = behind(Mood::Cutting).await;
    // Neither differences nor the zone: the old one stays.
    bench.round(&[&primary]).await.unwrap_err();
    assert_eq!(bench.serial(), Some(1));
    primary.feel(Mood::Differing(Trap::None));
    bench.round(&[&primary]).await.unwrap();
    assert_current(&bench);
    assert_eq!(primary.transfers(), 2);
}

#[tokio::test]
async fn differences_never_cross_from_one_primary_to_another() {
    let one = FakePrimary::start(1, &hosts(0, 10)).await;
    let two = FakePrimary::start(1, &[a("two")]).await;
    two.set(2, &[a("two"), a("too")]);
    two.feel(Mood::Differing(Trap::None));
    let mut bench = bench();
    bench.round(&[&one]).await.unwrap();
    one.feel(Mood::Silent);
    bench.waits(false);
    bench.round(&[&one, &two]).await.unwrap_err();
    bench.round(&[&one, &two]).await.unwrap();
    assert_eq!((bench.serial(), two.transfers()), (Some(2), 1));
    assert!(bench.has("too") && !bench.has("h1"));
    let status = bench.secondary.cell.status();
    let known: Vec<_> =
        status.primaries.iter().map(|p| (p.serial, p.failures)).collect();
    assert_eq!(known[0], (Some(Serial(1)), 2));
    assert_eq!(known[1], (Some(Serial(2)), 0));
}

#[tokio::test]
async fn differences_that_empty_a_zone_are_held_back_too() {
    let (primary, mut bench) = behind(Mood::Differing(Trap::None)).await;
    primary.set(4, &[]);
    let held = bench.round(&[&primary]).await;
    assert!(matches!(held, Err(DnsError::HeldBack { .. })), "{held:?}");
    assert_eq!(bench.serial(), Some(1));
    primary.set(5, &hosts(2, 12));
    bench.round(&[&primary]).await.unwrap();
    assert_eq!(bench.serial(), Some(5));
}

#[tokio::test]
async fn a_scheduled_full_transfer_finds_what_differences_lost() {
    let primary = FakePrimary::start(1, &hosts(0, 10)).await;
    let mut bench = Bench::new(RefreshPolicy {
        full_every: Duration::ZERO,
        ..RefreshPolicy::default()
    });
    bench.round(&[&primary]).await.unwrap();
    // The same serial, one set changed, one gone, one new.
    let mut other = hosts(1, 11);
    other[3] = record("h4", 30, "A 10.0.0.9");
    primary.set(1, &other);
    bench.round(&[&primary]).await.unwrap();
    assert!(bench.has("h10") && !bench.has("h0"));
    let counters = bench.secondary.settings.counters.snapshot();
    assert_eq!((counters.divergences, counters.divergent_sets), (1, 3));
    // And nothing when there is nothing.
    bench.round(&[&primary]).await.unwrap();
    assert_eq!(primary.transfers(), 3);
    let counters = bench.secondary.settings.counters.snapshot();
    assert_eq!(counters.divergences, 1);
}

#[tokio::test]
async fn differences_can_be_turned_off() {
    let (primary, _) = behind(Mood::Differing(Trap::None)).await;
    let mut bench = Bench::new(RefreshPolicy {
        incremental: false,
        ..RefreshPolicy::default()
    });
    bench.round(&[&primary]).await.unwrap();
    primary.set(4, &hosts(3, 13));
    bench.round(&[&primary]).await.unwrap();
    assert_eq!((bench.serial(), primary.transfers()), (Some(4), 3));
}
