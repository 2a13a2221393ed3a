// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The name server that config-agent embeds: a secondary of the CNS zones and
//! a forwarder for everything else, on loopback, for this zone alone.
//!
//! ```text
//! primary ──▶ secondary/ ──▶ store/ ──▶ serve/ ──▶ resolver
//!                            ▲  │          │
//!                       data folder     forward/ ──▶ binder, public
//! ```
//!
//! What never changes: a zone version is immutable, and so is the catalog of
//! zones; both are swapped whole, readers hold an `Arc` and never wait. Names
//! answer from the data folder before any primary does, and go on answering
//! when all of them are gone. Hickory's types stay inside this room.

mod catalog;
mod client;
mod control;
mod counters;
mod dump;
mod error;
mod exchange;
mod forward;
mod handle;
mod names;
mod pace;
mod secondary;
mod seldom;
mod serve;
mod store;
mod tally;
mod text;
mod totals;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use self::catalog::ZoneStatus;
pub use self::client::{Reply, ReplyRecord, query};
pub use self::control::{Answerer, Way};
pub use self::counters::DnsCounters;
pub use self::dump::{DumpForm, ZoneDump, ZoneRecord};
pub use self::error::DnsError;
pub use self::forward::ForwardLimits;
pub use self::forward::cache::{CacheCounts, CacheLimits};
pub use self::forward::health::{
    UpstreamCounts, UpstreamState, UpstreamStatus,
};
pub use self::forward::pool::ForwardStatus;
pub use self::forward::secure::{TlsUpstream, TlsUpstreams};
pub use self::handle::NamesHandle;
pub use self::secondary::fetch::TransferLimits;
pub use self::secondary::guard::HeldBack;
pub use self::secondary::health::PrimaryStatus;
pub use self::secondary::refresh::RefreshPolicy;
pub use self::secondary::replay::{Replayed, replay, replay_signed};
pub use self::secondary::saver::SavePolicy;
pub use self::serve::offline::{Answered, Offline};
pub use self::store::reread::{Reread, reread};
pub use self::store::{Serial, SoaTimers, ZoneLimits};
pub use self::tally::Latency;
pub use self::totals::QueryCount;

use self::catalog::{Catalog, CatalogSettings};
use self::counters::Counters;
use self::forward::Trust;
use self::forward::secure::SecureServers;
use self::forward::validate::Validator;
use self::names::WireName;
use self::secondary::doorstep::Doorstep;
use self::secondary::notify::Door;
use self::secondary::transfer::{Secondary, TransferSettings};
use self::secondary::turns::Turns;
use self::serve::front::Front;
use self::serve::resolve::Names;
use self::serve::synthetic::SyntheticZone;
use self::serve::tcp::Streams;
use self::serve::udp::Datagrams;
use crate::model::dns::{Routes, Synthetic, ZoneName};

/// How the name server is set up; what it serves comes as `Routes`.
#[derive(Clone, Debug)]
pub struct DnsConfig {
    /// Where to listen, UDP and TCP each.
    pub listen: Vec<SocketAddr>,
    /// Folder of the zone files; made if absent.
    pub store_dir: PathBuf,
    /// Address to transfer from, so that primaries know us by it: that of
    /// `notify_listen`, usually. One that the zone no longer has is said and
    /// left to the system.
    pub transfer_source: Option<IpAddr>,
    /// Where primaries find us, UDP and TCP: the address transferred from,
    /// port 53. Answers NOTIFY and SOA, from their addresses alone.
    pub notify_listen: Option<SocketAddr>,
    /// Size of a zone.
    pub zone: ZoneLimits,
    /// Duration of a transfer.
    pub transfer: TransferLimits,
    /// When to refresh, what to believe.
    pub refresh: RefreshPolicy,
    /// When zones are written to `store_dir`.
    pub save: SavePolicy,
    /// Forwarding and its cache.
    pub forward: ForwardLimits,
    /// Resolvers that are asked by TLS.
    pub forward_tls: TlsUpstreams,
    /// Whether what public resolvers say is validated.
    pub dnssec: Dnssec,
    /// A TCP client that is idle, does not end its message or does not take
    /// its answers is let go after this.
    pub tcp_idle: Duration,
    /// Special names, and reverse zones of private addresses, that the public
    /// resolvers do know: asked of them rather than answered by rule.
    pub known_special: Vec<ZoneName>,
    /// Names of our own making.
    pub synthetic: Option<Synthetic>,
    /// Whether the addresses of one name take turns at being first.
    pub round_robin: bool,
}

