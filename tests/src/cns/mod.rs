// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! CNS on one machine: a DNS primary whose zones follow the datacenter, with
//! its REST API. It is meant to be as odd as the real one, and can be made
//! to fail while it runs.
//!
//! `zone` decides the records, `history` the serials, `answer` and
//! `transfer` the messages; `server`, `peers` and `rest` do the talking.

mod answer;
mod clocked;
mod config;
pub mod history;
mod peers;
mod rest;
mod server;
mod transfer;
pub mod zone;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};

use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::answer::ZoneView;
pub use self::clocked::ClockedCns;
pub use self::config::{
    Cidr, CidrError, Clock, CnsConfig, Counters, Faults, PeerConfig,
};
use self::history::{ZoneHistory, batch_serial, serial_at};
use self::peers::Peers;
use self::zone::{Contents, Zones};
use crate::datacenter::Datacenter;

/// A handle on one CNS; clones are the same CNS.
#[derive(Clone)]
pub struct Cns {
    shared: Arc<Shared>,
}

struct Shared {
    datacenter: Arc<Datacenter>,
    state: Mutex<State>,
    crashed: watch::Sender<bool>,
    commits: watch::Sender<u64>,
}

struct State {
    config: CnsConfig,
    faults: Faults,
    counters: Counters,
    zones: BTreeMap<String, ZoneHistory>,
    peers: Peers,
    /// Serial of the batch that opened when the database was lost.
    wiped_batch: u32,
    /// When the VMs were last looked at.
    last_visit: OffsetDateTime,
}

impl Cns {
    /// A CNS whose database is filled: the first poll is committed already.
    /// Nothing runs until [`Cns::run_updater`], [`Cns::serve_dns`] and
    /// [`Cns::serve_rest`] are started.
    pub fn new(datacenter: Arc<Datacenter>, config: CnsConfig) -> Self {
        let now = (config.clock)();
        let zones = datacenter.read(|f| zone::build(f, &config.naming));
        let state = State {
            config,
            faults: Faults::default(),
            counters: Counters::default(),
            zones: BTreeMap::new(),
            peers: Peers::default(),
            wiped_batch: 0,
            last_visit: now,
        };
        let cns = Self {
            shared: Arc::new(Shared {
                datacenter,
                state: Mutex::new(state),
                crashed: watch::Sender::new(false),
                commits: watch::Sender::new(0),
            }),
        };
        cns.commit(serial_at(now), zones);
        cns
    }

    /// The updater: each change of the datacenter opens a batch, numbered
    /// with the next 10 s step, which is committed when it closes.
    pub async fn run_updater(self, stop: CancellationToken) {
        let mut changes = self.shared.datacenter.subscribe();
        // Facts may have changed between the first poll and now.
        changes.mark_changed();
        loop {
            // Both arms only wait.
            tokio::select! {
                changed = changes.changed() => {
                    if changed.is_err() { return }
                }
                () = stop.cancelled() => return,
            }
            let (serial, batch) = {
                let state = self.state();
                let now = (state.config.clock)();
                (batch_serial(now), state.config.batch)
            };
            tokio::select! {
                () = tokio::time::sleep(batch) => (),
                () = stop.cancelled() => return,
            }
            changes.mark_unchanged();
            self.rebuild(serial);
        }
    }

    /// Commits the facts as they are, without waiting for a batch.
    pub fn commit_now(&self) {
        let now = (self.state().config.clock)();
        self.rebuild(batch_serial(now));
    }

