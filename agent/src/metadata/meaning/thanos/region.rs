// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Where the components of the region's other instances are, as far as SAPI
//! and the fixed ports tell.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde_json::{Map, Value};

use super::super::super::peers::own_address;
use super::super::About;
use crate::model::Peer;
use crate::model::thanos::{
    Component, Endpoint, Expected, SIDECAR_GRPC_PORT, runs,
};

/// The region, seen from one Thanos zone.
pub(super) struct Region<'a> {
    about: &'a About<'a>,
    own: Option<IpAddr>,
    usual: BTreeSet<Component>,
}

impl<'a> Region<'a> {
    pub(super) fn new(
        about: &'a About<'a>,
        metadata: &Map<String, Value>,
        usual: &BTreeSet<Component>,
    ) -> Self {
        let listed = about.site.peers.own().and_then(|own| own.address);
        let own = own_address(metadata).or(listed);
        Self { about, own, usual: usual.clone() }
    }

    /// A listening address: the admin NIC's, every address while that is not
    /// known.
    pub(super) fn listen(&self, port: u16) -> String {
        let any = IpAddr::from([0, 0, 0, 0]);
        SocketAddr::new(self.own.unwrap_or(any), port).to_string()
    }

    /// Where this zone itself reaches what listens so.
    pub(super) fn local(&self, port: u16) -> String {
        SocketAddr::new(self.local_host(), port).to_string()
    }

    /// The address that the zone reaches itself by.
    pub(super) fn local_host(&self) -> IpAddr {
        self.own.unwrap_or(IpAddr::from([127, 0, 0, 1]))
    }

    /// The zone's own address, as other zones know it.
    pub(super) fn own(&self) -> Option<IpAddr> {
        self.own
    }

    /// What runs in another Thanos zone. One that does not say, and has its
    /// metadata from the same service, runs what this one would.
    pub(super) fn runs(&self, peer: &Peer) -> BTreeSet<Component> {
        if peer.components.is_empty()
            && peer.datacenter == self.about.place.datacenter
            && peer.flavor == self.about.flavor
        {
            return self.usual.clone();
        }
        runs(&self.about.site.peers, peer)
    }

    /// The other Thanos instances that run `component`.
    pub(super) fn others(
        &self,
        component: Component,
    ) -> impl Iterator<Item = &Peer> {
        self.about.site.peers.of("thanos").filter(move |peer| {
            !peer.own
                && peer.instance != self.about.site.instance
                && self.runs(peer).contains(&component)
        })
    }

    /// The HTTP server of `component` in another zone, `host:port`.
    pub(super) fn http(&self, peer: &Peer, component: Component) -> String {
        host_port(peer, component.http_port(&self.runs(peer)))
    }

    /// The store APIs of `component` in other zones.
    pub(super) fn apis(&self, component: Component) -> Vec<Endpoint> {
        let Some(port) = component.grpc_port() else { return Vec::new() };
        self.others(component).map(|peer| endpoint(peer, port)).collect()
    }

    /// What there should be of them.
    pub(super) fn expected(&self) -> Expected {
        let all = || {
            let all = self.about.site.peers.of("prometheus");
            all.filter(|peer| !peer.no_sidecar)
        };
        Expected {
            datacenters: all().map(|peer| peer.datacenter.clone()).collect(),
            sidecars: all().count(),
        }
    }

    /// The sidecars of every Prometheus, Triton's and Manta's.
    pub(super) fn sidecars(&self) -> impl Iterator<Item = Endpoint> {
        let all = self.about.site.peers.of("prometheus");
        all.filter(|peer| !peer.no_sidecar)
            .map(|peer| endpoint(peer, SIDECAR_GRPC_PORT))
    }
}

/// `host:port` of a peer, by address where one is known.
pub(super) fn host_port(peer: &Peer, port: u16) -> String {
    match peer.address {
        Some(address) => SocketAddr::new(address, port).to_string(),
        None => format!("{}:{port}", peer.name),
    }
}

/// A peer whose address is known is missed while it does not answer. One
/// that never had any is asked as soon as its name leads somewhere; Thanos
/// takes no name for strict.
fn endpoint(peer: &Peer, port: u16) -> Endpoint {
    let address = host_port(peer, port);
    match peer.address {
        Some(_) => Endpoint { address, strict: true },
        None => Endpoint { address: format!("dns+{address}"), strict: false },
    }
}
