// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! From a question to its answer: finds who answers the name, follows aliases
//! from zone to zone and on into forward zones. The one path for queries from
//! the network and for look-ups of our own.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use tokio::time::timeout;
use tracing::error;

use super::answer::{Answer, Step, from_zone};
use crate::dns::catalog::{Catalog, Route, ZoneEntry};
use crate::dns::counters::Counters;
use crate::dns::forward::Told;
use crate::dns::names::WireName;

/// Aliases followed for one question.
const MAX_ALIASES: usize = 12;

/// The catalog in force, and the questions put to it.
pub(crate) struct Names {
    catalog: RwLock<Arc<Catalog>>,
    pub(crate) counters: Arc<Counters>,
    /// One question, its whole chain of aliases included.
    limit: Duration,
}

impl Names {
    pub(crate) fn new(
        catalog: Catalog,
        counters: Arc<Counters>,
        limit: Duration,
    ) -> Self {
        Self { catalog: RwLock::new(Arc::new(catalog)), counters, limit }
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
        let chasing = self.chase(name, rtype, recursion);
        let answer = timeout(self.limit, chasing)
            .await
            .unwrap_or_else(|_| Answer::failure(ResponseCode::ServFail));
        self.counters.answered(answer.rcode);
        answer
    }

    async fn chase(
        &self,
        name: &Name,
        rtype: RecordType,
        recursion: bool,
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
                self.count(&route);
            }
            let step = walk(&catalog, route, &name, rtype, recursion).await;
            let (answer, target) = match step {
                Step::Done(answer) => (answer, None),
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

    fn count(&self, route: &Route) {
        let counters = &self.counters;
        let counter = match route {
            Route::Zone(zone) if zone.cell.version().is_some() => {
                &counters.from_zone
            }
            Route::Zone(_) => &counters.from_primary,
            Route::Forward(_) => &counters.from_forward,
            Route::Local(_) => &counters.from_local,
            Route::Nowhere => &counters.from_nowhere,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// From whoever `route` names, and from the next above if it is a forward zone
/// that gives the name up.
async fn walk(
    catalog: &Catalog,
    mut route: Route,
    name: &Name,
    rtype: RecordType,
    recursion: bool,
) -> Step {
    let mut unknown = None;
    loop {
        let pool = match route {
            Route::Local(answer) => return Step::Done(answer),
            Route::Zone(zone) => {
                return step_in_zone(&zone, name, rtype, recursion).await;
            }
            Route::Forward(pool) if recursion => pool,
            Route::Forward(_) | Route::Nowhere => {
                let refusal = || Answer::failure(ResponseCode::Refused);
                return Step::Done(unknown.unwrap_or_else(refusal));
            }
        };
        match pool.ask(name, rtype).await {
            Told::Answer(answer) => return Step::Done(answer),
            Told::Unknown(answer) => unknown = Some(answer),
        }
        let key = WireName::from_name(name);
        // Shorter each time, so this ends.
        route = catalog.route_above(&key, name, rtype, &pool.suffix);
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
