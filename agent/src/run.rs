// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb run: starts the loops, introduces them to each other, and ends them
//! together. The first that ends takes the rest with it; the service manager
//! starts us again.

mod loops;

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::apply::commit::{sweep, write_atomic};
use crate::apply::{DaemonHttp, HttpFuture};
use crate::config::ConfigFile;
use crate::daemons;
use crate::discovery::{self, Discovery, Heard, PeerSearch, ZoneFacts};
use crate::dns::{DnsConfig, DnsError, NameServer, NamesHandle};
use crate::host::Host;
use crate::log::chain;
use crate::metadata::poll::{Cache, Pace, PollFuture, Polled, Poller, Source};
use crate::model::dns::Routes;
use crate::probe::Probe;
use crate::status::{self, Board, Reach, Reporter};
use crate::triton::sapi::{Config, Sapi};
use crate::triton::{ApiError, Http, Lookup};
use crate::walk::{Facts, Inputs, Outputs, Walk, WalkStatus, gather};
use loops::Loops;

/// What a daemon on loopback may take to answer a reload.
const DAEMON_TIMEOUT: Duration = Duration::from_secs(60);

/// What CNS may take for a list.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// What a daemon may say about a reload, bytes.
const DAEMON_ANSWER: usize = 64 << 10;

/// Pause between two looks at a lock that another holds.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// How long loops, and a predecessor's, may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// How long a start is tried again before we leave it to the service manager,
/// which gives up after a few, and the pauses in between.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Why the agent could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The zone's uuid is unknown.
    #[error("the zone has no name and the configuration no instance")]
    NoInstance,
    /// No URL of SAPI.
    #[error("neither mdata (sapi-url, SAPI_URL) nor sapi.url names SAPI")]
    NoSapi,
    /// Another config-agent writes the same files.
    #[error(
        "another config-agent works here and holds {0}; send it HUP to have \
         it poll and walk now"
    )]
    Locked(std::path::PathBuf),
    /// The name server could not listen, or fell over.
    #[error("name server failed")]
    Names(#[source] DnsError),
    /// Upstreams are to be asked by TLS, and nobody knows whom to trust.
    #[error("could not set up forwarding")]
    Forward(#[source] crate::config::forward::AuthoritiesError),
    /// The status page could not listen.
    #[error("could not listen on {address} for the status page")]
    Status {
        /// Where.
        address: std::net::SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A loop ended by itself.
    #[error("a loop ended: {0}")]
    Ended(&'static str),
}

impl RunError {
    /// Whether it may pass by itself: a platform that is slow to answer, a
    /// predecessor that is slow to go.
    fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::NoInstance
                | Self::NoSapi
                | Self::Locked(_)
                | Self::Names(DnsError::Bind { .. })
                | Self::Status { .. }
        )
    }
}

/// Tries `work` until it succeeds, fails for good, has had its time, or
/// `stop`; then the last error is the answer.
async fn persevere<T>(
    stop: &CancellationToken,
    mut work: impl AsyncFnMut() -> Result<T, RunError>,
) -> Result<T, RunError> {
    let end = tokio::time::Instant::now() + PATIENCE;
    let mut pause = PAUSE;
    loop {
        let error = match work().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let late = tokio::time::Instant::now() + pause >= end;
        if late || !error.is_transient() {
            return Err(error);
        }
        warn!(
            err.message = %chain(&error),
            pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            "cannot start yet"
        );
        tokio::select! {
            () = stop.cancelled() => return Err(error),
            // Cancel-safe: nothing is begun yet.
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// What a run is started with.
#[derive(Clone)]
pub struct Start {
    /// The configuration.
    pub config: ConfigFile,
    /// Where it was read, to look for changes of `localMetadata`.
    pub config_path: Option<std::path::PathBuf>,
    /// Overrides every other URL of SAPI.
    pub sapi_url: Option<String>,
    /// The operating system.
    pub host: Arc<dyn Host>,
}

/// Runs until `stop`. A message on `now` (SIGHUP) polls and walks at once.
pub async fn run(
    start: Start,
    now: mpsc::Receiver<()>,
    stop: CancellationToken,
) -> Result<(), RunError> {
    match run_on(start, now, stop.clone()).await {
        // Not even started, and nobody wants it any more.
        Err(error) if stop.is_cancelled() && error.is_transient() => Ok(()),
        ended => ended,
    }
}

async fn run_on(
    start: Start,
    now: mpsc::Receiver<()>,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let Prepared { config, config_path, host, facts, sapi_url, lock: _lock } =
        persevere(&stop, async || prepare(start.clone(), GRACE).await).await?;
    let found_path = config.state_dir.join("found.json");
    let found = watch::Sender::new(Arc::new(discovery::load(&found_path)));
    let first_routes = discovery::routes(&found.borrow(), &facts.zone);
    let routes = watch::Sender::new(Arc::new(first_routes));
    let mut loops = Loops::new(stop.clone());

    // Names first: all else is found by them.
    let server = persevere(&stop, async || {
        start_names(&config, &facts.zone, &routes).await
    });
    let names = server.await?.map(|server| {
        let handle = server.handle();
        loops.start("names", |stop| serve_names(server, stop));
        handle
    });
    let lookup = names.clone().map(lookup);
    let address = config.status_listen;
    let listener = persevere(&stop, async || {
        let bound = TcpListener::bind(address).await;
        bound.map_err(|source| RunError::Status { address, source })
    });
    let listener = listener.await?;

    let http = Http::new(config.request_timeout(), lookup.clone());
    let sapi = Sapi::new(http, &sapi_url);
    let cache = Cache::new(config.state_dir.join("config.json"), write_secret);
    let reach = match &config.metrics_listen {
        Some(addresses) => Reach::Given(addresses.clone()),
        None => Reach::Own(config.status_listen.port()),
    };
    let poller = Poller::new(
        SapiSource { sapi, instance: facts.instance.clone() },
        Pace {
            interval: config.poll_interval(),
            full: config.full_poll_interval(),
        },
        cache.clone(),
    );
    let daemon_http = Http::new(DAEMON_TIMEOUT, None);
    let local: Arc<dyn DaemonHttp> = Arc::new(LocalHttp(daemon_http));
    let walk = Walk::new(
        config,
        config_path,
        Arc::clone(&host),
        Arc::clone(&local),
        cache,
        facts.clone(),
    );
    let outputs = Outputs {
        status: watch::Sender::new(WalkStatus::default()),
        metadata: watch::Sender::new(None),
        daemons: watch::Sender::new(Vec::new()),
        model: watch::Sender::new(None),
    };
    let (walk_now, walk_asked) = mpsc::channel(1);
    let (poll_now, poll_asked) = mpsc::channel(1);
    let inputs = Inputs {
        fetched: poller.subscribe(),
        found: found.subscribe(),
        now: walk_asked,
    };
    let probe = Probe::new(lookup.clone());
    let discovery_http = Http::new(DISCOVERY_TIMEOUT, lookup);
    let search = names.clone().map(|names| {
        let known = Heard {
            peers: found.borrow().peers.clone(),
            manta: found.borrow().manta.clone(),
            listed: found.borrow().listed.clone(),
        };
        let http = discovery_http.clone();
        let own = facts.instance.clone();
        PeerSearch::new(http, &sapi_url, names, own, known)
    });
    let daemons = watch::Sender::new(Vec::new());
    let board = Board {
        started: SystemTime::now(),
        instance: facts.instance.clone(),
        role: match &facts.role {
            Ok(role) => role.to_string(),
            Err(_) => "no role".to_owned(),
        },
        sapi_url,
        poll: poller.status(),
        walk: outputs.status.subscribe(),
        probe: probe.status(),
        daemons: daemons.subscribe(),
        names: names.clone(),
        found: found.subscribe(),
        peer_failures: search.as_ref().map(PeerSearch::failures),
    };
    let specs = outputs.daemons.subscribe();
    loops.start("daemons", |stop| {
        daemons::watch(host, local, specs, daemons, stop)
    });
    loops.start("probe", |stop| probe.run(outputs.model.subscribe(), stop));
    if let (Some(names), Some(search)) = (names, search) {
        let discovery = Discovery {
            http: discovery_http,
            names,
            facts: facts.zone,
            flavor: facts.flavor,
            heard: search.heard(),
            keep: found_path,
            write: write_secret,
            found,
            routes,
        };
        let metadata = outputs.metadata.subscribe();
        loops.start("peers", |stop| search.run(metadata.clone(), stop));
        loops.start("discovery", |stop| discovery.run(metadata, stop));
    } else {
        loops.keep(found);
    }
    let control = board.names.clone();
    let reporter: Reporter = Arc::new(move || board.report());
    let others = Arc::clone(&reporter);
    let metadata = outputs.metadata.subscribe();
    loops.start("scrape", |stop| {
        status::serve_others(reach, metadata, others, stop)
    });
    loops.start("status", |stop| async move {
        let served = status::serve(listener, reporter, control, stop);
        if let Err(error) = served.await {
            error!(err.message = %error, "status page failed");
        }
    });
    loops.start("poll", |stop| poller.run(poll_asked, stop));
    // The walk works with files and waits for fsync: a thread of its own, so
    // that a slow disk holds up no query.
    loops.start_blocking("walk", |stop| walk.run(inputs, outputs, stop));
    loops.start("signals", |stop| pass_on(now, poll_now, walk_now, stop));
    info!(instance = %facts.instance, "config-agent runs");
    loops.end().await
}

/// One poll and one pass, as `-s` of the Node agent: says whether SAPI
/// answered and everything is in force.
pub async fn once(start: Start) -> Result<(bool, WalkStatus), RunError> {
    one_pass(start, false).await
}

/// The same before any daemon runs: files are put in force, and the daemons
/// are left to the agent that is started next.
pub async fn first(start: Start) -> Result<(bool, WalkStatus), RunError> {
    one_pass(start, true).await
}

async fn one_pass(
    start: Start,
    leave_daemons: bool,
) -> Result<(bool, WalkStatus), RunError> {
    let Prepared { config, config_path, host, facts, sapi_url, lock: _lock } =
        prepare(start, Duration::ZERO).await?;
    let http = Http::new(config.request_timeout(), None);
    let sapi = Sapi::new(http, &sapi_url);
    let cache = Cache::new(config.state_dir.join("config.json"), write_secret);
    let source = SapiSource { sapi, instance: facts.instance.clone() };
    let pace = Pace {
        interval: config.poll_interval(),
        full: config.full_poll_interval(),
    };
    let mut poller = Poller::new(source, pace, cache.clone());
    let answered = poller.poll().await;
    let fetched = poller.subscribe().borrow().clone();
    let Some(fetched) = fetched else {
        return Ok((false, WalkStatus::default()));
    };
    let daemon_http = Http::new(DAEMON_TIMEOUT, None);
    let found = discovery::load(&config.state_dir.join("found.json"));
    let http = Arc::new(LocalHttp(daemon_http));
    let mut walk = Walk::new(config, config_path, host, http, cache, facts);
    if leave_daemons {
        walk.leave_daemons();
    }
    let outputs = Outputs {
        status: watch::Sender::new(WalkStatus::default()),
        metadata: watch::Sender::new(None),
        daemons: watch::Sender::new(Vec::new()),
        model: watch::Sender::new(None),
    };
    let clean = walk.pass(&fetched, &found, &outputs).await;
    let status = outputs.status.borrow().clone();
    Ok((answered && clean, status))
}

struct Prepared {
    config: ConfigFile,
    config_path: Option<std::path::PathBuf>,
    host: Arc<dyn Host>,
    facts: Facts,
    sapi_url: String,
    /// Held as long as we write; gone with the process, however it ends.
    lock: Option<File>,
}

/// Gets the zone for ourselves; whoever has it may take `patience` to end.
async fn prepare(
    start: Start,
    patience: Duration,
) -> Result<Prepared, RunError> {
    let Start { config, config_path, sapi_url, host } = start;
    for key in config.unknown.keys() {
        warn!(key = %key, "key of the configuration is not known");
    }
    let facts = gather(host.as_ref(), &config).await;
    if facts.instance.is_empty() {
        return Err(RunError::NoInstance);
    }
    // The zone's metadata wins over the file, as with the Node agent: a file
    // written at set-up goes stale when SAPI moves.
    let sapi_url = sapi_url
        .or_else(|| facts.sapi_url.clone())
        .or_else(|| config.sapi.url.clone())
        .ok_or(RunError::NoSapi)?;
    let lock = lock(&config.state_dir, patience).await?;
    for name in ["config.json", "applied.json", "found.json", "compactor.json"]
    {
        sweep(&config.state_dir.join(name));
    }
    Ok(Prepared { config, config_path, host, facts, sapi_url, lock })
}

/// Locks the state folder: files are staged under fixed names, so two writers
/// would spoil each other's. A folder that cannot be written is no reason not
/// to answer DNS, and no file gets spoilt there.
async fn lock(
    state: &Path,
    patience: Duration,
) -> Result<Option<File>, RunError> {
    let path = state.join("lock");
    let opened = std::fs::create_dir_all(state).and_then(|()| {
        let mut options = File::options();
        options.create(true).truncate(false).write(true).mode(0o600);
        options.open(&path)
    });
    let begin = tokio::time::Instant::now();
    let error = loop {
        let file = match &opened {
            Ok(file) => file,
            Err(error) => break error.to_string(),
        };
        match file.try_lock() {
            Ok(()) => return Ok(opened.ok()),
            Err(TryLockError::Error(error)) => break error.to_string(),
            Err(TryLockError::WouldBlock) if begin.elapsed() >= patience => {
                return Err(RunError::Locked(path));
            }
            Err(TryLockError::WouldBlock) => {
                tokio::time::sleep(LOCK_PAUSE).await;
            }
        }
    };
    warn!(
        path = %path.display(),
        err.message = %error,
        "could not lock the state folder"
    );
    Ok(None)
}

async fn start_names(
    config: &ConfigFile,
    zone: &ZoneFacts,
    routes: &watch::Sender<Arc<Routes>>,
) -> Result<Option<NameServer>, RunError> {
    if config.dns_listen.is_empty() {
        return Ok(None);
    }
    let section = &config.secondary;
    let mut dns = DnsConfig::new(
        config.dns_listen.clone(),
        config.state_dir.join("zones"),
    );
    dns.refresh = section.policy();
    config.dns.apply(&mut dns);
    dns.forward = config.forward.limits();
    dns.forward_tls = config.forward.tls().map_err(RunError::Forward)?;
    dns.dnssec = config.forward.dnssec();
    // CNS asks the address that a transfer went to, on port 53, whether it
    // is a secondary; so both are one.
    let own = section.address.or(zone.admin_ip);
    dns.transfer_source = own;
    dns.notify_listen =
        own.filter(|_| section.notify).map(|ip| SocketAddr::new(ip, 53));
    let server = NameServer::start(dns, routes.subscribe()).await;
    server.map(Some).map_err(RunError::Names)
}

async fn serve_names(server: NameServer, stop: CancellationToken) {
    if let Err(error) = server.run(stop).await {
        error!(err.message = %chain(&error), "name server failed");
    }
}

/// Host names through our own server, and through the system's resolver as
/// long as that one knows nothing yet.
fn lookup(names: NamesHandle) -> Lookup {
    Arc::new(move |name| {
        let names = names.clone();
        async move {
            let own = names.lookup_ipv4(&name).await;
            match own {
                Ok(ips) => Ok(ips.into_iter().map(Into::into).collect()),
                Err(error) => {
                    let system = tokio::net::lookup_host((name.as_str(), 0));
                    match system.await {
                        Ok(found) => Ok(found.map(|a| a.ip()).collect()),
                        Err(_) => Err(chain(&error)),
                    }
                }
            }
        }
        .boxed()
    })
}

/// SIGHUP asks for a poll and a pass; several at once count as one.
async fn pass_on(
    mut now: mpsc::Receiver<()>,
    poll: mpsc::Sender<()>,
    walk: mpsc::Sender<()>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            // Cancel-safe: recv loses no message.
            asked = now.recv() => match asked {
                Some(()) => {
                    // Full means that one is waiting already.
                    let _ = poll.try_send(());
                    let _ = walk.try_send(());
                }
                None => {
                    stop.cancelled().await;
                    return;
                }
            }
        }
    }
}

fn write_secret(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    write_atomic(path, bytes, 0o600)
}

/// SAPI as the poller sees it.
struct SapiSource {
    sapi: Sapi,
    instance: String,
}

impl Source for SapiSource {
    fn poll<'a>(&'a self, etag: Option<&'a str>) -> PollFuture<'a> {
        Box::pin(async move {
            let request_id = uuid::Uuid::new_v4().to_string();
            let asked = self.sapi.config(&self.instance, etag, &request_id);
            match asked.await {
                Ok(Config::NotModified) => Ok(Polled::NotModified),
                Ok(Config::Body { body, etag }) => Ok(Polled::Body(body, etag)),
                Err(error) => Err(chain(&error)),
            }
        })
    }

    fn url(&self) -> &str {
        self.sapi.url()
    }
}

/// Daemons on loopback as `apply` sees them.
struct LocalHttp(Http);

impl DaemonHttp for LocalHttp {
    fn post<'a>(&'a self, url: &'a str) -> HttpFuture<'a> {
        Box::pin(
            async move { text(self.0.post(url, None, DAEMON_ANSWER).await) },
        )
    }

    fn get<'a>(&'a self, url: &'a str) -> HttpFuture<'a> {
        Box::pin(async move { text(self.0.get(url, &[], DAEMON_ANSWER).await) })
    }
}

fn text(
    answer: Result<crate::triton::Answer, ApiError>,
) -> Result<(u16, String), String> {
    match answer {
        Ok(answer) => Ok((
            answer.status,
            String::from_utf8_lossy(&answer.body).into_owned(),
        )),
        Err(error) => Err(chain(&error)),
    }
}

#[cfg(test)]
mod tests;
