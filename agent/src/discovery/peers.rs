// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Who else monitors: asks SAPI of every datacenter of the region for its
//! Prometheus, Thanos and Grafana instances, and binder for their addresses.
//!
//! Lists cost SAPI a dozen requests, so they are asked for every few minutes,
//! and at once when the zone's own metadata changes; names cost next to
//! nothing. What comes of it is `decide`'s; that it is kept, `Discovery`'s.

mod ask;
mod decide;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, stream};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::dns::NamesHandle;
use crate::metadata::peers::{datacenters, own_address};
use crate::model::dns::ZoneName;
use crate::model::{Peer, Peers};
use crate::triton::Http;
use crate::triton::sapi::Sapi;

use ask::{Answer, Asked, ask};
use decide::Scope;

/// Pause between two lists of one SAPI.
const LIST_INTERVAL: Duration = Duration::from_secs(300);

/// First pause after a SAPI failed; doubles up to the interval.
const LIST_RETRY: Duration = Duration::from_secs(5);

/// Pause between two looks at all names; binder's records live 30 s.
const NAMES_INTERVAL: Duration = Duration::from_secs(60);

/// First pause while a peer has no address; doubles up to the interval.
const NAMES_RETRY: Duration = Duration::from_secs(3);

/// What all names together may take; those left out keep their addresses.
const NAMES_LIMIT: Duration = Duration::from_secs(60);

/// SAPIs asked at a time.
const SAPIS_AT_ONCE: usize = 4;

/// Names asked at a time.
const NAMES_AT_ONCE: usize = 16;

/// Manta's domain and who serves it, by the datacenter whose SAPI said so.
pub type MantaNames = BTreeMap<String, (ZoneName, Vec<IpAddr>)>;

/// What is known of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The instances.
    pub peers: Peers,
    /// Where names of Manta's are served, if it has instances.
    pub manta: MantaNames,
    /// When each datacenter's SAPI was asked for its newest whole lists,
    /// Unix seconds.
    pub listed: BTreeMap<String, u64>,
}

/// Why datacenters' lists are not up to date, by datacenter.
pub type Failures = BTreeMap<String, String>;

/// The loop that keeps `Heard` true.
pub struct PeerSearch {
    http: Http,
    sapi: Sapi,
    names: NamesHandle,
    own: String,
    heard: watch::Sender<Arc<Heard>>,
    failures: watch::Sender<Failures>,
}

/// When each datacenter's SAPI is asked next, and the pause after a failure.
type Schedule = BTreeMap<String, (Instant, Duration)>;

impl PeerSearch {
    /// A search that starts from what is `known`. `sapi` is this
    /// datacenter's, `own` the instance that this agent configures.
    pub fn new(
        http: Http,
        sapi_url: &str,
        names: NamesHandle,
        own: String,
        known: Heard,
    ) -> Self {
        let sapi = Sapi::new(http.clone(), sapi_url);
        let heard = watch::Sender::new(Arc::new(known));
        let failures = watch::Sender::new(Failures::new());
        Self { http, sapi, names, own, heard, failures }
    }

    /// What is known, whenever it differs.
    pub fn heard(&self) -> watch::Receiver<Arc<Heard>> {
        self.heard.subscribe()
    }

    /// Whose lists could not be had.
    pub fn failures(&self) -> watch::Receiver<Failures> {
        self.failures.subscribe()
    }

