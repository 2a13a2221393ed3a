// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Intervals, targets, labels, retention and start flags of one Prometheus.

use std::collections::BTreeMap;

use serde::Serialize;

/// The settings of a zone's Prometheus, checked and complete.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prometheus {
    /// Seconds between two scrapes of a target; SAPI `scrape_interval`.
    pub scrape_interval_seconds: u32,
    /// Seconds after which a scrape is given up; SAPI `scrape_timeout`. Never
    /// above the interval: Prometheus refuses such a file.
    pub scrape_timeout_seconds: u32,
    /// Seconds between two evaluations of rules; SAPI `evaluation_interval`.
    pub evaluation_interval_seconds: u32,
    /// Labels every sample and alert leaves this server with. Sorted, so that
    /// the same metadata renders the same bytes.
    pub external_labels: BTreeMap<String, String>,
    /// Labels that tell the members of an HA pair apart and must not reach
    /// Alertmanager, or nothing would be deduplicated there.
    pub replica_label: String,
    /// Where targets come from.
    pub cmon: Cmon,
    /// Where config-agent's own metrics are: a refused configuration or a
    /// certificate that ends must reach whoever reads alerts.
    pub agent_address: String,
    /// Whether this server scrapes the compute nodes; needs an operator's
    /// account, so not for Manta's poseidon.
    pub compute_nodes: bool,
    /// Rule files of the operator, absolute paths or globs.
    pub rule_files: Vec<String>,
    /// Alertmanagers, `host:port` each.
    pub alertmanagers: Vec<String>,
    /// What only a restart can change.
    pub flags: Flags,
}

/// Triton's metrics proxy, as discovery and scrape target alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cmon {
    /// Host name asked for the list of targets; its first label is `cmon`.
    pub endpoint: String,
    /// Suffix of `<vm uuid>.<suffix>`; CMON routes by the first label alone.
    pub dns_suffix: String,
    /// TCP port of discovery and metrics.
    pub port: u16,
    /// Account login; Prometheus wants one, the certificate decides.
    pub account: String,
    /// Whether CMON's certificate must verify.
    pub verify: bool,
    /// Group tags of this server's shard; empty means every zone.
    pub groups: Vec<String>,
    /// Seconds between two discoveries.
    pub refresh_interval_seconds: u32,
}

/// Command line flags; a change restarts the daemon.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flags {
    /// Listening address, `host:port`.
    pub listen_address: String,
    /// How long samples are kept, in Prometheus' duration form.
    pub retention_time: String,
    /// Ceiling of the blocks' bytes (`512MB`, `25GB`), if any.
    pub retention_size: Option<String>,
    /// Seconds a query may take.
    pub query_timeout_seconds: u32,
    /// Queries at a time.
    pub query_max_concurrency: u32,
    /// Samples one query may load.
    pub query_max_samples: u64,
    /// `debug`, `info`, `warn` or `error`.
    pub log_level: String,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            // As the images of today: every address, the firewall separates.
            listen_address: "0.0.0.0:9090".to_owned(),
            // One month: the longest month, so that "last month" is whole.
            retention_time: "31d".to_owned(),
            retention_size: None,
            // Upstream's own defaults, written out so that they can be seen.
            query_timeout_seconds: 120,
            query_max_concurrency: 20,
            query_max_samples: 50_000_000,
            log_level: "info".to_owned(),
        }
    }
}
