// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One typed client per Triton API; no policy here. Every call has a limit on
//! connecting, on the whole exchange and on the size of the answer.

pub mod cmon;
pub mod cns;
pub mod sapi;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde::Deserialize;

/// Limit on connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What we call ourselves.
pub const USER_AGENT: &str =
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

/// Why an API did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The client could not be made.
    #[error("could not make an HTTP client")]
    Client(#[source] reqwest::Error),
    /// No whole answer within the limits.
    #[error("no answer from {url}")]
    NoAnswer {
        /// What was asked.
        url: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that is not the one wanted.
    #[error("{url} answered {status}{server}: {message}")]
    Status {
        /// What was asked.
        url: String,
        /// HTTP status.
        status: u16,
        /// ` from <Server header>`, which unmasks a foreign web server.
        server: String,
        /// `code: message` of the body as far as it has them.
        message: String,
    },
    /// The body is larger than any real one.
    #[error("{url} answered more than {limit} bytes")]
    TooLarge {
        /// What was asked.
        url: String,
        /// The limit, bytes.
        limit: usize,
    },
    /// The body is not what the API documents.
    #[error("{url} answered{server} what cannot be read")]
    Body {
        /// What was asked.
        url: String,
        /// ` from <Server header>`.
        server: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
}

/// A connection-reusing HTTP client with limits.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
}

/// An answer read whole.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Header `Etag`, verbatim: SAPI's has no quotes.
    pub etag: Option<String>,
    /// ` from <Server header>`, or nothing.
    pub server: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Http {
    /// A client whose exchanges take `timeout` at most. Proxies of the
    /// environment are ignored: everything asked lives on the admin network,
    /// where the APIs speak plain HTTP. So no authorities are read, which
    /// would cost more than all the rest of a start.
    pub fn new(
        timeout: Duration,
        lookup: Option<Lookup>,
    ) -> Result<Self, ApiError> {
        let builder = reqwest::Client::builder().tls_certs_only([]);
        Self::build(builder, timeout, lookup)
    }

    fn build(
        builder: reqwest::ClientBuilder,
        timeout: Duration,
        lookup: Option<Lookup>,
    ) -> Result<Self, ApiError> {
        // Already installed is as good; the provider is always ring.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = builder
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // Calls are far apart and all our APIs close idle connections:
            // none is kept. None lives long enough for probes either, and
            // every exchange has its limit.
            .pool_max_idle_per_host(0)
            .tcp_keepalive(None::<Duration>)
            .tcp_keepalive_interval(None::<Duration>)
            .tcp_keepalive_retries(None::<u32>);
        if let Some(lookup) = lookup {
            builder = builder.dns_resolver(Arc::new(Resolver(lookup)));
        }
        Ok(Self { client: builder.build().map_err(ApiError::Client)? })
    }

    /// `GET url` with headers; the body up to `limit` bytes.
    pub async fn get(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        limit: usize,
    ) -> Result<Answer, ApiError> {
        self.send(self.client.get(url), url, headers, limit).await
    }

    /// `POST url` with a body of JSON, or none.
    pub async fn post(
        &self,
        url: &str,
        body: Option<&serde_json::Value>,
        limit: usize,
    ) -> Result<Answer, ApiError> {
        let mut request = self.client.post(url);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.send(request, url, &[], limit).await
    }

    async fn send(
        &self,
        mut request: reqwest::RequestBuilder,
        url: &str,
        headers: &[(&str, &str)],
        limit: usize,
    ) -> Result<Answer, ApiError> {
        let no_answer = |source: reqwest::Error| ApiError::NoAnswer {
            url: url.to_owned(),
            source: source.without_url(),
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.map_err(no_answer)?;
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let mut answer = Answer {
            status: response.status().as_u16(),
            etag: header("etag"),
            server: header("server")
                .map(|name| format!(" from {name}"))
                .unwrap_or_default(),
            body: Vec::new(),
        };
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(no_answer)?;
            if answer.body.len() + chunk.len() > limit {
                return Err(ApiError::TooLarge { url: url.to_owned(), limit });
            }
            answer.body.extend_from_slice(&chunk);
        }
        Ok(answer)
    }
}

impl Answer {
    /// The body as JSON if the status is 200, else the API's own error.
    pub fn json<T: for<'de> Deserialize<'de>>(
        &self,
        url: &str,
    ) -> Result<T, ApiError> {
        if self.status != 200 {
            return Err(self.error(url));
        }
        serde_json::from_slice(&self.body).map_err(|source| ApiError::Body {
            url: url.to_owned(),
            server: self.server.clone(),
            source,
        })
    }

    /// The answer as an error. Bodies are restify's `{code, message}`, either
    /// of which may be missing, or empty.
    pub fn error(&self, url: &str) -> ApiError {
        #[derive(Deserialize)]
        struct Body {
            code: Option<String>,
            message: Option<String>,
        }
        let message = match serde_json::from_slice::<Body>(&self.body) {
            Ok(Body { code, message }) => {
                let parts: Vec<String> = [code, message]
                    .into_iter()
                    .flatten()
                    .filter(|part| !part.is_empty())
                    .collect();
                parts.join(": ")
            }
            Err(_) if self.body.is_empty() => "no body".to_owned(),
            Err(_) => "no API error in the body".to_owned(),
        };
        ApiError::Status {
            url: url.to_owned(),
            status: self.status,
            server: self.server.clone(),
            message,
        }
    }
}

struct Resolver(Lookup);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let looked_up = (self.0)(name.as_str().to_owned());
        Box::pin(async move {
            let addresses = looked_up.await?;
            let addresses: Vec<SocketAddr> = addresses
                .into_iter()
                .map(|ip| SocketAddr::new(ip, 0))
                .collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