    /// Fires after each commit that changed a zone; counts them.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared.commits.subscribe()
    }

    /// The serial a query for the zone's SOA would see.
    pub fn serial(&self, zone: &str) -> Option<u32> {
        self.state().current(zone).map(|history| history.serial())
    }

    /// The records of a zone, SOA and NS apart.
    pub fn contents(&self, zone: &str) -> Option<Contents> {
        self.state().current(zone).map(|history| (**history.contents()).clone())
    }

    /// Names and serials of all zones, reverse zones included.
    pub fn zones(&self) -> Vec<(String, u32)> {
        let state = self.state();
        let names = state.zones.keys();
        names
            .filter_map(|name| {
                let history = state.current(name)?;
                Some((name.clone(), history.serial()))
            })
            .collect()
    }

    /// Counts since the start, or since the last restart.
    pub fn counters(&self) -> Counters {
        self.state().counters
    }

    /// What is wrong just now.
    pub fn faults(&self) -> Faults {
        self.state().faults.clone()
    }

    /// Makes this CNS fail, or heals it.
    pub fn update_faults(&self, change: impl FnOnce(&mut Faults)) {
        let healed = {
            let mut state = self.state();
            let was_wiped = state.faults.wiped;
            change(&mut state.faults);
            let now = (state.config.clock)();
            if state.faults.wiped && !was_wiped {
                state.wiped_batch = batch_serial(now);
            }
            let healed = was_wiped && !state.faults.wiped;
            if healed {
                state.zones.clear();
            }
            healed.then_some(state.wiped_batch)
        };
        if let Some(serial) = healed {
            self.rebuild(serial);
        }
    }

    /// A change of the SAPI metadata: zones are rebuilt and the counters
    /// start again, as the real one restarts.
    pub fn reconfigure(&self, change: impl FnOnce(&mut CnsConfig)) {
        {
            let mut state = self.state();
            change(&mut state.config);
            state.counters = Counters::default();
        }
        self.commit_now();
    }

    /// Whether a malformed request killed the process. It then serves
    /// nothing; SMF would restart it, here [`Cns::restart`] does.
    pub fn crashed(&self) -> bool {
        *self.shared.crashed.borrow()
    }

    /// After a crash: counters at zero, zones kept. The servers have ended
    /// with the crash and want to be started again.
    pub fn restart(&self) {
        self.state().counters = Counters::default();
        self.shared.crashed.send_replace(false);
    }

    fn crash(&self) {
        info!("uncaught exception: this CNS is down");
        self.shared.crashed.send_replace(true);
    }

    async fn wait_crash(&self) {
        let mut crashed = self.shared.crashed.subscribe();
        // The sender lives as long as self.
        let _ = crashed.wait_for(|crashed| *crashed).await;
    }

    fn rebuild(&self, serial: u32) {
        let naming = self.state().config.naming.clone();
        let zones =
            self.shared.datacenter.read(|facts| zone::build(facts, &naming));
        self.commit(serial, zones);
    }

    fn commit(&self, serial: u32, zones: Zones) {
        let changed = self.state().commit(serial, zones);
        if changed {
            self.shared.commits.send_modify(|count| *count += 1);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no holder panics")
    }
}

impl State {
    fn commit(&mut self, serial: u32, zones: Zones) -> bool {
        self.last_visit = (self.config.clock)();
        let mut changed = false;
        // A reverse zone that lost its last address stays, empty.
        for (name, history) in &mut self.zones {
            let reverse = name.ends_with(".in-addr.arpa");
            if reverse && !zones.contains_key(name) {
                changed |= history.commit(serial, Contents::new());
            }
        }
        // A forward zone taken out of the configuration goes.
        self.zones.retain(|name, _| {
            zones.contains_key(name) || name.ends_with(".in-addr.arpa")
        });
        for (name, contents) in zones {
            match self.zones.get_mut(&name) {
                Some(history) if self.faults.same_serial => {
                    changed |= **history.contents() != contents;
                    history.commit_in_place(contents);
                }
                Some(history) => changed |= history.commit(serial, contents),
                None => {
                    let history = ZoneHistory::new(serial, contents);
                    self.zones.insert(name, history);
                    changed = true;
                }
            }
        }
        changed
    }

    /// The zone as it is served: without its records while wiped.
    fn current(&self, zone: &str) -> Option<ZoneHistory> {
        let history = self.zones.get(zone)?;
        if !self.faults.wiped {
            return Some(history.clone());
        }
        // Reverse zones come from the database, forward ones do not.
        let serial = serial_at((self.config.clock)());
        let forward =
            self.config.naming.forward_zones.iter().any(|z| z.name == zone);
        forward.then(|| ZoneHistory::new(serial, Contents::new()))
    }

    /// The zone whose name ends the query name, label boundary or not.
    fn view_for(&self, query_name: &str) -> Option<ZoneView> {
        let name = query_name.to_ascii_lowercase();
        let (zone, history) = self
            .zones
            .keys()
            .filter(|zone| name.ends_with(zone.as_str()))
            .filter_map(|zone| Some((zone, self.current(zone)?)))
            .max_by_key(|(zone, _)| zone.len())?;
        ZoneView::new(&self.config, zone, history)
    }

    fn may_transfer(&self, ip: IpAddr) -> bool {
        let allowed = &self.config.allow_transfer;
        !self.faults.refuse_transfer
            && (is_loopback(ip) || allowed.iter().any(|net| net.holds(ip)))
    }
}

/// The two addresses that CNS takes for its own machine; not all of 127/8.
fn is_loopback(ip: IpAddr) -> bool {
    ip == IpAddr::V4(Ipv4Addr::LOCALHOST)
        || ip == IpAddr::V6(Ipv6Addr::LOCALHOST)
}
