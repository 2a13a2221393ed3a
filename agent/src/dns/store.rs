// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One version of a zone: built once from records, never changed, read by
//! many. Rdata is kept in wire form, names as lower-case keys; `answer.rs`
//! turns what it needs back into records.
//!
//! How versions reach the disk is told in `persist.rs`; who replaces them, in
//! `transfer.rs`.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use hickory_proto::ProtoError;
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{
    BinDecoder, BinEncodable, BinEncoder, NameEncoding, Restrict,
};
use serde::Serialize;

use super::names::{WireName, suffixes};

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
    /// Bytes in memory, estimated; also bounds the zone file.
    pub max_bytes: usize,
}

impl Default for ZoneLimits {
    /// A CNS zone has 10^2 to 10^5 records; these bounds stop a primary that
    /// sends without end, nothing else.
    fn default() -> Self {
        Self { max_records: 4_000_000, max_bytes: 512 << 20 }
    }
}

/// All records of one owner and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RrSet {
    /// The one type.
    pub(crate) rtype: RecordType,
    /// The one TTL, in seconds: the smallest seen (RFC 2181 §5.2).
    pub(crate) ttl: u32,
    /// Rdata in wire form, each with a two-byte length before it; sorted,
    /// without doubles.
    packed: Box<[u8]>,
}

impl RrSet {
    /// The rdata in wire form, one by one.
    pub(crate) fn rdata(&self) -> impl Iterator<Item = &[u8]> {
        unpack(&self.packed)
    }

    /// The set as records of `owner`, whose spelling is kept.
    pub(crate) fn records(
        &self,
        owner: &Name,
    ) -> Result<Vec<Record>, ProtoError> {
        self.rdata()
            .map(|rdata| {
                let len = u16::try_from(rdata.len()).unwrap_or(u16::MAX);
                let data = RData::read(
                    &mut BinDecoder::new(rdata),
                    self.rtype,
                    Restrict::new(len),
                )?;
                Ok(Record::from_rdata(owner.clone(), self.ttl, data))
            })
            .collect()
    }
}

fn unpack(packed: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = packed;
    std::iter::from_fn(move || {
        let (len, tail) = rest.split_first_chunk::<2>()?;
        let (rdata, tail) =
            tail.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        rest = tail;
        Some(rdata)
    })
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

/// One version of a zone. Invariants: a SOA at the apex; every owner within
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
    /// Estimated bytes in memory.
    pub(crate) bytes: usize,
    soa: Record,
    nodes: HashMap<WireName, Box<[RrSet]>>,
}

impl ZoneVersion {
    /// The RRsets at a name given in lower-case wire form; an empty slice
    /// for an empty non-terminal, `None` when the name does not exist.
    pub(crate) fn node(&self, name: &[u8]) -> Option<&[RrSet]> {
        self.nodes.get(name).map(|sets| &**sets)
    }

    /// The SOA as it goes with negative answers (RFC 2308 §3).
    pub(crate) fn negative_soa(&self) -> Record {
        let mut soa = self.soa.clone();
        soa.ttl = soa.ttl.min(self.timers.minimum);
        soa
    }

    /// Nothing but the apex: what a CNS with a wiped database serves.
    pub(crate) fn is_apex_only(&self) -> bool {
        self.nodes.len() == 1
    }

    /// Whether both hold the same records, serials aside from the SOA's.
    pub(crate) fn same_content(&self, other: &ZoneVersion) -> bool {
        self.apex == other.apex && self.nodes == other.nodes
    }

    /// All owners with their RRsets, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&WireName, &[RrSet])> {
        self.nodes.iter().map(|(owner, sets)| (owner, &**sets))
    }
}

/// Why a record or a zone was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("more than {0} records")]
    TooManyRecords(usize),
    #[error("more than {0} bytes")]
    TooManyBytes(usize),
    #[error("a record that cannot be written: {0}")]
    Unwritable(String),
    #[error("no SOA at the apex")]
    NoSoa,
    #[error("several SOA at the apex")]
    ManySoa,
}

struct PendingSet {
    rtype: RecordType,
    ttl: u32,
    packed: Vec<u8>,
}

/// Collects the records of a version to be.
pub(crate) struct ZoneBuilder {
    apex: WireName,
    limits: ZoneLimits,
    nodes: HashMap<WireName, Vec<PendingSet>>,
    records: usize,
    bytes: usize,
    /// Records outside the zone or of a class other than IN, left out.
    pub(crate) ignored: usize,
    /// The first of them, for the log.
    pub(crate) first_ignored: Option<WireName>,
}

/// A map entry, a set's header and two allocations, roughly.
const OVERHEAD_PER_NAME: usize = 96;
const OVERHEAD_PER_SET: usize = 48;

impl ZoneBuilder {
    /// An empty zone.
    pub(crate) fn new(apex: WireName, limits: ZoneLimits) -> Self {
        Self {
            apex,
            limits,
            nodes: HashMap::new(),
            records: 0,
            bytes: 0,
            ignored: 0,
            first_ignored: None,
        }
    }

