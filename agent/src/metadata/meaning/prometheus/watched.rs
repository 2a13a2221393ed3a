// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Which other instances a Prometheus watches and sends its alerts to, out
//! of those that SAPI lists.

use std::collections::BTreeMap;

use super::super::About;
use crate::model::peers::Peer;
use crate::model::prometheus::{WatchedGroup, WatchedJob};
use crate::model::thanos;

/// Ports by service and job: where metrics are.
const PROMETHEUS_PORT: u16 = 9090;
const SIDECAR_PORT: u16 = 10902;
const ALERTMANAGER_PORT: u16 = 9093;

/// The jobs that scrape this zone's own daemons and, if `others`, every other
/// Prometheus of the region, the other half of our pair among them, and the
/// Thanos zones of this datacenter: who is gone cannot say so itself.
///
/// A job's name ends in the datacenter of the instance watched, as it would
/// there: what dashboards and rules know is the same from both sides.
pub(super) fn watched(
    about: &About<'_>,
    sidecar: bool,
    alertmanager: bool,
    others: bool,
) -> Vec<WatchedJob> {
    let place = &about.place.datacenter;
    let mut jobs = Jobs::default();
    jobs.own(about, "prometheus", PROMETHEUS_PORT, None);
    if sidecar {
        jobs.own(about, "thanos", SIDECAR_PORT, Some("sidecar"));
    }
    if alertmanager {
        jobs.own(about, "alertmanager", ALERTMANAGER_PORT, None);
    }
    let peers =
        about.site.peers.iter().filter(|peer| others && other(peer, about));
    for peer in peers {
        if peer.service == "prometheus" {
            jobs.peer(peer, "prometheus", PROMETHEUS_PORT, None);
            if sidecar {
                jobs.peer(peer, "thanos", SIDECAR_PORT, Some("sidecar"));
            }
        }
        if peer.alertmanager {
            jobs.peer(peer, "alertmanager", ALERTMANAGER_PORT, None);
        }
        if peer.datacenter == *place {
            let runs = thanos::runs(&about.site.peers, peer);
            for component in &runs {
                let port = component.http_port(&runs);
                jobs.peer(peer, "thanos", port, Some(component.as_str()));
            }
        }
    }
    jobs.0
        .into_iter()
        .map(|(job_name, groups)| WatchedJob { job_name, groups })
        .collect()
}

/// Groups of targets by job.
#[derive(Default)]
struct Jobs(BTreeMap<String, Vec<WatchedGroup>>);

impl Jobs {
    fn own(
        &mut self,
        about: &About<'_>,
        job: &str,
        port: u16,
        component: Option<&str>,
    ) {
        let target = format!("localhost:{port}");
        let own = labels(&about.site.instance, None, component);
        self.add(job, &about.place.datacenter, target, own);
    }

    fn peer(
        &mut self,
        peer: &Peer,
        job: &str,
        port: u16,
        component: Option<&str>,
    ) {
        if let Some(target) = at(peer, port) {
            let theirs = labels(&peer.instance, Some(&peer.alias), component);
            self.add(job, &peer.datacenter, target, theirs);
        }
    }

    fn add(
        &mut self,
        job: &str,
        datacenter: &str,
        target: String,
        labels: BTreeMap<String, String>,
    ) {
        let group = WatchedGroup { targets: vec![target], labels };
        self.0.entry(format!("{job}_{datacenter}")).or_default().push(group);
    }
}

fn labels(
    instance: &str,
    alias: Option<&str>,
    component: Option<&str>,
) -> BTreeMap<String, String> {
    [("instance", Some(instance)), ("alias", alias), ("component", component)]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect()
}

/// Alertmanagers of this datacenter, Triton's and Manta's alike: `host:port`
/// of the API. One that runs here comes by its own setting.
pub(super) fn alertmanagers(about: &About<'_>) -> Vec<String> {
    about
        .site
        .peers
        .alertmanagers()
        .filter(|peer| peer.datacenter == about.place.datacenter)
        .filter(|peer| other(peer, about))
        .filter_map(|peer| at(peer, ALERTMANAGER_PORT))
        .collect()
}

fn other(peer: &Peer, about: &About<'_>) -> bool {
    !peer.own && peer.instance != about.site.instance
}

fn at(peer: &Peer, port: u16) -> Option<String> {
    let address = std::net::SocketAddr::new(peer.address?, port);
    Some(address.to_string())
}
