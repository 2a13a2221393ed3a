// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Every real primary over a bad line, restarted and cut off at random.

use std::time::Duration;

use super::lossy::Line;
use super::ours::{Ours, assert_same, policy};
use super::real::{Kind, Real, Signed, ZONE};

/// Changes while a quarter of all is lost and the primary is restarted,
/// frozen and unreachable now and then; after each quiet point, which still
/// is a bad line, we have what it has, and never anything in between.
async fn over_a_bad_line(kind: Kind, signed: Signed, seed: u64) {
    let mut policy = policy();
    policy.strict_differences = kind != Kind::Nsd;
    policy.interval_max = Duration::from_millis(250);
    policy.probe_limit = Duration::from_millis(400);
    let ours = Ours::start(ZONE, policy).await;
    let mut real = Real::start(kind, signed, ours.notify, seed).await;
    let line = Line::to(real.at()).await;
    ours.follow(vec![real.primary_over(line.at)]);
    ours.until_serial(1).await;
    line.loses(25);
    for round in 0..4 {
        let mut serial = 0;
        for _ in 0..real.history.random().usize(1..4) {
            serial = real.change().await;
        }
        match round {
            // In the midst of it, as chance has it.
            1 => {
                real.end();
                real.run().await;
            }
            2 => {
                real.freeze(true);
                ours.until("silence seen", |ours| {
                    ours.status().unwrap().last_error.is_some()
                })
                .await;
                real.freeze(false);
            }
            3 => {
                line.loses(100);
                ours.until("the cut seen", |ours| {
                    ours.status().unwrap().last_error.is_some()
                })
                .await;
                line.loses(25);
            }
            _ => {}
        }
        ours.until_serial(serial).await;
        assert_same(&ours.records(), &real.axfr());
    }
    assert!(line.lost() > 2, "it was a good line: {}", line.lost());
    assert_eq!(ours.counters().divergences, 0);
}

#[tokio::test]
async fn bind_over_a_bad_line() {
    over_a_bad_line(Kind::Bind, Signed::Sha256, 21).await;
}

#[tokio::test]
async fn knot_over_a_bad_line() {
    over_a_bad_line(Kind::Knot, Signed::No, 22).await;
}

#[tokio::test]
async fn nsd_over_a_bad_line() {
    over_a_bad_line(Kind::Nsd, Signed::No, 23).await;
}
