// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The Thanos zone: which components run here, and what each is told.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::peers::{Peer, Peers};
use super::secret::Secret;
use super::store::ObjectStore;
use super::zone::GoLimits;

/// A component, which is a daemon of its own.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// PromQL over the region.
    Query,
    /// PromQL over the queriers of several regions.
    QueryGlobal,
    /// Splits and caches range queries in front of a querier.
    QueryFrontend,
    /// Serves the bucket.
    Store,
    /// Merges, downsamples and deletes blocks; one a bucket.
    Compact,
    /// Evaluates rules over the region.
    Rule,
    /// Takes remote write.
    Receive,
}

impl Component {
    /// All, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::Query,
        Self::QueryGlobal,
        Self::QueryFrontend,
        Self::Store,
        Self::Compact,
        Self::Rule,
        Self::Receive,
    ];

    /// Its name in `thanos_components`; the daemon is `thanos-<name>`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::QueryGlobal => "query-global",
            Self::QueryFrontend => "query-frontend",
            Self::Store => "store",
            Self::Compact => "compact",
            Self::Rule => "rule",
            Self::Receive => "receive",
        }
    }

    /// Reads a name; `_` counts as `-`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.replace('_', "-");
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }

    /// TCP port of its HTTP server in a zone that `runs` these. No two are
    /// the same, and other zones can tell them. Port 10902, upstream's own,
    /// answers queries: by the first of cache, global and regional querier
    /// that runs there.
    pub fn http_port(self, runs: &BTreeSet<Self>) -> u16 {
        let front = [Self::QueryFrontend, Self::QueryGlobal, Self::Query];
        if front.iter().find(|one| runs.contains(one)) == Some(&self) {
            return FRONT_PORT;
        }
        match self {
            Self::QueryFrontend => FRONT_PORT,
            Self::Query => 10_904,
            Self::Store => 10_906,
            Self::Compact => 10_908,
            Self::Rule => 10_910,
            Self::Receive => 10_912,
            Self::QueryGlobal => 10_914,
        }
    }

    /// TCP port of its gRPC server, where it has one; the same in every zone.
    pub fn grpc_port(self) -> Option<u16> {
        match self {
            Self::QueryFrontend | Self::Compact => None,
            Self::Query => Some(10_901),
            Self::Store => Some(10_905),
            Self::Rule => Some(10_909),
            Self::Receive => Some(10_911),
            Self::QueryGlobal => Some(10_913),
        }
    }
}

/// TCP port that answers queries, whatever runs behind it.
pub const FRONT_PORT: u16 = 10_902;
/// TCP port where receive takes remote write.
pub const REMOTE_WRITE_PORT: u16 = 19_291;
/// TCP port of receive's other protocol, which is not used.
pub const CAPNPROTO_PORT: u16 = 19_391;
/// TCP port of a sidecar's gRPC server; its HTTP server is on the next.
pub const SIDECAR_GRPC_PORT: u16 = 10_901;

/// What a Thanos zone runs, as far as others can tell.
///
/// One that does not say has the usual; the compactor of a bucket is then in
/// the first zone that names the bucket.
pub fn runs(peers: &Peers, peer: &Peer) -> BTreeSet<Component> {
    let mut runs = claims(peers, peer);
    if runs.contains(&Component::Compact)
        && peer.bucket.is_some()
        && compactor(peers, peer).map(|first| &first.instance)
            != Some(&peer.instance)
    {
        runs.remove(&Component::Compact);
    }
    runs
}

/// The first, in the order of all instances, that is to compact the bucket
/// of `peer`.
pub fn compactor<'a>(peers: &'a Peers, peer: &Peer) -> Option<&'a Peer> {
    peers.of(THANOS).find(|other| {
        other.bucket == peer.bucket
            && claims(peers, other).contains(&Component::Compact)
    })
}

/// What it would run were it alone.
fn claims(peers: &Peers, peer: &Peer) -> BTreeSet<Component> {
    if peer.service != THANOS {
        return BTreeSet::new();
    }
    if !peer.components.is_empty() {
        let names = peer.components.iter();
        return names.filter_map(|name| Component::parse(name)).collect();
    }
    usual(peer.bucket.is_some(), peers.alertmanagers().next().is_some())
}

/// What a zone runs that does not say: `store`, there is a bucket; `rule`,
/// there are rules or someone to tell.
pub fn usual(store: bool, rule: bool) -> BTreeSet<Component> {
    let mut runs = BTreeSet::from([Component::Query, Component::QueryFrontend]);
    if store {
        runs.extend([Component::Store, Component::Compact]);
    }
    if rule {
        runs.insert(Component::Rule);
    }
    runs
}

/// The service, as SAPI names it.
const THANOS: &str = "thanos";

