// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What every HTTP stand-in shares: a front that writes down each request
//! and, when told so, misbehaves instead of answering. The answers themselves
//! are the stand-ins' own; accepting connections is `serve`'s.

mod fault;
mod gate;
pub(crate) mod rest;
mod serve;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock};

use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::http::{HeaderMap, Method, Response, Uri};
use tokio::sync::watch;

pub use fault::Fault;
pub use gate::{Gate, Mutation, When};
pub(crate) use serve::{empty_chunked, serve};

/// How many requests are remembered; older ones only count.
const LOG_LIMIT: usize = 20_000;

/// One request as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// `GET`, `PUT`, ...
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Query without the question mark; empty when there is none.
    pub query: String,
    /// All headers, names in lower case; the last of equal names wins.
    pub headers: BTreeMap<String, String>,
    /// The answer's status; `None` while there is none, and for good when a
    /// fault kept it back.
    pub status: Option<u16>,
}

impl Logged {
    /// A header's value; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// One fault in force.
#[derive(Debug)]
struct Rule {
    prefix: String,
    fault: Fault,
    /// Requests it still applies to; `None` is no limit.
    left: Option<u32>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    log: VecDeque<Logged>,
    /// Requests that fell out of `log`.
    dropped: u64,
}

/// Request log and faults of one stand-in.
#[derive(Debug)]
pub struct Front {
    state: Mutex<State>,
    total: watch::Sender<u64>,
    gate: OnceLock<(Arc<Gate>, &'static str)>,
}

impl Default for Front {
    fn default() -> Self {
        Self {
            state: Mutex::new(State::default()),
            total: watch::Sender::new(0),
            gate: OnceLock::new(),
        }
    }
}

impl Front {
    /// From now on calls pass `gate`, which knows this stand-in as `api`. The
    /// first gate stays.
    pub fn stand_behind(&self, gate: &Arc<Gate>, api: &'static str) {
        let _ = self.gate.set((Arc::clone(gate), api));
    }

    fn pass(&self, call: &Call) -> gate::Passage {
        match self.gate.get() {
            Some((gate, api)) => gate.pass(api, call),
            None => gate::Passage::Free,
        }
    }

    /// Every request from now on meets `fault`; replaces all faults.
    pub fn set_fault(&self, fault: Fault) {
        self.clear_faults();
        self.add_fault("/", None, fault);
    }

    /// Requests whose path begins with `prefix` meet `fault`: the next
    /// `times` of them, or all. The rule added last is looked at first.
    pub fn add_fault(&self, prefix: &str, times: Option<u32>, fault: Fault) {
        self.lock().rules.push(Rule {
            prefix: prefix.to_owned(),
            fault,
            left: times,
        });
    }

    /// Ends all faults; requests that hang already go on hanging.
    pub fn clear_faults(&self) {
        self.lock().rules.clear();
    }

    /// The requests so far, oldest first; at most the latest 20,000.
    pub fn requests(&self) -> Vec<Logged> {
        self.lock().log.iter().cloned().collect()
    }

    /// The requests with this method whose path begins with `prefix`.
    pub fn requests_of(&self, method: &str, prefix: &str) -> Vec<Logged> {
        let mut found = self.requests();
        found.retain(|r| r.method == method && r.path.starts_with(prefix));
        found
    }

    /// How many requests there were in all.
    pub fn total(&self) -> u64 {
        *self.total.borrow()
    }

    /// Forgets the requests; `total` goes on counting.
    pub fn clear_log(&self) {
        let mut state = self.lock();
        state.dropped += state.log.len() as u64;
        state.log.clear();
    }

    /// Waits until `total` has reached `count`. The caller sets the limit.
    pub async fn wait_for_total(&self, count: u64) {
        let mut total = self.total.subscribe();
        // The sender lives in self, so this cannot fail while we borrow it.
        let _ = total.wait_for(|n| *n >= count).await;
    }

