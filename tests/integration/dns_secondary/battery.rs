// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One list of checks over every real primary.

use std::time::Duration;

use super::ours::{Ours, assert_same, policy};
use super::real::{Kind, Real, Signed, ZONE};

async fn rounds(kind: Kind, signed: Signed) {
    let mut policy = policy();
    // NSD 4.6 adds the whole RRset where one record of it is new.
    policy.strict_differences = kind != Kind::Nsd;
    let ours = Ours::start(ZONE, policy).await;
    let mut real = Real::start(kind, signed, ours.notify, 1).await;
    ours.follow(vec![real.primary()]);
    ours.until_serial(1).await;
    assert_same(&ours.records(), &real.axfr());
    let before = ours.counters();
    let mut chains = 0;
    for round in 0..6 {
        // Half of the rounds are told by NOTIFY, change by change. In the
        // others we are away for a while and find a chain of differences.
        let away = round % 2 == 1;
        if away {
            ours.follow(Vec::new());
            chains += 1;
        }
        let steps = real.history.random().usize(1..4);
        let mut serial = 0;
        for _ in 0..steps {
            serial = real.change().await;
        }
        if away {
            ours.follow(vec![real.primary()]);
        }
        ours.until_serial(serial).await;
        assert_same(&ours.records(), &real.axfr());
    }
    let after = ours.counters();
    assert!(after.notifies > before.notifies, "{after:?}");
    assert!(after.transfers_incremental >= chains, "{after:?}");
    assert_eq!(after.differences_odd, 0, "{after:?}");
    assert_eq!(after.divergences, 0, "{after:?}");
}

#[tokio::test]
async fn bind_gives_differences() {
    rounds(Kind::Bind, Signed::No).await;
}

#[tokio::test]
async fn bind_gives_signed_differences() {
    rounds(Kind::Bind, Signed::Sha256).await;
}

#[tokio::test]
async fn knot_gives_differences() {
    rounds(Kind::Knot, Signed::No).await;
}

#[tokio::test]
async fn knot_gives_signed_differences() {
    rounds(Kind::Knot, Signed::Sha512).await;
}

#[tokio::test]
async fn nsd_gives_differences() {
    rounds(Kind::Nsd, Signed::No).await;
}

#[tokio::test]
async fn nsd_gives_signed_differences() {
    rounds(Kind::Nsd, Signed::Sha512).await;
}

/// The primary goes and comes, changes in between; at the end we have what it
/// has, and meanwhile what it had.
async fn flapping(kind: Kind) {
    let mut policy = policy();
    policy.interval_max = Duration::from_millis(200);
    let ours = Ours::start(ZONE, policy).await;
    let mut real = Real::start(kind, Signed::No, ours.notify, 2).await;
    ours.follow(vec![real.primary()]);
    ours.until_serial(1).await;
    for _ in 0..3 {
        let held = ours.records();
        real.end();
        ours.until("outage seen", |ours| {
            ours.status().is_some_and(|s| s.last_error.is_some())
        })
        .await;
        assert_same(&ours.records(), &held);
        real.run().await;
        let serial = real.change().await;
        ours.until_serial(serial).await;
        assert_same(&ours.records(), &real.axfr());
    }
    ours.until("all is well", |ours| {
        ours.status().is_some_and(|s| s.last_error.is_none())
    })
    .await;
}

#[tokio::test]
async fn bind_may_flap() {
    flapping(Kind::Bind).await;
}

#[tokio::test]
async fn knot_may_flap() {
    flapping(Kind::Knot).await;
}

#[tokio::test]
async fn nsd_may_flap() {
    flapping(Kind::Nsd).await;
}

/// The primary accepts connections and says nothing: half-open.
#[tokio::test]
async fn a_frozen_primary_costs_a_time_limit_and_no_more() {
    let mut policy = policy();
    policy.interval_max = Duration::from_millis(200);
    policy.probe_limit = Duration::from_millis(300);
    let ours = Ours::start(ZONE, policy).await;
    let mut real = Real::start(Kind::Bind, Signed::No, ours.notify, 3).await;
    ours.follow(vec![real.primary()]);
    ours.until_serial(1).await;
    let serial = real.change().await;
    ours.until_serial(serial).await;
    let held = ours.records();
    real.freeze(true);
    ours.until("silence seen", |ours| {
        let status = ours.status().unwrap();
        status.primaries.first().is_some_and(|p| p.failures >= 2)
    })
    .await;
    assert_same(&ours.records(), &held);
    real.freeze(false);
    let serial = real.change().await;
    ours.until_serial(serial).await;
    assert_same(&ours.records(), &real.axfr());
}

/// Two primaries with serials of their own: the second is taken whole when
/// the first is gone, whatever its serial.
#[tokio::test]
async fn failover_takes_the_other_primarys_zone_whole() {
    let mut policy = policy();
    policy.interval_max = Duration::from_millis(200);
    let ours = Ours::start(ZONE, policy).await;
    let mut one = Real::start(Kind::Knot, Signed::No, ours.notify, 4).await;
    let two = Real::start(Kind::Bind, Signed::Sha256, ours.notify, 5).await;
    // From the first, which the second would else stand in for.
    ours.follow(vec![one.primary()]);
    ours.until_serial(1).await;
    ours.follow(vec![one.primary(), two.primary()]);
    let serial = one.change().await;
    ours.until_serial(serial).await;
    let incremental = ours.counters().transfers_incremental;
    assert!(incremental >= 1);
    one.end();
    ours.until("failover", |ours| {
        ours.status().unwrap().primary == Some(two.primary().address)
    })
    .await;
    assert_eq!(ours.serial(), Some(1), "adopted though lower");
    assert_same(&ours.records(), &two.axfr());
    assert_eq!(ours.counters().transfers_incremental, incremental);
    // The first is back: no reason to return.
    one.run().await;
    let before = ours.status().unwrap();
    assert_eq!(before.primary, Some(two.primary().address));
}

/// A key that is not the primary's: nothing is taken, and the reason said.
#[tokio::test]
async fn a_wrong_key_is_told() {
    let ours = Ours::start(ZONE, policy()).await;
    let real = Real::start(Kind::Bind, Signed::Sha256, ours.notify, 6).await;
    let other = Real::start(Kind::Knot, Signed::Sha512, ours.notify, 6).await;
    let mut wrong = real.primary();
    wrong.key = other.primary().key;
    ours.follow(vec![wrong]);
    ours.until("refusal", |ours| {
        ours.status().is_some_and(|s| {
            s.last_error.is_some_and(|error| error.contains("TSIG"))
        })
    })
    .await;
    assert_eq!(ours.serial(), None);
    // An unsigned question is refused by the primary, and told, too.
    let mut unsigned = real.primary();
    unsigned.key = None;
    ours.follow(vec![unsigned]);
    ours.until("refusal", |ours| {
        ours.status().is_some_and(|s| {
            s.last_error.is_some_and(|error| error.contains("REFUSED"))
        })
    })
    .await;
    ours.follow(vec![real.primary()]);
    ours.until_serial(1).await;
    assert_same(&ours.records(), &real.axfr());
}
