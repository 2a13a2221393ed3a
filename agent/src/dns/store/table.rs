// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! All names and records of a zone in one block of bytes: what is kept in
//! memory and, as it is, on disk, so that a start reads instead of parsing.
//!
//! All numbers are big-endian; offsets count from the block's beginning.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | seed of the hash |
//! | 4, 4 | number of names, of records |
//! | 4 | number of slots, a power of two |
//! | 4 | number of names where the zone ends, see `rrset.rs` |
//! | 8 a slot | upper half of the name's hash; offset of its node, 0 if free |
//! | ... | the nodes, apex first, each after its parent |
//!
//! A node is a name, present also where it only leads to others (an empty
//! non-terminal):
//!
//! | bytes | what |
//! |---|---|
//! | 4 | offset of the parent's node, 0 at the apex |
//! | 4 | number of children |
//! | 1 + n | the label; empty at the apex |
//! | 4 + n | the RRsets, see `rrset.rs` |
//!
//! So a label is written once however many names end in it. The hash is our
//! own because the file outlives the program: it must never change unless the
//! file's format does. Bytes from disk are trusted nowhere: whatever does not
//! lie within the block, or before its child, does not exist.

use super::rrset::Node;
use crate::dns::names::WireName;

/// Bytes before the slots.
pub(crate) const HEAD: usize = 24;
/// Bytes of a slot.
pub(crate) const SLOT: usize = 8;
/// Most labels a name can have: 255 bytes of two each, and the root.
const MAX_LABELS: usize = 128;

/// See the module.
#[derive(Debug)]
pub(crate) struct Table {
    bytes: Vec<u8>,
    seed: u64,
    names: u32,
    records: u32,
    slots: u32,
    cuts: u32,
}

/// One node as it lies there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawNode<'z> {
    parent: u32,
    pub(crate) children: u32,
    label: &'z [u8],
    pub(crate) sets: Node<'z>,
}

impl Table {
    /// Takes a block over. `None` when its head does not fit it.
    pub(crate) fn new(bytes: Vec<u8>) -> Option<Self> {
        let seed = u64::from_be_bytes(*bytes.first_chunk()?);
        let names = number(&bytes, 8)?;
        let records = number(&bytes, 12)?;
        let slots = number(&bytes, 16)?;
        let cuts = number(&bytes, 20)?;
        let nodes_at = usize::try_from(slots)
            .ok()?
            .checked_mul(SLOT)?
            .checked_add(HEAD)?;
        let fits = slots.is_power_of_two() && nodes_at < bytes.len();
        fits.then_some(Self { bytes, seed, names, records, slots, cuts })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn names(&self) -> usize {
        self.names as usize
    }

    pub(crate) fn records(&self) -> usize {
        self.records as usize
    }

    /// Names at which the zone ends.
    pub(crate) fn cuts(&self) -> usize {
        self.cuts as usize
    }

    /// The node of a name in lower-case wire form, below or at `apex`.
    pub(crate) fn find(
        &self,
        name: &[u8],
        apex: &WireName,
    ) -> Option<RawNode<'_>> {
        let hash = Labels::of(name, apex)?.hash(self.seed);
        let mut slot = first_slot(hash, self.slots);
        for _ in 0..self.slots {
            let at = HEAD + slot as usize * SLOT;
            let tag = number(&self.bytes, at)?;
            let offset = number(&self.bytes, at + 4)?;
            if offset == 0 {
                return None;
            }
            if tag == tag_of(hash)
                && let Some(node) = self.node(offset)
                && self.is_named(node, offset, name, apex)
            {
                return Some(node);
            }
            slot = (slot + 1) & (self.slots - 1);
        }
        None
    }

