// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! From records to a `Table`: names are interned as they come, records wait in
//! one list a name until the block is written; what was written is given back.

use hickory_proto::rr::RecordType;

use super::arena::Arena;
use super::entry::{Entry, NONE, Name, Record};
use super::rrset::{Loose, Node, SET_HEAD, write_sets};
use super::table::{
    HEAD, Labels, SLOT, Table, add_label, finish, first_slot, tag_of,
};
use super::{Provenance, ZoneLimits, ZoneVersion};
use crate::dns::names::WireName;
use crate::dns::pace::Pace;

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

/// Collects the records of a version to be.
pub(crate) struct ZoneBuilder {
    apex: WireName,
    limits: ZoneLimits,
    seed: u64,
    names: usize,
    /// Doubles included.
    records: usize,
    pace: Pace,
    /// Four bytes a slot, by the names' hash: where the name lies, plus one;
    /// 0 when free.
    slots: Arena,
    /// A power of two.
    slot_count: usize,
    /// Names and records as they came, the apex first; see `entry.rs`.
    entries: Arena,
    /// Of the block to be, at most.
    bytes: usize,
    /// Records outside the zone, left out.
    pub(crate) ignored: usize,
    /// The first of them, for the log.
    pub(crate) first_ignored: Option<WireName>,
}

impl ZoneBuilder {
    /// An empty zone.
    pub(crate) fn new(apex: WireName, limits: ZoneLimits) -> Self {
        Self {
            apex,
            limits,
            // A primary that picks names to collide must guess it.
            seed: fastrand::u64(..),
            names: 0,
            records: 0,
            pace: Pace::default(),
            slots: Arena::default(),
            slot_count: 0,
            entries: Arena::default(),
            bytes: HEAD,
            ignored: 0,
            first_ignored: None,
        }
    }

    /// Adds a record, its rdata in uncompressed wire form. One outside the zone
    /// is counted and left out.
    pub(crate) fn push_raw(
        &mut self,
        owner: WireName,
        rtype: RecordType,
        ttl: u32,
        rdata: &[u8],
    ) -> Result<(), BuildError> {
        let Some(name) = self.intern(&owner)? else {
            self.ignore(owner);
            return Ok(());
        };
        let len = u16::try_from(rdata.len()).map_err(|_| {
            BuildError::Unwritable("rdata above 65535 bytes".to_owned())
        })?;
        self.bytes += SET_HEAD + 2 + rdata.len();
        // RFC 2181 §8: a TTL with the top bit set counts as zero.
        let ttl = if ttl > i32::MAX.cast_unsigned() { 0 } else { ttl };
        let last = Name::last_at(name);
        let before = self.entries.number(last);
        let head = Record::head(before, ttl, rtype.into(), len);
        let record = self.keep(&[&head, rdata])?;
        self.entries.set_number(last, record);
        self.records += 1;
        self.pace.step();
        if self.records > self.limits.max_records {
            return Err(BuildError::TooManyRecords(self.limits.max_records));
        }
        // Offsets have 32 bits, whatever the limit.
        if self.bytes > self.limits.max_bytes.min(u32::MAX as usize) {
            return Err(BuildError::TooManyBytes(self.limits.max_bytes));
        }
        Ok(())
    }

    fn ignore(&mut self, owner: WireName) {
        self.ignored += 1;
        self.first_ignored.get_or_insert(owner);
    }

    /// Where a name lies; makes it and those it lies below. `None` outside
    /// the zone.
    fn intern(&mut self, owner: &WireName) -> Result<Option<u32>, BuildError> {
        let Some(labels) = Labels::of(owner.as_bytes(), &self.apex) else {
            return Ok(None);
        };
        if self.names == 0 {
            self.add_name(self.seed, 0, &[])?;
        }
        let (mut at, mut hash) = (0, self.seed);
        for label in labels.downwards() {
            hash = add_label(hash, label);
            at = match self.look(hash, at, label) {
                Some(found) => found,
                None => {
                    Name::make_parent(self.entries.get_mut(at as usize, 1));
                    self.add_name(hash, at, label)?
                }
            };
        }
        Ok(Some(at))
    }

