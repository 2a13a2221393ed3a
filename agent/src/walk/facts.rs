// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the platform says about the zone, by `mdata-get` and `zonename`.

use std::collections::HashMap;
use std::net::IpAddr;

use serde_json::Value;
use tracing::warn;

use super::{NoRole, parse_role};
use crate::config::ConfigFile;
use crate::discovery::ZoneFacts;
use crate::host::Host;
use crate::metadata::auto::MdataFacts;
use crate::model::dns::SecondaryZone;
use crate::model::{Caps, Flavor, Role};

/// What is asked of `mdata-get`.
const KEYS: [&str; 12] = [
    "sdc:nics",
    "sdc:tags.manta_role",
    "sdc:tags.smartdc_role",
    "sdc:server_uuid",
    "sdc:datacenter_name",
    "sdc:owner_uuid",
    "sdc:resolvers",
    "sdc:max_physical_memory",
    "sdc:cpu_cap",
    "sdc:quota",
    "sapi-url",
    "SAPI_URL",
];

/// The zone as the platform knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// SAPI instance uuid: the zone's name, or what the configuration says.
    pub instance: String,
    /// What `auto.*` is made of.
    pub mdata: MdataFacts,
    /// What the zone is for, or why that is unknown.
    pub role: Result<Role, NoRole>,
    /// Manta when the zone has a `manta_role` tag.
    pub flavor: Flavor,
    /// What discovery needs.
    pub zone: ZoneFacts,
    /// The zone's caps.
    pub caps: Caps,
    /// SAPI's base URL by metadata.
    pub sapi_url: Option<String>,
    /// Whether every tool answered, if only "not set".
    pub complete: bool,
}

impl Facts {
    /// Takes newer facts, unless a tool failed to tell some: a zone must not
    /// become another one by a hiccup.
    pub fn refresh(&mut self, fresh: Self) {
        if !fresh.complete {
            return;
        }
        self.mdata = fresh.mdata;
        self.role = fresh.role;
        self.flavor = fresh.flavor;
        self.caps = fresh.caps;
    }
}

/// Asks the platform, all keys at once. A key that is not set leaves its fact
/// unknown; so does a tool that fails, which the log and `complete` say.
pub async fn gather(host: &dyn Host, config: &ConfigFile) -> Facts {
    let asked =
        futures_util::future::join_all(KEYS.iter().map(|key| host.mdata(key)));
    let (zonename, answers) = futures_util::join!(host.zonename(), asked);
    let mut complete = true;
    let mut failed = |key: &str, error: crate::host::HostError| {
        complete = false;
        warn!(
            key,
            err.message = %crate::log::chain(&error),
            "could not read instance metadata"
        );
    };
    let zonename = zonename.unwrap_or_else(|error| {
        failed("zonename", error);
        String::new()
    });
    let mut known = HashMap::new();
    for (key, answer) in KEYS.iter().zip(answers) {
        match answer {
            Ok(Some(value)) if !value.is_empty() => {
                known.insert(*key, value);
            }
            Ok(_) => {}
            Err(error) => failed(key, error),
        }
    }
    let get = |key: &str| known.get(key).cloned();
    let nics = get("sdc:nics")
        .and_then(|text| serde_json::from_str::<Value>(&text).ok())
        .unwrap_or_default();
    let manta_role = get("sdc:tags.manta_role");
    let flavor =
        if manta_role.is_some() { Flavor::Manta } else { Flavor::Triton };
    let tag = match &config.role {
        Some(role) => Some(role.clone()),
        None => match manta_role {
            Some(role) => Some(role),
            None => get("sdc:tags.smartdc_role"),
        },
    };
    let sapi_url = match get("sapi-url") {
        Some(url) => Some(url),
        // Manta's spelling.
        None => get("SAPI_URL"),
    };
    let resolvers = get("sdc:resolvers").unwrap_or_default();
    let resolvers: Vec<IpAddr> =
        serde_json::from_str::<Vec<String>>(&resolvers)
            .unwrap_or_default()
            .iter()
            .filter_map(|ip| ip.parse().ok())
            .collect();
    // Assumed: the sdc: namespace has every property that vmadm(8) has, in
    // its units. A zone without a cap has none of these.
    let number = |key: &str| get(key)?.trim().parse::<u64>().ok();
    let caps = Caps {
        memory_bytes: number("sdc:max_physical_memory")
            .and_then(|mib| mib.checked_mul(1 << 20)),
        cpu_percent: number("sdc:cpu_cap")
            .filter(|percent| *percent > 0)
            .and_then(|percent| u32::try_from(percent).ok()),
        quota_bytes: number("sdc:quota")
            .filter(|gib| *gib > 0)
            .and_then(|gib| gib.checked_mul(1 << 30)),
    };
    Facts {
        caps,
        instance: config
            .instances
            .first()
            .cloned()
            .unwrap_or_else(|| zonename.clone()),
        role: parse_role(tag.as_deref()),
        flavor,
        zone: ZoneFacts {
            owner_uuid: get("sdc:owner_uuid"),
            network_uuid: outer_network(&nics),
            resolvers,
            admin_ip: admin_ip(&nics),
            reverse_zones: config.secondary.reverse_zones,
            zones: own_zones(config),
            forwards: config.forward.zones(),
        },
        sapi_url,
        mdata: MdataFacts {
            zonename,
            server_uuid: get("sdc:server_uuid"),
            datacenter_name: get("sdc:datacenter_name"),
            nics,
        },
        complete,
    }
}

/// The zones that the agent's file names; what is wrong with a key is said.
fn own_zones(config: &ConfigFile) -> Vec<SecondaryZone> {
    let (zones, problems) = config.secondary.zones();
    for problem in problems {
        warn!(
            err.message = %crate::log::chain(&problem),
            "primary left out"
        );
    }
    zones
}

/// The address of the admin NIC: CNS is on that network.
fn admin_ip(nics: &Value) -> Option<IpAddr> {
    nics.as_array()?.iter().find_map(|nic| {
        let tag = nic.get("nic_tag")?.as_str()?;
        let is_admin = tag == "admin" || tag.starts_with("admin_rack_");
        let ip = nic.get("ip")?.as_str()?.parse().ok()?;
        is_admin.then_some(ip)
    })
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
        assert_eq!(facts.zone.admin_ip, "10.9.0.9".parse().ok());
        assert_eq!(facts.zone.resolvers.len(), 2);
        let before = facts.clone();
        let mut hiccup = gather(&Fake::default(), &config).await;
        hiccup.complete = false;
        facts.refresh(hiccup);
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
        let unknown = parse_role(Some("nat")).unwrap_err().to_string();
        assert!(unknown.contains("\"nat\""), "{unknown}");
    }
}
