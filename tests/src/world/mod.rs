// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A whole small datacenter with prometheus zones, one or more, in which the
//! real config-agent, Prometheus and Alertmanager run, and perhaps a thanos
//! zone: what `make demo` shows and the end-to-end tests look at.
//!
//! Nothing of it outlives the `World`: see [`crate::zone`].

mod alertmanager;
mod core_zone;
mod daemons;
mod doors;
mod error;
mod facts;
mod grafana_zone;
mod ground;
mod instance;
mod platform;
mod programs;
mod prometheus_zone;
mod services;
mod site;
mod thanos_zone;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::cns::CnsConfig;
use crate::datacenter::{Datacenter, Facts};
use crate::sapi::{Kind, Sapi, ids};
use crate::zone::{Network, Reboot, SizeLimit, Zone};

pub use alertmanager::{Alertmanager, Cluster};
pub use daemons::{Alert, Daemons, Target};
pub use doors::{Doors, Ports};
pub use error::WorldError;
pub use facts::{
    ADMIN, BINDER, CMON, CMON_EXTERNAL, CNS, EXTERNAL_NETWORK, PROMETHEUS,
    PROMETHEUS_UUID, PUBLIC, PUBLIC_NAME, SAPI, THANOS, THANOS_UUID, VMAPI,
    WEBHOOK, prometheus_ip, prometheus_uuid,
};
pub use ground::Ground;
pub use instance::{Instance, Ways};
pub use platform::Platform;
pub use programs::Programs;
pub use services::{Service, Services};
pub use site::{MONADM, Site};

/// Pause between two looks at something awaited.
const LOOK: Duration = Duration::from_millis(100);

/// How a world is made.
#[derive(Clone, Debug)]
pub struct WorldSpec {
    /// What the zone shows.
    pub programs: Programs,
    /// How fast things come about.
    pub pace: Pace,
    /// Laid over the metadata of SAPI's `prometheus` service.
    pub metadata: Map<String, Value>,
    /// The prometheus zones, by the metadata of each one's SAPI instance: at
    /// least one, at most ten.
    pub instances: Vec<Map<String, Value>>,
    /// The thanos zone, if there is one, by the metadata of its SAPI instance.
    pub thanos: Option<Map<String, Value>>,
    /// Whether CNS lets the zones transfer from the start.
    pub transfers: bool,
    /// Small file systems in the zone, for full-disk tests.
    pub limits: Vec<SizeLimit>,
}

impl WorldSpec {
    /// A brisk world in which all is well.
    pub fn new(programs: Programs) -> Self {
        Self {
            programs,
            pace: Pace::default(),
            metadata: Map::new(),
            instances: vec![Map::new()],
            thanos: None,
            transfers: true,
            limits: Vec::new(),
        }
    }
}

/// The intervals of a world: shorter than in life, so that nobody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The agent polls SAPI; 60 s in life.
    pub poll: Duration,
    /// CNS collects changes; 10 s in life.
    pub batch: Duration,
    /// SOA refresh of CNS' zones, in seconds; 30 in life.
    pub refresh_seconds: i32,
    /// Prometheus asks CMON for targets, in seconds; 60 in life.
    pub discovery_seconds: u32,
    /// Prometheus scrapes, in seconds; 10 in life.
    pub scrape_seconds: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(2),
            batch: Duration::from_secs(1),
            refresh_seconds: 2,
            discovery_seconds: 5,
            scrape_seconds: 3,
        }
    }
}

/// A running datacenter; dropping it ends all of it.
pub struct World {
    // Fields are dropped in this order.
    doors: Doors,
    instances: Vec<Instance>,
    thanos: Option<Instance>,
    ground: Ground,
}

impl World {
    /// Brings a datacenter up; `tell` hears of each step before it is taken.
    ///
    /// On return the zones have booted and their agents have been started;
    /// nothing more is waited for. Errors leave nothing behind.
    ///
    /// Panics where it is to have no prometheus zone, or too many.
    pub async fn start(
        spec: WorldSpec,
        mut tell: impl FnMut(&str),
    ) -> Result<Self, WorldError> {
        let count = spec.instances.len();
        assert!((1..=facts::MOST_INSTANCES).contains(&count), "{count} zones");
        let ground = Ground::lay(&spec, &mut tell).await?;
        let (all, network) = (ground.facts(), ground.network());
        let mut instances = Vec::new();
        for number in 0..count {
            tell(&format!("zone prometheus{number}"));
            let uuid = prometheus_uuid(number);
            let booted = Instance::boot(&spec, all, network, &uuid);
            instances.push(booted.await?);
        }
        let mut thanos = None;
        if spec.thanos.is_some() {
            tell("zone thanos0");
            let booted = Instance::boot(&spec, all, network, THANOS_UUID);
            thanos = Some(booted.await?);
        }
        let first = instances[0].zone();
        let doors = Doors::open(None, network.dc(), first).await?;
        Ok(Self { doors, instances, thanos, ground })
    }

    /// The stand-ins.
    pub fn services(&self) -> &Services {
        self.ground.services()
    }

    /// The facts they share.
    pub fn datacenter(&self) -> &Arc<Datacenter> {
        self.ground.datacenter()
    }

    /// The network that zones and stand-ins are on.
    pub fn network(&self) -> &Network {
        self.ground.network()
    }

