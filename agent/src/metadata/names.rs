// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Who knows names, and how datacenter, binder and CNS are called, as SAPI
//! metadata says it. Asks for single keys: a fault elsewhere must not take
//! the zone's names away.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::meaning;
use super::meaning::place::{
    DNS_DOMAIN, DNS_RESOLVERS, DOMAIN_NAME, MANTA_DNS_DOMAIN, datacenter,
};
use super::meaning::prometheus::CMON_DOMAIN;
use super::wire::Reader;
use crate::model::Flavor;
use crate::model::dns::ZoneName;

/// Triton's binders: `ZK_SERVERS` (ZooKeeper lives in the binder zones); in a
/// Manta zone that key lists Manta's own, and Triton's are in
/// `SDC_NAMESERVERS`.
pub fn binders(metadata: &Map<String, Value>, flavor: Flavor) -> Vec<IpAddr> {
    match flavor {
        Flavor::Triton => hosts(metadata, "ZK_SERVERS"),
        Flavor::Manta => hosts(metadata, "SDC_NAMESERVERS"),
    }
}

/// Manta's own name servers, in a Manta zone.
pub fn manta_nameservers(
    metadata: &Map<String, Value>,
    flavor: Flavor,
) -> Vec<IpAddr> {
    match flavor {
        Flavor::Triton => Vec::new(),
        Flavor::Manta => hosts(metadata, "ZK_SERVERS"),
    }
}

/// The operator's resolvers for everything outside: `dns_resolvers`, a list
/// with commas.
pub fn resolvers(metadata: &Map<String, Value>) -> Vec<IpAddr> {
    let mut reader = Reader::new(metadata);
    let texts = reader.get(&DNS_RESOLVERS).unwrap_or_default();
    texts
        .iter()
        .flat_map(|text| text.split_whitespace())
        .filter_map(|text| text.parse().ok())
        .collect()
}

/// CMON's domain if SAPI names one.
pub fn cmon_domain(metadata: &Map<String, Value>) -> Option<String> {
    Reader::new(metadata).get(&CMON_DOMAIN)
}

/// The datacenter and domain that binder names hang below:
/// `<service>.<datacenter>.<domain>`.
pub fn binder_domain(metadata: &Map<String, Value>) -> Option<ZoneName> {
    let mut reader = Reader::new(metadata);
    let datacenter = datacenter(&mut reader, metadata)?;
    let domain = triton_domain(metadata)?;
    ZoneName::parse(&format!("{datacenter}.{domain}")).ok()
}

/// The domain that all of Triton's names hang below.
pub fn triton_domain(metadata: &Map<String, Value>) -> Option<ZoneName> {
    let mut reader = Reader::new(metadata);
    let domain = reader.get(&DNS_DOMAIN).or(reader.get(&MANTA_DNS_DOMAIN))?;
    ZoneName::parse(&domain).ok()
}

/// The zone CNS serves unless told otherwise: `<datacenter>.cns.<domain>`.
pub fn default_cns_zone(metadata: &Map<String, Value>) -> Option<ZoneName> {
    let mut reader = Reader::new(metadata);
    let datacenter = datacenter(&mut reader, metadata)?;
    let domain = triton_domain(metadata)?;
    ZoneName::parse(&format!("{datacenter}.cns.{domain}")).ok()
}

/// Manta's own domain, served by its own nameservers: `<region>.<domain>`.
pub fn manta_domain(metadata: &Map<String, Value>) -> Option<ZoneName> {
    let name = Reader::new(metadata).get(&DOMAIN_NAME)?;
    ZoneName::parse(&name).ok()
}

/// Login of the account whose key signs the client certificate.
pub fn account(metadata: &Map<String, Value>, flavor: Flavor) -> String {
    meaning::place::account(&mut Reader::new(metadata), flavor)
}

fn hosts(metadata: &Map<String, Value>, key: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let servers = metadata.get(key).and_then(Value::as_array);
    for server in servers.into_iter().flatten() {
        let host = server.get("host").and_then(Value::as_str);
        if let Some(ip) = host.and_then(|h| h.trim().parse().ok())
            && !found.contains(&ip)
        {
            found.push(ip);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn binders_come_from_zookeepers_list_once_each() {
        let metadata = json!({
            "ZK_SERVERS": [{"host": "10.9.0.5", "port": 2181},
                           {"host": "10.9.0.6"}, {"host": "nonsense"}, 3,
                           {"host": "10.9.0.5"}],
            "SDC_NAMESERVERS": [{"host": "10.9.0.7"}],
        });
        let map = metadata.as_object().unwrap();
        let ips = |texts: &[&str]| -> Vec<IpAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let own = ips(&["10.9.0.5", "10.9.0.6"]);
        assert_eq!(binders(map, Flavor::Triton), own);
        assert_eq!(binders(map, Flavor::Manta), ips(&["10.9.0.7"]));
        assert_eq!(manta_nameservers(map, Flavor::Manta), own);
    }
}
