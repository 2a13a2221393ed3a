// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One question to one server, one answer back: UDP first, TCP when the
//! answer was cut short. Knows nothing of zones, health or caching.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

use super::error::DnsError;

/// The agreed UDP size (RFC 6891 as practised since 2020).
pub(crate) const UDP_PAYLOAD: u16 = 1232;
/// Without EDNS an answer over UDP has this many bytes (RFC 1035 §4.2.1).
const PLAIN_LIMIT: usize = 512;

/// Bytes an answer over UDP may have for who says by EDNS that it takes
/// `size`, or says nothing.
pub(crate) fn udp_limit(size: Option<usize>) -> usize {
    size.unwrap_or(PLAIN_LIMIT).clamp(PLAIN_LIMIT, UDP_PAYLOAD.into())
}

/// A query with a fresh random id, RD set, EDNS with the agreed size.
pub(crate) fn query(name: Name, rtype: RecordType) -> Message {
    // hickory draws the id from a cryptographic generator.
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, rtype));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD);
    message.set_edns(edns);
    message
}

/// Asks `server` within `limit`, TCP included. Any well-formed reply with our
/// id and question is a success, whatever its rcode. `source` is the local
/// address to ask from, where one is wanted.
///
/// Errors: `Network`, `Silent`, `Message`.
#[cfg(test)]
pub(crate) async fn ask(
    server: SocketAddr,
    source: Option<IpAddr>,
    query: &Message,
    limit: Duration,
) -> Result<Message, DnsError> {
    let asking = async {
        let accepts = |reply: &Message| answers(reply, query);
        let (reply, _) = ask_udp(server, source, query, limit, accepts).await?;
        if reply.metadata.truncation {
            return ask_tcp(server, source, query).await;
        }
        Ok(reply)
    };
    timeout(limit, asking)
        .await
        .map_err(|_| DnsError::Silent { server, limit })?
}

/// One datagram, sent again after `resend`, twice that and so on, until
/// `accepts` takes a reply; how often it was sent comes with it. No time limit
/// of its own.
///
/// Errors: `Network`, `Message`.
pub(crate) async fn ask_udp(
    server: SocketAddr,
    source: Option<IpAddr>,
    query: &Message,
    resend: Duration,
    mut accepts: impl FnMut(&Message) -> bool,
) -> Result<(Message, u32), DnsError> {
    let network = |source| DnsError::Network { server, source };
    // Port 0: the system draws a random one.
    let socket = connect_udp(server, source).await?;
    let bytes = encode(server, query)?;
    let mut buffer = vec![0; 4096];
    let mut wait = resend;
    for sent in 1_u32.. {
        socket.send(&bytes).await.map_err(network)?;
        let receiving = async {
            loop {
                let len = socket.recv(&mut buffer).await.map_err(network)?;
                // Not ours, or not DNS: late or forged. Keep waiting.
                if let Ok(reply) = Message::from_vec(&buffer[..len])
                    && accepts(&reply)
                {
                    return Ok(reply);
                }
            }
        };
        if let Ok(received) = timeout(wait, receiving).await {
            return received.map(|reply| (reply, sent));
        }
        wait = wait.saturating_mul(2);
    }
    Err(DnsError::Silent { server, limit: wait })
}

/// The same question over a connection of its own. No time limit of its own.
///
/// Errors: `Network`, `Message`; also when the reply is another question's.
pub(crate) async fn ask_tcp(
    server: SocketAddr,
    source: Option<IpAddr>,
    query: &Message,
) -> Result<Message, DnsError> {
    let mut stream = connect(server, source).await?;
    send(server, &mut stream, query).await?;
    let reply = receive(server, &mut stream).await?;
    if !answers(&reply, query) {
        return Err(DnsError::Message {
            server,
            source: "the reply belongs to another question".into(),
        });
    }
    Ok(reply)
}

/// Whether `reply` is a response to exactly `query`. Names compare without
/// case: some servers lower it. A failure may come without the question.
pub(crate) fn answers(reply: &Message, query: &Message) -> bool {
    reply.metadata.id == query.metadata.id
        && reply.metadata.message_type == MessageType::Response
        && reply.metadata.op_code == query.metadata.op_code
        && is_about(reply, &query.queries)
}

