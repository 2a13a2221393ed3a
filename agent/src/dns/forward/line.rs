// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Questions to one server by TLS (RFC 7858), through a pool of
//! hickory-resolver with this server alone: it opens the connection with the
//! first question, shares it among all that are on their way, and opens it
//! again when the other end has closed it. Its only way is TLS, so never is
//! anything asked in clear instead.
//!
//! Four things it leaves to us. A burst of questions before there is a
//! connection would open one for each: the first goes alone. A question that
//! is given up tells it nothing about the connection: each goes on to its end
//! without its asker, and a pool that was silent or broke is replaced. It
//! turns replies without records into errors: we turn them back. And it says
//! "no connections" whatever broke: the cause is noted as it passes.
//!
//! It sends no server name with TLS (SNI), so a server that has several
//! certificates shows its default one, which must then be for the name given.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hickory_net::NetError;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::xfer::{DnsExchange, DnsHandle, FirstAnswer};
use hickory_net::{DnsError as Said, NoRecords};
use hickory_proto::op::{
    DnsRequest, DnsRequestOptions, Message, OpCode, ResponseCode,
};
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolverOpts,
};
use hickory_resolver::{
    ConnectionProvider, NameServerPool, PoolContext, TlsConfig,
};
use rustls::ClientConfig;
use tokio::sync::{Mutex as Turns, Semaphore};
use tokio::time::timeout;

use crate::dns::error::DnsError;
use crate::dns::exchange;

/// TCP, TLS and the reply together; above what any asker waits. Who is silent
/// for so long is asked over a new connection next time.
const WHOLE: Duration = Duration::from_secs(3);
/// Questions on their way to one server.
const ON_THEIR_WAY: usize = 512;

/// How to speak TLS to one server: whom to trust, and for what name.
#[derive(Clone)]
pub(crate) struct Secure {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: Arc<str>,
}

/// The way to one server.
#[derive(Clone)]
pub(crate) struct Line(Arc<Inner>);

struct Inner {
    secure: Secure,
    server: SocketAddr,
    source: Option<IpAddr>,
    room: Arc<Semaphore>,
    now: Mutex<Option<Arc<Connected>>>,
}

/// One pool, which keeps one connection.
struct Connected {
    pool: NameServerPool<Noting>,
    cause: Cause,
    /// Something came back.
    proven: AtomicBool,
    turns: Turns<()>,
}

impl Line {
    pub(crate) fn new(
        server: SocketAddr,
        secure: Secure,
        source: Option<IpAddr>,
    ) -> Self {
        Self(Arc::new(Inner {
            secure,
            server,
            source,
            room: Arc::new(Semaphore::new(ON_THEIR_WAY)),
            now: Mutex::default(),
        }))
    }

    /// Asks. The question goes on to its end when nobody waits any more.
    ///
    /// Errors: `Network`: also for a certificate that is not the server's;
    /// `Message`.
    pub(crate) async fn ask(
        &self,
        query: Message,
    ) -> Result<Message, DnsError> {
        let server = self.0.server;
        let network = |source: io::Error| DnsError::Network { server, source };
        // That we ask too much is no fault of the server: who waits in vain
        // ends in silence, not in an error.
        let permit = Arc::clone(&self.0.room)
            .acquire_owned()
            .await
            .map_err(|closed| network(io::Error::other(closed)))?;
        let inner = Arc::clone(&self.0);
        let asking = tokio::spawn(async move {
            let _permit = permit;
            let reply = inner.ask(&query).await?;
            if exchange::is_about(&reply, &query.queries) {
                return Ok(reply);
            }
            let source = "the reply belongs to another question".into();
            Err(DnsError::Message { server, source })
        });
        asking.await.unwrap_or_else(|gone| Err(network(io::Error::other(gone))))
    }
}

impl Inner {
    async fn ask(&self, query: &Message) -> Result<Message, DnsError> {
        let (proven, error) = match self.once(query, self.source).await {
            Ok(reply) => return Ok(reply),
            Err(failed) => failed,
        };
        let source = match &error {
            // The zone has this address no more: the system chooses.
            NetError::Io(cause)
                if cause.kind() == io::ErrorKind::AddrNotAvailable =>
            {
                None
            }
            // Closed by the other end, as it may when idle; several, if they
            // were opened at a time.
            _ if error.is_connection_closed() && proven => self.source,
            _ => return Err(self.failure(error)),
        };
        let again = self.once(query, source).await;
        again.map_err(|(_, error)| self.failure(error))
    }

    /// With the error, whether the connection had proven itself before.
    async fn once(
        &self,
        query: &Message,
        source: Option<IpAddr>,
    ) -> Result<Message, (bool, NetError)> {
        let line = self.connected(source);
        let asking = line.ask(query);
        let reply = match timeout(WHOLE, asking).await {
            Ok(reply) => reply,
            Err(_) => Err(NetError::Timeout),
        };
        reply.map_err(|error| {
            self.drop_this(&line);
            (line.proven.load(Ordering::Relaxed), error)
        })
    }

