// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Which names CNS publishes for a datacenter: facts in, records out. Pure.
//!
//! Not modelled, because the facts hold none of it: IPv6, network pools, and
//! the `<net>.<name>` forms of networks owned by a tenant.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde_json::Value;

use crate::datacenter::{Facts, Vm};

/// The data of one record. Every TTL is the zone's, 30 s.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Data {
    /// Address.
    A(Ipv4Addr),
    /// One string.
    Txt(String),
    /// Priority 0 and weight 10, whatever the tag said.
    Srv {
        /// Port.
        port: u16,
        /// Instance name.
        target: String,
    },
    /// Alias.
    Cname(String),
    /// Name of an address.
    Ptr(String),
}

/// Records by owner. Names are absolute, lower case, without a final dot.
pub type Contents = BTreeMap<String, BTreeSet<Data>>;

/// Contents by zone, SOA and NS apart.
pub type Zones = BTreeMap<String, Contents>;

/// A forward zone and the networks whose addresses it lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardZone {
    /// Zone name.
    pub name: String,
    /// Network uuids, or `*`: those that no other zone names.
    pub networks: Vec<String>,
    /// Further name servers, shown as NS. The real one lets their addresses
    /// transfer; here put them into `allow_transfer`.
    pub peers: Vec<String>,
    /// The first of `peers` is shown as primary instead of this CNS.
    pub hidden_primary: bool,
}

impl ForwardZone {
    /// A zone for all networks, no peers.
    pub fn any(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            networks: vec!["*".to_owned()],
            peers: Vec::new(),
            hidden_primary: false,
        }
    }
}

/// Instance metadata that CNS reads; it is no part of the shared facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceMetadata {
    /// `triton.cns.status`: anything but `up` takes it out of its services.
    pub status: Option<String>,
    /// `triton.cns.acme-challenge`: tokens between spaces.
    pub acme_challenge: Option<String>,
}

/// What decides about names beside the facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    /// Forward zones.
    pub forward_zones: Vec<ForwardZone>,
    /// SAPI `use_login`: names with the owner's login too.
    pub use_login: bool,
    /// SAPI `use_alias`: names with the VM's alias too.
    pub use_alias: bool,
    /// Owners (uuid) with `triton_cns_enabled`, approved for provisioning.
    pub enabled_owners: BTreeSet<String>,
    /// By VM uuid.
    pub metadata: BTreeMap<String, InstanceMetadata>,
}

impl Naming {
    /// What a new CNS does: one zone for everything, aliases but no logins.
    pub fn new(facts: &Facts) -> Self {
        Self {
            forward_zones: vec![ForwardZone::any(&facts.cns_zone())],
            use_login: false,
            use_alias: true,
            enabled_owners: BTreeSet::new(),
            metadata: BTreeMap::new(),
        }
    }

    /// The forward zones that list addresses of this network.
    pub fn zones_of(&self, network: &str) -> Vec<&ForwardZone> {
        let naming = |wanted: &str| -> Vec<&ForwardZone> {
            self.forward_zones
                .iter()
                .filter(|zone| zone.networks.iter().any(|n| n == wanted))
                .collect()
        };
        let named = naming(network);
        if named.is_empty() { naming("*") } else { named }
    }
}

/// All zones. A forward zone exists even when empty, a reverse zone from its
/// first address on.
pub fn build(facts: &Facts, naming: &Naming) -> Zones {
    let mut zones: Zones = naming
        .forward_zones
        .iter()
        .map(|zone| (zone.name.clone(), Contents::new()))
        .collect();
    for server in &facts.servers {
        add_cmon(&mut zones, naming, &server.uuid);
    }
    for vm in facts.vms.iter().filter(|vm| listed(facts, naming, vm)) {
        add_cmon(&mut zones, naming, &vm.uuid);
        for zone in &naming.forward_zones {
            let names = Names::new(facts, naming, vm, zone);
            if let Some(contents) = zones.get_mut(&zone.name) {
                names.add(naming, vm, contents);
            }
        }
        add_reverse(&mut zones, facts, naming, vm);
    }
    zones
}

/// Forward names of one VM over all zones, for the REST API.
pub fn names_of(facts: &Facts, naming: &Naming, vm: &Vm) -> Vec<String> {
    if !listed(facts, naming, vm) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for zone in &naming.forward_zones {
        let names = Names::new(facts, naming, vm, zone);
        if !names.addresses.is_empty() {
            found.extend(names.instance);
            found.extend(names.services.into_iter().map(|s| s.name));
        }
    }
    found
}

