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

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::fetch::{Target, TransferLimits};
use super::guard;
use super::health::Health;
use super::refresh::{Need, Offer, RefreshPolicy, jitter, need, next_round};
use super::saver::{SavePolicy, Saver};
use super::turns::Turns;
use crate::dns::catalog::ZoneCell;
use crate::dns::counters::Counters;
use crate::dns::error::DnsError;
use crate::dns::store::{Serial, ZoneLimits, ZoneVersion};
use crate::dns::tally::Outcome;
use crate::model::primary::Primary;

/// What all zones' secondaries share.
pub(crate) struct TransferSettings {
    pub(crate) store_dir: PathBuf,
    pub(crate) source: Option<IpAddr>,
    pub(crate) zone_limits: ZoneLimits,
    pub(crate) transfer_limits: TransferLimits,
    pub(crate) policy: RefreshPolicy,
    pub(crate) save: SavePolicy,
    pub(crate) counters: Arc<Counters>,
    pub(crate) turns: Turns,
}

/// The refresh loop of one zone. `obtain.rs` has how a version comes over,
/// `judge.rs` and `install.rs` what becomes of it.
pub(crate) struct Secondary {
    pub(crate) cell: Arc<ZoneCell>,
    pub(crate) settings: Arc<TransferSettings>,
    pub(crate) health: Health,
    /// Bad rounds in a row.
    failures: u32,
    /// Since when primaries show a doubtful zone instead of ours.
    pub(crate) doubt_since: Option<Instant>,
    /// When the next full transfer is due if nothing else asks for one.
    pub(crate) full_due: Instant,
    pub(crate) saver: Arc<Saver>,
    expiry_said: bool,
}

impl Secondary {
    pub(crate) fn new(
        cell: Arc<ZoneCell>,
        settings: Arc<TransferSettings>,
    ) -> Self {
        let policy = &settings.policy;
        let full_due = Instant::now() + jitter(policy.full_every);
        let dir = settings.store_dir.clone();
        let saver = Saver::new(Arc::clone(&cell), dir, settings.save);
        cell.bound_expire(policy.expire_min..=policy.expire_max);
        Self {
            cell,
            settings,
            health: Health::default(),
            failures: 0,
            doubt_since: None,
            full_due,
            saver: Arc::new(saver),
            expiry_said: false,
        }
    }

    /// Refreshes the zone until told to stop; then brings what is not there
    /// yet onto the data folder.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let saver = Arc::clone(&self.saver);
        tokio::select! {
            () = self.refresh(stop) => {}
            // Never ends; what it was about is left to `flush`.
            () = saver.run() => {}
        }
        saver.flush().await;
    }

    async fn refresh(mut self, stop: CancellationToken) {
        let cell = Arc::clone(&self.cell);
        let mut primaries = cell.primaries.subscribe();
        loop {
            self.watch_expiry();
            let known = primaries.borrow_and_update().clone();
            let began = Instant::now();
            let outcome = tokio::select! {
                outcome = self.round(&known) => outcome,
                // An interrupted round has changed nothing, or has already
                // put a whole version in force.
                () = stop.cancelled() => return,
            };
            let ended = Instant::now();
            let delay = self.settle(outcome);
            cell.rounds.send_replace(Some(began));
            // Each arm but the first only ends the wait; nothing is lost
            // when another one wins. Without primaries a round does nothing,
            // but the zone expires all the same.
            tokio::select! {
                () = stop.cancelled() => return,
                _ = primaries.changed() => {}
                () = sleep(jitter(delay)) => {}
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
    pub(crate) fn settle(&mut self, outcome: Result<(), DnsError>) -> Duration {
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

    pub(crate) async fn round(
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
                    self.cell.outcomes.count(error.outcome());
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
            self.cell.outcomes.count(Outcome::UpToDate);
            self.saver.confirmed();
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
                (Need::Changes | Need::Nothing, _) => return Ok(()),
            }
        };
        let held = current.map(Arc::as_ref);
        if guard::is_doubtful(held, &version, &settings.policy) {
            return self.judge(version, current, primaries).await;
        }
        self.install(version, current, reason).await;
        Ok(())
    }

    pub(crate) fn target(&self, primary: &Primary) -> Target {
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
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
