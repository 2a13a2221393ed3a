// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What is known about names, and the routing table that follows from it:
//! plain functions over plain data.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::MantaNames;
use crate::metadata::{meaning, names, peers};
use crate::model::dns::{
    ForwardZone, Routes, SecondaryZone, UpstreamKind, ZoneName,
};
use crate::model::primary::Primary;
use crate::model::{Flavor, Peers};

/// What is known, and kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Triton's binders.
    #[serde(default)]
    pub binders: Vec<IpAddr>,
    /// CNS instances.
    #[serde(default)]
    pub cns: Vec<IpAddr>,
    /// Forward zones of CNS.
    #[serde(default)]
    pub zones: Vec<ZoneName>,
    /// CMON's domain by CNS, where SAPI names none.
    #[serde(default)]
    pub cmon_domain: Option<String>,
    /// What metadata gave last: served before SAPI answers.
    #[serde(default)]
    pub seed: Seed,
    /// Who else monitors.
    #[serde(default)]
    pub peers: Peers,
    /// Manta's names, where SAPI lists monitoring instances of Manta's.
    #[serde(default)]
    pub manta: MantaNames,
    /// When each datacenter's SAPI was asked for the newest whole list of
    /// peers that is in `peers`, Unix seconds.
    #[serde(default)]
    pub listed: BTreeMap<String, u64>,
}

/// What metadata says about names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    /// `<datacenter>.<domain>`.
    pub binder_domain: Option<ZoneName>,
    /// Triton's `<domain>`.
    pub dns_domain: Option<ZoneName>,
    /// Binders by metadata.
    pub binders: Vec<IpAddr>,
    /// Manta's `<region>.<domain>` and who serves it.
    pub manta: Option<(ZoneName, Vec<IpAddr>)>,
    /// The operator's resolvers.
    pub resolvers: Vec<IpAddr>,
    /// CNS' default zone.
    pub default_zone: Option<ZoneName>,
    /// `<datacenter>.<domain>` of the region's other datacenters.
    #[serde(default)]
    pub others: Vec<ZoneName>,
}

/// What the zone itself is told by the platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneFacts {
    /// Owner account.
    pub owner_uuid: Option<String>,
    /// NAPI network of the first NIC that is neither admin nor manta.
    pub network_uuid: Option<String>,
    /// `sdc:resolvers`: binders and public ones, mixed.
    pub resolvers: Vec<IpAddr>,
    /// Address of the admin NIC, by which CNS knows a secondary.
    pub admin_ip: Option<IpAddr>,
    /// Whether CNS's reverse zones are replicated, too.
    pub reverse_zones: bool,
    /// Zones that the agent's own file names, with primaries of their own.
    pub zones: Vec<SecondaryZone>,
    /// Domains that the agent's own file forwards.
    pub forwards: Vec<ForwardZone>,
}

/// Reads the seed out of merged metadata.
pub fn seed(
    metadata: &Map<String, Value>,
    otherwise: Flavor,
    facts: &ZoneFacts,
) -> Seed {
    let flavor = meaning::flavor(metadata, otherwise);
    let binders = names::binders(metadata, flavor);
    let manta = names::manta_domain(metadata).and_then(|domain| {
        let servers = names::manta_nameservers(metadata, flavor);
        (!servers.is_empty()).then_some((domain, servers))
    });
    // Never ourselves: an operator may have told the platform 127.0.0.1.
    let outside = |ip: &IpAddr| !ip.is_loopback() && !ip.is_unspecified();
    let mut resolvers = names::resolvers(metadata);
    resolvers.retain(outside);
    if resolvers.is_empty() {
        // Manta's metadata names none. What the platform gave the zone is a
        // mixture; what is no binder is the operator's.
        let known = |ip: &IpAddr| {
            binders.contains(ip)
                || manta.as_ref().is_some_and(|(_, ips)| ips.contains(ip))
        };
        resolvers = facts
            .resolvers
            .iter()
            .filter(|ip| outside(ip) && !known(ip))
            .copied()
            .collect();
    }
    Seed {
        binder_domain: names::binder_domain(metadata),
        dns_domain: names::triton_domain(metadata),
        binders,
        manta,
        resolvers,
        default_zone: names::default_cns_zone(metadata),
        others: others(metadata),
    }
}