    fn connected(&self, source: Option<IpAddr>) -> Arc<Connected> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(self.connect(source));
        Arc::clone(now.get_or_insert_with(new))
    }

    /// Opens nothing yet.
    fn connect(&self, source: Option<IpAddr>) -> Connected {
        let mut way = ConnectionConfig::tls(Arc::clone(&self.secure.name));
        way.port = self.server.port();
        way.bind_addr =
            source.map(|_| exchange::local_for(self.server, source));
        let server = NameServerConfig::new(self.server.ip(), true, vec![way]);
        let mut options = ResolverOpts::default();
        options.timeout = WHOLE;
        options.max_active_requests = ON_THEIR_WAY;
        let config = ClientConfig::clone(&self.secure.config);
        let context = PoolContext::new(options, TlsConfig { config });
        let cause = Cause::default();
        let provider = Noting {
            runtime: TokioRuntimeProvider::default(),
            cause: Arc::clone(&cause),
        };
        let context = Arc::new(context);
        Connected {
            pool: NameServerPool::from_config([server], context, provider),
            cause,
            proven: AtomicBool::new(false),
            turns: Turns::default(),
        }
    }

    /// The next question is the first of a new one.
    fn drop_this(&self, line: &Arc<Connected>) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.as_ref().is_some_and(|now| Arc::ptr_eq(now, line)) {
            *now = None;
        }
    }

    fn failure(&self, error: NetError) -> DnsError {
        let source = match error {
            NetError::Timeout => io::ErrorKind::TimedOut.into(),
            error => io::Error::other(error),
        };
        DnsError::Network { server: self.server, source }
    }
}

impl Connected {
    async fn ask(&self, query: &Message) -> Result<Message, NetError> {
        let mut turn = None;
        if !self.proven.load(Ordering::Relaxed) {
            turn = Some(self.turns.lock().await);
        }
        if self.proven.load(Ordering::Relaxed) {
            turn = None;
        }
        let options = DnsRequestOptions::default();
        let request = DnsRequest::new(query.clone(), options);
        let reply = self.pool.send(request).first_answer().await;
        let reply = match reply {
            Ok(reply) => reply.into_message(),
            Err(NetError::Dns(said)) => as_message(said, query)?,
            Err(NetError::NoConnections) => return Err(self.cause()),
            Err(error) => return Err(error),
        };
        self.proven.store(true, Ordering::Relaxed);
        drop(turn);
        Ok(reply)
    }

    /// Why it could not connect, or else that the connection broke.
    fn cause(&self) -> NetError {
        let mut cause =
            self.cause.lock().unwrap_or_else(PoisonError::into_inner);
        let reset = || io::Error::from(io::ErrorKind::ConnectionReset).into();
        cause.take().unwrap_or_else(reset)
    }
}

type Cause = Arc<Mutex<Option<NetError>>>;

/// Connects as hickory does, and notes why it could not.
#[derive(Clone)]
struct Noting {
    runtime: TokioRuntimeProvider,
    cause: Cause,
}

impl ConnectionProvider for Noting {
    type Conn = DnsExchange<TokioRuntimeProvider>;
    type FutureConn = BoxFuture<'static, Result<Self::Conn, NetError>>;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        cx: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        let connecting = self.runtime.new_connection(ip, config, cx)?;
        let cause = Arc::clone(&self.cause);
        Ok(Box::pin(async move {
            let connected = connecting.await;
            if let Err(error) = &connected {
                let mut cause =
                    cause.lock().unwrap_or_else(PoisonError::into_inner);
                *cause = Some(error.clone());
            }
            connected
        }))
    }

    fn runtime_provider(&self) -> &TokioRuntimeProvider {
        &self.runtime
    }
}

/// The reply that the pool made an error of, as far as it kept it.
fn as_message(said: Said, query: &Message) -> Result<Message, NetError> {
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    match said {
        Said::ResponseCode(code) => reply.metadata.response_code = code,
        Said::NoRecordsFound(none) => no_records(none, &mut reply),
        said => return Err(said.into()),
    }
    Ok(reply)
}

fn no_records(none: NoRecords, reply: &mut Message) {
    reply.metadata.response_code = none.response_code;
    // The flag is not kept. A server that points to others instead of
    // answering shows by their names.
    reply.metadata.recursion_available =
        none.ns.is_none() || none.response_code == ResponseCode::NXDomain;
    reply.add_query(*none.query);
    let authorities = none.authorities.unwrap_or_default();
    reply.add_authorities(authorities.iter().cloned());
}
