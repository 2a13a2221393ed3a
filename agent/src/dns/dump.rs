// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A zone of ours, record by record: for tools and tests that compare it with
//! its primary's.

use super::NamesHandle;
use super::names::WireName;
use crate::model::dns::ZoneName;

/// One record as we hold it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ZoneRecord {
    /// Lower case, with the final dot.
    pub owner: String,
    /// Type by number.
    pub rtype: u16,
    /// Seconds.
    pub ttl: u32,
    /// In uncompressed wire form.
    pub rdata: Vec<u8>,
}

impl NamesHandle {
    /// All records of the version in force, in order; `None` when we serve
    /// no such zone. Takes memory in proportion to the zone.
    pub fn records(&self, zone: &ZoneName) -> Option<Vec<ZoneRecord>> {
        let catalog = self.names.catalog();
        let entry = catalog.zones.get(&WireName::from_zone(zone))?;
        let version = entry.cell.version()?;
        let mut records = Vec::with_capacity(version.records);
        for (owner, sets) in version.iter() {
            for set in sets.iter() {
                records.extend(set.rdata().map(|rdata| ZoneRecord {
                    owner: owner.to_string(),
                    rtype: set.rtype.into(),
                    ttl: set.ttl,
                    rdata: rdata.to_vec(),
                }));
            }
        }
        records.sort();
        Some(records)
    }
}