/// Whether names from public resolvers are validated (RFC 4035).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Dnssec {
    /// No: what they say is passed on.
    #[default]
    Off,
    /// From the well-known keys of the root.
    Root,
    /// From keys of one's own: a file of DNSKEY records.
    Anchors(PathBuf),
}

impl Dnssec {
    fn validator(&self) -> Result<Option<Validator>, DnsError> {
        let anchors = match self {
            Self::Off => return Ok(None),
            Self::Root => None,
            Self::Anchors(path) => Some(path.as_path()),
        };
        Validator::new(anchors).map(Some)
    }
}

impl DnsConfig {
    /// A server on these addresses and this folder, the rest by default.
    pub fn new(listen: Vec<SocketAddr>, store_dir: PathBuf) -> Self {
        Self {
            listen,
            store_dir,
            transfer_source: None,
            notify_listen: None,
            zone: ZoneLimits::default(),
            transfer: TransferLimits::default(),
            refresh: RefreshPolicy::default(),
            save: SavePolicy::default(),
            forward: ForwardLimits::default(),
            forward_tls: TlsUpstreams::default(),
            dnssec: Dnssec::Off,
            // RFC 7766 §6.2.3: a few seconds.
            tcp_idle: Duration::from_secs(10),
            known_special: Vec::new(),
            synthetic: None,
            // Most resolvers choose for themselves.
            round_robin: false,
        }
    }
}

/// What a chain of aliases may take above a single forwarded question.
const CHAIN_EXTRA: Duration = Duration::from_millis(500);
/// How long listeners may take to close.
const GRACE: Duration = Duration::from_secs(2);
/// How long the zones that are not on disk yet may take to get there.
const SAVE_GRACE: Duration = Duration::from_secs(8);
/// Several binds of one port number for UDP and TCP may race with others.
const BIND_TRIES: usize = 16;

/// The name server: bound and loaded, not yet answering.
pub struct NameServer {
    sockets: Vec<(UdpSocket, TcpListener)>,
    doorstep: Option<Doorstep>,
    local_addrs: Vec<SocketAddr>,
    tcp_idle: Duration,
    routes: watch::Receiver<Arc<Routes>>,
    names: Arc<Names>,
    catalog_settings: CatalogSettings,
    transfer_settings: Arc<TransferSettings>,
}