    /// Searches until `stop`.
    pub async fn run(
        self,
        mut metadata: watch::Receiver<Option<Arc<Map<String, Value>>>>,
        stop: CancellationToken,
    ) {
        let mut schedule = Schedule::new();
        let mut retry = NAMES_RETRY;
        let mut names_at = Instant::now();
        loop {
            let now = metadata.borrow_and_update().clone();
            let names_due = names_at <= Instant::now();
            if let Some(map) = now {
                let looked = async {
                    self.ask_due(&map, &mut schedule).await;
                    if names_due {
                        self.look_up(&map, None).await;
                    }
                };
                tokio::select! {
                    // Cancel-safe: each thing heard is said whole.
                    () = stop.cancelled() => return,
                    () = looked => {}
                }
            }
            let known = Arc::clone(&self.heard.borrow());
            let found = known.peers.iter().all(|p| p.address.is_some());
            let pause = if found { NAMES_INTERVAL } else { retry };
            let again = Instant::now() + jitter(pause);
            if names_due {
                names_at = again;
                retry = match found {
                    true => NAMES_RETRY,
                    false => (retry * 2).min(NAMES_INTERVAL),
                };
            }
            // One that was just listed is not left for later.
            names_at = names_at.min(again);
            let next = schedule.values().map(|(at, _)| *at).min();
            let wake = next.map_or(names_at, |next| next.min(names_at));
            tokio::select! {
                () = stop.cancelled() => return,
                // Cancel-safe: a change is marked seen above only.
                changed = metadata.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // Ours says whom to ask, and came by a poll of SAPI:
                    // theirs may have changed with it.
                    for (at, _) in schedule.values_mut() {
                        *at = Instant::now();
                    }
                }
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Asks those SAPIs whose turn it is.
    async fn ask_due(
        &self,
        metadata: &Map<String, Value>,
        schedule: &mut Schedule,
    ) {
        let Some((region, domain)) = datacenters(metadata) else {
            // Whom to ask is unknown until the metadata changes.
            schedule.clear();
            return;
        };
        let now = Instant::now();
        self.forget_all_but(&region);
        schedule.retain(|datacenter, _| region.contains(datacenter));
        for datacenter in &region {
            schedule.entry(datacenter.clone()).or_insert((now, LIST_RETRY));
        }
        let due = region.iter().filter(|datacenter| {
            schedule.get(*datacenter).is_some_and(|(at, _)| *at <= now)
        });
        let asked: Vec<_> = due
            .map(|datacenter| {
                let here = Some(datacenter) == region.first();
                self.ask_one(metadata, datacenter, here, &domain)
            })
            .collect();
        let mut answers = stream::iter(asked).buffer_unordered(SAPIS_AT_ONCE);
        while let Some((datacenter, good)) = answers.next().await {
            if let Some((at, retry)) = schedule.get_mut(datacenter) {
                let pause = if good { LIST_INTERVAL } else { *retry };
                *at = Instant::now() + jitter(pause);
                *retry = match good {
                    true => LIST_RETRY,
                    false => (*retry * 2).min(LIST_INTERVAL),
                };
            }
        }
    }

    /// Asks one SAPI, takes in what it lists and looks that up; says whether
    /// all went well. Others that are slow hold none of it up.
    async fn ask_one<'a>(
        &self,
        metadata: &Map<String, Value>,
        datacenter: &'a str,
        here: bool,
        domain: &ZoneName,
    ) -> (&'a str, bool) {
        let sapi = if here {
            self.sapi.clone()
        } else {
            let url = format!("http://sapi.{datacenter}.{domain}");
            Sapi::new(self.http.clone(), &url)
        };
        let scope =
            |flavor| Scope { datacenter, flavor, domain, own: &self.own };
        // As old as the question: what changed while it was answered may be
        // missing.
        let asked_at = SystemTime::now().duration_since(UNIX_EPOCH);
        let Answer { lists, failure } = ask(&sapi, here, scope).await;
        let good = failure.is_none();
        self.say(|heard| {
            for asked in lists {
                take(heard, &scope(asked.flavor), asked);
            }
            if let (true, Ok(at)) = (good, asked_at) {
                heard.listed.insert(datacenter.to_owned(), at.as_secs());
            }
        });
        self.note(datacenter, failure);
        self.look_up(metadata, Some(datacenter)).await;
        (datacenter, good)
    }

    /// Forgets datacenters that left the region.
    fn forget_all_but(&self, region: &[String]) {
        self.failures.send_if_modified(|failures| {
            let before = failures.len();
            failures.retain(|datacenter, _| region.contains(datacenter));
            failures.len() != before
        });
        self.say(|heard| {
            heard.manta.retain(|datacenter, _| region.contains(datacenter));
            heard.listed.retain(|datacenter, _| region.contains(datacenter));
            let known = std::mem::take(&mut heard.peers);
            heard.peers = decide::within(known, region);
        });
    }

    /// Looks up the peers that a datacenter lists, or all of them.
    async fn look_up(&self, metadata: &Map<String, Value>, of: Option<&str>) {
        let heard = Arc::clone(&self.heard.borrow());
        let crowds = decide::crowds(&heard.peers);
        let wanted = heard.peers.iter().filter(|peer| {
            of.is_none_or(|datacenter| peer.listed_by.contains(datacenter))
        });
        let asked: Vec<_> = wanted
            .map(|peer| {
                let alone = crowds.get(decide::service_name(peer)) == Some(&1);
                async move {
                    let told = match own_address(metadata) {
                        Some(ip) if peer.own => vec![ip],
                        _ => self.addresses(peer, alone).await,
                    };
                    (peer.instance.clone(), told)
                }
            })
            .collect();
        let answers: BTreeMap<String, Vec<IpAddr>> = stream::iter(asked)
            .buffer_unordered(NAMES_AT_ONCE)
            .take_until(tokio::time::sleep(NAMES_LIMIT))
            .collect()
            .await;
        self.say(|heard| {
            let known = std::mem::take(&mut heard.peers);
            heard.peers = decide::addressed(known, &answers);
        });
    }

    /// Where a peer is: its own name, or its alias where that is the zone's
    /// host name, or its service's name when nobody else bears it.
    async fn addresses(&self, peer: &Peer, alone: bool) -> Vec<IpAddr> {
        let service = decide::service_name(peer);
        let alias = format!("{}.{service}", peer.alias);
        for name in [peer.name.as_str(), &alias] {
            let found = self.resolve(name).await;
            if !found.is_empty() {
                return found;
            }
        }
        let mut found = Vec::new();
        if alone {
            found = self.resolve(service).await;
        }
        if found.len() == 1 { found } else { Vec::new() }
    }

    async fn resolve(&self, name: &str) -> Vec<IpAddr> {
        match self.names.lookup_ipv4(name).await {
            Ok(ips) => {
                let ips: BTreeSet<_> = ips.into_iter().collect();
                ips.into_iter().map(IpAddr::V4).collect()
            }
            Err(error) => {
                debug!(
                    name,
                    err.message = %crate::log::chain(&error),
                    "peer's name not found"
                );
                Vec::new()
            }
        }
    }

    /// Changes what is known; says so if it is then different.
    fn say(&self, change: impl FnOnce(&mut Heard)) {
        let mut heard = (**self.heard.borrow()).clone();
        change(&mut heard);
        self.heard.send_if_modified(|current| {
            if **current == heard {
                return false;
            }
            if current.peers != heard.peers {
                let missing = |peer: &&Peer| peer.address.is_none();
                info!(
                    peers = heard.peers.len(),
                    before = current.peers.len(),
                    without_address =
                        heard.peers.iter().filter(missing).count(),
                    "peers changed"
                );
            }
            *current = Arc::new(heard);
            true
        });
    }

    /// Remembers a failure or its end; the log hears of each once.
    fn note(&self, datacenter: &str, failure: Option<String>) {
        self.failures.send_if_modified(|failures| {
            let before = match &failure {
                Some(why) => {
                    failures.insert(datacenter.to_owned(), why.clone())
                }
                None => failures.remove(datacenter),
            };
            match &failure {
                Some(why) if before.is_none() => warn!(
                    datacenter,
                    err.message = %why,
                    "no list of peers; the known ones stay"
                ),
                None if before.is_some() => {
                    info!(datacenter, "peers listed again");
                }
                _ => {}
            }
            before != failure
        });
    }
}

/// Takes one list in.
fn take(heard: &mut Heard, scope: &Scope<'_>, asked: Asked) {
    let here = scope.datacenter.to_owned();
    match asked.manta {
        Some(names) => {
            heard.manta.insert(here, names);
        }
        None if asked.whole && scope.flavor == crate::model::Flavor::Manta => {
            heard.manta.remove(&here);
        }
        None => {}
    }
    let known = std::mem::take(&mut heard.peers);
    heard.peers = decide::merge(known, scope, asked.peers, asked.whole);
}

/// Between three and five quarters: agents that start together part.
fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(0.75 + fastrand::f64() / 2.0)
}
