// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The exchange with one recursive resolver, done by hickory-resolver:
//! datagrams with retransmission, then TCP, equal questions merged.
//!
//! Used is its `NameServerPool`, which is what its `Resolver` is made of below
//! cache, search list and hosts file, with one name server in it. `Resolver`
//! itself would lose what we have to pass on: it follows an alias by another
//! query and forgets it when the end has no such record. One server, because
//! in a pool of several REFUSED or SERVFAIL from one ends the try for all;
//! turns, health and cache are the business of `forward.rs`.
//!
//! Two things are checked below hickory-resolver, where they can still be
//! seen: that a datagram is a response at all (there, any other with our id
//! ends the exchange), and that a response without records comes from a
//! server which knows or looks further.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use hickory_net::runtime::{
    DnsUdpSocket, RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime,
};
use hickory_net::xfer::{DnsExchange, DnsHandle, FirstAnswer};
use hickory_net::{DnsError as Told, NetError};
use hickory_proto::op::{
    DnsRequest, DnsRequestOptions, DnsResponse, Message, OpCode, Query,
    ResponseCode,
};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolverOpts,
};
use hickory_resolver::{
    ConnectionProvider, NameServerPool, PoolContext, TlsConfig,
};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::dns::error::DnsError;
use crate::dns::exchange::{UDP_PAYLOAD, is_about, local_for};

/// One recursive resolver.
pub(crate) struct Recursor {
    server: SocketAddr,
    pool: NameServerPool<Dialer>,
    options: DnsRequestOptions,
}

impl Recursor {
    /// Nothing is sent before the first question. `each`: when a try is given
    /// up at the latest; `active`: questions at a time over one connection.
    pub(crate) fn new(
        server: SocketAddr,
        source: Option<IpAddr>,
        each: Duration,
        active: usize,
    ) -> Self {
        let mut opts = ResolverOpts::default();
        opts.timeout = each;
        opts.num_concurrent_reqs = 1;
        opts.max_active_requests = active.max(1);
        // The system draws the port, as in `exchange.rs`.
        opts.os_port_selection = true;
        // Some resolvers, and binder always, take another case for another
        // name.
        opts.case_randomization = false;
        let bind_addr = source.map(|_| local_for(server, source));
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
            .map(|mut connection| {
                connection.port = server.port();
                connection.bind_addr = bind_addr;
                connection
            });
        let config =
            NameServerConfig::new(server.ip(), true, connections.to_vec());
        let tls = TlsConfig::new().expect("there is no TLS to set up");
        let context = Arc::new(PoolContext::new(opts, tls));
        let pool =
            NameServerPool::from_config([config], context, Dialer::default());
        let mut options = DnsRequestOptions::default();
        options.edns_payload_len = UDP_PAYLOAD;
        options.recursion_desired = true;
        Self { server, pool, options }
    }

    /// Asks within `limit`, TCP included. A reply of any rcode is a success;
    /// a lame one becomes SERVFAIL, so that the next server is asked. Of a
    /// reply without answers only rcode and authority section are kept.
    ///
    /// Errors: `Network`, `Silent`, `Message`.
    pub(crate) async fn ask(
        &self,
        name: Name,
        rtype: RecordType,
        limit: Duration,
    ) -> Result<Message, DnsError> {
        let server = self.server;
        let query = Query::query(name, rtype);
        let asking =
            self.pool.lookup(query.clone(), self.options).first_answer();
        let asked = timeout(limit, asking).await;
        let error = match asked.unwrap_or(Err(NetError::Timeout)) {
            Ok(response) => return Ok(response.into_message()),
            Err(error) => error,
        };
        match error {
            NetError::Dns(Told::ResponseCode(rcode)) => {
                Ok(reply(query, rcode, &[]))
            }
            NetError::Dns(Told::NoRecordsFound(none)) => {
                let authorities = none.authorities.as_deref();
                let authorities = authorities.unwrap_or_default();
                Ok(reply(query, none.response_code, authorities))
            }
            NetError::Timeout => Err(DnsError::Silent { server, limit }),
            NetError::Io(error) => Err(DnsError::Network {
                server,
                source: io::Error::new(error.kind(), error),
            }),
            NetError::Busy | NetError::NoConnections => {
                let source = io::Error::other(error);
                Err(DnsError::Network { server, source })
            }
            error => Err(DnsError::Message { server, source: error.into() }),
        }
    }
}