/// Lower case; every run of characters that a label does not take is a dash.
pub fn label(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_run = false;
    for c in text.chars().flat_map(char::to_lowercase) {
        let keep = c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if keep {
            out.push(c);
        } else if !in_run {
            out.push('-');
        }
        in_run = !keep;
    }
    out
}

/// The /24 reverse zone of an address, and the address's name in it.
pub fn reverse_name(ip: Ipv4Addr) -> (String, String) {
    let [a, b, c, d] = ip.octets();
    let zone = format!("{c}.{b}.{a}.in-addr.arpa");
    let name = format!("{d}.{zone}");
    (zone, name)
}

struct Service {
    name: String,
    ports: Vec<u16>,
    bare: bool,
}

/// The names and addresses of a VM in one zone.
struct Names {
    addresses: Vec<Ipv4Addr>,
    /// With the alias last, if aliases are used.
    instance: Vec<String>,
    services: Vec<Service>,
}

impl Names {
    fn new(
        facts: &Facts,
        naming: &Naming,
        vm: &Vm,
        zone: &ForwardZone,
    ) -> Self {
        let addresses = public_nics(vm)
            .filter(|(_, network)| {
                naming.zones_of(network).iter().any(|z| z.name == zone.name)
            })
            .map(|(ip, _)| ip)
            .collect();
        let login = login_of(facts, vm);
        let mut owners = vec![vm.owner_uuid.clone()];
        owners.extend(login.filter(|_| naming.use_login).map(label));
        let mut instance = Vec::new();
        let mut services = Vec::new();
        let zone = &zone.name;
        let alias = label(&vm.alias);
        for owner in &owners {
            instance.push(format!("{}.inst.{owner}.{zone}", vm.uuid));
            if naming.use_alias && !alias.is_empty() {
                instance.push(format!("{alias}.inst.{owner}.{zone}"));
            }
            for (service, ports) in services_of(facts, vm) {
                let name = format!("{service}.svc.{owner}.{zone}");
                services.push(Service { name, ports, bare: false });
            }
        }
        if login == Some("admin") {
            for (service, ports) in services_of(facts, vm) {
                let name = format!("{service}.{zone}");
                services.push(Service { name, ports, bare: true });
            }
        }
        instance.retain(|name| is_name(name));
        services.retain(|service| is_name(&service.name));
        Self { addresses, instance, services }
    }

    /// A VM without an address in the zone has no name there.
    fn add(&self, naming: &Naming, vm: &Vm, contents: &mut Contents) {
        if self.addresses.is_empty() {
            return;
        }
        let mut put = |name: &str, data: Data| {
            contents.entry(name.to_owned()).or_default().insert(data);
        };
        let uuid = || Data::Txt(vm.uuid.clone());
        for name in &self.instance {
            put(name, uuid());
            self.addresses.iter().for_each(|ip| put(name, Data::A(*ip)));
        }
        for Service { name, ports, bare } in &self.services {
            if !is_up(naming, vm) {
                put(name, Data::Txt(format!("verifying:{}", vm.uuid)));
                continue;
            }
            put(name, uuid());
            self.addresses.iter().for_each(|ip| put(name, Data::A(*ip)));
            // The name under the same owner, with the alias if there is one.
            let owner = name.split_once(".svc.").map(|(_, owner)| owner);
            let target = owner.and_then(|owner| {
                let end = format!(".inst.{owner}");
                self.instance.iter().rfind(|i| i.ends_with(&end))
            });
            if let (false, Some(target)) = (*bare, target) {
                for port in ports {
                    let (port, target) = (*port, target.clone());
                    put(name, Data::Srv { port, target });
                }
            }
        }
        let metadata = naming.metadata.get(&vm.uuid);
        let tokens = metadata
            .and_then(|metadata| metadata.acme_challenge.as_deref())
            .unwrap_or_default();
        let services = self.services.iter().map(|service| &service.name);
        for name in self.instance.iter().chain(services) {
            for token in tokens.split(' ').filter(|token| !token.is_empty()) {
                let name = format!("_acme-challenge.{name}");
                put(&name, Data::Txt(token.to_owned()));
            }
        }
    }
}

/// `<uuid>.cmon`, in every forward zone; it may well dangle.
fn add_cmon(zones: &mut Zones, naming: &Naming, uuid: &str) {
    for zone in &naming.forward_zones {
        let name = format!("{uuid}.cmon.{}", zone.name);
        let target = Data::Cname(format!("cmon.{}", zone.name));
        if let Some(contents) = zones.get_mut(&zone.name)
            && is_name(&name)
        {
            contents.entry(name).or_default().insert(target);
        }
    }
}

