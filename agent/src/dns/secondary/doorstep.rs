// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The sockets of the zone's own NIC address, for `notify.rs`. The address
//! may come up later than we do, so binding is tried again; nothing else
//! waits for it, and nothing else fails with it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::notify::Door;
use crate::dns::exchange;

/// Pause between two tries to bind, and after a socket that fails.
const AGAIN: Duration = Duration::from_secs(15);
/// What a primary sends here is small: a question, an OPT, a TSIG.
const MAX_MESSAGE: usize = 4096;
/// Connections at once; a primary uses UDP.
const MAX_CONNECTIONS: usize = 8;
/// How long a connection may take over a message, and last.
const TCP_IDLE: Duration = Duration::from_secs(5);
const TCP_WHOLE: Duration = Duration::from_secs(60);
/// Errors in a row after which a socket is bound anew.
const MAX_ERRORS: u32 = 100;

type Sockets = (UdpSocket, TcpListener);

/// The listener on the NIC's address, bound or not yet.
pub(crate) struct Doorstep {
    wanted: SocketAddr,
    bound: Option<Sockets>,
    door: Arc<Door>,
}

impl Doorstep {
    /// Tries to bind; says it when that fails.
    pub(crate) async fn bind(addr: SocketAddr, door: Arc<Door>) -> Self {
        let bound = match crate::dns::bind(addr).await {
            Ok((udp, tcp, _)) => Some((udp, tcp)),
            Err(error) => {
                warn!(
                    %addr,
                    err.message = error.to_string(),
                    "primaries cannot reach us yet"
                );
                None
            }
        };
        Self { wanted: addr, bound, door }
    }

    pub(crate) fn addr(&self) -> Option<SocketAddr> {
        self.bound.as_ref().and_then(|(udp, _)| udp.local_addr().ok())
    }

    /// Answers primaries until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let again = async {
                if let Some(sockets) = self.bound.take() {
                    serve(sockets, &self.door).await;
                }
                sleep(AGAIN).await;
                crate::dns::bind(self.wanted).await
            };
            // An interrupted answer is asked for again.
            let bound = tokio::select! {
                () = stop.cancelled() => return,
                bound = again => bound,
            };
            if let Ok((udp, tcp, addr)) = bound {
                info!(%addr, "primaries can reach us");
                self.bound = Some((udp, tcp));
            }
        }
    }
}

/// Ends when one of the sockets does nothing but fail.
async fn serve((udp, tcp): Sockets, door: &Arc<Door>) {
    // Either ends for good.
    let failed = tokio::select! {
        failed = serve_udp(&udp, door) => failed,
        failed = serve_tcp(&tcp, door) => failed,
    };
    warn!(err.message = failed.to_string(), "primaries cannot reach us");
}

async fn serve_udp(socket: &UdpSocket, door: &Door) -> io::Error {
    let mut buffer = vec![0; MAX_MESSAGE];
    let mut errors = 0;
    loop {
        let (len, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // ICMP errors of earlier answers come up here.
            Err(_) if errors < MAX_ERRORS => {
                errors += 1;
                continue;
            }
            Err(error) => return error,
        };
        errors = 0;
        let ip = from.ip().to_canonical();
        if let Some(answer) = door.answer(&buffer[..len], ip)
            && let Err(error) = socket.send_to(&answer, from).await
        {
            debug!(%from, err.message = error.to_string(), "answer not sent");
        }
    }
}

async fn serve_tcp(listener: &TcpListener, door: &Arc<Door>) -> io::Error {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Aborted when dropped.
    let mut connections = JoinSet::new();
    let mut errors = 0;
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) if errors < MAX_ERRORS => {
                errors += 1;
                continue;
            }
            Err(error) => return error,
        };
        errors = 0;
        while connections.try_join_next().is_some() {}
        let ip = from.ip().to_canonical();
        if !door.knows(ip) {
            door.turned_away(ip);
            continue;
        }
        // Too many: this one is closed, the primary comes again.
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            let door = Arc::clone(door);
            connections.spawn(async move {
                let _ = timeout(TCP_WHOLE, talk(stream, from, &door)).await;
                drop(permit);
            });
        }
    }
}

async fn talk(mut stream: TcpStream, from: SocketAddr, door: &Door) {
    let mut message = Vec::new();
    loop {
        let receiving =
            exchange::receive_bytes(from, &mut stream, &mut message);
        if !matches!(timeout(TCP_IDLE, receiving).await, Ok(Ok(())))
            || message.len() > MAX_MESSAGE
        {
            return;
        }
        let ip = from.ip().to_canonical();
        let Some(answer) = door.answer(&message, ip) else { return };
        let Ok(len) = u16::try_from(answer.len()) else { return };
        let framed = [&len.to_be_bytes()[..], &answer].concat();
        let writing = stream.write_all(&framed);
        if !matches!(timeout(TCP_IDLE, writing).await, Ok(Ok(()))) {
            return;
        }
    }
}
