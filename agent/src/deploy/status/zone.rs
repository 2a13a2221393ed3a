// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a zone says of itself on the admin network: its config-agent by
//! metrics, and the daemons that upload blocks by theirs.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use serde::Serialize;

use super::{Look, Seen};
use crate::deploy::exposition::Samples;
use crate::deploy::health::{AGENT_PORT, Check};
use crate::log::chain;
use crate::triton::Http;

/// Metrics larger than this are none of ours, bytes.
const METRICS: usize = 4 << 20;

/// Daemons that upload to a bucket or tend it, and where they say how that
/// goes. Source: `model::thanos::Component::http_port`; a sidecar's own.
const UPLOADERS: [(&str, u16); 4] = [
    ("thanos-sidecar", 10_902),
    ("thanos-compact", 10_908),
    ("thanos-rule", 10_910),
    ("thanos-receive", 10_912),
];

/// What an agent says. What an older one does not say is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AgentSeen {
    /// Its version.
    pub version: String,
    /// Role of its zone.
    pub role: String,
    /// Faults that it counts.
    pub faults: u64,
    /// Files whose wanted content is not in force.
    pub files_not_in_force: Vec<String>,
    /// Its daemons, and whether they run and are ready.
    pub daemons: BTreeMap<String, bool>,
    /// SHA-256 of the configuration in force.
    pub revision: Option<String>,
    /// The same without the uuids of instance and server.
    pub shared_revision: Option<String>,
    /// Seconds since the configuration in force was first seen; absent while
    /// there is none.
    pub revision_age_seconds: Option<u64>,
    /// Seconds since SAPI answered it.
    pub sapi_age_seconds: Option<u64>,
    /// Its failed polls of SAPI in a row.
    pub sapi_failures: u64,
    /// Whether CMON answers discovery.
    pub discovery_up: Option<bool>,
    /// Zones that CMON lists.
    pub targets: Option<u64>,
    /// Seconds left to certificates, by file; CMON's is `cmon.crt`.
    pub certificates: BTreeMap<String, i64>,
    /// DNS zones that it replicates.
    pub names: BTreeMap<String, NamesSeen>,
    /// Upstream name servers that are silent, `suffix address`.
    pub silent_upstreams: Vec<String>,
    /// Size of the data folder's file system, bytes.
    pub data_size_bytes: Option<u64>,
    /// Room left there, bytes.
    pub data_available_bytes: Option<u64>,
    /// Seconds that its clock is ahead of this machine's; negative: behind.
    /// To a second or two.
    pub clock_ahead_seconds: Option<i64>,
}

/// A replicated DNS zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NamesSeen {
    /// Serial served; none without a copy.
    pub serial: Option<u32>,
    /// Seconds since a primary confirmed it.
    pub age_seconds: Option<u64>,
    /// Past its expire.
    pub expired: bool,
    /// A smaller version is not believed.
    pub held_back: bool,
}

/// What a daemon's uploads come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct UploadsSeen {
    /// The last one that succeeded, Unix seconds; none since it started.
    pub last: Option<u64>,
    /// When the daemon started, Unix seconds.
    pub started: Option<u64>,
    /// Blocks that it uploaded since.
    pub uploads: u64,
    /// And could not.
    pub failures: u64,
    /// A compactor that gave up.
    pub halted: bool,
    /// Whether a sidecar reaches its Prometheus.
    pub prometheus_up: Option<bool>,
}

/// Asks all that an instance with an address can be asked.
pub(super) async fn ask(http: &Http, seen: &mut Seen) {
    let Some(address) = seen.address else { return };
    let health = async {
        match Check::of(&seen.service) {
            None => Look::Unasked,
            Some(check) => match check.ask(http, address).await {
                Ok(()) => Look::Seen(()),
                Err(error) => Look::Failed(chain(&error)),
            },
        }
    };
    let (health, agent) = tokio::join!(health, agent(http, address));
    let daemons = agent.seen().map(|agent| &agent.daemons);
    let asked = |name: &str| daemons.is_some_and(|d| d.contains_key(name));
    let uploaders = UPLOADERS.iter().filter(|(name, _)| asked(name));
    let uploads = uploaders.map(async |(name, port)| {
        ((*name).to_owned(), uploads(http, address, *port).await)
    });
    seen.uploads =
        futures_util::future::join_all(uploads).await.into_iter().collect();
    (seen.health, seen.agent) = (health, agent);
}

async fn metrics(
    http: &Http,
    address: IpAddr,
    port: u16,
) -> Result<(Samples, Option<i64>), String> {
    let url = format!("http://{}/metrics", SocketAddr::new(address, port));
    let began = SystemTime::now();
    let answer = http.get(&url, &[], METRICS).await;
    let answer = answer.map_err(|error| chain(&error))?;
    if answer.status != 200 {
        return Err(chain(&answer.error(&url)));
    }
    let now = (began, SystemTime::now());
    let ahead = answer.date.map(|date| ahead(date, now));
    let text = String::from_utf8(answer.body)
        .map_err(|error| format!("{url}: {error}"))?;
    let samples = Samples::parse(&text);
    let samples = samples.map_err(|error| format!("{url}: {error}"))?;
    Ok((samples, ahead))
}

/// Seconds that a clock is ahead, which showed `date` at some moment between
/// two: 0, when it fits in there.
fn ahead(date: SystemTime, (began, ended): (SystemTime, SystemTime)) -> i64 {
    let seconds = |at| i64::try_from(unix(at)).unwrap_or(i64::MAX);
    let date = seconds(date);
    date - date.clamp(seconds(began), seconds(ended).max(seconds(began)))
}