impl NameServer {
    /// Binds all listeners and reads the routed zones from the data folder.
    /// Names answer through `handle` from now on, through the listeners once
    /// `run` is polled.
    ///
    /// Errors: `Bind`, `Tls`, `Anchors`. A folder that cannot be used and damaged zone files
    /// are said, not errors.
    pub async fn start(
        config: DnsConfig,
        mut routes: watch::Receiver<Arc<Routes>>,
    ) -> Result<Self, DnsError> {
        let mut sockets = Vec::new();
        let mut local_addrs = Vec::new();
        for addr in &config.listen {
            let (udp, tcp, local) = match bind(*addr).await {
                Ok(bound) => bound,
                // Not every zone has IPv6; IPv4 will do.
                Err(error) if addr.is_ipv6() && is_absent(&error) => {
                    warn!(%addr, err.message = %error, "no such address here");
                    continue;
                }
                Err(source) => {
                    return Err(DnsError::Bind { addr: *addr, source });
                }
            };
            sockets.push((udp, tcp));
            local_addrs.push(local);
        }
        if let Err(error) = store::persist::prepare(&config.store_dir) {
            // Full or read-only: names from the primaries beat none at all.
            // Each zone says for itself that it could not be written.
            warn!(
                err.message = error.chain(),
                "the folder of zones cannot be used"
            );
        }
        let catalog_settings = CatalogSettings {
            store_dir: config.store_dir.clone(),
            source: config.transfer_source,
            zone_limits: config.zone,
            forward_limits: config.forward,
            in_flight: Arc::new(Semaphore::new(config.forward.in_flight)),
            trust: Trust {
                secure: SecureServers::new(&config.forward_tls)?,
                validator: config.dnssec.validator()?.map(Arc::new),
            },
            known_special: config
                .known_special
                .iter()
                .map(WireName::from_zone)
                .collect(),
            synthetic: config
                .synthetic
                .as_ref()
                .map(|own| Arc::new(SyntheticZone::new(own))),
            round_robin: config.round_robin,
        };
        let now = Arc::clone(&routes.borrow_and_update());
        let catalog = Catalog::default().next(&now, &catalog_settings).await;
        let counters = Arc::new(Counters::default());
        let own = local_addrs.iter().map(SocketAddr::ip);
        let own = own.filter(|ip| !ip.is_unspecified()).collect();
        let limit = config.forward.whole + CHAIN_EXTRA;
        let names = Names::new(catalog, Arc::clone(&counters), limit);
        let names = Arc::new(names.admitting(own));
        let transfer_settings = Arc::new(TransferSettings {
            store_dir: config.store_dir,
            source: config.transfer_source,
            zone_limits: config.zone,
            transfer_limits: config.transfer,
            policy: config.refresh,
            save: config.save,
            counters,
            turns: Turns::default(),
        });
        let door = Arc::new(Door::new(Arc::clone(&names)));
        let doorstep = match config.notify_listen {
            Some(addr) => Some(Doorstep::bind(addr, door).await),
            None => None,
        };
        Ok(Self {
            sockets,
            doorstep,
            local_addrs,
            tcp_idle: config.tcp_idle,
            routes,
            names,
            catalog_settings,
            transfer_settings,
        })
    }

    /// A handle for look-ups and status; outlives the server.
    pub fn handle(&self) -> NamesHandle {
        NamesHandle { names: Arc::clone(&self.names) }
    }

    /// Where it listens, in the order of `DnsConfig::listen`, ports filled in;
    /// without addresses of IPv6 that the zone does not have.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// Where primaries find us; `None` when there is no such address, or not
    /// yet.
    pub fn notify_addr(&self) -> Option<SocketAddr> {
        self.doorstep.as_ref().and_then(Doorstep::addr)
    }

