// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What each service is to be: the same objects in SAPI that sdcadm makes of
//! prometheus and grafana, so that the two tools can be mixed; thanos by
//! analogy. Pure.
//!
//! Source: sdcadm, lib/post-setup and lib/procedures/add-service.js.

use serde_json::{Map, Value, json};
use uuid::Uuid;

/// What a new zone does at boot; Triton's own does the same.
const USER_SCRIPT: &str = include_str!("../../../../boot/user-script.sh");

/// What can be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Service `prometheus`.
    Prometheus,
    /// Service `thanos`.
    Thanos,
    /// Service `grafana`.
    Grafana,
    /// Alertmanager in the zones of service `prometheus`: it has none of its
    /// own, as no alert should need another zone to be told.
    Alertmanager,
}

/// How a service's zones are made.
#[derive(Debug)]
pub struct Blueprint {
    /// Name of service and role.
    pub service: &'static str,
    /// Names its image may have.
    pub images: &'static [&'static str],
    /// Package, unless another is asked for.
    pub package: &'static str,
    /// Networks; `external` is the primary one.
    pub networks: &'static [&'static str],
    /// Whether the firewall is on. Closed then, but for what rules open.
    pub firewall: bool,
    /// Quota of a new zone where its package has less, GiB: all packages of
    /// Triton's own have 25, which metrics outgrow in days.
    pub quota_gib: u64,
    /// Services of `sdc` that must be there before.
    pub needs: &'static [&'static str],
    /// Whether zones get a NIC on network `manta`, where there is one.
    pub manta_nic: bool,
}

/// Network that all zones of Triton meet on; also its NIC tag.
pub(super) use crate::deploy::roster::ADMIN;
/// Manta's own; also its NIC tag.
pub(super) const MANTA: &str = "manta";
/// The network towards the world.
pub(super) const EXTERNAL: &str = "external";

const PROMETHEUS: Blueprint = Blueprint {
    service: "prometheus",
    images: &["mantav2-prometheus", "manta-prometheus"],
    package: "sdc_1024",
    // CNS lists no admin address of CMON: the way to it is outside.
    networks: &[ADMIN, EXTERNAL],
    firewall: true,
    quota_gib: 100,
    needs: &["cns", "cmon"],
    manta_nic: false,
};

const THANOS: Blueprint = Blueprint {
    service: "thanos",
    images: &["thanos"],
    package: "sdc_1024",
    networks: &[ADMIN],
    firewall: true,
    quota_gib: 100,
    needs: &["prometheus"],
    manta_nic: true,
};

const GRAFANA: Blueprint = Blueprint {
    service: "grafana",
    images: &["grafana"],
    package: "sdc_1024",
    networks: &[ADMIN, EXTERNAL],
    // People reach it from outside; nginx answers nobody who is not known.
    firewall: false,
    quota_gib: 25,
    needs: &[],
    manta_nic: true,
};

impl Target {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Thanos => "thanos",
            Self::Grafana => "grafana",
            Self::Alertmanager => "alertmanager",
        }
    }

    /// How the zones are made that it runs in.
    pub fn blueprint(self) -> &'static Blueprint {
        match self {
            Self::Prometheus | Self::Alertmanager => &PROMETHEUS,
            Self::Thanos => &THANOS,
            Self::Grafana => &GRAFANA,
        }
    }
}

impl Blueprint {
    /// VM parameters of the service.
    pub fn params(&self, image: Uuid, package: Uuid) -> Map<String, Value> {
        let network = |name: &&str| match *name {
            EXTERNAL => json!({"name": name, "primary": true}),
            _ => json!({"name": name}),
        };
        let networks: Vec<_> = self.networks.iter().map(network).collect();
        object(json!({
            "billing_id": package,
            "image_uuid": image,
            "archive_on_delete": true,
            "delegate_dataset": true,
            "maintain_resolvers": true,
            "networks": networks,
            "firewall_enabled": self.firewall,
            "tags": {"smartdc_role": self.service, "smartdc_type": "core"},
        }))
    }

    /// Its metadata, `domain` being `<datacenter>.<dns domain>`.
    pub fn metadata(&self, domain: &str) -> Map<String, Value> {
        object(json!({
            "SERVICE_NAME": self.service,
            "SERVICE_DOMAIN": format!("{}.{domain}", self.service),
            "user-script": USER_SCRIPT,
        }))
    }
}

/// The entries of a JSON object that is written out in the code.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(entries) => entries,
        _ => Map::new(),
    }
}