/// The Thanos of one zone. A component that is `None` does not run here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Thanos {
    /// `debug`, `info`, `warn` or `error`.
    pub log_level: String,
    /// Certificates of gRPC between regions.
    pub tls: Option<Tls>,
    /// PromQL over the region.
    pub query: Option<Query>,
    /// PromQL over regions.
    pub query_global: Option<Query>,
    /// The cache in front of one of them.
    pub query_frontend: Option<QueryFrontend>,
    /// The bucket's store gateway.
    pub store: Option<Store>,
    /// The bucket's compactor.
    pub compact: Option<Compact>,
    /// Instance that compacts the bucket, as far as is known: this one where
    /// `compact` is there.
    pub compactor: Option<String>,
    /// The bucket, without its keys, that this instance is the first to
    /// compact of all who could; `None`: another is, or the bucket is its
    /// own.
    #[serde(skip)]
    pub elected: Option<String>,
    /// The ruler.
    pub rule: Option<Rule>,
    /// The push path.
    pub receive: Option<Receive>,
}

/// Files, PEM each: the operator's, or the agent's own. Certificate and key
/// are looked at before every handshake; a changed `ca` wants a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// Certificate, shown both to clients and to servers.
    pub cert: String,
    /// Its key.
    pub key: String,
    /// Who must have signed the other side's.
    pub ca: String,
    /// Name that every server's certificate carries; `None`: the host that
    /// was asked for.
    pub server_name: Option<String>,
    /// What the agent makes the files of; `None`: they are the operator's.
    /// No template sees it.
    #[serde(skip)]
    pub issued: Option<IssuedTls>,
}

/// What a certificate between regions is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedTls {
    /// The authorities that are trusted, PEM.
    pub authority: String,
    /// The private key of one of them, PEM.
    pub private_key: Secret<String>,
    /// What the certificate is for: DNS names and IP addresses, one at least.
    pub names: Vec<String>,
}

/// A store API to ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// `host:port`, perhaps with a DNS prefix.
    pub address: String,
    /// Missed, rather than forgotten, while it does not answer. Not with a
    /// DNS prefix, which Thanos refuses.
    pub strict: bool,
}

/// A querier.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Query {
    /// Listening address of HTTP.
    pub http_address: String,
    /// URL of it, from within the zone.
    pub http_url: String,
    /// Listening address of gRPC.
    pub grpc_address: String,
    /// Whom it asks.
    pub endpoints: Vec<Endpoint>,
    /// Labels that tell replicas apart; left out of answers.
    pub replica_labels: Vec<String>,
    /// `penalty` or `chain`.
    pub deduplication: String,
    /// Seconds that a sample counts for.
    pub lookback_seconds: u32,
    /// Seconds a query may take.
    pub timeout_seconds: u32,
    /// Seconds one endpoint may be silent.
    pub response_timeout_seconds: u32,
    /// Queries at a time.
    pub max_concurrent: u32,
    /// Whether an answer may lack what could not be asked.
    pub partial_response: bool,
    /// Limits of its Go runtime.
    pub limits: GoLimits,
}

/// The cache in front of a querier.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueryFrontend {
    /// Listening address of HTTP.
    pub http_address: String,
    /// URL of it, from within the zone.
    pub http_url: String,
    /// URL of the querier.
    pub downstream: String,
    /// Bytes of kept answers, with a unit.
    pub cache_size: String,
    /// Seconds that a part of a long query spans.
    pub split_seconds: u32,
    /// Whether an answer may lack what could not be asked.
    pub partial_response: bool,
    /// Limits of its Go runtime.
    pub limits: GoLimits,
}

/// A store gateway.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Store {
    /// Listening address of HTTP.
    pub http_address: String,
    /// URL of it, from within the zone.
    pub http_url: String,
    /// Listening address of gRPC.
    pub grpc_address: String,
    /// The bucket.
    pub object_store: ObjectStore,
    /// Bytes of the index cache, with a unit.
    pub index_cache_size: String,
    /// Bytes of the largest thing it keeps; Thanos' own is more than a small
    /// cache holds, and stops it.
    pub index_cache_item_size: String,
    /// Ceiling of the chunk pool, with a unit.
    pub chunk_pool_size: String,
    /// Samples one request may touch; 0 is no limit.
    pub max_samples: u64,
    /// Oldest data served, RFC 3339 or relative; `None`: all there is.
    pub min_time: Option<String>,
    /// Newest data served, likewise.
    pub max_time: Option<String>,
    /// Seconds between two looks for new blocks.
    pub sync_seconds: u32,
    /// Seconds that a block marked for deletion is still served: half of
    /// what the compactor leaves it.
    pub ignore_deletion_marks_seconds: u32,
    /// Limits of its Go runtime.
    pub limits: GoLimits,
}

/// A compactor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compact {
    /// Listening address of HTTP.
    pub http_address: String,
    /// URL of it, from within the zone.
    pub http_url: String,
    /// The bucket.
    pub object_store: ObjectStore,
    /// How long samples are kept as they came; `0d`: for ever.
    pub retention_raw: String,
    /// How long five-minute aggregates are kept.
    pub retention_5m: String,
    /// How long one-hour aggregates are kept.
    pub retention_1h: String,
    /// Seconds between mark and deletion of a block.
    pub delete_delay_seconds: u32,
    /// Block groups worked on at a time.
    pub concurrency: u32,
    /// Limits of its Go runtime.
    pub limits: GoLimits,
}

