// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Questions and answers by datagram, many a system call where the system can
//! do that (Linux), one elsewhere. Waits as long as the socket's read timeout
//! says, so a thread of its own is the place for it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    MsgFlags, SockaddrStorage, sendto, setsockopt, sockopt,
};

pub use many::Batch;

/// Bytes of a datagram that are kept; the rest is cut off.
const RECEIVED: usize = 1280;
/// What may wait while the thread does not run: some thousand questions.
const WAITING: usize = 2 << 20;

/// Asks the system for room for a burst; it may grant less.
///
/// Errors: those of the system.
pub fn make_room(socket: &UdpSocket) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::RcvBuf, &WAITING)?)
}

/// Sends one datagram now or not at all.
///
/// Errors: those of the system, `WouldBlock` among them.
pub fn send_now(
    socket: &UdpSocket,
    bytes: &[u8],
    to: SocketAddr,
) -> io::Result<()> {
    let to = SockaddrStorage::from(to);
    sendto(socket.as_raw_fd(), bytes, &to, MsgFlags::MSG_DONTWAIT)?;
    Ok(())
}

#[cfg(target_os = "linux")]
mod many {
    use std::io::{IoSlice, IoSliceMut};

    use nix::sys::socket::{MultiHeaders, recvmmsg, sendmmsg};

    use super::*;

    /// Datagrams of one call.
    const BATCH: usize = 64;

    /// What one call received, and room for what is said to it.
    pub struct Batch {
        heads: MultiHeaders<SockaddrStorage>,
        queries: Box<[[u8; RECEIVED]; BATCH]>,
        received: Vec<(usize, Option<SockaddrStorage>)>,
        replies: Replies,
    }

    struct Replies {
        heads: MultiHeaders<SockaddrStorage>,
        /// All of them, one after another, and where each ends.
        bytes: Vec<u8>,
        ends: Vec<usize>,
        to: Vec<Option<SockaddrStorage>>,
    }

    impl Default for Batch {
        fn default() -> Self {
            let replies = Replies {
                heads: MultiHeaders::preallocate(BATCH, None),
                bytes: Vec::new(),
                ends: Vec::with_capacity(BATCH),
                to: Vec::with_capacity(BATCH),
            };
            Self {
                heads: MultiHeaders::preallocate(BATCH, None),
                queries: Box::new([[0; RECEIVED]; BATCH]),
                received: Vec::with_capacity(BATCH),
                replies,
            }
        }
    }

    impl Batch {
        /// Waits for one datagram and takes what else is there. What came
        /// before is forgotten.
        ///
        /// Errors: those of the system, `WouldBlock` when the time is up.
        pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
            self.received.clear();
            let mut slices =
                self.queries.each_mut().map(|query| [IoSliceMut::new(query)]);
            let messages = recvmmsg(
                socket.as_raw_fd(),
                &mut self.heads,
                slices.iter_mut(),
                MsgFlags::MSG_WAITFORONE,
                None,
            )?;
            self.received.extend(
                messages.map(|message| (message.bytes, message.address)),
            );
            Ok(())
        }

        /// Shows each datagram to `answer`, which may append an answer to what
        /// it is given, and sends these; one that cannot be sent is lost.
        pub fn answer(
            &mut self,
            socket: &UdpSocket,
            mut answer: impl FnMut(&[u8], SocketAddr, &mut Vec<u8>),
        ) {
            let replies = &mut self.replies;
            replies.clear();
            for ((len, from), query) in
                self.received.iter().zip(self.queries.iter())
            {
                let Some((query, addr)) =
                    query.get(..*len).zip(from.as_ref().and_then(plain))
                else {
                    continue;
                };
                answer(query, addr, &mut replies.bytes);
                replies.end(*from);
            }
            replies.send(socket);
        }
    }

    impl Replies {
        fn clear(&mut self) {
            self.bytes.clear();
            self.ends.clear();
            self.to.clear();
        }

        /// What was appended since the last end is an answer.
        fn end(&mut self, to: Option<SockaddrStorage>) {
            if self.bytes.len() > self.ends.last().copied().unwrap_or(0) {
                self.ends.push(self.bytes.len());
                self.to.push(to);
            }
        }

        fn send(&mut self, socket: &UdpSocket) {
            let mut begin = 0;
            let mut slices = [[IoSlice::new(&[])]; BATCH];
            for (slice, end) in slices.iter_mut().zip(&self.ends) {
                *slice = [IoSlice::new(&self.bytes[begin..*end])];
                begin = *end;
            }
            let (mut slices, mut to) = (&slices[..], &self.to[..]);
            while !to.is_empty() {
                let sent = sendmmsg(
                    socket.as_raw_fd(),
                    &mut self.heads,
                    slices,
                    to,
                    [],
                    MsgFlags::MSG_DONTWAIT,
                );
                // An error is that of the first.
                let done = sent.map_or(1, Iterator::count).max(1);
                slices = slices.get(done..).unwrap_or_default();
                to = to.get(done..).unwrap_or_default();
            }
        }
    }

    fn plain(addr: &SockaddrStorage) -> Option<SocketAddr> {
        let v4 =
            || addr.as_sockaddr_in().map(|addr| SocketAddr::V4((*addr).into()));
        let v6 = || {
            addr.as_sockaddr_in6().map(|addr| SocketAddr::V6((*addr).into()))
        };
        v4().or_else(v6)
    }
}

