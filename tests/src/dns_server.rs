// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the DNS stand-ins share: the UDP and TCP loops, framing, EDNS and
//! truncation as the `mname` library of CNS and binder does them. What is
//! answered is left to each stand-in.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How long `mname` leaves a TCP connection idle before it sends FIN, and
/// then how long until it destroys the connection.
pub(crate) const TCP_IDLE: Duration = Duration::from_secs(5);

/// Largest UDP answer that `mname` sends to a client with EDNS.
pub(crate) const MNAME_UDP: u16 = 1470;

/// A message that is not taken off our hands in this time is given up.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// TCP connections served at once; the next one waits to be accepted.
const MAX_CONNECTIONS: usize = 64;

/// How a query came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// One datagram.
    Udp,
    /// A connection, two-byte framing.
    Tcp,
}

/// What goes out for one query.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Nothing, as if the query never came.
    Drop,
    /// These messages in order.
    Send(Vec<Message>),
    /// These messages, then the TCP connection is cut.
    SendAndCut(Vec<Message>),
}

impl Reply {
    /// The usual case: one message.
    pub(crate) fn one(message: Message) -> Self {
        Self::Send(vec![message])
    }
}

/// Decides what a server answers. Never waits.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one well-formed query.
    fn handle(
        &self,
        from: SocketAddr,
        transport: Transport,
        query: &Message,
    ) -> Reply;

    /// Takes a response that came to the UDP socket (to a NOTIFY of ours).
    fn response(&self, _from: SocketAddr, _response: &Message) {}

    /// Whether additional records of types unknown to `mname` make a query
    /// unreadable: true for CNS and binder.
    fn reads_like_mname(&self) -> bool {
        true
    }
}

/// Binds UDP and TCP to one free port of `ip`.
///
/// A port that is free for UDP may be taken for TCP, by any client on the
/// machine, so this tries again with another one. Errors: that of the last
/// of many tries, or any other than "in use" at once.
pub async fn bind_both(ip: IpAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = 100;
    loop {
        let udp = UdpSocket::bind((ip, 0)).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && tries > 0 =>
            {
                tries -= 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Serves both sockets until `stop`; then every connection is cut.
///
/// `tcp_idle`: time without a query before FIN, and again before the
/// connection is destroyed ([`TCP_IDLE`] in the real servers).
pub(crate) async fn serve<H: Handler>(
    handler: Arc<H>,
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
    tcp_idle: Duration,
    stop: CancellationToken,
) -> io::Result<()> {
    // Both loops are dropped on stop; a JoinSet dropped aborts its tasks.
    tokio::select! {
        done = serve_udp(&handler, &udp) => done,
        done = serve_tcp(&handler, &tcp, tcp_idle) => done,
        () = stop.cancelled() => Ok(()),
    }
}

async fn serve_udp<H: Handler>(
    handler: &Arc<H>,
    socket: &UdpSocket,
) -> io::Result<()> {
    let mut buffer = vec![0_u8; usize::from(u16::MAX)];
    let mut failures = 0_u32;
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // ICMP errors of earlier sends come up here; a socket that
                // only fails is broken.
                failures += 1;
                if failures > 100 {
                    return Err(error);
                }
                continue;
            }
        };
        failures = 0;
        let Some(query) = read(handler.as_ref(), &buffer[..length]) else {
            debug!(%from, "unreadable datagram dropped");
            continue;
        };
        if query.metadata.message_type == MessageType::Response {
            handler.response(from, &query);
            continue;
        }
        let messages = match handler.handle(from, Transport::Udp, &query) {
            Reply::Drop => continue,
            Reply::Send(messages) | Reply::SendAndCut(messages) => messages,
        };
        for message in messages {
            if let Some(bytes) = fit_udp(&query, &message)
                && let Err(error) = socket.send_to(&bytes, from).await
            {
                debug!(%from, %error, "answer not sent");
            }
        }
    }
}

async fn serve_tcp<H: Handler>(
    handler: &Arc<H>,
    listener: &TcpListener,
    idle: Duration,
) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let permit = Arc::clone(&permits)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let handler = Arc::clone(handler);
        connections.spawn(async move {
            if let Err(error) =
                connection(handler.as_ref(), stream, from, idle).await
            {
                debug!(%from, %error, "connection ended");
            }
            drop(permit);
        });
    }
}

