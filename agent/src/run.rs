// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb run: starts the loops, introduces them to each other, and ends them
//! together. The first that ends takes the rest with it; the service manager
//! starts us again.

mod data;
mod doors;
mod loops;
mod start;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use self::doors::{LocalHttp, SapiSource, lookup, write_secret};
use self::loops::Loops;
use self::start::{Prepared, persevere, prepare};
pub use self::start::{RunError, Start};
use crate::apply::DaemonHttp;
use crate::config::ConfigFile;
use crate::daemons;
use crate::discovery::{self, Discovery, Heard, PeerSearch, ZoneFacts};
use crate::dns::{DnsConfig, NameServer};
use crate::log::chain;
use crate::metadata::poll::{Cache, Pace, Poller};
use crate::model::dns::Routes;
use crate::probe::Probe;
use crate::status::{self, Board, Reach, Reporter};
use crate::triton::Http;
use crate::triton::sapi::Sapi;
use crate::walk::{Inputs, Outputs, Walk, WalkStatus};

/// What CNS may take for a list.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long loops, and a predecessor's, may take to end.
const GRACE: Duration = Duration::from_secs(10);

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
    let Prepared {
        config,
        config_path,
        host,
        facts,
        sapi_url,
        data_id,
        lock: _lock,
    } = persevere(&stop, async || prepare(start.clone(), GRACE).await).await?;
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
    let local: Arc<dyn DaemonHttp> = Arc::new(LocalHttp::new());
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
        data_id,
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
    let Prepared {
        config,
        config_path,
        host,
        facts,
        sapi_url,
        lock: _lock,
        ..
    } = prepare(start, Duration::ZERO).await?;
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
    let found = discovery::load(&config.state_dir.join("found.json"));
    let http = Arc::new(LocalHttp::new());
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