#[cfg(not(target_os = "linux"))]
mod many {
    use super::*;

    /// What one call received, and room for what is said to it.
    pub struct Batch {
        query: Box<[u8; RECEIVED]>,
        received: Option<(usize, SocketAddr)>,
        reply: Vec<u8>,
    }

    impl Default for Batch {
        fn default() -> Self {
            let query = Box::new([0; RECEIVED]);
            Self { query, received: None, reply: Vec::new() }
        }
    }

    impl Batch {
        /// Waits for one datagram. What came before is forgotten.
        ///
        /// Errors: those of the system, `WouldBlock` when the time is up.
        pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
            self.received = None;
            self.received = Some(socket.recv_from(&mut self.query[..])?);
            Ok(())
        }

        /// Shows the datagram to `answer`, which may append an answer to what
        /// it is given, and sends this; one that cannot be sent is lost.
        pub fn answer(
            &mut self,
            socket: &UdpSocket,
            mut answer: impl FnMut(&[u8], SocketAddr, &mut Vec<u8>),
        ) {
            let Some((len, from)) = self.received else { return };
            let Some(query) = self.query.get(..len) else { return };
            self.reply.clear();
            answer(query, from, &mut self.reply);
            if !self.reply.is_empty() {
                // Whoever asked asks again.
                let _ = send_now(socket, &self.reply, from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    fn bound(ip: &str, patience: Duration) -> UdpSocket {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.set_read_timeout(Some(patience)).unwrap();
        socket
    }

    /// More than one call takes, of two senders, over both families.
    #[test]
    fn each_sender_gets_its_own_answers() {
        const EACH: usize = 100;
        for ip in ["127.0.0.1", "::1"] {
            let server = bound(ip, Duration::from_secs(20));
            make_room(&server).unwrap();
            let to = server.local_addr().unwrap();
            let senders = [b'a', b'b'].map(|sender| {
                let socket = bound(ip, Duration::from_secs(20));
                for number in 0..EACH {
                    let query = format!("{}{number}", char::from(sender));
                    socket.send_to(query.as_bytes(), to).unwrap();
                }
                (sender, socket)
            });
            let (mut batch, mut count) = (Batch::default(), 0);
            while count < 2 * EACH {
                batch.receive(&server).unwrap();
                batch.answer(&server, |query, _, out| {
                    count += 1;
                    // One gets none.
                    if query != b"a7" {
                        out.extend_from_slice(query);
                    }
                });
            }
            for (sender, socket) in senders {
                let missing = usize::from(sender == b'a');
                let mut answers = BTreeSet::new();
                for _ in 0..EACH - missing {
                    let mut answer = [0; 9];
                    let len = socket.recv(&mut answer).unwrap();
                    assert_eq!(answer[0], sender);
                    answers.insert(answer[..len].to_vec());
                }
                assert_eq!(answers.len(), EACH - missing);
            }
        }
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let server = bound("127.0.0.1", Duration::from_secs(20));
        let to = server.local_addr().unwrap();
        send_now(&server, &[7; 3000], to).unwrap();
        let mut batch = Batch::default();
        batch.receive(&server).unwrap();
        let mut len = 0;
        batch.answer(&server, |query, _, _| len = query.len());
        assert_eq!(len, RECEIVED);
    }

    #[test]
    fn waiting_ends() {
        let server = bound("127.0.0.1", Duration::from_millis(1));
        let error = Batch::default().receive(&server).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
