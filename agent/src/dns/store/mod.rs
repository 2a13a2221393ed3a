// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One version of a zone: made once, never changed, read by many.
//!
//! ```text
//! records ──▶ build ──▶ table (all of a zone in one block of bytes)
//! difference ──▶ edit ──▶ overlay (the names that differ from the table)
//! ```
//!
//! Rdata is kept in wire form, names as lower-case labels; `answer.rs` turns
//! what it needs back into records. How versions reach the disk is told in
//! `persist.rs`; who replaces them, in `transfer.rs`.

pub(crate) mod arena;
pub(crate) mod build;
pub(crate) mod changes;
mod edit;
pub(crate) mod entry;
pub(crate) mod overlay;
pub(crate) mod persist;
pub(crate) mod reread;
pub(crate) mod rrset;
mod soa;
pub(crate) mod table;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use hickory_proto::rr::{RData, Record, RecordType};

use self::build::{BuildError, ZoneBuilder};
use self::edit::Edit;
use self::overlay::Overlay;
use self::rrset::Node;
pub use self::soa::{Serial, SoaTimers};
use self::table::Table;
use crate::dns::names::WireName;

/// How large a zone may get before it is refused.
#[derive(Clone, Copy, Debug)]
pub struct ZoneLimits {
    /// Resource records.
    pub max_records: usize,
    /// Bytes in memory and on disk.
    pub max_bytes: usize,
}

impl ZoneLimits {
    /// For what was within limits already.
    fn unlimited() -> Self {
        Self { max_records: usize::MAX, max_bytes: usize::MAX }
    }
}

impl Default for ZoneLimits {
    /// A CNS zone has 10^2 to 10^5 records; these bounds stop a primary that
    /// sends without end, nothing else.
    fn default() -> Self {
        Self { max_records: 4_000_000, max_bytes: 512 << 20 }
    }
}

/// Where a version came from and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Provenance {
    /// The primary whose serial it carries. Serials of different CNS
    /// instances cannot be compared.
    pub(crate) primary: SocketAddr,
    /// When this content was taken in.
    pub(crate) changed: SystemTime,
}

/// One version of a zone. Invariants: one SOA at the apex; every owner within
/// the zone; every name between an owner and the apex is present, without
/// records if need be (an empty non-terminal).
#[derive(Debug)]
pub(crate) struct ZoneVersion {
    pub(crate) apex: WireName,
    pub(crate) serial: Serial,
    pub(crate) timers: SoaTimers,
    pub(crate) provenance: Provenance,
    /// Resource records, doubles counted once.
    pub(crate) records: usize,
    /// Names at which the zone ends and another begins; CNS's have none.
    pub(crate) cuts: usize,
    /// Bytes in memory, without the few of the overlay.
    pub(crate) bytes: usize,
    soa: Record,
    table: Arc<Table>,
    overlay: Overlay,
}

impl ZoneVersion {
    /// The version that is all in `table`.
    ///
    /// Errors: no single SOA at the apex, or one that cannot be read.
    pub(crate) fn new(
        apex: WireName,
        table: Table,
        provenance: Provenance,
    ) -> Result<Self, BuildError> {
        Self::of(apex, Arc::new(table), Overlay::default(), provenance)
    }

    fn of(
        apex: WireName,
        table: Arc<Table>,
        overlay: Overlay,
        provenance: Provenance,
    ) -> Result<Self, BuildError> {
        let node = node(&apex, &table, &overlay, apex.as_bytes());
        let soa = apex_soa(&apex, node.unwrap_or_default())?;
        let RData::SOA(fields) = &soa.data else {
            return Err(BuildError::NoSoa);
        };
        let records =
            table.records().saturating_add_signed(overlay.more_records);
        Ok(Self {
            serial: Serial(fields.serial),
            timers: SoaTimers::from_soa(fields),
            apex,
            provenance,
            records,
            cuts: table.cuts().saturating_add_signed(overlay.more_cuts),
            bytes: table.bytes().len(),
            soa,
            table,
            overlay,
        })
    }

    /// The RRsets at a name given in lower-case wire form; none for an empty
    /// non-terminal, `None` when the name does not exist.
    pub(crate) fn node(&self, name: &[u8]) -> Option<Node<'_>> {
        node(&self.apex, &self.table, &self.overlay, name)
    }

    /// The SOA as it goes with negative answers (RFC 2308 §3).
    pub(crate) fn negative_soa(&self) -> Record {
        let mut soa = self.soa.clone();
        soa.ttl = soa.ttl.min(self.timers.minimum);
        soa
    }

    /// The same as TTL and rdata in wire form.
    pub(crate) fn negative_soa_wire(&self) -> Option<(u32, &[u8])> {
        let set = self.node(self.apex.as_bytes())?.set(RecordType::SOA)?;
        Some((self.soa.ttl.min(self.timers.minimum), set.rdata().next()?))
    }

    /// Nothing but the apex: what a CNS with a wiped database serves.
    pub(crate) fn is_apex_only(&self) -> bool {
        self.names() == 1
    }

    /// Names, empty non-terminals and the apex included.
    pub(crate) fn names(&self) -> usize {
        self.table.names().saturating_add_signed(self.overlay.more_names)
    }

    /// Whether both hold the same records, the SOA's included.
    pub(crate) fn same_content(&self, other: &ZoneVersion) -> bool {
        self.apex == other.apex
            && self.names() == other.names()
            && self
                .iter()
                .all(|(name, node)| other.node(name.as_bytes()) == Some(node))
    }

    /// All names with their RRsets, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (WireName, Node<'_>)> {
        self.table
            .iter(&self.apex)
            .filter(|(name, _)| !self.overlay.hides(name))
            .chain(self.overlay.iter())
    }

    /// Begins a version that differs from this one in a few sets.
    pub(crate) fn edit(&self) -> Edit<'_> {
        Edit { base: self, overlay: self.overlay.clone() }
    }

    /// The same in one table; `None` if it is so already.
    pub(crate) fn compacted(&self) -> Option<Result<Self, BuildError>> {
        if self.overlay.len() == 0 {
            return None;
        }
        let mut builder =
            ZoneBuilder::new(self.apex.clone(), ZoneLimits::unlimited());
        for (owner, node) in self.iter() {
            for set in node.iter() {
                for rdata in set.rdata() {
                    let owner = owner.clone();
                    let pushed =
                        builder.push_raw(owner, set.rtype, set.ttl, rdata);
                    if let Err(error) = pushed {
                        return Some(Err(error));
                    }
                }
            }
        }
        Some(builder.finish(self.provenance))
    }

    /// The one block, if nothing lies over it.
    pub(crate) fn table(&self) -> Option<&Table> {
        (self.overlay.len() == 0).then_some(&self.table)
    }
}

