// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The components that keep or make data: store, compact, rule, receive.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::super::grammar::{duration_seconds, with_port};
use super::super::super::wire::Reader;
use super::data_keys::*;
use super::region::host_port;
use super::{Zone, size};
use crate::model::Peer;
use crate::model::thanos::{
    CAPNPROTO_PORT, Compact, Component, FRONT_PORT, REMOTE_WRITE_PORT, Receive,
    Rule, Store,
};

/// Bytes that a sample takes while it passes through a store, eightfold: a
/// request must leave room for others.
const SAMPLE_BYTES: u64 = 8;

/// Label that tells rulers of a pair apart.
const RULE_REPLICA: &str = "rule_replica";
/// Label that tells receive nodes apart.
const RECEIVE_REPLICA: &str = "receive_replica";
/// Label that both have.
const RULER_LABEL: &str = "ruler";
const RECEIVE_LABEL: &str = "receive";

pub(super) fn store(reader: &mut Reader<'_>, zone: &Zone<'_>) -> Option<Store> {
    let limits = zone.limits(Component::Store);
    let memory = limits.memory_bytes;
    let index_cache_size = reader
        .get(&INDEX_CACHE_SIZE)
        .unwrap_or_else(|| size::share(memory, 4, 250));
    let chunk_pool_size = reader
        .get(&CHUNK_POOL_SIZE)
        .unwrap_or_else(|| size::share(memory, 4, 2_048));
    let min_time = reader.get(&STORE_MIN_TIME);
    let max_time = reader.get(&STORE_MAX_TIME);
    if let (Some(min), Some(max)) = (&min_time, &max_time)
        && let (Some(min), Some(max)) = (before_now(min), before_now(max))
        && min <= max
    {
        reader.reject(
            &STORE_MAX_TIME,
            "a time after thanos_store_min_time, or nothing would be served",
        );
    }
    let sync_seconds = reader.or_default(&SYNC_INTERVAL);
    let delay = reader.or_default(&DELETE_DELAY);
    if delay / 2 <= sync_seconds {
        reader.reject(
            &DELETE_DELAY,
            format!(
                "more than twice thanos_sync_interval, which is \
                 {sync_seconds} seconds: blocks would go while a store still \
                 serves them"
            ),
        );
    }
    if !zone.runs(Component::Store) {
        return None;
    }
    Some(Store {
        http_address: zone.http_address(Component::Store),
        http_url: zone.http_url(Component::Store),
        grpc_address: zone.grpc_address(Component::Store),
        object_store: zone.object_store(Component::Store)?,
        index_cache_item_size: size::index_item(&index_cache_size),
        index_cache_size,
        chunk_pool_size,
        max_samples: memory
            .map_or(0, |bytes| (bytes / SAMPLE_BYTES).max(1_000_000)),
        min_time,
        max_time,
        sync_seconds,
        ignore_deletion_marks_seconds: delay / 2,
        limits,
    })
}

/// Seconds of a relative time.
fn before_now(text: &str) -> Option<u64> {
    duration_seconds(text.strip_prefix('-')?)
}

pub(super) fn compact(
    reader: &mut Reader<'_>,
    zone: &Zone<'_>,
) -> Option<Compact> {
    let retention_raw = reader.or_default(&RETENTION_RAW);
    let retention_5m = reader.or_default(&RETENTION_5M);
    let retention_1h = reader.or_default(&RETENTION_1H);
    let delete_delay_seconds = reader.or_default(&DELETE_DELAY);
    if !zone.runs(Component::Compact) {
        return None;
    }
    let processors = zone.about.site.caps.processors().unwrap_or(1);
    Some(Compact {
        http_address: zone.http_address(Component::Compact),
        http_url: zone.http_url(Component::Compact),
        object_store: zone.object_store(Component::Compact)?,
        retention_raw,
        retention_5m,
        retention_1h,
        delete_delay_seconds,
        // It is in no hurry, and each takes memory and disk.
        concurrency: (processors / 2).clamp(1, 4),
        limits: zone.limits(Component::Compact),
    })
}

pub(super) fn rule(reader: &mut Reader<'_>, zone: &Zone<'_>) -> Option<Rule> {
    let rule_groups = reader.or_default(&RULE_GROUPS);
    let rule_files = reader.or_default(&RULE_FILES);
    let told = reader.get(&ALERTMANAGERS);
    let asked = reader.get(&RULE_QUERIES);
    let ruler = reader.get(&RULER);
    let evaluation_interval_seconds = reader.or_default(&EVALUATION_INTERVAL);
    let retention = reader.or_default(&RULE_RETENTION);
    if !zone.runs(Component::Rule) {
        return None;
    }
    let queries = match asked {
        Some(list) => list.iter().map(|to| with_port(to, FRONT_PORT)).collect(),
        None => queriers(zone),
    };
    if queries.is_empty() && !reader.rejected(&RULE_QUERIES) {
        reader.reject(
            &RULE_QUERIES,
            "a querier for rule: none runs here, and SAPI lists no other",
        );
    }
    let alertmanagers = match told {
        Some(list) => list.iter().map(|to| with_port(to, 9093)).collect(),
        None => alertmanagers(zone),
    };
    Some(Rule {
        http_address: zone.http_address(Component::Rule),
        http_url: zone.http_url(Component::Rule),
        grpc_address: zone.grpc_address(Component::Rule),
        object_store: zone.object_store(Component::Rule),
        query_url: match queries.first() {
            Some(query) => format!("http://{query}"),
            None => String::new(),
        },
        queries,
        alertmanagers,
        labels: BTreeMap::from([
            (RULER_LABEL.to_owned(), ruler.unwrap_or_else(|| place(zone))),
            (RULE_REPLICA.to_owned(), zone.about.site.instance.clone()),
        ]),
        replica_label: RULE_REPLICA.to_owned(),
        rule_groups: rule_groups.into_iter().map(Value::Object).collect(),
        rule_files,
        expected: zone.region.expected(),
        evaluation_interval_seconds,
        retention,
        limits: zone.limits(Component::Rule),
    })
}