/// One connection: queries are answered one after the other, so a client's
/// half-close still gets all answers.
async fn connection<H: Handler>(
    handler: &H,
    mut stream: TcpStream,
    from: SocketAddr,
    idle: Duration,
) -> io::Result<()> {
    loop {
        let Ok(frame) = timeout(idle, read_frame(&mut stream)).await else {
            stream.shutdown().await?;
            let mut rest = [0_u8; 512];
            let drain = async {
                while stream.read(&mut rest).await? > 0 {}
                Ok(())
            };
            return timeout(idle, drain).await.unwrap_or(Ok(()));
        };
        let Some(bytes) = frame? else { return Ok(()) };
        let Some(query) = read(handler, &bytes) else { return Ok(()) };
        if query.metadata.message_type == MessageType::Response {
            continue;
        }
        let (messages, cut) = match handler.handle(from, Transport::Tcp, &query)
        {
            Reply::Drop => continue,
            Reply::Send(messages) => (messages, false),
            Reply::SendAndCut(messages) => (messages, true),
        };
        for message in messages {
            let bytes = message.to_vec().map_err(io::Error::other)?;
            write_frame(&mut stream, &bytes).await?;
        }
        if cut {
            return Ok(());
        }
    }
}

async fn read_frame(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut bytes = vec![0_u8; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    Ok(Some(bytes))
}

async fn write_frame(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(bytes);
    match timeout(WRITE_LIMIT, stream.write_all(&frame)).await {
        Ok(written) => written,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn read<H: Handler>(handler: &H, bytes: &[u8]) -> Option<Message> {
    let message = Message::from_vec(bytes).ok()?;
    let readable = !handler.reads_like_mname()
        || message
            .additionals
            .iter()
            .all(|record| mname_knows(record.record_type()));
    readable.then_some(message)
}

/// The record types `mname` can parse. Which ones beyond those CNS uses is
/// assumed; a signed query (TSIG) is known to pass.
fn mname_knows(record_type: RecordType) -> bool {
    use RecordType::{
        A, AAAA, CNAME, MX, NAPTR, NS, OPT, PTR, SOA, SRV, TSIG, TXT,
    };
    matches!(
        record_type,
        A | AAAA | CNAME | MX | NAPTR | NS | OPT | PTR | SOA | SRV | TSIG | TXT
    )
}

/// An empty NOERROR answer: ID, opcode, RD, AD, CD and question echoed, RA
/// and AA off, OPT with the smaller of the client's size and `udp_limit`.
pub(crate) fn answer_to(query: &Message, udp_limit: u16) -> Message {
    let asked = &query.metadata;
    let mut answer = Message::response(asked.id, asked.op_code);
    answer.metadata.recursion_desired = asked.recursion_desired;
    answer.metadata.authentic_data = asked.authentic_data;
    answer.metadata.checking_disabled = asked.checking_disabled;
    answer.queries = query.queries.clone();
    if let Some(theirs) = &query.edns {
        let mut ours = Edns::new();
        ours.set_max_payload(theirs.max_payload().min(udp_limit));
        answer.edns = Some(ours);
    }
    answer
}

/// [`answer_to`] with an error code.
pub(crate) fn error_to(query: &Message, code: ResponseCode) -> Message {
    let mut answer = answer_to(query, MNAME_UDP);
    answer.metadata.response_code = code;
    answer
}

/// Encodes for UDP. What exceeds the client's size (512 without EDNS) loses
/// all records, the OPT too, and gets TC. The question stays: assumed.
fn fit_udp(query: &Message, answer: &Message) -> Option<Vec<u8>> {
    let limit = match (&query.edns, &answer.edns) {
        (None, _) => 512,
        (Some(_), Some(ours)) => ours.max_payload().max(512),
        (Some(theirs), None) => theirs.max_payload().clamp(512, MNAME_UDP),
    };
    match answer.to_vec() {
        Ok(bytes) if bytes.len() <= usize::from(limit) => Some(bytes),
        _ => {
            let mut short =
                Message::response(answer.metadata.id, answer.metadata.op_code);
            short.metadata = answer.metadata;
            short.metadata.truncation = true;
            short.queries = answer.queries.clone();
            short.to_vec().ok()
        }
    }
}

/// A query name as text: no dot at the end, case kept.
pub(crate) fn text_of(name: &Name) -> String {
    let text = name.to_ascii();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

/// A DNS name from text, always absolute; `None` if it cannot be one.
pub(crate) fn name_of(text: &str) -> Option<Name> {
    Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).ok()
}