fn node<'z>(
    apex: &WireName,
    table: &'z Table,
    overlay: &'z Overlay,
    name: &[u8],
) -> Option<Node<'z>> {
    match overlay.get(name) {
        Some(node) => node,
        None => table.find(name, apex).map(|node| node.sets),
    }
}

fn apex_soa(apex: &WireName, node: Node<'_>) -> Result<Record, BuildError> {
    let set = node.set(RecordType::SOA).ok_or(BuildError::NoSoa)?;
    let mut records = set
        .records(&apex.to_name())
        .map_err(|error| BuildError::Unwritable(error.to_string()))?;
    match (records.pop(), records.is_empty()) {
        (Some(soa), true) => Ok(soa),
        (None, _) => Err(BuildError::NoSoa),
        (Some(_), false) => Err(BuildError::ManySoa),
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Name;

    use super::*;
    use crate::dns::secondary::fake::{apex, record, soa_record, version};

    #[test]
    fn rrsets_have_one_ttl_and_no_doubles() {
        let zone = version(
            7,
            &[
                record("a.inst.o", 30, "A 10.0.0.2"),
                record("A.inst.o", 20, "A 10.0.0.1"),
                record("a.inst.o", 30, "A 10.0.0.2"),
                record("a.inst.o", 30, "TXT x"),
            ],
        );
        let key = WireName::from_name(&record("a.inst.o", 0, "A 0.0.0.0").name);
        let sets: Vec<_> = zone.node(key.as_bytes()).unwrap().iter().collect();
        assert_eq!(sets.len(), 2);
        assert_eq!((sets[0].rtype, sets[0].ttl), (RecordType::A, 20));
        assert_eq!(sets[0].rdata().count(), 2);
        assert_eq!(zone.records, 5, "SOA, NS, two A, one TXT");
    }

    #[test]
    fn empty_non_terminals_exist() {
        let zone = version(1, &[record("a.inst.o", 30, "A 10.0.0.1")]);
        let node = |text: &str| {
            let name = record(text, 0, "A 0.0.0.0").name;
            let key = WireName::from_name(&name);
            zone.node(key.as_bytes()).map(|node| node.iter().count())
        };
        assert_eq!(node("inst.o"), Some(0));
        assert_eq!(node("o"), Some(0));
        assert_eq!(node("x"), None);
        assert!(!zone.is_apex_only());
        assert!(version(1, &[]).is_apex_only());
    }

    #[test]
    fn limits_are_errors() {
        let limits = ZoneLimits { max_records: 2, max_bytes: 1 << 20 };
        let mut builder = ZoneBuilder::new(apex(), limits);
        builder.push(&record("a", 1, "A 10.0.0.1")).unwrap();
        builder.push(&record("b", 1, "A 10.0.0.1")).unwrap();
        assert_eq!(
            builder.push(&record("c", 1, "A 10.0.0.1")),
            Err(BuildError::TooManyRecords(2))
        );
        let limits = ZoneLimits { max_records: 9, max_bytes: 64 };
        let mut builder = ZoneBuilder::new(apex(), limits);
        assert_eq!(
            builder.push(&record("a", 1, "A 10.0.0.1")),
            Err(BuildError::TooManyBytes(64))
        );
    }

    #[test]
    fn strangers_are_left_out() {
        let mut builder = ZoneBuilder::new(apex(), ZoneLimits::default());
        builder.push(&soa_record(1)).unwrap();
        let mut stranger = record("a", 1, "A 10.0.0.1");
        stranger.name = Name::from_ascii("www.example.net.").unwrap();
        builder.push(&stranger).unwrap();
        assert_eq!(builder.ignored, 1);
        assert_eq!(
            builder.first_ignored.unwrap().to_string(),
            "www.example.net."
        );
    }

    #[test]
    fn order_does_not_matter_for_content() {
        let a = record("a", 30, "A 10.0.0.1");
        let b = record("a", 30, "A 10.0.0.2");
        let one = version(1, &[a.clone(), b.clone()]);
        let two = version(1, &[b, a.clone()]);
        assert!(one.same_content(&two));
        assert!(!one.same_content(&version(1, &[a])));
    }
}
