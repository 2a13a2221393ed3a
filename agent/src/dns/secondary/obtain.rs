// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! How the secondary brings a version over: what has changed, or the whole
//! zone, or the whole zone because what has changed is of no use.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use tokio::time::Instant;
use tracing::{debug, info};

use super::fetch::Target;
use super::incoming::{Ask, Incoming};
use super::refresh::jitter;
use super::transfer::Secondary;
use crate::dns::error::DnsError;
use crate::dns::store::build::ZoneBuilder;
use crate::dns::store::changes::{self, Changes};
use crate::dns::store::{Provenance, Serial, ZoneVersion};
use crate::dns::tally::Outcome;

impl Secondary {
    /// What has changed from `held` up to the serial `shown`; the whole zone
    /// where that is of no use.
    pub(crate) async fn changes_or_all(
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
    pub(crate) async fn all(
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
        self.cell.outcomes.count(Outcome::Axfr);
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
        self.cell.outcomes.count(Outcome::Ixfr);
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
}

fn provenance(primary: SocketAddr) -> Provenance {
    Provenance { primary, changed: SystemTime::now() }
}
