// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Names that others answer: upstream servers of one forward zone, tried in
//! turn, with their health and a small cache.
//!
//! Each server is asked by itself: recursive resolvers through
//! hickory-resolver (`recursive.rs`), binder and primaries by our own exchange
//! (`exchange.rs`), because there every rcode counts. Whom to ask next is
//! decided here and not by a pool of hickory-resolver, where REFUSED, NOTIMP
//! and SERVFAIL from one upstream end the try for all of them: what a rcode
//! means depends on who said it, and REFUSED from binder means "unknown name".

pub(crate) mod cache;
pub(crate) mod recursive;
pub(crate) mod upstream;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::warn;

use self::cache::{Cache, CacheLimits, Key};
use self::upstream::{MAX_BACKOFF, Server, UpstreamStatus};
use crate::dns::names::WireName;
use crate::dns::seldom::Seldom;
use crate::dns::serve::answer::{Answer, synthetic_soa};
use crate::dns::tally::Tally;
use crate::model::dns::{ForwardZone, UpstreamKind, ZoneName};

/// Bounds of forwarding.
#[derive(Clone, Copy, Debug)]
pub struct ForwardLimits {
    /// One try at one upstream.
    pub each: Duration,
    /// One question, all tries together. Below the 5 s after which stubs
    /// give up.
    pub whole: Duration,
    /// Questions on their way at a time; more are answered SERVFAIL. Each
    /// takes a socket, or up to three while a recursive resolver is slow:
    /// hickory-resolver sends again from another port.
    pub in_flight: usize,
    /// What is kept of the answers, for each forward zone.
    pub cache: CacheLimits,
}

impl Default for ForwardLimits {
    fn default() -> Self {
        Self {
            each: Duration::from_millis(1200),
            whole: Duration::from_secs(4),
            in_flight: 512,
            cache: CacheLimits::default(),
        }
    }
}

/// Negative TTL where the upstream gave none, seconds: binder's REFUSED
/// carries no SOA and may be over in a moment.
const BRIEF: u32 = 5;
/// No negative answer is kept for longer, seconds.
const MAX_NEGATIVE: u32 = 300;
/// Negative TTL of types that binder does not know, seconds; binder's records
/// live as long.
const NODATA_TTL: u32 = 30;
/// Marks, up to and in the cache, what all binders refused; no upstream's
/// answer has this rcode, and none leaves the pool with it.
const REFUSED_BY_ALL: ResponseCode = ResponseCode::Refused;
/// Failures in a row after which a server is not merely unlucky.
const SURELY_DEAD: u32 = 4;

/// Who is behind a pool: the forward zones' kinds, and a zone's own
/// primaries while we hold no copy of it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstreams {
    Binder {
        /// A name that all of them refuse may be known further up.
        fallback: bool,
    },
    Recursive,
    Primaries,
}

impl From<&ForwardZone> for Upstreams {
    fn from(zone: &ForwardZone) -> Self {
        match zone.kind {
            UpstreamKind::Binder => Self::Binder { fallback: zone.fallback },
            // There REFUSED is a failure and tells nothing about the name.
            UpstreamKind::Recursive => Self::Recursive,
        }
    }
}

/// What a pool says to a question.
pub(crate) enum Told {
    /// This is it.
    Answer(Answer),
    /// The name is not from here: ask the next shorter zone. With the answer
    /// for when there is none.
    Unknown(Answer),
}

impl Told {
    /// The answer, wherever else one might look.
    pub(crate) fn into_answer(self) -> Answer {
        match self {
            Self::Answer(answer) | Self::Unknown(answer) => answer,
        }
    }
}

/// The upstreams of one suffix.
pub(crate) struct ForwardPool {
    pub(crate) suffix: ZoneName,
    pub(crate) kind: Upstreams,
    /// Questions for names below the suffix.
    pub(crate) tally: Arc<Tally>,
    servers: Vec<Arc<Server>>,
    limits: ForwardLimits,
    in_flight: Arc<Semaphore>,
    cache: Cache,
    turned_away: Seldom,
}

/// What one reply means for the question.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Take it, and keep it for so many seconds.
    Take(Answer, u32),
    /// Ask the next; if all say so, the name does not exist here.
    Unknown,
    /// Ask the next; if none does better, SERVFAIL.
    Failed,
}

impl ForwardPool {
    pub(crate) fn new(
        suffix: ZoneName,
        kind: Upstreams,
        addrs: &[SocketAddr],
        source: Option<IpAddr>,
        limits: ForwardLimits,
        in_flight: Arc<Semaphore>,
    ) -> Self {
        let server = |addr: &SocketAddr| match kind {
            Upstreams::Recursive => Server::recursive(*addr, source, &limits),
            _ => Server::plain(*addr, source),
        };
        Self {
            suffix,
            kind,
            tally: Arc::default(),
            servers: addrs.iter().map(server).map(Arc::new).collect(),
            limits,
            in_flight,
            cache: Cache::new(limits.cache),
            turned_away: Seldom::default(),
        }
    }

