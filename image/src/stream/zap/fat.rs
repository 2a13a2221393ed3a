// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The fat form of a ZAP: block 0 with a table from the first bits of a hash
//! to a leaf, then the leaves. A leaf holds all names whose hashes begin with
//! its prefix, in chunks of 24 bytes: an entry chunk each, and chains of array
//! chunks for name and value.
//!
//! Since the names come sorted by hash, a leaf is a range of them, and
//! splitting it by one more bit cuts the range in two.
//!
//! Source: OpenZFS `include/sys/zap_leaf.h`, `module/zfs/zap_leaf.c`.

use std::ops::Range;

use super::{Hashed, SALT, TooManyNames, Value};

const HEADER_MAGIC: u64 = 0x8000_0000_0000_0001;
const LEAF_MAGIC: u64 = 0x8000_0000_0000_0000;
const ZAP_MAGIC: u64 = 0x2_f52a_b2ab;
const LEAF_CHUNKS_MAGIC: u32 = 0x02ab_1eaf;
/// Block sizes, as powers of two, from the module's own to the largest. The
/// table takes half of block 0, and a table in blocks of its own is avoided.
const SHIFTS: [u32; 2] = [14, 17];
/// Header of a leaf, bytes.
const LEAF_HEADER: usize = 48;
const CHUNK: usize = 24;
/// Bytes of a name or value in each array chunk.
const ARRAY: usize = 21;
const ENTRY_CHUNK: u8 = 252;
const ARRAY_CHUNK: u8 = 251;
const FREE_CHUNK: u8 = 253;
/// "No chunk follows."
const NONE: u16 = 0xffff;
/// Names of one hash are chained by rising number.
const SORTED: u8 = 1;

pub(super) struct Fat<'a> {
    shift: u32,
    names: Vec<Hashed<'a>>,
    leaves: Vec<Leaf>,
}

struct Leaf {
    names: Range<usize>,
    prefix: u64,
    prefix_bits: u32,
}

impl<'a> Fat<'a> {
    /// `names` are sorted by hash.
    pub(super) fn new(names: Vec<Hashed<'a>>) -> Result<Self, TooManyNames> {
        for shift in SHIFTS {
            let whole =
                Leaf { names: 0..names.len(), prefix: 0, prefix_bits: 0 };
            let mut leaves = Vec::new();
            if split(&names, shift, whole, &mut leaves).is_ok() {
                return Ok(Self { shift, names, leaves });
            }
        }
        Err(TooManyNames)
    }

    pub(super) fn block_size(&self) -> u32 {
        1 << self.shift
    }

    pub(super) fn blocks(&self) -> impl Iterator<Item = Vec<u8>> {
        let leaves = self.leaves.iter().map(|leaf| {
            let names = &self.names[leaf.names.clone()];
            LeafBlock::new(self.shift, leaf).fill(names)
        });
        std::iter::once_with(|| self.header()).chain(leaves)
    }

    /// Block 0. Leaves are the blocks after it, in the order of their prefix.
    fn header(&self) -> Vec<u8> {
        let leaves = self.leaves.len() as u64;
        let table_shift = table_shift(self.shift);
        let mut block: Vec<u8> = [
            HEADER_MAGIC,
            ZAP_MAGIC,
            0, // table: the embedded one
            0,
            table_shift.into(),
            0,
            0,
            leaves + 1, // first free block
            leaves,
            self.names.len() as u64,
            SALT,
        ]
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
        block.resize(self.block_size() as usize / 2, 0);
        for (leaf, number) in self.leaves.iter().zip(1_u64..) {
            for _ in 0..1_u64 << (table_shift - leaf.prefix_bits) {
                block.extend_from_slice(&number.to_le_bytes());
            }
        }
        block
    }
}

/// Bits of a hash that choose a leaf.
fn table_shift(shift: u32) -> u32 {
    shift - 4
}

fn hash_heads(shift: u32) -> usize {
    1 << (shift - 5)
}

fn chunks(shift: u32) -> usize {
    ((1 << shift) - 2 * hash_heads(shift)) / CHUNK - LEAF_HEADER / CHUNK
}

fn chunks_needed(name: &Hashed) -> usize {
    let value = match &name.entry.value {
        Value::Number(_) => 8,
        Value::Words(words) => 2 * words.len(),
    };
    let name = name.entry.name.len() + 1;
    1 + name.div_ceil(ARRAY) + value.div_ceil(ARRAY)
}

/// Splits until each leaf has room for its names.
fn split(
    all: &[Hashed],
    shift: u32,
    leaf: Leaf,
    leaves: &mut Vec<Leaf>,
) -> Result<(), TooManyNames> {
    let Leaf { names, prefix, prefix_bits } = &leaf;
    let here = &all[names.clone()];
    if here.iter().map(chunks_needed).sum::<usize>() <= chunks(shift) {
        leaves.push(leaf);
        return Ok(());
    }
    if *prefix_bits == table_shift(shift) {
        return Err(TooManyNames);
    }
    let bit = 1 << (63 - prefix_bits);
    let middle =
        names.start + here.partition_point(|name| name.hash & bit == 0);
    for (half, names) in
        [names.start..middle, middle..names.end].into_iter().enumerate()
    {
        let prefix = prefix << 1 | half as u64;
        let leaf = Leaf { names, prefix, prefix_bits: prefix_bits + 1 };
        split(all, shift, leaf, leaves)?;
    }
    Ok(())
}

