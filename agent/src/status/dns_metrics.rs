// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The name server's part of the metrics. Every label has few values: zones
//! and upstreams as configured, and lists of ours that end in "other".

use super::metrics::Text;
use super::{StatusReport, ZonePart};

pub(super) fn render(out: &mut Text, report: &StatusReport) {
    zones(out, report);
    primaries(out, report);
    upstreams(out, report);
    opened(out, report);
    if report.names.enabled {
        questions(out, report);
        caches(out, report);
        events(out, report);
    }
}

fn zones(out: &mut Text, report: &StatusReport) {
    type Metric = (&'static str, &'static str, fn(&ZonePart) -> Option<u64>);
    let metrics: [Metric; 7] = [
        ("config_agent_zone_serial", "Serial served.", |z| {
            z.serial.map(u64::from)
        }),
        ("config_agent_zone_records", "Records served.", |z| {
            Some(z.records as u64)
        }),
        ("config_agent_zone_bytes", "Memory of the zone.", |z| {
            Some(z.bytes as u64)
        }),
        (
            "config_agent_zone_age_seconds",
            "Since a primary confirmed the zone.",
            |z| z.age_seconds,
        ),
        ("config_agent_zone_expired", "Whether it is past expire.", |z| {
            Some(u64::from(z.expired))
        }),
        (
            "config_agent_zone_from_disk",
            "Whether no primary confirmed it since the start.",
            |z| Some(u64::from(z.from_disk)),
        ),
        (
            "config_agent_zone_held_back_seconds",
            "For how long a smaller zone has not been believed; 0: none is.",
            |z| Some(z.held_back.as_ref().map_or(0, |other| other.seconds)),
        ),
    ];
    for (name, help, value) in metrics {
        out.family(name, "gauge", help);
        for zone in &report.zones {
            if let Some(value) = value(zone) {
                out.sample(name, &[("zone", &zone.name)], value);
            }
        }
    }
}

fn primaries(out: &mut Text, report: &StatusReport) {
    let name = "config_agent_zone_primary_failures";
    out.family(name, "gauge", "Failures in a row of one primary.");
    for zone in &report.zones {
        for primary in &zone.primaries {
            let labels =
                [("zone", &*zone.name), ("primary", &*primary.address)];
            out.sample(name, &labels, u64::from(primary.failures));
        }
    }
    let name = "config_agent_zone_transfers_total";
    out.family(name, "counter", "What came of asking a zone's primaries.");
    for zone in &report.zones {
        for (outcome, count) in &zone.transfers {
            let labels = [("zone", &*zone.name), ("outcome", outcome)];
            out.sample(name, &labels, count);
        }
    }
    let name = "config_agent_zone_writes_total";
    out.family(name, "counter", "Times a zone was written to disk.");
    for zone in &report.zones {
        out.sample(name, &[("zone", &zone.name)], zone.writes);
    }
}

fn upstreams(out: &mut Text, report: &StatusReport) {
    let name = "config_agent_upstream_up";
    out.family(name, "gauge", "Whether an upstream answered last time.");
    for upstream in &report.upstreams {
        let labels = [
            ("suffix", upstream.suffix.as_str()),
            ("address", upstream.address.as_str()),
        ];
        out.sample(name, &labels, u8::from(upstream.alive));
    }
    let name = "config_agent_upstream_rtt_seconds";
    out.family(name, "gauge", "Usual time to an upstream's reply.");
    for upstream in &report.upstreams {
        let labels = [
            ("suffix", upstream.suffix.as_str()),
            ("address", upstream.address.as_str()),
        ];
        if let Some(rtt) = upstream.rtt_seconds {
            out.sample(name, &labels, rtt);
        }
    }
    let name = "config_agent_upstream_state";
    out.family(name, "gauge", "1: whether an upstream is asked, as `state`.");
    for upstream in &report.upstreams {
        let labels = [
            ("suffix", upstream.suffix.as_str()),
            ("address", upstream.address.as_str()),
            ("state", upstream.state.as_str()),
        ];
        out.sample(name, &labels, 1);
    }
    let name = "config_agent_upstream_questions_total";
    out.family(name, "counter", "What came of asking an upstream.");
    for upstream in &report.upstreams {
        for (outcome, count) in &upstream.outcomes {
            let labels = [
                ("suffix", upstream.suffix.as_str()),
                ("address", upstream.address.as_str()),
                ("outcome", outcome),
            ];
            out.sample(name, &labels, count);
        }
    }
}

