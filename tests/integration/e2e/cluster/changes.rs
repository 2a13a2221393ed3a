// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A change of metadata reaches each daemon by the least that will do, and
//! one that would stop a daemon reaches none.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{all_up, put_metadata, sh, told, two_polls};
use super::{
    Run, TOKEN, Touch, World, healthy, soon, status, text, to_the_webhook,
    when, world_with,
};
use Touch::{Nothing, Reload, Restart};

/// A world of one zone, with an Alertmanager, at rest.
async fn at_rest() -> World {
    let world = world_with(|spec| {
        spec.pace.poll = Duration::from_secs(1);
        spec.metadata
            .insert("alertmanager_config".into(), to_the_webhook("1s"));
    })
    .await;
    all_up(&world).await;
    soon("Alertmanager", async || {
        text(world.daemons().alertmanager().config().await)
    })
    .await;
    healthy(&world).await;
    two_polls(&world).await;
    world
}

/// Prometheus and Alertmanager.
async fn runs(world: &World) -> Result<[Run; 2], String> {
    let zone = &world.instances()[0];
    Ok([
        Run::of(zone, "prometheus").await?,
        Run::of(zone, "alertmanager").await?,
    ])
}

/// Changes metadata; Prometheus and Alertmanager are touched thus, once.
async fn touches(world: &World, metadata: Value, wanted: [Touch; 2]) {
    let before = runs(world).await.unwrap();
    let passes = status(world).await.unwrap().walk.passes;
    let what = format!("{metadata} as {wanted:?}");
    put_metadata(world, metadata).await;
    let touched = async || {
        let [prometheus, alertmanager] = runs(world).await?;
        let touched =
            [prometheus.since(&before[0])?, alertmanager.since(&before[1])?];
        when(touched == wanted, || format!("{touched:?}"))
    };
    soon(&what, touched).await;
    two_polls(world).await;
    soon("a pass over the change", async || {
        let now = status(world).await?.walk.passes;
        when(now > passes, || format!("{now} passes"))
    })
    .await;
    assert_eq!(touched().await, Ok(()), "{what}, and no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_daemon_is_touched_by_the_least_that_will_do() {
    let world = at_rest().await;
    for unit in ["prometheus", "alertmanager"] {
        let pid = world.zone().pid_of(unit).await.unwrap().unwrap();
        let environment = sh(&world, &format!("cat /proc/{pid}/environ")).await;
        let limited = environment.stdout.contains("GOMEMLIMIT=");
        assert!(limited, "{unit} knows of no cap: {environment:?}");
    }
    let group = json!({"name": "g", "rules": [{"record": "a:b", "expr": "1"}]});
    for (metadata, prometheus, alertmanager) in [
        (json!({"scrape_interval": 2}), Reload, Nothing),
        (json!({"alertmanager_config": to_the_webhook("2s")}), Nothing, Reload),
        (json!({"alertmanager_retention": "240h"}), Nothing, Restart),
        (json!({"retention_time": "40d"}), Restart, Nothing),
        (json!({"region_name": "region9"}), Reload, Nothing),
        (json!({"rule_groups": [group]}), Reload, Nothing),
        (json!({"nobody_renders": "this"}), Nothing, Nothing),
    ] {
        touches(&world, metadata, [prometheus, alertmanager]).await;
    }
    let daemons = world.daemons();
    let config = daemons.config().await.unwrap();
    assert!(config.contains("scrape_interval: 2s"), "{config}");
    assert!(config.contains("region: region9"), "{config}");
    let flags = daemons.flags().await.unwrap();
    assert_eq!(flags["storage.tsdb.retention.time"], "40d");
    let config = daemons.alertmanager().config().await.unwrap();
    assert!(config.contains("group_wait: 2s"), "{config}");
    the_last_alertmanager_leaves_nothing(&world).await;
}

async fn the_last_alertmanager_leaves_nothing(world: &World) {
    let secrets = async || {
        // The agent's copy of what SAPI said has it while SAPI has it.
        let folders = "/opt/triton/alertmanager/etc /data";
        let found = sh(world, &format!("grep -rl {TOKEN} {folders}")).await;
        found.stdout
    };
    assert!(secrets().await.contains("etc/alertmanager.yml"));
    let before = runs(world).await.unwrap();
    put_metadata(
        world,
        json!({"alertmanager": false, "alertmanager_config": null}),
    )
    .await;
    soon("no Alertmanager", async || {
        let unit = world.zone().unit("alertmanager").await.unwrap();
        let gone = unit.active_state == "inactive" && !unit.enabled;
        when(gone, || format!("{unit:?}"))
    })
    .await;
    two_polls(world).await;
    healthy(world).await;
    let files = sh(world, "ls /opt/triton/prometheus/etc").await.stdout;
    assert!(!files.contains("alertmanager"), "{files}");
    assert_eq!(secrets().await, "", "the secret is left behind");
    let prometheus = Run::of(&world.instances()[0], "prometheus").await;
    assert_eq!(prometheus.unwrap().since(&before[0]), Ok(Reload));
    let config = world.daemons().config().await.unwrap();
    assert!(!config.contains("alertmanager"), "{config}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_stop_a_daemon_is_refused_and_it_runs_on() {
    let world = at_rest().await;
    let before = runs(&world).await.unwrap();
    for (key, bad, file, cause, good) in [
        (
            "alertmanager_config",
            json!({"route": {"receiver": "nobody-there"},
                "receivers": [{"name": "hook"}]}),
            "alertmanager.yml",
            "undefined receiver",
            to_the_webhook("1s"),
        ),
        (
            "scrape_configs",
            json!([{"job_name": "x", "static_configs": "no list"}]),
            "prometheus.yml",
            "cannot unmarshal",
            Value::Null,
        ),
        (
            "rule_groups",
            json!([{"name": "x", "rules": [{"alert": "A", "expr": "1 +"}]}]),
            "operator.yml",
            "parse error",
            Value::Null,
        ),
        (
            "remote_write",
            json!([{"url": "http://192.0.2.9/write", "no_such_field": 1}]),
            "prometheus.yml",
            "no_such_field",
            Value::Null,
        ),
    ] {
        put_metadata(&world, json!({key: bad})).await;
        let said = soon("status names file and cause", async || {
            let said = told(&world).await;
            let named = said.stdout.lines().any(|line| {
                line.contains("fault:")
                    && line.contains(file)
                    && line.contains(cause)
            });
            when(named, || said.stdout.clone()).map(|()| said)
        })
        .await;
        assert_eq!(said.code, Some(1), "a fault is no success");
        two_polls(&world).await;
        assert_eq!(runs(&world).await.as_ref(), Ok(&before), "{key}");
        put_metadata(&world, json!({key: good})).await;
        healthy(&world).await;
        two_polls(&world).await;
        assert_eq!(runs(&world).await.as_ref(), Ok(&before), "{key} mended");
    }
    // A fault of one daemon's holds up nothing of the other's.
    let bad = json!({"route": {"receiver": "x"}, "receivers": [{"name": "y"}]});
    let metadata = json!({"alertmanager_config": bad, "scrape_interval": 2});
    touches(&world, metadata, [Reload, Nothing]).await;
}
