// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Finds out where names and metrics come from: all binders, all CNS
//! instances, the zones they serve, CMON's domain; `peers` finds who else
//! monitors. SAPI metadata says where to begin, binder and CNS say the rest,
//! and all of it may change.
//!
//! What was found is kept on disk and outlives an outage: an answer that
//! fails or is empty never takes away what was known.

mod peers;
mod routes;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::dns::NamesHandle;
use crate::metadata::names;
use crate::model::Flavor;
use crate::model::dns::{Routes, ZoneName};
use crate::triton::{Http, cns};

pub use peers::{Failures, Heard, MantaNames, PeerSearch};
pub use routes::{Found, Seed, ZoneFacts, routes, seed};

/// Pause between two looks; binder's records live 60 s.
const INTERVAL: Duration = Duration::from_secs(30);

/// First pause after a look that found less than it should; doubles.
const RETRY: Duration = Duration::from_secs(3);

/// The loop that keeps `Found` and `Routes` true.
pub struct Discovery {
    /// Asks CNS.
    pub http: Http,
    /// Asks binder.
    pub names: NamesHandle,
    /// The zone itself.
    pub facts: ZoneFacts,
    /// Whose zones are watched.
    pub flavor: Flavor,
    /// What was heard of peers.
    pub heard: watch::Receiver<Arc<Heard>>,
    /// Where what was found is kept.
    pub keep: PathBuf,
    /// Writes it there, atomically, 0600.
    pub write: fn(&Path, &[u8]) -> std::io::Result<()>,
    /// Says what was found.
    pub found: watch::Sender<Arc<Found>>,
    /// Says what follows for names.
    pub routes: watch::Sender<Arc<Routes>>,
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
    /// Looks around until `stop`, and at once when the metadata changes.
    pub async fn run(
        self,
        mut metadata: watch::Receiver<Option<Arc<Map<String, Value>>>>,
        stop: CancellationToken,
    ) {
        let mut heard = self.heard.clone();
        let mut retry = RETRY;
        loop {
            let now = metadata.borrow_and_update().clone();
            let mut whole = false;
            if let Some(map) = now {
                let looked = async {
                    // The seed first: looking needs the routes it gives.
                    let mut found = (**self.found.borrow()).clone();
                    found.seed = seed(&map, self.flavor, &self.facts);
                    self.publish(found.clone()).await;
                    let whole = self.look(&map, &mut found).await;
                    self.publish(found).await;
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
            let wake = tokio::time::Instant::now()
                + pause.mul_f64(0.75 + fastrand::f64() / 2.0);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    // Cancel-safe: a change is marked seen above only.
                    changed = metadata.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        break;
                    }
                    // Cancel-safe: publishing reads what was heard last.
                    changed = heard.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        let found = (**self.found.borrow()).clone();
                        self.publish(found).await;
                    }
                    () = tokio::time::sleep_until(wake) => break,
                }
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
                Ok(list) => {
                    let reverse = self.facts.reverse_zones;
                    zones.extend(replicated(&list, reverse));
                }
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
        if names::cmon_domain(metadata).is_none() {
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

    /// Says `found`, with what is known of peers by now, and keeps it.
    async fn publish(&self, mut found: Found) {
        let heard = Arc::clone(&self.heard.borrow());
        found.peers.clone_from(&heard.peers);
        found.manta.clone_from(&heard.manta);
        found.listed.clone_from(&heard.listed);
        let changed = self.found.send_if_modified(|current| {
            if **current == found {
                return false;
            }
            *current = Arc::new(found.clone());
            true
        });
        let routes = routes(&found, &self.facts);
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
            let (keep, write) = (self.keep.clone(), self.write);
            // On a thread where a slow disk holds up no query.
            let kept = tokio::task::spawn_blocking(move || {
                write(&keep, &serde_json::to_vec(&found)?)
            });
            if let Err(error) = kept.await.unwrap_or_else(|e| Err(e.into())) {
                warn!(
                    path = %self.keep.display(),
                    err.message = %error,
                    "could not keep what was discovered"
                );
            }
        }
    }
}

/// The forward zones among what CNS serves, and the reverse ones if asked for.
fn replicated(
    list: &[cns::Zone],
    reverse: bool,
) -> impl Iterator<Item = ZoneName> {
    let names = list.iter().filter_map(|zone| ZoneName::parse(&zone.name).ok());
    names.filter(move |zone| {
        let is_reverse = zone.as_str().ends_with(".in-addr.arpa")
            || zone.as_str().ends_with(".ip6.arpa");
        reverse || !is_reverse
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reverse_zones_are_left_out_unless_asked_for() {
        let list: Vec<cns::Zone> = serde_json::from_value(json!([
            {"name": "dc1.cns.t.test", "serial": 1},
            {"name": "1.9.10.in-addr.arpa", "serial": 1},
        ]))
        .unwrap();
        let names: Vec<_> = replicated(&list, false).collect();
        assert_eq!(names, [ZoneName::parse("dc1.cns.t.test").unwrap()]);
        assert_eq!(replicated(&list, true).count(), 2);
    }
}
