// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One of a pair is killed, and people are told by the other: the shipped
//! alert, through real Alertmanagers, to the webhook.

use localdc::world::{Instance, World, eventually};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::super::put_metadata;
use super::delivery::{TOLD, agreed};
use super::{object, soon, text, to_the_webhook, when, world_with};

/// The shipped alert in a hurry, for the operator's own `rule_groups`: it
/// looks back seconds rather than minutes and waits as long. Its question,
/// labels and words are the shipped ones.
fn prometheus_down() -> Value {
    let path = localdc::sites::templates().join("prometheus/rules");
    let rules = std::fs::read_to_string(path.join("prometheus.yml")).unwrap();
    let rules: Value = serde_yaml::from_str(&rules).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    let mut all = groups.flat_map(|g| g["rules"].as_array().unwrap());
    let rule = all.find(|rule| rule["alert"] == "PrometheusDown");
    let mut rule = rule.unwrap().clone();
    let asked = rule["expr"].as_str().unwrap();
    assert_eq!(asked.matches("[3m]").count(), 1, "{asked}");
    assert_eq!(rule["for"], "5m");
    rule["expr"] = json!(asked.replace("[3m]", "[30s]"));
    rule["for"] = json!("5s");
    json!([{"name": "in a hurry", "interval": "1s", "rules": [rule]}])
}

/// What the webhook was told of an alert about an instance.
fn told(world: &World, status: &str, of: &Instance) -> Vec<Value> {
    let told = world.services().webhook.told();
    let alerts = told.iter().filter_map(|one| one["alerts"].as_array());
    alerts
        .flatten()
        .filter(|alert| alert["status"] == status)
        .filter(|alert| alert["labels"]["instance"] == of.uuid())
        .cloned()
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_told_of_a_killed_partner() {
    let world = world_with(|spec| {
        spec.metadata.extend(object(json!({
            "evaluation_interval": 1,
            "alertmanager_config": to_the_webhook("1s"),
        })));
        spec.instances =
            ["a", "b"].map(|half| object(json!({"replica": half}))).into();
    })
    .await;
    let [watcher, dead] = world.instances() else { panic!("two zones") };
    let members = [watcher, dead].map(|zone| zone.daemons().alertmanager());
    agreed(&members, 2).await;
    // For longer than the hurried alert looks back.
    let series = format!(
        "min_over_time(up{{job='prometheus_dc1',instance='{}'}}[32s])",
        dead.uuid()
    );
    let up = eventually("the partner is up", TOLD, async || {
        let seen = text(watcher.daemons().value(&series).await)?;
        when(seen.as_deref() == Some("1"), || format!("{seen:?}"))
    });
    up.await.unwrap();
    put_metadata(&world, json!({"rule_groups": prometheus_down()})).await;
    // In both: an agent that has yet to apply it would start the dead again.
    for zone in [watcher, dead] {
        soon("the alert's rule", async || {
            let groups = text(zone.daemons().rule_groups().await)?;
            let known = groups.iter().any(|name| name == "in a hurry");
            when(known, || format!("{groups:?}"))
        })
        .await;
    }
    assert!(told(&world, "firing", dead).is_empty(), "nobody is dead yet");

    dead.zone().kill("prometheus", Signal::SIGKILL).await.unwrap();
    dead.zone().stop_unit("prometheus").await.unwrap();
    let alert = eventually("somebody is told", TOLD, async || {
        let told = told(&world, "firing", dead);
        told.first().cloned().ok_or_else(|| format!("{told:?}"))
    });
    let alert = alert.await.unwrap();
    let labels = alert["labels"].as_object().unwrap();
    for (label, value) in [
        ("alertname", "PrometheusDown"),
        ("severity", "critical"),
        ("job", "prometheus_dc1"),
        ("alias", "prometheus1"),
        ("datacenter", "dc1"),
    ] {
        assert_eq!(labels[label], value, "{alert}");
    }
    // Or the two of a pair would tell twice.
    assert!(!labels.contains_key("replica"), "{alert}");
    let summary =
        format!("Prometheus {} of prometheus_dc1 does not answer", dead.uuid());
    assert_eq!(alert["annotations"]["summary"], summary.as_str(), "{alert}");
    assert_eq!(alert["annotations"]["runbook"], "prometheusdown", "{alert}");

    dead.zone().start_unit("prometheus").await.unwrap();
    eventually("the end is told", TOLD, async || {
        let told = told(&world, "resolved", dead);
        when(!told.is_empty(), || format!("{told:?}"))
    })
    .await
    .unwrap();
    // Nobody else was said to be down.
    assert!(told(&world, "firing", watcher).is_empty(), "a false alarm");
}
