// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the walk knows of itself after a pass.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::apply::{Outcome, Report};
use crate::metadata::poll::Origin;
use crate::metadata::wire::Problem;
use crate::model::Caps;

/// The client certificate in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertStatus {
    /// Account it speaks for.
    pub login: String,
    /// MD5 fingerprint of the account key that signed it.
    pub fingerprint: String,
    /// End of its life.
    pub not_after: SystemTime,
}

/// A certificate that a daemon here shows to whoever connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedCertificate {
    /// The file, PEM.
    pub file: String,
    /// End of its life.
    pub not_after: SystemTime,
}

/// The last pass, and counts since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WalkStatus {
    /// When it began; `None` before the first.
    pub at: Option<SystemTime>,
    /// How long it took.
    pub took: Duration,
    /// Revision of the configuration it worked from.
    pub revision: Option<String>,
    /// Revision of what instances of its service have in common.
    pub shared: Option<String>,
    /// Where that came from.
    pub origin: Option<Origin>,
    /// When that revision was first seen.
    pub since: Option<SystemTime>,
    /// The zone's caps.
    pub caps: Caps,
    /// The role's share of the delegate dataset.
    pub data: Option<PathBuf>,
    /// Why nothing of a role is rendered.
    pub role_error: Option<String>,
    /// What is wrong with the metadata.
    pub problems: Vec<Problem>,
    /// What was passed over.
    pub warnings: Vec<String>,
    /// The client certificate.
    pub certificate: Option<CertStatus>,
    /// Why there is none, or why it was not renewed.
    pub certificate_error: Option<String>,
    /// Certificates of the zone's servers, made here or the operator's.
    pub served: Vec<ServedCertificate>,
    /// What happened to the files.
    pub report: Report,
    /// Passes since the start.
    pub passes: u64,
    /// Passes that left something undone.
    pub unclean_passes: u64,
    /// Files written.
    pub writes: u64,
    /// Files put back after someone changed them.
    pub repairs: u64,
    /// Times a daemon or a post command took new files.
    pub reloads: u64,
    /// Times a daemon refused new files.
    pub refusals: u64,
    /// When a file was put back last, and which.
    pub last_repair: Option<(SystemTime, String)>,
}

impl WalkStatus {
    /// Takes a pass' report and goes on counting from `before`.
    pub(super) fn take_report(&mut self, report: Report, before: &Self) {
        let count = |wanted: fn(&Outcome) -> bool| {
            report.files.iter().filter(|file| wanted(&file.outcome)).count()
                as u64
        };
        let repaired =
            report.files.iter().rfind(|f| f.outcome == Outcome::Repaired);
        self.last_repair = match repaired {
            Some(file) => Some((SystemTime::now(), file.name.clone())),
            None => before.last_repair.clone(),
        };
        self.passes = before.passes + 1;
        self.writes = before.writes + count(|o| *o == Outcome::Written);
        self.repairs = before.repairs + count(|o| *o == Outcome::Repaired);
        self.reloads = before.reloads + report.taken.len() as u64;
        self.refusals = before.refusals + report.refused.len() as u64;
        self.report = report;
        self.unclean_passes =
            before.unclean_passes + u64::from(!self.is_clean());
    }

    /// Whether all that metadata asks for is in force.
    pub fn is_clean(&self) -> bool {
        self.role_error.is_none()
            && self.problems.is_empty()
            && self.certificate_error.is_none()
            && self.report.is_clean()
    }

    /// Every fault on a line of its own.
    pub fn faults(&self) -> Vec<String> {
        let problems =
            self.problems.iter().map(|problem| format!("metadata: {problem}"));
        let certificate = self
            .certificate_error
            .iter()
            .map(|reason| format!("client certificate: {reason}"));
        let role = self.role_error.iter().cloned();
        role.chain(problems)
            .chain(certificate)
            .chain(self.report.faults())
            .collect()
    }
}
