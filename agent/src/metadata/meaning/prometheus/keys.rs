// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The keys of a Prometheus zone.

use std::marker::PhantomData;

use serde_json::{Map, Value, json};

use super::super::super::grammar::{
    is_cmon_domain, is_duration, is_group, is_host_port, is_job_name,
    is_label_name, is_size, with_port,
};
use super::super::super::setting::{
    About, Change, Choice, Seconds, Setting, Switch, Text, Texts, Tree, Whole,
};
use super::wire::{FederationWire, FileSdWire};

const RELOAD: Change = Change::Reload;
const RESTART: Change = Change::Restart;

/// A free-form object or list that the daemon's own checker judges.
type Free = Map<String, Value>;

pub(super) static SCRAPE_INTERVAL: Seconds = Seconds {
    // Ten seconds: what the images of today render, and what the stock
    // dashboards' rate windows assume.
    about: About::value(
        "scrape_interval",
        "Time between two scrapes of a target.",
        "10",
        RELOAD,
    ),
    low: 1,
    high: 86_400,
};
pub(super) static SCRAPE_TIMEOUT: Seconds = Seconds {
    about: About::derived(
        "scrape_timeout",
        "Time after which a scrape is given up. At most scrape_interval.",
        "10, or scrape_interval where that is less",
        RELOAD,
    ),
    low: 1,
    high: 86_400,
};
pub(super) static EVALUATION_INTERVAL: Seconds = Seconds {
    about: About::value(
        "evaluation_interval",
        "Time between two evaluations of rules.",
        "10",
        RELOAD,
    ),
    low: 1,
    high: 86_400,
};
pub(super) static DISCOVERY_INTERVAL: Seconds = Seconds {
    about: About::value(
        "discovery_interval",
        "Time between two questions to CMON for its targets.",
        "60",
        RELOAD,
    ),
    low: 1,
    high: 86_400,
};
pub(super) static SHARD: Text = Text {
    // Always there: a label set that gains a label later makes every stored
    // block a stranger to Thanos.
    about: About::value(
        "shard",
        "Label shard of every series: the same for the members of a pair.",
        "\"0\"",
        RELOAD,
    ),
    wanted: "1 to 100 printable characters",
    accept: is_label_value,
};
pub(super) static REPLICA: Text = Text {
    // The instance uuid survives a reprovision, as a replica must.
    about: About::derived(
        "replica",
        "Label replica of every series: what tells the members of a pair \
         apart, and nothing else.",
        "the instance's uuid",
        RELOAD,
    ),
    wanted: "1 to 100 printable characters",
    accept: is_label_value,
};
pub(super) static EXTERNAL_LABELS: Tree<Free> = Tree {
    about: About::value(
        "external_labels",
        "Further labels of every series and alert that leaves this server.",
        "{}",
        RELOAD,
    ),
    wanted: "an object of label names with string values",
    schema: || {
        json!({"type": "object",
               "additionalProperties": {"type": "string"}})
    },
    check: |labels| match labels.iter().find(|(name, value)| {
        !is_label_name(name) || !value.as_str().is_some_and(is_label_value)
    }) {
        None => Ok(()),
        Some((name, _)) => Err(format!("label {name:?} is not so")),
    },
    of: PhantomData,
};
pub(crate) static CMON_DOMAIN: Text = Text {
    about: About::derived(
        "cmon_domain",
        "The name under which CMON is asked for targets and metrics.",
        "cmon.<zone>, the zone being the one in which CNS lists this VM",
        RELOAD,
    ),
    wanted: "a DNS name whose first label is cmon",
    accept: is_cmon_domain,
};
pub(super) static CMON_ENFORCE_CERTIFICATE: Switch = Switch {
    // CMON's own certificate is self-signed without a SAN, so a zone that
    // insisted by default would see nothing.
    about: About::value(
        "cmon_enforce_certificate",
        "Whether CMON's certificate must verify.",
        "false",
        RELOAD,
    ),
};
pub(super) static GROUPS: Texts = Texts {
    about: About::value(
        "groups",
        "Zones with one of these tags (triton.cmon.groups) are watched; none \
         means every zone. A Prometheus pair has its shard's tag here.",
        "[]",
        RELOAD,
    ),
    wanted: "names of 1 to 100 letters, digits, _ or -",
    accept: is_group,
    most: 100,
};
pub(super) static SCRAPE_COMPUTE_NODES: Switch = Switch {
    about: About::derived(
        "scrape_compute_nodes",
        "Whether compute nodes are watched; needs an operator's account.",
        "true for Triton, false for Manta",
        RELOAD,
    ),
};
pub(super) static SAMPLE_LIMIT: Whole = Whole {
    about: About::value(
        "sample_limit",
        "Samples that one scrape may bring before it is dropped; 0 is no \
         limit.",
        "0",
        RELOAD,
    ),
    low: 0,
    high: 100_000_000,
    unit: "samples",
};
pub(super) static RETIRED: Switch = Switch {
    about: About::value(
        "prometheus_retired",
        "A Prometheus that scrapes nothing any more and serves what it has, \
         by a sidecar without a bucket, until that is past its retention.",
        "false",
        RESTART,
    ),
};
pub(super) static RULE_FILES: Texts = Texts {
    about: About::value(
        "rule_files",
        "Rule files of the operator, beside those of the image.",
        "[]",
        RELOAD,
    ),
    wanted: "absolute paths, the last part may be *.yml",
    accept: |path| path.starts_with('/') && is_label_value(path),
    most: 1_000,
};
pub(super) static RULE_GROUPS: Tree<Vec<Free>> = Tree {
    about: About::value(
        "rule_groups",
        "Rules of the operator: groups as Prometheus has them.",
        "[]",
        RELOAD,
    ),
    wanted: "a list of rule groups",
    schema: || json!({"type": "array", "items": {"type": "object"}}),
    check: |groups| at_most(groups, 1_000),
    of: PhantomData,
};
pub(super) static ALERTMANAGERS: Texts = Texts {
    about: About::derived(
        "alertmanagers",
        "Alertmanagers that every alert is sent to; port 9093 unless given.",
        "those that run in this datacenter's monitoring zones",
        RELOAD,
    ),
    wanted: "host or host:port",
    accept: |text| is_host_port(&with_port(text, 9093)),
    most: 100,
};
pub(super) static FILE_SD: Tree<Vec<FileSdWire>> = Tree {
    about: About::value(
        "file_sd",
        "Scrape jobs whose targets stand in files: job_name and files.",
        "[]",
        RELOAD,
    ),
    wanted: "a list of objects with job_name and files, absolute paths",
    schema: || {
        json!({"type": "array", "items": {
            "type": "object", "required": ["job_name", "files"],
            "additionalProperties": false,
            "properties": {
                "job_name": {"type": "string"},
                "files": {"type": "array", "items": {"type": "string"}},
            },
        }})
    },
    check: |jobs| {
        at_most(jobs, 1_000)?;
        for job in jobs {
            job_name(&job.job_name)?;
            let good = |file: &String| {
                let named = file.ends_with(".json")
                    || file.ends_with(".yml")
                    || file.ends_with(".yaml");
                file.starts_with('/') && named && is_label_value(file)
            };
            if job.files.is_empty() || !job.files.iter().all(good) {
                return Err(format!(
                    "files of {} must be absolute paths of .json, .yml or \
                     .yaml",
                    job.job_name
                ));
            }
        }
        Ok(())
    },
    of: PhantomData,
};
pub(super) static SCRAPE_CONFIGS: Tree<Vec<Free>> = Tree {
    about: About::value(
        "scrape_configs",
        "Further scrape jobs, as Prometheus has them.",
        "[]",
        RELOAD,
    ),
    wanted: "a list of scrape configurations with job_name each",
    schema: || {
        json!({"type": "array", "items": {
            "type": "object", "required": ["job_name"],
            "properties": {"job_name": {"type": "string"}},
        }})
    },
    check: |jobs| {
        at_most(jobs, 1_000)?;
        jobs.iter().try_for_each(|job| {
            job_name(job.get("job_name").and_then(Value::as_str).unwrap_or(""))
        })
    },
    of: PhantomData,
};
pub(super) static FEDERATION: Tree<Vec<FederationWire>> = Tree {
    about: About::value(
        "federation",
        "Other Prometheus servers whose recorded series are taken over: \
         targets, match, and if need be job_name, interval, scheme.",
        "[]",
        RELOAD,
    ),
    wanted: "a list of objects with targets and match",
    schema: || {
        json!({"type": "array", "items": {
            "type": "object", "required": ["targets", "match"],
            "additionalProperties": false,
            "properties": {
                "job_name": {"type": "string"},
                "targets": {"type": "array", "items": {"type": "string"}},
                "match": {"type": "array", "items": {"type": "string"}},
                "interval": {"type": "integer", "minimum": 1},
                "scheme": {"enum": ["http", "https"]},
            },
        }})
    },
    check: |jobs| {
        at_most(jobs, 100)?;
        jobs.iter().try_for_each(FederationWire::check)
    },
    of: PhantomData,
};
pub(super) static WATCH_PEERS: Switch = Switch {
    about: About::value(
        "watch_peers",
        "Whether other monitoring zones are scraped, their config-agents \
         too: the region's Prometheus, this datacenter's Thanos and Grafana. \
         A server that is gone cannot say so itself.",
        "true",
        RELOAD,
    ),
};
pub(super) static REMOTE_WRITE: Tree<Vec<Free>> = Tree {
    about: About::value(
        "remote_write",
        "Where every sample is sent to, as Prometheus has it.",
        "[]",
        RELOAD,
    ),
    wanted: "a list of objects with url each",
    schema: urls_schema,
    check: |list| urls(list),
    of: PhantomData,
};
pub(super) static REMOTE_READ: Tree<Vec<Free>> = Tree {
    about: About::value(
        "remote_read",
        "Where older samples are asked for, as Prometheus has it.",
        "[]",
        RELOAD,
    ),
    wanted: "a list of objects with url each",
    schema: urls_schema,
    check: |list| urls(list),
    of: PhantomData,
};
pub(super) static RETENTION_TIME: Text = Text {
    // One month: the longest month, so that "last month" is whole.
    about: About::value(
        "retention_time",
        "How long samples are kept here.",
        "\"31d\"",
        RESTART,
    ),
    wanted: "a Prometheus duration of 6h or more, such as 31d (1m is a minute)",
    accept: is_duration,
};
pub(super) static RETENTION_SIZE: Text = Text {
    about: About::derived(
        "retention_size",
        "Bytes of blocks and log beyond which the oldest block goes, before \
         its time.",
        "seven tenths of the zone's quota, two GiB taken off",
        RESTART,
    ),
    wanted: "512MB or more, with a unit (MB, GB, TB, PB), such as 25GB",
    accept: is_size,
};
pub(super) static QUERY_TIMEOUT: Seconds = Seconds {
    about: About::value(
        "query_timeout",
        "Time a query may take.",
        "120",
        RESTART,
    ),
    low: 1,
    high: 86_400,
};
pub(super) static QUERY_MAX_CONCURRENCY: Whole = Whole {
    about: About::derived(
        "query_max_concurrency",
        "Queries at a time.",
        "20, or eight a processor of the CPU cap where that is less",
        RESTART,
    ),
    low: 1,
    high: 10_000,
    unit: "queries",
};
pub(super) static QUERY_MAX_SAMPLES: Whole = Whole {
    about: About::derived(
        "query_max_samples",
        "Samples one query may hold in memory.",
        "50000000, or what a quarter of Prometheus' memory holds",
        RESTART,
    ),
    low: 1,
    high: 10_000_000_000,
    unit: "samples",
};
pub(super) static LOG_LEVEL: Choice = Choice {
    about: About::value(
        "prometheus_log_level",
        "What Prometheus logs.",
        "\"info\"",
        RESTART,
    ),
    words: &["debug", "info", "warn", "error"],
};
pub(super) static SIDECAR: Switch = Switch {
    about: About::derived(
        "thanos_sidecar",
        "Whether a Thanos sidecar runs beside Prometheus.",
        "true with an object store, when retired, and where the region has a \
         Thanos zone",
        RESTART,
    ),
};
pub(super) static SIDECAR_UPLOAD_COMPACTED: Switch = Switch {
    about: About::value(
        "thanos_upload_compacted",
        "Whether the sidecar takes along blocks compacted before it came.",
        "false",
        RESTART,
    ),
};
pub(super) static SIDECAR_MIN_TIME: Text = Text {
    about: About::derived(
        "thanos_sidecar_min_time",
        "How far back the sidecar answers; the store gateway has the rest.",
        "all there is",
        RESTART,
    ),
    wanted: "a relative time such as -3d",
    accept: |text| text.strip_prefix('-').is_some_and(is_duration),
};

