// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Files in memory become files in force.
//!
//! One pass: look at every target; stage and check what differs; commit;
//! then each reader takes its files, once, one reader after the other. Files
//! that one daemon reads go together: one that fails holds the others back.
//! What never changes, whatever happens in between: a target holds the old
//! content or the new one, whole and approved by its checker; the last good
//! files stay or come back when a daemon refuses the new ones; what is left
//! to do survives a kill (see `record.rs`).
//!
//! Considered and refused: one transaction over all files. A zone's files
//! have many readers, and one bad template must not hold up the rest.

pub mod commit;
mod record;
mod reload;
mod report;
mod retire;
mod rollback;
mod unit;
mod validate;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::host::{Exec, Host};
use crate::log::chain;
use crate::render::{OnChange, Output, Rendered, Then};
use commit::{Access, Present, Staged};
use record::{Kept, Record};
use reload::{Declined, Needs};
use unit::{Change, Reader, Unit, units};

pub use reload::{DaemonHttp, HttpFuture};
pub use report::{FileReport, Outcome, Report};

/// First pause before refused files are offered again.
const REFUSAL_PAUSE: Duration = Duration::from_secs(30);

/// Longest such pause.
const REFUSAL_PAUSE_MAX: Duration = Duration::from_secs(600);

/// First and longest pause after a post command failed.
const COMMAND_PAUSE: Duration = Duration::from_secs(1);
const COMMAND_PAUSE_MAX: Duration = Duration::from_secs(1800);

/// Puts files in force and remembers what it did.
#[derive(Debug)]
pub struct Applier {
    record: Record,
    refusals: HashMap<String, Refusal>,
    pauses: HashMap<String, Pause>,
    command_timeout: Duration,
    leaves_daemons: bool,
}

/// Files a reader said no to; not offered again before `until`.
#[derive(Debug)]
struct Refusal {
    digest: String,
    reason: String,
    until: Instant,
    pause: Duration,
}

/// A post command that failed is not run again before `until`: it may have
/// restarted half of what it names, each time.
#[derive(Debug)]
struct Pause {
    digest: String,
    reason: String,
    until: Instant,
    pause: Duration,
}

impl Applier {
    /// Continues from the record in `dir`. A post command may take
    /// `command_timeout`.
    pub fn load(dir: &Path, command_timeout: Duration) -> Self {
        Self {
            record: Record::load(dir),
            refusals: HashMap::new(),
            pauses: HashMap::new(),
            command_timeout,
            leaves_daemons: false,
        }
    }

    /// From now on daemons are neither started nor reloaded nor retired; what
    /// they are to take stays pending for whoever continues from the record.
    pub fn leave_daemons(&mut self) {
        self.leaves_daemons = true;
    }

    /// One pass: brings `output` in force as far as it goes.
    pub async fn pass(
        &mut self,
        output: &Output,
        host: &dyn Host,
        http: &dyn DaemonHttp,
    ) -> Report {
        let mut report = Report::default();
        for failed in &output.failed {
            let outcome = Outcome::Failed(failed.reason.clone());
            report.file(&failed.name, None, outcome);
        }
        ensure_directories(output, &mut report);
        let mut units = units(output, &mut report);
        for unit in &mut units {
            self.stage_unit(unit, host, &mut report).await;
        }
        self.commit_units(&mut units, &mut report);
        let mut ran = HashMap::new();
        for unit in &units {
            self.settle_unit(unit, host, http, &mut ran, &mut report).await;
        }
        self.restore_drifted(&units, &mut report);
        let unwanted = output.unwanted.iter().filter(|_| !self.leaves_daemons);
        for daemon in unwanted.collect::<Vec<_>>() {
            self.retire(daemon, output, host, &mut report).await;
        }
        if let Err(error) = self.record.save() {
            report.trouble(format!(
                "could not save the record of applied files: {error}"
            ));
        } else {
            self.record.forget_unused_copies();
        }
        report
    }