/// Where the names of the region's other datacenters hang.
fn others(metadata: &Map<String, Value>) -> Vec<ZoneName> {
    let Some((region, domain)) = peers::datacenters(metadata) else {
        return Vec::new();
    };
    let name = |dc: &String| ZoneName::parse(&format!("{dc}.{domain}")).ok();
    region.iter().skip(1).filter_map(name).collect()
}

/// The routing table that follows from what is known.
pub fn routes(found: &Found, facts: &ZoneFacts) -> Routes {
    let port53 = |ips: &[IpAddr]| -> Vec<SocketAddr> {
        ips.iter().map(|ip| SocketAddr::new(*ip, 53)).collect()
    };
    let seed = &found.seed;
    let primaries: Vec<Primary> =
        port53(&found.cns).into_iter().map(Primary::from).collect();
    let mut zones = found.zones.clone();
    if zones.is_empty() {
        zones.extend(seed.default_zone.clone());
    }
    // A zone that the operator gives primaries is asked of those alone.
    let own = |name: &ZoneName| facts.zones.iter().any(|z| z.name == *name);
    let secondaries = zones
        .into_iter()
        .filter(|name| !own(name))
        .map(|name| SecondaryZone { name, primaries: primaries.clone() })
        .chain(facts.zones.iter().cloned())
        .collect();
    let mut forwards: Vec<ForwardZone> = Vec::new();
    let mut forward = |suffix: &ZoneName, ips: &[IpAddr], kind, fallback| {
        let upstreams = port53(ips);
        match forwards.iter_mut().find(|f| f.suffix == *suffix) {
            // Region and datacenter share a name: both kinds of binder, each
            // of which refuses what is the other's.
            Some(zone) => {
                zone.upstreams.extend(upstreams);
                dedup(&mut zone.upstreams);
            }
            None if upstreams.is_empty() => {}
            None => {
                let suffix = suffix.clone();
                forwards.push(ForwardZone {
                    suffix,
                    upstreams,
                    kind,
                    fallback,
                });
            }
        }
    };
    // All that anyone ever named: what binder said of itself would otherwise
    // hide newer metadata for ever, once all binders have moved; and metadata
    // may be out of reach just because binder moved. A dead one costs
    // nothing, the pool remembers it. Of the platform's, the private ones:
    // no datacenter's name is asked of a public resolver.
    let mut binders = found.binders.clone();
    binders.extend(&seed.binders);
    if seed.manta.is_none() {
        let private = |ip: &IpAddr| {
            matches!(ip, IpAddr::V4(ip) if ip.is_private())
                && !seed.resolvers.contains(ip)
        };
        binders.extend(facts.resolvers.iter().copied().filter(private));
    }
    dedup(&mut binders);
    let binders = &binders;
    if let Some(domain) = &seed.binder_domain {
        // Never beyond binder: a public wildcard must not answer for `sapi`.
        forward(domain, binders, UpstreamKind::Binder, false);
    }
    for domain in &seed.others {
        // Binder asks the binders there, if UFDS knows them.
        forward(domain, binders, UpstreamKind::Binder, false);
    }
    for (domain, servers) in seed.manta.iter().chain(found.manta.values()) {
        forward(domain, servers, UpstreamKind::Binder, false);
    }
    if let Some(domain) = &seed.dns_domain {
        // Other datacenters' names, and public ones below the same domain,
        // which binder refuses.
        forward(domain, binders, UpstreamKind::Binder, true);
    }
    let root = ZoneName::parse(".").expect("the root is a zone name");
    if !seed.resolvers.is_empty() {
        forward(&root, &seed.resolvers, UpstreamKind::Recursive, false);
    } else if seed.binder_domain.is_none() {
        // Nothing known yet: whoever the platform named may know SAPI.
        // Binders among them refuse what is not theirs, so ask all.
        forward(&root, &facts.resolvers, UpstreamKind::Binder, false);
    }
    // What the operator says of a domain is all that counts there.
    let own = |zone: &ForwardZone| {
        facts.forwards.iter().any(|own| own.suffix == zone.suffix)
    };
    forwards.retain(|zone| !own(zone));
    forwards.extend(facts.forwards.iter().cloned());
    Routes { secondaries, forwards }
}