/// The cluster of this datacenter; of the others where it has none. Two
/// clusters would say everything twice.
fn alertmanagers(zone: &Zone<'_>) -> Vec<String> {
    let all = || zone.about.site.peers.alertmanagers();
    let here = |peer: &&Peer| peer.datacenter == zone.about.place.datacenter;
    let any = all().any(|peer| here(&peer));
    all()
        .filter(|peer| !any || here(peer))
        .map(|peer| host_port(peer, 9093))
        .collect()
}

/// Those that rule asks: this zone's first.
fn queriers(zone: &Zone<'_>) -> Vec<String> {
    let here = [Component::Query, Component::QueryGlobal]
        .into_iter()
        .find(|one| zone.runs(*one))
        .map(|one| zone.region.local(zone.http_port(one)));
    let others = zone.region.others(Component::Query);
    let others = others.map(|peer| zone.region.http(peer, Component::Query));
    here.into_iter().chain(others).collect()
}

/// The region, or the datacenter where there is none.
fn place(zone: &Zone<'_>) -> String {
    let place = &zone.about.place;
    place.region.as_ref().unwrap_or(&place.datacenter).clone()
}

pub(super) fn receive(
    reader: &mut Reader<'_>,
    zone: &Zone<'_>,
) -> Option<Receive> {
    let listed = reader.get(&RECEIVE_ENDPOINTS);
    let factor = reader.get(&REPLICATION_FACTOR);
    let further = reader.or_default(&RECEIVE_LABELS);
    let retention = reader.or_default(&RECEIVE_RETENTION);
    let tenant_label = reader.or_default(&TENANT_LABEL);
    let default_tenant = reader.or_default(&DEFAULT_TENANT);
    let mut labels = BTreeMap::from([
        (RECEIVE_LABEL.to_owned(), place(zone)),
        (RECEIVE_REPLICA.to_owned(), zone.about.site.instance.clone()),
    ]);
    for (name, value) in further {
        if labels.contains_key(&name) || name == tenant_label {
            reader.reject(
                &RECEIVE_LABELS,
                format!("labels but {name}, which receive sets itself"),
            );
        } else if let Value::String(value) = value {
            labels.insert(name, value);
        }
    }
    if !zone.runs(Component::Receive) {
        return None;
    }
    let port = Component::Receive.grpc_port().unwrap_or_default();
    let own = zone.region.local(port);
    let (local_endpoint, endpoints) = match listed {
        None => {
            let others = zone.region.others(Component::Receive);
            let mut all: BTreeSet<String> =
                others.map(|peer| host_port(peer, port)).collect();
            all.insert(own.clone());
            (own, all)
        }
        Some(list) => {
            let all: BTreeSet<String> =
                list.iter().map(|to| with_port(to, port)).collect();
            let local = all.iter().find(|to| is_own(zone, to)).cloned();
            if local.is_none() {
                reader.reject(
                    &RECEIVE_ENDPOINTS,
                    format!("this node among them, {own}"),
                );
            }
            (local.unwrap_or(own), all)
        }
    };
    let nodes = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
    let factor = factor.and_then(|factor| u32::try_from(factor).ok());
    if factor.is_some_and(|factor| factor > nodes) {
        reader.reject(
            &REPLICATION_FACTOR,
            format!("at most the number of receive nodes, which is {nodes}"),
        );
    }
    let factor = factor.unwrap_or(nodes.min(3));
    Some(Receive {
        http_address: zone.http_address(Component::Receive),
        http_url: zone.http_url(Component::Receive),
        grpc_address: zone.grpc_address(Component::Receive),
        remote_write_address: zone.region.listen(REMOTE_WRITE_PORT),
        capnproto_address: zone.region.listen(CAPNPROTO_PORT),
        local_endpoint,
        endpoints: endpoints.into_iter().collect(),
        replication_factor: factor,
        object_store: zone.object_store(Component::Receive),
        labels,
        tenant_label,
        default_tenant,
        retention,
        retention_size: retention_size(zone),
        limits: zone.limits(Component::Receive),
    })
}

/// Whether an endpoint is this zone, by address or by name.
fn is_own(zone: &Zone<'_>, endpoint: &str) -> bool {
    let Some((host, _)) = endpoint.rsplit_once(':') else { return false };
    let address = zone.region.own();
    let name = zone.about.site.peers.own().map(|own| own.name.as_str());
    host.parse().is_ok_and(|host| Some(host) == address)
        || name.is_some_and(|name| name.eq_ignore_ascii_case(host))
        || host.split('.').next() == Some(zone.about.site.instance.as_str())
}

/// What receive may keep: its part of the dataset beside whoever else fills
/// it.
fn retention_size(zone: &Zone<'_>) -> Option<String> {
    let filling = [
        Component::Store,
        Component::Compact,
        Component::Rule,
        Component::Receive,
    ];
    let parts = filling.iter().filter(|one| zone.claims.contains(one)).count();
    let parts = u64::try_from(parts).unwrap_or(1).max(1);
    let bytes = zone.about.site.caps.store_bytes()? / parts;
    Some(format!("{}MB", (bytes >> 20).max(512)))
}