/// A ruler.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rule {
    /// Listening address of HTTP.
    pub http_address: String,
    /// URL of it, from within the zone.
    pub http_url: String,
    /// Listening address of gRPC.
    pub grpc_address: String,
    /// The bucket for what it records, if there is one.
    pub object_store: Option<ObjectStore>,
    /// Queriers, `host:port` each, the nearest first.
    pub queries: Vec<String>,
    /// Alertmanagers, `host:port` each.
    pub alertmanagers: Vec<String>,
    /// URL that alerts link to.
    pub query_url: String,
    /// Labels of what it records and of alerts.
    pub labels: BTreeMap<String, String>,
    /// The one of them that tells rulers of a pair apart; alerts go without.
    pub replica_label: String,
    /// Rules of the operator: the groups, as Thanos has them.
    pub rule_groups: Vec<Value>,
    /// Rule files of the operator, absolute paths or globs.
    pub rule_files: Vec<String>,
    /// What the region should have, so that what is gone is missed.
    pub expected: Expected,
    /// Seconds between two evaluations.
    pub evaluation_interval_seconds: u32,
    /// How long it keeps what it recorded.
    pub retention: String,
    /// Limits of its Go runtime.
    pub limits: GoLimits,
}

/// What the region should have, by the list that the endpoints come from.
/// What is gone leaves no series behind that could tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Expected {
    /// Datacenters with a Prometheus.
    pub datacenters: BTreeSet<String>,
    /// Sidecars that every querier of the region should be connected to.
    pub sidecars: usize,
}

/// A node of the push path.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Receive {
    /// Listening address of HTTP.
    pub http_address: String,
    /// URL of it, from within the zone.
    pub http_url: String,
    /// Listening address of gRPC.
    pub grpc_address: String,
    /// Listening address of remote write.
    pub remote_write_address: String,
    /// Listening address of the other protocol.
    pub capnproto_address: String,
    /// This node as the ring spells it.
    pub local_endpoint: String,
    /// gRPC addresses of all nodes, in the same order everywhere.
    pub endpoints: Vec<String>,
    /// Nodes that take each sample. Of 2 one must succeed, else half of them
    /// and one.
    pub replication_factor: u32,
    /// The bucket it ships to, if there is one.
    pub object_store: Option<ObjectStore>,
    /// Labels of all it takes.
    pub labels: BTreeMap<String, String>,
    /// Label that says whose a series is.
    pub tenant_label: String,
    /// Whose it is when nobody says.
    pub default_tenant: String,
    /// How long samples are kept here.
    pub retention: String,
    /// Ceiling of the blocks' bytes, if any.
    pub retention_size: Option<String>,
    /// Limits of its Go runtime.
    pub limits: GoLimits,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_zone_can_run_any_of_them() {
        for mask in 0_u32..1 << Component::ALL.len() {
            let runs: BTreeSet<_> = Component::ALL
                .into_iter()
                .enumerate()
                .filter(|(bit, _)| mask & (1 << bit) != 0)
                .map(|(_, component)| component)
                .collect();
            let mut ports = vec![REMOTE_WRITE_PORT, CAPNPROTO_PORT, 9165];
            for component in &runs {
                ports.push(component.http_port(&runs));
                ports.extend(component.grpc_port());
            }
            let distinct: BTreeSet<_> = ports.iter().collect();
            assert_eq!(distinct.len(), ports.len(), "{runs:?} {ports:?}");
            let queries = [
                Component::Query,
                Component::QueryGlobal,
                Component::QueryFrontend,
            ];
            let front = queries.iter().any(|one| runs.contains(one));
            assert_eq!(ports.contains(&FRONT_PORT), front, "{runs:?}");
        }
    }

    #[test]
    fn names_are_read_back() {
        for component in Component::ALL {
            assert_eq!(Component::parse(component.as_str()), Some(component));
        }
        assert_eq!(
            Component::parse("query_frontend"),
            Some(Component::QueryFrontend)
        );
        assert_eq!(Component::parse("sidecar"), None);
    }

    fn zone(alias: &str, components: &[&str], bucket: &str) -> Peer {
        serde_json::from_value(serde_json::json!({
            "instance": alias, "service": "thanos", "flavor": "triton",
            "datacenter": "dc1", "alias": alias, "name": alias,
            "address": null, "components": components, "bucket": bucket,
        }))
        .unwrap()
    }

    /// Whoever looks sees the same one, also where nobody said who.
    #[test]
    fn a_bucket_has_one_compactor() {
        let peers = Peers::from(vec![
            zone("thanos0", &["query"], "a"),
            zone("thanos1", &[], "a"),
            zone("thanos2", &["compact"], "a"),
            zone("thanos3", &[], "b"),
        ]);
        let compacts: Vec<_> = peers
            .iter()
            .filter(|peer| runs(&peers, peer).contains(&Component::Compact))
            .map(|peer| peer.alias.as_str())
            .collect();
        assert_eq!(compacts, ["thanos1", "thanos3"]);
        let stores = peers
            .iter()
            .filter(|peer| runs(&peers, peer).contains(&Component::Store));
        assert_eq!(stores.count(), 2);
    }
}
