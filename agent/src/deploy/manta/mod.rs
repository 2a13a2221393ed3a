// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Manta's side: which zones are deployed, as `manta-adm show -sj` would print
//! them, and the file that its `update` reads. Manta's zones are manta-adm's to
//! make; we read what there is and write what it is to be told.
//!
//! Of our services manta-adm knows `prometheus` alone: a name that is not in
//! its list it refuses. Thanos, Grafana and Alertmanager are Triton's, one for
//! both.
//!
//! Source: sdc-manta, lib/deploy.js, lib/services.js, config/services.

mod change;
mod generate;
mod layout;
#[cfg(test)]
mod properties;
mod size;

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::{Apis, DeployError};
use crate::triton::sapi::Service;

pub use self::change::{Change, changes};
pub use self::generate::{Request, generate};
pub use self::layout::{Layout, Place, Server};
pub use self::size::{Size, definition};

/// Our services there.
pub const OURS: [&str; 1] = ["prometheus"];

/// Services with a level of shards.
///
/// Source: sdc-manta, lib/services.js.
const SHARDED: [&str; 4] =
    ["postgres", "moray", "buckets-postgres", "buckets-mdapi"];

/// What is deployed in this datacenter.
pub struct Deployed {
    /// Zones, counted.
    pub layout: Layout,
    /// Services of application `manta`.
    pub services: Vec<Service>,
    /// Its size, as `manta-init -s` was told; `None` where nobody told it.
    pub size: Option<Size>,
    /// What does not fit together.
    pub notes: Vec<String>,
}

/// Gathers what is deployed: SAPI's instances that are zones of this
/// datacenter.
///
/// Errors: an API's own; not one application `manta`; a SAPI without its
/// store, whose lists have nothing of Manta: a file made of them would have
/// manta-adm destroy what they lack.
pub async fn gather(apis: &Apis) -> Result<Deployed, DeployError> {
    apis.whole().await?;
    let found = apis.sapi.applications("manta", true).await;
    let found = found.map_err(DeployError::api("ask SAPI for manta"))?;
    let [manta] = &found[..] else {
        return Err(DeployError::Odd {
            what: "SAPI's applications named manta".into(),
            seen: found.len().to_string(),
            wanted: "one, as manta-init makes it",
        });
    };
    let owner = manta.owner_uuid.ok_or_else(|| DeployError::Odd {
        what: "application manta, owner_uuid".into(),
        seen: "nothing".into(),
        wanted: "a uuid",
    })?;
    let vms = apis.vmapi.vms(owner, &[("state", "active")]).await;
    let vms = vms.map_err(DeployError::api("ask VMAPI for zones"))?;
    let vms: BTreeMap<Uuid, _> = vms.iter().map(|vm| (vm.uuid, vm)).collect();
    let services = apis.sapi.services(manta.uuid, true).await;
    let services =
        services.map_err(DeployError::api("ask SAPI for services"))?;
    let mut layout = Layout::default();
    let mut notes = Vec::new();
    for service in &services {
        let instances = apis.sapi.instances(service.uuid, true).await;
        let asked = DeployError::api("ask SAPI for instances");
        for instance in instances.map_err(asked)? {
            let name = &service.name;
            let zone = vms
                .get(&instance.uuid)
                .and_then(|vm| Some((vm.server_uuid?, vm.image_uuid?)));
            let Some((server, image)) = zone else {
                // SAPI lists those of other datacenters too.
                let place = instance.metadata.get("DATACENTER");
                let place = place.and_then(Value::as_str);
                if place.is_none_or(|place| apis.is_here(place)) {
                    let uuid = instance.uuid;
                    notes.push(format!("{name} {uuid}: no zone of VMAPI's"));
                }
                continue;
            };
            let shard =
                SHARDED.contains(&name.as_str()).then(|| {
                    match instance.metadata.get("SHARD") {
                        Some(Value::String(shard)) => shard.clone(),
                        Some(Value::Number(shard)) => shard.to_string(),
                        _ => "1".to_owned(),
                    }
                });
            let server = Server::Uuid(server);
            let service = name.clone();
            layout.add(Place { server, service, shard, image }, 1);
        }
    }
    let size = manta.metadata.get("SIZE").and_then(Value::as_str);
    let size = size.and_then(|text| text.parse().ok());
    Ok(Deployed { layout, services, size, notes })
}
