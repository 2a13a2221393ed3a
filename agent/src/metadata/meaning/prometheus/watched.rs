// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Which other instances a Prometheus watches and sends its alerts to, out
//! of those that SAPI lists.

use std::collections::BTreeMap;

use super::super::About;
use crate::model::peers::Peer;
use crate::model::prometheus::{WatchedGroup, WatchedJob};
use crate::model::{grafana, thanos};

/// Ports by service and job: where metrics are.
const PROMETHEUS_PORT: u16 = 9090;
const SIDECAR_PORT: u16 = 10902;
const ALERTMANAGER_PORT: u16 = 9093;
const AGENT_PORT: u16 = 9165;

/// The job of a Grafana zone's sign-in proxy, which nginx shows beside
/// Grafana's own metrics.
const SIGN_IN: &str = "sign_in";

/// The jobs that scrape this zone's own daemons and, if `others`, every other
/// Prometheus of the region, the other half of our pair among them, and the
/// Thanos and Grafana zones of this datacenter: who is gone cannot say so
/// itself.
///
/// The agent of another shard is that shard's own to scrape: here its faults
/// would only be told once more.
///
/// A job's name ends in the datacenter of the instance watched, as it would
/// there: what dashboards and rules know is the same from both sides.
pub(super) fn watched(
    about: &About<'_>,
    sidecar: bool,
    alertmanager: bool,
    others: bool,
) -> Vec<WatchedJob> {
    let mut jobs = Jobs::default();
    let agent = about.site.agent_address.to_string();
    jobs.own(about, "config_agent", agent, None);
    jobs.own(about, "prometheus", local(PROMETHEUS_PORT), None);
    if sidecar {
        jobs.own(about, "thanos", local(SIDECAR_PORT), Some("sidecar"));
    }
    if alertmanager {
        jobs.own(about, "alertmanager", local(ALERTMANAGER_PORT), None);
    }
    let peers = about.site.peers.iter();
    for peer in peers.filter(|peer| others && other(peer, about)) {
        match peer.service.as_str() {
            "prometheus" => jobs.prometheus(peer, about, sidecar),
            _ if peer.datacenter != about.place.datacenter => {}
            "thanos" => jobs.thanos(peer, about),
            "grafana" => jobs.grafana(peer, about),
            _ => {}
        }
        if peer.alertmanager {
            jobs.peer(peer, "alertmanager", ALERTMANAGER_PORT, None);
        }
    }
    jobs.0
        .into_iter()
        .map(|((job, datacenter), groups)| WatchedJob {
            job_name: format!("{job}_{datacenter}"),
            metrics_path: (job == SIGN_IN).then_some(grafana::SIGN_IN_METRICS),
            groups,
        })
        .collect()
}

/// Groups of targets by job and datacenter.
#[derive(Default)]
struct Jobs(BTreeMap<(&'static str, String), Vec<WatchedGroup>>);

impl Jobs {
    /// Another Prometheus, anywhere; the agent only of the other half of this
    /// pair.
    fn prometheus(&mut self, peer: &Peer, about: &About<'_>, sidecar: bool) {
        let all = &about.site.peers;
        self.peer(peer, "prometheus", PROMETHEUS_PORT, None);
        // As that zone decides for itself; what is set for all of them is set
        // here too.
        let asked = sidecar
            || peer.bucket.is_some()
            || all.of("thanos").next().is_some();
        if asked && !peer.no_sidecar {
            self.peer(peer, "thanos", SIDECAR_PORT, Some("sidecar"));
        }
        if all.own().is_some_and(|own| own.is_partner(peer)) {
            self.peer(peer, "config_agent", AGENT_PORT, None);
        }
    }

    fn thanos(&mut self, peer: &Peer, about: &About<'_>) {
        let runs = thanos::runs(&about.site.peers, peer);
        for component in &runs {
            let port = component.http_port(&runs);
            self.peer(peer, "thanos", port, Some(component.as_str()));
        }
        self.peer(peer, "config_agent", AGENT_PORT, None);
    }

    fn grafana(&mut self, peer: &Peer, about: &About<'_>) {
        // Its nginx lets in whom it knows: see what a Grafana zone makes of
        // its peers.
        if peer.flavor == about.flavor {
            self.peer(peer, "grafana", grafana::METRICS_PORT, None);
            self.peer(peer, SIGN_IN, grafana::METRICS_PORT, None);
        }
        self.peer(peer, "config_agent", AGENT_PORT, None);
    }

    fn own(
        &mut self,
        about: &About<'_>,
        job: &'static str,
        target: String,
        component: Option<&str>,
    ) {
        let own = labels(&about.site.instance, None, component);
        self.add(job, &about.place.datacenter, target, own);
    }

    fn peer(
        &mut self,
        peer: &Peer,
        job: &'static str,
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
        job: &'static str,
        datacenter: &str,
        target: String,
        labels: BTreeMap<String, String>,
    ) {
        let group = WatchedGroup { targets: vec![target], labels };
        let job = (job, datacenter.to_owned());
        self.0.entry(job).or_default().push(group);
    }
}

fn local(port: u16) -> String {
    format!("localhost:{port}")
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
