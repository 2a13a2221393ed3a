// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Which zones and forward zones there are right now. A catalog is made whole
//! from `Routes` and swapped whole; zones and pools that stay the same are
//! carried over with their data, health and cache.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use hickory_proto::rr::{Name, RecordType};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use super::answer::Answer;
use super::forward::{ForwardLimits, ForwardPool, Upstreams};
use super::names::WireName;
use super::store::{Serial, ZoneLimits, ZoneVersion};
use super::{local, persist};
use crate::model::dns::{Routes, ZoneName};

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
    /// Older than the SOA's expire. Served all the same: stale names beat
    /// none for a monitor.
    pub expired: bool,
    /// Why the last refresh, or the last write to disk, failed.
    pub last_error: Option<String>,
}

/// A replicated zone: the version in force and how it came about. One task
/// (`transfer.rs`) writes, many read.
pub(crate) struct ZoneCell {
    pub(crate) name: ZoneName,
    pub(crate) apex: WireName,
    /// In order of preference.
    pub(crate) primaries: watch::Sender<Vec<SocketAddr>>,
    /// Wakes the refresh loop; several wakings become one.
    pub(crate) wake: Notify,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    version: Option<Arc<ZoneVersion>>,
    loaded_from_disk: bool,
    /// Age of the version at some instant, which may lie before our start.
    confirmed: Option<(Duration, Instant)>,
    refresh_error: Option<String>,
    store_error: Option<String>,
}

impl ZoneCell {
    pub(crate) fn new(name: ZoneName, primaries: Vec<SocketAddr>) -> Self {
        Self {
            apex: WireName::from_zone(&name),
            name,
            primaries: watch::Sender::new(primaries),
            wake: Notify::new(),
            state: RwLock::default(),
        }
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
        state.loaded_from_disk = false;
        state.confirmed = Some((Duration::ZERO, Instant::now()));
        state.refresh_error = None;
    }

    /// A primary said that the version in force is current.
    pub(crate) fn confirm(&self) {
        let mut state = self.write();
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
        let version = state.version.as_deref();
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
            expired: version
                .zip(age)
                .is_some_and(|(v, age)| age > v.timers.expire),
            last_error: state
                .refresh_error
                .clone()
                .or_else(|| state.store_error.clone()),
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
    Local(Answer),
    Nowhere,
}

/// All zones and forward zones.
#[derive(Default)]
pub(crate) struct Catalog {
    pub(crate) zones: HashMap<WireName, ZoneEntry>,
    pub(crate) forwards: HashMap<WireName, Arc<ForwardPool>>,
}

/// What a catalog is made with, besides the routes.
#[derive(Clone)]
pub(crate) struct CatalogSettings {
    pub(crate) store_dir: PathBuf,
    pub(crate) source: Option<IpAddr>,
    pub(crate) zone_limits: ZoneLimits,
    pub(crate) forward_limits: ForwardLimits,
    pub(crate) in_flight: Arc<Semaphore>,
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
            return Route::Local(answer);
        }
        self.longest(key, key.suffixes())
    }

    /// Finds who answers a name that the forward zone `suffix` knows nothing
    /// of: the longest of what is shorter.
    pub(crate) fn route_above(
        &self,
        key: &WireName,
        suffix: &ZoneName,
    ) -> Route {
        let len = WireName::from_zone(suffix).as_bytes().len();
        self.longest(key, key.suffixes().filter(|above| above.len() < len))
    }

    fn longest<'k>(
        &self,
        key: &WireName,
        suffixes: impl Iterator<Item = &'k [u8]>,
    ) -> Route {
        for suffix in suffixes {
            let is_root = suffix == b"\0";
            if let Some(zone) = self.zones.get(suffix) {
                return Route::Zone(zone.clone());
            }
            if is_root && let Some(answer) = local::unforwarded(key) {
                return Route::Local(answer);
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
        let mut next = Catalog::default();
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
            let primaries = pool(
                entry.map(|entry| &entry.primaries),
                &zone.name,
                Upstreams::Primaries,
                &zone.primaries,
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
    Arc::new(ForwardPool::new(
        suffix.clone(),
        kind,
        addrs,
        settings.source,
        settings.forward_limits,
        Arc::clone(&settings.in_flight),
    ))
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
