// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Which zones and forward zones there are right now. A catalog is made whole
//! from `Routes` and swapped whole; zones and pools that stay the same are
//! carried over with their data, health and cache.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use hickory_proto::rr::{Name, RecordType};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use super::forward::{ForwardLimits, ForwardPool, Trust, Upstreams};
use super::names::WireName;
use super::secondary::guard::HeldBack;
use super::secondary::health::PrimaryStatus;
use super::serve::answer::Step;
use super::serve::local;
use super::serve::synthetic::SyntheticZone;
use super::store::persist;
use super::store::{Serial, ZoneLimits, ZoneVersion};
use super::tally::{Outcomes, Tally};
use crate::model::dns::{Routes, ZoneName};
use crate::model::primary::Primary;

/// How one replicated zone is doing.
#[derive(Clone, Debug)]
pub struct ZoneStatus {
    /// Name of the zone.
    pub name: ZoneName,
    /// Serial served; `None` while we hold no copy.
    pub serial: Option<Serial>,
    /// The primary that serial belongs to.
    pub primary: Option<SocketAddr>,
    /// Resource records served.
    pub records: usize,
    /// Estimated bytes in memory.
    pub bytes: usize,
    /// The version served comes from the data folder and no primary has
    /// confirmed it since the start.
    pub loaded_from_disk: bool,
    /// Time since a primary last confirmed the version served.
    pub age: Option<Duration>,
    /// When the content last changed.
    pub last_change: Option<SystemTime>,
    /// Older than the SOA's expire, within the bounds of `RefreshPolicy`,
    /// which says whether it is served all the same.
    pub expired: bool,
    /// A zone that lost everything or much, and is not believed yet.
    pub held_back: Option<HeldBack>,
    /// The primaries, as configured.
    pub primaries: Vec<PrimaryStatus>,
    /// What came of asking the primaries so far: kind and number.
    pub transfers: Vec<(&'static str, u64)>,
    /// Times it was written to disk.
    pub writes: u64,
    /// Why the last refresh failed.
    pub last_error: Option<String>,
    /// Why the last write to disk failed.
    pub store_error: Option<String>,
}

/// A replicated zone: the version in force and how it came about. One task
/// (`transfer.rs`) writes, many read.
pub(crate) struct ZoneCell {
    pub(crate) name: ZoneName,
    pub(crate) apex: WireName,
    /// In order of preference.
    pub(crate) primaries: watch::Sender<Vec<Primary>>,
    /// Wakes the refresh loop; several wakings become one.
    pub(crate) wake: Notify,
    /// When the last round of the loop that has ended had begun.
    pub(crate) rounds: watch::Sender<Option<Instant>>,
    /// Questions for names in the zone.
    pub(crate) tally: Tally,
    /// What came of asking its primaries.
    pub(crate) outcomes: Outcomes,
    /// Times it was written to disk.
    pub(crate) writes: AtomicU64,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    version: Option<Arc<ZoneVersion>>,
    /// The version, while it is expired and policy says not to serve it.
    withdrawn: Option<Arc<ZoneVersion>>,
    /// Bounds of the SOA's expire, once known.
    expire: Option<RangeInclusive<Duration>>,
    held_back: Option<HeldBack>,
    primaries: Vec<PrimaryStatus>,
    loaded_from_disk: bool,
    /// Age of the version at some instant, which may lie before our start.
    confirmed: Option<(Duration, Instant)>,
    refresh_error: Option<String>,
    store_error: Option<String>,
}

impl ZoneCell {
    pub(crate) fn new(name: ZoneName, primaries: Vec<Primary>) -> Self {
        Self {
            apex: WireName::from_zone(&name),
            name,
            primaries: watch::Sender::new(primaries),
            wake: Notify::new(),
            rounds: watch::Sender::new(None),
            tally: Tally::default(),
            outcomes: Outcomes::default(),
            writes: AtomicU64::new(0),
            state: RwLock::default(),
        }
    }

    /// Bounds what a SOA may say about expire.
    pub(crate) fn bound_expire(&self, bounds: RangeInclusive<Duration>) {
        self.write().expire = Some(bounds);
    }

    /// The version in force, or withdrawn: what differences build on.
    pub(crate) fn held(&self) -> Option<Arc<ZoneVersion>> {
        let state = self.read();
        state.version.clone().or_else(|| state.withdrawn.clone())
    }

    /// Stops serving the version until a primary confirms it.
    pub(crate) fn withdraw(&self) {
        let mut state = self.write();
        if state.version.is_some() {
            state.withdrawn = state.version.take();
        }
    }

    /// A zone that waits to be believed, or none any more.
    pub(crate) fn hold_back(&self, held_back: Option<HeldBack>) {
        self.write().held_back = held_back;
    }

    /// How the primaries did in the last round.
    pub(crate) fn primaries_did(&self, primaries: Vec<PrimaryStatus>) {
        self.write().primaries = primaries;
    }

    /// The version in force.
    pub(crate) fn version(&self) -> Option<Arc<ZoneVersion>> {
        self.read().version.clone()
    }

