// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! From records to a `Table`: names are interned as they come, records wait in
//! one list a name until the block is written.

use hickory_proto::rr::RecordType;

use super::rrset::{Loose, SET_HEAD, write_sets};
use super::table::{
    HEAD, Labels, SLOT, Table, add_label, finish, first_slot, tag_of,
};
use super::{Provenance, ZoneLimits, ZoneVersion};
use crate::dns::names::WireName;

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

/// Marks the end of a list, and what is not there.
const NONE: u32 = u32::MAX;

/// A name that was met.
struct Interned {
    /// Of the whole name, not yet finished.
    hash: u64,
    parent: u32,
    /// Where its label lies in `text`, with its length before it.
    label: u32,
    children: u32,
    /// The record that came last; leads to those before it.
    last: u32,
}

/// A record that waits.
struct Waiting {
    before: u32,
    ttl: u32,
    /// Where its rdata lies in `text`.
    data: u32,
    len: u16,
    rtype: u16,
}

/// Collects the records of a version to be.
pub(crate) struct ZoneBuilder {
    apex: WireName,
    limits: ZoneLimits,
    seed: u64,
    names: Vec<Interned>,
    /// Indices of names by their hash, or `NONE`; a power of two of them.
    slots: Vec<u32>,
    records: Vec<Waiting>,
    /// Labels and rdata as they came.
    text: Vec<u8>,
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
        // A primary that picks names to collide must guess it.
        let seed = fastrand::u64(..);
        let mut builder = Self {
            apex,
            limits,
            seed,
            names: Vec::new(),
            slots: vec![NONE; 16],
            records: Vec::new(),
            text: vec![0],
            bytes: HEAD,
            ignored: 0,
            first_ignored: None,
        };
        // Its label is the empty one that `text` begins with.
        builder.add_name(seed, NONE, 0, 0);
        builder
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
        let Some(name) = self.intern(&owner) else {
            self.ignore(owner);
            return Ok(());
        };
        let len = u16::try_from(rdata.len()).map_err(|_| {
            BuildError::Unwritable("rdata above 65535 bytes".to_owned())
        })?;
        self.bytes += SET_HEAD + 2 + rdata.len();
        let data = self.keep(&[], rdata);
        let slot = &mut self.names[name as usize].last;
        let before = *slot;
        *slot = index(self.records.len());
        // RFC 2181 §8: a TTL with the top bit set counts as zero.
        let ttl = if ttl > i32::MAX.cast_unsigned() { 0 } else { ttl };
        let rtype = u16::from(rtype);
        self.records.push(Waiting { before, ttl, data, len, rtype });
        if self.records.len() > self.limits.max_records {
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

    /// The index of a name; makes it and those it lies below. `None` outside
    /// the zone.
    fn intern(&mut self, owner: &WireName) -> Option<u32> {
        let labels = Labels::of(owner.as_bytes(), &self.apex)?;
        let mut at = 0;
        for label in labels.downwards() {
            let hash = add_label(self.names[at as usize].hash, label);
            at = match self.look(hash, at, label) {
                Some(found) => found,
                None => {
                    self.names[at as usize].children += 1;
                    let len = u8::try_from(label.len()).unwrap_or(63);
                    let text = self.keep(&[len], label);
                    self.add_name(hash, at, text, label.len())
                }
            };
        }
        Some(at)
    }

    fn look(&self, hash: u64, parent: u32, label: &[u8]) -> Option<u32> {
        let mut slot = self.first_slot(hash);
        loop {
            let found = self.slots[slot];
            let name = self.names.get(found as usize)?;
            if name.hash == hash
                && name.parent == parent
                && self.label(name) == label
            {
                return Some(found);
            }
            slot = (slot + 1) % self.slots.len();
        }
    }

    fn first_slot(&self, hash: u64) -> usize {
        first_slot(finish(hash), index(self.slots.len())) as usize
    }

    fn label(&self, name: &Interned) -> &[u8] {
        let at = name.label as usize;
        let len = usize::from(self.text[at]);
        &self.text[at + 1..at + 1 + len]
    }

    fn add_name(
        &mut self,
        hash: u64,
        parent: u32,
        label: u32,
        len: usize,
    ) -> u32 {
        let added = index(self.names.len());
        // Node, and up to three slots for two names.
        self.bytes += 13 + len + 3 * SLOT;
        let name = Interned { hash, parent, label, children: 0, last: NONE };
        self.names.push(name);
        if self.names.len() * 3 > self.slots.len() * 2 {
            self.slots = vec![NONE; self.slots.len() * 2];
            for at in 0..self.names.len() {
                self.fill_slot(at);
            }
        } else {
            self.fill_slot(added as usize);
        }
        added
    }

    fn fill_slot(&mut self, name: usize) {
        let mut slot = self.first_slot(self.names[name].hash);
        while self.slots[slot] != NONE {
            slot = (slot + 1) % self.slots.len();
        }
        self.slots[slot] = index(name);
    }

    fn keep(&mut self, head: &[u8], bytes: &[u8]) -> u32 {
        let at = index(self.text.len());
        self.text.extend_from_slice(head);
        self.text.extend_from_slice(bytes);
        at
    }

    /// Makes the version. Takes time in proportion to the zone: not for an
    /// async thread when the zone is large.
    ///
    /// Errors: `NoSoa`, `ManySoa`.
    pub(crate) fn finish(
        mut self,
        provenance: Provenance,
    ) -> Result<ZoneVersion, BuildError> {
        let slots = self.slots.len();
        // It has done its work; the block wants the room.
        self.slots = Vec::new();
        let mut block = vec![0; HEAD + slots * SLOT];
        block.reserve_exact(self.bytes.saturating_sub(block.len()));
        let mut offsets: Vec<u32> = Vec::with_capacity(self.names.len());
        let mut records = 0;
        let mut loose = Vec::new();
        for name in &self.names {
            let offset = index(block.len());
            offsets.push(offset);
            take_slot(&mut block, slots, finish(name.hash), offset);
            let parent = offsets.get(name.parent as usize).unwrap_or(&0);
            block.extend_from_slice(&parent.to_be_bytes());
            block.extend_from_slice(&name.children.to_be_bytes());
            let label = self.label(name);
            block.push(u8::try_from(label.len()).unwrap_or(63));
            block.extend_from_slice(label);
            let at = block.len();
            block.extend_from_slice(&[0; 4]);
            self.collect(name, &mut loose);
            records += write_sets(&mut loose, &mut block);
            let len = index(block.len() - at - 4);
            block[at..at + 4].copy_from_slice(&len.to_be_bytes());
        }
        block[..8].copy_from_slice(&self.seed.to_be_bytes());
        for (at, number) in [(8, self.names.len()), (12, records), (16, slots)]
        {
            block[at..at + 4].copy_from_slice(&index(number).to_be_bytes());
        }
        block.shrink_to_fit();
        let apex = self.apex.clone();
        drop(self);
        let table = Table::new(block).ok_or(BuildError::NoSoa)?;
        ZoneVersion::new(apex, table, provenance)
    }

    fn collect<'b>(&'b self, name: &Interned, loose: &mut Vec<Loose<'b>>) {
        loose.clear();
        let mut next = name.last;
        while let Some(record) = self.records.get(next as usize) {
            let at = record.data as usize;
            let rdata = &self.text[at..at + usize::from(record.len)];
            loose.push((record.rtype, record.ttl, rdata));
            next = record.before;
        }
    }
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
