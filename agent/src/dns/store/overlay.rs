// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What changed since a table was made: a few names that count instead of the
//! table's. A small difference costs its own size, not that of the zone.

use std::collections::HashMap;
use std::sync::Arc;

use hickory_proto::rr::RecordType;

use super::rrset::{Loose, Node, write_sets};
use super::table::Table;
use crate::dns::names::WireName;

/// Names that differ from the table's. Cheap to copy: bytes are shared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overlay {
    names: HashMap<WireName, Entry>,
    /// Names, records and names where the zone ends: more than in the table,
    /// or less.
    pub(crate) more_names: isize,
    pub(crate) more_records: isize,
    pub(crate) more_cuts: isize,
}

#[derive(Clone, Debug)]
struct Entry {
    children: u32,
    sets: Arc<[u8]>,
}

impl Entry {
    fn exists(&self) -> bool {
        self.children > 0 || !self.sets.is_empty()
    }
}

impl Overlay {
    /// How many names it holds.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether a name is here; if so, its sets, or `None` if it is gone.
    pub(crate) fn get(&self, name: &[u8]) -> Option<Option<Node<'_>>> {
        if self.names.is_empty() {
            return None;
        }
        let entry = self.names.get(name)?;
        Some(entry.exists().then(|| Node(&entry.sets)))
    }

    /// All names that are here and not gone.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (WireName, Node<'_>)> {
        self.names
            .iter()
            .filter(|(_, entry)| entry.exists())
            .map(|(name, entry)| (name.clone(), Node(&entry.sets)))
    }

    /// Whether the table's own say on this name is void.
    pub(crate) fn hides(&self, name: &WireName) -> bool {
        self.names.contains_key(name)
    }

    /// Makes `rdata` the set of this owner and type; without any the set is
    /// gone. `owner` lies at or below `apex`.
    pub(crate) fn put(
        &mut self,
        table: &Table,
        apex: &WireName,
        owner: &WireName,
        (rtype, ttl): (RecordType, u32),
        rdata: &[&[u8]],
    ) {
        let rtype = u16::from(rtype);
        let entry = self.entry(table, apex, owner);
        let existed = entry.exists();
        let old = Arc::clone(&entry.sets);
        let mut loose: Vec<Loose<'_>> = Vec::new();
        for set in Node(&old).iter().filter(|s| u16::from(s.rtype) != rtype) {
            let kept = u16::from(set.rtype);
            loose.extend(set.rdata().map(|rdata| (kept, set.ttl, rdata)));
        }
        loose.extend(rdata.iter().map(|rdata| (rtype, ttl, *rdata)));
        let mut sets = Vec::new();
        let records = write_sets(&mut loose, &mut sets);
        entry.sets = sets.into();
        let exists = entry.exists();
        let is_cut =
            |sets: &[u8]| isize::from(Node(sets).is_cut(owner == apex));
        let more_cuts = is_cut(&entry.sets) - is_cut(&old);
        self.more_cuts += more_cuts;
        self.more_records +=
            records.cast_signed() - Node(&old).records().cast_signed();
        if existed != exists {
            self.link(table, apex, owner, exists);
        }
    }

    /// Tells the names above that one below came or went.
    fn link(
        &mut self,
        table: &Table,
        apex: &WireName,
        owner: &WireName,
        came: bool,
    ) {
        let mut below = owner.clone();
        // The apex is there always.
        while below != *apex {
            self.more_names += if came { 1 } else { -1 };
            let parent = below.suffixes().nth(1).and_then(WireName::read);
            let Some(parent) = parent else { return };
            let entry = self.entry(table, apex, &parent);
            let existed = entry.exists();
            entry.children = match came {
                true => entry.children.saturating_add(1),
                false => entry.children.saturating_sub(1),
            };
            if existed == entry.exists() {
                return;
            }
            below = parent;
        }
    }

    fn entry(
        &mut self,
        table: &Table,
        apex: &WireName,
        name: &WireName,
    ) -> &mut Entry {
        self.names.entry(name.clone()).or_insert_with(|| {
            match table.find(name.as_bytes(), apex) {
                Some(node) => {
                    let sets = node.sets.0.into();
                    Entry { children: node.children, sets }
                }
                None => Entry { children: 0, sets: [].into() },
            }
        })
    }
}