fn opened(out: &mut Text, report: &StatusReport) {
    let name = "config_agent_upstream_opened_total";
    out.family(name, "counter", "Times an upstream was found to be down.");
    for upstream in &report.upstreams {
        let labels = [
            ("suffix", upstream.suffix.as_str()),
            ("address", upstream.address.as_str()),
        ];
        out.sample(name, &labels, upstream.opened);
    }
}

fn caches(out: &mut Text, report: &StatusReport) {
    let caches = &report.names.caches;
    let name = "config_agent_dns_cache_lookups_total";
    out.family(name, "counter", "What came of looking into a cache.");
    for cache in caches {
        for (result, count) in [("hit", cache.hits), ("miss", cache.misses)] {
            let labels = [("suffix", &*cache.suffix), ("result", result)];
            out.sample(name, &labels, count);
        }
    }
    let name = "config_agent_dns_cache_events_total";
    out.family(name, "counter", "What befell kept answers.");
    for cache in caches {
        for (event, count) in [
            ("stale", cache.stale),
            ("prefetch", cache.prefetches),
            ("eviction", cache.evictions),
        ] {
            let labels = [("suffix", &*cache.suffix), ("event", event)];
            out.sample(name, &labels, count);
        }
    }
    let name = "config_agent_dns_cache_entries";
    out.family(name, "gauge", "Answers of others that are kept.");
    for cache in caches {
        out.sample(name, &[("suffix", &cache.suffix)], cache.entries);
    }
    let name = "config_agent_dns_cache_bytes";
    out.family(name, "gauge", "Memory that kept answers take.");
    for cache in caches {
        out.sample(name, &[("suffix", &cache.suffix)], cache.bytes);
    }
}

fn questions(out: &mut Text, report: &StatusReport) {
    let name = "config_agent_dns_queries_total";
    out.family(name, "counter", "DNS questions, by who answered and how.");
    for query in &report.names.queries {
        let labels = [
            ("source", query.source.as_str()),
            ("zone", &query.zone),
            ("type", &query.rtype),
            ("rcode", &query.rcode),
        ];
        out.sample(name, &labels, query.count);
    }
    let name = "config_agent_dns_query_duration_seconds";
    out.family(name, "histogram", "Time to answer a DNS question.");
    for latency in &report.names.latencies {
        let answers = latency.answers.as_str();
        let bucket = format!("{name}_bucket");
        for (bound, count) in &latency.buckets {
            let labels = [("answers", answers), ("le", &bound.to_string())];
            out.sample(&bucket, &labels, count);
        }
        let labels = [("answers", answers), ("le", "+Inf")];
        out.sample(&bucket, &labels, latency.count);
        let labels = [("answers", answers)];
        out.sample(&format!("{name}_sum"), &labels, latency.sum_seconds);
        out.sample(&format!("{name}_count"), &labels, latency.count);
    }
}

/// What is counted and has no labels of its own.
const EVENTS: [&str; 8] = [
    "notifies",
    "notifies_refused",
    "differences_odd",
    "misfits",
    "divergences",
    "divergent_sets",
    "held_back",
    "strangers",
];

fn events(out: &mut Text, report: &StatusReport) {
    let name = "config_agent_dns_events_total";
    out.family(name, "counter", "What befell the name server.");
    for event in EVENTS {
        let count = report.names.counts.get(event).copied();
        out.sample(name, &[("event", event)], count.unwrap_or_default());
    }
}
