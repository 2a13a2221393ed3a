// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The upstreams of one suffix with their cache: what the rest of the room
//! asks. Answers always, and within the time limit.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::cache::{Cache, CacheCounts, Found};
use super::flights::{Flights, Waiting, land};
use super::health::{UpstreamState, UpstreamStatus};
use super::judge::{NODATA_TTL, Taken, binder_knows};
use super::kept::{Kept, Question, Ttl};
use super::line::Line;
use super::race::{Field, race};
use super::upstream::{Case, Server};
use super::validate::Validator;
use super::{ForwardLimits, REFUSED_BY_ALL, Told, Trust, Upstreams};
use crate::dns::names::WireName;
use crate::dns::seldom::Seldom;
use crate::dns::serve::answer::Answer;
use crate::dns::tally::Tally;
use crate::model::dns::ZoneName;

/// TTL given with a stale answer, seconds (RFC 8767 §4).
const STALE_TTL: u32 = 30;
/// A failure is kept for so long, seconds (RFC 9520 §3.2 wants one at least).
const FAILURE_TTL: u32 = 1;

/// The upstreams of one suffix.
pub(crate) struct ForwardPool {
    pub(crate) suffix: ZoneName,
    pub(crate) kind: Upstreams,
    /// Questions for names below the suffix.
    pub(crate) tally: Arc<Tally>,
    /// As configured.
    addrs: Vec<SocketAddr>,
    core: Arc<Core>,
}

/// What a question on its way holds on to.
struct Core {
    suffix: ZoneName,
    kind: Upstreams,
    servers: Vec<Arc<Server>>,
    limits: ForwardLimits,
    in_flight: Arc<Semaphore>,
    cache: Arc<Cache>,
    flights: Arc<Flights>,
    turned_away: Seldom,
    validator: Option<Arc<Validator>>,
}

/// How a forward zone is doing.
#[derive(Clone, Debug)]
pub struct ForwardStatus {
    /// Its suffix.
    pub suffix: ZoneName,
    /// Its cache.
    pub cache: CacheCounts,
}

impl ForwardPool {
    /// One that asks those of its recursive resolvers by TLS, and believes
    /// what they say, that `trust` has something about.
    pub(crate) fn new(
        suffix: ZoneName,
        kind: Upstreams,
        addrs: &[SocketAddr],
        source: Option<IpAddr>,
        limits: ForwardLimits,
        in_flight: Arc<Semaphore>,
        trust: &Trust,
    ) -> Self {
        let recursive = kind == Upstreams::Recursive;
        // A domain with resolvers of its own has nobody above that vouches.
        let is_public = recursive && suffix.as_str() == ".";
        let validator = trust.validator.clone().filter(|_| is_public);
        let case = if recursive { Case::Unknown } else { Case::Never };
        let server = |addr: &SocketAddr| {
            let found = trust.secure.find(*addr).filter(|_| recursive);
            let (addr, line) = match found {
                Some((addr, way)) => (addr, Some(Line::new(addr, way, source))),
                None => (*addr, None),
            };
            let signed = validator.is_some();
            Server::new(suffix.clone(), addr, source, case, line, signed)
        };
        let core = Core {
            servers: addrs.iter().map(server).collect(),
            suffix: suffix.clone(),
            kind,
            limits,
            in_flight,
            cache: Arc::new(Cache::new(limits.cache)),
            flights: Arc::default(),
            turned_away: Seldom::default(),
            validator,
        };
        let (addrs, core) = (addrs.to_vec(), Arc::new(core));
        Self { suffix, kind, tally: Arc::default(), addrs, core }
    }

    /// Takes over what is of use still when upstreams change: the answers, and
    /// how those are doing that stay.
    pub(crate) fn inherit(mut self, old: &Self) -> Self {
        self.tally = Arc::clone(&old.tally);
        if old.kind == self.kind
            && let Some(core) = Arc::get_mut(&mut self.core)
        {
            core.cache = Arc::clone(&old.core.cache);
            for server in &mut core.servers {
                let known = &old.core.servers;
                let same = known.iter().find(|old| old.addr == server.addr);
                if let Some(same) = same {
                    *server = Arc::clone(same);
                }
            }
        }
        self
    }

    /// Whether it is already what a pool made of these would be.
    pub(crate) fn is_same(
        &self,
        kind: Upstreams,
        addrs: &[SocketAddr],
    ) -> bool {
        self.kind == kind && self.addrs == addrs
    }

    pub(crate) fn upstreams(&self) -> impl Iterator<Item = UpstreamStatus> {
        self.core.servers.iter().map(|server| server.status())
    }

    /// Whether it would answer from its cache now, and ask nobody else.
    pub(crate) fn is_cached(&self, name: &WireName, rtype: RecordType) -> bool {
        let question = Question::new(&name.to_name(), self.asked_type(rtype));
        let fallback = self.kind == Upstreams::Binder { fallback: true };
        let will_do = |kept: &Kept| !fallback || kept.rcode != REFUSED_BY_ALL;
        self.core.cache.has(question.as_bytes(), Instant::now(), will_do)
    }

    /// Whether a name is binder's, for a type it does not know: A tells.
    fn asked_type(&self, rtype: RecordType) -> RecordType {
        match self.kind {
            Upstreams::Binder { .. } if !binder_knows(rtype) => RecordType::A,
            _ => rtype,
        }
    }

    /// Forgets what it has cached at and below a name, or all; says how many.
    pub(crate) fn forget(&self, below: Option<&WireName>) -> usize {
        self.core.cache.forget(below)
    }