    /// All prometheus zones.
    pub fn instances(&self) -> &[Instance] {
        &self.instances
    }

    /// The thanos zone, where the world has one.
    pub fn thanos(&self) -> Option<&Instance> {
        self.thanos.as_ref()
    }

    /// A prometheus zone, to be rebooted or shut down.
    pub fn instance_mut(&mut self, number: usize) -> &mut Instance {
        &mut self.instances[number]
    }

    /// The first prometheus zone.
    pub fn zone(&self) -> &Zone {
        self.instances[0].zone()
    }

    /// The first prometheus zone, to be rebooted.
    pub fn zone_mut(&mut self) -> &mut Zone {
        self.instances[0].zone_mut()
    }

    /// The ways in from this machine; zones' are those into the first.
    pub fn doors(&self) -> &Doors {
        &self.doors
    }

    /// The first zone's daemons.
    pub fn daemons(&self) -> &Daemons {
        self.instances[0].daemons()
    }

    /// Switches a stand-in off; its ports refuse.
    pub async fn stop(&mut self, service: Service) {
        self.ground.stop(service).await;
    }

    /// Switches a stand-in on again.
    pub async fn resume(&mut self, service: Service) -> Result<(), WorldError> {
        self.ground.resume(service).await
    }

    /// Reboots the first zone with the same `/data`.
    pub async fn reboot(&mut self, how: Reboot) -> Result<(), WorldError> {
        Ok(self.zone_mut().reboot(how).await?)
    }

    /// Waits until every running VM of `admin`, every compute node and
    /// Prometheus itself is a target of the first zone's and up, and nothing
    /// else is not.
    ///
    /// Errors: `TooLate` with what was missing at the end.
    pub async fn all_up(
        &self,
        limit: Duration,
    ) -> Result<Vec<Target>, WorldError> {
        self.ground.all_up(self.daemons(), limit).await
    }
}

/// Looks again and again until `look` finds; its error is the state seen.
///
/// Errors: `TooLate` after `limit`.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, WorldError> {
    let deadline = Instant::now() + limit;
    loop {
        match look().await {
            Ok(found) => return Ok(found),
            Err(seen) if Instant::now() >= deadline => {
                let what = what.to_owned();
                return Err(WorldError::TooLate { what, limit, seen });
            }
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// An error with its causes on one line.
pub fn joined(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}

fn sapi(spec: &WorldSpec, all: &Facts) -> Sapi {
    let seed = facts::seed(allowed(spec), &core_zone::sapi_url(all));
    let sapi = Sapi::example(all, &seed);
    sapi.edit_metadata(Kind::Service, ids::PROMETHEUS, |metadata| {
        let pace = spec.pace;
        for (key, value) in [
            ("discovery_interval", json!(pace.discovery_seconds)),
            ("scrape_interval", json!(pace.scrape_seconds)),
        ] {
            metadata.insert(key.to_owned(), value);
        }
        metadata.extend(spec.metadata.clone());
    });
    instance::list(&sapi, spec, all);
    sapi
}

fn cns(spec: &WorldSpec, all: &Facts) -> CnsConfig {
    let mut config = CnsConfig::new(all);
    config.batch = spec.pace.batch;
    config.refresh = spec.pace.refresh_seconds;
    config.retry = spec.pace.refresh_seconds * 2;
    // Asked once only, and on a busy machine.
    config.peers.timeout = std::time::Duration::from_secs(10);
    config.allow_transfer = allowed(spec)
        .iter()
        .map(|net| net.parse().expect("an address is a network"))
        .collect();
    config
}

fn allowed(spec: &WorldSpec) -> Vec<String> {
    if !spec.transfers {
        return Vec::new();
    }
    let prometheus = (0..spec.instances.len()).map(prometheus_ip);
    let thanos = spec.thanos.is_some().then_some(THANOS);
    prometheus.chain(thanos).map(|ip| ip.to_string()).collect()
}

/// Uuids of what must be scraped, with the name people know.
fn wanted_targets(facts: &Facts) -> Vec<(String, String)> {
    let owner = facts.account("admin").map(|account| &account.uuid);
    let vms = facts
        .vms
        .iter()
        .filter(|vm| Some(&vm.owner_uuid) == owner && vm.state == "running")
        .map(|vm| (vm.uuid.clone(), vm.alias.clone()));
    let servers = facts.servers.iter();
    vms.chain(servers.map(|s| (s.uuid.clone(), s.hostname.clone()))).collect()
}

/// What is not as it should be, if anything.
fn complaint(
    wanted: &[(String, String)],
    targets: &[Target],
) -> Option<String> {
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|(uuid, _)| !targets.iter().any(|t| t.url.contains(uuid)))
        .map(|(_, name)| name.as_str())
        .collect();
    if !missing.is_empty() {
        return Some(format!("no target for {}", missing.join(", ")));
    }
    if targets.len() <= wanted.len() {
        return Some("Prometheus does not scrape itself".to_owned());
    }
    let bad: Vec<String> = targets
        .iter()
        .filter(|target| !target.is_up())
        .map(|t| format!("{} {} {}", t.name, t.health, t.last_error))
        .collect();
    (!bad.is_empty()).then(|| bad.join("; "))
}