/// Unix seconds.
pub(super) fn unix(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

async fn agent(http: &Http, address: IpAddr) -> Look<AgentSeen> {
    match metrics(http, address, AGENT_PORT).await {
        Err(why) => Look::Failed(why),
        Ok((samples, _)) if samples.one("config_agent_healthy").is_none() => {
            let to = SocketAddr::new(address, AGENT_PORT);
            Look::Failed(format!(
                "http://{to}/metrics: saw no config_agent_healthy, wanted a \
                 config-agent's metrics"
            ))
        }
        Ok((samples, ahead)) => {
            let clock_ahead_seconds = ahead;
            Look::Seen(AgentSeen { clock_ahead_seconds, ..read(&samples) })
        }
    }
}

/// What an agent's metrics say.
pub fn read(samples: &Samples) -> AgentSeen {
    let one = |name: &str| samples.one(&format!("config_agent_{name}"));
    let count = |name: &str| one(name).map(whole);
    let flag = |name: &str| one(name).map(|value| value == 1.0);
    let label = |name: &str, label: &str| {
        let info = samples.all(&format!("config_agent_{name}")).first();
        info.and_then(|info| info.labels.get(label)).cloned()
    };
    let info = |name: &str| label("info", name).unwrap_or_default();
    let by = |name: &str, label: &'static str| -> Vec<(String, f64)> {
        let name = format!("config_agent_{name}");
        let found = samples.by(&name, label);
        found.map(|(value, number)| (value.to_owned(), number)).collect()
    };
    let files = by("file_in_force", "file").into_iter();
    let mut certificates: BTreeMap<String, i64> =
        by("server_certificate_expires_in_seconds", "file")
            .into_iter()
            .map(|(file, left)| (file, seconds(left)))
            .collect();
    if let Some(left) = one("certificate_expires_in_seconds") {
        certificates.insert("cmon.crt".to_owned(), seconds(left));
    }
    let mut names: BTreeMap<String, NamesSeen> = BTreeMap::new();
    // Records are said of every zone, also of one without a copy.
    for (zone, _) in by("zone_records", "zone") {
        names.entry(zone).or_default();
    }
    type Set = fn(&mut NamesSeen, f64);
    let sets: [(&str, Set); 4] = [
        ("zone_serial", |n, v| n.serial = u32::try_from(whole(v)).ok()),
        ("zone_age_seconds", |n, v| n.age_seconds = Some(whole(v))),
        ("zone_expired", |n, v| n.expired = v == 1.0),
        ("zone_held_back_seconds", |n, v| n.held_back = v > 0.0),
    ];
    for (metric, set) in sets {
        for (zone, value) in by(metric, "zone") {
            set(names.entry(zone).or_default(), value);
        }
    }
    let upstreams = samples.all("config_agent_upstream_up").iter();
    let silent = upstreams.filter(|upstream| upstream.value == 0.0);
    let silent_upstreams = silent.map(|upstream| {
        let of = |l| upstream.labels.get(l).map_or("", String::as_str);
        format!("{} {}", of("suffix"), of("address"))
    });
    AgentSeen {
        version: info("version"),
        role: info("role"),
        faults: count("faults").unwrap_or(0),
        files_not_in_force: files
            .filter(|(_, value)| *value == 0.0)
            .map(|(file, _)| file)
            .collect(),
        daemons: by("daemon_up", "daemon")
            .into_iter()
            .map(|(daemon, up)| (daemon, up == 1.0))
            .collect(),
        revision: label("revision_info", "revision"),
        shared_revision: label("revision_info", "shared"),
        revision_age_seconds: count("revision_age_seconds"),
        sapi_age_seconds: count("sapi_last_success_age_seconds"),
        sapi_failures: count("sapi_consecutive_failures").unwrap_or(0),
        discovery_up: flag("discovery_up"),
        targets: count("discovery_targets"),
        certificates,
        names,
        silent_upstreams: silent_upstreams.collect(),
        data_size_bytes: count("data_size_bytes"),
        data_available_bytes: count("data_available_bytes"),
        clock_ahead_seconds: None,
    }
}

async fn uploads(http: &Http, address: IpAddr, port: u16) -> Look<UploadsSeen> {
    match metrics(http, address, port).await {
        Ok((samples, _)) => Look::Seen(read_uploads(&samples)),
        Err(why) => Look::Failed(why),
    }
}

/// What the metrics of a daemon that uploads say.
pub fn read_uploads(samples: &Samples) -> UploadsSeen {
    let sum = |name: &str| -> u64 {
        let values = samples.all(name).iter().map(|one| whole(one.value));
        values.fold(0, u64::saturating_add)
    };
    let times = samples
        .all("thanos_objstore_bucket_last_successful_upload_time")
        .iter();
    let last = times.map(|sample| whole(sample.value)).max();
    let one = |name: &str| samples.one(name);
    UploadsSeen {
        last: last.filter(|last| *last > 0),
        started: one("process_start_time_seconds").map(whole),
        uploads: sum("thanos_shipper_uploads_total"),
        failures: sum("thanos_shipper_upload_failures_total"),
        halted: one("thanos_compact_halted") == Some(1.0),
        prometheus_up: one("thanos_sidecar_prometheus_up").map(|up| up == 1.0),
    }
}

/// A number that counts something: `as` takes the nearest, and 0 for what is
/// no number.
fn whole(value: f64) -> u64 {
    value as u64
}

/// As `whole`, with a sign.
fn seconds(value: f64) -> i64 {
    value as i64
}
