// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Finds out where names and metrics come from: all binders, all CNS
//! instances, the zones they serve, CMON's domain. SAPI metadata says where
//! to begin, binder and CNS say the rest, and all of it may change.
//!
//! What was found is kept on disk and outlives an outage: an answer that
//! fails or is empty never takes away what was known.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::dns::NamesHandle;
use crate::metadata::meaning;
use crate::model::Flavor;
use crate::model::dns::{
    ForwardZone, Routes, SecondaryZone, UpstreamKind, ZoneName,
};
use crate::triton::{Http, cns};

/// Pause between two looks; binder's records live 60 s.
const INTERVAL: Duration = Duration::from_secs(30);

/// First pause after a look that found less than it should; doubles.
const RETRY: Duration = Duration::from_secs(3);

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
}

/// Reads the seed out of merged metadata.
pub fn seed(
    metadata: &Map<String, Value>,
    otherwise: Flavor,
    facts: &ZoneFacts,
) -> Seed {
    let flavor = meaning::flavor(metadata, otherwise);
    let binders = meaning::binders(metadata, flavor);
    let manta = meaning::manta_domain(metadata).and_then(|domain| {
        let servers = meaning::manta_nameservers(metadata, flavor);
        (!servers.is_empty()).then_some((domain, servers))
    });
    // Never ourselves: an operator may have told the platform 127.0.0.1.
    let outside = |ip: &IpAddr| !ip.is_loopback() && !ip.is_unspecified();
    let mut resolvers = meaning::resolvers(metadata);
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
        binder_domain: meaning::binder_domain(metadata),
        dns_domain: meaning::triton_domain(metadata),
        binders,
        manta,
        resolvers,
        default_zone: meaning::default_cns_zone(metadata),
    }
}

/// The routing table that follows from what is known.
pub fn routes(found: &Found, facts: &ZoneFacts) -> Routes {
    let port53 = |ips: &[IpAddr]| -> Vec<SocketAddr> {
        ips.iter().map(|ip| SocketAddr::new(*ip, 53)).collect()
    };
    let seed = &found.seed;
    let primaries = port53(&found.cns);
    let mut zones = found.zones.clone();
    if zones.is_empty() {
        zones.extend(seed.default_zone.clone());
    }
    let secondaries = zones
        .into_iter()
        .map(|name| SecondaryZone { name, primaries: primaries.clone() })
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
    if let Some((domain, servers)) = &seed.manta {
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

/// The loop that keeps `Found` and `Routes` true.
pub struct Discovery {
    http: Http,
    names: NamesHandle,
    facts: ZoneFacts,
    flavor: Flavor,
    keep: PathBuf,
    write: fn(&Path, &[u8]) -> std::io::Result<()>,
    found: watch::Sender<Arc<Found>>,
    routes: watch::Sender<Arc<Routes>>,
}

/// Reads what an earlier run found.
pub fn load(path: &Path) -> Found {
    let Ok(bytes) = std::fs::read(path) else { return Found::default() };
    serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        warn!(
            path = %path.display(),
            err.message = %error,
            "kept discovery is damaged"
        );
        Found::default()
    })
}

impl Discovery {
    /// A loop that keeps what it finds at `keep` by `write`, and says it on
    /// `found` and `routes`.
    #[expect(clippy::too_many_arguments, reason = "one call, all by name")]
    pub fn new(
        http: Http,
        names: NamesHandle,
        facts: ZoneFacts,
        flavor: Flavor,
        keep: PathBuf,
        write: fn(&Path, &[u8]) -> std::io::Result<()>,
        found: watch::Sender<Arc<Found>>,
        routes: watch::Sender<Arc<Routes>>,
    ) -> Self {
        Self { http, names, facts, flavor, keep, write, found, routes }
    }

    /// Looks around until `stop`, and at once when the metadata changes.
    pub async fn run(
        self,
        mut metadata: watch::Receiver<Option<Arc<Map<String, Value>>>>,
        stop: CancellationToken,
    ) {
        let mut retry = RETRY;
        loop {
            let now = metadata.borrow_and_update().clone();
            let mut whole = false;
            if let Some(map) = now {
                let looked = async {
                    // The seed first: looking needs the routes it gives.
                    let mut found = (**self.found.borrow()).clone();
                    found.seed = seed(&map, self.flavor, &self.facts);
                    self.publish(&found);
                    let whole = self.look(&map, &mut found).await;
                    self.publish(&found);
                    whole
                };
                whole = tokio::select! {
                    // Cancel-safe: nothing half-found is published.
                    () = stop.cancelled() => return,
                    whole = looked => whole,
                };
            }
            let pause = if whole { INTERVAL } else { retry };
            retry = if whole { RETRY } else { (retry * 2).min(INTERVAL) };
            tokio::select! {
                () = stop.cancelled() => return,
                // Cancel-safe: a change is marked seen above only.
                changed = metadata.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(pause.mul_f64(
                    0.75 + fastrand::f64() / 2.0,
                )) => {}
            }
        }
    }

