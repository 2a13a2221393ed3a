// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Alertmanager: its cluster, receivers and routes.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use super::Secret;
use super::zone::GoLimits;

/// The settings of a zone's Alertmanager, checked and complete.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alertmanager {
    /// Folder of its configuration.
    pub etc: PathBuf,
    /// Its folder on the delegate dataset.
    pub data: PathBuf,
    /// Listening address of the API, `host:port`.
    pub listen_address: String,
    /// Listening address of the gossip, `host:port`, TCP and UDP; `None`
    /// while it is alone.
    pub cluster_address: Option<String>,
    /// The other members, `host:port` each.
    pub peers: Vec<String>,
    /// How long resolved alerts and silences are kept, in Prometheus'
    /// duration form.
    pub retention: String,
    /// `global`, `route`, `receivers`, `inhibit_rules`, `time_intervals` as
    /// Alertmanager has them; passwords included.
    pub config: Secret<Value>,
    /// The URL that its messages link to, if any.
    pub external_url: Option<String>,
    /// Limits of its Go runtime.
    pub limits: GoLimits,
}
