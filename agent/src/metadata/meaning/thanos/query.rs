// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The queriers and the cache in front of them.

use std::collections::BTreeSet;

use super::super::super::grammar::with_port;
use super::super::super::wire::Reader;
use super::keys::*;
use super::{Zone, size};
use crate::model::thanos::{Component, Endpoint, Query, QueryFrontend};

/// Upstream's own bound, which is right for a large zone.
const MAX_CONCURRENCY: u64 = 20;

/// Prometheus' own look back, which its users expect.
const LOOKBACK: u32 = 300;

/// The regional querier, whether it runs here or not. `whole`: this zone's
/// store serves all of the bucket.
pub(super) fn query(
    reader: &mut Reader<'_>,
    zone: &Zone<'_>,
    whole: bool,
) -> Query {
    let timeout = reader.or_default(&QUERY_TIMEOUT);
    let silence = reader.get(&RESPONSE_TIMEOUT).unwrap_or((timeout / 2).max(1));
    if silence > timeout {
        reader.reject(
            &RESPONSE_TIMEOUT,
            format!("at most thanos_query_timeout, which is {timeout} seconds"),
        );
    }
    let caps = zone.about.site.caps;
    let concurrency = reader.get(&QUERY_MAX_CONCURRENCY).unwrap_or_else(|| {
        let processors = caps.processors().map(u64::from);
        processors.map_or(MAX_CONCURRENCY, |n| (8 * n).min(MAX_CONCURRENCY))
    });
    let slowest = reader.or_default(&SLOWEST_INTERVAL);
    let further = reader.or_default(&ENDPOINTS);
    Query {
        http_address: zone.http_address(Component::Query),
        http_url: zone.http_url(Component::Query),
        grpc_address: zone.grpc_address(Component::Query),
        endpoints: endpoints(zone, further, whole),
        replica_labels: reader.or_default(&REPLICA_LABELS),
        deduplication: reader.or_default(&DEDUPLICATION).to_owned(),
        lookback_seconds: LOOKBACK.max(2 * slowest),
        timeout_seconds: timeout,
        response_timeout_seconds: silence,
        max_concurrent: u32::try_from(concurrency).unwrap_or(u32::MAX),
        partial_response: reader.or_default(&PARTIAL_RESPONSE),
        limits: zone.limits(Component::Query),
    }
}

fn endpoints(
    zone: &Zone<'_>,
    further: Vec<String>,
    whole: bool,
) -> Vec<Endpoint> {
    let mut all: Vec<Endpoint> = zone.region.sidecars().collect();
    for component in [Component::Store, Component::Rule, Component::Receive] {
        if zone.runs(component)
            && let Some(port) = component.grpc_port()
        {
            let address = zone.region.local(port);
            all.push(Endpoint { address, strict: true });
        }
        // Another store of the bucket would say the same once more.
        if component != Component::Store || !whole {
            all.extend(zone.region.apis(component));
        }
    }
    all.extend(
        further.into_iter().map(|address| Endpoint {
            strict: !address.contains('+'),
            address,
        }),
    );
    let mut seen = BTreeSet::new();
    all.retain(|one| seen.insert(one.address.clone()));
    all
}

/// The querier over regions: the regional one, but for whom it asks. It is a
/// process of its own, for the client's TLS holds for all of its endpoints,
/// and sidecars speak none.
pub(super) fn global(
    zone: &Zone<'_>,
    query: &Query,
    regional: &[String],
) -> Option<Query> {
    if !zone.runs(Component::QueryGlobal) {
        return None;
    }
    let port = Component::Query.grpc_port().unwrap_or_default();
    let strict = |address| Endpoint { address, strict: true };
    let mut endpoints = match zone.runs(Component::Query) {
        true => vec![strict(zone.region.local(port))],
        false => zone.region.apis(Component::Query),
    };
    endpoints.extend(regional.iter().map(|to| strict(with_port(to, port))));
    let mut seen = BTreeSet::new();
    endpoints.retain(|one| seen.insert(one.address.clone()));
    Some(Query {
        http_address: zone.http_address(Component::QueryGlobal),
        http_url: zone.http_url(Component::QueryGlobal),
        grpc_address: zone.grpc_address(Component::QueryGlobal),
        endpoints,
        limits: zone.limits(Component::QueryGlobal),
        ..query.clone()
    })
}

pub(super) fn frontend(
    reader: &mut Reader<'_>,
    zone: &Zone<'_>,
) -> Option<QueryFrontend> {
    let limits = zone.limits(Component::QueryFrontend);
    let cache_size = reader
        .get(&CACHE_SIZE)
        .unwrap_or_else(|| size::share(limits.memory_bytes, 4, 256));
    let split_seconds = reader.or_default(&SPLIT_INTERVAL);
    let told = reader.get(&DOWNSTREAM);
    if !zone.runs(Component::QueryFrontend) {
        return None;
    }
    let here = [Component::QueryGlobal, Component::Query]
        .into_iter()
        .find(|one| zone.runs(*one))
        .map(|one| zone.region.local(zone.http_port(one)));
    let there = || {
        let peer = zone.region.others(Component::Query).next()?;
        Some(zone.region.http(peer, Component::Query))
    };
    let found = || here.or_else(there).map(|to| format!("http://{to}"));
    let downstream = told.or_else(found);
    if downstream.is_none() && !reader.rejected(&DOWNSTREAM) {
        reader.reject(
            &DOWNSTREAM,
            "a querier: none runs here, and SAPI lists no other",
        );
    }
    Some(QueryFrontend {
        http_address: zone.http_address(Component::QueryFrontend),
        http_url: zone.http_url(Component::QueryFrontend),
        downstream: downstream.unwrap_or_default(),
        cache_size,
        split_seconds,
        partial_response: reader.or_default(&PARTIAL_RESPONSE),
        limits,
    })
}
