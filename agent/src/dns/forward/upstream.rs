// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One upstream server of a forward zone: how it is asked, and how it is
//! doing. A reply of any rcode means "alive", only silence and network errors
//! mean "down"; what a rcode means is left to `forward.rs`.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_proto::op::Message;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::ForwardLimits;
use super::cache::Key;
use super::recursive::Recursor;
use crate::dns::error::DnsError;
use crate::dns::exchange;
use crate::model::dns::ZoneName;

/// A server that is down is looked at again after 1 s, 2 s, ... this.
pub(crate) const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// How one upstream is doing.
#[derive(Clone, Debug)]
pub struct UpstreamStatus {
    /// The forward zone it serves.
    pub suffix: ZoneName,
    /// Its address.
    pub addr: SocketAddr,
    /// Whether it answered when last asked, with whatever rcode. True before
    /// the first question.
    pub alive: bool,
    /// Why it is not alive.
    pub last_error: Option<String>,
}

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    exchange: Exchange,
    health: Mutex<Health>,
}

/// Who carries the question there and the reply back.
enum Exchange {
    /// We: all that was said is wanted.
    Own { source: Option<IpAddr> },
    /// hickory-resolver.
    Hickory(Box<Recursor>),
}

#[derive(Default)]
pub(crate) struct Health {
    /// Silences and network errors since the last reply.
    pub(crate) failures: u32,
    pub(crate) retry_at: Option<Instant>,
    last_error: Option<String>,
}

impl Health {
    pub(crate) fn is_down(&self) -> bool {
        self.failures > 0
    }
}

impl Server {
    /// A server whose every word counts: binder, a primary.
    pub(crate) fn plain(addr: SocketAddr, source: Option<IpAddr>) -> Self {
        let exchange = Exchange::Own { source };
        Self { addr, exchange, health: Mutex::default() }
    }

    /// A recursive resolver.
    pub(crate) fn recursive(
        addr: SocketAddr,
        source: Option<IpAddr>,
        limits: &ForwardLimits,
    ) -> Self {
        let recursor =
            Recursor::new(addr, source, limits.each, limits.in_flight);
        let exchange = Exchange::Hickory(Box::new(recursor));
        Self { addr, exchange, health: Mutex::default() }
    }

    pub(crate) fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_down(&self) -> bool {
        self.health().is_down()
    }

    pub(crate) fn status(&self, suffix: &ZoneName) -> UpstreamStatus {
        let health = self.health();
        UpstreamStatus {
            suffix: suffix.clone(),
            addr: self.addr,
            alive: !health.is_down(),
            last_error: health.last_error.clone(),
        }
    }

    /// Asks within `limit` and takes note of how that went. `suffix` is for
    /// the log.
    ///
    /// Errors: `Network`, `Silent`, `Message`.
    pub(crate) async fn ask(
        &self,
        suffix: &ZoneName,
        key: &Key,
        limit: Duration,
    ) -> Result<Message, DnsError> {
        // Lower case: binder refuses its own suffix in any other.
        let (name, rtype) = (key.0.to_name(), key.1);
        let asked = match &self.exchange {
            Exchange::Own { source } => {
                let query = exchange::query(name, rtype);
                exchange::ask(self.addr, *source, &query, limit).await
            }
            Exchange::Hickory(recursor) => {
                recursor.ask(name, rtype, limit).await
            }
        };
        self.note(suffix, asked.as_ref().err());
        asked
    }

    fn note(&self, suffix: &ZoneName, error: Option<&DnsError>) {
        let mut health = self.health();
        match error {
            None => {
                if health.is_down() {
                    info!(%suffix, upstream = %self.addr, "upstream is back");
                }
                *health = Health::default();
            }
            Some(error) => {
                let message = error.chain();
                if !health.is_down() {
                    warn!(
                        %suffix,
                        upstream = %self.addr,
                        err.message = message,
                        "upstream does not answer"
                    );
                } else {
                    debug!(upstream = %self.addr, "upstream still silent");
                }
                let backoff = Duration::from_secs(1)
                    .saturating_mul(1 << health.failures.min(5))
                    .min(MAX_BACKOFF);
                health.failures = health.failures.saturating_add(1);
                health.retry_at = Some(Instant::now() + backoff);
                health.last_error = Some(message);
            }
        }
    }
}
