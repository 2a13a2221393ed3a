// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! An Alertmanager cluster of three, one of which dies on duty.

use std::time::Duration;

use localdc::world::{Alertmanager, Cluster, eventually};
use nix::sys::signal::Signal;
use serde_json::json;

use super::super::{LONG, put_metadata};
use super::{World, object, soon, text, to_the_webhook, when, world_with};

/// Between an alert's coming and the first word of it: long enough to kill
/// who would say it.
const GROUP_WAIT: &str = "20s";

/// The dead one's turn, the wait for it (15 s), a minute where Prometheus had
/// no Alertmanager for a reload just when it was to tell, and a slow machine.
pub(super) const TOLD: Duration = Duration::from_secs(180);

fn member(world: &World, number: usize) -> &Alertmanager {
    world.instances()[number].daemons().alertmanager()
}

/// Waits until the members agree on `count` of them and are ready.
pub(super) async fn agreed(
    members: &[&Alertmanager],
    count: usize,
) -> Vec<Cluster> {
    let look = async || {
        let mut all: Vec<Cluster> = Vec::new();
        for member in members {
            all.push(text(member.cluster().await)?);
        }
        let good = all.iter().all(|one| {
            one.status == "ready"
                && one.members.len() == count
                && one.members == all[0].members
        });
        when(good, || format!("{all:?}")).map(|()| all)
    };
    eventually("one cluster", LONG, look).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_outlives_the_alertmanager_that_was_to_tell() {
    let world = world_with(|spec| {
        spec.instances = vec![object(json!({})); 3];
        spec.metadata.extend(object(json!({
            "alertmanager_config": to_the_webhook(GROUP_WAIT),
            "evaluation_interval": 1,
        })));
    })
    .await;
    let all = [0, 1, 2].map(|number| member(&world, number));
    let clusters = agreed(&all, 3).await;
    // They tell in the order of their names, the later ones if need be.
    let first =
        clusters.iter().position(|one| one.name == one.members[0]).unwrap();
    let others: Vec<usize> = (0..3).filter(|&n| n != first).collect();

    let silence = member(&world, first).silence("Hushed").await.unwrap();
    for &number in &others {
        soon("the silence elsewhere", async || {
            let there = text(member(&world, number).silences().await)?;
            when(there.contains(&silence), || format!("{there:?}"))
        })
        .await;
    }

    // A reload takes Prometheus' Alertmanagers from it for up to 5 s, and
    // what it would say then it says a minute later.
    let rule =
        |name: &str| json!({"alert": name, "expr": "vector(1)", "for": "7s"});
    let rules = json!([{"name": "test", "interval": "1s",
        "rules": [rule("Loud"), rule("Hushed")]}]);
    put_metadata(&world, json!({"rule_groups": rules})).await;
    for number in 0..3 {
        soon("the alert", async || {
            let known = text(member(&world, number).alerts().await)?;
            when(known.iter().any(|name| name == "Loud"), || {
                format!("{known:?}")
            })
        })
        .await;
    }
    let zone = world.instances()[first].zone();
    zone.kill("alertmanager", Signal::SIGKILL).await.unwrap();
    // The supervisor would start it again.
    zone.stop_unit("alertmanager").await.unwrap();
    let webhook = &world.services().webhook;
    assert_eq!(webhook.times_told("Loud", "firing"), 0, "killed too late");
    let told = eventually("somebody tells", TOLD, async || {
        let told = webhook.times_told("Loud", "firing");
        when(told > 0, || format!("{:?}", webhook.told()))
    });
    told.await.unwrap();

    agreed(&[all[others[0]], all[others[1]]], 2).await;
    for &number in &others {
        // All three servers sent it; the replica label is gone from it.
        let known = member(&world, number).alerts().await.unwrap();
        let same = known.iter().filter(|name| *name == "Loud").count();
        assert_eq!(same, 1, "{known:?}");
        assert!(!known.contains(&"Hushed".to_owned()), "{known:?}");
    }
    world.instances()[first].zone().start_unit("alertmanager").await.unwrap();
    agreed(&all, 3).await;
    soon("the silence where it was made", async || {
        let there = text(member(&world, first).silences().await)?;
        when(there.contains(&silence), || format!("{there:?}"))
    })
    .await;
    assert_eq!(webhook.times_told("Hushed", "firing"), 0, "silence is broken");
}
