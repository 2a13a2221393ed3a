// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Questions over one TLS connection (RFC 7858): opened with the first of
//! them, shared by all that are on their way, answers in any order, closed
//! when idle. A connection that the other end closed meanwhile is opened
//! again; never is anything asked in clear instead.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_proto::op::Message;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::dns::error::DnsError;
use crate::dns::exchange;

/// TCP and TLS together.
const OPENING: Duration = Duration::from_secs(3);
/// A connection without questions is closed after this; public resolvers do
/// it after 2 to 30 s (RFC 7858 §3.4 leaves it to them).
const IDLE: Duration = Duration::from_secs(10);
/// Questions waiting to be written.
const QUEUE: usize = 64;
/// Questions on their way over one connection; above, those that nobody waits
/// for are forgotten, then it is full.
const ON_THEIR_WAY: usize = 512;

/// How to speak TLS to one server: whom to trust, and for what name.
#[derive(Clone)]
pub(crate) struct Secure {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

/// The way to one server.
pub(crate) struct Pipe {
    secure: Secure,
    source: Option<IpAddr>,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
}

/// A question, and who waits for the reply.
struct Job {
    query: Message,
    reply: oneshot::Sender<Message>,
}

type Waiting = Arc<Mutex<HashMap<u16, Job>>>;

impl Pipe {
    pub(crate) fn new(secure: Secure, source: Option<IpAddr>) -> Self {
        Self { secure, source, jobs: Mutex::default() }
    }

    /// Asks; no time limit of its own.
    ///
    /// Errors: `Network`: also for a certificate that is not the server's.
    pub(crate) async fn ask(
        &self,
        server: SocketAddr,
        query: Message,
    ) -> Result<Message, DnsError> {
        if let Some(jobs) = self.open()
            && let Some(reply) = submit(&jobs, query.clone()).await
        {
            return Ok(reply);
        }
        // None yet, or closed by the other end.
        let stream = timeout(OPENING, self.connect(server)).await;
        let stream = stream
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| DnsError::Network { server, source })?;
        let jobs = self.start(stream);
        submit(&jobs, query).await.ok_or_else(|| DnsError::Network {
            server,
            source: io::ErrorKind::ConnectionReset.into(),
        })
    }

    fn open(&self) -> Option<mpsc::Sender<Job>> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.clone().filter(|jobs| !jobs.is_closed())
    }

    async fn connect(
        &self,
        server: SocketAddr,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        let stream = exchange::connect(server, self.source).await;
        let stream = stream.map_err(|error| match error {
            DnsError::Network { source, .. } => source,
            error => io::Error::other(error),
        })?;
        let connector = TlsConnector::from(Arc::clone(&self.secure.config));
        connector.connect(self.secure.name.clone(), stream).await
    }

    /// Lets a task keep the connection; it ends by itself, when idle at the
    /// latest.
    fn start<S>(&self, stream: S) -> mpsc::Sender<Job>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (jobs, queue) = mpsc::channel(QUEUE);
        tokio::spawn(keep(stream, queue));
        let mut now = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        *now = Some(jobs.clone());
        jobs
    }
}

/// `None` when the connection ended before the reply.
async fn submit(jobs: &mpsc::Sender<Job>, query: Message) -> Option<Message> {
    let (reply, waiting) = oneshot::channel();
    jobs.send(Job { query, reply }).await.ok()?;
    waiting.await.ok()
}

/// Writes and reads until one of both is over. What waits is let go with it.
async fn keep(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    queue: mpsc::Receiver<Job>,
) {
    let waiting = Waiting::default();
    let (mut reader, mut writer) = tokio::io::split(stream);
    // Both run to their ends, so neither is cut off within a message while
    // the connection goes on.
    tokio::select! {
        () = read(&mut reader, &waiting) => {}
        () = write(&mut writer, queue, &waiting) => {}
    }
}

async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    mut queue: mpsc::Receiver<Job>,
    waiting: &Waiting,
) {
    loop {
        let job = match timeout(IDLE, queue.recv()).await {
            Ok(Some(job)) => job,
            Ok(None) => return,
            Err(_) if is_idle(waiting) => return,
            Err(_) => continue,
        };
        let Some(framed) = enter(job, waiting) else { continue };
        let writing = async {
            writer.write_all(&framed).await?;
            writer.flush().await
        };
        // A peer that reads nothing for so long is gone.
        if !matches!(timeout(IDLE, writing).await, Ok(Ok(()))) {
            return;
        }
    }
}

fn is_idle(waiting: &Waiting) -> bool {
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.retain(|_, job| !job.reply.is_closed());
    waiting.is_empty()
}

/// Gives the question an id that none on its way has; its bytes, framed
/// (RFC 1035 §4.2.2).
fn enter(mut job: Job, waiting: &Waiting) -> Option<Vec<u8>> {
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    if waiting.len() >= ON_THEIR_WAY {
        waiting.retain(|_, job| !job.reply.is_closed());
        if waiting.len() >= ON_THEIR_WAY {
            return None;
        }
    }
    while waiting.contains_key(&job.query.metadata.id) {
        job.query.metadata.id = exchange::random_id();
    }
    let bytes = job.query.to_vec().ok()?;
    let len = u16::try_from(bytes.len()).ok()?;
    waiting.insert(job.query.metadata.id, job);
    Some([&len.to_be_bytes()[..], &bytes].concat())
}

/// Hands replies out; one that nobody asked for is passed over.
async fn read(reader: &mut (impl AsyncRead + Unpin), waiting: &Waiting) {
    // For errors, which nobody sees.
    let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut buffer = Vec::new();
    loop {
        let read = exchange::receive_bytes(nobody, reader, &mut buffer).await;
        if read.is_err() {
            return;
        }
        let Ok(reply) = Message::from_vec(&buffer) else { return };
        let mut waiting =
            waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let id = reply.metadata.id;
        let ours = waiting
            .get(&id)
            .is_some_and(|job| exchange::answers(&reply, &job.query));
        if ours && let Some(job) = waiting.remove(&id) {
            // Who gave up does not listen.
            let _ = job.reply.send(reply);
        }
    }
}
