// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The steps of a plan: what each does, why, and what it disturbs. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::blueprint::MANTA;
use crate::triton::sapi::Instance;

/// A zone of ours, as people know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Uuid.
    pub uuid: Uuid,
    /// Alias.
    pub alias: String,
}

/// What an instance has of its own, over what its service says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// VM parameters.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// Metadata.
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

impl Own {
    /// That of an instance that is there.
    pub fn of(instance: &Instance) -> Self {
        let Instance { params, metadata, .. } = instance;
        Self { params: params.clone(), metadata: metadata.clone() }
    }

    /// The server that its zone was put on.
    pub fn server(&self) -> Option<Uuid> {
        let server = self.params.get("server_uuid").and_then(Value::as_str);
        server.and_then(|text| text.parse().ok())
    }
}

/// A zone to be.
#[derive(Clone, Debug, PartialEq)]
pub struct NewZone {
    /// Itself.
    pub zone: Named,
    /// Host name of the server it is to be on.
    pub hostname: String,
    /// The shard it is of.
    pub shard: Option<usize>,
    /// What its instance is to have of its own.
    pub own: Own,
    /// It takes the place of one that was there.
    pub anew: bool,
}

/// One step. Each looks first, and may be run again.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Takes away what an import left behind halfway.
    DropImage {
        /// The image.
        uuid: Uuid,
    },
    /// Imports one image, whose origin is here by then.
    ImportImage {
        /// The image.
        uuid: Uuid,
        /// Name and version.
        what: String,
        /// The image it is for, when that is another.
        origin_of: Option<String>,
    },
    /// Creates the service.
    CreateService {
        /// Its uuid to be: asked for twice, SAPI writes the same one again.
        uuid: Uuid,
        /// VM parameters.
        params: Map<String, Value>,
        /// Metadata.
        metadata: Map<String, Value>,
    },
    /// Changes keys of the service.
    UpdateService {
        /// The service.
        service: Uuid,
        /// VM parameters that change.
        params: Map<String, Value>,
        /// Metadata that changes.
        metadata: Map<String, Value>,
        /// Each key with what is there and what will be.
        drift: Vec<String>,
    },
    /// Creates a rule of the firewall.
    AddRule {
        /// Whose zones it is for.
        owner: Uuid,
        /// What it says.
        rule: String,
        /// By what it is known again.
        description: &'static str,
        /// What it is for.
        why: &'static str,
    },
    /// Takes away an instance whose zone is none, so that another is made of
    /// the same.
    DropInstance {
        /// The instance.
        zone: Named,
        /// What its zone is.
        state: String,
        /// The uuid of the one to be.
        heir: Uuid,
        /// What that one is to have of its own.
        own: Own,
    },
    /// Writes down the instance of a zone that is there.
    AdoptInstance {
        /// The zone.
        zone: Named,
        /// What a run that was cut off would have given it.
        own: Own,
    },
    /// Creates an instance and its zone.
    CreateInstance(NewZone),
    /// Gives an instance its shard.
    SetShard {
        /// The instance.
        zone: Named,
        /// Metadata.
        metadata: Map<String, Value>,
    },
    /// Gives a zone more room.
    RaiseQuota {
        /// The zone.
        zone: Named,
        /// GiB.
        from: u64,
        /// GiB.
        to: u64,
    },
    /// Switches the firewall of a zone on.
    EnableFirewall(Named),
    /// Adds a NIC. On Manta's network a failure is told, and is nobody's end.
    AddNic {
        /// The zone.
        zone: Named,
        /// Network's name.
        network: &'static str,
        /// Its NIC tag.
        nic_tag: String,
        /// Network.
        uuid: Uuid,
        /// It was there before, and somebody may use it.
        in_use: bool,
    },
    /// Lets zones transfer from CNS, and those that are gone no more.
    AllowTransfer {
        /// Service `cns`.
        service: Uuid,
        /// The zones.
        zones: Vec<Named>,
        /// Addresses.
        gone: BTreeSet<IpAddr>,
    },
    /// Waits until a zone runs and is well.
    Await(Named),
}

impl Step {
    kinds! {
        Self::DropImage { .. } => "drop-image",
        Self::ImportImage { .. } => "import-image",
        Self::CreateService { .. } => "create-service",
        Self::UpdateService { .. } => "update-service",
        Self::AddRule { .. } => "add-rule",
        Self::DropInstance { .. } => "drop-instance",
        Self::AdoptInstance { .. } => "adopt-instance",
        Self::CreateInstance(_) => "create-instance",
        Self::SetShard { .. } => "set-shard",
        Self::RaiseQuota { .. } => "raise-quota",
        Self::EnableFirewall(_) => "enable-firewall",
        Self::AddNic { .. } => "add-nic",
        Self::AllowTransfer { .. } => "allow-transfer",
        Self::Await(_) => "await",
    }