    /// Writes a request down; the number names it to `set_status`.
    fn record(&self, call: &Call) -> u64 {
        let logged = Logged {
            method: call.method.to_string(),
            path: call.path().to_owned(),
            query: call.uri.query().unwrap_or_default().to_owned(),
            headers: call
                .headers
                .iter()
                .map(|(name, value)| {
                    let value = String::from_utf8_lossy(value.as_bytes());
                    (name.as_str().to_owned(), value.into_owned())
                })
                .collect(),
            status: None,
        };
        let number = {
            let mut state = self.lock();
            if state.log.len() == LOG_LIMIT {
                state.log.pop_front();
                state.dropped += 1;
            }
            state.log.push_back(logged);
            state.dropped + state.log.len() as u64 - 1
        };
        self.total.send_modify(|n| *n += 1);
        number
    }

    fn set_status(&self, number: u64, status: u16) {
        let mut state = self.lock();
        let index = number.checked_sub(state.dropped).map(|i| i as usize);
        if let Some(logged) = index.and_then(|i| state.log.get_mut(i)) {
            logged.status = Some(status);
        }
    }

    /// The fault this path meets now, counted.
    fn fault_for(&self, path: &str) -> Option<Fault> {
        let mut state = self.lock();
        let rule = state.rules.iter_mut().rev().find(|rule| {
            rule.left != Some(0) && path.starts_with(&rule.prefix)
        })?;
        rule.left = rule.left.map(|left| left - 1);
        Some(rule.fault.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

/// A request, read to its end.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The client's own certificate in DER, where TLS brought one.
    pub(crate) certificate: Option<Vec<u8>>,
}

impl Call {
    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }

    /// Path segments, percent-decoded; a trailing slash leaves an empty one.
    pub(crate) fn segments(&self) -> Vec<String> {
        let path = self.path();
        path.strip_prefix('/')
            .unwrap_or(path)
            .split('/')
            .map(percent_decode)
            .collect()
    }

    /// Query parameters in order, decoded; a broken query is an empty one.
    pub(crate) fn query(&self) -> Vec<(String, String)> {
        Query::try_from_uri(&self.uri).map(|Query(q)| q).unwrap_or_default()
    }

    /// The first query parameter of this name.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let query = self.query().into_iter();
        query.filter(|(key, _)| key == name).map(|(_, value)| value).next()
    }

    /// A header as text; `None` also when it is not UTF-8.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as JSON, if the content type says exactly that (parameters
    /// aside): all upstream servers drop any other body.
    pub(crate) fn json(
        &self,
    ) -> Result<Option<serde_json::Value>, serde_json::Error> {
        let kind = self.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if self.body.is_empty()
            || !kind.eq_ignore_ascii_case("application/json")
        {
            return Ok(None);
        }
        serde_json::from_slice(&self.body).map(Some)
    }
}

/// A stand-in that answers whole requests.
pub(crate) trait Handler: Clone + Send + Sync + 'static {
    /// Log and faults.
    fn front(&self) -> &Front;
    /// The answer; never waits.
    fn answer(&self, call: &Call) -> Response<Body>;
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes.get(at + 1..at + 3).and_then(|hex| {
            u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
        });
        match (bytes[at], pair) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_decoding_leaves_broken_escapes_alone() {
        assert_eq!(percent_decode("a%2Fb%c3%a9%zz%4"), "a/bé%zz%4");
    }

    #[test]
    fn a_counted_fault_ends_and_the_latest_rule_wins() {
        let front = Front::default();
        front.set_fault(Fault::Close);
        front.add_fault("/configs", Some(1), Fault::Status(503));
        assert_eq!(front.fault_for("/configs/x"), Some(Fault::Status(503)));
        assert_eq!(front.fault_for("/configs/x"), Some(Fault::Close));
        front.clear_faults();
        assert_eq!(front.fault_for("/configs/x"), None);
    }
}
