// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the zone's daemons say of themselves, asked through the forwarders:
//! Prometheus' HTTP API and the agent's status report. Alertmanager has a file
//! of its own.

use std::net::SocketAddr;
use std::time::Duration;

use monitoring_agent::status::StatusReport;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Alertmanager, WorldError};

/// Longest answer of a daemon.
const LIMIT: Duration = Duration::from_secs(20);

/// A client for the daemons of one zone.
#[derive(Clone, Debug)]
pub struct Daemons {
    http: reqwest::Client,
    prometheus: SocketAddr,
    status: SocketAddr,
    alertmanager: Alertmanager,
}

/// A pending or firing alert of Prometheus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Label `alertname`.
    pub name: String,
    /// Label `instance`, empty where there is none.
    pub instance: String,
    /// `pending` or `firing`.
    pub state: String,
}

/// An active target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Job name.
    pub job: String,
    /// `alias`, `hostname` or else `instance`: what a person calls it.
    pub name: String,
    /// URL scraped.
    pub url: String,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// Why not up; empty when it is.
    pub last_error: String,
}

impl Target {
    /// Whether its last scrape was good.
    pub fn is_up(&self) -> bool {
        self.health == "up"
    }
}

/// An answer of Prometheus' API.
#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Targets {
    active_targets: Vec<ActiveTarget>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ActiveTarget {
    labels: Map<String, Value>,
    scrape_pool: String,
    scrape_url: String,
    last_error: String,
    health: String,
}

impl Daemons {
    /// A client of the addresses.
    pub(super) fn new(
        prometheus: SocketAddr,
        status: SocketAddr,
        alertmanager: SocketAddr,
    ) -> Result<Self, WorldError> {
        // Whoever comes first installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(LIMIT)
            // A connection kept from before a restart would be a dead one.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|source| WorldError::Http {
                url: "127.0.0.1".to_owned(),
                source,
            })?;
        let alertmanager = Alertmanager::new(http.clone(), alertmanager);
        Ok(Self { http, prometheus, status, alertmanager })
    }

    /// The zone's Alertmanager, if it runs one.
    pub fn alertmanager(&self) -> &Alertmanager {
        &self.alertmanager
    }

    /// The HTTP client, for questions to stand-ins.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// All active targets by job and name.
    pub async fn targets(&self) -> Result<Vec<Target>, WorldError> {
        let all: Targets = self.api("targets?state=active").await?;
        let mut targets: Vec<Target> =
            all.active_targets.into_iter().map(Target::from).collect();
        targets.sort_by(|a, b| (&a.job, &a.name).cmp(&(&b.job, &b.name)));
        Ok(targets)
    }

    /// prometheus.yml as the running server has it.
    pub async fn config(&self) -> Result<String, WorldError> {
        let data: Map<String, Value> = self.api("status/config").await?;
        Ok(data["yaml"].as_str().unwrap_or_default().to_owned())
    }

    /// Command line flags of the running server.
    pub async fn flags(&self) -> Result<Map<String, Value>, WorldError> {
        self.api("status/flags").await
    }

    /// When the running server started, as it writes it.
    pub async fn start_time(&self) -> Result<String, WorldError> {
        let data: Map<String, Value> = self.api("status/runtimeinfo").await?;
        Ok(data["startTime"].as_str().unwrap_or_default().to_owned())
    }

    /// When the configuration was loaded last, as Prometheus writes it.
    pub async fn config_time(&self) -> Result<String, WorldError> {
        let data: Map<String, Value> = self.api("status/runtimeinfo").await?;
        Ok(data["lastConfigTime"].as_str().unwrap_or_default().to_owned())
    }

    /// Names of the rule groups in force.
    pub async fn rule_groups(&self) -> Result<Vec<String>, WorldError> {
        let data: Value = self.api("rules").await?;
        let all = data["groups"].as_array().into_iter().flatten();
        Ok(all
            .filter_map(|group| group["name"].as_str().map(str::to_owned))
            .collect())
    }

    /// Pending and firing alerts.
    pub async fn alerts(&self) -> Result<Vec<Alert>, WorldError> {
        let data: Value = self.api("alerts").await?;
        let all = data["alerts"].as_array().into_iter().flatten();
        let text =
            |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(all
            .map(|alert| Alert {
                name: text(&alert["labels"]["alertname"]),
                instance: text(&alert["labels"]["instance"]),
                state: text(&alert["state"]),
            })
            .collect())
    }

    /// The value that an expression has now, as Prometheus writes it; `None`
    /// unless it is that of one series.
    pub async fn value(
        &self,
        expression: &str,
    ) -> Result<Option<String>, WorldError> {
        let base = format!("http://{}/api/v1/query", self.prometheus);
        let url =
            reqwest::Url::parse_with_params(&base, [("query", expression)])
                .expect("an address makes a URL");
        let answer: Envelope<Value> = get(&self.http, url.into()).await?;
        let [series] = answer.data["result"]
            .as_array()
            .map_or([].as_slice(), Vec::as_slice)
        else {
            return Ok(None);
        };
        Ok(series["value"][1].as_str().map(str::to_owned))
    }

    /// The agent's report.
    pub async fn status(&self) -> Result<StatusReport, WorldError> {
        let url = format!("http://{}/status.json", self.status);
        get(&self.http, url).await
    }

    async fn api<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<T, WorldError> {
        let url = format!("http://{}/api/v1/{path}", self.prometheus);
        let envelope: Envelope<T> = get(&self.http, url).await?;
        Ok(envelope.data)
    }
}

/// Asks for JSON.
pub(super) async fn get<T: DeserializeOwned>(
    http: &reqwest::Client,
    url: String,
) -> Result<T, WorldError> {
    let failed = |source| WorldError::Http { url: url.clone(), source };
    let answer = http.get(&url).send().await.map_err(failed)?;
    let text = answer.text().await.map_err(failed)?;
    serde_json::from_str(&text).map_err(|_| WorldError::Answer {
        url,
        answer: text.chars().take(300).collect(),
    })
}

impl From<ActiveTarget> for Target {
    fn from(active: ActiveTarget) -> Self {
        let label = |name: &str| active.labels.get(name)?.as_str();
        let name = label("alias")
            .or(label("hostname"))
            .or(label("instance"))
            .unwrap_or_default()
            .to_owned();
        Self {
            job: active.scrape_pool,
            name,
            url: active.scrape_url,
            health: active.health,
            last_error: active.last_error,
        }
    }
}
