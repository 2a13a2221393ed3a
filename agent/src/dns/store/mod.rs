// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One version of a zone: made once, never changed, read by many.
//!
//! ```text
//! records ──▶ build ──▶ table (all of a zone in one block of bytes)
//! difference ─────────▶ overlay (the names that differ from the table)
//! ```
//!
//! Rdata is kept in wire form, names as lower-case labels; `answer.rs` turns
//! what it needs back into records. How versions reach the disk is told in
//! `persist.rs`; who replaces them, in `transfer.rs`.

pub(crate) mod arena;
pub(crate) mod build;
pub(crate) mod changes;
pub(crate) mod entry;
pub(crate) mod overlay;
pub(crate) mod persist;
pub(crate) mod reread;
pub(crate) mod rrset;
pub(crate) mod table;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{RData, Record, RecordType};
use serde::Serialize;

use self::build::{BuildError, ZoneBuilder};
use self::overlay::Overlay;
use self::rrset::Node;
use self::table::Table;
use crate::dns::names::WireName;

/// Names that may differ from the table before a new one is made: below it, a
/// difference is applied faster than a table is written.
const MAX_OVERLAY: usize = 2048;

/// A zone's serial; newer and older by RFC 1982, so there is no `Ord`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Serial(pub u32);

impl Serial {
    /// Whether `self` comes after `other`. False for equal serials and for
    /// two that are exactly 2^31 apart, which RFC 1982 §3.2 leaves undefined.
    pub fn is_newer_than(self, other: Serial) -> bool {
        (1..1 << 31).contains(&self.0.wrapping_sub(other.0))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The timers of a SOA record as its primary wrote them (RFC 1035 §3.3.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoaTimers {
    /// Ask the primary again after this.
    pub refresh: Duration,
    /// ... or after this, if it did not answer.
    pub retry: Duration,
    /// Without an answer for this long the data is called expired.
    pub expire: Duration,
    /// Upper bound of negative TTLs, in seconds (RFC 2308 §4).
    pub minimum: u32,
}

impl SoaTimers {
    fn from_soa(soa: &SOA) -> Self {
        // hickory's fields are signed, the wire's are not.
        let secs = |n: i32| Duration::from_secs(u64::from(n.cast_unsigned()));
        Self {
            refresh: secs(soa.refresh),
            retry: secs(soa.retry),
            expire: secs(soa.expire),
            minimum: soa.minimum,
        }
    }
}

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

/// A version in the making, from another one.
pub(crate) struct Edit<'z> {
    base: &'z ZoneVersion,
    overlay: Overlay,
}

impl Edit<'_> {
    /// Makes `rdata`, each in uncompressed wire form, the set of this owner
    /// and type; without any the set is gone. An owner outside the zone
    /// changes nothing.
    pub(crate) fn put(
        &mut self,
        owner: &WireName,
        rtype: RecordType,
        ttl: u32,
        rdata: &[&[u8]],
    ) {
        let ZoneVersion { apex, table, .. } = self.base;
        if owner.is_within(apex) {
            self.overlay.put(table, apex, owner, (rtype, ttl), rdata);
        }
    }

    /// The version. One that differs from its table in many names gets a new
    /// table, which takes time in proportion to the zone.
    ///
    /// Errors: no single SOA at the apex; above the limits.
    pub(crate) fn finish(
        self,
        limits: ZoneLimits,
        provenance: Provenance,
    ) -> Result<ZoneVersion, BuildError> {
        let ZoneVersion { apex, table, .. } = self.base;
        let many = self.overlay.len() > MAX_OVERLAY;
        let table = Arc::clone(table);
        let version =
            ZoneVersion::of(apex.clone(), table, self.overlay, provenance)?;
        if version.records > limits.max_records {
            return Err(BuildError::TooManyRecords(limits.max_records));
        }
        let compacted = if many { version.compacted() } else { None };
        let version = compacted.unwrap_or(Ok(version))?;
        match version.bytes > limits.max_bytes {
            true => Err(BuildError::TooManyBytes(limits.max_bytes)),
            false => Ok(version),
        }
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
    use std::collections::BTreeMap;

    use hickory_proto::rr::Name;
    use proptest::prelude::*;

    use super::*;
    use crate::dns::secondary::fake::{
        any_records, apex, name, record, soa_record, version,
    };

    #[test]
    fn serials_follow_rfc_1982() {
        let newer = |a: u32, b: u32| Serial(a).is_newer_than(Serial(b));
        assert!(newer(1, 0));
        assert!(newer(0, u32::MAX));
        assert!(newer(100, u32::MAX - 100));
        assert!(!newer(5, 5));
        assert!(!newer(0, 1));
        assert!(!newer(1 << 31, 0) && !newer(0, 1 << 31));
        assert!(newer((1 << 31) - 1, 0));
    }

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

    /// One difference: a name of few, a type of two, some addresses.
    type Put = (usize, bool, Vec<u8>);

    fn puts() -> impl Strategy<Value = Vec<Put>> {
        let addresses = prop::collection::vec(0_u8..4, 0..3);
        prop::collection::vec((0_usize..8, any::<bool>(), addresses), 0..20)
    }

    proptest! {
        /// Whatever changes, the version is the one that would have been
        /// made of its records: same names, same sets, nothing left behind.
        #[test]
        fn an_edited_version_equals_one_made_anew(
            first in any_records(),
            rounds in prop::collection::vec(puts(), 0..4),
        ) {
            const OWNERS: [&str; 8] =
                ["a", "b.a", "c.b.a", "b", "zz.b", "*.b", "c", "x.y.z.c"];
            let mut edited = version(1, &first);
            let mut sets: BTreeMap<(Name, bool), Vec<u8>> = BTreeMap::new();
            for round in &rounds {
                let mut edit = edited.edit();
                for (owner, is_a, data) in round {
                    let owner = name(OWNERS[*owner]);
                    let key = WireName::from_name(&owner);
                    let rtype =
                        if *is_a { RecordType::A } else { RecordType::CAA };
                    let rdata: Vec<[u8; 4]> =
                        data.iter().map(|n| [10, 0, 0, *n]).collect();
                    let rdata: Vec<&[u8]> =
                        rdata.iter().map(<[u8; 4]>::as_slice).collect();
                    edit.put(&key, rtype, 30, &rdata);
                    sets.insert((owner, *is_a), data.clone());
                }
                edited = edit
                    .finish(ZoneLimits::default(), edited.provenance)
                    .unwrap();
            }
            let mut builder = ZoneBuilder::new(apex(), ZoneLimits::default());
            let put = |record: &Record| {
                let is_a = match record.record_type() {
                    RecordType::A => true,
                    RecordType::CAA => false,
                    _ => return false,
                };
                sets.contains_key(&(record.name.clone(), is_a))
            };
            let base = version(1, &first);
            for (owner, node) in base.iter() {
                for set in node.iter() {
                    for record in set.records(&owner.to_name()).unwrap() {
                        if !put(&record) {
                            builder.push(&record).unwrap();
                        }
                    }
                }
            }
            for ((owner, is_a), data) in &sets {
                let rtype =
                    if *is_a { RecordType::A } else { RecordType::CAA };
                let key = WireName::from_name(owner);
                for n in data {
                    builder
                        .push_raw(key.clone(), rtype, 30, &[10, 0, 0, *n])
                        .unwrap();
                }
            }
            let anew = builder.finish(base.provenance).unwrap();
            prop_assert!(anew.same_content(&edited), "{anew:?} {edited:?}");
            prop_assert!(edited.same_content(&anew));
            prop_assert_eq!(anew.records, edited.records);
            prop_assert_eq!(anew.names(), edited.iter().count());
            if let Some(compacted) = edited.compacted() {
                let compacted = compacted.unwrap();
                prop_assert!(compacted.same_content(&edited));
                prop_assert!(compacted.table().is_some());
            }
        }
    }
}
