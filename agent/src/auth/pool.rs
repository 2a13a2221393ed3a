// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Connections to UFDS: few, bound as root, kept open and opened again. Each
//! step has a limit; while UFDS is out of order it is left in peace for a
//! growing while, and whoever asks is told at once.
//!
//! One address is used at a time, the first that answers; the next one takes
//! over when it fails.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, StdStream};
use rustls::ClientConfig;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::{info, warn};

use super::trust::Judge;
use super::ufds::UfdsError;
use crate::log::chain;
use crate::model::Secret;

/// Connections at a time. UFDS' haproxy gives each to one of four processes.
const CONNECTIONS: usize = 4;

/// What a connection to one address may take, TLS and bind included.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);

/// What all addresses together may: less each, where there are many.
const CONNECT_MOST: Duration = Duration::from_secs(8);

/// Addresses tried for one connection: as many as metadata may list.
const ADDRESSES: usize = 8;

/// Pauses after failures: the first, and the longest.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MOST: Duration = Duration::from_secs(15);

/// Where UFDS is and who asks it.
#[derive(Debug)]
pub(super) struct Target {
    /// `host:port`, the best first.
    pub(super) addresses: Vec<String>,
    pub(super) bind_dn: String,
    pub(super) password: Secret<String>,
}

/// The connections.
pub(super) struct Pool {
    target: Target,
    judge: Arc<Judge>,
    slots: Vec<Mutex<Option<Open>>>,
    next: AtomicUsize,
    /// Held while the certificate that is shown is taken for good: one is
    /// shown at a time, so what is kept took our password.
    first: Mutex<()>,
    health: StdMutex<Health>,
}

#[derive(Debug, Default)]
struct Health {
    failures: u32,
    /// Failures ever: an outage that many notice is one. What was opened, or
    /// begun, before the last of them adds none.
    outages: u64,
    /// Nobody is asked before.
    not_before: Option<Instant>,
    /// Which of the addresses answered last.
    preferred: usize,
    /// What went wrong last; told once.
    told: Option<String>,
}

/// Where a connection may be had.
struct Address {
    /// As it is configured.
    listed: String,
    host: String,
    ip: SocketAddr,
}

/// A connection in its slot.
struct Open {
    ldap: Ldap,
    /// Its number; no two have the same.
    id: usize,
    /// How many outages there had been.
    since: u64,
}

/// A connection, and where to say that it broke.
pub(super) struct Lease {
    pub(super) ldap: Ldap,
    slot: usize,
    id: usize,
}

impl Open {
    fn lease(&self, slot: usize) -> Lease {
        Lease { ldap: self.ldap.clone(), slot, id: self.id }
    }
}

impl Pool {
    pub(super) fn new(target: Target, judge: Arc<Judge>) -> Self {
        Self {
            target,
            judge,
            slots: (0..CONNECTIONS).map(|_| Mutex::new(None)).collect(),
            next: AtomicUsize::new(0),
            first: Mutex::new(()),
            health: StdMutex::new(Health::default()),
        }
    }

