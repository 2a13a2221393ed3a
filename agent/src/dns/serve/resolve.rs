// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! From a question to its answer: finds who answers the name, follows aliases
//! from zone to zone and on into forward zones. The one path for queries from
//! the network and for look-ups of our own.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use tokio::time::timeout;
use tracing::error;

use super::answer::{Answer, Step, from_zone};
use crate::dns::catalog::{Catalog, Route, ZoneCell, ZoneEntry};
use crate::dns::counters::Counters;
use crate::dns::forward::{ForwardPool, Told};
use crate::dns::names::WireName;
use crate::dns::tally::Began;

/// Aliases followed for one question.
const MAX_ALIASES: usize = 12;

/// The catalog in force, and the questions put to it.
pub(crate) struct Names {
    catalog: RwLock<Arc<Catalog>>,
    pub(crate) counters: Arc<Counters>,
    /// One question, its whole chain of aliases included.
    limit: Duration,
    /// Addresses of this zone that may ask, besides loopback's.
    own: Vec<IpAddr>,
    /// Whose turn it is, where addresses take turns.
    turn: AtomicUsize,
}

impl Names {
    pub(crate) fn new(
        catalog: Catalog,
        counters: Arc<Counters>,
        limit: Duration,
    ) -> Self {
        Self {
            catalog: RwLock::new(Arc::new(catalog)),
            counters,
            limit,
            own: Vec::new(),
            turn: AtomicUsize::new(0),
        }
    }

    /// The same, where questions from these addresses are answered, too: a
    /// listener on an address of the zone is asked from that address by the
    /// zone's own programs.
    pub(crate) fn admitting(mut self, own: Vec<IpAddr>) -> Self {
        self.own = own;
        self
    }

    /// Whether questions from there are answered: from this zone alone,
    /// however wide a listener is bound.
    pub(crate) fn admits(&self, from: IpAddr) -> bool {
        let from = from.to_canonical();
        let admitted = from.is_loopback() || self.own.contains(&from);
        if !admitted {
            self.counters.strangers.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// The catalog in force.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        let catalog =
            self.catalog.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&catalog)
    }

    /// Puts another catalog in force; questions on their way end with the
    /// one they began with.
    pub(crate) fn swap(&self, catalog: Catalog) {
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(catalog);
    }

    /// Answers a question of class IN. `recursion`: whether the asker wants
    /// us to ask others (RD).
    pub(crate) async fn resolve(
        &self,
        name: &Name,
        rtype: RecordType,
        recursion: bool,
    ) -> Answer {
        let began = Began::always();
        let mut by = By::Nobody;
        let chasing = self.chase(name, rtype, recursion, &mut by);
        let mut answer = timeout(self.limit, chasing)
            .await
            .unwrap_or_else(|_| Answer::failure(ResponseCode::ServFail));
        self.count(&by, rtype, answer.rcode, began);
        if self.catalog().round_robin {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            answer.take_turns(turn);
        }
        answer
    }

    async fn chase(
        &self,
        name: &Name,
        rtype: RecordType,
        recursion: bool,
        by: &mut By,
    ) -> Answer {
        let catalog = self.catalog();
        let mut name = name.clone();
        let mut seen: Vec<WireName> = Vec::new();
        let mut chain = Answer::default();
        loop {
            let key = WireName::from_name(&name);
            let first = seen.is_empty();
            // A loop, or too long a chain: what was found so far, as others
            // do it.
            if seen.contains(&key) || seen.len() > MAX_ALIASES {
                return chain;
            }
            let route = catalog.route(&key, &name, rtype);
            seen.push(key);
            if first {
                *by = By::of(&route);
            }
            let step = walk(&catalog, route, &name, rtype, recursion).await;
            let (answer, target) = match step {
                Step::Done(answer) | Step::Away(answer) => (answer, None),
                Step::Alias(answer, target) => (answer, Some(target)),
            };
            if first {
                chain.authoritative = answer.authoritative;
            }
            if !first && answer.rcode == ResponseCode::Refused {
                // The alias leads out of all we know: its target is the
                // asker's to find.
                return chain;
            }
            chain.rcode = answer.rcode;
            chain.answers.extend(answer.answers);
            chain.authorities = answer.authorities;
            chain.additionals.extend(answer.additionals);
            match target {
                Some(target) => name = target,
                None => return chain,
            }
        }
    }

    fn count(
        &self,
        by: &By,
        rtype: RecordType,
        rcode: ResponseCode,
        began: Began,
    ) {
        let counters = &self.counters;
        let (tally, times) = match by {
            By::Zone(cell) => (&cell.tally, &counters.own_times),
            By::Pool(pool) => (&*pool.tally, &counters.forward_times),
            By::Local => (&counters.local, &counters.own_times),
            By::Nobody => (&counters.nobody, &counters.own_times),
        };
        tally.count(rtype, rcode);
        times.ended(began);
    }
}

/// Who a question is counted with: whoever was asked first.
enum By {
    Zone(Arc<ZoneCell>),
    Pool(Arc<ForwardPool>),
    Local,
    Nobody,
}

impl By {
    fn of(route: &Route) -> Self {
        match route {
            Route::Zone(zone) if zone.cell.version().is_some() => {
                Self::Zone(Arc::clone(&zone.cell))
            }
            Route::Zone(zone) => Self::Pool(Arc::clone(&zone.primaries)),
            Route::Forward(pool) => Self::Pool(Arc::clone(pool)),
            Route::Local(_) => Self::Local,
            Route::Nowhere => Self::Nobody,
        }
    }
}

/// From whoever `route` names, and from the next above if that is a forward
/// zone that gives the name up, or a zone that delegates it.
async fn walk(
    catalog: &Catalog,
    mut route: Route,
    name: &Name,
    rtype: RecordType,
    recursion: bool,
) -> Step {
    // For when nobody above knows better.
    let mut unknown = None;
    loop {
        let suffix = match route {
            // Rules are for names of which nobody here knows anything.
            Route::Local(step) => return unknown.map_or(step, Step::Done),
            Route::Zone(zone) => {
                match step_in_zone(&zone, name, rtype, recursion).await {
                    Step::Away(referral) if recursion => {
                        unknown = Some(referral);
                        zone.cell.name.clone()
                    }
                    step => return step,
                }
            }
            Route::Forward(pool) if recursion => {
                match pool.ask(name, rtype).await {
                    Told::Answer(answer) => return Step::Done(answer),
                    Told::Unknown(answer) => unknown = Some(answer),
                }
                pool.suffix.clone()
            }
            Route::Forward(_) | Route::Nowhere => {
                let refusal = || Answer::failure(ResponseCode::Refused);
                return Step::Done(unknown.unwrap_or_else(refusal));
            }
        };
        let key = WireName::from_name(name);
        // Shorter each time, so this ends.
        route = catalog.route_above(&key, name, rtype, &suffix);
    }
}

/// From our copy, or from a primary while we have none.
async fn step_in_zone(
    zone: &ZoneEntry,
    name: &Name,
    rtype: RecordType,
    recursion: bool,
) -> Step {
    let Some(version) = zone.cell.version() else {
        return Step::Done(match recursion {
            true => zone.primaries.ask(name, rtype).await.into_answer(),
            false => Answer::failure(ResponseCode::ServFail),
        });
    };
    from_zone(&version, name, rtype).unwrap_or_else(|cause| {
        error!(
            zone = %zone.cell.name,
            %name,
            err.message = cause.to_string(),
            "stored record cannot be read"
        );
        Step::Done(Answer::failure(ResponseCode::ServFail))
    })
}
