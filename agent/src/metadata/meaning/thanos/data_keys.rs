// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The keys of a Thanos zone about what is kept: store, compact, rule,
//! receive.

use std::marker::PhantomData;

use serde_json::{Map, Value, json};

use super::super::super::grammar::{
    duration_seconds, is_duration, is_host_port, is_label_name, is_line,
    is_path, is_time, with_port,
};
use super::super::super::setting::{
    About, Change, Seconds, Text, Texts, Tree, Whole,
};

use super::size;

const RELOAD: Change = Change::Reload;
const RESTART: Change = Change::Restart;

const HOUR: u64 = 3_600;
/// What must be kept for its five-minute aggregate to be made.
const RAW_LEAST: u64 = 40 * HOUR;
/// What must be kept for its one-hour aggregate to be made.
const FIVE_MINUTES_LEAST: u64 = 10 * 24 * HOUR;

const TIME: &str = "an RFC 3339 time, or a relative one such as -6w";

pub(super) static STORE_MIN_TIME: Text = Text {
    about: About::derived(
        "thanos_store_min_time",
        "The oldest data that store serves. Stores that share a bucket by \
         time should overlap by some days.",
        "all there is",
        RESTART,
    ),
    wanted: TIME,
    accept: is_time,
};
pub(super) static STORE_MAX_TIME: Text = Text {
    about: About::derived(
        "thanos_store_max_time",
        "The newest data that store serves.",
        "all there is",
        RESTART,
    ),
    wanted: TIME,
    accept: is_time,
};
pub(super) static INDEX_CACHE_SIZE: Text = Text {
    about: About::derived(
        "thanos_index_cache_size",
        "Bytes of the bucket's indexes that store keeps in memory.",
        "a quarter of store's memory, 250MB without a cap",
        RESTART,
    ),
    wanted: size::WANTED,
    accept: size::is_cache,
};
pub(super) static CHUNK_POOL_SIZE: Text = Text {
    about: About::derived(
        "thanos_chunk_pool_size",
        "Bytes of chunks that store may have in memory.",
        "a quarter of store's memory, 2048MB without a cap",
        RESTART,
    ),
    wanted: size::WANTED,
    accept: size::is_cache,
};
pub(super) static SYNC_INTERVAL: Seconds = Seconds {
    about: About::value(
        "thanos_sync_interval",
        "Time between two looks of store for new blocks.",
        "900",
        RESTART,
    ),
    low: 60,
    high: 86_400,
};
const RETENTION: &str = "a Prometheus duration such as 90d, or 0d for ever";

pub(super) static RETENTION_RAW: Text = Text {
    about: About::value(
        "thanos_retention_raw",
        "How long the bucket keeps samples as they came. Below 40h they would \
         go before their aggregates exist.",
        "\"0d\"",
        RESTART,
    ),
    wanted: "a Prometheus duration of 40h or more, or 0d for ever",
    accept: |text| kept(text, RAW_LEAST),
};
pub(super) static RETENTION_5M: Text = Text {
    about: About::value(
        "thanos_retention_5m",
        "How long the bucket keeps five-minute aggregates. Below 10d they \
         would go before their own aggregates exist.",
        "\"0d\"",
        RESTART,
    ),
    wanted: "a Prometheus duration of 10d or more, or 0d for ever",
    accept: |text| kept(text, FIVE_MINUTES_LEAST),
};
pub(super) static RETENTION_1H: Text = Text {
    about: About::value(
        "thanos_retention_1h",
        "How long the bucket keeps one-hour aggregates.",
        "\"0d\"",
        RESTART,
    ),
    wanted: RETENTION,
    accept: |text| kept(text, HOUR),
};
pub(super) static DELETE_DELAY: Seconds = Seconds {
    about: About::value(
        "thanos_delete_delay",
        "Time between a block's deletion mark and its deletion. Store serves \
         it for half of that, so it must be more than twice \
         thanos_sync_interval.",
        "172800",
        RESTART,
    ),
    low: 600,
    high: 365 * 86_400,
};
pub(super) static RULE_GROUPS: Tree<Vec<Map<String, Value>>> = Tree {
    about: About::value(
        "rule_groups",
        "Rules of the operator over the whole region: groups as Thanos has \
         them. Rules about one datacenter belong into its Prometheus.",
        "[]",
        RELOAD,
    ),
    wanted: "a list of rule groups",
    schema: || json!({"type": "array", "items": {"type": "object"}}),
    check: |groups| {
        if groups.len() > 1_000 {
            return Err(format!("{} are more than 1000", groups.len()));
        }
        for group in groups {
            if !group.get("name").is_some_and(Value::is_string) {
                return Err("each group needs a name".to_owned());
            }
            let strategy = group.get("partial_response_strategy");
            if strategy.is_some_and(|s| s != "warn" && s != "abort") {
                return Err(
                    "partial_response_strategy is warn or abort".to_owned()
                );
            }
        }
        Ok(())
    },
    of: PhantomData,
};
pub(super) static RULE_FILES: Texts = Texts {
    about: About::value(
        "rule_files",
        "Rule files of the operator, beside those of the image.",
        "[]",
        RESTART,
    ),
    wanted: "absolute paths, the last part may be *.yml",
    accept: is_path,
    most: 1_000,
};
pub(super) static ALERTMANAGERS: Texts = Texts {
    about: About::derived(
        "alertmanagers",
        "Alertmanagers that every alert of rule is sent to; port 9093 unless \
         given.",
        "those that run in this datacenter's monitoring zones, or in the \
         region's where it has none",
        Change::Nothing,
    ),
    wanted: "host or host:port",
    accept: |text| is_host_port(&with_port(text, 9093)),
    most: 100,
};
pub(super) static RULE_QUERIES: Texts = Texts {
    about: About::derived(
        "thanos_rule_queries",
        "Queriers that rule asks; port 10902 unless given.",
        "query of this zone, then those of the region's other zones",
        Change::Nothing,
    ),
    wanted: "host or host:port",
    accept: |text| is_host_port(&with_port(text, 10_902)),
    most: 100,
};
pub(super) static RULER: Text = Text {
    // Not `region`: a ruler's labels win over those of the series.
    about: About::derived(
        "thanos_ruler",
        "Label ruler of what rule records and of its alerts: the same for \
         rulers that do the same work.",
        "the region, or the datacenter where there is none",
        RESTART,
    ),
    wanted: "1 to 1000 printable characters",
    accept: is_line,
};
pub(super) static EVALUATION_INTERVAL: Seconds = Seconds {
    about: About::value(
        "evaluation_interval",
        "Time between two evaluations of rules.",
        "60",
        RESTART,
    ),
    low: 1,
    high: 86_400,
};
pub(super) static RULE_RETENTION: Text = Text {
    about: About::value(
        "thanos_rule_retention",
        "How long rule keeps what it recorded, beside the bucket.",
        "\"15d\"",
        RESTART,
    ),
    wanted: "a Prometheus duration of 6h or more, such as 15d",
    accept: is_duration,
};

