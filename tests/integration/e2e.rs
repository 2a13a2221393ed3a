// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! End to end: the real agent and the real Prometheus in a zone of a whole
//! datacenter. All of it needs root.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

mod cluster;
mod config;
mod demo;
mod faults;
mod names;
mod notify;
mod outage;
mod site;
mod upgrade;

use std::path::Path;
use std::time::Duration;

use localdc::sapi::ids;
use localdc::world::{
    Programs, World, WorldError, WorldSpec, eventually, joined,
};
use localdc::zone::ExecOutput;
use monitoring_agent::status::StatusReport;
use serde_json::{Value, json};

/// For what takes a boot, a discovery and a scrape.
const LONG: Duration = Duration::from_secs(100);
/// For what takes a poll or two.
const SOON: Duration = Duration::from_secs(45);

/// A world by the default recipe.
async fn world() -> World {
    world_with(|_| ()).await
}

async fn world_with(change: impl FnOnce(&mut WorldSpec)) -> World {
    let localdc = Path::new(env!("CARGO_BIN_EXE_localdc"));
    let programs = Programs::beside(localdc).unwrap_or_else(|e| panic!("{e}"));
    let mut spec = WorldSpec::new(programs);
    change(&mut spec);
    let started = World::start(spec, |_| ()).await;
    started.unwrap_or_else(|error| panic!("{}", joined(&error)))
}

/// Waits until all targets are up; says what the agent thinks when not.
async fn all_up(world: &World) {
    let Err(error) = world.all_up(LONG).await else { return };
    let log = world.zone().log_of("config-agent").unwrap();
    let lines: Vec<&str> = log.lines().collect();
    let last = lines[lines.len().saturating_sub(15)..].join("\n");
    panic!("{}\nthe agent's last lines:\n{last}", joined(&error));
}

/// Looks until `look` is content; its error is what is wrong.
async fn soon<T>(
    what: &str,
    look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let found = eventually(what, SOON, look).await;
    found.unwrap_or_else(|error| panic!("{error}"))
}

/// The agent's report; an error is text to wait with.
async fn status(world: &World) -> Result<StatusReport, String> {
    world.daemons().status().await.map_err(|error| joined(&error))
}

fn text<T>(asked: Result<T, WorldError>) -> Result<T, String> {
    asked.map_err(|error| joined(&error))
}

fn when(yes: bool, seen: impl FnOnce() -> String) -> Result<(), String> {
    if yes { Ok(()) } else { Err(seen()) }
}

/// As an operator does it: `PUT /services/:uuid` on SAPI.
async fn put_metadata(world: &World, metadata: Value) {
    let sapi = world.doors().sapi.local_addr();
    let url = format!("http://{sapi}/services/{}", ids::PROMETHEUS);
    let body = json!({"metadata": metadata});
    let sent = world.daemons().http().put(url).json(&body).send().await;
    assert!(sent.unwrap().status().is_success());
}

async fn sh(world: &World, script: &str) -> ExecOutput {
    world.zone().exec(["sh", "-c", script], SOON).await.unwrap()
}

/// `config-agent status` in the zone.
async fn told(world: &World) -> ExecOutput {
    sh(world, "/opt/triton/config-agent/bin/config-agent status").await
}

async fn prometheus_pid(world: &World) -> i32 {
    world.zone().pid_of("prometheus").await.unwrap().unwrap()
}

/// How often Prometheus has read its configuration, over all its runs.
fn loads(world: &World) -> usize {
    let log = world.zone().log_of("prometheus").unwrap();
    log.matches("Completed loading of configuration file").count()
}

/// Waits until the agent has polled SAPI twice more and is at rest.
async fn two_polls(world: &World) {
    let before = status(world).await.unwrap().sapi.polls;
    soon("two more polls", async || {
        let polls = status(world).await?.sapi.polls;
        when(polls >= before + 2, || format!("{polls} polls"))
    })
    .await;
}
