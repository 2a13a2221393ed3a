// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One client's TCP connection: reads as much as there is, answers all whole
//! questions in it by the short way and writes these answers at once. What
//! takes the general way is answered when it is done, after others that came
//! later (RFC 7766 §6.2.1.1, §7).
//!
//! Bounded: what is read and not answered, what is answered and not taken,
//! questions on the general way, and the time for each of these. A client that
//! does not take its answers is not read from, and let go in the end.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::mem;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hickory_net::xfer::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::fast::Fast;
use super::front::Front;
use super::general::{self, Read};

/// Bytes of a header; what is shorter is no message.
const MIN_MESSAGE: usize = 12;
/// A question has a name of 255 bytes at most and a few options: who sends
/// more means no good.
const MAX_MESSAGE: usize = 4096;
/// Read ahead; more than a message and its length.
const INPUT: usize = 2 * MAX_MESSAGE;
/// Bytes of answers not yet taken, above which no question is looked at. The
/// last answer may exceed it by its own size.
const OUTPUT: usize = 64 << 10;
/// Questions on the general way; more of them wait.
const GENERAL: usize = 32;

type Answering = Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>>;

/// See the module.
pub(crate) struct Connection {
    stream: TcpStream,
    from: SocketAddr,
    front: Arc<Front>,
    fast: Fast,
    patience: Duration,
    /// More questions may come.
    open: bool,
    input: Vec<u8>,
    output: Output,
    general: FuturesUnordered<Answering>,
    /// When the client last said something, or was told something.
    since: Instant,
    /// When the message that is still on its way began to come.
    began: Option<Instant>,
}

impl Connection {
    pub(crate) fn new(
        stream: TcpStream,
        from: SocketAddr,
        front: Arc<Front>,
        patience: Duration,
    ) -> Self {
        let fast = Fast::new(Arc::clone(&front.names));
        let since = Instant::now();
        Self {
            stream,
            from,
            front,
            fast,
            patience,
            open: true,
            input: Vec::with_capacity(INPUT),
            output: Output { bytes: Vec::new(), taken: 0, since },
            general: FuturesUnordered::new(),
            since,
            began: None,
        }
    }

    /// Answers until the client is gone, silent for too long, or `stop` is
    /// called and nothing is owed any more.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut stopped = pin!(stop.cancelled());
        // Set again only when it rings: what began meanwhile ends later.
        let mut alarm = pin!(sleep(self.patience));
        loop {
            let full = self.take();
            if self.flush().is_err() || self.is_done() {
                return;
            }
            if full && self.has_room() {
                continue;
            }
            let reads = self.open && self.input.len() < INPUT;
            let room = self.output.has_room();
            let (mut reader, mut writer) = self.stream.split();
            // Cancel-safe: read and write do nothing unless they are ready;
            // futures that are not polled stay in their set.
            let goes_on = tokio::select! {
                read = reader.read_buf(&mut self.input), if reads => {
                    self.since = Instant::now();
                    self.open = matches!(read, Ok(1..));
                    read.is_ok()
                }
                wrote = writer.write(self.output.rest()),
                    if !self.output.is_empty() =>
                {
                    wrote.is_ok_and(|len| self.output.took(len))
                }
                Some(answer) = self.general.next(), if room => {
                    self.since = Instant::now();
                    answer.is_some_and(|answer| self.output.put(&answer))
                }
                () = &mut stopped, if self.open => {
                    self.open = false;
                    true
                }
                () = &mut alarm => {
                    let until = self.waits_until();
                    alarm.as_mut().reset(until);
                    until > Instant::now()
                }
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Answers whole questions. True when it ended for want of room.
    fn take(&mut self) -> bool {
        self.fast.refresh();
        let mut input = mem::take(&mut self.input);
        let mut at = 0;
        let full = loop {
            match next(&input[at..]) {
                Next::Whole(_) if !self.has_room() => break true,
                Next::Whole(message) => {
                    at += 2 + message.len();
                    self.answer(message);
                }
                Next::Partial => break false,
                Next::Nonsense => {
                    self.open = false;
                    at = input.len();
                    break false;
                }
            }
        };
        input.drain(..at);
        self.began = match input.is_empty() || full {
            true => None,
            false => self.began.filter(|_| at == 0).or(Some(Instant::now())),
        };
        self.input = input;
        full
    }

    fn has_room(&self) -> bool {
        self.output.has_room() && self.general.len() < GENERAL
    }

    fn answer(&mut self, query: &[u8]) {
        let Self { fast, output, .. } = self;
        if output.append(|out| fast.answer(query, true, out)) {
            return;
        }
        match general::read(query, self.from, Protocol::Tcp) {
            Read::Question(request) => {
                let front = Arc::clone(&self.front);
                self.general.push(Box::pin(async move {
                    general::answer(&front, &request).await
                }));
            }
            Read::Malformed(refusal) => {
                output.put(&refusal);
            }
            Read::Silence => {}
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        match self.stream.try_write(self.output.rest()) {
            Ok(len) => {
                self.output.took(len);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn is_done(&self) -> bool {
        !self.open && self.general.is_empty() && self.output.is_empty()
    }

    /// When patience ends with what is waited for now.
    fn waits_until(&self) -> Instant {
        let since = match self.began {
            _ if !self.output.is_empty() => self.output.since,
            Some(began) => began,
            // They have a limit of their own.
            None if !self.general.is_empty() => Instant::now(),
            None => self.since,
        };
        since + self.patience
    }
}

enum Next<'i> {
    Whole(&'i [u8]),
    Partial,
    /// No message has this length.
    Nonsense,
}

/// The first message, which has its length before it (RFC 1035 §4.2.2).
fn next(input: &[u8]) -> Next<'_> {
    let Some((len, rest)) = input.split_first_chunk() else {
        return Next::Partial;
    };
    let len = usize::from(u16::from_be_bytes(*len));
    if !(MIN_MESSAGE..=MAX_MESSAGE).contains(&len) {
        return Next::Nonsense;
    }
    rest.get(..len).map_or(Next::Partial, Next::Whole)
}

/// Answers on their way to the client, each with its length before it.
struct Output {
    bytes: Vec<u8>,
    /// How many of them it has.
    taken: usize,
    /// When it last took some, or when there began to be any.
    since: Instant,
}

impl Output {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn has_room(&self) -> bool {
        self.bytes.len() < OUTPUT
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    /// Lets `write` append an answer; as before when it does not, or when no
    /// length can say how long it is.
    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        let begin = self.bytes.len();
        if begin == 0 {
            self.since = Instant::now();
        }
        self.bytes.extend_from_slice(&[0; 2]);
        let wrote = write(&mut self.bytes);
        let len = u16::try_from(self.bytes.len() - begin - 2);
        match (wrote, len) {
            (true, Ok(len)) => {
                self.bytes[begin..begin + 2]
                    .copy_from_slice(&len.to_be_bytes());
                true
            }
            _ => {
                self.bytes.truncate(begin);
                false
            }
        }
    }

    fn put(&mut self, answer: &[u8]) -> bool {
        self.append(|out| {
            out.extend_from_slice(answer);
            true
        })
    }

    /// The client took `len` bytes more; false if none.
    fn took(&mut self, len: usize) -> bool {
        self.taken += len;
        if self.taken >= self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(OUTPUT);
            self.taken = 0;
        } else if len > 0 {
            self.since = Instant::now();
        }
        len > 0
    }
}

#[cfg(test)]
#[path = "tcp_tests.rs"]
mod tests;
