// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What was found, and what findings come to.

use serde::Serialize;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// To be mended.
    Wrong,
    /// Could not be looked at.
    Unseen,
    /// Good to know.
    Note,
    /// Looked at, and well.
    Well,
}

/// What was found, on what grounds, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it weighs.
    pub weight: Weight,
    /// Whom it is about: an alias, `shards`, `SAPI`.
    pub about: String,
    /// What it is.
    pub says: String,
    /// What was asked, and what was answered.
    pub evidence: Vec<String>,
    /// The command that mends it, or looks closer.
    pub mend: Option<String>,
}

impl Finding {
    /// To be mended.
    pub(super) fn wrong(about: &str, says: impl Into<String>) -> Self {
        Self {
            weight: Weight::Wrong,
            about: about.to_owned(),
            says: says.into(),
            evidence: Vec::new(),
            mend: None,
        }
    }

    /// Not looked at.
    pub(super) fn unseen(about: &str, says: impl Into<String>) -> Self {
        Self { weight: Weight::Unseen, ..Self::wrong(about, says) }
    }

    /// Good to know.
    pub(super) fn note(about: &str, says: impl Into<String>) -> Self {
        Self { weight: Weight::Note, ..Self::wrong(about, says) }
    }

    /// Looked at, and well.
    pub(super) fn well(about: &str, says: impl Into<String>) -> Self {
        Self { weight: Weight::Well, ..Self::wrong(about, says) }
    }

    /// What was answered.
    pub(super) fn on(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    /// What mends it.
    pub(super) fn mend(mut self, command: impl Into<String>) -> Self {
        self.mend = Some(command.into());
        self
    }
}

/// What findings come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All was seen, and is well.
    Well,
    /// Something is wrong.
    Wrong,
    /// What was seen is well, and something was not seen.
    Unseen,
}

impl Verdict {
    /// Of these findings.
    pub fn of(findings: &[Finding]) -> Self {
        match findings.iter().map(|finding| finding.weight).min() {
            Some(Weight::Wrong) => Self::Wrong,
            Some(Weight::Unseen) => Self::Unseen,
            Some(Weight::Note | Weight::Well) | None => Self::Well,
        }
    }
}
