// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What an operator and a monitor want to know: one report, gathered when
//! asked for, shown as a page, as JSON, as metrics and as a health check.

mod certificates;
mod control;
mod dns_metrics;
mod metrics;
mod names;
mod page;
mod peers;
mod room;
mod scrape;
mod table;
mod zones;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::discovery::{Failures, Found};
use crate::dns::NamesHandle;
use crate::metadata::poll::{Origin, PollStatus};
use crate::walk::WalkStatus;

pub use certificates::{CertificatePart, ServedPart};
pub use control::{CHANGE_HEADER, REFRESH_LIMIT};
pub use names::{CachePart, LatencyPart, NamesPart, QueryPart, UpstreamPart};
pub use page::serve;
pub use peers::PeerPart;
pub use room::RoomPart;
pub use scrape::{Reach, serve_others};
pub use table::{columns, duration, table};
pub use zones::{HeldBackPart, PrimaryPart, ZonePart};

/// SAPI silent for longer than this is a fault: no change reaches us.
const SAPI_QUIET: Duration = Duration::from_secs(6 * 3600);

/// No pass for longer than this is a fault: the longest pause between two is
/// a day at most, five minutes by default, and every step has a limit.
const WALK_QUIET: Duration = Duration::from_secs(26 * 3600);

/// What CMON said when we asked as Prometheus does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeStatus {
    /// Host name asked.
    pub endpoint: String,
    /// When.
    pub at: Option<SystemTime>,
    /// Targets listed, if it answered well.
    pub targets: Option<usize>,
    /// Why not.
    pub error: Option<String>,
}

/// Where the report's facts are read from. Cheap to clone.
#[derive(Clone)]
pub struct Board {
    /// When this run began.
    pub started: SystemTime,
    /// SAPI instance.
    pub instance: String,
    /// Role, or why it is unknown.
    pub role: String,
    /// SAPI's base URL.
    pub sapi_url: String,
    /// Id of the zone's data; or why it is not known.
    pub data_id: Result<String, String>,
    /// How polling goes.
    pub poll: watch::Receiver<PollStatus>,
    /// How the walk goes.
    pub walk: watch::Receiver<WalkStatus>,
    /// How discovery by CMON goes.
    pub probe: watch::Receiver<ProbeStatus>,
    /// How the daemons fare.
    pub daemons: watch::Receiver<Vec<DaemonPart>>,
    /// The embedded name server, if it runs.
    pub names: Option<NamesHandle>,
    /// What discovery knows.
    pub found: watch::Receiver<Arc<Found>>,
    /// Whose peers could not be listed, if they are searched for.
    pub peer_failures: Option<watch::Receiver<Failures>>,
}

/// The report: everything with its age, in seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusReport {
    /// The agent itself.
    pub agent: AgentPart,
    /// Nothing below is a fault.
    pub healthy: bool,
    /// What an operator must mend, a line each.
    pub faults: Vec<String>,
    /// What may need a look, a line each.
    pub warnings: Vec<String>,
    /// SAPI and the configuration in force.
    pub sapi: SapiPart,
    /// The zone's caps and the room it has.
    pub zone: RoomPart,
    /// The last pass and counts.
    pub walk: WalkPart,
    /// The daemons that read our files.
    pub daemons: Vec<DaemonPart>,
    /// Every file.
    pub files: Vec<crate::apply::FileReport>,
    /// The CMON client certificate.
    pub certificate: Option<CertificatePart>,
    /// The certificates that the zone's servers show.
    #[serde(default)]
    pub served: Vec<ServedPart>,
    /// What CMON lists.
    pub discovery: DiscoveryPart,
    /// Who else monitors, this instance among them.
    #[serde(default)]
    pub peers: Vec<PeerPart>,
    /// Replicated zones.
    pub zones: Vec<ZonePart>,
    /// Upstream name servers.
    pub upstreams: Vec<UpstreamPart>,
    /// Queries and transfers.
    pub names: NamesPart,
}

/// The agent itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentPart {
    /// Version of the program.
    pub version: String,
    /// Process id in the zone.
    pub pid: u32,
    /// SAPI instance uuid.
    pub instance: String,
    /// Role of the zone.
    pub role: String,
    /// Seconds since it started.
    pub up_seconds: u64,
}

/// SAPI and the configuration in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SapiPart {
    /// Base URL.
    pub url: String,
    /// SHA-256 of the configuration in force.
    pub revision: Option<String>,
    /// The same without instance and server: equal where instances of a
    /// service have no metadata of their own.
    #[serde(default)]
    pub shared_revision: Option<String>,
    /// `sapi` or `disk`.
    pub origin: Option<String>,
    /// Seconds since that revision was first seen.
    pub revision_age_seconds: Option<u64>,
    /// Seconds since SAPI answered well.
    pub last_success_age_seconds: Option<u64>,
    /// Why the last poll failed.
    pub last_error: Option<String>,
    /// Failures in a row.
    pub failures: u32,
    /// Polls.
    pub polls: u64,
    /// Polls answered 304.
    pub not_modified: u64,
    /// Changes that a 304 had hidden.
    pub missed_by_etag: u64,
}

/// The last pass and counts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WalkPart {
    /// Seconds since the last pass began.
    pub age_seconds: Option<u64>,
    /// Milliseconds it took.
    pub took_ms: u64,
    /// Passes.
    pub passes: u64,
    /// Passes that left something undone.
    pub unclean_passes: u64,
    /// Files written.
    pub writes: u64,
    /// Files put back.
    pub repairs: u64,
    /// The file put back last.
    pub last_repair: Option<String>,
    /// Seconds since then.
    pub last_repair_age_seconds: Option<u64>,
    /// Reloads, restarts and post commands that succeeded.
    pub reloads: u64,
    /// Times a daemon refused new files.
    pub refusals: u64,
}

