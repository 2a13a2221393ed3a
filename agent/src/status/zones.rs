// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The replicated zones in the report, and what is wrong with them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::StatusReport;
use crate::dns::{HeldBack, NamesHandle, PrimaryStatus, ZoneStatus};

/// A zone unconfirmed for longer than this is a warning: CNS asks for 30 s.
const ZONE_QUIET: Duration = Duration::from_secs(600);

/// A replicated zone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ZonePart {
    /// Name.
    pub name: String,
    /// Serial served.
    pub serial: Option<u32>,
    /// Primary it came from.
    pub primary: Option<String>,
    /// Records served.
    pub records: usize,
    /// Bytes in memory.
    #[serde(default)]
    pub bytes: usize,
    /// Seconds since a primary confirmed it.
    pub age_seconds: Option<u64>,
    /// Comes from the data folder, not confirmed in this run.
    pub from_disk: bool,
    /// Past the SOA's expire.
    pub expired: bool,
    /// A zone that lost everything or much and is not believed yet.
    #[serde(default)]
    pub held_back: Option<HeldBackPart>,
    /// Those it may come from, as configured.
    #[serde(default)]
    pub primaries: Vec<PrimaryPart>,
    /// What came of asking the primaries: kind and number.
    #[serde(default)]
    pub transfers: BTreeMap<String, u64>,
    /// Times it was written to disk.
    #[serde(default)]
    pub writes: u64,
    /// Why the last refresh failed.
    pub last_error: Option<String>,
    /// Why the last write to disk failed.
    #[serde(default)]
    pub store_error: Option<String>,
}

/// A zone that waits to be believed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HeldBackPart {
    /// Who serves it.
    pub primary: String,
    /// Under this serial.
    pub serial: u32,
    /// With so many records.
    pub records: usize,
    /// For how long.
    pub seconds: u64,
}

/// A primary of a zone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PrimaryPart {
    /// Address and port.
    pub address: String,
    /// Serial that it showed last; not to be compared with another's.
    pub serial: Option<u32>,
    /// Failures in a row.
    pub failures: u32,
    /// The last one.
    pub last_error: Option<String>,
}

impl From<ZoneStatus> for ZonePart {
    fn from(zone: ZoneStatus) -> Self {
        Self {
            name: zone.name.to_string(),
            serial: zone.serial.map(|serial| serial.0),
            primary: zone.primary.map(|primary| primary.to_string()),
            records: zone.records,
            bytes: zone.bytes,
            age_seconds: zone.age.map(|age| age.as_secs()),
            from_disk: zone.loaded_from_disk,
            expired: zone.expired,
            held_back: zone.held_back.map(Into::into),
            primaries: zone.primaries.into_iter().map(Into::into).collect(),
            transfers: zone
                .transfers
                .into_iter()
                .map(|(outcome, count)| (outcome.to_owned(), count))
                .collect(),
            writes: zone.writes,
            last_error: zone.last_error,
            store_error: zone.store_error,
        }
    }
}

impl From<HeldBack> for HeldBackPart {
    fn from(held_back: HeldBack) -> Self {
        Self {
            primary: held_back.primary.to_string(),
            serial: held_back.serial.0,
            records: held_back.records,
            seconds: held_back.waiting.as_secs(),
        }
    }
}

impl From<PrimaryStatus> for PrimaryPart {
    fn from(primary: PrimaryStatus) -> Self {
        Self {
            address: primary.address.to_string(),
            serial: primary.serial.map(|serial| serial.0),
            failures: primary.failures,
            last_error: primary.last_error,
        }
    }
}

pub(super) fn parts(names: Option<&NamesHandle>) -> Vec<ZonePart> {
    let zones = names.map(NamesHandle::zones);
    zones.into_iter().flatten().map(Into::into).collect()
}

/// Adds the faults and warnings that follow.
pub(super) fn judge(report: &mut StatusReport) {
    for zone in &report.zones {
        let name = &zone.name;
        let error = zone.last_error.as_deref().unwrap_or("not asked yet");
        if zone.serial.is_none() {
            report.faults.push(format!("zone {name}: no copy: {error}"));
        } else if zone.expired {
            report.faults.push(format!("zone {name}: expired: {error}"));
        } else if let Some(other) = &zone.held_back {
            report.faults.push(format!(
                "zone {name}: {} serves {} records in place of {}; not \
                 believed, for {} s now",
                other.primary, other.records, zone.records, other.seconds
            ));
        } else if zone.age_seconds.is_none_or(|s| s > ZONE_QUIET.as_secs()) {
            report.warnings.push(format!("zone {name}: unconfirmed: {error}"));
        }
        if let Some(error) = &zone.store_error {
            report
                .warnings
                .push(format!("zone {name}: not written to disk: {error}"));
        }
    }
}
