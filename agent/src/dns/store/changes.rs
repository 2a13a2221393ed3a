// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Differences between two versions of a zone, and what becomes of a version
//! when they are applied.

use std::collections::{BTreeSet, HashMap};

use hickory_proto::rr::RecordType;

use super::build::BuildError;
use super::{Provenance, Serial, ZoneLimits, ZoneVersion};
use crate::dns::names::WireName;
use crate::dns::secondary::wire::WireRecord;

/// What one serial's step takes away and adds, SOA records aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// By owner, type and data; TTLs are not compared.
    pub(crate) removed: Vec<WireRecord>,
    pub(crate) added: Vec<WireRecord>,
}

/// A chain of steps: at least one, each beginning where the last one ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) from: Serial,
    pub(crate) to: Serial,
    pub(crate) steps: Vec<Step>,
    /// The apex SOA at the end of the chain.
    pub(crate) soa: WireRecord,
}

/// What a chain made of a version.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) version: ZoneVersion,
    /// Removals of records that were not there.
    pub(crate) absent: usize,
    /// Additions of records that were there.
    pub(crate) present: usize,
}

/// A touched RRset: the TTL of what came last holds for all (RFC 2181 §5.2).
struct Set {
    ttl: u32,
    rdata: BTreeSet<Vec<u8>>,
}

type Touched = HashMap<(WireName, u16), Set>;

/// Applies `changes` to `base`, whose serial is `changes.from`. Records that
/// do not fit are passed over and counted: CNS's full transfer is no snapshot,
/// so that a later difference may remove what never came.
///
/// Takes time in proportion to what changed, and once in a while to the zone
/// (`Edit::finish`): not for an async thread.
pub(crate) fn apply(
    base: &ZoneVersion,
    changes: &Changes,
    limits: ZoneLimits,
    provenance: Provenance,
) -> Result<Applied, BuildError> {
    let (mut absent, mut present) = (0, 0);
    let mut touched = Touched::new();
    for step in &changes.steps {
        for record in &step.removed {
            let set = touch(&mut touched, base, record);
            absent += usize::from(!set.rdata.remove(&record.rdata));
        }
        for record in &step.added {
            let set = touch(&mut touched, base, record);
            set.ttl = record.ttl;
            present += usize::from(!set.rdata.insert(record.rdata.clone()));
        }
    }
    let mut edit = base.edit();
    for ((owner, rtype), set) in &touched {
        let rdata: Vec<&[u8]> = set.rdata.iter().map(Vec::as_slice).collect();
        edit.put(owner, RecordType::from(*rtype), set.ttl, &rdata);
    }
    let soa = &changes.soa;
    edit.put(&soa.owner, RecordType::SOA, soa.ttl, &[&soa.rdata]);
    let version = edit.finish(limits, provenance)?;
    Ok(Applied { version, absent, present })
}

fn touch<'t>(
    touched: &'t mut Touched,
    base: &ZoneVersion,
    record: &WireRecord,
) -> &'t mut Set {
    let key = (record.owner.clone(), record.rtype);
    touched.entry(key).or_insert_with(|| {
        let rtype = RecordType::from(record.rtype);
        let node = base.node(record.owner.as_bytes()).unwrap_or_default();
        match node.set(rtype) {
            Some(set) => Set {
                ttl: set.ttl,
                rdata: set.rdata().map(<[u8]>::to_vec).collect(),
            },
            None => Set { ttl: record.ttl, rdata: BTreeSet::new() },
        }
    })
}

/// How many RRsets differ between two versions, the apex SOA aside.
pub(crate) fn differing(one: &ZoneVersion, other: &ZoneVersion) -> usize {
    count(one, other, true) + count(other, one, false)
}

/// RRsets of `these` that `others` lack or, if `changed`, have in another
/// form.
fn count(these: &ZoneVersion, others: &ZoneVersion, changed: bool) -> usize {
    let mut differing = 0;
    for (owner, node) in these.iter() {
        let theirs = others.node(owner.as_bytes()).unwrap_or_default();
        for set in node.iter() {
            if set.rtype == RecordType::SOA && owner == these.apex {
                continue;
            }
            differing += usize::from(match theirs.set(set.rtype) {
                None => true,
                Some(their) => changed && their != set,
            });
        }
    }
    differing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::secondary::fake::{record, version, wire_record, wire_soa};

    fn changes(removed: &[&str], added: &[&str]) -> Changes {
        let all = |texts: &[&str]| {
            let one = |text: &&str| {
                let (owner, data) = text.split_once(' ').unwrap();
                wire_record(&record(owner, 30, data))
            };
            texts.iter().map(one).collect()
        };
        Changes {
            from: Serial(1),
            to: Serial(2),
            steps: vec![Step {
                from: 1,
                to: 2,
                removed: all(removed),
                added: all(added),
            }],
            soa: wire_soa(2),
        }
    }

    fn applied(base: &ZoneVersion, changes: &Changes) -> Applied {
        let limits = ZoneLimits::default();
        apply(base, changes, limits, base.provenance).unwrap()
    }

    #[test]
    fn records_come_and_go() {
        let old = [
            record("a.b.c", 30, "A 10.0.0.1"),
            record("a.b.c", 30, "A 10.0.0.2"),
            record("gone.below", 30, "TXT x"),
        ];
        let base = version(1, &old);
        let done = applied(
            &base,
            &changes(
                &["a.b.c A 10.0.0.1", "gone.below TXT x"],
                &["new A 10.0.0.3"],
            ),
        );
        let new = [old[1].clone(), record("new", 30, "A 10.0.0.3")];
        let expected = version(2, &new);
        assert!(done.version.same_content(&expected));
        assert_eq!((done.absent, done.present), (0, 0));
        assert_eq!(done.version.serial, Serial(2));
        assert_eq!(differing(&done.version, &expected), 0);
        // One set smaller, one gone, one new.
        assert_eq!(differing(&base, &expected), 3);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let base = version(1, &[record("a", 30, "A 10.0.0.1")]);
        let odd = changes(&["never TXT x", "a A 10.0.0.9"], &["a A 10.0.0.1"]);
        let done = applied(&base, &odd);
        assert_eq!((done.absent, done.present), (2, 1));
        let expected = version(2, &[record("a", 30, "A 10.0.0.1")]);
        assert!(done.version.same_content(&expected));
    }

    #[test]
    fn a_zone_above_the_limits_is_refused() {
        let base = version(1, &[record("a", 30, "A 10.0.0.1")]);
        let more = changes(&[], &["b A 10.0.0.1", "c A 10.0.0.1"]);
        let limits = ZoneLimits { max_records: 4, ..ZoneLimits::default() };
        let refused = apply(&base, &more, limits, base.provenance);
        assert!(matches!(refused, Err(BuildError::TooManyRecords(4))));
    }
}
