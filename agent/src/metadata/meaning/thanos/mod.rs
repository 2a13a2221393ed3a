// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the keys of a Thanos zone mean together: which components run here.
//! What each is told stands in `query` and `data`.

mod data;
mod data_keys;
mod keys;
mod query;
mod region;
mod size;
mod tls;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::super::peers;
use super::super::setting::Setting;
use super::super::wire::Reader;
use super::{About, store};
use crate::model::ObjectStore;
use crate::model::thanos::{self, Component, Thanos};
use crate::model::zone::GoLimits;

use data_keys::*;
use keys::*;
use region::Region;

/// The keys of this folder.
pub(super) static SETTINGS: &[&dyn Setting] = &[
    &COMPONENTS,
    &ENDPOINTS,
    &REGIONAL_QUERIES,
    &TLS,
    &CA_CERTIFICATE,
    &CA_PRIVATE_KEY,
    &TLS_NAMES,
    &REPLICA_LABELS,
    &DEDUPLICATION,
    &QUERY_TIMEOUT,
    &RESPONSE_TIMEOUT,
    &QUERY_MAX_CONCURRENCY,
    &SLOWEST_INTERVAL,
    &PARTIAL_RESPONSE,
    &CACHE_SIZE,
    &SPLIT_INTERVAL,
    &DOWNSTREAM,
    &STORE_MIN_TIME,
    &STORE_MAX_TIME,
    &INDEX_CACHE_SIZE,
    &CHUNK_POOL_SIZE,
    &SYNC_INTERVAL,
    &RETENTION_RAW,
    &RETENTION_5M,
    &RETENTION_1H,
    &DELETE_DELAY,
    &RULE_GROUPS,
    &RULE_FILES,
    &ALERTMANAGERS,
    &RULE_QUERIES,
    &RULER,
    &EVALUATION_INTERVAL,
    &RULE_RETENTION,
    &RECEIVE_ENDPOINTS,
    &REPLICATION_FACTOR,
    &RECEIVE_LABELS,
    &RECEIVE_RETENTION,
    &TENANT_LABEL,
    &DEFAULT_TENANT,
    &LOG_LEVEL,
];

/// What the readers of the components' keys lean on.
struct Zone<'a> {
    about: &'a About<'a>,
    region: Region<'a>,
    /// What would run here were it alone.
    claims: BTreeSet<Component>,
    /// What runs here.
    runs: BTreeSet<Component>,
    /// The bucket; its path is that of nobody yet.
    store: Option<ObjectStore>,
}

pub(super) fn thanos(
    reader: &mut Reader<'_>,
    about: &About<'_>,
    metadata: &Map<String, Value>,
) -> Thanos {
    let store = store::object_store(reader, "");
    let regional = reader.or_default(&REGIONAL_QUERIES);
    let usual = usual(reader, about, store.is_some(), !regional.is_empty());
    let mut runs = components(reader, &usual, store.is_some());
    let region = Region::new(about, metadata, &usual);
    let tls = tls::tls(reader, about, &region, !regional.is_empty());
    let claims = runs.clone();
    let Compactor { alias: compactor, elected } =
        compactor(about, &region, metadata, &mut runs);
    let zone = Zone { about, region, claims, runs, store };
    let store = data::store(reader, &zone);
    let whole = store
        .as_ref()
        .is_some_and(|s| s.min_time.is_none() && s.max_time.is_none());
    let query = query::query(reader, &zone, whole);
    Thanos {
        log_level: reader.or_default(&LOG_LEVEL).to_owned(),
        query_global: query::global(&zone, &query, &regional),
        query: zone.runs(Component::Query).then_some(query),
        query_frontend: query::frontend(reader, &zone),
        compact: data::compact(reader, &zone),
        compactor,
        elected,
        rule: data::rule(reader, &zone),
        receive: data::receive(reader, &zone),
        store,
        tls,
    }
}

/// What runs in a zone that does not say.
fn usual(
    reader: &mut Reader<'_>,
    about: &About<'_>,
    store: bool,
    regional: bool,
) -> BTreeSet<Component> {
    let groups = reader.get(&RULE_GROUPS).is_some_and(|list| !list.is_empty());
    let files = reader.get(&RULE_FILES).is_some_and(|list| !list.is_empty());
    let told = match reader.get(&ALERTMANAGERS) {
        Some(list) => !list.is_empty(),
        None => about.site.peers.alertmanagers().next().is_some(),
    };
    let mut runs = thanos::usual(store, groups || files || told);
    if regional {
        runs.insert(Component::QueryGlobal);
    }
    runs
}