    fn look(&self, hash: u64, parent: u32, label: &[u8]) -> Option<u32> {
        let mut slot = self.first_slot(hash);
        loop {
            let found = self.slots.number(slot * 4).checked_sub(1)?;
            let name = Name::read(self.entries.rest(found as usize))?;
            if name.hash == hash && name.parent == parent && name.label == label
            {
                return Some(found);
            }
            slot = (slot + 1) % self.slot_count;
        }
    }

    fn first_slot(&self, hash: u64) -> usize {
        first_slot(finish(hash), index(self.slot_count)) as usize
    }

    fn add_name(
        &mut self,
        hash: u64,
        parent: u32,
        label: &[u8],
    ) -> Result<u32, BuildError> {
        let head = Name::head(hash, parent, label.len());
        let at = self.keep(&[&head, label])?;
        // Node, and up to three slots for two names.
        self.bytes += 13 + label.len() + 3 * SLOT;
        self.names += 1;
        if self.names * 3 > self.slot_count * 2 {
            self.slot_count = (self.slot_count * 2).max(16);
            // The old ones first.
            self.slots = Arena::default();
            self.slots =
                Arena::zeroed(self.slot_count * 4).map_err(unwritable)?;
            self.fill_slots();
        } else {
            self.fill_slot(hash, at);
        }
        Ok(at)
    }

    fn fill_slots(&mut self) {
        let mut at = 0;
        while let Some((here, entry, next)) = Entry::at(&self.entries, at) {
            if let Entry::Name(Name { hash, .. }) = entry {
                self.fill_slot(hash, index(here));
            }
            at = next;
            self.pace.step();
        }
    }

    fn fill_slot(&mut self, hash: u64, at: u32) {
        let mut slot = self.first_slot(hash);
        while self.slots.number(slot * 4) != 0 {
            slot = (slot + 1) % self.slot_count;
        }
        self.slots.set_number(slot * 4, at + 1);
    }

    fn keep(&mut self, parts: &[&[u8]]) -> Result<u32, BuildError> {
        let at = self.entries.push(parts).map_err(unwritable)?;
        // One less than what fits: zero stands for none in a slot.
        match u32::try_from(at) {
            Ok(at) if at < NONE - 1 => Ok(at),
            _ => Err(BuildError::TooManyBytes(self.limits.max_bytes)),
        }
    }

    /// Makes the version. Takes time in proportion to the zone: not for an
    /// async thread when the zone is large.
    ///
    /// Errors: `NoSoa`, `ManySoa`.
    pub(crate) fn finish(
        mut self,
        provenance: Provenance,
    ) -> Result<ZoneVersion, BuildError> {
        // They have done their work; the block wants the room.
        self.slots = Arena::default();
        let slots = self.slot_count;
        let nodes_at = HEAD + slots * SLOT;
        let mut block = Vec::with_capacity(self.bytes.max(nodes_at));
        block.resize(nodes_at, 0);
        let (records, cuts) = self.write_nodes(&mut block);
        block[..8].copy_from_slice(&self.seed.to_be_bytes());
        let head = [(8, self.names), (12, records), (16, slots), (20, cuts)];
        for (at, number) in head {
            block[at..at + 4].copy_from_slice(&index(number).to_be_bytes());
        }
        block.shrink_to_fit();
        let table = Table::new(block).ok_or(BuildError::NoSoa)?;
        ZoneVersion::new(self.apex, table, provenance)
    }

    /// Writes the nodes in the order of the names, and gives back what has
    /// been written: a name's records come after it, so nobody needs what
    /// lies before the next name. Says how many records there are, and at
    /// how many names the zone ends.
    fn write_nodes(&mut self, block: &mut Vec<u8>) -> (usize, usize) {
        // Where names that have children lay, rising, and where they lie now.
        let mut parents: Vec<(u32, u32)> = Vec::new();
        let (mut at, mut records, mut cuts) = (0, 0, 0);
        while let Some((here, entry, next)) = Entry::at(&self.entries, at) {
            self.pace.step();
            if let Entry::Name(name) = entry {
                let offset = index(block.len());
                take_slot(block, self.slot_count, finish(name.hash), offset);
                let parent = parents
                    .binary_search_by_key(&name.parent, |parent| parent.0)
                    .map_or(0, |found| parents[found].1);
                count_child(block, parent);
                if name.is_parent {
                    parents.push((index(here), offset));
                }
                let (more, sets) =
                    write_node(&self.entries, &name, parent, block);
                records += more;
                let sets = Node(block.get(sets..).unwrap_or_default());
                cuts += usize::from(sets.is_cut(parent == 0));
            }
            at = next;
            self.entries.free_before(at);
        }
        (records, cuts)
    }
}