    pub(crate) fn status(&self) -> ForwardStatus {
        let cache = self.core.cache.counts();
        ForwardStatus { suffix: self.suffix.clone(), cache }
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
        let nodata = || {
            let code = ResponseCode::NoError;
            Told::Answer(Taken::empty(&self.suffix, code, NODATA_TTL).answer)
        };
        if foreign && !fallback {
            return nodata();
        }
        let rtype = self.asked_type(rtype);
        let mut answer = self.core.answer(&Question::new(name, rtype)).await;
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

    /// The short way for a plain query as bytes, with `question` in it (name
    /// in lower case, then type): appends the response without OPT to `out`
    /// if there is a fresh answer. `None`: `ask` knows.
    pub(crate) fn cached(
        &self,
        query: &[u8],
        question: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<ResponseCode> {
        let now = Instant::now();
        // Those may be known further up.
        let will_do = |kept: &Kept| kept.rcode != REFUSED_BY_ALL;
        let found = self.core.cache.find_fresh(question, now, will_do);
        let (kept, last) = found?;
        if last {
            self.core.renew(question);
        }
        kept.write(query, question, kept.aged(now), out)?;
        Some(kept.rcode)
    }
}

impl Core {
    async fn answer(self: &Arc<Self>, question: &Question) -> Answer {
        let now = Instant::now();
        match self.cache.find(question.as_bytes(), now) {
            Found::Fresh { kept, last } => {
                if last {
                    self.renew(question.as_bytes());
                }
                kept.answer(kept.aged(now))
            }
            Found::Stale { kept, failed } => {
                // Those who look at the upstreams will tell when it is worth
                // asking again.
                let vain = failed || self.is_dark();
                let new = if vain { None } else { self.hurry(question).await };
                self.of_age(new, &kept)
            }
            Found::Nothing => {
                let waiting = self.ask(question);
                match waiting {
                    Some(waiting) => land(waiting).await,
                    None => None,
                }
                .map_or_else(failure, |kept| kept.answer(Ttl::Less(0)))
            }
        }
    }

    /// What came of asking again, if that was quick enough.
    async fn hurry(self: &Arc<Self>, question: &Question) -> Option<Arc<Kept>> {
        let landing = land(self.ask(question)?);
        // It goes on, for those who ask next.
        timeout(self.limits.patience, landing).await.ok()?
    }

    /// The new answer, or the stale one.
    fn of_age(&self, new: Option<Arc<Kept>>, stale: &Kept) -> Answer {
        let useful = |kept: &Arc<Kept>| kept.rcode != ResponseCode::ServFail;
        if let Some(new) = new.filter(useful) {
            return new.answer(Ttl::Less(0));
        }
        self.cache.gave_stale();
        stale.answer(Ttl::Fixed(STALE_TTL))
    }

    /// All circuits are open.
    fn is_dark(&self) -> bool {
        let is_open =
            |server: &Arc<Server>| server.state() == UpstreamState::Open;
        self.servers.iter().all(is_open)
    }

    /// Asks for a name again before its answer is too old.
    fn renew(self: &Arc<Self>, question: &[u8]) {
        // Without a runtime, as some tests are, there is nobody to do it.
        if Handle::try_current().is_ok()
            && let Some(question) = Question::from_bytes(question)
        {
            // Nobody waits.
            drop(self.ask(&question));
        }
    }

    /// Sends the question on its way, or joins it there. `None` when too many
    /// are.
    fn ask(self: &Arc<Self>, question: &Question) -> Option<Waiting> {
        self.flights.join(question, || {
            let Ok(permit) = Arc::clone(&self.in_flight).try_acquire_owned()
            else {
                if let Some(more) = self.turned_away.pass(Instant::now()) {
                    let suffix = &self.suffix;
                    warn!(%suffix, more, "too many questions on their way");
                }
                return None;
            };
            let (core, question) = (Arc::clone(self), question.clone());
            Some(async move {
                let kept = core.fetch(&question).await;
                drop(permit);
                kept
            })
        })
    }

    /// Asks the upstreams and keeps what they say.
    async fn fetch(&self, question: &Question) -> Option<Arc<Kept>> {
        let field = Field {
            kind: self.kind,
            suffix: &self.suffix,
            servers: &self.servers,
            limits: &self.limits,
            validator: self.validator.as_ref(),
            in_flight: &self.in_flight,
        };
        let taken = race(field, question).await;
        let now = Instant::now();
        let Some(mut taken) = taken else {
            return self.give_up(question, now);
        };
        let seconds = |ttl| std::time::Duration::from_secs(u64::from(ttl));
        let ttl = match taken.brief {
            true => seconds(taken.ttl),
            false => self.cache.clamp(seconds(taken.ttl)),
        };
        let (least, most) = self.cache.bounds();
        for record in taken.answer.records_mut() {
            record.ttl = record.ttl.max(least).min(most);
        }
        let Taken { answer, brief, .. } = taken;
        let kept = Kept::new(question, &answer, ttl, brief, now)?;
        let kept = Arc::new(kept);
        self.cache.put(question.clone(), Arc::clone(&kept));
        Some(kept)
    }

    /// Nobody had an answer. Remembered beside the old one, or else by itself
    /// for a moment.
    fn give_up(&self, question: &Question, now: Instant) -> Option<Arc<Kept>> {
        if self.cache.failed(question, now) {
            return None;
        }
        let answer = failure();
        let ttl = std::time::Duration::from_secs(u64::from(FAILURE_TTL));
        let kept = Arc::new(Kept::new(question, &answer, ttl, true, now)?);
        self.cache.put(question.clone(), Arc::clone(&kept));
        Some(kept)
    }
}

fn failure() -> Answer {
    Answer::failure(ResponseCode::ServFail)
}
