// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One question, several upstreams: asked one after the other, but none
//! waited for longer than usual before the next is asked as well. The first
//! answer counts.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::health::{Rank, UpstreamState};
use super::judge::{BRIEF, Taken, Verdict, judge};
use super::kept::Question;
use super::probe;
use super::upstream::{Server, Tried};
use super::validate::Validator;
use super::{ForwardLimits, REFUSED_BY_ALL, Upstreams};
use crate::model::dns::ZoneName;

/// Once one was too late, the others follow each other at this distance.
const STEP: Duration = Duration::from_millis(1);
/// When all that spoke know nothing, how long the silent ones are still
/// waited for: many times what a binder takes.
const GRACE: Duration = Duration::from_millis(150);

/// Whom to ask, and within what bounds.
pub(crate) struct Field<'a> {
    pub(crate) kind: Upstreams,
    pub(crate) suffix: &'a ZoneName,
    pub(crate) servers: &'a [Arc<Server>],
    pub(crate) limits: &'a ForwardLimits,
    /// Who says whether a reply is to be believed.
    pub(crate) validator: Option<&'a Arc<Validator>>,
    /// A second question on its way takes a permit; the first has one.
    pub(crate) in_flight: &'a Arc<Semaphore>,
}

/// A question on its way to one server.
struct Running<'a> {
    server: &'a Arc<Server>,
    since: Instant,
    replied: bool,
}

type Try = BoxFuture<'static, (usize, Tried, Option<OwnedSemaphorePermit>)>;

/// `None`: nobody has an answer.
pub(crate) async fn race(
    field: Field<'_>,
    question: &Question,
) -> Option<Taken> {
    Race {
        order: order(field.servers),
        running: Vec::new(),
        tries: FuturesUnordered::new(),
        unknown: false,
        failed: false,
        field,
        question,
    }
    .run()
    .await
}

struct Race<'a> {
    field: Field<'a>,
    question: &'a Question,
    order: std::vec::IntoIter<&'a Arc<Server>>,
    running: Vec<Running<'a>>,
    tries: FuturesUnordered<Try>,
    unknown: bool,
    failed: bool,
}

impl Race<'_> {
    async fn run(mut self) -> Option<Taken> {
        let started = Instant::now();
        let mut end = started + self.field.limits.whole;
        let mut next = started;
        loop {
            let more = self.order.len() > 0;
            if !more && self.tries.is_empty() {
                break;
            }
            // Not by the timer, whose grain is a millisecond.
            if more && next <= Instant::now() {
                next = self.ask_next();
                continue;
            }
            if !more && self.unknown && !self.failed {
                end = end.min(Instant::now() + GRACE);
            }
            // All arms may be dropped: a try stays in its set until it is
            // over, a moment stays the same.
            tokio::select! {
                biased;
                Some((at, tried, _permit)) = self.tries.next() => {
                    if let Some(taken) = self.judge(at, tried) {
                        return Some(taken);
                    }
                    // Not this one: the next, at once.
                    next = Instant::now();
                }
                () = sleep_until(next), if more => next = self.ask_next(),
                () = sleep_until(end) => break,
            }
        }
        let sure = self.unknown && !self.failed;
        sure.then(|| Taken::empty(self.field.suffix, REFUSED_BY_ALL, BRIEF))
    }

    /// When the one after is to be asked.
    fn ask_next(&mut self) -> Instant {
        let now = Instant::now();
        let permit = match self.tries.is_empty() {
            true => None,
            false => {
                let in_flight = Arc::clone(self.field.in_flight);
                match in_flight.try_acquire_owned() {
                    Ok(permit) => Some(permit),
                    // Not now; when one of those running is over.
                    Err(_) => return now + self.field.limits.each,
                }
            }
        };
        let Some(server) = self.order.next() else { return now };
        let limit = match server.state() {
            // Nobody waits long to hear it again.
            UpstreamState::Open => self.field.limits.each / 4,
            _ => self.field.limits.each,
        };
        let first = self.running.is_empty();
        let patience = server.health().patience();
        let at = self.running.len();
        self.running.push(Running { server, since: now, replied: false });
        let (asked, question) = (Arc::clone(server), self.question.clone());
        let validator = self.field.validator.cloned();
        let trying = async move {
            let mut tried = asked.ask(&question, limit).await;
            if let Some(validator) = validator {
                tried = validator.judge(&asked, &question, limit, tried).await;
            }
            (at, tried, permit)
        };
        self.tries.push(trying.boxed());
        now + if first { patience } else { STEP }
    }

    fn judge(&mut self, at: usize, tried: Tried) -> Option<Taken> {
        let running = self.running.get_mut(at)?;
        running.replied = true;
        let server = running.server;
        let Tried::Reply { message, .. } = tried else {
            probe::look_at(server, self.field.kind, self.field.limits.each);
            return None;
        };
        let (name, rtype) = (self.question.name(), self.question.rtype());
        let (kind, suffix) = (self.field.kind, self.field.suffix);
        match judge(kind, suffix, &name, rtype, *message) {
            Verdict::Take(taken) => {
                server.health().answered();
                self.overtake(at);
                return Some(taken);
            }
            Verdict::Unknown => self.unknown = true,
            Verdict::Failed => {
                server.health().gave_nothing(Instant::now());
                self.failed = true;
            }
        }
        None
    }

    /// Those asked before the winner and still silent are late.
    fn overtake(&self, winner: usize) {
        for running in self.running.iter().take(winner) {
            if running.replied {
                continue;
            }
            let server = running.server;
            server.health().overtaken(running.since.elapsed());
            if server.state() == UpstreamState::Suspect {
                let (kind, each) = (self.field.kind, self.field.limits.each);
                probe::look_at(server, kind, each);
            }
        }
    }
}

/// Those worth asking, best first: all with a closed circuit, or all there
/// are if there is none.
fn order(servers: &[Arc<Server>]) -> std::vec::IntoIter<&Arc<Server>> {
    let now = Instant::now();
    let rank = |server: &Arc<Server>| server.health().rank(now);
    let mut order: Vec<(Rank, &Arc<Server>)> =
        servers.iter().map(|server| (rank(server), server)).collect();
    // Stable: equals stay as configured.
    order.sort_by_key(|(rank, _)| *rank);
    let is_open =
        |(rank, _): &(Rank, &Arc<Server>)| rank.0 == UpstreamState::Open;
    if !order.iter().all(is_open) {
        order.retain(|one| !is_open(one));
    }
    let order: Vec<_> = order.into_iter().map(|(_, server)| server).collect();
    order.into_iter()
}
