// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What lists and names make of the known peers: plain functions over plain
//! data.
//!
//! What never changes: a peer goes when SAPI says so and for no other reason.
//! A list that fails, or that SAPI gives from memory, takes nobody away; a
//! name that leads nowhere takes no address away.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::metadata::peers::{Merged, alias, wanted_address};
use crate::model::dns::ZoneName;
use crate::model::{Flavor, Peer, Peers};
use crate::triton::sapi::{Instance, Service};

/// Whose list it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope<'a> {
    /// Datacenter whose SAPI was asked.
    pub(super) datacenter: &'a str,
    /// Application `sdc` or `manta`.
    pub(super) flavor: Flavor,
    /// What Triton's names of every datacenter hang below.
    pub(super) domain: &'a ZoneName,
    /// Instance this agent configures.
    pub(super) own: &'a str,
}

impl Scope<'_> {
    /// An instance of `service`, as a peer not looked up yet; `None` when its
    /// name would be none.
    pub(super) fn peer(
        &self,
        application: &Map<String, Value>,
        service: &Service,
        instance: &Instance,
    ) -> Option<Peer> {
        let levels = [application, &service.metadata, &instance.metadata];
        let merged = Merged { levels };
        let uuid = instance.uuid.to_string();
        let datacenter = match self.flavor {
            Flavor::Triton => None,
            // Every SAPI of the region may list all of Manta's.
            Flavor::Manta => merged.datacenter(),
        };
        let datacenter =
            datacenter.unwrap_or_else(|| self.datacenter.to_owned());
        let registered = match self.flavor {
            Flavor::Triton => {
                format!("{}.{datacenter}.{}", service.name, self.domain)
            }
            Flavor::Manta => match merged.service_domain() {
                Some(name) => name.to_string(),
                None => format!("{}.{}", service.name, merged.manta_domain()?),
            },
        };
        let name = ZoneName::parse(&format!("{uuid}.{registered}")).ok()?;
        Some(Peer {
            service: service.name.clone(),
            flavor: self.flavor,
            datacenter,
            region: merged.region(self.flavor),
            alias: alias(&instance.params).unwrap_or_else(|| uuid.clone()),
            name: name.to_string(),
            address: wanted_address(&instance.params),
            shard: merged.shard(),
            replica: merged.replica(),
            components: merged.components(),
            // Also where the keys are set for all services at once.
            alertmanager: service.name != "grafana" && merged.alertmanager(),
            bucket: merged.bucket(),
            no_sidecar: merged.no_sidecar(),
            own: uuid == self.own,
            listed_by: BTreeSet::from([self.datacenter.to_owned()]),
            instance: uuid,
        })
    }
}

/// Takes a list in. A `whole` one also takes away whom it does not have.
pub(super) fn merge(
    known: Peers,
    scope: &Scope<'_>,
    listed: Vec<Peer>,
    whole: bool,
) -> Peers {
    let mut all: BTreeMap<String, Peer> = known
        .into_vec()
        .into_iter()
        .map(|peer| (peer.instance.clone(), peer))
        .collect();
    let present: BTreeSet<String> =
        listed.iter().map(|peer| peer.instance.clone()).collect();
    for mut peer in listed {
        if let Some(before) = all.get_mut(&peer.instance) {
            before.listed_by.extend(peer.listed_by.clone());
            // Of several SAPIs the one where it runs is right about it.
            if scope.datacenter != peer.datacenter
                && before.listed_by.contains(&before.datacenter)
            {
                continue;
            }
            peer.listed_by = std::mem::take(&mut before.listed_by);
            peer.address = before.address.or(peer.address);
        }
        all.insert(peer.instance.clone(), peer);
    }
    if whole {
        all.retain(|uuid, peer| {
            if peer.flavor == scope.flavor && !present.contains(uuid) {
                peer.listed_by.remove(scope.datacenter);
            }
            !peer.listed_by.is_empty()
        });
    }
    all.into_values().collect::<Vec<_>>().into()
}

/// Forgets what only datacenters outside the region list.
pub(super) fn within(known: Peers, datacenters: &[String]) -> Peers {
    let mut peers = known.into_vec();
    peers.retain_mut(|peer| {
        peer.listed_by.retain(|listed| datacenters.contains(listed));
        !peer.listed_by.is_empty()
    });
    peers.into()
}

/// Takes in what names led to, by instance uuid. A name without an answer
/// leaves the last known address, unless another instance has it by now.
pub(super) fn addressed(
    known: Peers,
    answers: &BTreeMap<String, Vec<IpAddr>>,
) -> Peers {
    let mut peers = known.into_vec();
    let mut fresh: BTreeSet<IpAddr> = BTreeSet::new();
    let answered =
        |peer: &Peer| answers.get(&peer.instance).filter(|ips| !ips.is_empty());
    for peer in &mut peers {
        let Some(ips) = answered(peer) else { continue };
        if !peer.address.is_some_and(|ip| ips.contains(&ip)) {
            peer.address = ips.iter().min().copied();
        }
        fresh.extend(peer.address);
    }
    for peer in &mut peers {
        if answered(peer).is_none() {
            peer.address = peer.address.filter(|ip| !fresh.contains(ip));
        }
    }
    peers.into()
}

/// How many register under each service name.
pub(super) fn crowds(peers: &Peers) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for peer in peers.iter() {
        *counts.entry(service_name(peer).to_owned()).or_default() += 1;
    }
    counts
}

/// The name that all instances of a peer's service share.
pub(super) fn service_name(peer: &Peer) -> &str {
    peer.name.split_once('.').map_or("", |(_, rest)| rest)
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
