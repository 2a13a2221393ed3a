// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What one room is to another: a trait or a function of the one, filled in by
//! the other, where neither knows its fellow.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use crate::apply::commit::write_atomic;
use crate::apply::{DaemonHttp, HttpFuture};
use crate::dns::NamesHandle;
use crate::log::chain;
use crate::metadata::poll::{PollFuture, Polled, Source};
use crate::triton::sapi::{Config, Sapi};
use crate::triton::{ApiError, Http, Lookup};

/// What a daemon on loopback may take to answer a reload.
const DAEMON_TIMEOUT: Duration = Duration::from_secs(60);

/// What a daemon may say about a reload, bytes.
const DAEMON_ANSWER: usize = 64 << 10;

/// Host names through our own server, and through the system's resolver as
/// long as that one knows nothing yet.
pub(super) fn lookup(names: NamesHandle) -> Lookup {
    Arc::new(move |name| {
        let names = names.clone();
        async move {
            let own = names.lookup_ipv4(&name).await;
            match own {
                Ok(ips) => Ok(ips.into_iter().map(Into::into).collect()),
                Err(error) => {
                    let system = tokio::net::lookup_host((name.as_str(), 0));
                    match system.await {
                        Ok(found) => Ok(found.map(|a| a.ip()).collect()),
                        Err(_) => Err(chain(&error)),
                    }
                }
            }
        }
        .boxed()
    })
}

/// For the zone's own eyes.
pub(super) fn write_secret(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    write_atomic(path, bytes, 0o600)
}

/// SAPI as the poller sees it.
pub(super) struct SapiSource {
    pub(super) sapi: Sapi,
    pub(super) instance: String,
}

impl Source for SapiSource {
    fn poll<'a>(&'a self, etag: Option<&'a str>) -> PollFuture<'a> {
        Box::pin(async move {
            let request_id = uuid::Uuid::new_v4().to_string();
            let asked = self.sapi.config(&self.instance, etag, &request_id);
            match asked.await {
                Ok(Config::NotModified) => Ok(Polled::NotModified),
                Ok(Config::Body { body, etag }) => Ok(Polled::Body(body, etag)),
                Err(error) => Err(chain(&error)),
            }
        })
    }

    fn url(&self) -> &str {
        self.sapi.url()
    }
}

/// Daemons on loopback as `apply` sees them.
pub(super) struct LocalHttp(Http);

impl LocalHttp {
    pub(super) fn new() -> Self {
        Self(Http::new(DAEMON_TIMEOUT, None))
    }
}

impl DaemonHttp for LocalHttp {
    fn post<'a>(&'a self, url: &'a str) -> HttpFuture<'a> {
        Box::pin(
            async move { text(self.0.post(url, None, DAEMON_ANSWER).await) },
        )
    }

    fn get<'a>(&'a self, url: &'a str) -> HttpFuture<'a> {
        Box::pin(async move { text(self.0.get(url, &[], DAEMON_ANSWER).await) })
    }
}

fn text(
    answer: Result<crate::triton::Answer, ApiError>,
) -> Result<(u16, String), String> {
    match answer {
        Ok(answer) => Ok((
            answer.status,
            String::from_utf8_lossy(&answer.body).into_owned(),
        )),
        Err(error) => Err(chain(&error)),
    }
}
