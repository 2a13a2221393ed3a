// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One gate before several stand-ins: it writes down every call that would
//! change something, whoever is asked, and lets a chosen one fail in a chosen
//! way; or it cuts everything off, as when the network or the asker dies.

use std::collections::BTreeSet;
use std::sync::Mutex;

use axum::http::Method;
use serde_json::Value;

use super::{Call, Fault};

/// A call that changes something: neither GET nor HEAD.
#[derive(Clone, Debug, PartialEq)]
pub struct Mutation {
    /// Who is asked: `sapi`, `vmapi`, ...
    pub api: &'static str,
    /// `POST`, `PUT`, `DELETE`.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Query without the question mark.
    pub query: String,
    /// Body; null when there is none, or it is no JSON.
    pub body: Value,
}

/// Whether what a failing call is for has been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It fails before anything is done.
    Before,
    /// All is done, and only the answer is lost.
    After,
}

/// What becomes of a call at the gate.
#[derive(Debug, PartialEq)]
pub(super) enum Passage {
    Free,
    /// This instead of an answer; what the call is for is done or not.
    Fault(When, Fault),
    Closed,
}

#[derive(Debug)]
enum Plan {
    Fail(Fault),
    Cut,
}

#[derive(Debug, Default)]
struct State {
    mutations: Vec<Mutation>,
    /// By the number of the call, from 1.
    plans: Vec<(usize, When, Plan)>,
    /// What reads meet the first time, and those that have met it.
    stumble: Option<(Fault, BTreeSet<String>)>,
    cut: bool,
}

/// The gate. All calls pass it in one order.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
}

impl Gate {
    /// The calls that were to change something, in order; those that failed
    /// before anything was done, too.
    pub fn mutations(&self) -> Vec<Mutation> {
        self.lock().mutations.clone()
    }

    /// How many of them there were.
    pub fn count(&self) -> usize {
        self.lock().mutations.len()
    }

    /// The `nth` changing call from now, from 1, meets `fault`.
    pub fn fail(&self, nth: usize, when: When, fault: Fault) {
        let mut state = self.lock();
        let number = state.mutations.len() + nth;
        state.plans.push((number, when, Plan::Fail(fault)));
    }

    /// At the `nth` changing call from now, from 1, everything is cut off:
    /// that call and all after it get no answer, whatever they are.
    pub fn cut_at(&self, nth: usize, when: When) {
        let mut state = self.lock();
        let number = state.mutations.len() + nth;
        state.plans.push((number, when, Plan::Cut));
    }

    /// From now on each read, by API and URL, meets `fault` when it is made
    /// for the first time.
    pub fn stumble(&self, fault: Fault) {
        self.lock().stumble = Some((fault, BTreeSet::new()));
    }

    /// How many reads have met it.
    pub fn stumbled(&self) -> usize {
        let state = self.lock();
        state.stumble.as_ref().map_or(0, |(_, met)| met.len())
    }

    /// Cuts everything off now.
    pub fn cut(&self) {
        self.lock().cut = true;
    }

    /// Ends all of it; what was written down stays.
    pub fn mend(&self) {
        let mut state = self.lock();
        state.cut = false;
        state.plans.clear();
        state.stumble = None;
    }

    /// Lets a call pass, or not.
    pub(super) fn pass(&self, api: &'static str, call: &Call) -> Passage {
        let mut state = self.lock();
        if state.cut {
            return Passage::Closed;
        }
        if [Method::GET, Method::HEAD].contains(&call.method) {
            if let Some((fault, met)) = &mut state.stumble
                && met.insert(format!("{api} {}", call.uri))
            {
                return Passage::Fault(When::Before, fault.clone());
            }
            return Passage::Free;
        }
        state.mutations.push(Mutation {
            api,
            method: call.method.to_string(),
            path: call.path().to_owned(),
            query: call.uri.query().unwrap_or_default().to_owned(),
            body: call.json().ok().flatten().unwrap_or_default(),
        });
        let number = state.mutations.len();
        let plan = state.plans.iter().position(|(at, ..)| *at == number);
        match plan.map(|index| state.plans.remove(index)) {
            None => Passage::Free,
            Some((_, when, Plan::Fail(fault))) => Passage::Fault(when, fault),
            Some((_, when, Plan::Cut)) => {
                state.cut = true;
                Passage::Fault(when, Fault::Close)
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}
