// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What came of files on the data folder that are made, or judged, and not
//! rendered. Whoever reads them waits while they are not right, and runs on
//! with what it has read before.

use std::collections::BTreeMap;

use crate::render::Failed;

/// The verdict.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// What is not right; holds back the daemon that reads it.
    pub(crate) failed: Vec<Failed>,
    /// Digests of what was judged, by path: taken before the verdict.
    pub(crate) judged: BTreeMap<String, String>,
    /// What an operator should know.
    pub(crate) warnings: Vec<String>,
}

impl Kept {
    /// Notes a fault of `name`, which `daemon` reads.
    pub(super) fn fail(&mut self, name: &str, daemon: &str, reason: String) {
        self.failed.push(Failed {
            name: name.to_owned(),
            daemon: Some(daemon.to_owned()),
            reason,
        });
    }
}
