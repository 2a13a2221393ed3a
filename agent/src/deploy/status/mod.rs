// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! How a datacenter's monitoring fares: `look` asks its APIs and zones,
//! `judge` says what is wrong and which command mends it, `doctor` looks
//! closer at what those depend on.
//!
//! Whatever does not answer costs its own part of the picture and no other,
//! and a limited time.

pub mod doctor;
#[cfg(test)]
pub(crate) mod example;
mod finding;
pub mod judge;
pub mod look;
pub mod zone;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;
use uuid::Uuid;

pub use self::finding::{Finding, Verdict, Weight};
pub use self::zone::{AgentSeen, NamesSeen, UploadsSeen};

/// What came of a question.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Look<T> {
    /// It was not put: nobody there, or no address known.
    #[default]
    Unasked,
    /// An answer.
    Seen(T),
    /// None, or one that makes no sense: why.
    Failed(String),
}

impl<T> Look<T> {
    /// The answer, if there is one.
    pub fn seen(&self) -> Option<&T> {
        match self {
            Self::Seen(answer) => Some(answer),
            _ => None,
        }
    }

    /// Why there is none.
    pub fn failure(&self) -> Option<&str> {
        match self {
            Self::Failed(why) => Some(why),
            _ => None,
        }
    }
}

/// A datacenter's monitoring as it was seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Picture {
    /// `<datacenter>.<dns domain>`.
    pub datacenter: String,
    /// When, Unix seconds.
    pub at: u64,
    /// All instances of our services, by application, service and alias.
    pub instances: Vec<Seen>,
    /// The instances of CNS.
    pub cns: Vec<CnsSeen>,
    /// Who scrapes what.
    pub shards: Look<Shards>,
    /// What could not be looked at.
    pub missed: Vec<Missed>,
}

/// A part of the picture that is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missed {
    /// What was to be seen.
    pub what: String,
    /// Why it was not.
    pub why: String,
}

/// An instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Seen {
    /// `sdc` or `manta`.
    pub application: String,
    /// `prometheus`, `thanos`, `grafana`, `alertmanager`.
    pub service: String,
    /// Uuid, also the zone's.
    pub uuid: Uuid,
    /// What people call it.
    pub alias: String,
    /// Its zone; seen as `None` where VMAPI knows none.
    pub zone: Look<Option<ZoneSeen>>,
    /// Its address on the admin network.
    pub address: Option<IpAddr>,
    /// The image that new instances of its service get.
    pub wanted_image: Look<ImageSeen>,
    /// The groups it scrapes; none: everything.
    pub groups: Vec<String>,
    /// Labels `replica` and `shard`, where metadata set them.
    pub labels: BTreeMap<String, String>,
    /// The bucket that metadata names, without its secrets.
    pub bucket: Option<String>,
    /// Whether its service answers that it is well.
    pub health: Look<()>,
    /// What its config-agent says.
    pub agent: Look<AgentSeen>,
    /// What uploads to the bucket come to, by daemon.
    pub uploads: BTreeMap<String, Look<UploadsSeen>>,
}

/// A SmartOS zone.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ZoneSeen {
    /// `running`, `stopped`, ...
    pub state: String,
    /// Server it is on.
    pub server: Option<Uuid>,
    /// That server's host name.
    pub hostname: String,
    /// That server's status, `running`; nothing where CNAPI did not say.
    pub server_status: String,
    /// Quota, GiB.
    pub quota_gib: u64,
    /// Its image.
    pub image: Look<ImageSeen>,
}

/// An image, as IMGAPI has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImageSeen {
    /// Uuid.
    pub uuid: Uuid,
    /// Name; empty for one that IMGAPI does not have.
    pub name: String,
    /// Version.
    pub version: String,
    /// When, ISO 8601.
    pub published_at: String,
}

/// An instance of CNS.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CnsSeen {
    /// What people call it.
    pub alias: String,
    /// Its address on the admin network.
    pub address: Option<IpAddr>,
    /// Its zones and their serials.
    pub zones: Look<BTreeMap<String, Option<u32>>>,
}

/// Who scrapes what.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Shards {
    /// By group.
    pub shards: BTreeMap<String, Shard>,
    /// Zones that bear no shard's group.
    pub scraped_by_nobody: usize,
    /// Zones that bear more than one.
    pub scraped_twice: usize,
    /// Zones by a group like a shard's that no prometheus has.
    pub without_pair: BTreeMap<String, usize>,
    /// Instances of prometheus without a group, beside such with one.
    pub ungrouped: usize,
    /// The most loaded shard over the mean; 1 is even.
    pub imbalance: f64,
    /// What a verb of `shard` must be told to look at the same zones.
    #[serde(skip)]
    pub asked: String,
}

/// One shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Shard {
    /// The instances of prometheus that scrape it.
    pub members: BTreeSet<Uuid>,
    /// Zones that it scrapes.
    pub zones: usize,
}
