// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The datagram side of a listener: answers what it can on the spot (`fast.rs`)
//! and hands the rest to the general way, one task a question.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use hickory_net::runtime::TokioTime;
use hickory_net::xfer::{BufDnsStreamHandle, Protocol};
use hickory_server::server::{Request, RequestHandler, ResponseHandle};
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::fast;
use super::front::Front;

/// Questions on the general way at a time; more are as good as lost, and
/// stubs ask again.
const IN_FLIGHT: usize = 2048;
/// Questions answered on the spot before other tasks get their turn.
const TURN: usize = 64;
/// No query is larger.
const BUFFER: usize = 4096;
/// Loopback takes a datagram at once, or not at all.
const SEND_LIMIT: Duration = Duration::from_secs(1);
/// Until the socket is tried again after a fault that is not one question's.
const PAUSE: Duration = Duration::from_millis(50);

/// One socket and who answers behind it.
pub(crate) struct Datagrams {
    socket: Arc<UdpSocket>,
    front: Arc<Front>,
    in_flight: Arc<Semaphore>,
}

impl Datagrams {
    pub(crate) fn new(socket: UdpSocket, front: Arc<Front>) -> Self {
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
        Self { socket: Arc::new(socket), front, in_flight }
    }

    /// Answers until `stop`. Whatever a socket of datagrams reports is about
    /// one of them, or passes.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut query = vec![0; BUFFER];
        let mut reply = Vec::with_capacity(BUFFER);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                // Cancel-safe: readiness stays until a read finds nothing.
                ready = self.socket.readable() => {
                    let drained =
                        ready.and_then(|()| self.drain(&mut query, &mut reply));
                    if let Err(error) = drained {
                        warn!(err.message = %error, "could not read queries");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
            tokio::task::yield_now().await;
        }
    }

    fn drain(&self, query: &mut [u8], reply: &mut Vec<u8>) -> io::Result<()> {
        for _ in 0..TURN {
            match self.socket.try_recv_from(query) {
                Ok((len, from)) => self.take(&query[..len], from, reply),
                Err(error) => {
                    return match error.kind() {
                        io::ErrorKind::WouldBlock => Ok(()),
                        // An earlier answer found nobody.
                        io::ErrorKind::ConnectionRefused
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::Interrupted => continue,
                        _ => Err(error),
                    };
                }
            }
        }
        Ok(())
    }

    fn take(&self, query: &[u8], from: SocketAddr, reply: &mut Vec<u8>) {
        let names = &self.front.names;
        if from.port() == 0 {
            return;
        }
        if fast::answer(query, false, &names.catalog(), &names.counters, reply)
        {
            if let Err(error) = self.socket.try_send_to(reply, from) {
                debug!(err.message = %error, "response not sent");
            }
            return;
        }
        let permit = Arc::clone(&self.in_flight).try_acquire_owned();
        // Too many: as if it had been lost.
        let Ok(permit) = permit else { return };
        match Request::from_bytes(query.to_vec(), from, Protocol::Udp) {
            Ok(request) if is_one_question(query) => {
                self.respond(request, permit)
            }
            _ => {
                let Some(refusal) = format_error(query) else { return };
                // Nobody waits for it who knows how to ask.
                let _ = self.socket.try_send_to(&refusal, from);
            }
        }
    }

    /// Answers by a task of its own, which ends within the limit of a
    /// question.
    fn respond(&self, request: Request, permit: OwnedSemaphorePermit) {
        // A response is no question: answering it might never end.
        if request.metadata.message_type
            == hickory_proto::op::MessageType::Response
        {
            return;
        }
        let (socket, front) =
            (Arc::clone(&self.socket), Arc::clone(&self.front));
        tokio::spawn(async move {
            let from = request.src();
            let (handle, mut encoded) = BufDnsStreamHandle::new(from);
            let handle = ResponseHandle::new(from, handle, Protocol::Udp);
            front.handle_request::<_, TokioTime>(&request, handle).await;
            // The handle is gone: what is there is all there will be.
            if let Some(message) = encoded.next().await {
                let sending = socket.send_to(message.bytes(), from);
                if let Ok(Err(error)) = timeout(SEND_LIMIT, sending).await {
                    debug!(err.message = %error, "response not sent");
                }
            }
            drop(permit);
        });
    }
}

/// Whether there is one question, whose name does not go on elsewhere in the
/// message: there is none, and in the answer those bytes would mean another
/// name or nothing. Many questions would not fit the answer that refuses them.
pub(super) fn is_one_question(query: &[u8]) -> bool {
    let mut at = 12;
    while let Some(len @ 1..=63) = query.get(at) {
        at += 1 + usize::from(*len);
    }
    query.get(4..6) == Some(&[0, 1]) && query.get(at) == Some(&0)
}

/// FORMERR to what has a header at least, and is no response (RFC 1035
/// §4.1.1).
pub(super) fn format_error(query: &[u8]) -> Option<[u8; 12]> {
    let head: &[u8; 12] = query.first_chunk()?;
    if head[2] & 0x80 != 0 {
        return None;
    }
    let mut refusal = [0; 12];
    refusal[..2].copy_from_slice(&head[..2]);
    // QR; opcode and RD as they came.
    refusal[2] = 0x80 | head[2] & 0x79;
    refusal[3] = 1;
    Some(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by fuzzing `dns_query`: a name that ends in the header, and so
    /// many questions that they fill a datagram.
    #[test]
    fn what_cannot_be_said_again_is_no_question() {
        let asked = |count: u8, name: &[u8]| {
            let head = [0, 0, 0, 0, 0, count, 0, 0, 0, 0, 0, 0];
            is_one_question(&[&head[..], name, b"\0\x01\0\x01"].concat())
        };
        assert!(asked(1, b"\x01a\0"));
        assert!(asked(1, b"\0"));
        assert!(!asked(1, b"\x01a\xc0\x03"));
        assert!(!asked(1, b"\x3fa"));
        assert!(!asked(0, b""));
        assert!(!asked(41, b"\x01a\0"));
    }
}
