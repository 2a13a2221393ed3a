// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The stand-ins at their addresses inside the datacenter, each of which can
//! be switched off and on again.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{WorldError, facts};
use crate::binder::Binder;
use crate::cmon::{Cmon, ServerIdentity};
use crate::cnapi::Cnapi;
use crate::cns::{Cns, CnsConfig};
use crate::datacenter::Datacenter;
use crate::fwapi::Fwapi;
use crate::imgapi::Imgapi;
use crate::napi::Napi;
use crate::papi::Papi;
use crate::public_resolver::PublicResolver;
use crate::sapi::Sapi;
use crate::ufds::{self, Ufds};
use crate::vmapi::Vmapi;
use crate::webhook::Webhook;
use crate::zone::Network;

/// How long a stand-in may take to end.
const ENDING: Duration = Duration::from_secs(5);

/// A stand-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Port 80.
    Sapi,
    /// Port 80.
    Vmapi,
    /// Port 80.
    Imgapi,
    /// Port 80, outside the datacenter.
    Updates,
    /// Port 80.
    Napi,
    /// Port 80.
    Papi,
    /// Port 80.
    Cnapi,
    /// Port 80.
    Fwapi,
    /// LDAPS on 636.
    Ufds,
    /// DNS on 53, REST on 80.
    Cns,
    /// Port 9163, on the admin and the external network.
    Cmon,
    /// Port 53.
    Binder,
    /// Port 53, outside the admin network.
    PublicResolver,
    /// Port 80.
    Webhook,
}

impl Service {
    /// All of them, in the order they are started.
    pub const ALL: [Self; 14] = [
        Self::PublicResolver,
        Self::Binder,
        Self::Sapi,
        Self::Vmapi,
        Self::Imgapi,
        Self::Updates,
        Self::Napi,
        Self::Papi,
        Self::Cnapi,
        Self::Fwapi,
        Self::Ufds,
        Self::Cns,
        Self::Cmon,
        Self::Webhook,
    ];
}

/// Handles on all stand-ins; clones are the same ones.
#[derive(Clone)]
pub struct Services {
    /// The Services API.
    pub sapi: Sapi,
    /// The VM API.
    pub vmapi: Vmapi,
    /// The Image API.
    pub imgapi: Imgapi,
    /// The updates server.
    pub updates: Imgapi,
    /// The Networking API.
    pub napi: Napi,
    /// The Packages API.
    pub papi: Papi,
    /// The Compute Node API.
    pub cnapi: Cnapi,
    /// The Firewall API.
    pub fwapi: Fwapi,
    /// The directory of people.
    pub ufds: Ufds,
    ufds_certificate: ufds::Certificate,
    /// Names of VMs.
    pub cns: Cns,
    /// Metrics of VMs.
    pub cmon: Cmon,
    /// Names of core services.
    pub binder: Binder,
    /// All other names.
    pub public_resolver: PublicResolver,
    /// Who is told of alerts.
    pub webhook: Webhook,
}

impl Services {
    /// Stand-ins over `datacenter`; none runs yet.
    pub(super) fn new(
        datacenter: &Arc<Datacenter>,
        sapi: Sapi,
        cns: CnsConfig,
    ) -> Self {
        let public_resolver = PublicResolver::new();
        let (name, ip) = facts::PUBLIC_NAME;
        public_resolver.set(name, vec![ip]);
        Self {
            sapi,
            vmapi: Vmapi::new(Arc::clone(datacenter)),
            imgapi: Imgapi::new(Arc::clone(datacenter)),
            updates: Imgapi::updates(Arc::clone(datacenter)),
            napi: Napi::new(Arc::clone(datacenter)),
            papi: Papi::new(Arc::clone(datacenter)),
            cnapi: Cnapi::new(Arc::clone(datacenter)),
            fwapi: Fwapi::new(Arc::clone(datacenter)),
            ufds: datacenter.read(facts::ufds),
            ufds_certificate: ufds::Certificate::make()
                .expect("a key can be made"),
            cns: Cns::new(Arc::clone(datacenter), cns),
            cmon: Cmon::new(Arc::clone(datacenter)),
            binder: datacenter.read(facts::binder),
            public_resolver,
            webhook: Webhook::new(),
        }
    }
}

/// Runs the stand-ins on threads inside the datacenter's namespace.
pub(super) struct Switchboard {
    services: Services,
    runtime: Option<Runtime>,
    running: BTreeMap<Service, Running>,
}

struct Running {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Switchboard {
    /// Gives the datacenter its addresses; nothing listens yet.
    pub(super) fn new(
        network: &Network,
        services: Services,
    ) -> Result<Self, WorldError> {
        for ip in [
            facts::SAPI,
            facts::VMAPI,
            facts::IMGAPI,
            facts::UPDATES,
            facts::NAPI,
            facts::PAPI,
            facts::CNAPI,
            facts::FWAPI,
            facts::UFDS,
            facts::CNS,
            facts::CMON,
            facts::CMON_EXTERNAL,
            facts::BINDER,
            facts::PUBLIC,
            facts::WEBHOOK,
        ] {
            network.add_address(ip)?;
        }
        let runtime = Some(network.dc().runtime()?);
        Ok(Self { services, runtime, running: BTreeMap::new() })
    }

    pub(super) fn services(&self) -> &Services {
        &self.services
    }

