// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Several prometheus zones together, and the Alertmanager beside each
//! Prometheus: pairs and shards, delivery, and which daemon a change touches.

mod changes;
mod delivery;
mod pairs;
mod partner;
mod thanos;

use localdc::world::{Instance, World, joined};
use serde_json::{Map, Value, json};

use super::{soon, status, text, when, world_with};

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// What alertmanager.yml is to hold: everything goes to the webhook, once
/// `group_wait` is over. The token is a secret.
fn to_the_webhook(group_wait: &str) -> Value {
    let url = format!("http://{}/told", localdc::world::WEBHOOK);
    json!({
        "route": {"receiver": "hook", "group_by": ["alertname"],
            "group_wait": group_wait, "group_interval": "5s",
            "repeat_interval": "1h"},
        "receivers": [{"name": "hook", "webhook_configs": [{
            "url": url, "send_resolved": true,
            "http_config": {"authorization": {"credentials": TOKEN}},
        }]}],
    })
}

/// The webhook's secret.
const TOKEN: &str = "t0ken-of-the-webhook";

/// One run of a daemon, as the kernel tells it from any other, and how often
/// the daemon has read its configuration over all its runs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    pid: i32,
    started: u64,
    loads: usize,
}

/// What happened to a daemon between two looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touch {
    Nothing,
    Reload,
    Restart,
}

impl Run {
    /// Errors: it does not run just now.
    async fn of(instance: &Instance, unit: &str) -> Result<Self, String> {
        let zone = instance.zone();
        let pid = zone.pid_of(unit).await.map_err(|e| joined(&e))?;
        let pid = pid.ok_or(format!("{unit} does not run"))?;
        let stat = format!("/proc/{pid}/stat");
        let stat = zone.exec(["cat", &stat], super::SOON).await;
        let stat = stat.map_err(|e| joined(&e))?.stdout;
        // Field 22; the name in field 2 may hold anything but ends in `)`.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let started = rest.split_whitespace().nth(19);
        let started = started.and_then(|ticks| ticks.parse().ok());
        let started = started.ok_or(format!("{unit} has just ended"))?;
        let log = zone.log_of(unit).map_err(|e| joined(&e))?;
        let mark = "Completed loading of configuration file";
        Ok(Self { pid, started, loads: log.matches(mark).count() })
    }

    /// Errors: more than one of the three.
    fn since(&self, before: &Self) -> Result<Touch, String> {
        let same = (self.pid, self.started) == (before.pid, before.started);
        match (same, self.loads - before.loads) {
            (true, 0) => Ok(Touch::Nothing),
            (true, 1) => Ok(Touch::Reload),
            (false, 1) => Ok(Touch::Restart),
            _ => Err(format!("from {before:?} to {self:?}")),
        }
    }
}

/// Waits until the first zone's agent has all in force and nothing to say.
async fn healthy(world: &World) {
    soon("healthy", async || {
        let report = status(world).await?;
        when(report.healthy, || report.faults.join("; "))
    })
    .await;
}
