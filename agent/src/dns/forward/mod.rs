// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Names that others answer: the upstream servers of one forward zone, their
//! health, and a cache.
//!
//! ```text
//! question ──▶ cache ──▶ flights ──▶ race ──▶ upstream ──▶ binder, public
//!   answer ◀── kept ◀──────┴── judge ◀┴── health ◀── probe
//! ```
//!
//! Equal questions travel as one (`flights.rs`), to one upstream and soon to
//! the next (`race.rs`), depending on how each is doing (`health.rs`,
//! `probe.rs`). What a rcode means depends on who said it (`judge.rs`):
//! REFUSED from binder means "unknown name".
//!
//! To public resolvers by TLS, hickory-resolver's pool keeps the connection,
//! one pool for each of them (`line.rs`). The choice among servers, the
//! exchange in clear (`upstream.rs`) and the cache are ours. In hickory's
//! REFUSED, NOTIMP and SERVFAIL from one upstream end the try for all, and the
//! next server waits for the whole time limit of the one before.

pub(crate) mod cache;
mod expansion;
mod flights;
pub(crate) mod health;
mod judge;
mod kept;
mod line;
pub(crate) mod pool;
mod probe;
mod race;
pub(crate) mod secure;
mod upstream;
pub(crate) mod validate;

use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;

use self::cache::CacheLimits;
pub(crate) use self::pool::ForwardPool;
use self::secure::SecureServers;
use self::validate::Validator;
use crate::dns::serve::answer::Answer;
use crate::model::dns::{ForwardZone, UpstreamKind};

/// Bounds of forwarding.
#[derive(Clone, Copy, Debug)]
pub struct ForwardLimits {
    /// One try at one upstream, repeated datagrams and TCP included.
    pub each: Duration,
    /// One question, all tries together. Below the 5 s after which stubs
    /// give up.
    pub whole: Duration,
    /// How long an asker waits before a stale answer will do.
    pub patience: Duration,
    /// Questions on their way to upstreams at a time, each with a socket;
    /// more are answered SERVFAIL, or with what is stale.
    pub in_flight: usize,
    /// What is kept of the answers, for each forward zone.
    pub cache: CacheLimits,
}

impl Default for ForwardLimits {
    fn default() -> Self {
        Self {
            each: Duration::from_millis(1200),
            whole: Duration::from_secs(4),
            // RFC 8767 §5 says 1.8 s, for the whole Internet; a scrape that
            // waits for so long is late.
            patience: Duration::from_millis(500),
            in_flight: 512,
            cache: CacheLimits::default(),
        }
    }
}

/// Marks, up to and in the cache, what all binders refused; no upstream's
/// answer has this rcode, and none leaves the pool with it.
const REFUSED_BY_ALL: ResponseCode = ResponseCode::Refused;

/// Whom to believe, and what.
#[derive(Clone, Default)]
pub(crate) struct Trust {
    /// Resolvers that have to show a certificate.
    pub(crate) secure: SecureServers,
    /// Judges the signatures of what public resolvers say.
    pub(crate) validator: Option<Arc<Validator>>,
}

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

#[cfg(test)]
#[path = "cache_use_tests.rs"]
mod cache_use_tests;
#[cfg(test)]
#[path = "fallback_tests.rs"]
mod fallback_tests;
#[cfg(test)]
#[path = "forger_tests.rs"]
mod forger_tests;
#[cfg(test)]
#[path = "race_tests.rs"]
mod race_tests;
#[cfg(test)]
#[path = "forward_tests.rs"]
pub(crate) mod tests;
#[cfg(test)]
#[path = "upstream_tests.rs"]
mod upstream_tests;
