// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the platform says about the zone, by `mdata-get` and `zonename`.

use std::net::IpAddr;

use serde_json::Value;
use tracing::warn;

use super::parse_role;
use crate::config::ConfigFile;
use crate::discovery::ZoneFacts;
use crate::host::Host;
use crate::metadata::auto::MdataFacts;
use crate::model::{Flavor, Role};

/// The zone as the platform knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// SAPI instance uuid: the zone's name, or what the configuration says.
    pub instance: String,
    /// What `auto.*` is made of.
    pub mdata: MdataFacts,
    /// What the zone is for, or why that is unknown.
    pub role: Result<Role, String>,
    /// Manta when the zone has a `manta_role` tag.
    pub flavor: Flavor,
    /// What discovery needs.
    pub zone: ZoneFacts,
    /// SAPI's base URL by metadata.
    pub sapi_url: Option<String>,
}

impl Facts {
    /// Takes newer facts; what could not be read this time stays.
    pub fn refresh(&mut self, fresh: Self) {
        if fresh.mdata.zonename.is_empty() || fresh.mdata.nics.is_null() {
            return;
        }
        self.mdata = fresh.mdata;
        self.role = fresh.role;
        self.flavor = fresh.flavor;
    }
}

/// Asks the platform. A key that is not set, or a tool that fails, leaves
/// its fact unknown; the log says so.
pub async fn gather(host: &dyn Host, config: &ConfigFile) -> Facts {
    let get = async |key: &str| match host.mdata(key).await {
        Ok(value) => value.filter(|value| !value.is_empty()),
        Err(error) => {
            warn!(
                key,
                err.message = %crate::log::chain(&error),
                "could not read instance metadata"
            );
            None
        }
    };
    let zonename = host.zonename().await.unwrap_or_else(|error| {
        warn!(
            err.message = %crate::log::chain(&error),
            "could not read the zone's name"
        );
        String::new()
    });
    let nics = get("sdc:nics")
        .await
        .and_then(|text| serde_json::from_str::<Value>(&text).ok())
        .unwrap_or_default();
    let manta_role = get("sdc:tags.manta_role").await;
    let flavor =
        if manta_role.is_some() { Flavor::Manta } else { Flavor::Triton };
    let tag = match &config.role {
        Some(role) => Some(role.clone()),
        None => match manta_role {
            Some(role) => Some(role),
            None => get("sdc:tags.smartdc_role").await,
        },
    };
    let sapi_url = match get("sapi-url").await {
        Some(url) => Some(url),
        // Manta's spelling.
        None => get("SAPI_URL").await,
    };
    let resolvers = get("sdc:resolvers").await.unwrap_or_default();
    let resolvers: Vec<IpAddr> =
        serde_json::from_str::<Vec<String>>(&resolvers)
            .unwrap_or_default()
            .iter()
            .filter_map(|ip| ip.parse().ok())
            .collect();
    Facts {
        instance: config
            .instances
            .first()
            .cloned()
            .unwrap_or_else(|| zonename.clone()),
        role: parse_role(tag.as_deref()),
        flavor,
        zone: ZoneFacts {
            owner_uuid: get("sdc:owner_uuid").await,
            network_uuid: outer_network(&nics),
            resolvers,
        },
        sapi_url,
        mdata: MdataFacts {
            zonename,
            server_uuid: get("sdc:server_uuid").await,
            datacenter_name: get("sdc:datacenter_name").await,
            nics,
        },
    }
}

/// The network of the first NIC that CNS would list: neither admin nor manta.
fn outer_network(nics: &Value) -> Option<String> {
    nics.as_array()?.iter().find_map(|nic| {
        let tag = nic.get("nic_tag")?.as_str()?;
        let inner = tag == "admin"
            || tag == "manta"
            || tag.starts_with("admin_rack_")
            || tag.starts_with("manta_rack_");
        let network = nic.get("network_uuid")?.as_str()?;
        (!inner).then(|| network.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::host::fake::Fake;

    #[tokio::test]
    async fn facts_come_from_mdata_and_are_kept_when_it_fails() {
        let host = Fake::default();
        host.set_mdata("sdc:uuid", "c0000000-0000-4000-8000-000000000001");
        host.set_mdata("sdc:tags.smartdc_role", "prometheus");
        host.set_mdata("sdc:resolvers", r#"["10.9.0.5","192.0.2.53"]"#);
        host.set_mdata("sapi-url", "http://sapi.dc1.t.test");
        let nics = json!([
            {"nic_tag": "admin", "ip": "10.9.0.9", "network_uuid": "n1"},
            {"nic_tag": "external", "ip": "192.0.2.9", "network_uuid": "n2"},
        ]);
        host.set_mdata("sdc:nics", &nics.to_string());
        let config = ConfigFile::default();
        let mut facts = gather(&host, &config).await;
        assert_eq!(facts.role, Ok(Role::Prometheus));
        assert_eq!(facts.flavor, Flavor::Triton);
        assert_eq!(facts.zone.network_uuid.as_deref(), Some("n2"));
        assert_eq!(facts.zone.resolvers.len(), 2);
        let before = facts.clone();
        let nothing = gather(&Fake::default(), &config).await;
        facts.refresh(nothing);
        assert_eq!(facts, before);
    }

    #[tokio::test]
    async fn a_manta_tag_makes_a_manta_zone() {
        let host = Fake::default();
        host.set_mdata("sdc:tags.manta_role", "prometheus");
        host.set_mdata("SAPI_URL", "http://sapi.m.test");
        let facts = gather(&host, &ConfigFile::default()).await;
        assert_eq!(facts.flavor, Flavor::Manta);
        assert_eq!(facts.sapi_url.as_deref(), Some("http://sapi.m.test"));
        assert!(parse_role(Some("nat")).unwrap_err().contains("\"nat\""));
    }
}
