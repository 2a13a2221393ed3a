// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! From SAPI and VMAPI to what Prometheus does.

use serde_json::json;

use super::{
    all_up, loads, prometheus_pid, put_metadata, soon, status, text, told,
    two_polls, when, world,
};

#[tokio::test(flavor = "multi_thread")]
async fn scrape_interval_follows_sapi_without_a_restart() {
    let world = world().await;
    all_up(&world).await;
    let daemons = world.daemons();
    let before =
        (prometheus_pid(&world).await, daemons.start_time().await.unwrap());
    assert!(daemons.config().await.unwrap().contains("interval: 3s"));
    let reads = loads(&world);

    put_metadata(&world, json!({"scrape_interval": 2})).await;
    soon("the new interval", async || {
        let yaml = text(daemons.config().await)?;
        when(yaml.contains("scrape_interval: 2s"), || yaml)
    })
    .await;
    two_polls(&world).await;
    let after =
        (prometheus_pid(&world).await, daemons.start_time().await.unwrap());
    assert_eq!(before, after, "Prometheus was restarted");
    assert_eq!(loads(&world), reads + 1, "not one reload");
    all_up(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn created_vm_becomes_an_up_target_and_a_destroyed_one_goes() {
    let world = world().await;
    all_up(&world).await;
    let vmapi = world.doors().vmapi.local_addr();
    let http = world.daemons().http();
    let uuid = "7c0d6f5e-1b2a-4c3d-8e4f-5a6b7c8d9e0f";
    let vm = json!({
        "uuid": uuid,
        "alias": "web0",
        "owner_uuid": localdc::world::ADMIN,
        "tags": {"smartdc_role": "web"},
        "networks": ["external"],
    });
    let url = format!("http://{vmapi}/vms");
    let made = http.post(&url).json(&vm).send().await.unwrap();
    assert_eq!(made.status(), 202);
    // Every running VM of admin must be up, so the new one too.
    all_up(&world).await;
    let targets = world.daemons().targets().await.unwrap();
    let web = targets.iter().find(|target| target.name == "web0").unwrap();
    assert_eq!(web.job, "admin_dc1");
    let host = format!("https://{uuid}.cmon.dc1.cns.triton.test:9163/metrics");
    assert_eq!(web.url, host);

    let gone = http.delete(format!("{url}/{uuid}")).send().await.unwrap();
    assert!(gone.status().is_success());
    soon("the target gone", async || {
        let targets = text(world.daemons().targets().await)?;
        when(targets.iter().all(|t| t.name != "web0"), || "there".into())
    })
    .await;
    all_up(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_metadata_leaves_the_running_configuration() {
    let world = world().await;
    all_up(&world).await;
    let daemons = world.daemons();
    let before = (
        daemons.config().await.unwrap(),
        daemons.start_time().await.unwrap(),
        loads(&world),
    );
    for (key, bad, line, good) in [
        (
            "scrape_timeout",
            json!(30),
            "scrape_timeout: saw 30, wanted at most scrape_interval, which \
             is 3 seconds",
            json!(3),
        ),
        (
            "scrape_interval",
            json!("often"),
            "scrape_interval: saw \"often\", wanted",
            json!(3),
        ),
    ] {
        put_metadata(&world, json!({key: bad})).await;
        let said = soon("status names the fault", async || {
            let said = told(&world).await;
            let lines = said.stdout.lines();
            let faults = lines.filter(|l| l.contains("fault:")).count();
            let seen = said.stdout.contains(line) && faults == 1;
            when(seen, || said.stdout.clone()).map(|()| said)
        })
        .await;
        assert_eq!(said.code, Some(1), "a fault is no success");
        two_polls(&world).await;
        let now = (
            daemons.config().await.unwrap(),
            daemons.start_time().await.unwrap(),
            loads(&world),
        );
        assert_eq!(now, before, "the running configuration was touched");

        put_metadata(&world, json!({key: good})).await;
        soon("healthy again", async || {
            let report = status(&world).await?;
            when(report.healthy, || report.faults.join("; "))
        })
        .await;
        assert!(told(&world).await.success());
    }
    all_up(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_restarts_prometheus_with_the_new_flag() {
    let world = world().await;
    all_up(&world).await;
    let daemons = world.daemons();
    let flag = "storage.tsdb.retention.time";
    assert_eq!(daemons.flags().await.unwrap()[flag], "31d");
    let before = prometheus_pid(&world).await;
    put_metadata(&world, json!({"retention_time": "40d"})).await;
    soon("the new flag", async || {
        let flags = text(daemons.flags().await)?;
        when(flags[flag] == "40d", || flags[flag].to_string())
    })
    .await;
    let after = prometheus_pid(&world).await;
    assert_ne!(before, after);
    two_polls(&world).await;
    assert_eq!(prometheus_pid(&world).await, after, "more than one restart");
    all_up(&world).await;
}