    /// Asks binder and CNS; says whether everyone answered.
    async fn look(
        &self,
        metadata: &Map<String, Value>,
        found: &mut Found,
    ) -> bool {
        let mut whole = true;
        if let Some(domain) = &found.seed.binder_domain {
            match self.addresses(&format!("binder.{domain}")).await {
                Some(ips) => found.binders = ips,
                None => whole = false,
            }
            match self.addresses(&format!("cns.{domain}")).await {
                Some(ips) => found.cns = ips,
                None => whole = false,
            }
        }
        let mut zones: Vec<ZoneName> = Vec::new();
        for address in &found.cns {
            match cns::zones(&self.http, *address).await {
                Ok(list) => zones.extend(forward_zones(&list)),
                Err(error) => {
                    whole = false;
                    debug!(
                        %address,
                        err.message = %crate::log::chain(&error),
                        "CNS did not list its zones"
                    );
                }
            }
        }
        if !zones.is_empty() && whole {
            zones.sort();
            zones.dedup();
            found.zones = zones;
        } else {
            // Part of the answers can add zones, never take them away.
            zones.retain(|zone| !found.zones.contains(zone));
            found.zones.extend(zones);
            found.zones.sort();
            found.zones.dedup();
        }
        if meaning::cmon_domain(metadata).is_none() {
            match self.cmon_domain(&found.cns).await {
                Some(domain) => found.cmon_domain = Some(domain),
                None => found.cmon_domain = found.cmon_domain.take(),
            }
        }
        whole
    }

    /// The addresses of a name, sorted; `None` when nobody says any.
    async fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        match self.names.lookup_ipv4(name).await {
            Ok(ips) if !ips.is_empty() => {
                let mut ips: Vec<IpAddr> =
                    ips.into_iter().map(IpAddr::V4).collect();
                ips.sort();
                ips.dedup();
                Some(ips)
            }
            Ok(_) => None,
            Err(error) => {
                debug!(
                    name,
                    err.message = %crate::log::chain(&error),
                    "name not found"
                );
                None
            }
        }
    }

    /// `cmon.<zone>` of the zone in which this VM's NIC appears.
    async fn cmon_domain(&self, cns: &[IpAddr]) -> Option<String> {
        let owner = self.facts.owner_uuid.as_deref()?;
        let network = self.facts.network_uuid.as_deref()?;
        for address in cns {
            let asked =
                cns::suffixes_for_vm(&self.http, *address, owner, network);
            match asked.await {
                Ok(suffixes) => {
                    // svc.<owner>.<zone>: the zone is what follows two labels.
                    let zone = suffixes.first()?.splitn(3, '.').nth(2)?;
                    let zone = ZoneName::parse(zone).ok()?;
                    return Some(format!("cmon.{zone}"));
                }
                Err(error) => debug!(
                    %address,
                    err.message = %crate::log::chain(&error),
                    "CNS did not say this zone's suffixes"
                ),
            }
        }
        None
    }

    fn publish(&self, found: &Found) {
        let changed = self.found.send_if_modified(|current| {
            if **current == *found {
                return false;
            }
            *current = Arc::new(found.clone());
            true
        });
        let routes = routes(found, &self.facts);
        self.routes.send_if_modified(|current| {
            if **current == routes {
                return false;
            }
            info!(
                zones = routes.secondaries.len(),
                cns = ?found.cns,
                binders = ?found.binders,
                "routes of names changed"
            );
            *current = Arc::new(routes);
            true
        });
        if changed {
            let kept = serde_json::to_vec(found)
                .map_err(std::io::Error::other)
                .and_then(|bytes| (self.write)(&self.keep, &bytes));
            if let Err(error) = kept {
                warn!(
                    path = %self.keep.display(),
                    err.message = %error,
                    "could not keep what was discovered"
                );
            }
        }
    }
}

/// The forward zones among what CNS serves.
fn forward_zones(list: &[cns::Zone]) -> impl Iterator<Item = ZoneName> {
    list.iter().filter_map(|zone| ZoneName::parse(&zone.name).ok()).filter(
        |zone| {
            !zone.as_str().ends_with(".in-addr.arpa")
                && !zone.as_str().ends_with(".ip6.arpa")
        },
    )
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
        assert_eq!(table.secondaries[0].primaries, []);
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
    fn before_any_metadata_the_platforms_resolvers_are_asked() {
        let facts = ZoneFacts {
            resolvers: vec![ip("10.9.0.5"), ip("192.0.2.53")],
            ..ZoneFacts::default()
        };
        let table = routes(&Found::default(), &facts);
        assert_eq!(suffixes(&table), [(".", UpstreamKind::Binder, false)]);
    }

    #[test]
    fn reverse_zones_are_left_out() {
        let list: Vec<cns::Zone> = serde_json::from_value(json!([
            {"name": "dc1.cns.t.test", "serial": 1},
            {"name": "1.9.10.in-addr.arpa", "serial": 1},
        ]))
        .unwrap();
        let names: Vec<_> = forward_zones(&list).collect();
        assert_eq!(names, [ZoneName::parse("dc1.cns.t.test").unwrap()]);
    }
}
