// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the keys of a Prometheus zone mean together.

mod keys;
mod watched;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::grammar::{size_bytes, with_port};
use super::super::wire::Reader;
use super::{About, place, store};
use crate::model::prometheus::{Cmon, Federation, FileSd, Flags, Sidecar};
use crate::model::zone::{Caps, GoLimits};
use crate::model::{Flavor, Prometheus, Secret};

pub(crate) use keys::CMON_DOMAIN;
pub(super) use keys::SETTINGS;

use keys::*;

/// Shares of the zone's memory: Prometheus has most of it.
const PROMETHEUS_SHARES: u64 = 12;
const SIDECAR_SHARES: u64 = 3;
const ALERTMANAGER_SHARES: u64 = 1;

/// Bytes one sample takes in a running query.
const SAMPLE_BYTES: u64 = 16;

/// Upstream's own bounds, which are right for a large server.
const MAX_SAMPLES: u64 = 50_000_000;
const MAX_CONCURRENCY: u64 = 20;

pub(super) fn prometheus(
    reader: &mut Reader<'_>,
    about: &About<'_>,
) -> Prometheus {
    let scrape_interval = reader.or_default(&SCRAPE_INTERVAL);
    // Unset, the timeout follows an interval below ten seconds.
    let scrape_timeout =
        reader.get(&SCRAPE_TIMEOUT).unwrap_or(scrape_interval.min(10));
    if scrape_timeout > scrape_interval {
        reader.reject(
            &SCRAPE_TIMEOUT,
            format!(
                "at most scrape_interval, which is {scrape_interval} seconds"
            ),
        );
    }
    let external_labels = external_labels(reader, about);
    let retired = reader.or_default(&RETIRED);
    let caps = about.site.caps;
    let sidecar = sidecar(reader, about, retired);
    let shares = Shares {
        caps,
        whole: PROMETHEUS_SHARES
            + if sidecar.is_some() { SIDECAR_SHARES } else { 0 }
            // Kept whether one runs or not: to come or go it must not cost
            // Prometheus a restart.
            + ALERTMANAGER_SHARES,
    };
    let limits = shares.of(PROMETHEUS_SHARES);
    let flags = flags(reader, about, &limits, sidecar.as_ref());
    let prometheus = Prometheus {
        scrape_interval_seconds: scrape_interval,
        scrape_timeout_seconds: scrape_timeout,
        evaluation_interval_seconds: reader.or_default(&EVALUATION_INTERVAL),
        external_labels,
        replica_label: "replica".to_owned(),
        cmon: cmon(reader, about),
        compute_nodes: reader
            .get(&SCRAPE_COMPUTE_NODES)
            .unwrap_or(about.flavor == Flavor::Triton),
        retired,
        sample_limit: reader.or_default(&SAMPLE_LIMIT),
        rule_files: reader.or_default(&RULE_FILES),
        rule_groups: objects(reader.or_default(&RULE_GROUPS)),
        alertmanagers: alertmanagers(reader, about, about.alertmanager),
        file_sd: file_sd(reader),
        scrape_configs: secrets(reader.or_default(&SCRAPE_CONFIGS)),
        federation: federation(reader),
        watched: watched::watched(
            about,
            sidecar.is_some(),
            about.alertmanager,
            reader.or_default(&WATCH_PEERS),
        ),
        remote_write: secrets(reader.or_default(&REMOTE_WRITE)),
        remote_read: secrets(reader.or_default(&REMOTE_READ)),
        sidecar: sidecar.map(|sidecar| Sidecar {
            limits: shares.of(SIDECAR_SHARES),
            ..sidecar
        }),
        flags,
        limits,
    };
    one_name_each(reader, about, &prometheus);
    prometheus
}

/// How the daemons of a zone share its memory.
struct Shares {
    caps: Caps,
    whole: u64,
}

impl Shares {
    fn of(&self, part: u64) -> GoLimits {
        self.caps.go_limits(part, self.whole)
    }
}

