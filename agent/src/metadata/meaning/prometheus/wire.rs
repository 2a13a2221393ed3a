// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Parts of keys that hold objects.

use serde::Deserialize;

use super::super::super::grammar::{is_host_port, is_job_name};

/// One entry of `file_sd`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileSdWire {
    pub(super) job_name: String,
    pub(super) files: Vec<String>,
}

/// One entry of `federation`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FederationWire {
    pub(super) job_name: Option<String>,
    pub(super) targets: Vec<String>,
    #[serde(rename = "match")]
    pub(super) matches: Vec<String>,
    /// Seconds.
    #[serde(default = "a_minute")]
    pub(super) interval: u32,
    #[serde(default = "http")]
    pub(super) scheme: String,
}

/// Federation takes aggregates, which need no better resolution.
fn a_minute() -> u32 {
    60
}

fn http() -> String {
    "http".to_owned()
}

impl FederationWire {
    /// Judges what serde let pass.
    pub(super) fn check(&self) -> Result<(), String> {
        let name = self.job_name.as_deref().unwrap_or("federation");
        if !is_job_name(name) {
            return Err(format!("job_name {name:?} is not printable"));
        }
        if self.targets.is_empty()
            || !self.targets.iter().all(|target| is_host_port(target))
        {
            return Err(format!("targets of {name} must be host:port each"));
        }
        if self.matches.is_empty()
            || self.matches.iter().any(|text| text.trim().is_empty())
        {
            return Err(format!(
                "match of {name} must hold a selector, or nothing would come"
            ));
        }
        if !(1..=86_400).contains(&self.interval) {
            return Err(format!("interval of {name} must be 1 to 86400"));
        }
        if !["http", "https"].contains(&self.scheme.as_str()) {
            return Err(format!("scheme of {name} must be http or https"));
        }
        Ok(())
    }
}
