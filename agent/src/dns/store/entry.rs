// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a `ZoneBuilder` keeps, one entry after another. Numbers are big-endian
//! and places are offsets in the arena.
//!
//! | bytes | name | bytes | record |
//! |---|---|---|---|
//! | 1 | length of the label plus 1; top bit: has children | 1 | 127 |
//! | 4 | its last record, or `NONE` | 4 | the record before it, or `NONE` |
//! | 8 | hash of the whole name, not yet finished | 4 | TTL |
//! | 4 | parent | 2, 2 | type, length of the rdata |
//! | n | label | n | rdata |
//!
//! Zero begins no entry: the rest of the piece is empty.

use super::arena::Arena;

/// No record.
pub(crate) const NONE: u32 = u32::MAX;

const RECORD: u8 = 0x7f;
const PARENT: u8 = 0x80;
const NAME_HEAD: usize = 17;
const RECORD_HEAD: usize = 13;

/// A name that was met.
pub(crate) struct Name<'a> {
    pub(crate) is_parent: bool,
    pub(crate) last: u32,
    pub(crate) hash: u64,
    pub(crate) parent: u32,
    pub(crate) label: &'a [u8],
}

impl<'a> Name<'a> {
    /// What comes before a label of `len` bytes; no records yet.
    pub(crate) fn head(hash: u64, parent: u32, len: usize) -> [u8; NAME_HEAD] {
        let mut head = [0; NAME_HEAD];
        head[0] = u8::try_from(len).unwrap_or(63) + 1;
        head[1..5].copy_from_slice(&NONE.to_be_bytes());
        head[5..13].copy_from_slice(&hash.to_be_bytes());
        head[13..].copy_from_slice(&parent.to_be_bytes());
        head
    }

    /// Where the place of its last record stands.
    pub(crate) fn last_at(name: u32) -> usize {
        name as usize + 1
    }

    /// Notes on an entry, given its first byte, that it has children.
    pub(crate) fn make_parent(first: &mut [u8]) {
        first.iter_mut().for_each(|byte| *byte |= PARENT);
    }

    pub(crate) fn read(entry: &'a [u8]) -> Option<Self> {
        let (first, rest) = entry.split_first()?;
        let (last, rest) = rest.split_first_chunk()?;
        let (hash, rest) = rest.split_first_chunk()?;
        let (parent, rest) = rest.split_first_chunk()?;
        let len = usize::from(first & !PARENT).checked_sub(1)?;
        Some(Self {
            is_parent: first & PARENT != 0,
            last: u32::from_be_bytes(*last),
            hash: u64::from_be_bytes(*hash),
            parent: u32::from_be_bytes(*parent),
            label: rest.get(..len)?,
        })
    }
}

/// A record that waits.
pub(crate) struct Record<'a> {
    pub(crate) before: u32,
    pub(crate) ttl: u32,
    pub(crate) rtype: u16,
    pub(crate) rdata: &'a [u8],
}

impl<'a> Record<'a> {
    /// What comes before rdata of `len` bytes.
    pub(crate) fn head(
        before: u32,
        ttl: u32,
        rtype: u16,
        len: u16,
    ) -> [u8; RECORD_HEAD] {
        let mut head = [RECORD; RECORD_HEAD];
        head[1..5].copy_from_slice(&before.to_be_bytes());
        head[5..9].copy_from_slice(&ttl.to_be_bytes());
        head[9..11].copy_from_slice(&rtype.to_be_bytes());
        head[11..].copy_from_slice(&len.to_be_bytes());
        head
    }

    pub(crate) fn read(entry: &'a [u8]) -> Option<Self> {
        let (_, rest) = entry.split_first()?;
        let (before, rest) = rest.split_first_chunk()?;
        let (ttl, rest) = rest.split_first_chunk()?;
        let (rtype, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        Some(Self {
            before: u32::from_be_bytes(*before),
            ttl: u32::from_be_bytes(*ttl),
            rtype: u16::from_be_bytes(*rtype),
            rdata: rest.get(..u16::from_be_bytes(*len).into())?,
        })
    }
}

/// Either.
pub(crate) enum Entry<'a> {
    Name(Name<'a>),
    Record,
}

impl<'a> Entry<'a> {
    /// The first entry at `at` or after it: where it lies, what it is, where
    /// the search for the next one begins.
    pub(crate) fn at(
        arena: &'a Arena,
        mut at: usize,
    ) -> Option<(usize, Self, usize)> {
        while at < arena.len() {
            let bytes = arena.rest(at);
            match bytes.first().copied().unwrap_or(0) {
                0 => at = Arena::next_piece(at),
                RECORD => {
                    let len = Record::read(bytes)?.rdata.len();
                    return Some((at, Self::Record, at + RECORD_HEAD + len));
                }
                _ => {
                    let name = Name::read(bytes)?;
                    let next = at + NAME_HEAD + name.label.len();
                    return Some((at, Self::Name(name), next));
                }
            }
        }
        None
    }
}
