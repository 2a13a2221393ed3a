// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! CNAPI: the servers that zones run on.
//!
//! Source: sdc-cnapi, lib/endpoints/servers.js and lib/models/server.js.

use serde::Deserialize;
use uuid::Uuid;

use super::api::{Api, lenient};
use super::{ApiError, Http};

/// Servers a page; CNAPI gives no more.
const PAGE: usize = 1000;

/// A server: the headnode or a compute node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Server {
    /// Uuid.
    pub uuid: Uuid,
    /// Host name.
    #[serde(default, deserialize_with = "lenient")]
    pub hostname: String,
    /// Whether Triton's own zones run on it.
    #[serde(default, deserialize_with = "lenient")]
    pub headnode: bool,
    /// Whether it can take zones.
    #[serde(default, deserialize_with = "lenient")]
    pub setup: bool,
    /// Kept from customers' zones, not from ours.
    #[serde(default, deserialize_with = "lenient")]
    pub reserved: bool,
    /// `running`, `unknown` (no heartbeat), `rebooting`.
    #[serde(default, deserialize_with = "lenient")]
    pub status: String,
    /// Memory, bytes.
    #[serde(default, deserialize_with = "lenient")]
    pub memory_total_bytes: u64,
    /// Memory that nobody uses now, bytes; zones may be promised it.
    #[serde(default, deserialize_with = "lenient")]
    pub memory_available_bytes: u64,
}

/// CNAPI at one base URL.
#[derive(Clone, Debug)]
pub struct Cnapi {
    api: Api,
}

impl Cnapi {
    /// CNAPI at `url`, for instance `http://cnapi.dc1.example.com`.
    pub fn new(http: Http, url: &str) -> Self {
        Self { api: Api::new(http, url, None) }
    }

    /// Whether it answers.
    pub async fn ping(&self) -> Result<(), ApiError> {
        self.api.is_well().await
    }

    /// All servers, also those not set up.
    ///
    /// Errors: `Status`; a refused parameter is a 409, and a 500 when it has
    /// the wrong form. `Endless` when a page repeats an earlier one.
    pub async fn servers(&self) -> Result<Vec<Server>, ApiError> {
        let limit = PAGE.to_string();
        let mut found: Vec<Server> = Vec::new();
        loop {
            let offset = found.len().to_string();
            let query =
                [("extras", "memory"), ("limit", &*limit), ("offset", &offset)];
            let page: Vec<Server> = self.api.get("servers", &query).await?;
            let known = |uuid| found.iter().any(|s| s.uuid == uuid);
            if page.first().is_some_and(|first| known(first.uuid)) {
                return Err(ApiError::endless(&self.api.at("servers", &query)));
            }
            let full = page.len() >= PAGE;
            found.extend(page);
            if !full {
                return Ok(found);
            }
        }
    }

    /// A server by uuid.
    pub async fn server(&self, uuid: Uuid) -> Result<Option<Server>, ApiError> {
        self.api.find(&format!("servers/{uuid}"), &[]).await
    }
}