    /// Looks at a unit's targets; stages and checks what differs.
    async fn stage_unit(
        &mut self,
        unit: &mut Unit<'_>,
        host: &dyn Host,
        report: &mut Report,
    ) {
        if let Some(reason) = self.refused(unit) {
            unit.held = Some(reason);
        }
        let mut outcomes = Vec::with_capacity(unit.files.len());
        for at in 0..unit.files.len() {
            let (file, digest) = (unit.files[at], &unit.digests[at]);
            let outcome = match &unit.held {
                Some(reason) => Outcome::Held(reason.clone()),
                None => match self.stage_file(file, digest, host).await {
                    Ok(None) => Outcome::Unchanged,
                    Ok(Some((staged, change))) => {
                        unit.staged.push((at, staged, change));
                        match change {
                            Change::Absent | Change::New => Outcome::Written,
                            Change::Gone | Change::Drift | Change::Access => {
                                Outcome::Repaired
                            }
                        }
                    }
                    Err(reason) => {
                        unit.held = Some(format!("{}: {reason}", file.name));
                        Outcome::Failed(reason)
                    }
                },
            };
            outcomes.push(outcome);
        }
        if let Some(reason) = &unit.held {
            // Dropping removes what was staged.
            unit.staged.clear();
            for outcome in &mut outcomes {
                if matches!(outcome, Outcome::Written | Outcome::Repaired) {
                    *outcome = Outcome::Held(reason.clone());
                }
            }
        }
        for (file, outcome) in unit.files.iter().zip(outcomes) {
            report.file(&file.name, Some(&file.target), outcome);
        }
    }

    /// Stages one file if its target differs, and says how.
    async fn stage_file(
        &self,
        file: &Rendered,
        digest: &str,
        host: &dyn Host,
    ) -> Result<Option<(Staged, Change)>, String> {
        let owner = file.owner.as_deref().map(commit::owner).transpose()?;
        let mut access = Access { mode: file.mode, owner };
        let present = commit::look(&file.target)
            .map_err(|e| format!("could not read the target: {e}"))?;
        if present.is(&file.bytes, access) {
            commit::sweep(&file.target);
            return Ok(None);
        }
        if access.mode.is_none() && present == Present::Absent {
            // Readable by all, as before.
            access.mode = Some(if file.secret { 0o600 } else { 0o644 });
        }
        let ours = self.record.committed(&file.target) == Some(digest);
        let change = match &present {
            Present::Absent if ours => Change::Gone,
            Present::Absent => Change::Absent,
            Present::File { bytes, .. } if *bytes == file.bytes => {
                Change::Access
            }
            Present::File { .. } if ours => Change::Drift,
            Present::File { .. } => Change::New,
        };
        let staged = commit::stage(&file.target, &file.bytes, access)
            .map_err(|e| format!("could not stage: {e}"))?;
        validate::validate(host, &file.check, staged.path())
            .await
            .map_err(|e| format!("its checker refused: {}", chain(&e)))?;
        Ok(Some((staged, change)))
    }

