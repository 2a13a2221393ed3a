// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Two shards, a pair of Prometheus servers for each.

use std::collections::BTreeSet;

use localdc::sapi::{Kind, ids};
use localdc::world::{Instance, eventually};
use nix::sys::signal::Signal;
use serde_json::json;

use super::super::{LONG, put_metadata};
use super::{World, object, soon, text, when, world_with};

/// An instance that SAPI lists and nobody runs, and the address it should
/// have.
const LOST: (&str, &str) =
    ("5f1a0f6e-6a4b-4c0e-9a54-0d8f2b7c0099", "10.88.0.200");

/// VMs of the first shard; the rest are the second's.
const FIRST: [&str; 4] = ["sapi0", "vmapi0", "cns0", "cmon0"];

/// Tags each VM with its shard; returns the aliases of the two.
fn deal_out(world: &World) -> [BTreeSet<String>; 2] {
    let mut shards = [BTreeSet::new(), BTreeSet::new()];
    world.datacenter().update(|facts| {
        for vm in &mut facts.vms {
            let shard = usize::from(!FIRST.contains(&vm.alias.as_str()));
            let tag = json!(format!("shard-{shard}"));
            vm.tags.insert("triton.cmon.groups".into(), tag);
            shards[shard].insert(vm.alias.clone());
        }
    });
    shards
}

/// Waits until a server scrapes these zones and all its targets are up.
async fn scrapes(instance: &Instance, zones: &BTreeSet<String>) {
    let look = async || {
        let targets = text(instance.daemons().targets().await)?;
        let seen: BTreeSet<String> = targets
            .iter()
            .filter(|target| target.job == "admin_dc1")
            .map(|target| target.name.clone())
            .collect();
        when(seen == *zones, || format!("zones {seen:?}"))?;
        let down: Vec<_> = targets.iter().filter(|t| !t.is_up()).collect();
        when(down.is_empty(), || format!("{down:?}"))
    };
    let found = eventually("a shard's targets", LONG, look).await;
    found.unwrap_or_else(|error| {
        let log = instance.zone().log_of("config-agent").unwrap();
        panic!("{error}\n{log}")
    });
}

/// What a server last saw of another.
async fn up(of: &Instance, instance: &str) -> Result<Option<String>, String> {
    let series = format!("up{{job='prometheus_dc1',instance='{instance}'}}");
    text(of.daemons().value(&series).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn pairs_share_a_shard_and_watch_everybody() {
    let world = world_with(|spec| {
        spec.metadata.insert("evaluation_interval".into(), json!(1));
        spec.instances = [("0", "a"), ("0", "b"), ("1", "a"), ("1", "b")]
            .map(|(shard, replica)| {
                let groups = format!("shard-{shard}");
                object(json!({"shard": shard, "replica": replica,
                    "groups": [groups]}))
            })
            .into();
    })
    .await;
    let shards = deal_out(&world);
    let all = world.instances();
    for (number, instance) in all.iter().enumerate() {
        scrapes(instance, &shards[number / 2]).await;

        let config = instance.daemons().config().await.unwrap();
        let shard = format!("shard: \"{}\"", number / 2);
        assert!(config.contains(&shard), "{config}");
        let replica = format!("replica: {}", ["a", "b"][number % 2]);
        assert!(config.contains(&replica), "{config}");
    }
    for instance in all {
        soon("everybody is watched", async || {
            for other in all {
                let seen = up(instance, other.uuid()).await?;
                let is_up = seen.as_deref() == Some("1");
                when(is_up, || format!("{}: {seen:?}", other.uuid()))?;
            }
            // The agent of one's partner too, at its admin address, and of
            // nobody else.
            let agents = "sum(up{job='config_agent_dc1'})";
            let agents = text(instance.daemons().value(agents).await)?;
            when(agents.as_deref() == Some("2"), || {
                format!("{agents:?} agents")
            })?;
            Ok(())
        })
        .await;
    }

    // One of a pair dies; its partner says so and scrapes on.
    let dead = all[1].zone();
    dead.kill("prometheus", Signal::SIGKILL).await.unwrap();
    dead.stop_unit("prometheus").await.unwrap();
    for watcher in [&all[0], &all[2]] {
        soon("the partner is missed", async || {
            let seen = up(watcher, all[1].uuid()).await?;
            when(seen.as_deref() == Some("0"), || format!("{seen:?}"))
        })
        .await;
    }
    soon("all others are up", async || {
        let targets = text(all[0].daemons().targets().await)?;
        let down: Vec<_> = targets.iter().filter(|t| !t.is_up()).collect();
        when(down.len() == 1, || format!("{down:?}"))
    })
    .await;

    // Who is down for three minutes is alerted about; one that was never up
    // need not be waited for.
    let (lost, address) = LOST;
    let networks = json!([{"name": "admin", "ip": address}]);
    world.services().sapi.put(
        Kind::Instance,
        json!({"uuid": lost, "service_uuid": ids::PROMETHEUS, "type": "vm",
            "params": {"alias": "prometheus9", "networks": networks}}),
    );
    // Agents list the others anew when their own metadata changes.
    put_metadata(&world, json!({"scrape_interval": 2})).await;
    let alerted = eventually("an alert about it", LONG, async || {
        let alerts = text(all[0].daemons().alerts().await)?;
        let known = alerts.iter().any(|alert| {
            alert.name == "PrometheusDown" && alert.instance == lost
        });
        when(known, || format!("{alerts:?}"))
    });
    alerted.await.unwrap();
}