fn components(
    reader: &mut Reader<'_>,
    usual: &BTreeSet<Component>,
    store: bool,
) -> BTreeSet<Component> {
    let Some(listed) = reader.get(&COMPONENTS) else { return usual.clone() };
    let listed: BTreeSet<_> =
        listed.iter().filter_map(|name| Component::parse(name)).collect();
    if listed.is_empty() {
        reader.reject(&COMPONENTS, "one at least");
    }
    for component in [Component::Store, Component::Compact] {
        if listed.contains(&component) && !store {
            reader.reject(
                &COMPONENTS,
                format!(
                    "no {} while there is no object_store",
                    component.as_str()
                ),
            );
        }
    }
    if listed.contains(&Component::QueryGlobal)
        && !usual.contains(&Component::QueryGlobal)
    {
        reader.reject(
            &COMPONENTS,
            "no query-global while thanos_regional_queries is empty",
        );
    }
    listed
}

/// Who compacts.
#[derive(Default)]
struct Compactor {
    /// Alias of the first who could, as far as is known.
    alias: Option<String>,
    /// The bucket, where that is this instance and there could be others.
    elected: Option<String>,
}

/// Leaves the compactor to one instance; says which. There is no lock, and
/// two at work on one bucket spoil it: rather none for a while, which costs
/// space, than two.
fn compactor(
    about: &About<'_>,
    region: &Region<'_>,
    metadata: &Map<String, Value>,
    runs: &mut BTreeSet<Component>,
) -> Compactor {
    if !runs.contains(&Component::Compact) {
        return Compactor::default();
    }
    // A folder is this zone's own.
    let Some(bucket) = peers::bucket(|key| metadata.get(key)) else {
        let alias = Some(about.site.instance.clone());
        return Compactor { alias, elected: None };
    };
    let first = about.site.peers.of("thanos").find(|peer| {
        peer.own
            || peer.bucket.as_ref() == Some(&bucket)
                && region.runs(peer).contains(&Component::Compact)
    });
    // None, until SAPI has listed this instance: others may not be known
    // then either.
    let own = first.is_some_and(|peer| peer.own);
    if !own || !about.site.compaction {
        runs.remove(&Component::Compact);
    }
    Compactor {
        alias: first.map(|peer| peer.alias.clone()),
        elected: own.then_some(bucket),
    }
}

impl Zone<'_> {
    fn runs(&self, component: Component) -> bool {
        self.runs.contains(&component)
    }

    /// Limits of a component: its share of the zone's memory. The compactor
    /// has one whether it runs or not: to come or go it must not restart the
    /// rest.
    fn limits(&self, component: Component) -> GoLimits {
        let all: u64 = self.claims.iter().copied().map(shares).sum();
        // One is Alertmanager's, likewise.
        let whole = all + 1;
        self.about.site.caps.go_limits(shares(component), whole)
    }

    fn http_port(&self, component: Component) -> u16 {
        component.http_port(&self.runs)
    }

    fn http_address(&self, component: Component) -> String {
        self.region.listen(self.http_port(component))
    }

    fn http_url(&self, component: Component) -> String {
        format!("http://{}", self.region.local(self.http_port(component)))
    }

    fn grpc_address(&self, component: Component) -> String {
        self.region.listen(component.grpc_port().unwrap_or_default())
    }

    /// The bucket as `component` reads it: in a file of its own, for its
    /// daemon alone.
    fn object_store(&self, component: Component) -> Option<ObjectStore> {
        let mut store = self.store.clone()?;
        if store.content.is_some() {
            let name = format!("objstore-{}.yml", component.as_str());
            let path = self.about.paths.etc.join(name);
            store.path = path.to_string_lossy().into_owned();
        }
        Some(store)
    }
}

/// Parts of the zone's memory that a component may have, if all ran.
fn shares(component: Component) -> u64 {
    match component {
        Component::Store | Component::Compact | Component::Receive => 6,
        Component::Query | Component::QueryGlobal => 4,
        Component::QueryFrontend | Component::Rule => 2,
    }
}
