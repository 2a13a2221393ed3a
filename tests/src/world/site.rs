// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A datacenter in which nobody has set up monitoring yet, with all of
//! Triton's APIs, servers that boot what these make, and a headnode on which
//! an operator runs monadm.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{
    Doors, Ground, Instance, Platform, Ports, Services, WorldError, WorldSpec,
    core_zone, doors, facts,
};
use crate::datacenter::Datacenter;
use crate::sapi::{Kind, ids};
use crate::triton;
use crate::zone::{Bind, ExecOutput, Forward, Zone, ZoneError, ZoneSpec};

/// The headnode's global zone.
const HEADNODE: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 2);
/// How long it may take to set a service up.
const SETTING_UP: Duration = Duration::from_secs(120);
/// Where it has monadm.
pub const MONADM: &str = "/opt/triton/monadm/bin/monadm";

/// A running datacenter; dropping it ends all of it.
pub struct Site {
    // Fields are dropped in this order.
    platform: Platform,
    headnode: Zone,
    ground: Ground,
}

impl Site {
    /// Brings a datacenter up, without a monitoring zone; of `spec`, programs,
    /// pace and metadata count, the latter as application `sdc`'s. `tell`
    /// hears of each step before it is taken.
    pub async fn start(
        mut spec: WorldSpec,
        mut tell: impl FnMut(&str),
    ) -> Result<Self, WorldError> {
        spec.instances = Vec::new();
        spec.thanos = None;
        spec.transfers = false;
        let ground = Ground::lay(&spec, &mut tell).await?;
        empty(&spec, &ground);
        tell("headnode");
        let network = ground.network();
        let headnode = headnode(&spec, &ground);
        let headnode =
            Zone::boot(&spec.programs.localdc, network, headnode).await?;
        let platform = Platform::start(
            spec,
            Arc::clone(ground.shared()),
            ground.services().clone(),
            Arc::clone(network),
        );
        Ok(Self { platform, headnode, ground })
    }

    /// Runs monadm on the headnode.
    ///
    /// Errors: it did not start, or not end within `limit`.
    pub async fn monadm(
        &self,
        words: &[&str],
        limit: Duration,
    ) -> Result<ExecOutput, ZoneError> {
        let url = self.sapi_url();
        let sapi = ["--sapi", url.as_str()];
        let command = [MONADM].iter().chain(words).chain(&sapi).copied();
        self.headnode.exec(command, limit).await
    }

    /// Has monadm set a service up.
    ///
    /// Errors: `Monadm` with what it said.
    pub async fn post_setup(&self, words: &[&str]) -> Result<(), WorldError> {
        let updates = format!("http://{}", facts::UPDATES);
        let more = ["--yes", "--updates", updates.as_str()];
        let words = [&["post-setup"], words, &more].concat();
        let ended = self.monadm(&words, SETTING_UP).await?;
        match ended.success() {
            true => Ok(()),
            false => Err(WorldError::Monadm {
                words: words.join(" "),
                said: ended.stdout + &ended.stderr,
            }),
        }
    }

    /// SAPI's base URL in the datacenter.
    pub fn sapi_url(&self) -> String {
        core_zone::sapi_url(self.ground.facts())
    }

    /// Opens the ways to the zone with this alias and to the APIs, on `ports`
    /// where those are free.
    pub async fn doors(
        &self,
        alias: &str,
        ports: Ports,
    ) -> Result<Doors, WorldError> {
        let zone = self.zone(alias)?;
        let dc = self.ground.network().dc();
        Doors::open(Some(ports), dc, zone.zone()).await
    }

    /// Opens a way to a port of the zone with this alias.
    pub async fn door(
        &self,
        alias: &str,
        wanted: u16,
        port: u16,
    ) -> Result<Forward, WorldError> {
        let zone = self.zone(alias)?;
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        doors::open(Some(wanted), zone.zone().namespace(), to).await
    }

    /// The zone with this alias; see `Platform::zone`.
    ///
    /// Errors: `NoZone` with why it does not run.
    pub fn zone(&self, alias: &str) -> Result<Arc<Instance>, WorldError> {
        self.platform.zone(alias).map_err(WorldError::NoZone)
    }

    /// The headnode.
    pub fn headnode(&self) -> &Zone {
        &self.headnode
    }

    /// The servers.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// The stand-ins.
    pub fn services(&self) -> &Services {
        self.ground.services()
    }

    /// The facts they share.
    pub fn datacenter(&self) -> &Datacenter {
        self.ground.datacenter()
    }

    /// What lies under the zones.
    pub fn ground(&self) -> &Ground {
        &self.ground
    }
}

/// Takes out of SAPI what monadm is to make, and puts in stock what it makes
/// zones of.
fn empty(spec: &WorldSpec, ground: &Ground) {
    let sapi = &ground.services().sapi;
    for (kind, uuid) in [
        (Kind::Instance, ids::PROMETHEUS0),
        (Kind::Instance, ids::MANTA_PROMETHEUS0),
        (Kind::Service, ids::PROMETHEUS),
        (Kind::Service, ids::MANTA_PROMETHEUS),
    ] {
        sapi.remove(kind, uuid);
    }
    let pace = spec.pace;
    sapi.edit_metadata(Kind::Application, ids::SDC, |metadata| {
        for (key, value) in [
            ("discovery_interval", json!(pace.discovery_seconds)),
            ("scrape_interval", json!(pace.scrape_seconds)),
        ] {
            metadata.insert(key.to_owned(), value);
        }
        metadata.extend(spec.metadata.clone());
    });
    sapi.make_zones(ground.shared());
    triton::fill(&mut ground.datacenter().stock());
    let updates = format!("http://{}", facts::UPDATES);
    ground.datacenter().stock().updates_url = Some(updates);
}

fn headnode(spec: &WorldSpec, ground: &Ground) -> ZoneSpec {
    let all = ground.facts();
    let uuid = &all.servers[0].uuid;
    let mut zone = ZoneSpec::new("headnode", uuid, HEADNODE);
    zone.dns_domain = all.dns_domain.clone();
    zone.resolvers = vec![facts::BINDER.into(), facts::PUBLIC.into()];
    zone.binds = vec![Bind::read_only(&spec.programs.monadm, MONADM)];
    zone
}
