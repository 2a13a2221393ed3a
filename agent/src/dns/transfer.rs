// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The secondary: keeps one zone as its primaries have it.
//!
//! A round asks a primary for its SOA and transfers the zone if that is
//! newer. What never changes: readers see the old version until the new one
//! is whole; a round that fails, or is interrupted, changes nothing.
//!
//! Each CNS instance counts its own serials, so a serial is compared only
//! with that of the primary the version came from. We stay with that primary
//! while it answers; after `failover_after` bad rounds the next one is taken,
//! by a full transfer, and its serial adopted even if lower.
//!
//! A CNS with a wiped database serves an empty zone under a fresh serial.
//! Such a zone replaces a populated one only when another primary agrees, or
//! when it has stayed empty for `empty_zone_wait`.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::axfr::{self, TransferLimits};
use super::catalog::ZoneCell;
use super::counters::Counters;
use super::error::DnsError;
use super::refresh::{Need, RefreshPolicy, jitter, need, next_round, order};
use super::store::{Serial, ZoneLimits, ZoneVersion};
use super::{exchange, persist};

/// The file's time is moved at most this often.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// What all zones' secondaries share.
pub(crate) struct TransferSettings {
    pub(crate) store_dir: PathBuf,
    pub(crate) source: Option<IpAddr>,
    pub(crate) zone_limits: ZoneLimits,
    pub(crate) transfer_limits: TransferLimits,
    pub(crate) policy: RefreshPolicy,
    pub(crate) counters: Arc<Counters>,
    pub(crate) turns: Turns,
}

/// One transfer at a time from each primary: CNS has few connections to its
/// database and buffers its output without limit.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<SocketAddr, Arc<Semaphore>>>);

impl Turns {
    async fn take(&self, primary: SocketAddr) -> Option<OwnedSemaphorePermit> {
        let turn = {
            let mut turns =
                self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Primaries that are gone leave no trace.
            turns.retain(|addr, turn| {
                *addr == primary || Arc::strong_count(turn) > 1
            });
            let fresh = || Arc::new(Semaphore::new(1));
            Arc::clone(turns.entry(primary).or_insert_with(fresh))
        };
        turn.acquire_owned().await.ok()
    }
}

/// The refresh loop of one zone.
pub(crate) struct Secondary {
    cell: Arc<ZoneCell>,
    settings: Arc<TransferSettings>,
    /// Bad rounds in a row.
    failures: u32,
    /// Since when the primary shows an empty zone instead of ours.
    empty_since: Option<Instant>,
    /// The last full transfer; at first, our start.
    last_full: Instant,
    last_touch: Option<Instant>,
    expiry_said: bool,
    /// The version in force is not on disk: the write failed.
    unsaved: bool,
}

impl Secondary {
    pub(crate) fn new(
        cell: Arc<ZoneCell>,
        settings: Arc<TransferSettings>,
    ) -> Self {
        Self {
            cell,
            settings,
            failures: 0,
            empty_since: None,
            last_full: Instant::now(),
            last_touch: None,
            expiry_said: false,
            unsaved: false,
        }
    }