/// Drops what stood before, in order.
fn dedup<T: Copy + PartialEq>(list: &mut Vec<T>) {
    let mut seen: Vec<T> = Vec::new();
    list.retain(|item| {
        let new = !seen.contains(item);
        seen.push(*item);
        new
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn suffixes(routes: &Routes) -> Vec<(&str, UpstreamKind, bool)> {
        routes
            .forwards
            .iter()
            .map(|f| (f.suffix.as_str(), f.kind, f.fallback))
            .collect()
    }

    #[test]
    fn triton_metadata_gives_the_table_of_the_sheet() {
        let metadata = json!({
            "datacenter_name": "dc1", "dns_domain": "t.test",
            "ZK_SERVERS": [{"host": "10.9.0.5"}],
            "dns_resolvers": "192.0.2.53,192.0.2.54",
        });
        let facts = ZoneFacts::default();
        let seed = seed(metadata.as_object().unwrap(), Flavor::Triton, &facts);
        let mut found = Found { seed, ..Found::default() };
        let table = routes(&found, &facts);
        assert_eq!(
            suffixes(&table),
            [
                ("dc1.t.test", UpstreamKind::Binder, false),
                ("t.test", UpstreamKind::Binder, true),
                (".", UpstreamKind::Recursive, false),
            ]
        );
        assert_eq!(table.secondaries[0].name.as_str(), "dc1.cns.t.test");
        assert!(table.secondaries[0].primaries.is_empty());
        found.cns = vec![ip("10.9.0.20"), ip("10.9.0.21")];
        found.binders = vec![ip("10.9.0.6")];
        let table = routes(&found, &facts);
        assert_eq!(table.secondaries[0].primaries.len(), 2);
        assert_eq!(
            table.forwards[0].upstreams,
            [
                SocketAddr::new(ip("10.9.0.6"), 53),
                SocketAddr::new(ip("10.9.0.5"), 53)
            ],
            "what binder says, and what metadata says"
        );
    }

    #[test]
    fn manta_metadata_keeps_the_two_kinds_of_binder_apart() {
        let metadata = json!({
            "is_manta_service": true, "DATACENTER": "dc1",
            "DNS_DOMAIN": "t.test", "DOMAIN_NAME": "r1.t.test",
            "ZK_SERVERS": [{"host": "10.8.0.5"}],
            "SDC_NAMESERVERS": [{"host": "10.9.0.5"}],
        });
        let facts = ZoneFacts {
            resolvers: vec![ip("10.8.0.5"), ip("10.9.0.5"), ip("192.0.2.53")],
            ..ZoneFacts::default()
        };
        let seed = seed(metadata.as_object().unwrap(), Flavor::Manta, &facts);
        let found = Found { seed, ..Found::default() };
        let table = routes(&found, &facts);
        let upstream = |suffix: &str| {
            let zone = table.forwards.iter();
            zone.filter(|f| f.suffix.as_str() == suffix)
                .flat_map(|f| f.upstreams.iter().map(SocketAddr::ip))
                .collect::<Vec<_>>()
        };
        assert_eq!(upstream("r1.t.test"), [ip("10.8.0.5")]);
        assert_eq!(upstream("dc1.t.test"), [ip("10.9.0.5")]);
        assert_eq!(upstream("."), [ip("192.0.2.53")]);
    }

    #[test]
    fn other_datacenters_and_manta_are_asked_of_those_who_know() {
        let metadata = json!({
            "datacenter_name": "dc1", "dns_domain": "t.test",
            "ZK_SERVERS": [{"host": "10.9.0.5"}],
            "region_datacenters": ["dc1", "dc2"],
        });
        let facts = ZoneFacts::default();
        let seed = seed(metadata.as_object().unwrap(), Flavor::Triton, &facts);
        let manta =
            |server| (ZoneName::parse("r1.t.test").unwrap(), vec![ip(server)]);
        let found = Found {
            seed,
            manta: [
                ("dc1".to_owned(), manta("10.8.0.5")),
                ("dc2".to_owned(), manta("10.8.1.5")),
            ]
            .into(),
            ..Found::default()
        };
        let table = routes(&found, &facts);
        assert_eq!(
            suffixes(&table),
            [
                ("dc1.t.test", UpstreamKind::Binder, false),
                ("dc2.t.test", UpstreamKind::Binder, false),
                ("r1.t.test", UpstreamKind::Binder, false),
                ("t.test", UpstreamKind::Binder, true),
            ]
        );
        assert_eq!(table.forwards[1].upstreams[0].ip(), ip("10.9.0.5"));
        assert_eq!(table.forwards[2].upstreams.len(), 2);
    }

    #[test]
    fn a_file_of_an_agent_that_knew_no_peers_is_read() {
        let text = r#"{"binders":["10.9.0.5"],"cns":[],"zones":[],
            "cmon_domain":null,"seed":{"binder_domain":"dc1.t.test",
            "dns_domain":"t.test","binders":["10.9.0.5"],"manta":null,
            "resolvers":[],"default_zone":null}}"#;
        let found: Found = serde_json::from_str(text).unwrap();
        assert_eq!(found.binders, [ip("10.9.0.5")]);
        assert!(found.peers.is_empty());
    }

    #[test]
    fn binders_that_moved_are_found_by_what_the_platform_says() {
        let found = Found {
            binders: vec![ip("10.9.0.5")],
            seed: Seed {
                binder_domain: ZoneName::parse("dc1.t.test").ok(),
                binders: vec![ip("10.9.0.5")],
                ..Seed::default()
            },
            ..Found::default()
        };
        let facts = ZoneFacts {
            resolvers: vec![ip("10.9.0.77"), ip("8.8.8.8")],
            ..ZoneFacts::default()
        };
        let table = routes(&found, &facts);
        let ips: Vec<IpAddr> =
            table.forwards[0].upstreams.iter().map(SocketAddr::ip).collect();
        assert_eq!(ips, [ip("10.9.0.5"), ip("10.9.0.77")]);
    }

    #[test]
    fn a_zone_of_the_agents_file_is_asked_of_its_own_primaries() {
        let zone = |name: &str| ZoneName::parse(name).unwrap();
        let found = Found {
            cns: vec![ip("10.9.0.20")],
            zones: vec![zone("dc1.cns.t.test"), zone("dc2.cns.t.test")],
            ..Found::default()
        };
        let other: SocketAddr = "192.0.2.1:53".parse().unwrap();
        let facts = ZoneFacts {
            zones: vec![SecondaryZone {
                name: zone("dc2.cns.t.test"),
                primaries: vec![other.into()],
            }],
            ..ZoneFacts::default()
        };
        let table = routes(&found, &facts);
        let zones: Vec<_> = table
            .secondaries
            .iter()
            .map(|z| (z.name.as_str(), z.primaries[0].ip()))
            .collect();
        assert_eq!(
            zones,
            [
                ("dc1.cns.t.test", ip("10.9.0.20")),
                ("dc2.cns.t.test", other.ip()),
            ]
        );
    }

    #[test]
    fn a_domain_of_the_agents_file_is_asked_of_whom_it_says() {
        let zone = |text: &str| ZoneName::parse(text).unwrap();
        let metadata = json!({
            "datacenter_name": "dc1", "dns_domain": "t.test",
            "dns_resolvers": "192.0.2.53",
        });
        let other: SocketAddr = "192.0.2.1:5353".parse().unwrap();
        let own = |suffix: &str| ForwardZone {
            suffix: zone(suffix),
            upstreams: vec![other],
            kind: UpstreamKind::Recursive,
            fallback: false,
        };
        let facts = ZoneFacts {
            forwards: vec![own("."), own("corp.test")],
            ..ZoneFacts::default()
        };
        let seed = seed(metadata.as_object().unwrap(), Flavor::Triton, &facts);
        assert!(!seed.resolvers.is_empty());
        let found = Found { seed, ..Found::default() };
        let table = routes(&found, &facts);
        let of = |suffix: &str| {
            let suffix = zone(suffix);
            let mut all = table.forwards.iter().filter(|f| f.suffix == suffix);
            (all.next().unwrap().upstreams.clone(), all.count())
        };
        assert_eq!(of("."), (vec![other], 0));
        assert_eq!(of("corp.test"), (vec![other], 0));
    }

    #[test]
    fn before_any_metadata_the_platforms_resolvers_are_asked() {
        let facts = ZoneFacts {
            resolvers: vec![ip("10.9.0.5"), ip("192.0.2.53")],
            ..ZoneFacts::default()
        };
        let table = routes(&Found::default(), &facts);
        assert_eq!(suffixes(&table), [(".", UpstreamKind::Binder, false)]);
    }
}
