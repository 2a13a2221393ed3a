// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Intervals, targets, labels, retention and start flags of one Prometheus.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::Secret;
use super::store::ObjectStore;
use super::zone::GoLimits;

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
    /// Whether this server scrapes the compute nodes; needs an operator's
    /// account, so not for Manta's poseidon.
    pub compute_nodes: bool,
    /// Retired: scrapes nothing any more and serves what it has until that
    /// is past its retention.
    pub retired: bool,
    /// Samples one scrape may bring; 0 is no limit.
    pub sample_limit: u64,
    /// Rule files of the operator, absolute paths or globs.
    pub rule_files: Vec<String>,
    /// Rules of the operator: the groups, as Prometheus has them.
    pub rule_groups: Vec<Value>,
    /// Alertmanagers, `host:port` each.
    pub alertmanagers: Vec<String>,
    /// Scrape jobs that follow files: name, and paths or globs.
    pub file_sd: Vec<FileSd>,
    /// Further scrape jobs, as Prometheus has them.
    pub scrape_configs: Vec<Secret<Value>>,
    /// Other Prometheus servers scraped for what they recorded.
    pub federation: Vec<Federation>,
    /// Jobs with fixed targets: the zone's own daemons, and those of other
    /// monitoring zones.
    pub watched: Vec<WatchedJob>,
    /// Where samples are sent to, as Prometheus has it.
    pub remote_write: Vec<Secret<Value>>,
    /// Where older samples are asked for, as Prometheus has it.
    pub remote_read: Vec<Secret<Value>>,
    /// The Thanos sidecar, if one runs beside this server.
    pub sidecar: Option<Sidecar>,
    /// What only a restart can change.
    pub flags: Flags,
    /// Limits of its Go runtime.
    pub limits: GoLimits,
}

/// A scrape job whose targets stand in files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileSd {
    /// Name of the job.
    pub job_name: String,
    /// Absolute paths; the last part may hold one `*`.
    pub files: Vec<String>,
}

/// A job that scrapes `/federate` of other Prometheus servers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Federation {
    /// Name of the job.
    pub job_name: String,
    /// Servers, `host:port` each.
    pub targets: Vec<String>,
    /// Selectors of what to take; at least one, or Prometheus answers with
    /// nothing.
    pub matches: Vec<String>,
    /// Seconds between two scrapes.
    pub interval_seconds: u32,
    /// Seconds after which one is given up.
    pub timeout_seconds: u32,
    /// `http` or `https`.
    pub scheme: String,
}

/// Daemons of one kind in one datacenter: our own, the other half of a pair,
/// the servers of other datacenters, Thanos.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WatchedJob {
    /// Name of the job.
    pub job_name: String,
    /// Path of the metrics, where it is not `/metrics`.
    pub metrics_path: Option<&'static str>,
    /// Groups of targets that share labels.
    pub groups: Vec<WatchedGroup>,
}

/// Targets that share labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WatchedGroup {
    /// `host:port` each.
    pub targets: Vec<String>,
    /// Labels of all of them.
    pub labels: BTreeMap<String, String>,
}

/// The Thanos sidecar beside this server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sidecar {
    /// The bucket to ship to; without one it only serves queries.
    pub store: Option<ObjectStore>,
    /// Takes along blocks that were compacted before there was a sidecar.
    pub upload_compacted: bool,
    /// Address of StoreAPI and metrics: the admin NIC, or every address.
    pub address: String,
    /// How far back it answers, for instance `-3d`; the store gateway has
    /// the rest. `None`: all there is.
    pub min_time: Option<String>,
    /// Limits of its Go runtime.
    pub limits: GoLimits,
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
    /// Whether blocks stay as they are cut, two hours each: what ships them
    /// wants them so.
    pub fixed_blocks: bool,
    /// `debug`, `info`, `warn` or `error`.
    pub log_level: String,
}
