// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Connections to UFDS: few, bound as root, kept open and opened again. Each
//! step has a limit; while UFDS is out of order it is left in peace for a
//! growing while, and whoever asks is told at once.
//!
//! One address is used at a time, the first that answers; the next one takes
//! over when it fails.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, StdStream};
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

/// Addresses tried for one connection.
const ADDRESSES: usize = 4;

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
    slots: Vec<Mutex<Option<Ldap>>>,
    next: AtomicUsize,
    /// Held while the certificate that is shown is taken for good: one is
    /// shown at a time, so what is kept took our password.
    first: Mutex<()>,
    health: StdMutex<Health>,
}

#[derive(Debug, Default)]
struct Health {
    failures: u32,
    /// Nobody is asked before.
    not_before: Option<Instant>,
    /// Which of the addresses answered last.
    preferred: usize,
    /// What went wrong last; told once.
    told: Option<String>,
}

/// A connection, and where to say that it broke.
pub(super) struct Lease {
    pub(super) ldap: Ldap,
    slot: usize,
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
        let slot = self.next.fetch_add(1, Ordering::Relaxed) % CONNECTIONS;
        // Whoever holds it connects, and that has a limit.
        let mut held = self.slots[slot].lock().await;
        if let Some(ldap) = held.as_mut()
            && !ldap.is_closed()
        {
            return Ok(Lease { ldap: ldap.clone(), slot });
        }
        self.rested()?;
        *held = None;
        match self.connect().await {
            Ok(ldap) => {
                *held = Some(ldap.clone());
                Ok(Lease { ldap, slot })
            }
            Err(error) => {
                self.failed(&chain(&error));
                Err(error)
            }
        }
    }

    /// It broke, or hung: nobody uses it again.
    pub(super) async fn broken(&self, lease: Lease, why: &str) {
        *self.slots[lease.slot].lock().await = None;
        self.failed(why);
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

    fn rested(&self) -> Result<(), UfdsError> {
        let left = self.health().not_before.and_then(|at| {
            at.checked_duration_since(Instant::now())
                .filter(|left| !left.is_zero())
        });
        match left {
            Some(left) => Err(UfdsError::Resting { left }),
            None => Ok(()),
        }
    }

    fn failed(&self, why: &str) {
        let mut health = self.health();
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
        let preferred = self.health().preferred;
        let mut last = None;
        for at in 0..addresses.len() {
            let at = (preferred + at) % addresses.len();
            let (host, address) = &addresses[at];
            let opened = async {
                let _alone = match self.judge.is_open() {
                    true => Some(self.first.lock().await),
                    false => None,
                };
                let ldap = self.open(host, *address).await?;
                self.judge.keep_first();
                Ok(ldap)
            };
            let opened = match timeout(CONNECT_LIMIT, opened).await {
                Ok(opened) => opened,
                Err(_) => Err(UfdsError::Timeout { what: "connecting" }),
            };
            match opened {
                Ok(ldap) => {
                    self.health().preferred = at;
                    return Ok(ldap);
                }
                Err(source) => {
                    let address = *address;
                    let source = Box::new(source);
                    last = Some(UfdsError::Connect { address, source });
                }
            }
        }
        Err(last.expect("there is an address at least"))
    }

    /// Every address, with the name it was found by.
    async fn resolve(&self) -> Result<Vec<(String, SocketAddr)>, UfdsError> {
        let mut found: Vec<(String, SocketAddr)> = Vec::new();
        let mut error = None;
        for name in &self.target.addresses {
            let host = name.rsplit_once(':').map_or(name.as_str(), |(h, _)| h);
            let host = host.trim_matches(['[', ']']).to_owned();
            match timeout(CONNECT_LIMIT, lookup_host(name)).await {
                Ok(Ok(some)) => {
                    found.extend(some.map(|ip| (host.clone(), ip)));
                }
                Ok(Err(source)) => error = Some(source),
                Err(_) => error = Some(std::io::ErrorKind::TimedOut.into()),
            }
        }
        found.truncate(ADDRESSES);
        match (found.is_empty(), error) {
            (false, _) => Ok(found),
            (true, error) => Err(UfdsError::Resolve {
                names: self.target.addresses.join(", "),
                source: error
                    .unwrap_or_else(|| std::io::ErrorKind::NotFound.into()),
            }),
        }
    }

    async fn open(
        &self,
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
            .set_config(self.judge.config())
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