/// Whether `reply` repeats what was asked, as far as it has to.
pub(crate) fn is_about(reply: &Message, asked: &[Query]) -> bool {
    reply.queries == asked || reply.queries.is_empty() && is_failure(reply)
}

fn is_failure(reply: &Message) -> bool {
    !matches!(
        reply.metadata.response_code,
        ResponseCode::NoError | ResponseCode::NXDomain
    )
}

/// A TCP connection from `source`, if given. No time limit of its own.
pub(crate) async fn connect(
    server: SocketAddr,
    source: Option<IpAddr>,
) -> Result<TcpStream, DnsError> {
    let connecting = async {
        let socket = match server {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if source.is_some() {
            match socket.bind(local_for(server, source)) {
                Err(error) if !is_gone(&error) => return Err(error),
                // Gone: the system chooses.
                _ => {}
            }
        }
        let stream = socket.connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    connecting.await.map_err(|source| DnsError::Network { server, source })
}

/// A UDP socket from `source`, if given; connected, so that it drops
/// datagrams from others and tells us of refusals.
pub(crate) async fn connect_udp(
    server: SocketAddr,
    source: Option<IpAddr>,
) -> Result<UdpSocket, DnsError> {
    let connecting = async {
        let socket = match UdpSocket::bind(local_for(server, source)).await {
            Err(error) if source.is_some() && is_gone(&error) => {
                UdpSocket::bind(local_for(server, None)).await?
            }
            bound => bound?,
        };
        socket.connect(server).await?;
        Ok(socket)
    };
    connecting.await.map_err(|source| DnsError::Network { server, source })
}

/// An address that the zone no longer has: its NIC changed. To ask from
/// another one beats not asking; CNS may refuse it, and says so.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
}

/// Sends a message in TCP framing (RFC 1035 §4.2.2).
pub(crate) async fn send(
    server: SocketAddr,
    stream: &mut TcpStream,
    message: &Message,
) -> Result<(), DnsError> {
    send_bytes(server, stream, &encode(server, message)?).await
}

/// The same with the message's bytes.
pub(crate) async fn send_bytes(
    server: SocketAddr,
    stream: &mut TcpStream,
    bytes: &[u8],
) -> Result<(), DnsError> {
    let len = u16::try_from(bytes.len())
        .map_err(|error| DnsError::Message { server, source: error.into() })?;
    let mut framed = Vec::with_capacity(2 + bytes.len());
    framed.extend_from_slice(&len.to_be_bytes());
    framed.extend_from_slice(bytes);
    stream
        .write_all(&framed)
        .await
        .map_err(|source| DnsError::Network { server, source })
}

/// Receives a message of up to 65,535 bytes. Not cancel-safe: drop the stream
/// with it.
pub(crate) async fn receive(
    server: SocketAddr,
    stream: &mut TcpStream,
) -> Result<Message, DnsError> {
    let mut bytes = Vec::new();
    receive_bytes(server, stream, &mut bytes).await?;
    Message::from_vec(&bytes)
        .map_err(|error| DnsError::Message { server, source: error.into() })
}

/// The same as bytes, into `buffer`, whose content goes.
pub(crate) async fn receive_bytes<S: AsyncRead + Unpin>(
    server: SocketAddr,
    stream: &mut S,
    buffer: &mut Vec<u8>,
) -> Result<(), DnsError> {
    let reading = async {
        let len = stream.read_u16().await?;
        buffer.resize(usize::from(len), 0);
        stream.read_exact(buffer).await
    };
    reading
        .await
        .map(|_| ())
        .map_err(|source| DnsError::Network { server, source })
}

/// A random message id, from the generator that hickory draws it from.
pub(crate) fn random_id() -> u16 {
    Message::query().metadata.id
}

fn encode(server: SocketAddr, message: &Message) -> Result<Vec<u8>, DnsError> {
    message
        .to_vec()
        .map_err(|error| DnsError::Message { server, source: error.into() })
}

/// `source` where it is of the server's family, any address otherwise.
pub(crate) fn local_for(
    server: SocketAddr,
    source: Option<IpAddr>,
) -> SocketAddr {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let ip = source.filter(|ip| ip.is_ipv4() == any.is_ipv4()).unwrap_or(any);
    SocketAddr::new(ip, 0)
}
