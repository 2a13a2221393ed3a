// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! SAPI metadata becomes a `Model`: the one place where upstream key names
//! are spelled. All problems are reported together.
//!
//! Each file here has its keys, as settings, and what they mean together. A
//! key that is absent, null or empty takes its default.

pub(crate) mod alertmanager;
mod grafana;
pub(crate) mod place;
pub(crate) mod prometheus;
mod store;
mod thanos;

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::setting::Setting;
use super::wire::{Problem, Reader};
use crate::model::{Caps, Flavor, Model, Paths, Peers, Place, Role};

pub use place::flavor;

/// What is known about the zone beside SAPI metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Everything lies below this; `/` in a zone.
    pub root: PathBuf,
    /// What the zone is for.
    pub role: Role,
    /// Manta when the zone carries a `manta_role` tag.
    pub flavor: Flavor,
    /// The instance; tells replicas apart when `replica` is not set.
    pub instance: String,
    /// CMON's domain as CNS told it, if it did.
    pub cmon_domain: Option<String>,
    /// Where the agent's own metrics are, on loopback.
    pub agent_address: std::net::SocketAddr,
    /// The zone's caps.
    pub caps: Caps,
    /// Who else monitors, as SAPI listed it.
    pub peers: Peers,
    /// Whether it may compact a bucket that others could compact too, if it
    /// is first among them.
    pub compaction: bool,
}

/// All keys that a zone of `role` reads, in the order of the documentation.
pub fn settings(role: Role) -> Vec<&'static dyn Setting> {
    let parts: &[&[&dyn Setting]] = match role {
        Role::Prometheus => &[
            prometheus::SETTINGS,
            alertmanager::SETTINGS,
            store::SETTINGS,
            place::ACCOUNT,
            place::SETTINGS,
        ],
        Role::Grafana => {
            &[grafana::SETTINGS, grafana::sign_in::SETTINGS, place::SETTINGS]
        }
        Role::Thanos => &[
            thanos::SETTINGS,
            alertmanager::SETTINGS,
            store::SETTINGS,
            place::SETTINGS,
        ],
    };
    parts.concat()
}

/// Turns merged metadata (SAPI's, the local one over it, `auto`) into a model.
///
/// Errors: every problem of the metadata, not the first.
pub fn model(
    metadata: &Map<String, Value>,
    site: &Site,
) -> Result<Model, Vec<Problem>> {
    let mut reader = Reader::new(metadata);
    let model = read(&mut reader, metadata, site);
    let problems = reader.into_problems();
    if problems.is_empty() { Ok(model) } else { Err(problems) }
}

fn read(
    reader: &mut Reader<'_>,
    metadata: &Map<String, Value>,
    site: &Site,
) -> Model {
    let flavor = flavor(metadata, site.flavor);
    // A value that is neither is a problem, not a flavor.
    reader.get(&place::IS_MANTA_SERVICE);
    let mut about = About {
        site,
        flavor,
        place: place::place(reader, metadata, flavor),
        paths: Paths::new(&site.root, site.role),
        alertmanager: false,
    };
    let alertmanager = match site.role {
        Role::Prometheus | Role::Thanos => {
            alertmanager::alertmanager(reader, &about)
        }
        Role::Grafana => None,
    };
    about.alertmanager = alertmanager.is_some();
    let prometheus = (site.role == Role::Prometheus)
        .then(|| prometheus::prometheus(reader, &about));
    let grafana = (site.role == Role::Grafana)
        .then(|| grafana::grafana(reader, &about, metadata));
    let thanos = (site.role == Role::Thanos)
        .then(|| thanos::thanos(reader, &about, metadata));
    Model {
        role: site.role,
        flavor,
        instance: site.instance.clone(),
        place: about.place,
        paths: about.paths,
        caps: site.caps,
        alertmanager,
        prometheus,
        grafana,
        thanos,
    }
}

/// What the readers of a role's keys lean on.
struct About<'a> {
    site: &'a Site,
    flavor: Flavor,
    place: Place,
    paths: Paths,
    /// Whether an Alertmanager shares the zone.
    alertmanager: bool,
}

/// What the resolver's templates need; asks for less than a whole model, so
/// that a fault elsewhere does not take the zone's names away.
pub fn resolver(
    metadata: &Map<String, Value>,
    site: &Site,
) -> Result<ResolverModel, Vec<Problem>> {
    let mut reader = Reader::new(metadata);
    let flavor = flavor(metadata, site.flavor);
    let place = place::place(&mut reader, metadata, flavor);
    let problems = reader.into_problems();
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(ResolverModel { place, paths: Paths::new(&site.root, site.role) })
}

/// What the resolver's templates see.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ResolverModel {
    /// Where the zone stands.
    pub place: Place,
    /// Where its files lie.
    pub paths: Paths,
}

#[cfg(test)]
mod tests;
