// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The ways from this machine into a world: forwarders on 127.0.0.1.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, UdpSocket};

use super::{SAPI, VMAPI, WorldError};
use crate::bind_both;
use crate::zone::{Forward, ForwardUdp, Namespace, Zone};

/// Ports on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Prometheus.
    pub prometheus: u16,
    /// The agent's status page.
    pub status: u16,
    /// SAPI.
    pub sapi: u16,
    /// VMAPI.
    pub vmapi: u16,
    /// The zone's DNS, TCP and UDP.
    pub dns: u16,
}

/// Forwarders from this machine into the datacenter.
#[derive(Debug)]
pub struct Doors {
    /// Prometheus.
    pub prometheus: Forward,
    /// The agent's status page.
    pub status: Forward,
    /// SAPI.
    pub sapi: Forward,
    /// VMAPI.
    pub vmapi: Forward,
    /// The zone's DNS, TCP.
    pub dns: Forward,
    /// The same by UDP, on the same port.
    _dns_udp: ForwardUdp,
}

impl Doors {
    /// Opens all of them, on `ports` where those are free.
    pub(super) async fn open(
        ports: Option<Ports>,
        dc: &Namespace,
        zone: &Zone,
    ) -> Result<Self, WorldError> {
        let own = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let of = |ip: Ipv4Addr| SocketAddr::from((ip, 80));
        let inside = zone.namespace();
        let (tcp, udp) = listen_both(ports.map(|p| p.dns))
            .await
            .map_err(WorldError::Listen)?;
        Ok(Self {
            prometheus: open(ports.map(|p| p.prometheus), inside, own(9090))
                .await?,
            status: open(ports.map(|p| p.status), inside, own(9165)).await?,
            sapi: open(ports.map(|p| p.sapi), dc, of(SAPI)).await?,
            vmapi: open(ports.map(|p| p.vmapi), dc, of(VMAPI)).await?,
            dns: Forward::start(tcp, inside, own(53))?,
            _dns_udp: ForwardUdp::start(udp, inside, own(53)),
        })
    }
}

/// A way to an address in there.
pub(super) async fn open(
    port: Option<u16>,
    inside: &Namespace,
    to: SocketAddr,
) -> Result<Forward, WorldError> {
    let listener = listen(port).await.map_err(WorldError::Listen)?;
    Ok(Forward::start(listener, inside, to)?)
}

/// The wanted port of 127.0.0.1 if it is free, else any.
async fn listen(port: Option<u16>) -> std::io::Result<TcpListener> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if let Some(port) = port
        && let Ok(listener) = TcpListener::bind(at(port)).await
    {
        return Ok(listener);
    }
    TcpListener::bind(at(0)).await
}

/// The same for TCP and UDP on one port.
async fn listen_both(
    port: Option<u16>,
) -> std::io::Result<(TcpListener, UdpSocket)> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if let Some(port) = port
        && let Ok(tcp) = TcpListener::bind(at(port)).await
        && let Ok(udp) = UdpSocket::bind(at(port)).await
    {
        return Ok((tcp, udp));
    }
    let (udp, tcp) = bind_both(Ipv4Addr::LOCALHOST.into()).await?;
    Ok((tcp, udp))
}