fn external_labels(
    reader: &mut Reader<'_>,
    about: &About<'_>,
) -> BTreeMap<String, String> {
    let flavor = match about.flavor {
        Flavor::Triton => "triton",
        Flavor::Manta => "manta",
    };
    let replica = reader.get(&REPLICA);
    let mut labels = BTreeMap::from([
        ("datacenter".to_owned(), about.place.datacenter.clone()),
        ("flavor".to_owned(), flavor.to_owned()),
        ("shard".to_owned(), reader.or_default(&SHARD)),
        (
            "replica".to_owned(),
            replica.unwrap_or_else(|| about.site.instance.clone()),
        ),
    ]);
    if let Some(region) = &about.place.region {
        labels.insert("region".to_owned(), region.clone());
    }
    for (name, value) in reader.or_default(&EXTERNAL_LABELS) {
        if let Value::String(value) = value {
            labels.insert(name, value);
        }
    }
    labels
}

fn cmon(reader: &mut Reader<'_>, about: &About<'_>) -> Cmon {
    let domain = reader
        .get(&CMON_DOMAIN)
        .or_else(|| about.site.cmon_domain.clone())
        .unwrap_or_else(|| {
            let place = &about.place;
            format!("cmon.{}.cns.{}", place.datacenter, place.dns_domain)
        });
    Cmon {
        endpoint: domain.clone(),
        dns_suffix: domain,
        port: 9163,
        account: place::account(reader, about.flavor),
        verify: reader.or_default(&CMON_ENFORCE_CERTIFICATE),
        groups: reader.or_default(&GROUPS),
        refresh_interval_seconds: reader.or_default(&DISCOVERY_INTERVAL),
    }
}

/// Every one of them is told every alert.
fn alertmanagers(
    reader: &mut Reader<'_>,
    about: &About<'_>,
    own: bool,
) -> Vec<String> {
    if let Some(listed) = reader.get(&ALERTMANAGERS) {
        return listed.iter().map(|a| with_port(a, 9093)).collect();
    }
    let own = own.then(|| "localhost:9093".to_owned());
    own.into_iter().chain(watched::alertmanagers(about)).collect()
}

fn file_sd(reader: &mut Reader<'_>) -> Vec<FileSd> {
    reader
        .or_default(&FILE_SD)
        .into_iter()
        .map(|job| FileSd { job_name: job.job_name, files: job.files })
        .collect()
}

fn federation(reader: &mut Reader<'_>) -> Vec<Federation> {
    let jobs = reader.or_default(&FEDERATION).into_iter().enumerate();
    jobs.map(|(number, job)| Federation {
        job_name: job.job_name.unwrap_or_else(|| format!("federate_{number}")),
        targets: job.targets,
        matches: job.matches,
        interval_seconds: job.interval,
        // Large answers are slow ones; upstream's ten seconds are few.
        timeout_seconds: job.interval.min(30),
        scheme: job.scheme,
    })
    .collect()
}

fn sidecar(
    reader: &mut Reader<'_>,
    about: &About<'_>,
    retired: bool,
) -> Option<Sidecar> {
    let path = about.paths.etc.join("objstore.yml");
    let store = store::object_store(reader, &path.to_string_lossy());
    let upload_compacted = reader.or_default(&SIDECAR_UPLOAD_COMPACTED);
    let min_time = reader.get(&SIDECAR_MIN_TIME);
    let wanted = reader.get(&SIDECAR);
    if upload_compacted && store.is_none() {
        reader.reject(
            &SIDECAR_UPLOAD_COMPACTED,
            "false while there is no object_store",
        );
    }
    if wanted == Some(false) && retired {
        reader.reject(
            &SIDECAR,
            "true where prometheus_retired is: nobody could ask it otherwise",
        );
    }
    let asked = about.site.peers.of("thanos").next().is_some();
    if !wanted.unwrap_or(retired || store.is_some() || asked) {
        return None;
    }
    // What a retired server has was shipped, or never will be: its blocks
    // are compacted already.
    let store = store.filter(|_| !retired || upload_compacted);
    Some(Sidecar {
        store,
        upload_compacted,
        address: "0.0.0.0".to_owned(),
        min_time,
        limits: GoLimits::default(),
    })
}

