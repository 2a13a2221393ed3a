// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The end of a daemon that metadata no longer asks for.

use super::record::UnitRecord;
use super::report::Report;
use super::{Applier, commit};
use crate::host::{Action, DaemonState, Host};
use crate::log::chain;
use crate::render::Output;

impl Applier {
    /// Stops a daemon that metadata no longer asks for, and takes its files
    /// away: they may hold keys. One that we never started is left alone.
    pub(super) async fn retire(
        &mut self,
        daemon: &str,
        output: &Output,
        host: &dyn Host,
        report: &mut Report,
    ) {
        let key = format!("daemon:{daemon}");
        let record = self.record.unit(&key);
        if record == UnitRecord::default() {
            return;
        }
        let disabled = match host.state(daemon).await {
            Ok(DaemonState::Absent | DaemonState::Disabled) => Ok(()),
            _ => host.control(daemon, Action::Disable).await,
        };
        if let Err(error) = disabled {
            report.waiting(&key, chain(&error));
            return;
        }
        for target in record.kept.keys() {
            if output.files.iter().any(|file| file.target == *target) {
                continue;
            }
            if let Err(error) = commit::remove(target) {
                report.trouble(format!(
                    "could not remove {}: {error}",
                    target.display()
                ));
            }
            self.record.forget_committed(target);
        }
        self.record.forget_unit(&key);
        report.taken(&key);
    }
}