/// A response without answers, put together again.
fn reply(query: Query, rcode: ResponseCode, authorities: &[Record]) -> Message {
    let mut reply = Message::response(0, OpCode::Query);
    reply.metadata.response_code = rcode;
    reply.add_query(query);
    reply.add_authorities(authorities.iter().cloned());
    reply
}

/// Opens connections that look at what they receive.
#[derive(Clone, Default)]
struct Dialer(Sockets);

impl ConnectionProvider for Dialer {
    type Conn = Wary;
    type FutureConn =
        Pin<Box<dyn Future<Output = Result<Wary, NetError>> + Send>>;
    type RuntimeProvider = Sockets;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        context: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        let connecting = self.0.new_connection(ip, config, context)?;
        Ok(Box::pin(async move { connecting.await.map(Wary) }))
    }

    fn runtime_provider(&self) -> &Sockets {
        &self.0
    }
}

#[derive(Clone)]
struct Wary(DnsExchange<Sockets>);

impl DnsHandle for Wary {
    type Response = BoxStream<'static, Result<DnsResponse, NetError>>;
    type Runtime = Sockets;

    fn send(&self, request: DnsRequest) -> Self::Response {
        let asked = request.queries.clone();
        let look = move |reply: Result<DnsResponse, NetError>| {
            let mut reply = reply?;
            // Over TCP only ids were compared so far.
            if !is_about(&reply, &asked) {
                let what = "the reply belongs to another question";
                return Err(NetError::Message(what));
            }
            if is_lame(&reply) {
                reply.metadata.response_code = ResponseCode::ServFail;
            }
            Ok(reply)
        };
        self.0.send(request).map(look).boxed()
    }
}

/// A server that neither knows nor looks further: a referral, or nothing.
fn is_lame(reply: &Message) -> bool {
    let head = &reply.metadata;
    let has_soa =
        || reply.authorities.iter().any(|r| matches!(r.data, RData::SOA(_)));
    head.response_code == ResponseCode::NoError
        && reply.answers.is_empty()
        && !head.truncation
        && !head.authoritative
        && !head.recursion_available
        && !has_soa()
}

/// Tokio's sockets, those for datagrams connected.
#[derive(Clone, Default)]
struct Sockets(TokioRuntimeProvider);

impl RuntimeProvider for Sockets {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = Line;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> TokioHandle {
        self.0.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        limit: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Tcp>>>> {
        self.0.connect_tcp(server, local, limit)
    }

    fn bind_udp(
        &self,
        local: SocketAddr,
        server: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Line>>>> {
        Box::pin(async move {
            let socket = UdpSocket::bind(local).await?;
            socket.connect(server).await?;
            Ok(Line { socket, server })
        })
    }
}

/// A connected socket: it drops datagrams from others and tells us of
/// refusals, which then need not be waited for.
struct Line {
    socket: UdpSocket,
    server: SocketAddr,
}

impl DnsUdpSocket for Line {
    type Time = TokioTime;

    // The trait is written with async-trait; this is its plain form. Written
    // again because a polled socket, unlike an awaited one, sleeps through
    // refusals: tokio wakes it for data only.
    fn recv_from<'a, 'b, 'f>(
        &'a self,
        buffer: &'b mut [u8],
    ) -> Pin<
        Box<dyn Future<Output = io::Result<(usize, SocketAddr)>> + Send + 'f>,
    >
    where
        'a: 'f,
        'b: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            loop {
                let len = self.socket.recv(buffer).await?;
                if is_response(&buffer[..len]) {
                    return Ok((len, self.server));
                }
            }
        })
    }

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut filled = ReadBuf::new(buffer);
        ready!(self.socket.poll_recv(cx, &mut filled))?;
        Poll::Ready(Ok((filled.filled().len(), self.server)))
    }

    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buffer: &[u8],
        _target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        // Not `sendto`: illumos refuses that on a connected socket.
        self.socket.poll_send(cx, buffer)
    }
}

/// QR set, opcode QUERY (RFC 1035 §4.1.1).
fn is_response(datagram: &[u8]) -> bool {
    datagram.get(2).is_some_and(|flags| flags & 0b1111_1000 == 0b1000_0000)
}
