// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The keys of a Grafana zone.

use std::marker::PhantomData;

use serde_json::json;

use super::super::super::grammar::is_host_port;
use super::super::super::setting::{
    About, Change, Choice, Seconds, Setting, Switch, Text, Texts, Tree, Whole,
};
use super::wire::{
    RegionWire, SourceUrl, SourceWire, THANOS_PORT, is_address,
    is_certificates, is_certified_name, is_dashboard, is_name, is_root_url,
};

const RELOAD: Change = Change::Reload;
const RESTART: Change = Change::Restart;

pub(super) static DOMAIN: Text = Text {
    about: About::derived(
        "grafana_domain",
        "The name under which people reach Grafana.",
        "grafana.<datacenter>.<dns_domain>",
        RESTART,
    ),
    wanted: "a DNS name",
    accept: is_name,
};
pub(super) static ROOT_URL: Text = Text {
    about: About::derived(
        "grafana_root_url",
        "The URL under which people reach Grafana; part of every link it \
         makes.",
        "https://<grafana_domain>/",
        RESTART,
    ),
    wanted: "a URL with https:// and no query",
    accept: is_root_url,
};
pub(super) static SERVER_NAMES: Texts = Texts {
    about: About::derived(
        "grafana_server_names",
        "Names and addresses that the certificate is for, as long as it is \
         the one made here.",
        "grafana_domain, that of grafana_root_url and the zone's addresses",
        RELOAD,
    ),
    wanted: "DNS names and IP addresses",
    accept: is_certified_name,
    most: 100,
};
pub(super) static LISTEN: Texts = Texts {
    about: About::value(
        "grafana_listen",
        "Addresses of the zone at which people are answered.",
        "[\"0.0.0.0\"]",
        RELOAD,
    ),
    wanted: "IP addresses",
    accept: is_address,
    most: 16,
};
pub(super) static HTTPS_PORT: Whole = Whole {
    about: About::value(
        "grafana_https_port",
        "The TCP port of TLS.",
        "443",
        RELOAD,
    ),
    low: 1,
    high: 65_535,
    unit: "",
};
pub(super) static HTTP_PORT: Whole = Whole {
    about: About::value(
        "grafana_http_port",
        "The TCP port at which people are sent to TLS; 0 is none.",
        "80",
        RELOAD,
    ),
    low: 0,
    high: 65_535,
    unit: "",
};
pub(super) static METRICS_LISTEN: Texts = Texts {
    about: About::value(
        "grafana_metrics_listen",
        "Where Grafana's own metrics are answered to anybody, without signing \
         in, beside 127.0.0.1:9167. This datacenter's Prometheus is answered \
         at the zone's admin addresses, port 9167, without it.",
        "[]",
        RELOAD,
    ),
    wanted: "address:port",
    accept: |text| {
        is_host_port(text)
            && text.rsplit_once(':').is_some_and(|(host, _)| is_address(host))
    },
    most: 16,
};
pub(super) static BODY_SIZE: Whole = Whole {
    // A large dashboard with its history in JSON.
    about: About::value(
        "grafana_body_size",
        "The largest request that is let through.",
        "16",
        RELOAD,
    ),
    low: 1,
    high: 1_024,
    unit: "MiB",
};
pub(super) static REQUEST_RATE: Whole = Whole {
    // A first page load is some fifty files and as many queries; ten times
    // the rate may come at once.
    about: About::value(
        "grafana_request_rate",
        "Requests a second that one address may make over time.",
        "100",
        RELOAD,
    ),
    low: 1,
    high: 100_000,
    unit: "requests",
};
pub(super) static CONNECTIONS: Whole = Whole {
    about: About::value(
        "grafana_connections",
        "Requests at a time that one address may make.",
        "200",
        RELOAD,
    ),
    low: 10,
    high: 10_000,
    unit: "requests",
};
pub(super) static QUERY_TIMEOUT: Seconds = Seconds {
    about: About::value(
        "grafana_query_timeout",
        "Time after which Grafana gives up a query.",
        "30",
        RESTART,
    ),
    low: 5,
    high: 600,
};
pub(super) static LIVE: Switch = Switch {
    about: About::value(
        "grafana_live",
        "Whether pages hold a WebSocket for what is pushed to them. No stock \
         dashboard needs it. One that is open is not asked about again: it \
         stays open when its owner signs out, or is no operator any more.",
        "false",
        RESTART,
    ),
};
pub(super) static LOG_LEVEL: Choice = Choice {
    about: About::value(
        "grafana_log_level",
        "How much Grafana says in its log. The sign-in proxy says in any case \
         who came in and who did not.",
        "\"info\"",
        RESTART,
    ),
    words: &["debug", "info", "warn", "error"],
};
pub(super) static HOME_DASHBOARD: Text = Text {
    about: About::value(
        "grafana_home_dashboard",
        "The dashboard that people see first.",
        "\"triton-overview\"",
        RESTART,
    ),
    wanted: "the name of a stock dashboard, or the absolute path of a file \
             that ends in .json",
    accept: is_dashboard,
};
pub(super) static SCRAPE_INTERVAL: Seconds = Seconds {
    about: About::value(
        "grafana_scrape_interval",
        "The scrape_interval of the Prometheus servers: the least step of a \
         graph.",
        "10",
        RESTART,
    ),
    low: 1,
    high: 86_400,
};
pub(super) static THANOS: Text = Text {
    about: About::derived(
        "grafana_thanos",
        "Where the Thanos of this region answers queries; port 10902 unless \
         given.",
        "where SAPI lists one that takes queries; while it lists none, \
         Prometheus is asked",
        RESTART,
    ),
    wanted: "host, host:port or a URL",
    accept: |text| SourceUrl::parse(text, THANOS_PORT).is_some(),
};
pub(super) static THANOS_CA: Text = Text {
    about: About::derived(
        "grafana_thanos_ca",
        "Authorities that the certificates of Thanos may come from.",
        "those of the image",
        RESTART,
    ),
    wanted: "PEM certificates",
    accept: is_certificates,
};
pub(super) static MANTA: Switch = Switch {
    about: About::derived(
        "grafana_manta",
        "Whether Manta's Prometheus is a data source while there is no \
         Thanos.",
        "true where SAPI lists one",
        RESTART,
    ),
};
pub(super) static REGIONS: Tree<Vec<RegionWire>> = Tree {
    about: About::derived(
        "grafana_regions",
        "Every region that people can choose, the default one first: name; \
         thanos, or datacenters (with dns_domain, and manta where it is \
         there).",
        "this region alone",
        RESTART,
    ),
    wanted: "a list of objects with name, and thanos or datacenters",
    schema: || {
        json!({"type": "array", "maxItems": 100, "items": {
        "type": "object", "required": ["name"],
        "additionalProperties": false,
        "properties": {
            "name": {"type": "string"},
            "thanos": {"type": "string"},
            "datacenters": {
                "type": "array", "items": {"type": "string"}},
            "dns_domain": {"type": "string"},
            "manta": {"type": "boolean"},
        }}})
    },
    check: |regions| {
        at_most(regions)?;
        regions.iter().try_for_each(RegionWire::check)
    },
    of: PhantomData,
};
pub(super) static DATA_SOURCES: Tree<Vec<SourceWire>> = Tree {
    about: About::derived(
        "grafana_data_sources",
        "Every data source, the default one first, in place of those that \
         follow from the regions: name, url, type (prometheus or thanos), \
         ca, server_name.",
        "those of the regions",
        RESTART,
    ),
    wanted: "a list of objects with name and url",
    schema: || {
        json!({"type": "array", "maxItems": 100, "items": {
        "type": "object", "required": ["name", "url"],
        "additionalProperties": false,
        "properties": {
            "name": {"type": "string"},
            "url": {"type": "string"},
            "type": {"enum": ["prometheus", "thanos"]},
            "ca": {"type": "string"},
            "server_name": {"type": "string"},
        }}})
    },
    check: |sources| {
        at_most(sources)?;
        sources.iter().try_for_each(SourceWire::check)
    },
    of: PhantomData,
};

/// The keys of this file.
pub(crate) static SETTINGS: &[&dyn Setting] = &[
    &DOMAIN,
    &ROOT_URL,
    &SERVER_NAMES,
    &LISTEN,
    &HTTPS_PORT,
    &HTTP_PORT,
    &METRICS_LISTEN,
    &BODY_SIZE,
    &REQUEST_RATE,
    &CONNECTIONS,
    &QUERY_TIMEOUT,
    &LIVE,
    &LOG_LEVEL,
    &HOME_DASHBOARD,
    &SCRAPE_INTERVAL,
    &THANOS,
    &THANOS_CA,
    &MANTA,
    &REGIONS,
    &DATA_SOURCES,
];

fn at_most<T>(list: &[T]) -> Result<(), String> {
    match list.len() {
        1..=100 => Ok(()),
        other => Err(format!("{other} entries, not 1 to 100")),
    }
}
