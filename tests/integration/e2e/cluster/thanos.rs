// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A thanos zone: the real Alertmanager in it, in one cluster with that of a
//! prometheus zone, whose Prometheus watches everything there. Thanos itself
//! is a stand-in that is ready and no more.

use localdc::world::{Instance, THANOS_UUID, eventually, joined};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::super::{LONG, put_metadata};
use super::delivery::{TOLD, agreed};
use super::{Run, Touch, World, object, soon, text, to_the_webhook, when};
use super::{TOKEN, world_with};

/// What a thanos zone runs that is not told: there is no bucket.
const COMPONENTS: [&str; 3] = ["query", "query-frontend", "rule"];

async fn both() -> World {
    let alerting = || {
        object(json!({
            "alertmanager_config": to_the_webhook("1s"),
        }))
    };
    world_with(|spec| {
        spec.metadata.extend(alerting());
        spec.metadata.insert("evaluation_interval".into(), json!(1));
        spec.thanos = Some(alerting());
    })
    .await
}

/// Waits until the zone's agent has all in force and every daemon up.
async fn healthy(zone: &Instance) {
    let look = async || {
        let report = text(zone.daemons().status().await)?;
        let ready = report.daemons.iter().filter(|daemon| daemon.ready);
        let names: Vec<&str> = ready.map(|d| d.name.as_str()).collect();
        when(report.healthy && names.contains(&"alertmanager"), || {
            format!("{names:?} {}", report.faults.join("; "))
        })?;
        for component in COMPONENTS {
            let wanted = format!("thanos-{component}");
            when(names.contains(&wanted.as_str()), || format!("{names:?}"))?;
        }
        Ok(())
    };
    let found = eventually("a healthy thanos zone", LONG, look).await;
    found.unwrap_or_else(|error| {
        let log = zone.zone().log_of("config-agent").unwrap();
        panic!("{}\n{log}", joined(&error))
    });
}

/// Waits until a server sees a target of another zone up.
async fn sees(by: &Instance, job: &str, more: &str) {
    let series =
        format!("up{{job='{job}_dc1',instance='{THANOS_UUID}'{more}}}");
    let look = async || {
        let seen = text(by.daemons().value(&series).await)?;
        when(seen.as_deref() == Some("1"), || format!("{series} {seen:?}"))
    };
    eventually("a target in the thanos zone", LONG, look).await.unwrap();
}

/// As an operator does it: metadata of the thanos zone's own instance.
async fn put_thanos_metadata(world: &World, metadata: Value) {
    let sapi = world.doors().sapi.local_addr();
    let url = format!("http://{sapi}/instances/{THANOS_UUID}");
    let body = json!({"metadata": metadata});
    let sent = world.daemons().http().put(url).json(&body).send().await;
    assert!(sent.unwrap().status().is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alertmanager_beside_thanos_is_one_of_the_cluster() {
    let world = both().await;
    let prometheus = &world.instances()[0];
    let thanos = world.thanos().unwrap();
    healthy(thanos).await;
    let members =
        [prometheus, thanos].map(|zone| zone.daemons().alertmanager());
    agreed(&members, 2).await;
    for component in COMPONENTS {
        sees(prometheus, "thanos", &format!(",component='{component}'")).await;
    }
    sees(prometheus, "alertmanager", "").await;
    sees(prometheus, "config_agent", ",alias='thanos0'").await;

    // With its own gone, Prometheus is heard through the one beside Thanos.
    let gone = prometheus.zone();
    gone.kill("alertmanager", Signal::SIGKILL).await.unwrap();
    gone.stop_unit("alertmanager").await.unwrap();
    let rules = json!([{"name": "test", "interval": "1s",
        "rules": [{"alert": "Loud", "expr": "vector(1)", "for": "7s"}]}]);
    put_metadata(&world, json!({"rule_groups": rules})).await;
    let webhook = &world.services().webhook;
    let told = eventually("somebody tells", TOLD, async || {
        let told = webhook.times_told("Loud", "firing");
        when(told > 0, || format!("{:?}", webhook.told()))
    });
    told.await.unwrap();
    let known = members[1].alerts().await.unwrap();
    assert!(known.contains(&"Loud".to_owned()), "{known:?}");

    // Its configuration is reloaded, and nothing else there is touched.
    let runs = async || -> Result<Vec<Run>, String> {
        let mut runs = Vec::new();
        for unit in ["alertmanager", "thanos-query", "thanos-rule"] {
            runs.push(Run::of(thanos, unit).await?);
        }
        Ok(runs)
    };
    let before = runs().await.unwrap();
    let config = to_the_webhook("2s");
    put_thanos_metadata(&world, json!({"alertmanager_config": config})).await;
    soon("the new configuration", async || {
        let config = text(members[1].config().await)?;
        when(config.contains("group_wait: 2s"), || config)
    })
    .await;
    let touched: Vec<_> = std::iter::zip(runs().await.unwrap(), before)
        .map(|(now, before)| now.since(&before).unwrap())
        .collect();
    assert_eq!(touched, [Touch::Reload, Touch::Nothing, Touch::Nothing]);
    let script =
        format!("find /opt/triton -perm /044 -type f | xargs grep -l {TOKEN}");
    let open = thanos.zone().exec(["sh", "-c", &script], super::super::SOON);
    assert_eq!(open.await.unwrap().stdout, "", "others can read the secret");
}
