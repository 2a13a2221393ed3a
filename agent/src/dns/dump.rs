// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A zone of ours, record by record: for operators, and for tools and tests
//! that compare it with its primary's.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::json;

use super::NamesHandle;
use super::names::WireName;
use super::store::ZoneVersion;
use super::store::rrset::RrSet;
use super::text;
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

/// How a dump is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpForm {
    /// As a zone file (RFC 1035 §5.1), SOA first, the rest in no order.
    ZoneFile,
    /// A JSON object a record and line.
    JsonLines,
}

/// A chunk of a dump is handed on once it has so many bytes.
const CHUNK: usize = 64 << 10;
/// Type of a SOA record.
const SOA: u16 = 6;

/// One version of a zone, to be written out. Keeps it in memory meanwhile.
pub struct ZoneDump {
    version: Arc<ZoneVersion>,
}

impl ZoneDump {
    /// Hands the records to `sink`, chunk by chunk, until that says `false`.
    /// Blocks; holds one chunk in memory.
    pub fn write(&self, form: DumpForm, mut sink: impl FnMut(String) -> bool) {
        let version = &self.version;
        let mut out = String::with_capacity(CHUNK + 1024);
        if form == DumpForm::ZoneFile {
            let _ = writeln!(
                out,
                "; zone {}, {} records, from {}",
                version.apex, version.records, version.provenance.primary
            );
        }
        let apex = version.node(version.apex.as_bytes());
        for set in apex.into_iter().flat_map(|node| node.iter()) {
            if u16::from(set.rtype) == SOA {
                write_set(version.apex.as_bytes(), set, form, &mut out);
            }
        }
        for (owner, node) in version.iter() {
            for set in node.iter() {
                if u16::from(set.rtype) == SOA && owner == version.apex {
                    continue;
                }
                write_set(owner.as_bytes(), set, form, &mut out);
                if out.len() >= CHUNK {
                    let next = String::with_capacity(CHUNK + 1024);
                    if !sink(std::mem::replace(&mut out, next)) {
                        return;
                    }
                }
            }
        }
        if !out.is_empty() {
            sink(out);
        }
    }
}

fn write_set(owner: &[u8], set: RrSet<'_>, form: DumpForm, out: &mut String) {
    let number = u16::from(set.rtype);
    let (ttl, rtype) = (set.ttl, text::rtype(number));
    let mut name = String::new();
    text::name(owner, &mut name);
    for wire in set.rdata() {
        match form {
            DumpForm::ZoneFile => {
                let _ = write!(out, "{name} {ttl} IN {rtype} ");
                text::rdata(number, wire, out);
            }
            DumpForm::JsonLines => {
                let mut data = String::new();
                text::rdata(number, wire, &mut data);
                let record = json!({
                    "name": name, "ttl": ttl, "type": rtype, "data": data,
                });
                let _ = write!(out, "{record}");
            }
        }
        out.push('\n');
    }
}

impl NamesHandle {
    /// The version in force, to be written out; `None` when we hold no such
    /// zone.
    pub fn dump(&self, zone: &ZoneName) -> Option<ZoneDump> {
        let catalog = self.names.catalog();
        let entry = catalog.zones.get(&WireName::from_zone(zone))?;
        Some(ZoneDump { version: entry.cell.held()? })
    }

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