/// A leaf being filled.
struct LeafBlock {
    shift: u32,
    prefix_bits: u32,
    bytes: Vec<u8>,
    /// The next free chunk.
    next: usize,
}

impl LeafBlock {
    fn new(shift: u32, leaf: &Leaf) -> Self {
        let prefix_bits = leaf.prefix_bits;
        let bytes = vec![0; 1 << shift];
        let mut block = Self { shift, prefix_bits, bytes, next: 0 };
        block.put(0, &LEAF_MAGIC.to_le_bytes());
        block.put(16, &leaf.prefix.to_le_bytes());
        block.put(24, &LEAF_CHUNKS_MAGIC.to_le_bytes());
        block.put(32, &narrow(prefix_bits as usize));
        block.put(36, &[SORTED]);
        block
    }

    fn fill(mut self, names: &[Hashed]) -> Vec<u8> {
        let entries: Vec<usize> =
            names.iter().map(|name| self.add(name)).collect();
        self.chain(names, &entries);
        let (used, total) = (self.next, chunks(self.shift));
        self.put(28, &narrow(total - used));
        self.put(30, &narrow(names.len()));
        let first =
            if used < total { narrow(used) } else { NONE.to_le_bytes() };
        self.put(34, &first);
        for chunk in used..total {
            let at = self.chunk_at(chunk);
            let next = if chunk + 1 < total { chunk + 1 } else { NONE.into() };
            self.put(at, &[FREE_CHUNK]);
            self.put(at + 22, &narrow(next));
        }
        self.bytes
    }

    /// Puts a name's chunks; returns its entry chunk.
    fn add(&mut self, Hashed { hash, cd, entry }: &Hashed) -> usize {
        let chunk = self.next;
        self.next += 1;
        let name = [&entry.name[..], b"\0"].concat();
        let name_chunk = self.add_array(&name);
        let (size, count, value) = match &entry.value {
            Value::Number(number) => (8, 1, number.to_be_bytes().to_vec()),
            Value::Words(words) => {
                let bytes = words.iter().flat_map(|word| word.to_be_bytes());
                (2, words.len(), bytes.collect())
            }
        };
        let value_chunk = self.add_array(&value);
        let at = self.chunk_at(chunk);
        self.put(at, &[ENTRY_CHUNK, size]);
        self.put(at + 4, &narrow(name_chunk));
        self.put(at + 6, &narrow(name.len()));
        self.put(at + 8, &narrow(value_chunk));
        self.put(at + 10, &narrow(count));
        self.put(at + 12, &cd.to_le_bytes());
        self.put(at + 16, &hash.to_le_bytes());
        chunk
    }

    /// Puts bytes into a row of array chunks; returns the first.
    fn add_array(&mut self, bytes: &[u8]) -> usize {
        let first = self.next;
        for piece in bytes.chunks(ARRAY) {
            let at = self.chunk_at(self.next);
            self.next += 1;
            self.put(at, &[ARRAY_CHUNK]);
            self.put(at + 1, piece);
            self.put(at + 22, &narrow(self.next));
        }
        let last = self.chunk_at(self.next - 1);
        self.put(last + 22, &NONE.to_le_bytes());
        first
    }

    /// Links the entries of each head, sorted by their number.
    fn chain(&mut self, names: &[Hashed], entries: &[usize]) {
        let heads = hash_heads(self.shift);
        let drop = 64 - (self.shift - 5) - self.prefix_bits;
        let head = |name: &Hashed| {
            usize::try_from(name.hash >> drop).unwrap_or(usize::MAX)
                & (heads - 1)
        };
        for at in 0..heads {
            self.put(LEAF_HEADER + 2 * at, &NONE.to_le_bytes());
        }
        let mut order: Vec<(usize, u32, usize)> = names
            .iter()
            .zip(entries)
            .map(|(name, &chunk)| (head(name), name.cd, chunk))
            .collect();
        order.sort_unstable();
        for chain in order.chunk_by(|one, next| one.0 == next.0) {
            let mut place = LEAF_HEADER + 2 * chain[0].0;
            for &(_, _, chunk) in chain {
                self.put(place, &narrow(chunk));
                place = self.chunk_at(chunk) + 2;
            }
            self.put(place, &NONE.to_le_bytes());
        }
    }

    fn chunk_at(&self, chunk: usize) -> usize {
        LEAF_HEADER + 2 * hash_heads(self.shift) + CHUNK * chunk
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// Counts within a leaf fit 16 bits: it has 5,117 chunks at most.
fn narrow(number: usize) -> [u8; 2] {
    u16::try_from(number).expect("a count within a leaf").to_le_bytes()
}
