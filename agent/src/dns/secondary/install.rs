// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the secondary does with a version that is believed: into force at
//! once; `saver.rs` brings it onto the data folder.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{info, warn};

use super::refresh::SCHEDULED;
use super::transfer::Secondary;
use crate::dns::store::ZoneVersion;
use crate::dns::store::changes::differing;

impl Secondary {
    /// Puts the version in force.
    pub(crate) async fn install(
        &mut self,
        version: ZoneVersion,
        current: Option<&Arc<ZoneVersion>>,
        reason: &'static str,
    ) {
        let zone = self.cell.name.clone();
        let version = Arc::new(version);
        self.doubt_since = None;
        self.cell.hold_back(None);
        let sibling = current.filter(|current| {
            current.provenance.primary == version.provenance.primary
        });
        if let Some(current) = sibling
            && current.serial == version.serial
        {
            let sets = compared(current, &version).await;
            if sets == 0 {
                self.cell.confirm();
                self.saver.confirmed();
                return;
            }
            if reason == SCHEDULED {
                self.diverged(sets, &version);
            }
        }
        if sibling.is_some_and(|held| held.serial.is_newer_than(version.serial))
        {
            let primary = version.provenance.primary;
            warn!(%zone, %primary, "the primary's serial went back");
        }
        info!(
            %zone,
            primary = %version.provenance.primary,
            serial = %version.serial,
            records = version.records,
            reason,
            "zone version in force"
        );
        self.cell.install(version);
        self.saver.changed();
    }

    /// The whole zone is not what differences, or a restart of the primary's,
    /// left us with.
    fn diverged(&self, sets: usize, whole: &ZoneVersion) {
        warn!(
            zone = %self.cell.name,
            primary = %whole.provenance.primary,
            serial = %whole.serial,
            sets,
            "our zone differed from the primary's; the primary's is taken"
        );
        let counters = &self.settings.counters;
        counters.divergences.fetch_add(1, Ordering::Relaxed);
        let sets = u64::try_from(sets).unwrap_or(u64::MAX);
        counters.divergent_sets.fetch_add(sets, Ordering::Relaxed);
    }
}

/// How many sets differ. Walks both zones: not on an async thread.
async fn compared(held: &Arc<ZoneVersion>, whole: &Arc<ZoneVersion>) -> usize {
    let (held, whole) = (Arc::clone(held), Arc::clone(whole));
    let comparing = move || match held.same_content(&whole) {
        true => 0,
        false => differing(&held, &whole),
    };
    // A walk that broke off has not shown that they are the same.
    tokio::task::spawn_blocking(comparing).await.unwrap_or(1)
}
