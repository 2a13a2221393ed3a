// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The keys of a Thanos zone that say what runs and how it answers queries.

use std::marker::PhantomData;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::json;

use super::super::super::grammar::{
    is_host_port, is_label_name, is_line, is_path, with_port,
};
use super::super::super::setting::{
    About, Change, Choice, Seconds, Switch, Text, Texts, Tree, Whole,
};
use crate::model::dns::ZoneName;
use crate::model::thanos::Component;

use super::size;

const RESTART: Change = Change::Restart;

pub(super) static COMPONENTS: Texts = Texts {
    about: About::derived(
        "thanos_components",
        "What runs in this zone: query, query-global, query-frontend, store, \
         compact, rule, receive. Split over several zones on a large site. Of \
         several with compact for one bucket the first runs it: once the \
         lists of every SAPI of region_datacenters have named it first for \
         half an hour, and while none of them is older than a quarter.",
        "query and query-frontend; with object_store also store and compact; \
         with rules or Alertmanagers also rule; with thanos_regional_queries \
         also query-global",
        RESTART,
    ),
    wanted: "query, query-global, query-frontend, store, compact, rule or \
             receive",
    accept: |text| Component::parse(text).is_some(),
    most: 20,
};
pub(super) static ENDPOINTS: Texts = Texts {
    about: About::value(
        "thanos_endpoints",
        "Further store APIs that query asks, beside those of the region's \
         Prometheus and Thanos instances.",
        "[]",
        Change::Nothing,
    ),
    wanted: "host:port, or with dns+, dnssrv+ or dnssrvnoa+ before it",
    accept: is_endpoint,
    most: 1_000,
};
pub(super) static REGIONAL_QUERIES: Texts = Texts {
    about: About::value(
        "thanos_regional_queries",
        "The queriers of other regions that query-global asks beside this \
         zone's own; port 10901 unless given. Needs thanos_ca_certificate or \
         thanos_tls.",
        "[]",
        Change::Nothing,
    ),
    wanted: "host or host:port",
    accept: |text| is_host_port(&with_port(text, 10_901)),
    most: 100,
};

/// The parts of `thanos_tls`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsWire {
    pub(super) cert: String,
    pub(super) key: String,
    pub(super) ca: String,
    pub(super) server_name: Option<String>,
}

