// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What `manta-adm update` makes of a file: the difference to what is
//! deployed, by server, service and shard. Pure.
//!
//! A zone that goes and one that comes there are paired: it is reprovisioned,
//! and keeps its delegate dataset. What is left is made first and taken away
//! after.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Layout, Place, Server};

/// One kind of change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Zones get another image.
    Reprovision {
        /// What they are.
        from: Place,
        /// Their image to be.
        image: Uuid,
        /// How many.
        count: u64,
    },
    /// Zones are made.
    Provision {
        /// What they will be.
        place: Place,
        /// How many.
        count: u64,
    },
    /// Zones are destroyed, with what they keep.
    Deprovision {
        /// What they are.
        place: Place,
        /// How many.
        count: u64,
    },
}

/// What leads from `deployed` to `wanted`, by service, then server.
pub fn changes(deployed: &Layout, wanted: &Layout) -> Vec<Change> {
    type Site<'a> = (&'a str, Server, Option<&'a str>);
    let mut sites: BTreeMap<Site<'_>, BTreeSet<&Place>> = BTreeMap::new();
    for (place, _) in deployed.iter().chain(wanted.iter()) {
        let shard = place.shard.as_deref();
        let site = (place.service.as_str(), place.server, shard);
        sites.entry(site).or_default().insert(place);
    }
    let mut changes = Vec::new();
    for places in sites.into_values() {
        let (mut goes, mut comes) = (Vec::new(), Vec::new());
        for place in places {
            let (is, will) = (deployed.count(place), wanted.count(place));
            if is > will {
                goes.push((place, is - will));
            } else if will > is {
                comes.push((place, will - is));
            }
        }
        pair(goes, comes, &mut changes);
    }
    changes
}

fn pair(
    mut goes: Vec<(&Place, u64)>,
    mut comes: Vec<(&Place, u64)>,
    changes: &mut Vec<Change>,
) {
    while let (Some((from, some)), Some((to, more))) =
        (goes.last_mut(), comes.last_mut())
    {
        let count = (*some).min(*more);
        let (from, image) = ((*from).clone(), to.image);
        changes.push(Change::Reprovision { from, image, count });
        (*some, *more) = (*some - count, *more - count);
        goes.retain(|(_, left)| *left > 0);
        comes.retain(|(_, left)| *left > 0);
    }
    changes.extend(comes.into_iter().map(|(place, count)| Change::Provision {
        place: place.clone(),
        count,
    }));
    changes.extend(goes.into_iter().map(|(place, count)| {
        Change::Deprovision { place: place.clone(), count }
    }));
}

impl Change {
    /// Which zones it is about.
    pub fn place(&self) -> &Place {
        match self {
            Self::Reprovision { from: place, .. }
            | Self::Provision { place, .. }
            | Self::Deprovision { place, .. } => place,
        }
    }

    /// Whether zones are destroyed by it.
    pub fn is_removal(&self) -> bool {
        matches!(self, Self::Deprovision { .. })
    }

    fn word(&self) -> (&'static str, u64) {
        match self {
            Self::Reprovision { count, .. } => ("reprovision", *count),
            Self::Provision { count, .. } => ("provision", *count),
            Self::Deprovision { count, .. } => ("deprovision", *count),
        }
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let place = self.place();
        let (word, count) = self.word();
        let to = match self {
            Self::Reprovision { image, .. } => Some(image),
            _ => None,
        };
        json!({"do": word, "count": count, "service": place.service,
            "server": place.server.to_string(), "shard": place.shard,
            "image": place.image, "to": to})
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { server, service, shard, image } = self.place();
        let (word, count) = self.word();
        write!(f, "{word} {count} {service}")?;
        if let Some(shard) = shard {
            write!(f, " of shard {shard}")?;
        }
        write!(f, " on {server}: image {image}")?;
        match self {
            Self::Reprovision { image, .. } => write!(f, " -> {image}"),
            _ => Ok(()),
        }
    }
}
