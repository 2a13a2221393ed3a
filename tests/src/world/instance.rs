// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One monitoring zone of a world: an instance of SAPI's service `prometheus`
//! or `thanos`, its daemons, and the ways to them from this machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::{Daemons, WorldError, WorldSpec, core_zone, facts};
use super::{grafana_zone, prometheus_zone, thanos_zone};
use crate::datacenter::{Facts, Vm};
use crate::sapi::{Kind, Sapi, ids};
use crate::zone::{Forward, Namespace, Network, Zone};

/// Ports in the zone: Prometheus, the agent's status page, Alertmanager.
const PORTS: [u16; 3] = [9090, 9165, 9093];

/// A monitoring zone; dropping it ends it.
pub struct Instance {
    // Fields are dropped in this order.
    ways: Ways,
    zone: Zone,
}

/// The ways to a zone's daemons from this machine.
pub struct Ways {
    _forwards: Vec<Forward>,
    daemons: Daemons,
}

impl Ways {
    /// Opens them into the zone of this network namespace.
    pub async fn open(namespace: &Namespace) -> Result<Self, WorldError> {
        let mut forwards = Vec::new();
        for port in PORTS {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
            let listener = listener.await.map_err(WorldError::Listen)?;
            let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            forwards.push(Forward::start(listener, namespace, to)?);
        }
        let at = |index: usize| forwards[index].local_addr();
        let daemons = Daemons::new(at(0), at(1), at(2))?;
        Ok(Self { _forwards: forwards, daemons })
    }

    /// The zone's daemons.
    pub fn daemons(&self) -> &Daemons {
        &self.daemons
    }
}

impl Instance {
    /// Boots the zone of the VM with this uuid, in the role that the alias
    /// says; its agent has been started then.
    pub(super) async fn boot(
        world: &WorldSpec,
        all: &Facts,
        network: &Network,
        uuid: &str,
    ) -> Result<Self, WorldError> {
        let vm = all.vm(uuid).expect("the zone is a VM of the datacenter");
        let data = network.data_folder(&vm.alias)?;
        let role = facts::role_of(&vm.alias);
        Self::boot_on(world, all, network, vm, role, &data).await
    }

    /// The same on a delegate dataset that may have been in use before.
    pub(super) async fn boot_on(
        world: &WorldSpec,
        all: &Facts,
        network: &Network,
        vm: &Vm,
        role: &str,
        data: &Path,
    ) -> Result<Self, WorldError> {
        core_zone::prepare_data(data, role)?;
        let spec = match role {
            "thanos" => thanos_zone::spec(world, all, data, vm),
            "grafana" => grafana_zone::spec(world, all, data, vm),
            _ => prometheus_zone::spec(world, all, data, vm),
        };
        let zone = Zone::boot(&world.programs.localdc, network, spec).await?;
        let ways = Ways::open(zone.namespace()).await?;
        Ok(Self { ways, zone })
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
        self.ways.daemons()
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
        sapi.put(Kind::Instance, listed(all, &uuid, ids::PROMETHEUS, metadata));
    }
    if let Some(metadata) = &world.thanos {
        sapi.put(
            Kind::Service,
            json!({"uuid": ids::THANOS, "name": "thanos", "type": "vm",
                "application_uuid": ids::SDC, "params": {}, "metadata": {
                    "SERVICE_NAME": "thanos"}}),
        );
        let uuid = facts::THANOS_UUID;
        sapi.put(Kind::Instance, listed(all, uuid, ids::THANOS, metadata));
    }
}

fn listed(
    all: &Facts,
    uuid: &str,
    service: &str,
    metadata: &Map<String, Value>,
) -> Value {
    let vm = all.vm(uuid).expect("the zone is a VM of the datacenter");
    json!({
        "uuid": uuid,
        "service_uuid": service,
        "params": {"alias": vm.alias, "server_uuid": vm.server_uuid},
        "metadata": metadata,
        "type": "vm",
    })
}