pub(super) static TLS: Tree<TlsWire> = Tree {
    about: About::derived(
        "thanos_tls",
        "PEM files for gRPC between regions, put on the data folder by the \
         operator: cert, key, ca, and server_name where all certificates \
         carry one name. Query then asks every client for a certificate of \
         ca. A new file is taken up without a hand: cert and key by Thanos \
         itself, ca by a restart.",
        "what thanos_ca_certificate says",
        RESTART,
    ),
    wanted: "an object with cert, key and ca, absolute paths",
    schema: || {
        json!({"type": "object", "required": ["cert", "key", "ca"],
        "additionalProperties": false,
        "properties": {
            "cert": {"type": "string"}, "key": {"type": "string"},
            "ca": {"type": "string"}, "server_name": {"type": "string"},
        }})
    },
    check: |tls| {
        for (name, path) in
            [("cert", &tls.cert), ("key", &tls.key), ("ca", &tls.ca)]
        {
            if !is_path(path) {
                return Err(format!("{name} must be an absolute path"));
            }
        }
        match &tls.server_name {
            Some(name) if ZoneName::parse(name).is_err() => {
                Err("server_name must be a DNS name".to_owned())
            }
            _ => Ok(()),
        }
    },
    of: PhantomData,
};
pub(super) static CA_CERTIFICATE: Text = Text {
    about: About::derived(
        "thanos_ca_certificate",
        "Authority for gRPC between regions, PEM, the same in all of them: \
         each zone makes a certificate under it, for thirty days, and renews \
         it when a third is left. Query then asks every client for one. Of \
         several certificates all are trusted, and the one that fits \
         thanos_ca_private_key signs: so an authority is replaced. \
         config-agent certgen authority makes one.",
        "no TLS, or thanos_tls",
        RESTART,
    ),
    wanted: "PEM of one certificate or more, and of no key",
    accept: |text| {
        text.contains("-----BEGIN CERTIFICATE-----")
            && !text.contains("PRIVATE KEY")
    },
};
pub(super) static CA_PRIVATE_KEY: Text = Text {
    about: About::derived(
        "thanos_ca_private_key",
        "The private key of thanos_ca_certificate, PEM without a passphrase.",
        "none: it goes with thanos_ca_certificate",
        Change::Nothing,
    ),
    wanted: "PEM of a private key",
    accept: |text| text.contains("PRIVATE KEY-----"),
};
pub(super) static TLS_NAMES: Texts = Texts {
    about: About::value(
        "thanos_tls_names",
        "Further names and addresses by which other regions reach this zone: \
         its certificate under thanos_ca_certificate is good for them, \
         beside binder's names and the admin address.",
        "[]",
        Change::Nothing,
    ),
    wanted: "DNS names or IP addresses",
    accept: |text| {
        let name = text != "." && ZoneName::parse(text).is_ok();
        name || text.parse::<IpAddr>().is_ok()
    },
    most: 50,
};
pub(super) static REPLICA_LABELS: Texts = Texts {
    // Never `shard`: what two shards record about themselves differs in
    // nothing else, and would become one series.
    about: About::value(
        "thanos_replica_labels",
        "Labels that tell replicas of the same data apart. Series that \
         differ in nothing else become one.",
        "[\"replica\", \"rule_replica\", \"receive_replica\"]",
        RESTART,
    ),
    wanted: "label names",
    accept: is_label_name,
    most: 20,
};
pub(super) static DEDUPLICATION: Choice = Choice {
    about: About::value(
        "thanos_deduplication",
        "How replicas are merged: penalty suits Prometheus pairs, chain \
         copies that are the same to the sample, such as those of receive.",
        "\"penalty\"",
        RESTART,
    ),
    words: &["penalty", "chain"],
};
pub(super) static QUERY_TIMEOUT: Seconds = Seconds {
    about: About::value(
        "thanos_query_timeout",
        "Time a query may take.",
        "120",
        RESTART,
    ),
    low: 1,
    high: 86_400,
};
pub(super) static RESPONSE_TIMEOUT: Seconds = Seconds {
    // Upstream waits for ever: one slow store then holds every query.
    about: About::derived(
        "thanos_store_response_timeout",
        "Time one endpoint may be silent before the answer does without it.",
        "half of thanos_query_timeout",
        RESTART,
    ),
    low: 1,
    high: 86_400,
};
pub(super) static QUERY_MAX_CONCURRENCY: Whole = Whole {
    about: About::derived(
        "thanos_query_max_concurrency",
        "Queries at a time.",
        "20, or eight a processor of the CPU cap where that is less",
        RESTART,
    ),
    low: 1,
    high: 10_000,
    unit: "queries",
};
pub(super) static SLOWEST_INTERVAL: Seconds = Seconds {
    about: About::value(
        "thanos_slowest_scrape_interval",
        "The longest scrape_interval of any Prometheus asked: a sample counts \
         for twice that, and for five minutes at least.",
        "60",
        RESTART,
    ),
    low: 1,
    high: 86_400,
};
pub(super) static PARTIAL_RESPONSE: Switch = Switch {
    about: About::value(
        "thanos_partial_response",
        "Whether an answer may lack what could not be asked, with a warning, \
         or be an error.",
        "true",
        RESTART,
    ),
};
pub(super) static CACHE_SIZE: Text = Text {
    about: About::derived(
        "thanos_cache_size",
        "Bytes of answers to range queries that query-frontend keeps, and as \
         many of labels.",
        "a quarter of query-frontend's memory, 256MB without a cap",
        RESTART,
    ),
    wanted: size::WANTED,
    accept: size::is_cache,
};
pub(super) static SPLIT_INTERVAL: Seconds = Seconds {
    about: About::value(
        "thanos_split_interval",
        "Range queries are asked for in parts of this length.",
        "86400",
        RESTART,
    ),
    low: 3_600,
    high: 31 * 86_400,
};
pub(super) static DOWNSTREAM: Text = Text {
    about: About::derived(
        "thanos_downstream_url",
        "The querier that query-frontend asks.",
        "query-global or query of this zone, or else of another zone of the \
         region",
        RESTART,
    ),
    wanted: "a URL with http:// or https://",
    accept: |url| {
        is_line(url)
            && (url.starts_with("http://") || url.starts_with("https://"))
            && url.len() > 8
            && !url.contains(char::is_whitespace)
    },
};
pub(super) static LOG_LEVEL: Choice = Choice {
    about: About::value(
        "thanos_log_level",
        "What the components log.",
        "\"info\"",
        RESTART,
    ),
    words: &["debug", "info", "warn", "error"],
};

fn is_endpoint(text: &str) -> bool {
    let name = |text: &str| {
        let text = text.strip_prefix('_').unwrap_or(text);
        ZoneName::parse(&text.replace("._", ".")).is_ok()
    };
    for prefix in ["dnssrvnoa+", "dnssrv+"] {
        if let Some(rest) = text.strip_prefix(prefix) {
            return name(rest);
        }
    }
    is_host_port(text.strip_prefix("dns+").unwrap_or(text))
}