    /// An open connection.
    pub(super) async fn lease(&self) -> Result<Lease, UfdsError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let slot = id % CONNECTIONS;
        // Whoever holds it connects, and that has a limit.
        let mut held = self.slots[slot].lock().await;
        if let Some(open) = held.as_mut()
            && !open.ldap.is_closed()
        {
            return Ok(open.lease(slot));
        }
        let since = self.rested()?;
        *held = None;
        match self.connect().await {
            Ok(ldap) => Ok(held.insert(Open { ldap, id, since }).lease(slot)),
            Err(error) => {
                self.failed(since, &chain(&error));
                Err(error)
            }
        }
    }

    /// It broke, or hung: nobody uses it again. Who else had it has said so,
    /// or there is a fresh one: then there is nothing to be done.
    pub(super) async fn broken(&self, lease: Lease, why: &str) {
        let mut held = self.slots[lease.slot].lock().await;
        if let Some(open) = held.take_if(|open| open.id == lease.id) {
            self.failed(open.since, why);
        }
    }

    /// It answered.
    pub(super) fn worked(&self) {
        let mut health = self.health();
        health.failures = 0;
        health.not_before = None;
        if health.told.take().is_some() {
            info!("UFDS answers again");
        }
    }

    /// Whether the last that was asked of UFDS was answered.
    pub(super) fn is_well(&self) -> bool {
        self.health().failures == 0
    }

    /// What went wrong last, while it does.
    pub(super) fn trouble(&self) -> Option<String> {
        self.health().told.clone()
    }

    /// The outages so far, when it was left in peace for long enough.
    fn rested(&self) -> Result<u64, UfdsError> {
        let health = self.health();
        let left = health.not_before.and_then(|at| {
            at.checked_duration_since(Instant::now())
                .filter(|left| !left.is_zero())
        });
        match left {
            Some(left) => Err(UfdsError::Resting { left }),
            None => Ok(health.outages),
        }
    }

    /// Something failed that was begun when there had been `since` outages.
    fn failed(&self, since: u64, why: &str) {
        let mut health = self.health();
        if health.outages != since {
            return;
        }
        health.outages += 1;
        let pause = PAUSE.saturating_mul(1 << health.failures.min(8));
        // Many of us must not come back as one.
        let pause = pause.min(PAUSE_MOST).mul_f64(0.5 + fastrand::f64() / 2.0);
        health.failures = health.failures.saturating_add(1);
        health.not_before = Some(Instant::now() + pause);
        if health.told.as_deref() != Some(why) {
            health.told = Some(why.to_owned());
            warn!(err.message = %why, "UFDS is out of order");
        }
    }

    /// Tries the addresses, the one that answered last first.
    async fn connect(&self) -> Result<Ldap, UfdsError> {
        let addresses = self.resolve().await?;
        let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let limit = CONNECT_LIMIT.min(CONNECT_MOST / count.max(1));
        let preferred = self.health().preferred;
        let mut last = None;
        for at in 0..addresses.len() {
            let at = (preferred + at) % addresses.len();
            let Address { listed, host, ip: address } = &addresses[at];
            let opened = async {
                let _alone = match self.judge.is_open(listed) {
                    true => Some(self.first.lock().await),
                    false => None,
                };
                let config = self.judge.config(listed);
                let ldap = self.open(config, host, *address).await?;
                self.judge.keep_first(listed);
                Ok(ldap)
            };
            let opened = match timeout(limit, opened).await {
                Ok(opened) => opened,
                Err(_) => Err(UfdsError::Timeout { what: "connecting" }),
            };
            match opened {
                Ok(ldap) => {
                    self.health().preferred = at;
                    return Ok(ldap);
                }
                Err(source) => {
                    // Who asked may go away before the last of them.
                    self.health().preferred = at + 1;
                    let address = *address;
                    let source = Box::new(source);
                    last = Some(UfdsError::Connect { address, source });
                }
            }
        }
        Err(last.expect("there is an address at least"))
    }

    /// Every address, with what it was found by.
    async fn resolve(&self) -> Result<Vec<Address>, UfdsError> {
        let names = &self.target.addresses;
        let each = (ADDRESSES / names.len().max(1)).max(1);
        let looked = names.iter().map(async |listed| {
            let host = listed.rsplit_once(':').map_or(&**listed, |(h, _)| h);
            let host = host.trim_matches(['[', ']']);
            let looked = timeout(CONNECT_LIMIT, lookup_host(listed)).await;
            let looked = looked.map_err(|_| io::ErrorKind::TimedOut.into());
            (listed, host, looked.and_then(|looked| looked))
        });
        let mut found = Vec::new();
        let mut error = None;
        for (listed, host, looked) in join_all(looked).await {
            match looked {
                Ok(some) => found.extend(some.take(each).map(|ip| {
                    let (listed, host) = (listed.clone(), host.to_owned());
                    Address { listed, host, ip }
                })),
                Err(source) => error = Some(source),
            }
        }
        found.truncate(ADDRESSES);
        match (found.is_empty(), error) {
            (false, _) => Ok(found),
            (true, error) => Err(UfdsError::Resolve {
                names: self.target.addresses.join(", "),
                source: error.unwrap_or_else(|| io::ErrorKind::NotFound.into()),
            }),
        }
    }

    async fn open(
        &self,
        config: Arc<ClientConfig>,
        host: &str,
        address: SocketAddr,
    ) -> Result<Ldap, UfdsError> {
        let lost = |what| {
            move |source: ldap3::LdapError| UfdsError::Lost {
                what,
                source: Box::new(source),
            }
        };
        let stream = TcpStream::connect(address)
            .await
            .and_then(TcpStream::into_std)
            .map_err(|error| lost("TCP")(error.into()))?;
        let settings = LdapConnSettings::new()
            .set_config(config)
            .set_std_stream(StdStream::Tcp(stream));
        let url = match host.contains(':') {
            true => format!("ldaps://[{host}]"),
            false => format!("ldaps://{host}"),
        };
        let (connection, mut ldap) =
            LdapConnAsync::with_settings(settings, &url)
                .await
                .map_err(lost("TLS"))?;
        // Ends with the last handle. What ends it early is told to whoever
        // asks next.
        tokio::spawn(async move {
            let _ = connection.drive().await;
        });
        // Exposed to UFDS, whose own it is.
        let password = self.target.password.expose();
        let bound = ldap
            .simple_bind(&self.target.bind_dn, password)
            .await
            .map_err(lost("bind"))?;
        match bound.rc {
            0 => Ok(ldap),
            rc => {
                Err(UfdsError::Refused { what: "bind", rc, text: bound.text })
            }
        }
    }

    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
