// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Whether an instance is well, as the tools of Triton ask: one GET of its
//! admin address, answered 200.
//!
//! Of a site's Thanos zones some may answer no query: those that only store,
//! compact or receive. Where nothing listens on Thanos' port the agent's word
//! counts, if it runs such a zone.
//!
//! Source: sdcadm's ping tables (prometheus, grafana); Thanos' and
//! Alertmanager's own ports and paths for what sdcadm has none.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

use super::DeployError;
use super::exposition::{Sample, Samples};
use crate::triton::{ApiError, Http};

/// How often a zone that is not well yet is asked again.
const EVERY: Duration = Duration::from_secs(1);
/// Where Thanos answers, and nothing of ours but Thanos.
const THANOS: u16 = 10902;
/// What is read of an answer, bytes.
const ANSWER: usize = 64 << 10;
/// What is read of the agent's metrics, bytes.
const METRICS: usize = 1 << 20;
/// Daemons that answer on Thanos' port.
const FRONTS: [&str; 3] =
    ["thanos-query", "thanos-query-frontend", "thanos-query-global"];
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
            "thanos" => ("http", THANOS, "/-/healthy"),
            "alertmanager" => ("http", 9093, "/-/healthy"),
            "grafana" => ("https", 443, "/ping"),
            _ => return None,
        };
        Some(Self { scheme, port, path })
    }

    /// Whether it also answers questions, where a service tells that apart.
    pub fn ready(self) -> Self {
        let path = match self.port {
            THANOS => "/-/ready",
            _ => self.path,
        };
        Self { path, ..self }
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
        let answer = match http.get(&url, &[], ANSWER).await {
            Ok(answer) => answer,
            Err(_)
                if self.port == THANOS
                    && runs_behind_fronts(http, address).await =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
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

/// Whether the agent of a zone says that it runs Thanos, none of whose daemons
/// answers queries, and that all run.
async fn runs_behind_fronts(http: &Http, address: IpAddr) -> bool {
    let agent = SocketAddr::new(address, AGENT_PORT);
    let url = format!("http://{agent}/metrics");
    match http.get(&url, &[], METRICS).await {
        Ok(answer) if answer.status == 200 => {
            all_run_behind_fronts(&String::from_utf8_lossy(&answer.body))
        }
        _ => false,
    }
}

fn all_run_behind_fronts(metrics: &str) -> bool {
    let Ok(samples) = Samples::parse(metrics) else { return false };
    let daemons = samples.all("config_agent_daemon_up");
    let name = |one: &Sample| one.labels.get("daemon").cloned();
    let names: Vec<String> = daemons.iter().filter_map(name).collect();
    names.iter().any(|name| name.starts_with("thanos-"))
        && !names.iter().any(|name| FRONTS.contains(&name.as_str()))
        && daemons.iter().all(|one| one.value == 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_word_counts_where_nothing_answers_queries() {
        let up = |all: &[(&str, u8)]| {
            let line = |(name, up): &(&str, u8)| {
                format!("config_agent_daemon_up{{daemon=\"{name}\"}} {up}\n")
            };
            all.iter().map(line).collect::<String>()
        };
        let well = |all: &[(&str, u8)]| all_run_behind_fronts(&up(all));
        assert!(well(&[("thanos-receive", 1)]));
        assert!(well(&[("thanos-store", 1), ("thanos-compact", 1)]));
        assert!(!well(&[("thanos-store", 1), ("thanos-compact", 0)]));
        // This one should have answered itself.
        assert!(!well(&[("thanos-store", 1), ("thanos-query", 1)]));
        assert!(!well(&[("prometheus", 1)]));
        assert!(!well(&[]));
        assert!(!all_run_behind_fronts("nonsense"));
    }
}
