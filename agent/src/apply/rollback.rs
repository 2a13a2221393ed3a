// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The way back: a daemon refused its files, or someone changed files that
//! are being held.

use std::path::Path;

use nix::unistd::{Gid, Uid};
use tokio::time::Instant;

use super::commit::{self, Access, Present};
use super::record::{Kept, UnitRecord};
use super::reload::{self, Declined, Needs};
use super::report::{Outcome, Report};
use super::{
    Applier, DaemonHttp, REFUSAL_PAUSE, REFUSAL_PAUSE_MAX, Reader, Refusal,
    Unit,
};
use crate::host::Host;

impl Applier {
    /// Puts the last good files back, lets the daemon take them, and
    /// remembers not to offer the refused ones again too soon.
    pub(super) async fn roll_back(
        &mut self,
        unit: &Unit<'_>,
        digest: &str,
        reason: String,
        host: &dyn Host,
        http: &dyn DaemonHttp,
        report: &mut Report,
    ) {
        let pause = match self.refusals.get(&unit.key) {
            Some(earlier) => (earlier.pause * 2).min(REFUSAL_PAUSE_MAX),
            None => REFUSAL_PAUSE,
        };
        let refusal = Refusal {
            digest: digest.to_owned(),
            reason: format!("refused by its daemon: {reason}"),
            until: Instant::now() + pause,
            pause,
        };
        for file in &unit.files {
            report.amend(&file.name, Outcome::RolledBack(reason.clone()));
        }
        report.refused(&unit.key, reason);
        self.refusals.insert(unit.key.clone(), refusal);
        let record = self.record.unit(&unit.key);
        if record.kept.is_empty() {
            // Nothing was ever taken: there is no way back, and the daemon
            // runs without us or not at all.
            return;
        }
        if let Err(reason) = self.restore(&record) {
            report.trouble(format!(
                "could not put the last good files of {} back: {reason}",
                unit.key
            ));
            return;
        }
        self.take_back(unit, host, http, report).await;
    }

    /// Lets the daemon take the last good files, which are in place again.
    /// Repeated by every pass until it has.
    pub(super) async fn take_back(
        &mut self,
        unit: &Unit<'_>,
        host: &dyn Host,
        http: &dyn DaemonHttp,
        report: &mut Report,
    ) {
        let record = self.record.unit(&unit.key);
        let Reader::Daemon(daemon) = unit.reader else { return };
        if record.kept.is_empty() || !record.pending {
            return;
        }
        let needs = Needs { restart: record.restart, enable: record.enable };
        match reload::take(host, http, daemon, needs).await {
            Ok(()) => {
                let record = self.record.unit_mut(&unit.key);
                record.pending = false;
                record.restart = false;
                record.enable = false;
            }
            Err(
                Declined::Refused(reason)
                | Declined::WouldNotStart(reason)
                | Declined::Unavailable(reason),
            ) => report.trouble(format!(
                "{} did not take its last good files back: {reason}",
                unit.key
            )),
        }
    }

    /// While a daemon's files are held back, or cannot even be rendered,
    /// someone may still change those in force: they are put back.
    pub(super) fn restore_drifted(
        &mut self,
        units: &[Unit<'_>],
        report: &mut Report,
    ) {
        for (key, record) in self.record.units_with_copies() {
            let unit = units.iter().find(|unit| unit.key == key);
            let fine = unit.is_some_and(|unit| unit.held.is_none());
            if fine || record.pending {
                continue;
            }
            let drifted = record.kept.iter().any(|(path, kept)| {
                !matches!(
                    commit::look(path),
                    Ok(Present::File { bytes, .. })
                        if commit::sha256(&bytes) == kept.digest
                )
            });
            if !drifted {
                continue;
            }
            match self.restore(&record) {
                Ok(restored) => {
                    for path in restored {
                        report.file(
                            &path.display().to_string(),
                            Some(&path),
                            Outcome::Repaired,
                        );
                    }
                }
                Err(reason) => report.trouble(format!(
                    "could not put the last good files of {key} back: {reason}"
                )),
            }
        }
    }

    /// Writes the kept copies over what differs; returns what it wrote.
    fn restore(
        &mut self,
        record: &UnitRecord,
    ) -> Result<Vec<std::path::PathBuf>, String> {
        let mut restored = Vec::new();
        for (path, kept) in &record.kept {
            if is_kept(path, kept) {
                continue;
            }
            let bytes = self
                .record
                .recall(&kept.digest)
                .map_err(|e| format!("{}: {e}", path.display()))?;
            let access = Access {
                mode: Some(kept.mode),
                owner: Some((
                    Uid::from_raw(kept.owner.0),
                    Gid::from_raw(kept.owner.1),
                )),
            };
            commit::write_with(path, &bytes, access)
                .map_err(|e| format!("{}: {e}", path.display()))?;
            self.record.set_committed(path, kept.digest.clone());
            restored.push(path.clone());
        }
        Ok(restored)
    }
}

fn is_kept(path: &Path, kept: &Kept) -> bool {
    matches!(
        commit::look(path),
        Ok(Present::File { bytes, .. }) if commit::sha256(&bytes) == kept.digest
    )
}
