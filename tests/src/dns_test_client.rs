// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A plain DNS client for the tests of the stand-ins: what is on the wire,
//! no judgement, no retries.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::RecordType;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::dns_server::name_of;

/// No reply within this time is taken for silence.
const SILENCE: Duration = Duration::from_millis(300);
/// Anything that must come does so within this time.
const LIMIT: Duration = Duration::from_secs(10);

/// A query with RD, without EDNS.
pub(crate) fn query(name: &str, record_type: RecordType) -> Message {
    let id = fastrand::u16(..);
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name_of(name).unwrap(), record_type));
    message
}

/// The first reply over UDP; one must come.
pub(crate) async fn ask(at: SocketAddr, query: &Message) -> Message {
    let reply = exchange(at, query, LIMIT).await;
    Message::from_vec(&reply.expect("no reply")).unwrap()
}

/// Whether no reply comes over UDP.
pub(crate) async fn is_silent(at: SocketAddr, query: &Message) -> bool {
    exchange(at, query, SILENCE).await.is_none()
}

async fn exchange(
    at: SocketAddr,
    query: &Message,
    limit: Duration,
) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&query.to_vec().unwrap(), at).await.unwrap();
    let mut bytes = vec![0; 65_535];
    let length = timeout(limit, socket.recv(&mut bytes)).await.ok()?;
    bytes.truncate(length.ok()?);
    Some(bytes)
}

/// The first reply over TCP; `None` if the connection ends instead.
pub(crate) async fn ask_tcp(
    at: SocketAddr,
    query: &Message,
) -> Option<Message> {
    let mut client = Client::connect(at, "127.0.0.1").await;
    client.send(query).await;
    client.read().await.ok()
}

/// A TCP connection that reads message by message.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    /// Connects from a given loopback address.
    pub(crate) async fn connect(at: SocketAddr, from: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        Self(socket.connect(at).await.unwrap())
    }

    pub(crate) async fn send(&mut self, query: &Message) {
        let bytes = query.to_vec().unwrap();
        let length = u16::try_from(bytes.len()).unwrap();
        self.0.write_all(&length.to_be_bytes()).await.unwrap();
        self.0.write_all(&bytes).await.unwrap();
    }

    pub(crate) async fn read(&mut self) -> io::Result<Message> {
        let frame = async {
            let length = self.0.read_u16().await?;
            let mut bytes = vec![0; usize::from(length)];
            self.0.read_exact(&mut bytes).await?;
            Ok(Message::from_vec(&bytes).unwrap())
        };
        timeout(LIMIT, frame).await.expect("nothing comes")
    }

    /// Messages until the first one's SOA has come again at the end of one.
    pub(crate) async fn transfer(&mut self) -> io::Result<Vec<Message>> {
        let mut messages = vec![self.read().await?];
        let soa = messages[0].answers.first().cloned();
        let mut seen = messages[0].answers.len();
        while soa.is_some()
            && (seen < 2
                || messages.last().unwrap().answers.last() != soa.as_ref())
        {
            let next = self.read().await?;
            seen += next.answers.len();
            messages.push(next);
        }
        Ok(messages)
    }
}