/// A daemon that reads our files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonPart {
    /// Name of the SMF service or systemd unit.
    pub name: String,
    /// `online`, `offline`, `disabled`, `maintenance`, `absent` or `unknown`.
    pub state: String,
    /// Whether it answers that it is ready.
    pub ready: bool,
}

/// What CMON lists.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DiscoveryPart {
    /// Host name asked.
    pub endpoint: String,
    /// Targets it listed.
    pub targets: Option<usize>,
    /// Why it did not.
    pub error: Option<String>,
    /// Seconds since it was asked.
    pub age_seconds: Option<u64>,
}

impl Board {
    /// Gathers the report now.
    pub fn report(&self) -> StatusReport {
        let now = SystemTime::now();
        let age = |at: SystemTime| {
            now.duration_since(at).unwrap_or_default().as_secs()
        };
        let poll = self.poll.borrow().clone();
        let walk = self.walk.borrow().clone();
        let probe = self.probe.borrow().clone();
        let mut report = StatusReport {
            agent: AgentPart {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                instance: self.instance.clone(),
                role: self.role.clone(),
                up_seconds: age(self.started),
            },
            healthy: false,
            faults: walk.faults(),
            warnings: walk.warnings.clone(),
            sapi: SapiPart {
                url: self.sapi_url.clone(),
                revision: walk.revision.clone(),
                shared_revision: walk.shared.clone(),
                origin: walk.origin.map(|origin| {
                    match origin {
                        Origin::Sapi => "sapi",
                        Origin::Disk => "disk",
                    }
                    .to_owned()
                }),
                revision_age_seconds: walk.since.map(age),
                last_success_age_seconds: poll.last_success.map(age),
                last_error: poll.last_error.clone(),
                failures: poll.failures,
                polls: poll.polls,
                not_modified: poll.not_modified,
                missed_by_etag: poll.missed_by_etag,
            },
            zone: RoomPart::new(&walk, self.data_id.as_ref().ok()),
            walk: WalkPart {
                age_seconds: walk.at.map(age),
                took_ms: u64::try_from(walk.took.as_millis())
                    .unwrap_or(u64::MAX),
                passes: walk.passes,
                unclean_passes: walk.unclean_passes,
                writes: walk.writes,
                repairs: walk.repairs,
                last_repair: walk
                    .last_repair
                    .as_ref()
                    .map(|(_, file)| file.clone()),
                last_repair_age_seconds: walk
                    .last_repair
                    .as_ref()
                    .map(|(at, _)| age(*at)),
                reloads: walk.reloads,
                refusals: walk.refusals,
            },
            daemons: self.daemons.borrow().clone(),
            files: walk.report.files,
            certificate: walk
                .certificate
                .map(|certificate| CertificatePart::new(certificate, now)),
            served: walk
                .served
                .into_iter()
                .map(|certificate| ServedPart::new(certificate, now))
                .collect(),
            discovery: DiscoveryPart {
                endpoint: probe.endpoint,
                targets: probe.targets,
                error: probe.error,
                age_seconds: probe.at.map(age),
            },
            peers: peers::parts(&self.found.borrow().peers),
            zones: zones::parts(self.names.as_ref()),
            upstreams: names::upstreams(self.names.as_ref()),
            names: names::part(self.names.as_ref()),
        };
        report.warnings.extend(self.data_id.clone().err());
        if let Some(failures) = &self.peer_failures {
            report.warnings.extend(peers::warnings(&failures.borrow()));
        }
        judge(&mut report, &poll, now, self.started);
        report
    }
}

/// Adds the faults and warnings that follow from the parts, and the verdict.
fn judge(
    report: &mut StatusReport,
    poll: &PollStatus,
    now: SystemTime,
    started: SystemTime,
) {
    if report.sapi.revision.is_none() {
        let why = match &poll.last_error {
            Some(error) => format!(": {error}"),
            None => String::new(),
        };
        report.faults.push(format!("no configuration yet{why}"));
    } else if let Some(error) = &poll.last_error {
        let quiet = now
            .duration_since(poll.last_success.unwrap_or(started))
            .unwrap_or_default();
        let line = format!(
            "SAPI: {error}; the last good one is in force, for {} min now",
            quiet.as_secs() / 60
        );
        if quiet > SAPI_QUIET {
            report.faults.push(line);
        } else {
            report.warnings.push(line);
        }
    }
    if report.walk.age_seconds.is_some_and(|s| s > WALK_QUIET.as_secs()) {
        report.faults.push("the config walk hangs".to_owned());
    }
    for daemon in &report.daemons {
        let name = &daemon.name;
        match (daemon.state.as_str(), daemon.ready) {
            ("online", false) => {
                report.warnings.push(format!("{name} is not ready"));
            }
            ("online", true) => {}
            ("disabled", _) => {
                report.faults.push(format!("{name} is disabled"));
            }
            (state, _) => report.faults.push(format!("{name} is {state}")),
        }
    }
    if let Some(error) = &report.discovery.error {
        report.faults.push(format!(
            "discovery: {error}; Prometheus takes this for no targets"
        ));
    } else if report.discovery.targets == Some(0) {
        report.warnings.push("discovery: CMON lists no zone".to_owned());
    }
    zones::judge(report);
    for upstream in &report.upstreams {
        if !upstream.alive {
            let error = upstream.last_error.as_deref().unwrap_or("silent");
            report.warnings.push(format!(
                "upstream {} of {}: {error}",
                upstream.address, upstream.suffix
            ));
        }
    }
    report.healthy = report.faults.is_empty();
}

/// A report on demand.
pub type Reporter = Arc<dyn Fn() -> StatusReport + Send + Sync>;
