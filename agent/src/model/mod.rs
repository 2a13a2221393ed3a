// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What we mean: typed facts that templates and loops work from. Imports no
//! other room.

pub mod alertmanager;
pub mod dns;
pub mod grafana;
pub mod peers;
pub mod primary;
pub mod prometheus;
mod secret;
pub mod store;
pub mod thanos;
pub mod zone;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use alertmanager::Alertmanager;
pub use grafana::Grafana;
pub use peers::{Peer, Peers};
pub use prometheus::Prometheus;
pub use secret::Secret;
pub use store::ObjectStore;
pub use thanos::Thanos;
pub use zone::Caps;

/// What a zone is for: its `smartdc_role` tag (Triton) or `manta_role` tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Scrapes CMON and keeps the series.
    Prometheus,
    /// Joins the series of many Prometheus servers, and keeps them longer.
    Thanos,
    /// Shows them to operators.
    Grafana,
}

impl Role {
    /// Every role, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Prometheus, Self::Thanos, Self::Grafana];

    /// Reads a `smartdc_role` or `manta_role` tag.
    pub fn parse(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == tag)
    }

    /// The folders of `templates/` that a zone of this role renders, beside
    /// that of its resolver.
    pub fn template_sets(self) -> &'static [&'static str] {
        match self {
            Self::Prometheus => &["alertmanager", "prometheus"],
            Self::Thanos => &["alertmanager", "thanos"],
            Self::Grafana => &["grafana"],
        }
    }

    /// The tag's spelling; also the folder name under `templates/`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Thanos => "thanos",
            Self::Grafana => "grafana",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whose zones are monitored: Triton's own (account admin) or Manta's
/// (account poseidon).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavor {
    /// Triton's core services; SAPI application `sdc`.
    Triton,
    /// Manta's services; SAPI application `manta`.
    Manta,
}

/// Where in the world a zone stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Datacenter, for instance `us-east-1a`.
    pub datacenter: String,
    /// Region that several datacenters share; absent on a site of one.
    pub region: Option<String>,
    /// Domain under which this flavor's binder answers.
    pub dns_domain: String,
    /// The search domain of `/etc/resolv.conf`.
    pub search_domain: String,
}

/// Where things lie in the zone. Everything hangs below one root, `/` unless
/// a test or `render --out` moves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Paths {
    /// The daemon's rendered configuration; lost and made anew on reprovision.
    pub etc: PathBuf,
    /// The daemon's share of the delegate dataset; survives reprovision.
    pub data: PathBuf,
    /// Client key and certificate for CMON.
    pub tls: PathBuf,
    /// What must not outlive a boot of the zone: on a tmpfs, on both systems.
    pub run: PathBuf,
    /// The zone's `resolv.conf`.
    pub resolv_conf: PathBuf,
}

impl Paths {
    /// The layout of `role` under `root`.
    pub fn new(root: &Path, role: Role) -> Self {
        Self {
            etc: root.join("opt/triton").join(role.as_str()).join("etc"),
            data: root.join("data").join(role.as_str()),
            tls: root.join("data").join(role.as_str()).join("tls"),
            run: root.join("var/run/config-agent"),
            resolv_conf: root.join("etc/resolv.conf"),
        }
    }
}

/// All that templates see.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    /// What the zone is for.
    pub role: Role,
    /// Whose zones it watches.
    pub flavor: Flavor,
    /// SAPI's instance uuid, which is the zone's name.
    pub instance: String,
    /// Where it stands.
    pub place: Place,
    /// Where its files lie.
    pub paths: Paths,
    /// The zone's caps.
    pub caps: Caps,
    /// The Alertmanager of this zone, if it runs one.
    pub alertmanager: Option<Alertmanager>,
    /// The Prometheus of this zone, in that role.
    pub prometheus: Option<Prometheus>,
    /// The Grafana of this zone, in that role.
    pub grafana: Option<Grafana>,
    /// The Thanos of this zone, in that role.
    pub thanos: Option<Thanos>,
}
