// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The secondary: keeps one zone as its primaries have it.
//!
//! A round asks a primary for its SOA and, if that is newer, for what has
//! changed, or for the whole zone. What never changes: readers see the old
//! version until the new one is whole; a round that fails, or is interrupted,
//! changes nothing.
//!
//! Each CNS instance counts its own serials, so a serial is compared, and
//! differences are asked for, only where the version came from. We stay with
//! that primary while it answers; after `failover_after` bad rounds the next
//! one is taken, by a full transfer, and its serial adopted even if lower.
//!
//! Differences that are odd in any way are thrown away and the whole zone is
//! asked for (`incoming.rs` says which are). Now and then the whole zone is
//! compared with what the differences made of it; the whole one wins.
//!
//! A zone that lost everything, or much, replaces ours only when another
//! primary agrees, or when it has stayed so for `hold_back` (`guard.rs`).

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::build::ZoneBuilder;
use super::catalog::ZoneCell;
use super::changes::{self, Changes};
use super::counters::Counters;
use super::error::DnsError;
use super::fetch::{Target, TransferLimits};
use super::guard;
use super::health::Health;
use super::incoming::{Ask, Incoming};
use super::refresh::{Need, Offer, RefreshPolicy, jitter, need, next_round};
use super::store::{Provenance, Serial, ZoneLimits, ZoneVersion};
use super::turns::Turns;
use crate::model::primary::Primary;

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

/// The refresh loop of one zone. `install.rs` has what it does with a version
/// that is believed.
pub(crate) struct Secondary {
    pub(super) cell: Arc<ZoneCell>,
    pub(super) settings: Arc<TransferSettings>,
    pub(super) health: Health,
    /// Bad rounds in a row.
    failures: u32,
    /// Since when primaries show a doubtful zone instead of ours.
    pub(super) doubt_since: Option<Instant>,
    /// When the next full transfer is due if nothing else asks for one.
    full_due: Instant,
    pub(super) last_touch: Option<Instant>,
    expiry_said: bool,
    /// The version in force is not on disk: the write failed.
    pub(super) unsaved: bool,
}

