// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The name server in the report: upstreams, questions, events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::dns::{
    Answerer, DnsCounters, ForwardStatus, Latency, NamesHandle, QueryCount,
    UpstreamCounts, UpstreamState,
};

/// An upstream name server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UpstreamPart {
    /// Forward zone.
    pub suffix: String,
    /// Address.
    pub address: String,
    /// Answered when last asked.
    pub alive: bool,
    /// Asked by TLS.
    #[serde(default)]
    pub tls: bool,
    /// Whether it is asked: `good`, `suspect` (late of late), `open` (only
    /// looked at from time to time).
    #[serde(default)]
    pub state: String,
    /// Usual time to its reply.
    #[serde(default)]
    pub rtt_seconds: Option<f64>,
    /// What came of asking it: kind and number.
    #[serde(default)]
    pub outcomes: BTreeMap<String, u64>,
    /// Times that it was found to be down.
    #[serde(default)]
    pub opened: u64,
    /// Why it did not.
    pub last_error: Option<String>,
}

/// The answers of a forward zone that are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CachePart {
    /// Forward zone.
    pub suffix: String,
    /// Answers kept.
    pub entries: usize,
    /// Memory they take.
    pub bytes: usize,
    /// Questions answered from it.
    pub hits: u64,
    /// Questions that it had no fresh answer for.
    pub misses: u64,
    /// Stale answers given, for want of fresh ones.
    pub stale: u64,
    /// Answers asked for again before their time was over.
    pub prefetches: u64,
    /// Answers of use that made room for others.
    pub evictions: u64,
}

/// Queries and transfers since the start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NamesPart {
    /// Whether the embedded name server runs.
    pub enabled: bool,
    /// Queries by response code, then by who knew; events.
    pub counts: BTreeMap<String, u64>,
    /// Queries by source, zone, type and response code.
    #[serde(default)]
    pub queries: Vec<QueryPart>,
    /// Answers of others that are kept.
    #[serde(default)]
    pub caches: Vec<CachePart>,
    /// How long answers took.
    #[serde(default)]
    pub latencies: Vec<LatencyPart>,
}

/// Queries of one kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QueryPart {
    /// Who answered, or was asked first: `zone`, `primary`, `binder`,
    /// `public`, `local`, `nobody`; `none` where no name was looked up.
    pub source: String,
    /// Zone, or suffix of a forward zone; may be empty.
    pub zone: String,
    /// Type, or `other`.
    #[serde(rename = "type")]
    pub rtype: String,
    /// Response code, or `other`.
    pub rcode: String,
    /// How many.
    pub count: u64,
}

/// How long answers took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LatencyPart {
    /// `own`, or `forwarded`: others may have been asked.
    pub answers: String,
    /// Upper bound in seconds, and answers up to it.
    pub buckets: Vec<(f64, u64)>,
    /// All.
    pub count: u64,
    /// All their time.
    pub sum_seconds: f64,
}

pub(super) fn upstreams(names: Option<&NamesHandle>) -> Vec<UpstreamPart> {
    let upstreams = names.map(NamesHandle::upstreams);
    upstreams
        .into_iter()
        .flatten()
        .map(|upstream| UpstreamPart {
            suffix: upstream.suffix.to_string(),
            address: upstream.addr.to_string(),
            alive: upstream.alive,
            tls: upstream.tls,
            state: state(upstream.state).to_owned(),
            rtt_seconds: upstream.rtt.map(|rtt| rtt.as_secs_f64()),
            outcomes: outcomes(upstream.counts),
            opened: upstream.counts.opened,
            last_error: upstream.last_error,
        })
        .collect()
}

pub(super) fn part(names: Option<&NamesHandle>) -> NamesPart {
    let Some(names) = names else { return NamesPart::default() };
    let [own, forwarded] = names.latencies();
    NamesPart {
        enabled: true,
        counts: counts(names.counters()),
        queries: names.queries().into_iter().map(Into::into).collect(),
        caches: names.forwards().into_iter().map(cache).collect(),
        latencies: vec![latency("own", own), latency("forwarded", forwarded)],
    }
}

fn state(state: UpstreamState) -> &'static str {
    match state {
        UpstreamState::Good => "good",
        UpstreamState::Suspect => "suspect",
        UpstreamState::Open => "open",
    }
}

fn outcomes(c: UpstreamCounts) -> BTreeMap<String, u64> {
    let counts = [
        ("answer", c.replies.saturating_sub(c.no_answer)),
        ("no_answer", c.no_answer.saturating_sub(c.bogus)),
        ("bogus", c.bogus),
        ("silence", c.silences),
        ("error", c.errors),
    ];
    counts.map(|(name, n)| (name.to_owned(), n)).into()
}

fn cache(forward: ForwardStatus) -> CachePart {
    let c = forward.cache;
    CachePart {
        suffix: forward.suffix.to_string(),
        entries: c.entries,
        bytes: c.bytes,
        hits: c.hits,
        misses: c.misses,
        stale: c.stale,
        prefetches: c.prefetches,
        evictions: c.evictions,
    }
}

fn counts(c: DnsCounters) -> BTreeMap<String, u64> {
    let counts = [
        ("queries", c.queries),
        ("noerror", c.noerror),
        ("nxdomain", c.nxdomain),
        ("servfail", c.servfail),
        ("refused", c.refused),
        ("other_rcode", c.other_rcode),
        ("from_zone", c.from_zone),
        ("from_primary", c.from_primary),
        ("from_forward", c.from_forward),
        ("from_local", c.from_local),
        ("from_nowhere", c.from_nowhere),
        ("notifies", c.notifies),
        ("transfers_ok", c.transfers_ok),
        ("transfers_failed", c.transfers_failed),
        ("transfers_incremental", c.transfers_incremental),
        ("differences_odd", c.differences_odd),
        ("misfits", c.misfits),
        ("divergences", c.divergences),
        ("divergent_sets", c.divergent_sets),
        ("held_back", c.held_back),
        ("notifies_refused", c.notifies_refused),
        ("strangers", c.strangers),
    ];
    counts.map(|(name, n)| (name.to_owned(), n)).into()
}

impl From<QueryCount> for QueryPart {
    fn from(query: QueryCount) -> Self {
        Self {
            source: match query.by {
                Some(Answerer::Zone) => "zone",
                Some(Answerer::Primary) => "primary",
                Some(Answerer::Binder) => "binder",
                Some(Answerer::Public) => "public",
                Some(Answerer::Local) => "local",
                Some(Answerer::Nobody) => "nobody",
                None => "none",
            }
            .to_owned(),
            zone: query.zone,
            rtype: query.rtype.to_owned(),
            rcode: query.rcode.to_owned(),
            count: query.count,
        }
    }
}

fn latency(answers: &str, latency: Latency) -> LatencyPart {
    LatencyPart {
        answers: answers.to_owned(),
        buckets: latency.buckets,
        count: latency.count,
        sum_seconds: latency.sum.as_secs_f64(),
    }
}
