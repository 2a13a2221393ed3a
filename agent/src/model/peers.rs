// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The other monitoring instances: which Prometheus, Thanos and Grafana zones
//! there are in every datacenter of the region, and where each is reached.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Flavor;

/// The services whose instances are peers, as SAPI names them.
pub const SERVICES: [&str; 3] = ["grafana", "prometheus", "thanos"];

/// What `shard` means where nobody set it.
const DEFAULT_SHARD: &str = "0";

/// One monitoring instance, as SAPI has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// SAPI instance uuid, lower case; also the zone's name.
    pub instance: String,
    /// One of [`SERVICES`].
    pub service: String,
    /// Triton's (application `sdc`) or Manta's.
    pub flavor: Flavor,
    /// Datacenter the zone runs in.
    pub datacenter: String,
    /// Region, where metadata names one.
    #[serde(default)]
    pub region: Option<String>,
    /// Alias, for people; the uuid where there is none.
    pub alias: String,
    /// Name that binder has it under, `<uuid>.<service>.<domain>`.
    pub name: String,
    /// Admin address: what its name led to last. It stays when the name does
    /// not resolve any more, so that a dead instance is missed and not
    /// forgotten. `None` while it was never known.
    pub address: Option<IpAddr>,
    /// Metadata `shard`, if set.
    #[serde(default)]
    pub shard: Option<String>,
    /// Metadata `replica`, if set.
    #[serde(default)]
    pub replica: Option<String>,
    /// Metadata `thanos_components`, if set: `query`, `store`, ...
    #[serde(default)]
    pub components: Vec<String>,
    /// Metadata `alertmanager`: whether one runs there.
    #[serde(default)]
    pub alertmanager: bool,
    /// Metadata `thanos_sidecar` is false: nobody answers Thanos there.
    #[serde(default)]
    pub no_sidecar: bool,
    /// Which bucket its metadata names, without keys: who compacts must know
    /// who else would.
    #[serde(default)]
    pub bucket: Option<String>,
    /// The instance that this agent configures.
    #[serde(default)]
    pub own: bool,
    /// Datacenters whose SAPI lists it: one, or several where Manta spans
    /// them. It is gone when none does any more.
    #[serde(default)]
    pub listed_by: BTreeSet<String>,
}

impl Peer {
    /// The shard it belongs to, as its external label says.
    pub fn shard_or_default(&self) -> &str {
        self.shard.as_deref().unwrap_or(DEFAULT_SHARD)
    }

    /// What tells it from the other half of its pair, as its external label
    /// says.
    pub fn replica_or_default(&self) -> &str {
        self.replica.as_deref().unwrap_or(&self.instance)
    }

    /// Whether a Thanos component runs there; `otherwise` are the components
    /// of a zone that says nothing of its own.
    pub fn runs(&self, component: &str, otherwise: &[&str]) -> bool {
        self.service == "thanos"
            && match self.components.as_slice() {
                [] => otherwise.contains(&component),
                own => own.iter().any(|c| c == component),
            }
    }

    /// Whether `other` does the same work: is of this one's service,
    /// datacenter, flavor and shard.
    pub fn is_partner(&self, other: &Self) -> bool {
        self.instance != other.instance
            && self.service == other.service
            && self.datacenter == other.datacenter
            && self.flavor == other.flavor
            && self.shard_or_default() == other.shard_or_default()
    }

    /// Datacenter, service and flavor first, for people; ends in the uuid.
    fn key(&self) -> impl Ord + '_ {
        (
            (&self.datacenter, &self.service, self.flavor == Flavor::Manta),
            // prometheus2 before prometheus10.
            (self.alias.len(), &self.alias, &self.instance),
        )
    }
}

/// All peers, this zone's own instance among them.
///
/// Shape: one entry an instance, by datacenter, service, flavor and alias.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Peer>")]
pub struct Peers(Vec<Peer>);

impl From<Vec<Peer>> for Peers {
    /// In order; of several entries for one instance the first counts.
    fn from(mut peers: Vec<Peer>) -> Self {
        let mut seen = BTreeSet::new();
        peers.retain(|peer| seen.insert(peer.instance.clone()));
        peers.sort_by(|a, b| a.key().cmp(&b.key()));
        Self(peers)
    }
}

impl Peers {
    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.0.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The zone's own instance, once SAPI listed it.
    pub fn own(&self) -> Option<&Peer> {
        self.iter().find(|peer| peer.own)
    }

    /// By instance uuid.
    pub fn get(&self, instance: &str) -> Option<&Peer> {
        self.iter().find(|peer| peer.instance == instance)
    }

    /// The instances of a service, everywhere.
    pub fn of(&self, service: &str) -> impl Iterator<Item = &Peer> {
        self.iter().filter(move |peer| peer.service == service)
    }

    /// The instances of a service in one datacenter, Triton's and Manta's.
    pub fn within(
        &self,
        service: &str,
        datacenter: &str,
    ) -> impl Iterator<Item = &Peer> {
        self.of(service).filter(move |peer| peer.datacenter == datacenter)
    }

