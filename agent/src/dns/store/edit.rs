// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A version made from another one, by a few sets that differ: they lie over
//! the old table, until there are so many that a new one is made.

use std::sync::Arc;

use hickory_proto::rr::RecordType;

use super::build::BuildError;
use super::overlay::Overlay;
use super::{Provenance, ZoneLimits, ZoneVersion};
use crate::dns::names::WireName;

/// Names that may differ from the table before a new one is made: below it, a
/// difference is applied faster than a table is written.
const MAX_OVERLAY: usize = 2048;

/// A version in the making, from another one.
pub(crate) struct Edit<'z> {
    pub(super) base: &'z ZoneVersion,
    pub(super) overlay: Overlay,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hickory_proto::rr::{Name, Record};
    use proptest::prelude::*;

    use super::*;
    use crate::dns::secondary::fake::{any_records, apex, name, version};
    use crate::dns::store::build::ZoneBuilder;

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
