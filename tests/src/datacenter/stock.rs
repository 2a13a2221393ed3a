// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a datacenter has in stock to make zones of: images, packages,
//! networks, servers' capacity; the firewall's rules; and of each zone what
//! only Triton's own APIs show. IMGAPI, PAPI, NAPI, CNAPI and FWAPI show it,
//! VMAPI and SAPI take from it.
//!
//! A shelf that is empty checks nothing: zones may then be made of images,
//! packages and networks that nobody wrote down.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::job::{Fate, Job};
use super::{Facts, Nic, Server, Vm};

/// A network, as NAPI knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Uuid.
    pub uuid: String,
    /// Name: `admin`, `external`.
    pub name: String,
    /// NIC tag.
    pub nic_tag: String,
    /// CIDR.
    pub subnet: String,
    /// First address that zones are given.
    pub provision_start_ip: Ipv4Addr,
    /// Last of them.
    pub provision_end_ip: Ipv4Addr,
    /// Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Ipv4Addr>,
    /// Resolvers.
    #[serde(default)]
    pub resolvers: Vec<Ipv4Addr>,
    /// A customer's own.
    #[serde(default)]
    pub fabric: bool,
}

/// What Triton knows of a zone beyond the facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Package.
    pub billing_id: Option<String>,
    /// Quota, GiB.
    pub quota_gib: u64,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Whether the firewall is on.
    pub firewall_enabled: bool,
    /// Metadata in the zone.
    pub customer_metadata: Map<String, Value>,
    /// Address of the primary NIC; the first one's where this is `None`.
    pub primary: Option<Ipv4Addr>,
    /// Which root file system it has: another one after each reprovision.
    pub root: Uuid,
    /// Which delegate dataset; it stays the same for the zone's life.
    pub data: Option<Uuid>,
}

impl Default for Zone {
    fn default() -> Self {
        Self {
            billing_id: None,
            quota_gib: 25,
            memory_mib: 1024,
            firewall_enabled: false,
            customer_metadata: Map::new(),
            primary: None,
            root: Uuid::new_v4(),
            data: None,
        }
    }
}

/// All of it.
#[derive(Debug, Default)]
pub struct Stock {
    /// IMGAPI's images: manifests, by uuid.
    pub images: BTreeMap<String, Value>,
    /// Images of the updates server, with `channels`.
    pub updates: BTreeMap<String, Value>,
    /// URL of the updates server; while it is `None`, any URL is.
    pub updates_url: Option<String>,
    /// PAPI's packages: `uuid`, `name`, `quota` in MiB, ...
    pub packages: Vec<Value>,
    /// NAPI's networks.
    pub networks: Vec<Network>,
    /// FWAPI's rules, by uuid.
    pub rules: BTreeMap<String, Value>,
    /// What CNAPI says of a server otherwise than of others, by uuid.
    pub servers: BTreeMap<String, Map<String, Value>>,
    /// Zones, by uuid; one that is missing is as the default.
    pub zones: BTreeMap<String, Zone>,
    /// How often a job must be asked for, or what it makes, until it is over;
    /// 0: it is over when its uuid is handed out.
    pub job_polls: u32,
    /// What becomes of the next job of a task, in order.
    pub fates: VecDeque<(String, Fate)>,
    /// No job can be started.
    pub workflow_down: bool,
    /// Jobs that are known, oldest first.
    pub(crate) jobs: VecDeque<Job>,
}

impl Stock {
    /// The next job of this task ends so: `provision`, `destroy`, `update`
    /// (tags and metadata too), `reprovision`, `add-nics`, `remove-nics`,
    /// `start`, `stop`, `reboot`, `import-remote-image`.
    pub fn next_job(&mut self, task: &str, fate: Fate) {
        self.fates.push_back((task.to_owned(), fate));
    }

