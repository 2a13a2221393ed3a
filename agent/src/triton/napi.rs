// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! NAPI: networks, and the NICs on them.
//!
//! Source: sdc-napi, docs/index.md and lib/models/{network,nic}.

use serde::Deserialize;
use uuid::Uuid;

use super::api::{Api, lenient};
use super::{ApiError, Http};

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Network {
    /// Uuid.
    pub uuid: Uuid,
    /// Name: `admin`, `external`, `manta`. Unique but for fabric networks.
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    /// NIC tag.
    #[serde(default, deserialize_with = "lenient")]
    pub nic_tag: String,
    /// CIDR: `192.0.2.0/24`.
    #[serde(default, deserialize_with = "lenient")]
    pub subnet: String,
    /// Gateway, if it has one.
    #[serde(default, deserialize_with = "lenient")]
    pub gateway: Option<String>,
    /// Resolvers given to zones whose primary NIC is on it.
    #[serde(default, deserialize_with = "lenient")]
    pub resolvers: Vec<String>,
    /// A customer's own network.
    #[serde(default, deserialize_with = "lenient")]
    pub fabric: bool,
}

/// A NIC.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Nic {
    /// MAC address with colons.
    pub mac: String,
    /// Address, if it has one.
    #[serde(default, deserialize_with = "lenient")]
    pub ip: Option<String>,
    /// NIC tag.
    #[serde(default, deserialize_with = "lenient")]
    pub nic_tag: String,
    /// Network, if it is on one.
    #[serde(default, deserialize_with = "lenient")]
    pub network_uuid: Option<Uuid>,
    /// The zone it belongs to, or server.
    #[serde(default, deserialize_with = "lenient")]
    pub belongs_to_uuid: Option<Uuid>,
    /// Whether it is the zone's first way out.
    #[serde(default, deserialize_with = "lenient")]
    pub primary: bool,
    /// `provisioning`, `running`, `stopped`.
    #[serde(default, deserialize_with = "lenient")]
    pub state: String,
}

/// NAPI at one base URL.
#[derive(Clone, Debug)]
pub struct Napi {
    api: Api,
}

impl Napi {
    /// NAPI at `url`, for instance `http://napi.dc1.example.com`.
    pub fn new(http: Http, url: &str) -> Self {
        Self { api: Api::new(http, url, None) }
    }

    /// Whether it answers and has its store. NAPI says 200 either way.
    pub async fn ping(&self) -> Result<bool, ApiError> {
        let (_, said) = self.api.ping().await?;
        Ok(said["healthy"] == true)
    }

    /// The networks of this name, fabric networks left out: customers name
    /// theirs as they like.
    pub async fn networks(&self, name: &str) -> Result<Vec<Network>, ApiError> {
        let query = [("name", name), ("fabric", "false")];
        let mut found: Vec<Network> = self.api.get("networks", &query).await?;
        found.retain(|network| network.name == name && !network.fabric);
        Ok(found)
    }

    /// A network by uuid.
    pub async fn network(
        &self,
        uuid: Uuid,
    ) -> Result<Option<Network>, ApiError> {
        self.api.find(&format!("networks/{uuid}"), &[]).await
    }

    /// The NICs of a zone.
    pub async fn nics(&self, zone: Uuid) -> Result<Vec<Nic>, ApiError> {
        let uuid = zone.to_string();
        let query = [("belongs_to_uuid", &*uuid), ("belongs_to_type", "zone")];
        let mut found: Vec<Nic> = self.api.get("nics", &query).await?;
        found.retain(|nic| nic.belongs_to_uuid == Some(zone));
        Ok(found)
    }
}