    /// Whether it is already what a pool made of these would be.
    pub(crate) fn is_same(
        &self,
        kind: Upstreams,
        addrs: &[SocketAddr],
    ) -> bool {
        self.kind == kind && self.servers.iter().map(|s| &s.addr).eq(addrs)
    }

    pub(crate) fn status(&self) -> impl Iterator<Item = UpstreamStatus> {
        self.servers.iter().map(|server| server.status(&self.suffix))
    }

    /// Whether it would answer from its cache now.
    pub(crate) fn is_cached(&self, name: &WireName, rtype: RecordType) -> bool {
        let key: Key = (name.clone(), rtype);
        self.cache.get(&key, Instant::now()).is_some()
    }

    /// Forgets what it has cached at and below a name, or all; says how many.
    pub(crate) fn forget(&self, below: Option<&WireName>) -> usize {
        self.cache.forget(below)
    }

    /// Answers a question below the suffix, from the cache if possible;
    /// always, and within `limits.whole`. `Unknown` comes only from a pool
    /// with fallback.
    pub(crate) async fn ask(&self, name: &Name, rtype: RecordType) -> Told {
        let (is_binder, fallback) = match self.kind {
            Upstreams::Binder { fallback } => (true, fallback),
            _ => (false, false),
        };
        // Binder would say NOTIMP, which stubs take for a failure.
        let foreign = is_binder && !binder_knows(rtype);
        let nodata =
            || Told::Answer(self.empty(ResponseCode::NoError, NODATA_TTL));
        if foreign && !fallback {
            return nodata();
        }
        // Whether a name is binder's, for a type it does not know: A tells.
        let rtype = if foreign { RecordType::A } else { rtype };
        let key: Key = (WireName::from_name(name), rtype);
        let mut answer = match self.cache.get(&key, Instant::now()) {
            Some(answer) => answer,
            None => self.ask_upstreams(key).await,
        };
        if answer.rcode == REFUSED_BY_ALL {
            // We are the only name server of this zone: REFUSED would make
            // stubs retry and fail where NXDOMAIN is an answer.
            answer.rcode = ResponseCode::NXDomain;
            return match fallback {
                true => Told::Unknown(answer),
                false => Told::Answer(answer),
            };
        }
        if foreign && answer.rcode == ResponseCode::NoError {
            return nodata();
        }
        for record in &mut answer.answers {
            if record.name == *name {
                // The spelling of the question.
                record.name = name.clone();
            }
        }
        Told::Answer(answer)
    }

    async fn ask_upstreams(&self, key: Key) -> Answer {
        let Ok(_permit) = self.in_flight.try_acquire() else {
            if let Some(more) = self.turned_away.pass(Instant::now()) {
                let suffix = &self.suffix;
                warn!(%suffix, more, "too many questions on their way");
            }
            return self.last_resort(&key);
        };
        let deadline = Instant::now() + self.limits.whole;
        let mut replied = vec![false; self.servers.len()];
        let mut unknown = false;
        let mut failed = false;
        // Twice round: a single lost datagram must not become SERVFAIL. But
        // once all are known to be dead, nobody waits long to hear it again.
        let all_dead =
            self.servers.iter().all(|s| s.health().failures >= SURELY_DEAD);
        let (rounds, each) = match all_dead {
            true => (1, self.limits.each / 4),
            false => (2, self.limits.each),
        };
        for _ in 0..rounds {
            for at in self.order(&key) {
                let left = deadline.saturating_duration_since(Instant::now());
                if replied[at] || left.is_zero() {
                    continue;
                }
                // Those alive have spoken: not worth waiting for the others.
                if (unknown || failed) && self.servers[at].is_down() {
                    continue;
                }
                let limit = each.min(left);
                match self.servers[at].ask(&self.suffix, &key, limit).await {
                    Err(_) => {}
                    Ok(reply) => {
                        replied[at] = true;
                        match judge(self.kind, &self.suffix, reply) {
                            (Verdict::Take(answer, ttl), size) => {
                                self.keep(key, &answer, ttl, size);
                                return answer;
                            }
                            (Verdict::Unknown, _) => unknown = true,
                            (Verdict::Failed, _) => failed = true,
                        }
                    }
                }
            }
        }
        if unknown && !failed {
            let answer = self.empty(REFUSED_BY_ALL, BRIEF);
            self.keep(key, &answer, BRIEF, 0);
            return answer;
        }
        self.last_resort(&key)
    }