fn flags(
    reader: &mut Reader<'_>,
    about: &About<'_>,
    limits: &GoLimits,
    sidecar: Option<&Sidecar>,
) -> Flags {
    let caps = about.site.caps;
    let retention_size = reader.get(&RETENTION_SIZE);
    if let (Some(size), Some(quota)) = (&retention_size, caps.quota_bytes)
        && size_bytes(size).is_some_and(|bytes| bytes > quota / 10 * 9)
    {
        reader.reject(
            &RETENTION_SIZE,
            format!(
                "at most nine tenths of the zone's quota, which is {} MB",
                quota >> 20
            ),
        );
    }
    let retention_size = retention_size.or_else(|| {
        // A block must fit, whatever the quota.
        caps.store_bytes().map(|bytes| format!("{}MB", (bytes >> 20).max(512)))
    });
    let concurrency = reader.get(&QUERY_MAX_CONCURRENCY).unwrap_or_else(|| {
        let processors = caps.processors().map(u64::from);
        processors.map_or(MAX_CONCURRENCY, |n| (8 * n).min(MAX_CONCURRENCY))
    });
    let samples = reader.get(&QUERY_MAX_SAMPLES).unwrap_or_else(|| {
        limits.memory_bytes.map_or(MAX_SAMPLES, |bytes| {
            (bytes / 4 / SAMPLE_BYTES).clamp(1_000_000, MAX_SAMPLES)
        })
    });
    Flags {
        // As the images of today: every address, the firewall separates.
        listen_address: "0.0.0.0:9090".to_owned(),
        retention_time: reader.or_default(&RETENTION_TIME),
        retention_size,
        query_timeout_seconds: reader.or_default(&QUERY_TIMEOUT),
        query_max_concurrency: u32::try_from(concurrency).unwrap_or(u32::MAX),
        query_max_samples: samples,
        fixed_blocks: sidecar.is_some_and(|sidecar| sidecar.store.is_some()),
        log_level: reader.or_default(&LOG_LEVEL).to_owned(),
    }
}

/// Prometheus takes no two jobs of one name; the words here say whose.
fn one_name_each(
    reader: &mut Reader<'_>,
    about: &About<'_>,
    prometheus: &Prometheus,
) {
    let place = &about.place.datacenter;
    let account = &prometheus.cmon.account;
    let mut names: BTreeSet<String> = ["global_zones", account]
        .into_iter()
        .map(|job| format!("{job}_{place}"))
        .chain(prometheus.watched.iter().map(|job| job.job_name.clone()))
        .collect();
    let taken = |name: &str| format!("job names that are free; {name} is not");
    for job in &prometheus.file_sd {
        if !names.insert(job.job_name.clone()) {
            reader.reject(&FILE_SD, taken(&job.job_name));
        }
    }
    for job in &prometheus.federation {
        if !names.insert(job.job_name.clone()) {
            reader.reject(&FEDERATION, taken(&job.job_name));
        }
    }
    for job in &prometheus.scrape_configs {
        // Only its name is looked at.
        let name = job.expose().get("job_name").and_then(Value::as_str);
        if let Some(name) = name
            && !names.insert(name.to_owned())
        {
            reader.reject(&SCRAPE_CONFIGS, taken(name));
        }
    }
}

fn objects(list: Vec<serde_json::Map<String, Value>>) -> Vec<Value> {
    list.into_iter().map(Value::Object).collect()
}

fn secrets(list: Vec<serde_json::Map<String, Value>>) -> Vec<Secret<Value>> {
    list.into_iter().map(|map| Secret::new(Value::Object(map))).collect()
}