    /// Adds a record. One outside the zone is counted and left out.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "tests build zones from records")
    )]
    pub(crate) fn push(&mut self, record: &Record) -> Result<(), BuildError> {
        let owner = WireName::from_name(&record.name);
        if record.dns_class != DNSClass::IN {
            self.ignore(owner);
            return Ok(());
        }
        let mut rdata = Vec::with_capacity(32);
        let mut encoder = BinEncoder::new(&mut rdata);
        encoder.set_name_encoding(NameEncoding::Uncompressed);
        record
            .data
            .emit(&mut encoder)
            .map_err(|error| BuildError::Unwritable(error.to_string()))?;
        self.push_raw(owner, record.record_type(), record.ttl, &rdata)
    }

    /// The same with rdata in uncompressed wire form.
    pub(crate) fn push_raw(
        &mut self,
        owner: WireName,
        rtype: RecordType,
        ttl: u32,
        rdata: &[u8],
    ) -> Result<(), BuildError> {
        if !owner.is_within(&self.apex) {
            self.ignore(owner);
            return Ok(());
        }
        let len = u16::try_from(rdata.len()).map_err(|_| {
            BuildError::Unwritable("rdata above 65535 bytes".to_owned())
        })?;
        // RFC 2181 §8: a TTL with the top bit set counts as zero.
        let ttl = if ttl > i32::MAX.cast_unsigned() { 0 } else { ttl };
        self.records += 1;
        self.bytes += rdata.len() + 2;
        let name_cost = OVERHEAD_PER_NAME + owner.as_bytes().len();
        let sets = self.nodes.entry(owner).or_insert_with(|| {
            self.bytes += name_cost;
            Vec::with_capacity(1)
        });
        let set = match sets.iter_mut().position(|set| set.rtype == rtype) {
            Some(at) => &mut sets[at],
            None => {
                self.bytes += OVERHEAD_PER_SET;
                sets.push(PendingSet { rtype, ttl, packed: Vec::new() });
                sets.last_mut().expect("one was just added")
            }
        };
        set.ttl = set.ttl.min(ttl);
        set.packed.extend_from_slice(&len.to_be_bytes());
        set.packed.extend_from_slice(rdata);
        if self.records > self.limits.max_records {
            return Err(BuildError::TooManyRecords(self.limits.max_records));
        }
        if self.bytes > self.limits.max_bytes {
            return Err(BuildError::TooManyBytes(self.limits.max_bytes));
        }
        Ok(())
    }

    fn ignore(&mut self, owner: WireName) {
        self.ignored += 1;
        self.first_ignored.get_or_insert(owner);
    }

    /// Makes the version. Takes time in proportion to the zone: not for an
    /// async thread when the zone is large.
    pub(crate) fn finish(
        self,
        provenance: Provenance,
    ) -> Result<ZoneVersion, BuildError> {
        let Self { apex, mut nodes, mut bytes, .. } = self;
        let mut missing: HashSet<WireName> = HashSet::new();
        for owner in nodes.keys().filter(|owner| **owner != apex) {
            for parent in suffixes(owner.as_bytes()).skip(1) {
                if parent == apex.as_bytes()
                    || nodes.contains_key(parent)
                    || missing.contains(parent)
                {
                    break;
                }
                missing.extend(WireName::read(parent));
            }
        }
        for name in missing {
            bytes += OVERHEAD_PER_NAME + name.as_bytes().len();
            nodes.insert(name, Vec::new());
        }
        let mut records = 0;
        let nodes: HashMap<WireName, Box<[RrSet]>> = nodes
            .into_iter()
            .map(|(owner, sets)| {
                let mut sets: Vec<RrSet> = sets
                    .into_iter()
                    .map(|set| seal(set, &mut records))
                    .collect();
                sets.sort_by_key(|set| u16::from(set.rtype));
                (owner, sets.into_boxed_slice())
            })
            .collect();
        let soa = apex_soa(&apex, &nodes)?;
        let RData::SOA(fields) = &soa.data else {
            return Err(BuildError::NoSoa);
        };
        Ok(ZoneVersion {
            serial: Serial(fields.serial),
            timers: SoaTimers::from_soa(fields),
            apex,
            provenance,
            records,
            bytes,
            soa,
            nodes,
        })
    }
}

/// Sorts the rdata and drops doubles: CNS sends both out of order (its hash
/// order) and twice.
fn seal(set: PendingSet, records: &mut usize) -> RrSet {
    let PendingSet { rtype, ttl, packed } = set;
    let mut all: Vec<&[u8]> = unpack(&packed).collect();
    all.sort_unstable();
    all.dedup();
    *records += all.len();
    let mut sealed = Vec::with_capacity(packed.len());
    for rdata in all {
        let len =
            u16::try_from(rdata.len()).expect("was checked on the way in");
        sealed.extend_from_slice(&len.to_be_bytes());
        sealed.extend_from_slice(rdata);
    }
    RrSet { rtype, ttl, packed: sealed.into_boxed_slice() }
}

fn apex_soa(
    apex: &WireName,
    nodes: &HashMap<WireName, Box<[RrSet]>>,
) -> Result<Record, BuildError> {
    let set = nodes
        .get(apex.as_bytes())
        .and_then(|sets| sets.iter().find(|s| s.rtype == RecordType::SOA))
        .ok_or(BuildError::NoSoa)?;
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
    use super::*;
    use crate::dns::fake::{apex, record, soa_record, version};

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
        let sets = zone.node(key.as_bytes()).unwrap();
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
            zone.node(WireName::from_name(&name).as_bytes()).map(<[_]>::len)
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