    /// Refreshes the zone until told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let cell = Arc::clone(&self.cell);
        let mut primaries = cell.primaries.subscribe();
        loop {
            let known = primaries.borrow_and_update().clone();
            let outcome = tokio::select! {
                outcome = self.round(&known) => outcome,
                // An interrupted round has changed nothing, or has already
                // put a whole version in force.
                () = stop.cancelled() => return,
            };
            let ended = Instant::now();
            let delay = self.settle(outcome);
            // Each arm but the first only ends the wait; nothing is lost
            // when another one wins.
            tokio::select! {
                () = stop.cancelled() => return,
                _ = primaries.changed() => {}
                () = sleep(jitter(delay)), if !known.is_empty() => {}
                () = cell.wake.notified() => {
                    let gap = self.settings.policy.notify_gap;
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = sleep_until(ended + gap) => {}
                    }
                }
            }
        }
    }

    /// Books a round's outcome; says when the next one is due.
    fn settle(&mut self, outcome: Result<(), DnsError>) -> Duration {
        let zone = &self.cell.name;
        match outcome {
            Ok(()) => {
                if self.failures > 0 {
                    info!(%zone, "zone refreshes again");
                }
                self.failures = 0;
                self.expiry_said = false;
            }
            Err(error) => {
                if !matches!(error, DnsError::HeldBack { .. }) {
                    // "Stayed empty" means seen empty all the time.
                    self.empty_since = None;
                }
                let message = error.chain();
                if self.failures == 0 {
                    warn!(%zone, err.message = message, "refresh failed");
                } else {
                    debug!(%zone, err.message = message, "refresh failed");
                }
                self.failures = self.failures.saturating_add(1);
                self.cell.refresh_failed(message);
                if !self.expiry_said && self.cell.is_expired() {
                    self.expiry_said = true;
                    error!(%zone, "zone is expired, and served all the same");
                }
            }
        }
        let timers = self.cell.version().map(|version| version.timers);
        next_round(timers, self.failures, &self.settings.policy)
    }

    async fn round(
        &mut self,
        primaries: &[SocketAddr],
    ) -> Result<(), DnsError> {
        let current = self.cell.version();
        let from = current.as_ref().map(|v| v.provenance.primary);
        let stay = self.failures + 1 < self.settings.policy.failover_after;
        let mut outcome = Err(DnsError::NoPrimary);
        for primary in order(primaries, from, stay) {
            outcome =
                self.try_primary(primary, current.as_deref(), primaries).await;
            match &outcome {
                Ok(()) => break,
                // The others were heard already.
                Err(DnsError::HeldBack { .. }) => break,
                Err(error) => debug!(
                    zone = %self.cell.name,
                    %primary,
                    err.message = error.chain(),
                    "primary not usable"
                ),
            }
        }
        outcome
    }

    async fn try_primary(
        &mut self,
        primary: SocketAddr,
        current: Option<&ZoneVersion>,
        primaries: &[SocketAddr],
    ) -> Result<(), DnsError> {
        let offered = self.probe(primary).await?;
        let since_full = self.last_full.elapsed();
        let suspect = self.empty_since.is_some();
        let policy = &self.settings.policy;
        let reason = match need(
            current, primary, offered, suspect, since_full, policy,
        ) {
            Need::Nothing => {
                self.empty_since = None;
                self.cell.confirm();
                self.touch().await;
                return Ok(());
            }
            Need::Full(reason) => reason,
        };
        let version = self.fetch(primary, reason).await?;
        if version.is_apex_only() {
            return self.judge_empty(version, current, primaries).await;
        }
        self.install(version, current).await;
        Ok(())
    }

    /// Asks for the serial. AA and RA are not looked at.
    async fn probe(&self, primary: SocketAddr) -> Result<Serial, DnsError> {
        let zone = self.cell.apex.to_name();
        let mut query = exchange::query(zone.clone(), RecordType::SOA);
        query.metadata.recursion_desired = false;
        let limit = self.settings.policy.probe_limit;
        let reply =
            exchange::ask(primary, self.settings.source, &query, limit).await?;
        let rcode = reply.metadata.response_code;
        let soa = reply.answers.iter().find_map(|record| match &record.data {
            RData::SOA(soa) if record.name == zone => Some(soa),
            _ => None,
        });
        match (rcode, soa) {
            (ResponseCode::NoError, Some(soa)) => Ok(Serial(soa.serial)),
            (ResponseCode::NoError, None) => Err(DnsError::Rcode {
                server: primary,
                rcode: "no SOA".to_owned(),
            }),
            _ => Err(DnsError::Rcode {
                server: primary,
                rcode: rcode.to_string(),
            }),
        }
    }

    async fn fetch(
        &mut self,
        primary: SocketAddr,
        reason: &'static str,
    ) -> Result<ZoneVersion, DnsError> {
        let settings = Arc::clone(&self.settings);
        let _turn = settings.turns.take(primary).await;
        let started = Instant::now();
        let fetched = axfr::fetch(
            primary,
            settings.source,
            &self.cell.apex,
            settings.zone_limits,
            settings.transfer_limits,
        )
        .await;
        let counters = &settings.counters;
        match &fetched {
            Ok(version) => {
                counters.transfers_ok.fetch_add(1, Ordering::Relaxed);
                self.last_full = Instant::now();
                debug!(
                    zone = %self.cell.name,
                    %primary,
                    serial = %version.serial,
                    reason,
                    took_ms = started.elapsed().as_millis(),
                    "zone transferred"
                );
            }
            Err(_) => {
                counters.transfers_failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        fetched
    }

    /// An empty zone: looks for a populated one at the other primaries.
    async fn judge_empty(
        &mut self,
        empty: ZoneVersion,
        current: Option<&ZoneVersion>,
        primaries: &[SocketAddr],
    ) -> Result<(), DnsError> {
        let server = empty.provenance.primary;
        let mut agreed = false;
        for other in primaries.iter().filter(|other| **other != server) {
            let second = self.fetch(*other, "second opinion on an empty zone");
            match boxed(second).await {
                Ok(version) if version.is_apex_only() => agreed = true,
                Ok(version) => {
                    warn!(
                        zone = %self.cell.name,
                        primary = %server,
                        instead = %other,
                        "empty zone passed over for another primary's"
                    );
                    self.install(version, current).await;
                    return Ok(());
                }
                Err(_) => {}
            }
        }
        let populated = current.is_some_and(|v| !v.is_apex_only());
        if !populated {
            self.install(empty, current).await;
            return Ok(());
        }
        let since = *self.empty_since.get_or_insert_with(Instant::now);
        let waited = since.elapsed() >= self.settings.policy.empty_zone_wait;
        if !agreed && !waited {
            return Err(DnsError::HeldBack { server });
        }
        warn!(
            zone = %self.cell.name,
            primary = %server,
            agreed,
            waited,
            "populated zone replaced by an empty one"
        );
        self.install(empty, current).await;
        Ok(())
    }

    /// Puts the version in force, then on the data folder.
    async fn install(
        &mut self,
        version: ZoneVersion,
        current: Option<&ZoneVersion>,
    ) {
        let zone = self.cell.name.clone();
        self.empty_since = None;
        let unchanged = current.is_some_and(|current| {
            current.serial == version.serial
                && current.provenance.primary == version.provenance.primary
                && current.same_content(&version)
        });
        if unchanged {
            self.cell.confirm();
            self.touch().await;
            return;
        }
        let stepped_back = current.is_some_and(|current| {
            current.provenance.primary == version.provenance.primary
                && current.serial.is_newer_than(version.serial)
        });
        if stepped_back {
            let primary = version.provenance.primary;
            warn!(%zone, %primary, "the primary's serial went back");
        }
        let version = Arc::new(version);
        info!(
            %zone,
            primary = %version.provenance.primary,
            serial = %version.serial,
            records = version.records,
            "zone version in force"
        );
        self.cell.install(Arc::clone(&version));
        let dir = self.settings.store_dir.clone();
        let saving = move || persist::save(&dir, &zone, &version);
        let saved = match tokio::task::spawn_blocking(saving).await {
            Ok(saved) => saved.map_err(|error| error.chain()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(message) = &saved {
            error!(
                zone = %self.cell.name,
                err.message = message,
                "zone not written to disk"
            );
        }
        self.unsaved = saved.is_err();
        self.cell.stored(saved);
        self.last_touch = Some(Instant::now());
    }

    /// Moves the file's time, which says when the version was confirmed; a
    /// version that could not be written is written now.
    async fn touch(&mut self) {
        if self.last_touch.is_some_and(|at| at.elapsed() < TOUCH_EVERY) {
            return;
        }
        self.last_touch = Some(Instant::now());
        let (dir, zone) =
            (self.settings.store_dir.clone(), self.cell.name.clone());
        if self.unsaved
            && let Some(version) = self.cell.version()
        {
            let saving = move || {
                persist::prepare(&dir)?;
                persist::save(&dir, &zone, &version)
            };
            if let Ok(saved) = tokio::task::spawn_blocking(saving).await {
                self.unsaved = saved.is_err();
                self.cell.stored(saved.map_err(|error| error.chain()));
            }
            return;
        }
        let touching = move || persist::touch(&dir, &zone);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(touching).await {
            debug!(
                zone = %self.cell.name,
                err.message = error.to_string(),
                "zone file's time not moved"
            );
        }
    }
}

/// Keeps the future of a nested transfer off the loop's own.
fn boxed<'a, T>(
    future: impl Future<Output = T> + Send + 'a,
) -> std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>> {
    Box::pin(future)
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
