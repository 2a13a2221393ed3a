// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Whether an instance is well, as the tools of Triton ask: one GET of its
//! admin address, answered 200.
//!
//! Source: sdcadm's ping tables (prometheus, grafana); Thanos' and
//! Alertmanager's own ports and paths for what sdcadm has none.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

use super::DeployError;
use crate::triton::{ApiError, Http};

/// How often a zone that is not well yet is asked again.
const EVERY: Duration = Duration::from_secs(1);
/// What is read of an answer, bytes.
const ANSWER: usize = 64 << 10;
/// The agent's own page: a bare answer on the admin network.
pub const AGENT_PORT: u16 = 9165;

/// Where a service of ours answers that it is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// `http` or `https`; of the latter any certificate will do.
    pub scheme: &'static str,
    /// Port of the admin address.
    pub port: u16,
    /// Path.
    pub path: &'static str,
}

impl Check {
    /// The check of a service by its name; `None` for one that is not ours.
    pub fn of(service: &str) -> Option<Self> {
        let (scheme, port, path) = match service {
            "prometheus" => ("http", 9090, "/-/healthy"),
            "thanos" => ("http", 10902, "/-/healthy"),
            "alertmanager" => ("http", 9093, "/-/healthy"),
            "grafana" => ("https", 443, "/ping"),
            _ => return None,
        };
        Some(Self { scheme, port, path })
    }

    /// The URL to be asked of an instance.
    pub fn url(&self, address: IpAddr) -> String {
        let to = SocketAddr::new(address, self.port);
        format!("{}://{to}{}", self.scheme, self.path)
    }

    /// Asks once.
    ///
    /// Errors: no answer, or one other than 200.
    pub async fn ask(
        &self,
        http: &Http,
        address: IpAddr,
    ) -> Result<(), ApiError> {
        let url = self.url(address);
        let answer = http.get(&url, &[], ANSWER).await?;
        match answer.status {
            200 => Ok(()),
            _ => Err(answer.error(&url)),
        }
    }

    /// Asks until it is well, `limit` at most.
    ///
    /// Errors: what was said last.
    pub async fn wait(
        &self,
        http: &Http,
        address: IpAddr,
        limit: Duration,
    ) -> Result<(), DeployError> {
        let end = Instant::now() + limit;
        loop {
            match self.ask(http, address).await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= end => {
                    return Err(DeployError::api("see it healthy")(error));
                }
                Err(_) => tokio::time::sleep(EVERY).await,
            }
        }
    }
}
