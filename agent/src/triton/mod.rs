// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One typed client per Triton API; no policy here. Every call has a limit on
//! connecting, on the whole exchange and on the size of the answer.

pub mod cmon;
pub mod cnapi;
pub mod cns;
pub mod fwapi;
pub mod imgapi;
pub mod job;
pub mod napi;
pub mod papi;
pub mod prometheus;
pub mod sapi;
pub mod vmapi;

mod answer;
mod api;
mod connect;
mod retry;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

pub use self::answer::{Answer, ApiError, Cause, Started};
use self::connect::Connector;
pub(crate) use self::retry::Tries;

/// A connection not used for this long is closed. Above the longest pause
/// between two polls of the default interval, and that of Node's servers.
const IDLE_TIMEOUT: Duration = Duration::from_secs(240);

/// What is read of a body that says why not, bytes.
const MAX_ERROR: usize = 64 << 10;

/// What we call ourselves.
pub const AGENT_NAME: &str =
    concat!("triton-monitoring/", env!("CARGO_PKG_VERSION"));

/// Looks up a host name: the embedded name server in a zone, the system's
/// resolver elsewhere.
pub type Lookup = Arc<
    dyn Fn(
            String,
        ) -> futures_util::future::BoxFuture<
            'static,
            Result<Vec<std::net::IpAddr>, String>,
        > + Send
        + Sync,
>;

/// The whole exchange did not end in time.
#[derive(Debug, thiserror::Error)]
#[error("timed out after {0:?}")]
struct TimedOut(Duration);

/// A connection-reusing HTTP client with limits. Follows no redirect and no
/// proxy of the environment: everything asked lives on the admin network.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client<Connector, Full<Bytes>>,
    timeout: Duration,
    retries: bool,
}

impl Http {
    /// A client whose exchanges take `timeout` at most, for plain HTTP, which
    /// is what the APIs speak.
    pub fn new(timeout: Duration, lookup: Option<Lookup>) -> Self {
        Self::over(connect::plain(timeout, lookup), timeout)
    }

    /// A client for `https` URLs too, whose servers must show a certificate
    /// that this system trusts: the updates server.
    ///
    /// Errors: `Client`, when the system's authorities cannot be read.
    pub fn trusting_system(
        timeout: Duration,
        lookup: Option<Lookup>,
    ) -> Result<Self, ApiError> {
        let config = tls::trusting_system().map_err(ApiError::Client)?;
        Ok(Self::over(connect::with_tls(config, timeout, lookup), timeout))
    }

    /// A client for `https` URLs too, whose servers may show any certificate:
    /// for questions that carry no secret and whose answers nobody acts on
    /// but by looking, as whether a zone is well.
    pub fn trusting_anyone(timeout: Duration) -> Self {
        let config = tls::trusting_anyone();
        Self::over(connect::with_tls(config, timeout, None), timeout)
    }