/// One PTR per address, to the shortest instance name or the tag.
fn add_reverse(zones: &mut Zones, facts: &Facts, naming: &Naming, vm: &Vm) {
    let tag = vm.tags.get("triton.cns.reverse_ptr").and_then(Value::as_str);
    for (ip, network) in public_nics(vm) {
        let shortest = naming
            .zones_of(network)
            .into_iter()
            .flat_map(|zone| Names::new(facts, naming, vm, zone).instance)
            .min_by_key(String::len);
        let target = tag
            .map(|tag| tag.to_ascii_lowercase())
            .filter(|tag| is_name(tag))
            .or(shortest);
        let (zone, name) = reverse_name(ip);
        if let Some(target) = target {
            let records =
                zones.entry(zone).or_default().entry(name).or_default();
            if records.is_empty() {
                records.insert(Data::Ptr(target));
            }
        }
    }
}

fn login_of<'a>(facts: &'a Facts, vm: &Vm) -> Option<&'a str> {
    let owner = facts.accounts.iter().find(|a| a.uuid == vm.owner_uuid);
    owner.map(|owner| owner.login.as_str())
}

/// Addresses with their networks; those on admin and manta never appear.
fn public_nics(vm: &Vm) -> impl Iterator<Item = (Ipv4Addr, &str)> {
    vm.nics
        .iter()
        .filter(|nic| nic.nic_tag != "admin" && nic.nic_tag != "manta")
        .map(|nic| (nic.ip, nic.network_uuid.as_str()))
}

/// Whether CNS lists the VM at all.
fn listed(facts: &Facts, naming: &Naming, vm: &Vm) -> bool {
    let disabled = vm.tags.get("triton.cns.disable").is_some_and(|value| {
        value.as_bool() == Some(true) || value.as_str() == Some("true")
    });
    if disabled || matches!(vm.state.as_str(), "destroyed" | "failed") {
        return false;
    }
    let core = matches!(login_of(facts, vm), Some("admin" | "poseidon"));
    naming.enabled_owners.contains(&vm.owner_uuid)
        || vm.tags.contains_key("triton.cns.reverse_ptr")
        || core && !services_of(facts, vm).is_empty()
}

/// Down members keep a sign at the service name and lose the address there.
/// That a VM which does not run counts as down is assumed.
fn is_up(naming: &Naming, vm: &Vm) -> bool {
    let metadata = naming.metadata.get(&vm.uuid);
    let status = metadata.and_then(|metadata| metadata.status.as_deref());
    vm.state == "running" && status.is_none_or(|status| status == "up")
}

/// Services with their ports: the role of a core zone, then the tag.
fn services_of(facts: &Facts, vm: &Vm) -> BTreeMap<String, Vec<u16>> {
    let tag = |key: &str| vm.tags.get(key).and_then(Value::as_str);
    let role = match login_of(facts, vm) {
        Some("admin") => tag("smartdc_role").filter(|role| *role != "nat"),
        Some("poseidon") => {
            tag("manta_role").filter(|role| *role == "loadbalancer")
        }
        _ => None,
    };
    let mut services = BTreeMap::new();
    if let Some(role) = role {
        services.insert(label(role), Vec::new());
    }
    let listed = tag("triton.cns.services").unwrap_or_default();
    for (name, port) in listed.split(',').filter_map(parse_service) {
        let ports: &mut Vec<u16> = services.entry(name).or_default();
        ports.extend(port);
    }
    services
}

/// `name[:port][:key=value]...`; VMAPI refuses what is malformed, so it is
/// passed over here. `priority` and `weight` have no effect.
fn parse_service(text: &str) -> Option<(String, Option<u16>)> {
    let mut parts = text.trim().split(':');
    let name = parts.next()?;
    let first = name.chars().next()?;
    let rest_ok = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !first.is_ascii_lowercase() || !rest_ok || name.len() > 63 {
        return None;
    }
    let mut port = None;
    for part in parts {
        let value = part.strip_prefix("port=").unwrap_or(part);
        if value.contains('=') {
            continue;
        }
        port = Some(value.parse().ok().filter(|port| *port > 0)?);
    }
    Some((name.to_owned(), port))
}

/// Whether DNS can carry the name.
fn is_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && label.bytes().all(|b| {
                    b.is_ascii_lowercase()
                        || b.is_ascii_digit()
                        || b == b'-'
                        || b == b'_'
                })
        })
}
