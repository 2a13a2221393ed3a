// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! FWAPI: firewall rules, which apply to zones by owner and tag.
//!
//! Source: sdc-fwapi, docs/index.md and lib/endpoints/rules/index.js.

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::api::{Api, lenient};
use super::{ApiError, Http};

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Rule {
    /// Uuid.
    pub uuid: Uuid,
    /// What it says, as FWAPI writes it: not always as it was given.
    pub rule: String,
    /// Whether it is in force.
    #[serde(default, deserialize_with = "lenient")]
    pub enabled: bool,
    /// Account whose zones it is for.
    #[serde(default, deserialize_with = "lenient")]
    pub owner_uuid: Option<Uuid>,
    /// For every account's zones.
    #[serde(default, deserialize_with = "lenient")]
    pub global: bool,
    /// What people should know of it.
    #[serde(default, deserialize_with = "lenient")]
    pub description: String,
}

/// A rule of one account to be, in force at once.
#[derive(Clone, Copy, Debug)]
pub struct NewRule<'a> {
    /// Account whose zones it is for.
    pub owner_uuid: Uuid,
    /// What it says: `FROM subnet 192.0.2.0/24 TO tag "manta_role" =
    /// "prometheus" ALLOW tcp PORT 9090`.
    pub rule: &'a str,
    /// What people should know of it.
    pub description: &'a str,
}

/// FWAPI at one base URL.
#[derive(Clone, Debug)]
pub struct Fwapi {
    api: Api,
}

impl Fwapi {
    /// FWAPI at `url`, for instance `http://fwapi.dc1.example.com`.
    pub fn new(http: Http, url: &str) -> Self {
        Self { api: Api::new(http, url, None) }
    }

    /// Whether it answers and has what it needs. FWAPI says 200 either way.
    pub async fn ping(&self) -> Result<bool, ApiError> {
        let (_, said) = self.api.ping().await?;
        Ok(said["healthy"] == true)
    }

    /// The rules of an account that name this tag on either side, as
    /// `smartdc_role`, or all of its rules; global ones are left out.
    pub async fn rules(
        &self,
        owner: Uuid,
        tag: Option<&str>,
    ) -> Result<Vec<Rule>, ApiError> {
        let uuid = owner.to_string();
        let mut query = vec![("owner_uuid", &*uuid)];
        query.extend(tag.map(|tag| ("tag", tag)));
        let mut found: Vec<Rule> = self.api.get("rules", &query).await?;
        found.retain(|rule| rule.owner_uuid == Some(owner));
        Ok(found)
    }

    /// A rule by uuid.
    pub async fn rule(&self, uuid: Uuid) -> Result<Option<Rule>, ApiError> {
        self.api.find(&format!("rules/{uuid}"), &[]).await
    }

    /// Creates a rule. Not to be repeated blindly: FWAPI would create another
    /// that says the same.
    ///
    /// Errors: `Status` 422 `InvalidParameters` with where the rule is wrong.
    pub async fn create(&self, new: &NewRule<'_>) -> Result<Rule, ApiError> {
        let body = json!({
            "enabled": true,
            "owner_uuid": new.owner_uuid,
            "rule": new.rule,
            "description": new.description,
        });
        self.api.send(Method::POST, "rules", &[], Some(&body)).await
    }

    /// Changes what a rule says.
    ///
    /// Errors: as `create`; 404 for one that is not there.
    pub async fn update(
        &self,
        uuid: Uuid,
        rule: &str,
    ) -> Result<Rule, ApiError> {
        self.put(uuid, &json!({"rule": rule})).await
    }

    /// Puts a rule in force, or out of it.
    pub async fn enable(
        &self,
        uuid: Uuid,
        enabled: bool,
    ) -> Result<Rule, ApiError> {
        self.put(uuid, &json!({"enabled": enabled})).await
    }

    /// Deletes a rule; false when there is none.
    pub async fn delete(&self, uuid: Uuid) -> Result<bool, ApiError> {
        self.api.delete(&format!("rules/{uuid}"), &[]).await
    }

    async fn put(&self, uuid: Uuid, change: &Value) -> Result<Rule, ApiError> {
        let path = format!("rules/{uuid}");
        self.api.set(Method::PUT, &path, &[], Some(change)).await
    }
}