    /// Renames everything staged into place, after the record says so.
    fn commit_units(&mut self, units: &mut [Unit<'_>], report: &mut Report) {
        for unit in units.iter().filter(|unit| !unit.staged.is_empty()) {
            let record = self.record.unit_mut(&unit.key);
            for (at, _, change) in &unit.staged {
                // A running daemon still has the flags we put back.
                let flags = matches!(
                    unit.files[*at].then,
                    Then::Daemon(_, OnChange::Restart)
                );
                record.pending |= *change != Change::Access;
                record.restart |=
                    flags && matches!(change, Change::Absent | Change::New);
            }
            // All gone at once: a new root file system.
            record.enable |= unit.staged.len() == unit.files.len()
                && unit.staged.iter().all(|(_, _, change)| {
                    matches!(change, Change::Absent | Change::Gone)
                });
        }
        if let Err(error) = self.record.save() {
            // Without the mark a kill could leave a daemon behind its files.
            for unit in units.iter_mut().filter(|u| !u.staged.is_empty()) {
                unit.staged.clear();
                let reason = format!("could not save the record: {error}");
                for file in &unit.files {
                    report.amend(&file.name, Outcome::Failed(reason.clone()));
                }
                unit.held = Some(reason);
            }
            return;
        }
        let mut folders = BTreeSet::new();
        for unit in units {
            for (at, staged, _) in std::mem::take(&mut unit.staged) {
                let file = unit.files[at];
                match staged.commit() {
                    Ok(touched) => {
                        let digest = unit.digests[at].clone();
                        self.record.set_committed(&file.target, digest);
                        folders.extend(touched);
                    }
                    Err(error) => {
                        let reason = format!("could not commit: {error}");
                        report
                            .amend(&file.name, Outcome::Failed(reason.clone()));
                        unit.held = Some(format!("{}: {reason}", file.name));
                    }
                }
            }
        }
        for folder in folders {
            if let Err(error) = commit::sync_dir(&folder) {
                report.trouble(format!(
                    "could not sync {}: {error}",
                    folder.display()
                ));
            }
        }
    }

    /// Lets the unit's reader take the files, if it has not taken these.
    /// Of equal commands in one pass the first is run for all: `ran` has
    /// how each ended.
    async fn settle_unit<'a>(
        &mut self,
        unit: &Unit<'a>,
        host: &dyn Host,
        http: &dyn DaemonHttp,
        ran: &mut HashMap<&'a str, Result<(), Declined>>,
        report: &mut Report,
    ) {
        if unit.held.is_some() {
            if self.refusals.contains_key(&unit.key)
                || self.record.unit(&unit.key).would_not_start.is_some()
            {
                self.take_back(unit, host, http, report).await;
            }
            return;
        }
        let digest = unit.digest();
        let started_with = unit.started_with();
        let record = self.record.unit(&unit.key);
        if !record.pending && record.in_force.as_deref() == Some(&digest) {
            return;
        }
        if self.leaves_daemons && matches!(unit.reader, Reader::Daemon(_)) {
            self.record.unit_mut(&unit.key).pending = true;
            return;
        }
        let taken = match &unit.reader {
            Reader::Nobody => Ok(()),
            Reader::Command(command) => match ran.get(command) {
                Some(ended) => ended.clone(),
                None => {
                    let ended = self
                        .run_or_wait(&unit.key, &digest, command, host)
                        .await;
                    ran.insert(command, ended.clone());
                    ended
                }
            },
            Reader::Daemon(daemon) => {
                let never = record.in_force.is_none();
                let needs = Needs {
                    restart: record.restart
                        || record.started_with != started_with,
                    enable: record.enable || never,
                };
                reload::take(host, http, daemon, needs).await
            }
        };
        match taken {
            Ok(()) => {
                if !matches!(unit.reader, Reader::Nobody) {
                    report.taken(&unit.key);
                }
                self.refusals.remove(&unit.key);
                self.keep_copies(unit, report);
                let record = self.record.unit_mut(&unit.key);
                record.pending = false;
                record.restart = false;
                record.enable = false;
                record.would_not_start = None;
                record.in_force = Some(digest);
                record.started_with = started_with;
            }
            Err(Declined::Unavailable(reason)) => {
                // Stays pending; the files stay, they passed their checks.
                self.record.unit_mut(&unit.key).pending = true;
                report.waiting(&unit.key, reason);
            }
            Err(Declined::Refused(reason)) => {
                self.roll_back(unit, &digest, reason, host, http, report).await;
            }
            Err(Declined::WouldNotStart(reason)) => {
                self.record.unit_mut(&unit.key).would_not_start =
                    Some((digest.clone(), reason.clone()));
                self.roll_back(unit, &digest, reason, host, http, report).await;
            }
        }
    }

