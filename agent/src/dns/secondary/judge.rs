// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the secondary does with a version that `guard.rs` doubts: hears the
//! other primaries, waits, believes.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;
use tracing::warn;

use super::guard;
use super::transfer::Secondary;
use crate::dns::error::DnsError;
use crate::dns::store::ZoneVersion;
use crate::model::primary::Primary;

impl Secondary {
    /// A doubtful zone: looks for a better one at the other primaries.
    pub(crate) async fn judge(
        &mut self,
        doubtful: ZoneVersion,
        current: Option<&Arc<ZoneVersion>>,
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
                        current.map(Arc::as_ref),
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

/// Keeps the future of a nested transfer off the loop's own.
fn boxed<'a, T>(
    future: impl Future<Output = T> + Send + 'a,
) -> std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>> {
    Box::pin(future)
}
