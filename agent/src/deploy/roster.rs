// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The instances of a service as SAPI has them, each with its zone as VMAPI
//! has it: what every verb looks at first.

use std::net::IpAddr;

use serde_json::Value;
use uuid::Uuid;

use super::{Apis, DeployError, shards};
use crate::triton::sapi::{Instance, Service};
use crate::triton::vmapi::Vm;

/// NIC tag of the network that Triton's zones meet on.
pub(super) const ADMIN: &str = "admin";

/// A service with its instances.
pub struct Roster {
    /// The service.
    pub service: Service,
    /// Its instances, by alias, those without a zone last.
    pub members: Vec<Member>,
}

impl Roster {
    /// What says which instances have the same data, and so stand in for each
    /// other: the groups of a Prometheus pair, what a Thanos zone runs. Those
    /// with another text are no partners.
    pub fn group(&self, member: &Member) -> String {
        let key = match self.service.name.as_str() {
            "thanos" => "thanos_components",
            _ => "groups",
        };
        let mut groups = shards::names(member.metadata(&self.service, key));
        groups.sort_unstable();
        groups.join(",")
    }
}

/// An instance and its zone.
pub struct Member {
    /// The instance.
    pub instance: Instance,
    /// Its zone; `None` when VMAPI knows none, or one that is destroyed or
    /// failed while it was made.
    pub vm: Option<Vm>,
}

impl Member {
    /// What people call it.
    pub fn alias(&self) -> String {
        let own = self.instance.params.get("alias").and_then(Value::as_str);
        match (&self.vm, own) {
            (Some(vm), _) if !vm.alias.is_empty() => vm.alias.clone(),
            (_, Some(alias)) => alias.to_owned(),
            _ => self.instance.uuid.to_string(),
        }
    }

    /// Its address on the admin network.
    pub fn admin_ip(&self) -> Option<IpAddr> {
        self.vm.as_ref().and_then(admin_ip)
    }

    /// A metadata key, the instance's own over the service's.
    pub fn metadata<'a>(
        &'a self,
        service: &'a Service,
        key: &str,
    ) -> Option<&'a Value> {
        let own = self.instance.metadata.get(key);
        own.or_else(|| service.metadata.get(key))
    }
}

/// A zone's address on the admin network.
pub fn admin_ip(vm: &Vm) -> Option<IpAddr> {
    let mut admin = vm.nics.iter().filter(|nic| nic.nic_tag == ADMIN);
    admin.find_map(|nic| nic.ip.parse().ok())
}

/// The services of that name in an application, oldest first as SAPI lists
/// them: SAPI takes the same name twice, so there may be several.
///
/// Errors: SAPI's and VMAPI's own.
pub async fn rosters(
    apis: &Apis,
    application: Uuid,
    name: &str,
) -> Result<Vec<Roster>, DeployError> {
    let services = apis.sapi.services_named(application, name).await;
    let asked = DeployError::api("ask SAPI for a service");
    let mut rosters = Vec::new();
    for service in services.map_err(asked)? {
        let instances = apis.sapi.instances(service.uuid, false).await;
        let asked = DeployError::api("ask SAPI for instances");
        let mut members = Vec::new();
        for instance in instances.map_err(asked)? {
            let vm = apis.vmapi.vm(instance.uuid, None).await;
            let vm = vm.map_err(DeployError::api("ask VMAPI for a zone"))?;
            let gone =
                |vm: &Vm| matches!(vm.state.as_str(), "destroyed" | "failed");
            let vm = vm.filter(|vm| !gone(vm));
            members.push(Member { instance, vm });
        }
        members.sort_by_key(|one| (one.vm.is_none(), one.alias()));
        rosters.push(Roster { service, members });
    }
    Ok(rosters)
}
