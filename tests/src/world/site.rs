// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A datacenter in which nobody has set up monitoring yet, with all of
//! Triton's APIs, servers that boot what these make, and a headnode on which
//! an operator runs monadm.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::facts;
use super::{Ground, Platform, Services, WorldError, WorldSpec, core_zone};
use crate::datacenter::Datacenter;
use crate::sapi::{Kind, ids};
use crate::triton;
use crate::zone::{Bind, ExecOutput, Zone, ZoneError, ZoneSpec};

/// The headnode's global zone.
const HEADNODE: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 2);
/// Where it has monadm.
const MONADM: &str = "/opt/triton/monadm/bin/monadm";

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
        let sapi = core_zone::sapi_url(self.ground.facts());
        let url = ["--sapi", sapi.as_str()];
        let command = [MONADM].iter().chain(words).chain(&url).copied();
        self.headnode.exec(command, limit).await
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