/// The keys of this file.
pub(in super::super) static SETTINGS: &[&dyn Setting] = &[
    &SCRAPE_INTERVAL,
    &SCRAPE_TIMEOUT,
    &EVALUATION_INTERVAL,
    &DISCOVERY_INTERVAL,
    &SHARD,
    &REPLICA,
    &EXTERNAL_LABELS,
    &CMON_DOMAIN,
    &CMON_ENFORCE_CERTIFICATE,
    &GROUPS,
    &SCRAPE_COMPUTE_NODES,
    &SAMPLE_LIMIT,
    &RETIRED,
    &RULE_FILES,
    &RULE_GROUPS,
    &ALERTMANAGERS,
    &FILE_SD,
    &SCRAPE_CONFIGS,
    &FEDERATION,
    &WATCH_PEERS,
    &REMOTE_WRITE,
    &REMOTE_READ,
    &RETENTION_TIME,
    &RETENTION_SIZE,
    &QUERY_TIMEOUT,
    &QUERY_MAX_CONCURRENCY,
    &QUERY_MAX_SAMPLES,
    &LOG_LEVEL,
    &SIDECAR,
    &SIDECAR_UPLOAD_COMPACTED,
    &SIDECAR_MIN_TIME,
];

/// A value that reads well wherever a label is shown.
fn is_label_value(text: &str) -> bool {
    (1..=1_000).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn at_most<T>(list: &[T], most: usize) -> Result<(), String> {
    if list.len() <= most {
        return Ok(());
    }
    Err(format!("{} of them are more than {most}", list.len()))
}

fn job_name(name: &str) -> Result<(), String> {
    if is_job_name(name) {
        return Ok(());
    }
    Err(format!("job_name {name:?} is not 1 to 200 printable characters"))
}

fn urls_schema() -> Value {
    json!({"type": "array", "items": {
        "type": "object", "required": ["url"],
        "properties": {"url": {"type": "string"}},
    }})
}

fn urls(list: &[Free]) -> Result<(), String> {
    at_most(list, 100)?;
    for item in list {
        let url = item.get("url").and_then(Value::as_str).unwrap_or_default();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err("each needs a url with http:// or https://".to_owned());
        }
    }
    Ok(())
}