    /// Puts a version from the data folder in force.
    pub(crate) fn restore(&self, loaded: persist::Loaded) {
        let age = loaded.confirmed.elapsed().unwrap_or_default();
        let mut state = self.write();
        state.version = Some(Arc::new(loaded.version));
        state.loaded_from_disk = true;
        state.confirmed = Some((age, Instant::now()));
    }

    /// Puts a version just transferred in force.
    pub(crate) fn install(&self, version: Arc<ZoneVersion>) {
        let mut state = self.write();
        state.version = Some(version);
        state.withdrawn = None;
        state.loaded_from_disk = false;
        state.confirmed = Some((Duration::ZERO, Instant::now()));
        state.refresh_error = None;
    }

    /// A primary said that the version in force is current.
    pub(crate) fn confirm(&self) {
        let mut state = self.write();
        if let Some(version) = state.withdrawn.take() {
            state.version = Some(version);
        }
        state.loaded_from_disk = false;
        state.confirmed = Some((Duration::ZERO, Instant::now()));
        state.refresh_error = None;
    }

    pub(crate) fn refresh_failed(&self, why: String) {
        self.write().refresh_error = Some(why);
    }

    pub(crate) fn stored(&self, outcome: Result<(), String>) {
        self.write().store_error = outcome.err();
    }

    /// Older than the SOA's expire.
    pub(crate) fn is_expired(&self) -> bool {
        self.status().expired
    }