/// Says how many records there are, and where their sets begin.
fn write_node(
    entries: &Arena,
    name: &Name<'_>,
    parent: u32,
    block: &mut Vec<u8>,
) -> (usize, usize) {
    block.extend_from_slice(&parent.to_be_bytes());
    block.extend_from_slice(&[0; 4]);
    block.push(u8::try_from(name.label.len()).unwrap_or(63));
    block.extend_from_slice(name.label);
    let at = block.len();
    block.extend_from_slice(&[0; 4]);
    let mut loose: Vec<Loose<'_>> = Vec::new();
    let mut next = name.last;
    while next != NONE
        && let Some(record) = Record::read(entries.rest(next as usize))
    {
        loose.push((record.rtype, record.ttl, record.rdata));
        next = record.before;
    }
    let records = write_sets(&mut loose, block);
    let len = index(block.len() - at - 4);
    block[at..at + 4].copy_from_slice(&len.to_be_bytes());
    (records, at + 4)
}

/// One more child of the node at `parent`; 0 is none.
fn count_child(block: &mut [u8], parent: u32) {
    let at = parent as usize + 4;
    if parent != 0
        && let Some(count) =
            block.get_mut(at..).and_then(<[u8]>::first_chunk_mut)
    {
        *count = (u32::from_be_bytes(*count) + 1).to_be_bytes();
    }
}

fn unwritable(error: std::io::Error) -> BuildError {
    BuildError::Unwritable(error.to_string())
}

fn take_slot(block: &mut [u8], slots: usize, hash: u64, offset: u32) {
    let mut slot = first_slot(hash, index(slots)) as usize;
    loop {
        let at = HEAD + slot * SLOT;
        if block[at + 4..at + 8] == [0; 4] {
            block[at..at + 4].copy_from_slice(&tag_of(hash).to_be_bytes());
            block[at + 4..at + 8].copy_from_slice(&offset.to_be_bytes());
            return;
        }
        slot = (slot + 1) % slots;
    }
}

/// Counts and offsets: `max_bytes` keeps them all below 2^32.
fn index(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::secondary::fake::{apex, version};

    const NAMES: u32 = 30_000;

    fn owner(number: u32) -> WireName {
        let parent = format!("p{:03}", number % 300);
        let parent = WireName::child(parent.as_bytes(), apex().as_bytes());
        WireName::child(number.to_string().as_bytes(), parent.as_bytes())
    }

    /// Every name's second record comes after all names, so what is given
    /// back early must be what nobody reads again.
    #[test]
    fn a_zone_of_many_pieces_is_whole() {
        let empty = version(1, &[]);
        let node = empty.node(apex().as_bytes()).unwrap();
        let soa = node.set(RecordType::SOA).unwrap();
        let mut builder = ZoneBuilder::new(apex(), ZoneLimits::default());
        for rdata in soa.rdata() {
            builder.push_raw(apex(), RecordType::SOA, soa.ttl, rdata).unwrap();
        }
        for rtype in [RecordType::A, RecordType::TXT] {
            for number in 0..NAMES {
                let mut rdata = vec![40; 41];
                rdata[1..5].copy_from_slice(&number.to_be_bytes());
                builder.push_raw(owner(number), rtype, 30, &rdata).unwrap();
            }
        }
        assert!(Arena::next_piece(0) * 3 < builder.entries.len());
        let zone = builder.finish(empty.provenance).unwrap();
        assert_eq!(zone.names(), NAMES as usize + 300 + 1);
        for number in 0..NAMES {
            let node = zone.node(owner(number).as_bytes()).unwrap();
            for rtype in [RecordType::A, RecordType::TXT] {
                let set = node.set(rtype).unwrap();
                let rdata: Vec<&[u8]> = set.rdata().collect();
                assert_eq!(rdata.len(), 1);
                assert_eq!(rdata[0][1..5], number.to_be_bytes());
            }
        }
    }
}
