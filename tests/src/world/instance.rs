// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One prometheus zone of a world: an instance of SAPI's service
//! `prometheus`, its daemons, and the ways to them from this machine.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;
use tokio::net::TcpListener;

use super::{Daemons, WorldError, WorldSpec, facts, prometheus_zone};
use crate::datacenter::Facts;
use crate::sapi::{Kind, Sapi, ids};
use crate::zone::{Forward, Network, Zone};

/// Ports in the zone: Prometheus, the agent's status page, Alertmanager.
const PORTS: [u16; 3] = [9090, 9165, 9093];

/// A prometheus zone; dropping it ends it.
pub struct Instance {
    // Fields are dropped in this order.
    _ways: Vec<Forward>,
    daemons: Daemons,
    zone: Zone,
}

impl Instance {
    /// Boots the zone with this number; its agent has been started then.
    pub(super) async fn boot(
        world: &WorldSpec,
        all: &Facts,
        network: &Network,
        number: usize,
    ) -> Result<Self, WorldError> {
        let data = network.data_folder(&prometheus_zone::name(number))?;
        prometheus_zone::prepare_data(&data)?;
        let spec = prometheus_zone::spec(world, all, &data, number);
        let zone = Zone::boot(&world.programs.localdc, network, spec).await?;
        let mut ways = Vec::new();
        for port in PORTS {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
            let listener = listener.await.map_err(WorldError::Listen)?;
            let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            ways.push(Forward::start(listener, zone.namespace(), to)?);
        }
        let at = |index: usize| ways[index].local_addr();
        let daemons = Daemons::new(at(0), at(1), at(2))?;
        Ok(Self { _ways: ways, daemons, zone })
    }

    /// The zone.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The zone, to be rebooted or shut down.
    pub fn zone_mut(&mut self) -> &mut Zone {
        &mut self.zone
    }

    /// Its daemons.
    pub fn daemons(&self) -> &Daemons {
        &self.daemons
    }

    /// SAPI instance uuid.
    pub fn uuid(&self) -> &str {
        &self.zone.spec().uuid
    }

    /// Address on the admin network.
    pub fn ip(&self) -> Ipv4Addr {
        self.zone.spec().ip
    }
}

/// Has SAPI list the instances, each with its own metadata.
pub(super) fn list(sapi: &Sapi, world: &WorldSpec, all: &Facts) {
    for (number, metadata) in world.instances.iter().enumerate() {
        let uuid = facts::prometheus_uuid(number);
        let vm = all.vm(&uuid).expect("the zone is a VM of the datacenter");
        sapi.put(
            Kind::Instance,
            json!({
                "uuid": uuid,
                "service_uuid": ids::PROMETHEUS,
                "params": {"alias": vm.alias, "server_uuid": vm.server_uuid},
                "metadata": metadata,
                "type": "vm",
            }),
        );
    }
}