    /// What it does.
    pub fn what(&self) -> String {
        match self {
            Self::DropImage { uuid } => format!("delete image {uuid}"),
            Self::ImportImage { what, .. } => format!("import image {what}"),
            Self::CreateService { params, .. } => {
                let role = &params["tags"]["smartdc_role"];
                let role = role.as_str().unwrap_or_default();
                format!("create service {role}")
            }
            Self::UpdateService { service, .. } => {
                format!("update service {service}")
            }
            Self::AddRule { rule, .. } => format!("add rule {rule}"),
            Self::DropInstance { zone, .. } => {
                format!("delete instance {} {}", zone.alias, zone.uuid)
            }
            Self::AdoptInstance { zone, .. } => {
                format!("write down instance {} {}", zone.alias, zone.uuid)
            }
            Self::CreateInstance(new) => {
                format!("create {} on {}", new.zone.alias, new.hostname)
            }
            Self::SetShard { zone, metadata } => {
                let shard = shard(metadata).unwrap_or_default();
                format!("give {} shard {shard}", zone.alias)
            }
            Self::RaiseQuota { zone, from, to } => {
                format!("raise quota of {} from {from} to {to} GiB", zone.alias)
            }
            Self::EnableFirewall(zone) => {
                format!("switch the firewall of {} on", zone.alias)
            }
            Self::AddNic { zone, network, .. } => {
                format!("add a NIC on {network} to {}", zone.alias)
            }
            Self::AllowTransfer { zones, gone, .. } => {
                let mut parts: Vec<String> = zones
                    .iter()
                    .map(|zone| format!("add {}", zone.alias))
                    .collect();
                parts.extend(gone.iter().map(|ip| format!("remove {ip}")));
                format!("CNS transfers: {}", parts.join(", "))
            }
            Self::Await(zone) => format!("see {} well", zone.alias),
        }
    }

    /// Why.
    pub fn why(&self) -> Vec<String> {
        let one = |text: &str| vec![text.to_owned()];
        match self {
            Self::DropImage { .. } => one("an import left it halfway"),
            Self::ImportImage { origin_of: Some(of), .. } => {
                vec![format!("origin of {of}")]
            }
            Self::ImportImage { .. } => one("it is not in this datacenter"),
            Self::CreateService { .. } => one("SAPI has none"),
            Self::UpdateService { drift, .. } => drift.clone(),
            Self::AddRule { why, .. } => one(why),
            Self::DropInstance { state, .. } => {
                vec![format!("its zone is {state}")]
            }
            Self::AdoptInstance { .. } => one("a zone that SAPI does not know"),
            Self::CreateInstance(new) => match new.shard {
                Some(shard) => vec![format!("for shard {shard}")],
                None => Vec::new(),
            },
            Self::SetShard { .. } => one("it scrapes everything"),
            Self::RaiseQuota { .. } => {
                one("metrics outgrow the package's quota in days")
            }
            Self::EnableFirewall(_) => one("it is off, and everything is open"),
            Self::AddNic { .. } => one("what is on it is reached by it"),
            Self::AllowTransfer { .. } => {
                one("each zone is a secondary of CNS, by its admin address")
            }
            Self::Await(_) => Vec::new(),
        }
    }

    /// What somebody may miss meanwhile; `None` when nobody does.
    pub fn disturbs(&self) -> Option<String> {
        match self {
            Self::SetShard { zone, .. } => Some(format!(
                "{} scrapes its shard alone: zones without the tag are \
                 scraped by nobody until `monadm shard apply`",
                zone.alias
            )),
            Self::EnableFirewall(zone) => Some(format!(
                "what no rule lets in reaches {} no more",
                zone.alias
            )),
            Self::AddNic { zone, in_use: true, .. } => {
                Some(format!("{} restarts", zone.alias))
            }
            Self::AllowTransfer { .. } => {
                Some("CNS restarts: transfers under way begin anew".to_owned())
            }
            Self::DropInstance { state, .. } if state == "destroyed" => None,
            Self::DropInstance { zone, .. } => Some(format!(
                "what the zone of {} may hold is destroyed",
                zone.alias
            )),
            _ => None,
        }
    }

    /// Whether the rest goes on without it.
    pub fn is_soft(&self) -> bool {
        matches!(self, Self::AddNic { network, .. } if *network == MANTA)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "step": self.kind(),
            "what": self.what(),
            "why": self.why(),
            "disturbs": self.disturbs(),
        })
    }
}

/// The shard that metadata of an instance says.
fn shard(metadata: &Map<String, Value>) -> Option<&str> {
    metadata.get("shard").and_then(Value::as_str)
}