    /// Puts an image of IMGAPI's in stock; the manifest has a `uuid`.
    pub fn put_image(&mut self, manifest: Value) {
        self.images.insert(uuid_of(&manifest), manifest);
    }

    /// Puts an image on the updates server.
    pub fn put_update(&mut self, manifest: Value) {
        self.updates.insert(uuid_of(&manifest), manifest);
    }

    /// A zone as Triton knows it.
    pub fn zone(&self, uuid: &str) -> Zone {
        let unknown = || Zone { root: Uuid::nil(), ..Zone::default() };
        self.zones.get(uuid).cloned().unwrap_or_else(unknown)
    }

    pub(crate) fn zone_mut(&mut self, uuid: &str) -> &mut Zone {
        let unknown = || Zone { root: Uuid::nil(), ..Zone::default() };
        self.zones.entry(uuid.to_owned()).or_insert_with(unknown)
    }

    /// A server as CNAPI shows it: the first is the headnode, all are set up,
    /// run, and have 64 GiB, unless `servers` says otherwise.
    pub(crate) fn server(&self, facts: &Facts, server: &Server) -> Value {
        let first = facts.servers.first().map(|first| &first.uuid);
        let mut shown = json!({
            "uuid": server.uuid,
            "hostname": server.hostname,
            "headnode": first == Some(&server.uuid),
            "setup": true,
            "reserved": false,
            "status": "running",
            "datacenter": facts.datacenter_name,
            "memory_total_bytes": 64_u64 << 30,
            "memory_available_bytes": 32_u64 << 30,
        });
        for (key, value) in self.servers.get(&server.uuid).into_iter().flatten()
        {
            shown[key] = value.clone();
        }
        shown
    }

    /// A VM as VMAPI shows it.
    pub(crate) fn vm(&self, facts: &Facts, vm: &Vm) -> Value {
        let zone = self.zone(&vm.uuid);
        let server = facts.servers.iter().find(|s| s.uuid == vm.server_uuid);
        let mut shown = json!(vm);
        shown["zonename"] = json!(vm.uuid);
        shown["zone_state"] = json!(vm.state);
        if let Some(server) = server
            && vm.state == "running"
        {
            // Whoever is on a server that is silent may not run.
            let status = self.server(facts, server)["status"].take();
            shown["state"] = status;
        }
        let data = format!("zones/{}/data", vm.uuid);
        let data: Vec<String> = zone.data.map(|_| data).into_iter().collect();
        let nics = vm.nics.iter().map(|nic| self.nic(vm, nic));
        shown["nics"] = nics.collect();
        shown["billing_id"] = json!(zone.billing_id);
        shown["quota"] = json!(zone.quota_gib);
        shown["ram"] = json!(zone.memory_mib);
        shown["max_physical_memory"] = json!(zone.memory_mib);
        shown["firewall_enabled"] = json!(zone.firewall_enabled);
        shown["customer_metadata"] = json!(zone.customer_metadata);
        shown["internal_metadata"] = json!({});
        shown["datasets"] = json!(data);
        shown["create_timestamp"] = json!("2030-01-02T03:04:05.000Z");
        shown
    }

    /// A NIC as both VMAPI and NAPI show it.
    pub(crate) fn nic(&self, vm: &Vm, nic: &Nic) -> Value {
        let primary = self.zone(&vm.uuid).primary;
        let primary = primary.or(vm.nics.first().map(|first| first.ip));
        let mut shown = json!(nic);
        shown["mac"] = json!(mac(nic.ip));
        shown["primary"] = json!(primary == Some(nic.ip));
        shown["netmask"] = json!("255.255.255.0");
        shown
    }
}

/// The MAC address that goes with an address: none is written down.
pub(crate) fn mac(ip: Ipv4Addr) -> String {
    let [a, b, c, d] = ip.octets();
    format!("90:b8:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

fn uuid_of(manifest: &Value) -> String {
    manifest["uuid"].as_str().unwrap_or_default().to_owned()
}
