// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The datagram side of a listener: answers what it can on the spot (`fast.rs`)
//! and hands the rest to the general way, one task a question.
//!
//! A thread of its own for each socket: it sleeps in the system's receive call
//! and wakes with all that is there, so that a question costs no look at
//! readiness, and no other work of the agent keeps names waiting.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hickory_net::xfer::Protocol;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::clients::Clients;
use super::fast::Fast;
use super::front::Front;
use super::general::{self, Read};
use crate::dns::seldom::Seldom;
use crate::host::datagrams::{Batch, make_room, send_now};

/// How long the thread sleeps before it looks whether it is still wanted. It
/// is told so, too: by a datagram.
const SLEEP: Duration = Duration::from_secs(1);
/// Until the socket is tried again after a fault that is not one question's.
const PAUSE: Duration = Duration::from_millis(50);

/// One socket and who answers behind it.
pub(crate) struct Datagrams {
    socket: Arc<UdpSocket>,
    front: Arc<Front>,
}

impl Datagrams {
    /// Errors: those of the system, when it does not take the settings.
    pub(crate) fn new(
        socket: tokio::net::UdpSocket,
        front: Arc<Front>,
    ) -> io::Result<Self> {
        let socket = socket.into_std()?;
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(SLEEP))?;
        if let Err(error) = make_room(&socket) {
            debug!(err.message = %error, "bursts find no more room than usual");
        }
        Ok(Self { socket: Arc::new(socket), front })
    }

    /// Answers until `stop`, or until this future is dropped.
    ///
    /// Errors: the thread did not start, or ended by itself.
    pub(crate) async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let wanted = Wanted {
            until: stop.child_token(),
            socket: Arc::clone(&self.socket),
        };
        let (done, mut ended) = oneshot::channel();
        let thread = Thread {
            socket: self.socket,
            until: wanted.until.clone(),
            runtime: Handle::current(),
            clients: Arc::default(),
            fast: Fast::new(Arc::clone(&self.front.names)),
            front: self.front,
            faulty: Seldom::default(),
        };
        thread::Builder::new().name("dns-udp".to_owned()).spawn(move || {
            thread.run();
            let _ = done.send(());
        })?;
        // Either ends for good.
        tokio::select! {
            // The thread may see the end first: that is none by itself.
            biased;
            () = stop.cancelled() => {}
            _ = &mut ended => {
                return Err(io::Error::other("the thread of a socket ended"));
            }
        }
        drop(wanted);
        // The address is free again once the thread is gone.
        let _ = timeout(SLEEP, ended).await;
        Ok(())
    }
}

/// As long as it is kept, the thread works.
struct Wanted {
    until: CancellationToken,
    socket: Arc<UdpSocket>,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.until.cancel();
        // Wakes the thread; if not, its sleep is short.
        if let Ok(own) = self.socket.local_addr() {
            let _ = send_now(&self.socket, &[], own);
        }
    }
}

struct Thread {
    socket: Arc<UdpSocket>,
    until: CancellationToken,
    runtime: Handle,
    clients: Arc<Clients>,
    front: Arc<Front>,
    fast: Fast,
    faulty: Seldom,
}

impl Thread {
    fn run(mut self) {
        // Answers of others that are about to age are asked for again by
        // tasks.
        let runtime = self.runtime.clone();
        let _inside = runtime.enter();
        let mut batch = Batch::default();
        while !self.until.is_cancelled() {
            let received = batch.receive(&self.socket);
            // Also when nothing came: zones that are gone must not be kept.
            self.fast.refresh();
            if let Err(error) = received {
                if !is_passing(&error) {
                    if let Some(more) = self.faulty.pass(Instant::now()) {
                        let error = error.to_string();
                        warn!(more, err.message = error, "queries not read");
                    }
                    thread::sleep(PAUSE);
                }
                continue;
            }
            batch.answer(&self.socket, |query, from, out| {
                self.take(query, from, out);
            });
        }
    }

    fn take(&self, query: &[u8], from: SocketAddr, out: &mut Vec<u8>) {
        if from.port() == 0
            || !self.front.names.admits(from.ip())
            || self.fast.answer(query, false, out)
        {
            return;
        }
        // Too many: as if it had been lost, and stubs ask again.
        let Some(place) = self.clients.place(from) else { return };
        let request = match general::read(query, from, Protocol::Udp) {
            Read::Question(request) => request,
            Read::Malformed(refusal) => {
                out.extend_from_slice(&refusal);
                return;
            }
            Read::Silence => return,
        };
        let (socket, front) =
            (Arc::clone(&self.socket), Arc::clone(&self.front));
        self.runtime.spawn(async move {
            if let Some(answer) = general::answer(&front, &request).await
                && let Err(error) = send_now(&socket, &answer, from)
            {
                debug!(err.message = %error, "response not sent");
            }
            drop(place);
        });
    }
}

/// The time was up, or an earlier answer found nobody.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock
            | ErrorKind::TimedOut
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinHandle;

    use super::*;
    use crate::dns::serve::fast::tests::front;

    const LIMIT: Duration = Duration::from_secs(20);

    async fn start(
        stop: &CancellationToken,
    ) -> (SocketAddr, JoinHandle<io::Result<()>>) {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let datagrams = Datagrams::new(socket, Arc::new(front(&[]))).unwrap();
        (addr, tokio::spawn(datagrams.run(stop.clone())))
    }

    /// Sends what is no question; it is told so by a thread that works.
    async fn works(addr: SocketAddr) {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let torn = [0, 1, 1, 0, 0, 9, 0, 0, 0, 0, 0, 0];
        socket.send_to(&torn, addr).await.unwrap();
        let mut reply = [0; 512];
        let receiving = socket.recv(&mut reply);
        assert_eq!(timeout(LIMIT, receiving).await.unwrap().unwrap(), 12);
    }

    /// Often, because a thread that is not yet asleep ends at once in any
    /// case.
    #[tokio::test]
    async fn an_end_frees_the_address() {
        let mut quick = 0;
        for _ in 0..20 {
            let stop = CancellationToken::new();
            let (addr, task) = start(&stop).await;
            works(addr).await;
            let begin = std::time::Instant::now();
            stop.cancel();
            timeout(LIMIT, task).await.unwrap().unwrap().unwrap();
            quick += usize::from(begin.elapsed() < SLEEP / 2);
            UdpSocket::bind(addr).unwrap();
        }
        assert!(quick >= 10, "{quick} of 20 before a sleep ends");
    }

    /// Nobody said stop: the runtime was dropped, say.
    #[tokio::test]
    async fn a_thread_does_not_outlive_its_task() {
        let mut quick = 0;
        for _ in 0..20 {
            let (addr, task) = start(&CancellationToken::new()).await;
            works(addr).await;
            let begin = std::time::Instant::now();
            task.abort();
            let ending = async {
                while UdpSocket::bind(addr).is_err() {
                    tokio::task::yield_now().await;
                }
            };
            timeout(LIMIT, ending).await.unwrap();
            quick += usize::from(begin.elapsed() < SLEEP / 2);
        }
        assert!(quick >= 10, "{quick} of 20 before a sleep ends");
    }
}
