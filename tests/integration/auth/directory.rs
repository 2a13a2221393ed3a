// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What else a day brings: health, metrics, kills.

use std::collections::BTreeSet;

use localdc::metric_names;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{House, eventually};

/// 1.9.11: no health, no metrics.
#[tokio::test]
async fn health_and_metrics_are_answered_inside_alone() {
    let house = House::open().await;
    assert_eq!(house.get(Some("boss")).await.status, 200);
    assert_eq!(house.get(Some("customer")).await.status, 401);
    let outcome = "grafana_sign_in_requests_total{outcome=\"password\"}";
    assert_eq!(house.figure(outcome).await, 1);
    let reason = "grafana_sign_in_refusals_total{reason=\"no_role\"}";
    assert_eq!(house.figure(reason).await, 1);
    assert_eq!(house.figure("grafana_sign_in_ufds_up").await, 1);
    // Rules and dashboards may ask for these, and these there are.
    let local = house.zone.bench.address;
    let url = format!("http://{local}:9167/sign-in/metrics");
    let (_, text) = house.zone.bench.get(&url).await.unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let names = samples.filter_map(|line| line.split(['{', ' ']).next());
    let names: BTreeSet<String> = names.map(str::to_owned).collect();
    let listed = metric_names::sources();
    let listed = listed.into_iter().filter(|(_, sources)| {
        sources.iter().any(|source| source.file == "sign-in")
    });
    assert_eq!(names, listed.map(|(name, _)| name).collect());
    // Outside, Grafana's own paths of these names need a sign-in, too.
    for path in ["/sign-in/metrics", "/sign-in/healthz", "/auth", "/refused"] {
        assert_eq!(house.zone.get(path, None).await.status, 401, "{path}");
    }
    let report = house.zone.bench.report().await.unwrap();
    let daemons = report["daemons"].as_array().unwrap();
    assert!(daemons.iter().any(|it| it["name"] == "auth"), "{report}");
}

/// Killed, it is started again; its socket is no obstacle, and no request is
/// let through meanwhile.
#[tokio::test]
async fn a_kill_lets_nobody_in() {
    let house = House::open().await;
    let cookie = house.session("boss").await;
    let pid = house.zone.bench.shell("pgrep -f \"$PWD.*auth.json\"").await;
    for pid in pid.stdout.lines() {
        let _ = kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL);
    }
    eventually("nobody answers", async || {
        (house.with(&cookie).await.status == 503).then_some(())
    })
    .await;
    house.restart().await;
    eventually("sessions go on", async || {
        (house.with(&cookie).await.status == 200).then_some(())
    })
    .await;
}