    fn is_named<'z>(
        &'z self,
        mut node: RawNode<'z>,
        mut offset: u32,
        name: &[u8],
        apex: &WireName,
    ) -> bool {
        let mut rest = name;
        while !node.label.is_empty() {
            let label = rest.split_first().and_then(|(len, tail)| {
                tail.split_at_checked(usize::from(*len))
            });
            let Some((label, tail)) = label else { return false };
            // Parents come first, so this ends whatever the bytes say.
            if label != node.label || node.parent >= offset {
                return false;
            }
            let Some(parent) = self.node(node.parent) else { return false };
            (rest, offset, node) = (tail, node.parent, parent);
        }
        rest == apex.as_bytes()
    }

    fn node(&self, offset: u32) -> Option<RawNode<'_>> {
        Some(self.read(offset as usize)?.0)
    }

    /// A node, and where the next one begins.
    fn read(&self, at: usize) -> Option<(RawNode<'_>, usize)> {
        let rest = self.bytes.get(at..)?;
        let (parent, rest) = rest.split_first_chunk()?;
        let (children, rest) = rest.split_first_chunk()?;
        let (label_len, rest) = rest.split_first()?;
        let (label, rest) = rest.split_at_checked((*label_len).into())?;
        let (len, rest) = rest.split_first_chunk()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        let (sets, rest) = rest.split_at_checked(len)?;
        let node = RawNode {
            parent: u32::from_be_bytes(*parent),
            children: u32::from_be_bytes(*children),
            label,
            sets: Node(sets),
        };
        Some((node, self.bytes.len() - rest.len()))
    }

    /// All names with their RRsets, in the order they were first met.
    pub(crate) fn iter(
        &self,
        apex: &WireName,
    ) -> impl Iterator<Item = (WireName, Node<'_>)> {
        let mut at = HEAD + self.slots as usize * SLOT;
        std::iter::from_fn(move || {
            let (node, next) = self.read(at)?;
            let name = self.name(node, at, apex)?;
            at = next;
            Some((name, node.sets))
        })
    }

    fn name<'z>(
        &'z self,
        mut node: RawNode<'z>,
        mut at: usize,
        apex: &WireName,
    ) -> Option<WireName> {
        let mut wire = Vec::with_capacity(64);
        while !node.label.is_empty() {
            let parent = node.parent as usize;
            if parent >= at || wire.len() > 255 {
                return None;
            }
            wire.push(u8::try_from(node.label.len()).ok()?);
            wire.extend_from_slice(node.label);
            (node, at) = (self.node(node.parent)?, parent);
        }
        wire.extend_from_slice(apex.as_bytes());
        WireName::read(&wire)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let number = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(number.try_into().ok()?))
}

/// The slot where a name's search begins, and the half of the hash that it
/// holds.
pub(crate) fn first_slot(hash: u64, slots: u32) -> u32 {
    // The lower half, as far as there are slots.
    (hash & u64::from(slots - 1)) as u32
}

pub(crate) fn tag_of(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// The labels of a name below an apex.
pub(crate) struct Labels<'n> {
    name: &'n [u8],
    starts: [u8; MAX_LABELS],
    count: usize,
}

impl<'n> Labels<'n> {
    /// `None` for a name that is not at or below the apex.
    pub(crate) fn of(name: &'n [u8], apex: &WireName) -> Option<Self> {
        let end = name.len().checked_sub(apex.as_bytes().len())?;
        let mut starts = [0; MAX_LABELS];
        let (mut at, mut count) = (0, 0);
        while at < end {
            *starts.get_mut(count)? = u8::try_from(at).ok()?;
            count += 1;
            at += 1 + usize::from(*name.get(at)?);
        }
        let within = at == end && name.get(at..)? == apex.as_bytes();
        within.then_some(Self { name, starts, count })
    }

    /// The labels, without their lengths, the one next to the apex first.
    pub(crate) fn downwards(&self) -> impl Iterator<Item = &'n [u8]> {
        self.starts[..self.count].iter().rev().filter_map(|start| {
            let (len, rest) =
                self.name.get(usize::from(*start)..)?.split_first()?;
            rest.get(..usize::from(*len))
        })
    }

    fn hash(&self, seed: u64) -> u64 {
        finish(self.downwards().fold(seed, add_label))
    }
}

/// An odd number of random bits: 2^64 over the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The hash of a name, not yet finished, from that of its parent.
pub(crate) fn add_label(parent: u64, label: &[u8]) -> u64 {
    let mut hash = mix(parent, label.len() as u64);
    let mut words = label.chunks_exact(8);
    for word in &mut words {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        hash = mix(hash, word);
    }
    let mut last = [0; 8];
    let rest = words.remainder();
    last[..rest.len()].copy_from_slice(rest);
    mix(hash, u64::from_le_bytes(last))
}

/// Multiplies to 128 bits and folds: one multiplication a word, every bit of
/// the word reaches every bit of the hash.
fn mix(hash: u64, word: u64) -> u64 {
    let wide = u128::from(hash ^ word ^ SPREAD)
        .wrapping_mul(u128::from(SPREAD.rotate_left(17) ^ hash | 1));
    (wide as u64) ^ ((wide >> 64) as u64)
}

pub(crate) fn finish(hash: u64) -> u64 {
    mix(hash, SPREAD)
}