    /// Indices of the servers: those alive as configured, then the others,
    /// longest-rested first. One that is down and rested is asked the same
    /// question in the background, so that it comes back by itself.
    fn order(&self, key: &Key) -> Vec<usize> {
        let now = Instant::now();
        let mut order: Vec<(bool, Option<Instant>, usize)> = self
            .servers
            .iter()
            .enumerate()
            .map(|(at, server)| {
                let health = server.health();
                let down = health.is_down();
                (down, health.retry_at.filter(|_| down), at)
            })
            .collect();
        order.sort();
        if order.first().is_some_and(|(down, ..)| !down) {
            for (_, retry_at, at) in &order {
                if retry_at.is_some_and(|retry_at| retry_at <= now) {
                    self.probe(&self.servers[*at], key);
                }
            }
        }
        order.into_iter().map(|(.., at)| at).collect()
    }

    fn probe(&self, server: &Arc<Server>, key: &Key) {
        let server = Arc::clone(server);
        server.health().retry_at = Some(Instant::now() + MAX_BACKOFF);
        let (suffix, key) = (self.suffix.clone(), key.clone());
        let limit = self.limits.each;
        // Ends within `limit`; at most one per server and backoff.
        tokio::spawn(async move { server.ask(&suffix, &key, limit).await });
    }

    fn keep(&self, key: Key, answer: &Answer, ttl: u32, size: usize) {
        let ttl = Duration::from_secs(ttl.into());
        self.cache.put(key, answer.clone(), ttl, size, Instant::now());
    }

    /// Nobody had an answer: an old one if there is one, else SERVFAIL.
    fn last_resort(&self, key: &Key) -> Answer {
        self.cache
            .get_stale(key, Instant::now())
            .unwrap_or_else(|| Answer::failure(ResponseCode::ServFail))
    }

    fn empty(&self, rcode: ResponseCode, ttl: u32) -> Answer {
        empty(&self.suffix, rcode, ttl)
    }
}

fn empty(suffix: &ZoneName, rcode: ResponseCode, ttl: u32) -> Answer {
    let owner = WireName::from_zone(suffix).to_name();
    Answer::negative(rcode, synthetic_soa(owner, ttl))
}

/// Binder's whole repertoire; everything else is NOTIMP there.
fn binder_knows(rtype: RecordType) -> bool {
    matches!(rtype, RecordType::A | RecordType::SRV | RecordType::PTR)
}

/// Reads a reply as its sender meant it. Also says how large it was.
fn judge(
    kind: Upstreams,
    suffix: &ZoneName,
    reply: Message,
) -> (Verdict, usize) {
    let verdict = match (reply.metadata.response_code, kind) {
        (ResponseCode::NoError | ResponseCode::NXDomain, _) => {
            let size = reply.to_vec().map_or(usize::MAX, |bytes| bytes.len());
            let (answer, ttl) = take(suffix, reply);
            return (Verdict::Take(answer, ttl), size);
        }
        (ResponseCode::NotImp, Upstreams::Binder { .. }) => {
            let answer = empty(suffix, ResponseCode::NoError, BRIEF);
            Verdict::Take(answer, BRIEF)
        }
        (ResponseCode::Refused, Upstreams::Binder { .. }) => Verdict::Unknown,
        _ => Verdict::Failed,
    };
    (verdict, 0)
}

/// The parts of a reply worth passing on, and for how many seconds.
fn take(suffix: &ZoneName, reply: Message) -> (Answer, u32) {
    let rcode = reply.metadata.response_code;
    let in_class = |record: &Record| record.dns_class == DNSClass::IN;
    let asked = reply.queries.first().map(|query| query.query_type());
    let is_asked = |record: &Record| {
        asked.is_none_or(|t| t == RecordType::ANY || t == record.record_type())
    };
    let mut answers = reply.answers;
    answers.retain(in_class);
    // Aliases may lead to nothing of that type, or to nothing at all.
    let negative =
        rcode == ResponseCode::NXDomain || !answers.iter().any(is_asked);
    let mut authorities = reply.authorities;
    authorities.retain(|record| {
        negative && in_class(record) && matches!(record.data, RData::SOA(_))
    });
    authorities.truncate(1);
    for record in &mut authorities {
        if let RData::SOA(soa) = &record.data {
            record.ttl = record.ttl.min(soa.minimum).min(MAX_NEGATIVE);
        }
    }
    if answers.is_empty() && authorities.is_empty() {
        return (empty(suffix, rcode, BRIEF), BRIEF);
    }
    let mut additionals = reply.additionals;
    additionals.retain(|record| {
        in_class(record) && matches!(record.data, RData::A(_) | RData::AAAA(_))
    });
    // An alias whose end does not exist, without a SOA to say for how long.
    let vague = negative && authorities.is_empty();
    let ttl = answers
        .iter()
        .chain(&authorities)
        .map(|record| record.ttl)
        .chain(vague.then_some(BRIEF))
        .min()
        .unwrap_or(BRIEF);
    let answer = Answer {
        rcode,
        authoritative: false,
        answers,
        authorities,
        additionals,
    };
    (answer, ttl)
}

#[cfg(test)]
#[path = "fallback_tests.rs"]
mod fallback_tests;
#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "upstream_tests.rs"]
mod upstream_tests;
