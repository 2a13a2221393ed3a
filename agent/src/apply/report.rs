// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a pass did, for the log and the status page. Holds no contents.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What happened to one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "reason", rename_all = "snake_case")]
pub enum Outcome {
    /// The target was as wanted.
    Unchanged,
    /// New content was put in force.
    Written,
    /// The target had been changed behind our back; it was put back.
    Repaired,
    /// Not touched, for another file or an earlier refusal stands in the way.
    Held(String),
    /// Could not be rendered, staged, checked or committed; the target is
    /// untouched.
    Failed(String),
    /// The daemon refused it; the last good content is back.
    RolledBack(String),
}

impl Outcome {
    /// The short name used in tables and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Written => "written",
            Self::Repaired => "repaired",
            Self::Held(_) => "held",
            Self::Failed(_) => "failed",
            Self::RolledBack(_) => "rolled_back",
        }
    }

    /// Why it is not in force, if it is not.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Unchanged | Self::Written | Self::Repaired => None,
            Self::Held(reason)
            | Self::Failed(reason)
            | Self::RolledBack(reason) => Some(reason),
        }
    }
}

/// One file of a pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// Its name.
    pub name: String,
    /// Where it belongs; unknown if it did not render.
    pub target: Option<PathBuf>,
    /// What happened.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// One pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Every file, in order.
    pub files: Vec<FileReport>,
    /// Readers that took new files (`daemon:prometheus`, `file:/path`).
    pub taken: Vec<String>,
    /// Readers that could not be asked, and why; tried again.
    pub waiting: Vec<(String, String)>,
    /// Readers that refused, and why.
    pub refused: Vec<(String, String)>,
    /// Anything else that went wrong.
    pub troubles: Vec<String>,
}

impl Report {
    /// Whether everything wanted is in force and was taken.
    pub fn is_clean(&self) -> bool {
        self.waiting.is_empty()
            && self.refused.is_empty()
            && self.troubles.is_empty()
            && self.files.iter().all(|f| f.outcome.reason().is_none())
    }

    /// Whether the pass wrote or reloaded anything.
    pub fn changed(&self) -> bool {
        !self.taken.is_empty()
            || self.files.iter().any(|file| {
                !matches!(
                    file.outcome,
                    Outcome::Unchanged | Outcome::Held(_) | Outcome::Failed(_)
                )
            })
    }

    /// Every fault on a line of its own; a held file repeats another's fault
    /// and is left out.
    pub fn faults(&self) -> Vec<String> {
        let files = self.files.iter().filter_map(|file| match &file.outcome {
            Outcome::Failed(reason) => Some(format!("{}: {reason}", file.name)),
            _ => None,
        });
        let held = self.files.iter().find_map(|file| match &file.outcome {
            Outcome::Held(reason) if reason.starts_with("refused by") => {
                Some(format!("{}: {reason}", file.name))
            }
            _ => None,
        });
        let waiting = self
            .waiting
            .iter()
            .map(|(reader, reason)| format!("{reader} is behind: {reason}"));
        let refused = self
            .refused
            .iter()
            .map(|(reader, reason)| format!("{reader} refused: {reason}"));
        files
            .chain(held)
            .chain(waiting)
            .chain(refused)
            .chain(self.troubles.iter().cloned())
            .collect()
    }

    /// Every reason given, for whoever keeps secrets out of them.
    pub(crate) fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let files =
            self.files.iter_mut().filter_map(|file| match &mut file.outcome {
                Outcome::Held(reason)
                | Outcome::Failed(reason)
                | Outcome::RolledBack(reason) => Some(reason),
                _ => None,
            });
        let readers = self.waiting.iter_mut().chain(&mut self.refused);
        files.chain(readers.map(|(_, reason)| reason)).chain(&mut self.troubles)
    }

    pub(super) fn file(
        &mut self,
        name: &str,
        target: Option<&Path>,
        outcome: Outcome,
    ) {
        self.files.push(FileReport {
            name: name.to_owned(),
            target: target.map(Path::to_owned),
            outcome,
        });
    }

    pub(super) fn amend(&mut self, name: &str, outcome: Outcome) {
        for file in self.files.iter_mut().filter(|f| f.name == name) {
            file.outcome = outcome.clone();
        }
    }

    pub(super) fn taken(&mut self, reader: &str) {
        self.taken.push(reader.to_owned());
    }

    pub(super) fn waiting(&mut self, reader: &str, reason: String) {
        self.waiting.push((reader.to_owned(), reason));
    }

    pub(super) fn refused(&mut self, reader: &str, reason: String) {
        self.refused.push((reader.to_owned(), reason));
    }

    pub(super) fn trouble(&mut self, text: String) {
        self.troubles.push(text);
    }
}