    /// Answers and refreshes until `stop`. Follows `routes`: zones, primaries
    /// and forward zones come and go without a pause; a zone that goes leaves
    /// its file on disk.
    ///
    /// Errors: `Server`, when a listener ends by itself.
    pub async fn run(self, stop: CancellationToken) -> Result<(), DnsError> {
        let Self { sockets, doorstep, tcp_idle, mut routes, names, .. } = self;
        let mut listeners: JoinSet<Result<(), DnsError>> = JoinSet::new();
        for (udp, tcp) in sockets {
            let front = Arc::new(Front::new(Arc::clone(&names)));
            let streams = Streams::new(tcp, Arc::clone(&front), tcp_idle);
            let datagrams = Datagrams::new(udp, front).map_err(ended)?;
            let stopped = stop.clone();
            listeners.spawn(async move {
                datagrams.run(stopped).await.map_err(ended)
            });
            let stopped = stop.clone();
            listeners.spawn(async move {
                streams.run(stopped).await;
                Ok(())
            });
        }
        if let Some(doorstep) = doorstep {
            let stop = stop.clone();
            listeners.spawn(async move {
                doorstep.run(stop).await;
                Ok(())
            });
        }
        let mut secondaries = Secondaries {
            settings: self.transfer_settings,
            stop: stop.child_token(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
        };
        secondaries.follow(&names.catalog());
        let mut has_routes = true;
        let outcome = loop {
            // Every arm may be dropped: the flags behind `changed` and the
            // finished tasks stay where they are until taken.
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                ended = listeners.join_next(), if !listeners.is_empty() => {
                    match ended {
                        Some(Ok(Ok(()))) | None => {}
                        Some(Ok(Err(error))) => break Err(error),
                        Some(Err(error)) => {
                            break Err(DnsError::Server {
                                source: error.into(),
                            });
                        }
                    }
                }
                changed = routes.changed(), if has_routes => {
                    // Nobody left to change them: the last ones stay.
                    has_routes = changed.is_ok();
                    let now = Arc::clone(&routes.borrow_and_update());
                    if let Err(error) = secondaries.settle().await {
                        break Err(DnsError::Server { source: error.into() });
                    }
                    let next = names
                        .catalog()
                        .next(&now, &self.catalog_settings)
                        .await;
                    names.retire(&next);
                    names.swap(next);
                    secondaries.follow(&names.catalog());
                }
                Some(ended) = secondaries.tasks.join_next() => {
                    // A loop that was told to stop ends well.
                    if let Err(error) = ended {
                        break Err(DnsError::Server { source: error.into() });
                    }
                }
            }
        };
        secondaries.stop.cancel();
        let ending =
            async { while secondaries.tasks.join_next().await.is_some() {} };
        let closing = async {
            if outcome.is_ok() {
                while listeners.join_next().await.is_some() {}
            }
        };
        // Whatever is late is dropped with its set.
        let _ =
            tokio::join!(timeout(SAVE_GRACE, ending), timeout(GRACE, closing));
        outcome
    }
}

/// A listener that does not go on.
fn ended(error: io::Error) -> DnsError {
    DnsError::Server { source: error.into() }
}

/// The refresh loops, one for each zone of the catalog.
struct Secondaries {
    settings: Arc<TransferSettings>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    running: HashMap<WireName, CancellationToken>,
}

impl Secondaries {
    /// Waits for those that were told to stop: they may be writing what is
    /// read when their zone comes back.
    async fn settle(&mut self) -> Result<(), JoinError> {
        let settling = async {
            while self.tasks.len() > self.running.len() {
                self.tasks.join_next().await.transpose()?;
            }
            Ok(())
        };
        // Whatever is late, is late; the file is whole all the same.
        timeout(SAVE_GRACE, settling).await.unwrap_or(Ok(()))
    }

    fn follow(&mut self, catalog: &Catalog) {
        self.running.retain(|apex, stop| {
            let wanted = catalog.zones.contains_key(apex);
            if !wanted {
                stop.cancel();
            }
            wanted
        });
        for (apex, zone) in &catalog.zones {
            if self.running.contains_key(apex) {
                continue;
            }
            let stop = self.stop.child_token();
            self.running.insert(apex.clone(), stop.clone());
            let secondary = Secondary::new(
                Arc::clone(&zone.cell),
                Arc::clone(&self.settings),
            );
            info!(zone = %zone.cell.name, "zone followed");
            self.tasks.spawn(secondary.run(stop));
        }
    }
}

/// Whether the zone lacks an address, or its whole family.
fn is_absent(error: &io::Error) -> bool {
    let family = nix::errno::Errno::EAFNOSUPPORT as i32;
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(family)
}

/// Binds UDP and TCP to one port number.
async fn bind(
    addr: SocketAddr,
) -> io::Result<(UdpSocket, TcpListener, SocketAddr)> {
    let mut tries = 0;
    loop {
        let udp = UdpSocket::bind(addr).await?;
        let local = udp.local_addr()?;
        match TcpListener::bind(local).await {
            Ok(tcp) => return Ok((udp, tcp, local)),
            // The system chose a port that TCP has in use: choose again.
            Err(error)
                if addr.port() == 0
                    && error.kind() == io::ErrorKind::AddrInUse
                    && tries < BIND_TRIES =>
            {
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod live_tests;
#[cfg(test)]
pub(crate) mod running;
#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