    /// Runs a post command, unless it failed for these files a moment ago.
    async fn run_or_wait(
        &mut self,
        key: &str,
        digest: &str,
        command: &str,
        host: &dyn Host,
    ) -> Result<(), Declined> {
        let earlier =
            self.pauses.get(key).filter(|pause| pause.digest == digest);
        if let Some(earlier) = earlier
            && Instant::now() < earlier.until
        {
            return Err(Declined::Unavailable(earlier.reason.clone()));
        }
        let pause = earlier.map_or(COMMAND_PAUSE, |earlier| {
            (earlier.pause * 2).min(COMMAND_PAUSE_MAX)
        });
        let ended = self.run_command(command, host).await;
        match &ended {
            Err(Declined::Unavailable(reason)) => {
                let pause = Pause {
                    digest: digest.to_owned(),
                    reason: reason.clone(),
                    until: Instant::now() + pause,
                    pause,
                };
                self.pauses.insert(key.to_owned(), pause);
            }
            _ => {
                self.pauses.remove(key);
            }
        }
        ended
    }

    /// Forgets pauses and refusals: an operator asks for everything now.
    pub fn forget_pauses(&mut self) {
        self.pauses.clear();
        self.refusals.clear();
        self.record.forget_refusals();
    }

    async fn run_command(
        &self,
        command: &str,
        host: &dyn Host,
    ) -> Result<(), Declined> {
        let exec = Exec::shell(command, self.command_timeout);
        let unavailable = |e| Declined::Unavailable(chain(&e));
        let finished = host.run(&exec).await.map_err(unavailable)?;
        if finished.success() {
            return Ok(());
        }
        Err(unavailable(finished.into_error(&exec)))
    }

    /// Why this unit's files are not offered again yet, if so.
    fn refused(&mut self, unit: &Unit<'_>) -> Option<String> {
        let record = self.record.unit(&unit.key);
        if let Some((digest, reason)) = record.would_not_start {
            if digest == unit.digest() {
                return Some(format!(
                    "refused by its daemon: {reason}; not tried again until \
                     something changes or SIGHUP"
                ));
            }
            self.record.unit_mut(&unit.key).would_not_start = None;
        }
        let refusal = self.refusals.get(&unit.key)?;
        if refusal.digest != unit.digest() {
            self.refusals.remove(&unit.key);
            return None;
        }
        (Instant::now() < refusal.until).then(|| refusal.reason.clone())
    }

    /// Keeps what a daemon took, to go back to.
    fn keep_copies(&mut self, unit: &Unit<'_>, report: &mut Report) {
        if !matches!(unit.reader, Reader::Daemon(_)) {
            return;
        }
        let mut kept = BTreeMap::new();
        for (file, digest) in unit.files.iter().zip(&unit.digests) {
            if let Err(error) = self.record.keep(digest, &file.bytes) {
                report.trouble(format!(
                    "could not keep a copy of {}: {error}",
                    file.name
                ));
                // Older copies would undo what is in force.
                self.record.unit_mut(&unit.key).kept.clear();
                return;
            }
            let owner = std::fs::metadata(&file.target).map_or((0, 0), |m| {
                use std::os::unix::fs::MetadataExt;
                (m.uid(), m.gid())
            });
            let mode = file.mode.unwrap_or(0o600);
            let digest = digest.clone();
            kept.insert(file.target.clone(), Kept { digest, mode, owner });
        }
        self.record.unit_mut(&unit.key).kept = kept;
    }
}

fn ensure_directories(output: &Output, report: &mut Report) {
    for directory in &output.directories {
        let ensured =
            directory.owner.as_deref().map(commit::owner).transpose().and_then(
                |owner| {
                    let access = Access { mode: Some(directory.mode), owner };
                    commit::ensure_dir(&directory.path, access)
                        .map_err(|e| e.to_string())
                },
            );
        if let Err(reason) = ensured {
            report.trouble(format!(
                "could not make {}: {reason}",
                directory.path.display()
            ));
        }
    }
}

#[cfg(test)]
mod tests;