    /// Starts a stand-in unless it runs.
    pub(super) async fn start(
        &mut self,
        service: Service,
    ) -> Result<(), WorldError> {
        if self.running.contains_key(&service) {
            return Ok(());
        }
        let runtime = self.runtime.as_ref().expect("it goes with the drop");
        let handle = runtime.handle().clone();
        let stop = CancellationToken::new();
        let all = self.services.clone();
        let begun = begin(service, all, handle.clone(), stop.clone());
        // Sockets must be made on a thread of the namespace.
        let tasks = handle
            .spawn(begun)
            .await
            .expect("it does not panic")
            .map_err(|source| WorldError::Service { service, source })?;
        self.running.insert(service, Running { stop, tasks });
        Ok(())
    }

    /// Ends a stand-in: its ports are closed on return.
    pub(super) async fn stop(&mut self, service: Service) {
        let Some(running) = self.running.remove(&service) else { return };
        running.stop.cancel();
        for mut task in running.tasks {
            if tokio::time::timeout(ENDING, &mut task).await.is_err() {
                task.abort();
                let _ = task.await;
            }
        }
    }
}

impl Drop for Switchboard {
    fn drop(&mut self) {
        for running in self.running.values() {
            running.stop.cancel();
        }
        if let Some(runtime) = self.runtime.take() {
            // Dropped in async code, a runtime that waits would panic.
            runtime.shutdown_background();
        }
    }
}

/// Binds and serves; returns once the ports are open.
async fn begin(
    service: Service,
    all: Services,
    handle: Handle,
    stop: CancellationToken,
) -> io::Result<Vec<JoinHandle<()>>> {
    let tasks = match service {
        Service::Sapi => {
            let listener = tcp(facts::SAPI, 80).await?;
            vec![handle.spawn(all.sapi.serve(listener, stop))]
        }
        Service::Vmapi => {
            let listener = tcp(facts::VMAPI, 80).await?;
            vec![handle.spawn(all.vmapi.serve(listener, stop))]
        }
        Service::Imgapi => {
            let listener = tcp(facts::IMGAPI, 80).await?;
            vec![handle.spawn(all.imgapi.serve(listener, stop))]
        }
        Service::Updates => {
            let listener = tcp(facts::UPDATES, 80).await?;
            vec![handle.spawn(all.updates.serve(listener, stop))]
        }
        Service::Napi => {
            let listener = tcp(facts::NAPI, 80).await?;
            vec![handle.spawn(all.napi.serve(listener, stop))]
        }
        Service::Papi => {
            let listener = tcp(facts::PAPI, 80).await?;
            vec![handle.spawn(all.papi.serve(listener, stop))]
        }
        Service::Cnapi => {
            let listener = tcp(facts::CNAPI, 80).await?;
            vec![handle.spawn(all.cnapi.serve(listener, stop))]
        }
        Service::Fwapi => {
            let listener = tcp(facts::FWAPI, 80).await?;
            vec![handle.spawn(all.fwapi.serve(listener, stop))]
        }
        Service::Ufds => {
            let at = SocketAddr::from((facts::UFDS, 636));
            let certificate = &all.ufds_certificate;
            let server =
                ufds::Server::start(&all.ufds, at, certificate).await?;
            vec![handle.spawn(async move {
                stop.cancelled().await;
                drop(server);
            })]
        }
        Service::Cns => {
            let (sockets, rest) = (dns(facts::CNS), tcp(facts::CNS, 80));
            let ((udp, listener), rest) = (sockets.await?, rest.await?);
            let cns = all.cns;
            let served = cns.clone().serve_dns(udp, listener, stop.clone());
            let api = cns.clone().serve_rest(rest, stop.clone());
            vec![
                handle.spawn(noted(service, served)),
                handle.spawn(noted(service, api)),
                handle.spawn(cns.run_updater(stop)),
            ]
        }
        Service::Cmon => {
            let mut tasks = Vec::new();
            for ip in [facts::CMON, facts::CMON_EXTERNAL] {
                let listener = tcp(ip, 9163).await?;
                let identity = ServerIdentity::default_of_cmon()
                    .map_err(io::Error::other)?;
                let cmon = all.cmon.clone();
                let served = cmon.serve(listener, identity, stop.clone());
                let served =
                    async move { served.await.map_err(io::Error::other) };
                tasks.push(handle.spawn(noted(service, served)));
            }
            tasks
        }
        Service::Binder => {
            let (udp, listener) = dns(facts::BINDER).await?;
            let served = all.binder.serve(udp, listener, stop);
            vec![handle.spawn(noted(service, served))]
        }
        Service::PublicResolver => {
            let (udp, listener) = dns(facts::PUBLIC).await?;
            let served = all.public_resolver.serve(udp, listener, stop);
            vec![handle.spawn(noted(service, served))]
        }
        Service::Webhook => {
            let listener = tcp(facts::WEBHOOK, 80).await?;
            vec![handle.spawn(all.webhook.serve(listener, stop))]
        }
    };
    Ok(tasks)
}

async fn noted(service: Service, served: impl Future<Output = io::Result<()>>) {
    if let Err(error) = served.await {
        tracing::warn!(?service, %error, "a stand-in ended");
    }
}

async fn tcp(ip: Ipv4Addr, port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((ip, port))).await
}

async fn dns(ip: Ipv4Addr) -> io::Result<(UdpSocket, TcpListener)> {
    let at = SocketAddr::from((ip, 53));
    Ok((UdpSocket::bind(at).await?, TcpListener::bind(at).await?))
}
