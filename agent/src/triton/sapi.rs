// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! SAPI: the merged configuration of one instance.

use serde_json::{Map, Value};

use super::{ApiError, Http};

/// A configuration larger than this is none, bytes.
const BODY_LIMIT: usize = 64 << 20;

/// SAPI at one base URL.
#[derive(Clone, Debug)]
pub struct Sapi {
    http: Http,
    url: String,
}

/// What `GET /configs/:uuid` said.
#[derive(Debug)]
pub enum Config {
    /// 304: by its ETag nothing changed, which may be wrong.
    NotModified,
    /// 200: the body and its ETag.
    Body {
        /// The JSON text.
        body: Vec<u8>,
        /// To send back verbatim.
        etag: Option<String>,
    },
}

impl Sapi {
    /// SAPI at `url`, for instance `http://sapi.dc1.example.com`.
    pub fn new(http: Http, url: &str) -> Self {
        Self { http, url: url.trim_end_matches('/').to_owned() }
    }

    /// The base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The configuration of `instance`; conditional when `etag` is given.
    ///
    /// Errors: `Status` for anything but 200 and 304, `Body` for what cannot
    /// be a configuration.
    pub async fn config(
        &self,
        instance: &str,
        etag: Option<&str>,
        request_id: &str,
    ) -> Result<Config, ApiError> {
        let url = format!("{}/configs/{instance}", self.url);
        let mut headers = vec![
            ("accept", "application/json"),
            ("accept-version", "~2"),
            ("x-request-id", request_id),
        ];
        if let Some(etag) = etag {
            headers.push(("if-none-match", etag));
        }
        let answer = self.http.get(&url, &headers, BODY_LIMIT).await?;
        match answer.status {
            // A wildcard name may lead to somebody's web server: unmask it.
            200 if !is_object(&answer.body) => {
                answer.json::<Map<String, Value>>(&url)?;
                Err(answer.error(&url))
            }
            200 => Ok(Config::Body { body: answer.body, etag: answer.etag }),
            304 if etag.is_some() => Ok(Config::NotModified),
            _ => Err(answer.error(&url)),
        }
    }
}

fn is_object(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{")
}