    /// The same client, connections included, with another limit on the whole
    /// exchange: for calls that hold the answer back until a job has ended.
    pub fn lasting(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// The same client for verbs, which nobody runs again by themselves: what
    /// changes nothing, or sets what it is given, is tried again where it
    /// failed in passing. All tries share the limit on one exchange. Loops
    /// have a pace of their own, and must not pile up on an API that is slow.
    pub fn retrying(&self) -> Self {
        Self { retries: true, ..self.clone() }
    }

    /// The same client, which asks once, where also silence is an answer.
    pub fn once(&self) -> Self {
        Self { retries: false, ..self.clone() }
    }

    fn over(connector: Connector, timeout: Duration) -> Self {
        let client = Client::builder(TokioExecutor::new())
            // One connection a host is kept between calls: half of a quiet
            // poll's cost would be connecting anew. One that the server has
            // closed meanwhile is noticed before it is used.
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { client, timeout, retries: false }
    }

    /// `GET url` with headers; the body up to `limit` bytes.
    pub async fn get(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        limit: usize,
    ) -> Result<Answer, ApiError> {
        self.send(Method::GET, url, headers, None, limit, true).await
    }

    /// `GET url`, a body of any length written to `sink` as it comes; the
    /// time limit is for each part. An answer other than 200 is the error.
    pub async fn copy(
        &self,
        url: &str,
        sink: &mut (dyn std::io::Write + Send),
    ) -> Result<(), ApiError> {
        let no_answer = |source: Cause| ApiError::no_answer(url, source);
        let late = || no_answer(TimedOut(self.timeout).into());
        let request = request(Method::GET, url, &[], None)
            .map_err(|error| no_answer(error.into()))?;
        let sent = timeout(self.timeout, self.client.request(request))
            .await
            .map_err(|_| late())?;
        let response = sent.map_err(|error| no_answer(error.into()))?;
        let mut answer = Answer::head(&response);
        let mut body = response.into_body();
        loop {
            let frame = timeout(self.timeout, body.frame());
            let Some(frame) = frame.await.map_err(|_| late())? else { break };
            let frame = frame.map_err(|error| no_answer(error.into()))?;
            let Ok(chunk) = frame.into_data() else { continue };
            if answer.status == 200 {
                sink.write_all(&chunk)
                    .map_err(|error| no_answer(error.into()))?;
            } else if answer.body.len() < MAX_ERROR {
                answer.body.extend_from_slice(&chunk);
            }
        }
        match answer.status {
            200 => Ok(()),
            _ => Err(answer.error(url)),
        }
    }

    /// `POST url` with headers and without a body.
    pub async fn post_with(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        limit: usize,
    ) -> Result<Answer, ApiError> {
        self.send(Method::POST, url, headers, None, limit, false).await
    }

    /// `POST url` with a body of JSON, or none.
    pub async fn post(
        &self,
        url: &str,
        body: Option<&serde_json::Value>,
        limit: usize,
    ) -> Result<Answer, ApiError> {
        self.send(Method::POST, url, &[], body, limit, false).await
    }

    /// `again`: it may be made twice, as what it does is then the same.
    async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&serde_json::Value>,
        limit: usize,
        again: bool,
    ) -> Result<Answer, ApiError> {
        let retries = again && self.retries;
        let all = async {
            let mut tries = Tries::within(self.timeout);
            loop {
                let done = self.exchange(&method, url, headers, body, limit);
                let done = done.await;
                if !(retries && passes(&done) && tries.another().await) {
                    return done;
                }
            }
        };
        let late =
            |_| Err(ApiError::no_answer(url, TimedOut(self.timeout).into()));
        let done = timeout(self.timeout, all).await.unwrap_or_else(late);
        match retries {
            true => done.map(Answer::spent).map_err(ApiError::spent),
            false => done,
        }
    }

    async fn exchange(
        &self,
        method: &Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&serde_json::Value>,
        limit: usize,
    ) -> Result<Answer, ApiError> {
        let no_answer = |source: Cause| ApiError::no_answer(url, source);
        let request = request(method.clone(), url, headers, body)
            .map_err(|error| no_answer(error.into()))?;
        let sent = self.client.request(request).await;
        let response = sent.map_err(|error| no_answer(error.into()))?;
        let mut answer = Answer::head(&response);
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| no_answer(error.into()))?;
            // Trailers carry nothing of ours.
            let Ok(chunk) = frame.into_data() else { continue };
            if answer.body.len() + chunk.len() > limit {
                return Err(ApiError::too_large(url, limit));
            }
            answer.body.extend_from_slice(&chunk);
        }
        Ok(answer)
    }
}

fn passes(done: &Result<Answer, ApiError>) -> bool {
    match done {
        Ok(answer) => answer::passes(answer.status),
        Err(error) => error.is_passing(),
    }
}

fn request(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<&serde_json::Value>,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let mut request = Request::builder()
        .method(method)
        .uri(url)
        .header(USER_AGENT, AGENT_NAME);
    let mut accepts = false;
    for (name, value) in headers {
        accepts |= ACCEPT == *name;
        request = request.header(*name, *value);
    }
    if !accepts {
        request = request.header(ACCEPT, "*/*");
    }
    match body {
        None => request.body(Full::default()),
        Some(body) => request
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(body.to_string())),
    }
}