pub(super) static RECEIVE_ENDPOINTS: Texts = Texts {
    about: About::derived(
        "thanos_receive_endpoints",
        "gRPC addresses of all receive nodes, this one's included; port \
         10911 unless given.",
        "the region's instances that run receive",
        Change::Nothing,
    ),
    wanted: "host or host:port",
    accept: |text| is_host_port(&with_port(text, 10_911)),
    most: 1_000,
};
pub(super) static REPLICATION_FACTOR: Whole = Whole {
    about: About::derived(
        "thanos_replication_factor",
        "Receive nodes that take each sample. More than half of them must \
         succeed; of two, one.",
        "3, or the number of nodes where that is less",
        RESTART,
    ),
    low: 1,
    high: 9,
    unit: "nodes",
};
pub(super) static RECEIVE_LABELS: Tree<Map<String, Value>> = Tree {
    about: About::value(
        "thanos_receive_labels",
        "Further labels of all that receive takes.",
        "{}",
        RESTART,
    ),
    wanted: "an object of label names with string values",
    schema: || {
        json!({"type": "object",
               "additionalProperties": {"type": "string"}})
    },
    check: |labels| {
        if labels.len() > 100 {
            return Err(format!("{} are more than 100", labels.len()));
        }
        match labels.iter().find(|(name, value)| {
            !is_label_name(name) || !value.as_str().is_some_and(is_line)
        }) {
            None => Ok(()),
            Some((name, _)) => Err(format!("label {name:?} is not so")),
        }
    },
    of: PhantomData,
};
pub(super) static RECEIVE_RETENTION: Text = Text {
    about: About::value(
        "thanos_receive_retention",
        "How long receive keeps samples, beside the bucket.",
        "\"15d\"",
        RESTART,
    ),
    wanted: "a Prometheus duration of 6h or more, such as 15d",
    accept: is_duration,
};
pub(super) static TENANT_LABEL: Text = Text {
    about: About::value(
        "thanos_tenant_label",
        "Label that says whose a received series is.",
        "\"tenant_id\"",
        RESTART,
    ),
    wanted: "a label name",
    accept: is_label_name,
};
pub(super) static DEFAULT_TENANT: Text = Text {
    about: About::value(
        "thanos_default_tenant",
        "Whose a received series is when its sender does not say.",
        "\"default-tenant\"",
        RESTART,
    ),
    wanted: "1 to 100 letters, digits, _ or -",
    accept: |text| {
        (1..=100).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    },
};

/// For ever, or at least so many seconds.
fn kept(text: &str, least: u64) -> bool {
    let zero = || !text.bytes().any(|b| (b'1'..=b'9').contains(&b));
    duration_seconds(text)
        .is_some_and(|seconds| seconds >= least || seconds == 0 && zero())
}