    /// The instances of a service that are Triton's or Manta's, everywhere.
    pub fn flavored(
        &self,
        service: &str,
        flavor: Flavor,
    ) -> impl Iterator<Item = &Peer> {
        self.of(service).filter(move |peer| peer.flavor == flavor)
    }

    /// The others that do the same work as `one`.
    pub fn partners<'a>(
        &'a self,
        one: &'a Peer,
    ) -> impl Iterator<Item = &'a Peer> {
        self.iter().filter(|peer| one.is_partner(peer))
    }

    /// The instances where an Alertmanager runs, everywhere.
    pub fn alertmanagers(&self) -> impl Iterator<Item = &Peer> {
        self.iter().filter(|peer| peer.alertmanager)
    }

    /// The datacenters that have any.
    pub fn datacenters(&self) -> BTreeSet<&str> {
        self.iter().map(|peer| peer.datacenter.as_str()).collect()
    }

    /// The list itself, to be changed and made `Peers` again.
    pub fn into_vec(self) -> Vec<Peer> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(alias: &str, service: &str, datacenter: &str) -> Peer {
        Peer {
            instance: format!("uuid-of-{alias}"),
            service: service.to_owned(),
            flavor: Flavor::Triton,
            datacenter: datacenter.to_owned(),
            region: None,
            alias: alias.to_owned(),
            name: String::new(),
            address: None,
            shard: None,
            replica: None,
            components: Vec::new(),
            alertmanager: false,
            bucket: None,
            no_sidecar: false,
            own: false,
            listed_by: BTreeSet::new(),
        }
    }

    fn aliases<'a>(peers: impl Iterator<Item = &'a Peer>) -> Vec<&'a str> {
        peers.map(|peer| peer.alias.as_str()).collect()
    }

    #[test]
    fn order_is_the_same_however_they_were_heard_of() {
        let list = vec![
            peer("prometheus10", "prometheus", "dc1"),
            peer("thanos0", "thanos", "dc1"),
            peer("prometheus2", "prometheus", "dc1"),
            peer("prometheus9", "prometheus", "dc0"),
            peer("prometheus2", "prometheus", "dc1"),
        ];
        let wanted = ["prometheus9", "prometheus2", "prometheus10", "thanos0"];
        let peers = Peers::from(list.clone());
        assert_eq!(aliases(peers.iter()), wanted);
        let reversed = Peers::from(list.into_iter().rev().collect::<Vec<_>>());
        assert_eq!(reversed, peers);
        let text = serde_json::to_string(&peers).unwrap();
        assert!(text.starts_with('['), "{text}");
        assert_eq!(serde_json::from_str::<Peers>(&text).unwrap(), peers);
    }

    #[test]
    fn what_an_older_agent_kept_can_still_be_read() {
        let peers: Peers = serde_json::from_str(
            r#"[{"instance": "b", "service": "prometheus", "alias": "p1",
                "flavor": "manta", "datacenter": "dc1", "name": "b.p",
                "address": "10.9.0.31", "new": true},
               {"instance": "a", "service": "prometheus", "alias": "p0",
                "flavor": "manta", "datacenter": "dc1", "name": "a.p",
                "address": null}]"#,
        )
        .unwrap();
        assert_eq!(aliases(peers.iter()), ["p0", "p1"]);
    }

    #[test]
    fn partners_share_service_datacenter_flavor_and_shard() {
        let mut list = vec![
            peer("prometheus0", "prometheus", "dc1"),
            peer("prometheus1", "prometheus", "dc1"),
            peer("prometheus2", "prometheus", "dc1"),
            peer("prometheus3", "prometheus", "dc2"),
            peer("prometheus4", "prometheus", "dc1"),
            peer("thanos0", "thanos", "dc1"),
        ];
        list[0].own = true;
        // Said or not, it is the same shard.
        list[1].shard = Some("0".to_owned());
        list[2].shard = Some("1".to_owned());
        list[4].flavor = Flavor::Manta;
        let peers = Peers::from(list);
        let own = peers.own().unwrap();
        assert_eq!(aliases(peers.partners(own)), ["prometheus1"]);
        let manta = peers.flavored("prometheus", Flavor::Manta);
        assert_eq!(aliases(manta), ["prometheus4"]);
        let there = peers.within("prometheus", "dc2");
        assert_eq!(aliases(there), ["prometheus3"]);
        assert_eq!(peers.datacenters(), BTreeSet::from(["dc1", "dc2"]));
    }

    #[test]
    fn a_zone_that_names_no_components_runs_the_usual_ones() {
        let mut thanos = peer("thanos0", "thanos", "dc1");
        assert!(thanos.runs("query", &["query", "store"]));
        thanos.components = vec!["store".to_owned()];
        assert!(!thanos.runs("query", &["query", "store"]));
        assert!(thanos.runs("store", &[]));
        let prometheus = peer("prometheus0", "prometheus", "dc1");
        assert!(!prometheus.runs("query", &["query"]));
    }
}