impl Secondary {
    pub(crate) fn new(
        cell: Arc<ZoneCell>,
        settings: Arc<TransferSettings>,
    ) -> Self {
        let policy = &settings.policy;
        let full_due = Instant::now() + jitter(policy.full_every);
        cell.bound_expire(policy.expire_min..=policy.expire_max);
        Self {
            cell,
            settings,
            health: Health::default(),
            failures: 0,
            doubt_since: None,
            full_due,
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
            self.watch_expiry();
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
    pub(super) fn settle(&mut self, outcome: Result<(), DnsError>) -> Duration {
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
                    // "Stayed so" means seen so all the time.
                    self.doubt_since = None;
                    self.cell.hold_back(None);
                }
                let message = error.chain();
                if self.failures == 0 {
                    warn!(%zone, err.message = message, "refresh failed");
                } else {
                    debug!(%zone, err.message = message, "refresh failed");
                }
                self.failures = self.failures.saturating_add(1);
                self.cell.refresh_failed(message);
                self.watch_expiry();
            }
        }
        let timers = self.cell.held().map(|version| version.timers);
        next_round(timers, self.failures, &self.settings.policy)
    }

    /// A zone past its expire is loudly served, or not, by policy.
    fn watch_expiry(&mut self) {
        if self.expiry_said || !self.cell.is_expired() {
            return;
        }
        self.expiry_said = true;
        let zone = &self.cell.name;
        if self.settings.policy.serve_expired {
            error!(%zone, "zone is expired, and served all the same");
        } else {
            error!(%zone, "zone is expired, and no longer served");
            self.cell.withdraw();
        }
    }

    pub(super) async fn round(
        &mut self,
        primaries: &[Primary],
    ) -> Result<(), DnsError> {
        self.health.follow(primaries);
        let current = self.cell.held();
        let from = current.as_ref().map(|v| v.provenance.primary);
        let stay = self.failures + 1 < self.settings.policy.failover_after;
        let mut outcome = Err(DnsError::NoPrimary);
        for primary in self.health.order(primaries, from, stay) {
            outcome =
                self.try_primary(&primary, current.as_ref(), primaries).await;
            match &outcome {
                Ok(()) => self.health.succeeded(primary.address),
                Err(error) => {
                    self.health.failed(primary.address, error.chain());
                }
            }
            match &outcome {
                Ok(()) => break,
                // The others were heard already.
                Err(DnsError::HeldBack { .. }) => break,
                Err(error) => debug!(
                    zone = %self.cell.name,
                    primary = %primary.address,
                    err.message = error.chain(),
                    "primary not usable"
                ),
            }
        }
        self.cell.primaries_did(self.health.status(primaries));
        outcome
    }

    async fn try_primary(
        &mut self,
        primary: &Primary,
        current: Option<&Arc<ZoneVersion>>,
        primaries: &[Primary],
    ) -> Result<(), DnsError> {
        let settings = Arc::clone(&self.settings);
        let target = self.target(primary);
        let serial = target.serial(settings.policy.probe_limit).await?;
        self.health.showed(primary.address, serial);
        let wanted =
            need(current.map(Arc::as_ref), self.offer(primary.address, serial));
        if wanted == Need::Nothing {
            self.doubt_since = None;
            self.cell.hold_back(None);
            self.cell.confirm();
            self.touch().await;
            return Ok(());
        }
        let (version, reason) = {
            let _turn = settings.turns.take(primary.address).await;
            match (wanted, current) {
                (Need::Changes, Some(held)) => {
                    self.changes_or_all(&target, held, serial).await?
                }
                (Need::Full(reason), _) => {
                    (self.all(&target, reason).await?, reason)
                }
                _ => (self.all(&target, "no version yet").await?, ""),
            }
        };
        let current = current.map(Arc::as_ref);
        if guard::is_doubtful(current, &version, &settings.policy) {
            return self.judge(version, current, primaries).await;
        }
        self.install(version, current, reason).await;
        Ok(())
    }

    fn target(&self, primary: &Primary) -> Target {
        Target::new(primary, self.settings.source, &self.cell.apex)
    }

    fn offer(&self, primary: SocketAddr, serial: Serial) -> Offer {
        let differences = self.health.gives_differences(primary);
        Offer {
            primary,
            serial,
            suspect: self.doubt_since.is_some(),
            full_due: Instant::now() >= self.full_due,
            gives_differences: self.settings.policy.incremental && differences,
        }
    }

    /// What has changed from `held` up to the serial `shown`; the whole zone
    /// where that is of no use.
    async fn changes_or_all(
        &mut self,
        target: &Target,
        held: &Arc<ZoneVersion>,
        shown: Serial,
    ) -> Result<(ZoneVersion, &'static str), DnsError> {
        let why = match self.changes(target, held, shown).await {
            Ok(version) => return Ok((version, "newer serial")),
            Err(error) => error,
        };
        // Whatever went wrong: the next one is a full one.
        self.health.trust_differences(target.server, false);
        match why {
            DnsError::Differences { .. } => {
                let odd = &self.settings.counters.differences_odd;
                odd.fetch_add(1, Ordering::Relaxed);
                info!(
                    zone = %self.cell.name,
                    primary = %target.server,
                    err.message = why.chain(),
                    "the whole zone is asked for"
                );
            }
            // It may not know IXFR, or not for us.
            DnsError::Rcode { .. }
            | DnsError::NotAllowed { .. }
            | DnsError::Transfer { .. }
            | DnsError::Message { .. } => {}
            _ => return Err(why),
        }
        let reason = "differences were of no use";
        Ok((self.all(target, reason).await?, reason))
    }

    async fn changes(
        &mut self,
        target: &Target,
        held: &Arc<ZoneVersion>,
        shown: Serial,
    ) -> Result<ZoneVersion, DnsError> {
        let started = Instant::now();
        let odd = |reason: String| DnsError::Differences {
            server: target.server,
            reason,
        };
        let version = match self
            .receive(target, Ask::Since(held.serial))
            .await?
        {
            // The SOA we were just shown was newer.
            Incoming::Current => {
                return Err(odd("nothing new after a newer SOA".to_owned()));
            }
            Incoming::Full(builder) => {
                let version = self.build(target, builder).await?;
                self.took_all(target, &version, started, "instead of changes");
                version
            }
            Incoming::Changes(changes) => {
                if shown.is_newer_than(changes.to) {
                    let why = "the chain ends before the serial shown";
                    return Err(odd(why.to_owned()));
                }
                let steps = changes.steps.len();
                let version = self.apply(target, held, changes).await?;
                self.took_changes(target, &version, started, steps);
                version
            }
        };
        Ok(version)
    }

    /// The whole zone.
    async fn all(
        &mut self,
        target: &Target,
        reason: &'static str,
    ) -> Result<ZoneVersion, DnsError> {
        let started = Instant::now();
        let version = match self.receive(target, Ask::Full).await? {
            Incoming::Full(builder) => self.build(target, builder).await?,
            _ => {
                return Err(DnsError::Transfer {
                    server: target.server,
                    reason: "differences nobody asked for".to_owned(),
                });
            }
        };
        self.took_all(target, &version, started, reason);
        Ok(version)
    }

    async fn receive(
        &self,
        target: &Target,
        ask: Ask,
    ) -> Result<Incoming, DnsError> {
        let settings = &self.settings;
        let (zone, times) = (settings.zone_limits, settings.transfer_limits);
        let received = target.transfer(ask, zone, times).await;
        let odd = matches!(received, Err(DnsError::Differences { .. }));
        if received.is_err() && !odd {
            let failed = &settings.counters.transfers_failed;
            failed.fetch_add(1, Ordering::Relaxed);
        }
        received
    }

    fn took_all(
        &mut self,
        target: &Target,
        version: &ZoneVersion,
        started: Instant,
        reason: &'static str,
    ) {
        let settings = &self.settings;
        settings.counters.transfers_ok.fetch_add(1, Ordering::Relaxed);
        self.full_due = Instant::now() + jitter(settings.policy.full_every);
        self.health.trust_differences(target.server, true);
        debug!(
            zone = %self.cell.name,
            primary = %target.server,
            serial = %version.serial,
            reason,
            took_ms = started.elapsed().as_millis(),
            "zone transferred"
        );
    }

    fn took_changes(
        &self,
        target: &Target,
        version: &ZoneVersion,
        started: Instant,
        steps: usize,
    ) {
        let counters = &self.settings.counters;
        counters.transfers_ok.fetch_add(1, Ordering::Relaxed);
        counters.transfers_incremental.fetch_add(1, Ordering::Relaxed);
        debug!(
            zone = %self.cell.name,
            primary = %target.server,
            serial = %version.serial,
            steps,
            took_ms = started.elapsed().as_millis(),
            "differences transferred"
        );
    }

    /// Sorting a large zone takes a while: not on an async thread.
    async fn build(
        &self,
        target: &Target,
        builder: ZoneBuilder,
    ) -> Result<ZoneVersion, DnsError> {
        let server = target.server;
        let refused = |reason| DnsError::Transfer { server, reason };
        let from = provenance(server);
        tokio::task::spawn_blocking(move || builder.finish(from))
            .await
            .map_err(|error| refused(error.to_string()))?
            .map_err(|error| refused(error.to_string()))
    }

    async fn apply(
        &self,
        target: &Target,
        held: &Arc<ZoneVersion>,
        changes: Changes,
    ) -> Result<ZoneVersion, DnsError> {
        let server = target.server;
        let odd = |reason| DnsError::Differences { server, reason };
        let (held, limits) = (Arc::clone(held), self.settings.zone_limits);
        let from = provenance(server);
        let applying = move || changes::apply(&held, &changes, limits, from);
        let applied = tokio::task::spawn_blocking(applying)
            .await
            .map_err(|error| odd(error.to_string()))?
            .map_err(|error| odd(error.to_string()))?;
        let (absent, present) = (applied.absent, applied.present);
        let misfits = u64::try_from(absent + present).unwrap_or(u64::MAX);
        let counter = &self.settings.counters.misfits;
        counter.fetch_add(misfits, Ordering::Relaxed);
        if misfits > 0 && self.settings.policy.strict_differences {
            return Err(odd(format!(
                "{absent} removals of what is absent, {present} additions of \
                 what is present"
            )));
        }
        Ok(applied.version)
    }

    /// A doubtful zone: looks for a better one at the other primaries.
    async fn judge(
        &mut self,
        doubtful: ZoneVersion,
        current: Option<&ZoneVersion>,
        primaries: &[Primary],
    ) -> Result<(), DnsError> {
        let settings = Arc::clone(&self.settings);
        let server = doubtful.provenance.primary;
        let mut agreed = false;
        for other in primaries.iter().filter(|other| **other != server) {
            let target = self.target(other);
            let _turn = settings.turns.take(other.address).await;
            let second = self.all(&target, "second opinion");
            match boxed(second).await {
                Ok(version)
                    if guard::is_doubtful(
                        current,
                        &version,
                        &settings.policy,
                    ) =>
                {
                    agreed = true;
                }
                Ok(version) => {
                    warn!(
                        zone = %self.cell.name,
                        primary = %server,
                        instead = %other.address,
                        "doubtful zone passed over for another primary's"
                    );
                    self.install(version, current, "second opinion").await;
                    return Ok(());
                }
                Err(error) => {
                    self.health.failed(other.address, error.chain());
                }
            }
        }
        let Some(held) = current.filter(|held| !held.is_apex_only()) else {
            self.install(doubtful, current, "nothing better").await;
            return Ok(());
        };
        let since = *self.doubt_since.get_or_insert_with(Instant::now);
        let waited = since.elapsed() >= settings.policy.hold_back;
        if !agreed && !waited {
            return Err(self.held_back(&doubtful, held, since));
        }
        warn!(
            zone = %self.cell.name,
            primary = %server,
            records = doubtful.records,
            instead_of = held.records,
            agreed,
            waited,
            "zone replaced by a much smaller one"
        );
        self.install(doubtful, current, "believed").await;
        Ok(())
    }

    fn held_back(
        &self,
        doubtful: &ZoneVersion,
        held: &ZoneVersion,
        since: Instant,
    ) -> DnsError {
        self.settings.counters.held_back.fetch_add(1, Ordering::Relaxed);
        self.cell.hold_back(Some(guard::HeldBack {
            primary: doubtful.provenance.primary,
            serial: doubtful.serial,
            records: doubtful.records,
            waiting: since.elapsed(),
        }));
        DnsError::HeldBack {
            server: doubtful.provenance.primary,
            records: doubtful.records,
            held: held.records,
        }
    }
}

fn provenance(primary: SocketAddr) -> Provenance {
    Provenance { primary, changed: SystemTime::now() }
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
