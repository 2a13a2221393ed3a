// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! PAPI: the sizes that zones are made by.
//!
//! Source: sdc-papi, docs/index.md and lib/papi.js.

use serde::Deserialize;
use uuid::Uuid;

use super::api::{Api, lenient};
use super::{ApiError, Http};

/// A package.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Package {
    /// Uuid: the `billing_id` of zones made by it.
    pub uuid: Uuid,
    /// Name: `sdc_1024`. Not unique.
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    /// Whether new zones may be made by it.
    #[serde(default, deserialize_with = "lenient")]
    pub active: bool,
    /// Memory, MiB.
    #[serde(default, deserialize_with = "lenient")]
    pub max_physical_memory: u64,
    /// Quota, MiB, where VMs have it in GiB.
    #[serde(default, deserialize_with = "lenient", rename = "quota")]
    pub quota_mib: u64,
}

/// PAPI at one base URL.
#[derive(Clone, Debug)]
pub struct Papi {
    api: Api,
}

impl Papi {
    /// PAPI at `url`, for instance `http://papi.dc1.example.com`.
    pub fn new(http: Http, url: &str) -> Self {
        Self { api: Api::new(http, url, None) }
    }

    /// Whether it answers and has its store. PAPI says 200 either way, and
    /// `backend: down` where it has not.
    pub async fn ping(&self) -> Result<bool, ApiError> {
        let (_, said) = self.api.ping().await?;
        Ok(said["backend"] == "up")
    }

    /// The packages of exactly this name, inactive ones too. Asked for by
    /// name, an asterisk would be a wildcard.
    pub async fn packages(&self, name: &str) -> Result<Vec<Package>, ApiError> {
        let mut found: Vec<Package> =
            self.api.get("packages", &[("name", name)]).await?;
        found.retain(|package| package.name == name);
        Ok(found)
    }

    /// A package by uuid.
    pub async fn package(
        &self,
        uuid: Uuid,
    ) -> Result<Option<Package>, ApiError> {
        self.api.find(&format!("packages/{uuid}"), &[]).await
    }
}
