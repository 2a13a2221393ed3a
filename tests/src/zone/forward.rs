// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Forwarders for a person: a port of this machine leads to an address inside
//! a namespace, by TCP or by UDP.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use super::{Namespace, ZoneError};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const CONNECTIONS: usize = 64;
/// Longest datagram, in bytes.
const DATAGRAM: usize = 65_535;

/// A running forwarder; dropping it closes the port and its connections.
#[derive(Debug)]
pub struct Forward {
    local: SocketAddr,
    task: JoinHandle<()>,
}

impl Forward {
    /// Forwards connections on `listener` to `target`, made in `namespace`.
    ///
    /// At most 64 at a time; more wait. Runs on the calling runtime.
    /// Errors: the listener has no address.
    pub fn start(
        listener: TcpListener,
        namespace: &Namespace,
        target: SocketAddr,
    ) -> Result<Self, ZoneError> {
        let local =
            listener.local_addr().map_err(|source| ZoneError::Namespace {
                step: "forward from".into(),
                namespace: namespace.name().into(),
                source,
            })?;
        let task = tokio::spawn(serve(listener, namespace.clone(), target));
        Ok(Self { local, task })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // The connections sit in a JoinSet of the task and go with it.
        self.task.abort();
    }
}

/// A running UDP forwarder for questions with one answer each, as DNS has
/// them; dropping it closes the port.
#[derive(Debug)]
pub struct ForwardUdp {
    task: JoinHandle<()>,
}

impl ForwardUdp {
    /// Forwards datagrams on `socket` to `target`, each from a socket of its
    /// own in `namespace`, and the first answer back.
    ///
    /// At most 64 at a time; more are lost, as datagrams may be.
    pub fn start(
        socket: UdpSocket,
        namespace: &Namespace,
        target: SocketAddr,
    ) -> Self {
        let namespace = namespace.clone();
        Self { task: tokio::spawn(pass_on(socket, namespace, target)) }
    }
}

impl Drop for ForwardUdp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass_on(socket: UdpSocket, namespace: Namespace, to: SocketAddr) {
    let socket = Arc::new(socket);
    let mut open = JoinSet::new();
    let mut buffer = vec![0_u8; DATAGRAM];
    loop {
        let received = tokio::select! {
            // Cancel-safe: a datagram not taken stays in the socket.
            received = socket.recv_from(&mut buffer) => received,
            // Cancel-safe: a task not joined now is joined later.
            Some(_) = open.join_next() => continue,
        };
        let (length, from) = match received {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "datagram not received");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if open.len() >= CONNECTIONS {
            continue;
        }
        let question = buffer[..length].to_vec();
        let (socket, namespace) = (Arc::clone(&socket), namespace.clone());
        open.spawn(async move {
            let asked = ask(&namespace, to, &question);
            if let Ok(Ok(answer)) =
                tokio::time::timeout(CONNECT_LIMIT, asked).await
            {
                let _ = socket.send_to(&answer, from).await;
            }
        });
    }
}

async fn ask(
    namespace: &Namespace,
    to: SocketAddr,
    question: &[u8],
) -> io::Result<Vec<u8>> {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let inside = namespace.bind_udp(any).map_err(io::Error::other)?;
    let inside = UdpSocket::from_std(inside)?;
    inside.connect(to).await?;
    inside.send(question).await?;
    let mut answer = vec![0_u8; DATAGRAM];
    let length = inside.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}

async fn serve(listener: TcpListener, namespace: Namespace, to: SocketAddr) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut open = JoinSet::new();
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await;
        let accepted = tokio::select! {
            // Cancel-safe: a connection not taken stays in the backlog.
            accepted = listener.accept() => accepted,
            // Cancel-safe: a task not joined now is joined later.
            Some(_) = open.join_next() => continue,
        };
        let client = match accepted {
            Ok((client, _)) => client,
            Err(error) => {
                // Mostly a lack of descriptors, which needs time to pass.
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let namespace = namespace.clone();
        open.spawn(async move {
            let _slot = slot;
            if let Err(error) = join(client, &namespace, to).await {
                tracing::debug!(%error, %to, "forwarded connection ended");
            }
        });
    }
}

async fn join(
    mut client: TcpStream,
    namespace: &Namespace,
    to: SocketAddr,
) -> io::Result<()> {
    let mut inside =
        namespace.connect(to, CONNECT_LIMIT).await.map_err(io::Error::other)?;
    copy_bidirectional(&mut client, &mut inside).await?;
    Ok(())
}
