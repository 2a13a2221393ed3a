// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the secondary does with a version that is believed: into force first,
//! then onto the data folder.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::refresh::SCHEDULED;
use super::transfer::Secondary;
use crate::dns::store::ZoneVersion;
use crate::dns::store::changes::differing;
use crate::dns::store::persist;

/// The file's time is moved at most this often.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

impl Secondary {
    /// Puts the version in force, then on the data folder.
    pub(crate) async fn install(
        &mut self,
        version: ZoneVersion,
        current: Option<&ZoneVersion>,
        reason: &'static str,
    ) {
        let zone = self.cell.name.clone();
        self.doubt_since = None;
        self.cell.hold_back(None);
        let sibling = current.filter(|current| {
            current.provenance.primary == version.provenance.primary
        });
        if let Some(current) = sibling
            && current.serial == version.serial
        {
            if current.same_content(&version) {
                self.cell.confirm();
                self.touch().await;
                return;
            }
            if reason == SCHEDULED {
                self.diverged(current, &version);
            }
        }
        if sibling.is_some_and(|held| held.serial.is_newer_than(version.serial))
        {
            let primary = version.provenance.primary;
            warn!(%zone, %primary, "the primary's serial went back");
        }
        let version = Arc::new(version);
        info!(
            %zone,
            primary = %version.provenance.primary,
            serial = %version.serial,
            records = version.records,
            reason,
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

    /// The whole zone is not what differences, or a restart of the primary's,
    /// left us with.
    fn diverged(&self, held: &ZoneVersion, whole: &ZoneVersion) {
        let sets = differing(held, whole);
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

    /// Moves the file's time, which says when the version was confirmed; a
    /// version that could not be written is written now.
    pub(crate) async fn touch(&mut self) {
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