    pub(crate) fn status(&self) -> ZoneStatus {
        let state = self.read();
        let version = state.version.as_deref().or(state.withdrawn.as_deref());
        let expire = |version: &ZoneVersion| match &state.expire {
            None => version.timers.expire,
            Some(bounds) => {
                version.timers.expire.min(*bounds.end()).max(*bounds.start())
            }
        };
        let age = state.confirmed.map(|(base, since)| base + since.elapsed());
        ZoneStatus {
            name: self.name.clone(),
            serial: version.map(|v| v.serial),
            primary: version.map(|v| v.provenance.primary),
            records: version.map_or(0, |v| v.records),
            bytes: version.map_or(0, |v| v.bytes),
            loaded_from_disk: state.loaded_from_disk,
            age,
            last_change: version.map(|v| v.provenance.changed),
            expired: version.zip(age).is_some_and(|(v, age)| age > expire(v)),
            held_back: state.held_back.clone(),
            primaries: state.primaries.clone(),
            transfers: self.outcomes.counts(),
            writes: self.writes.load(Ordering::Relaxed),
            last_error: state.refresh_error.clone(),
            store_error: state.store_error.clone(),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        // Writers only assign; a panic between two assignments leaves data
        // that is still whole.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A zone of ours, and its primaries as upstreams for as long as it is
/// empty-handed.
#[derive(Clone)]
pub(crate) struct ZoneEntry {
    pub(crate) cell: Arc<ZoneCell>,
    pub(crate) primaries: Arc<ForwardPool>,
}

/// Who answers a name.
pub(crate) enum Route {
    Zone(ZoneEntry),
    Forward(Arc<ForwardPool>),
    /// A rule of ours: with the answer, or where it leads.
    Local(Step),
    Nowhere,
}

/// All zones and forward zones.
#[derive(Default)]
pub(crate) struct Catalog {
    pub(crate) zones: HashMap<WireName, ZoneEntry>,
    pub(crate) forwards: HashMap<WireName, Arc<ForwardPool>>,
    /// Special names that the resolvers of the root's forward zone know.
    known_special: Arc<[WireName]>,
    /// Names of our own making.
    pub(crate) synthetic: Option<Arc<SyntheticZone>>,
    /// Whether addresses of one name take turns at being first.
    pub(crate) round_robin: bool,
}

/// What a catalog is made with, besides the routes.
#[derive(Clone)]
pub(crate) struct CatalogSettings {
    pub(crate) store_dir: PathBuf,
    pub(crate) source: Option<IpAddr>,
    pub(crate) zone_limits: ZoneLimits,
    pub(crate) forward_limits: ForwardLimits,
    pub(crate) in_flight: Arc<Semaphore>,
    pub(crate) trust: Trust,
    pub(crate) known_special: Arc<[WireName]>,
    pub(crate) synthetic: Option<Arc<SyntheticZone>>,
    pub(crate) round_robin: bool,
}

impl Catalog {
    /// Finds who answers: the longest of our zones and forward zones that
    /// holds the name; a zone before a forward zone of the same name.
    pub(crate) fn route(
        &self,
        key: &WireName,
        name: &Name,
        rtype: RecordType,
    ) -> Route {
        if let Some(answer) = local::localhost(key, name, rtype) {
            return Route::Local(Step::Done(answer));
        }
        let synthetic = self.synthetic.as_ref();
        if let Some(step) = synthetic.and_then(|zone| zone.step(key, name)) {
            return Route::Local(step);
        }
        self.longest(key, name, rtype, key.suffixes())
    }

    /// Finds who answers a name that the forward zone `suffix` knows nothing
    /// of: the longest of what is shorter.
    pub(crate) fn route_above(
        &self,
        key: &WireName,
        name: &Name,
        rtype: RecordType,
        suffix: &ZoneName,
    ) -> Route {
        let len = WireName::from_zone(suffix).as_bytes().len();
        let above = key.suffixes().filter(|above| above.len() < len);
        self.longest(key, name, rtype, above)
    }

    fn longest<'k>(
        &self,
        key: &WireName,
        name: &Name,
        rtype: RecordType,
        suffixes: impl Iterator<Item = &'k [u8]>,
    ) -> Route {
        for suffix in suffixes {
            let is_root = suffix == b"\0";
            if let Some(zone) = self.zones.get(suffix) {
                return Route::Zone(zone.clone());
            }
            if is_root {
                let known = &self.known_special;
                if let Some(answer) =
                    local::unforwarded(key, name, rtype, known)
                {
                    return Route::Local(Step::Done(answer));
                }
            }
            if let Some(pool) = self.forwards.get(suffix) {
                return Route::Forward(Arc::clone(pool));
            }
        }
        Route::Nowhere
    }

    /// The next catalog. Zones that are new are read from the data folder
    /// first, so that they answer before any primary does.
    pub(crate) async fn next(
        &self,
        routes: &Routes,
        settings: &CatalogSettings,
    ) -> Catalog {
        let mut next = Catalog {
            known_special: Arc::clone(&settings.known_special),
            synthetic: settings.synthetic.clone(),
            round_robin: settings.round_robin,
            ..Catalog::default()
        };
        for zone in &routes.secondaries {
            let apex = WireName::from_zone(&zone.name);
            if next.zones.contains_key(&apex) {
                warn!(zone = %zone.name, "zone is routed twice; first counts");
                continue;
            }
            let entry = self.zones.get(&apex);
            let cell = match entry.map(|entry| &entry.cell) {
                Some(cell) => {
                    cell.primaries.send_if_modified(|now| {
                        let differ = *now != zone.primaries;
                        now.clone_from(&zone.primaries);
                        differ
                    });
                    Arc::clone(cell)
                }
                None => {
                    let primaries = zone.primaries.clone();
                    let cell = ZoneCell::new(zone.name.clone(), primaries);
                    restore(&cell, settings).await;
                    Arc::new(cell)
                }
            };
            let addrs: Vec<SocketAddr> =
                zone.primaries.iter().map(|p| p.address).collect();
            let primaries = pool(
                entry.map(|entry| &entry.primaries),
                &zone.name,
                Upstreams::Primaries,
                &addrs,
                settings,
            );
            next.zones.insert(apex, ZoneEntry { cell, primaries });
        }
        for forward in &routes.forwards {
            let suffix = WireName::from_zone(&forward.suffix);
            if next.forwards.contains_key(&suffix) {
                warn!(
                    suffix = %forward.suffix,
                    "suffix is forwarded twice; first counts"
                );
                continue;
            }
            let pool = pool(
                self.forwards.get(&suffix),
                &forward.suffix,
                forward.into(),
                &forward.upstreams,
                settings,
            );
            next.forwards.insert(suffix, pool);
        }
        for (apex, entry) in &self.zones {
            if !next.zones.contains_key(apex) {
                info!(
                    zone = %entry.cell.name,
                    "zone no longer served; its file stays on disk"
                );
            }
        }
        next
    }
}

fn pool(
    old: Option<&Arc<ForwardPool>>,
    suffix: &ZoneName,
    kind: Upstreams,
    addrs: &[SocketAddr],
    settings: &CatalogSettings,
) -> Arc<ForwardPool> {
    if let Some(old) = old.filter(|old| old.is_same(kind, addrs)) {
        return Arc::clone(old);
    }
    // Primaries know us by our NIC's address. Towards all others the system
    // knows better which of several NICs leads there.
    let source =
        settings.source.filter(|_| matches!(kind, Upstreams::Primaries));
    let pool = ForwardPool::new(
        suffix.clone(),
        kind,
        addrs,
        source,
        settings.forward_limits,
        Arc::clone(&settings.in_flight),
        &settings.trust,
    );
    Arc::new(match old {
        Some(old) => pool.inherit(old),
        None => pool,
    })
}

async fn restore(cell: &ZoneCell, settings: &CatalogSettings) {
    let (dir, zone) = (settings.store_dir.clone(), cell.name.clone());
    let limits = settings.zone_limits;
    let loading = move || persist::load(&dir, &zone, limits);
    let failed = match tokio::task::spawn_blocking(loading).await {
        Ok(Ok(None)) => return,
        Ok(Ok(Some(loaded))) => {
            info!(
                zone = %cell.name,
                serial = %loaded.version.serial,
                records = loaded.version.records,
                "zone served from disk"
            );
            cell.restore(loaded);
            return;
        }
        Ok(Err(error)) => error.chain(),
        Err(error) => error.to_string(),
    };
    warn!(zone = %cell.name, err.message = failed, "zone file not read");
    cell.stored(Err(failed));
}
