// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Who else monitors, as the report has it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::discovery::Failures;
use crate::model::{Flavor, Peers};

/// A monitoring instance of the region.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerPart {
    /// SAPI instance uuid.
    pub instance: String,
    /// Alias.
    pub alias: String,
    /// `prometheus`, `thanos` or `grafana`.
    pub service: String,
    /// Triton's or Manta's.
    pub flavor: Flavor,
    /// Datacenter it runs in.
    pub datacenter: String,
    /// Address it had last.
    pub address: Option<IpAddr>,
    /// This instance.
    pub own: bool,
}

/// All of them.
pub(super) fn parts(peers: &Peers) -> Vec<PeerPart> {
    let part = |peer: &crate::model::Peer| PeerPart {
        instance: peer.instance.clone(),
        alias: peer.alias.clone(),
        service: peer.service.clone(),
        flavor: peer.flavor,
        datacenter: peer.datacenter.clone(),
        address: peer.address,
        own: peer.own,
    };
    peers.iter().map(part).collect()
}

/// A line for each datacenter whose list is not up to date.
pub(super) fn warnings(failures: &Failures) -> impl Iterator<Item = String> {
    failures.iter().map(|(datacenter, why)| {
        format!("peers in {datacenter}: {why}; the known ones stay")
    })
}

/// How many there are, and how many of them have no address, by service and
/// datacenter.
pub(super) fn counts(
    parts: &[PeerPart],
) -> BTreeMap<(&str, &str), (usize, usize)> {
    let mut counts = BTreeMap::new();
    for part in parts {
        let place = (part.service.as_str(), part.datacenter.as_str());
        let (all, without): &mut (usize, usize) =
            counts.entry(place).or_default();
        *all += 1;
        *without += usize::from(part.address.is_none());
    }
    counts
}
