// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the zone's Alertmanager says of itself, and the one thing that people
//! tell it: silences.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::WorldError;
use super::daemons::get;

/// A client for the Alertmanager of one zone.
#[derive(Clone, Debug)]
pub struct Alertmanager {
    http: reqwest::Client,
    address: SocketAddr,
}

/// What a member knows of its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its own name; the members notify in the order of these.
    pub name: String,
    /// `settling`, `ready` or `disabled`.
    pub status: String,
    /// Names of the members it sees, its own among them, in order.
    pub members: Vec<String>,
}

impl Alertmanager {
    pub(super) fn new(http: reqwest::Client, address: SocketAddr) -> Self {
        Self { http, address }
    }

    /// The cluster as this member sees it.
    pub async fn cluster(&self) -> Result<Cluster, WorldError> {
        let cluster = self.status().await?["cluster"].take();
        let text =
            |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut members: Vec<String> =
            texts(&cluster["peers"], |peer| text(&peer["name"]));
        members.sort();
        Ok(Cluster {
            name: text(&cluster["name"]),
            status: text(&cluster["status"]),
            members,
        })
    }

    /// Its configuration, passwords struck out.
    pub async fn config(&self) -> Result<String, WorldError> {
        let status = self.status().await?;
        let text = status["config"]["original"].as_str();
        Ok(text.unwrap_or_default().to_owned())
    }

    /// Names of the alerts it knows that are neither over nor silenced.
    pub async fn alerts(&self) -> Result<Vec<String>, WorldError> {
        let url = self.url("alerts?silenced=false");
        let alerts: Value = get(&self.http, url).await?;
        Ok(texts(&alerts, |alert| {
            alert["labels"]["alertname"].as_str().unwrap_or("").to_owned()
        }))
    }

    /// Silences an alert for an hour from now; returns the silence's id.
    pub async fn silence(&self, alert: &str) -> Result<String, WorldError> {
        let url = self.url("silences");
        let now = OffsetDateTime::now_utc();
        let time = |at: OffsetDateTime| {
            at.format(&Rfc3339).expect("the year has four digits")
        };
        let body = json!({
            "matchers": [{"name": "alertname", "value": alert,
                "isRegex": false, "isEqual": true}],
            "startsAt": time(now),
            "endsAt": time(now + Duration::from_secs(3600)),
            "createdBy": "localdc", "comment": "a test",
        });
        let failed = |source| WorldError::Http { url: url.clone(), source };
        let sent = self.http.post(&url).json(&body).send().await;
        let text = sent.map_err(failed)?.text().await.map_err(failed)?;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        match answer["silenceID"].as_str() {
            Some(id) => Ok(id.to_owned()),
            None => Err(WorldError::Answer { url, answer: text }),
        }
    }

    /// Ids of the silences in force.
    pub async fn silences(&self) -> Result<Vec<String>, WorldError> {
        let all: Value = get(&self.http, self.url("silences")).await?;
        let active = |one: &Value| one["status"]["state"] == "active";
        let list = all.as_array().into_iter().flatten();
        Ok(list
            .filter(|one| active(one))
            .filter_map(|one| one["id"].as_str().map(str::to_owned))
            .collect())
    }

    async fn status(&self) -> Result<Value, WorldError> {
        get(&self.http, self.url("status")).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/api/v2/{path}", self.address)
    }
}

fn texts(list: &Value, text: impl Fn(&Value) -> String) -> Vec<String> {
    list.as_array().into_iter().flatten().map(text).collect()
}
