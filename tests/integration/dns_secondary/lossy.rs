// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A bad line between a primary and us: datagrams are lost, twice there or
//! late; streams stall, as where segments are lost, and sometimes break. In
//! user space: not every kernel has netem.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What a retransmission costs on a short line.
const STALL: Duration = Duration::from_millis(200);
/// Longer than anybody waits for a datagram.
const FORGET: Duration = Duration::from_secs(5);

/// The line; cut when dropped.
pub(super) struct Line {
    /// Where we find the primary.
    pub(super) at: SocketAddr,
    quality: Arc<Quality>,
    _stop: DropGuard,
}

struct Quality {
    /// Of a hundred datagrams or pieces of a stream.
    lost: AtomicU8,
    /// What was lost, of both.
    count: AtomicU64,
}

impl Quality {
    fn loses(&self) -> bool {
        let lost = fastrand::u8(0..100) < self.lost.load(Ordering::Relaxed);
        self.count.fetch_add(lost.into(), Ordering::Relaxed);
        lost
    }
}

impl Line {
    pub(super) async fn to(primary: SocketAddr) -> Self {
        let (udp, tcp) =
            localdc::bind_both(Ipv4Addr::LOCALHOST.into()).await.unwrap();
        let at = udp.local_addr().unwrap();
        let quality = Arc::new(Quality {
            lost: AtomicU8::new(0),
            count: AtomicU64::new(0),
        });
        let stop = CancellationToken::new();
        let both = (Arc::clone(&quality), Arc::clone(&quality));
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = datagrams(udp, primary, both.0) => {}
                () = streams(tcp, primary, both.1) => {}
            }
        });
        Self { at, quality, _stop: stop.drop_guard() }
    }

    /// From now on so many of a hundred are lost.
    pub(super) fn loses(&self, percent: u8) {
        self.quality.lost.store(percent, Ordering::Relaxed);
    }

    pub(super) fn lost(&self) -> u64 {
        self.quality.count.load(Ordering::Relaxed)
    }
}

async fn datagrams(udp: UdpSocket, primary: SocketAddr, q: Arc<Quality>) {
    let udp = Arc::new(udp);
    let mut buffer = vec![0; 65_535];
    loop {
        let (len, from) = udp.recv_from(&mut buffer).await.unwrap();
        if q.loses() {
            continue;
        }
        let (udp, q) = (Arc::clone(&udp), Arc::clone(&q));
        let query = buffer[..len].to_vec();
        tokio::spawn(async move {
            let out = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            // Refused while the primary is down: lost as well.
            if out.send_to(&query, primary).await.is_err() {
                return;
            }
            if q.loses() {
                // Twice there, and late.
                sleep(STALL).await;
                let _ = out.send_to(&query, primary).await;
            }
            let mut reply = vec![0; 65_535];
            while let Ok(Ok(len)) = timeout(FORGET, out.recv(&mut reply)).await
            {
                if !q.loses() {
                    let _ = udp.send_to(&reply[..len], from).await;
                }
            }
        });
    }
}

async fn streams(tcp: TcpListener, primary: SocketAddr, q: Arc<Quality>) {
    loop {
        let (near, _) = tcp.accept().await.unwrap();
        let q = Arc::clone(&q);
        tokio::spawn(async move {
            let Ok(far) = TcpStream::connect(primary).await else { return };
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = far.into_split();
            tokio::join!(
                pieces(near_read, far_write, &q),
                pieces(far_read, near_write, &q)
            );
        });
    }
}

/// In small pieces. A lost one stalls the stream; three in a row break it.
async fn pieces(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    q: &Quality,
) {
    let mut piece = vec![0; 300];
    while let Ok(len @ 1..) = from.read(&mut piece).await {
        let mut losses = 0;
        while q.loses() {
            losses += 1;
            if losses == 3 {
                return;
            }
            sleep(STALL).await;
        }
        if to.write_all(&piece[..len]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
