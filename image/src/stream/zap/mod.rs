// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! ZAPs: how ZFS keeps names with values, in directories and elsewhere. A few
//! short names make a micro ZAP of one block, all others a fat ZAP: a hash
//! table whose leaves are blocks. Here they are laid out at once, from all
//! names; nothing is ever added later.
//!
//! `mod` decides on the form and hands out values for hashes; `fat` lays out
//! the blocks of the large form.
//!
//! Source: OpenZFS `include/sys/zap_impl.h`, `module/zfs/zap_micro.c`.

mod fat;

use std::borrow::Cow;

use fat::Fat;

/// Longest name, bytes, of a micro ZAP.
const MICRO_NAME_MAX: usize = 49;
/// Most names of a micro ZAP: header and names fill 128 KiB.
const MICRO_NAMES_MAX: usize = 2047;
const MICRO_MAGIC: u64 = 0x8000_0000_0000_0003;
/// Header of a micro ZAP, and each of its entries, bytes.
const MICRO_PIECE: usize = 64;
/// Mixed into every hash. Any odd number; always the same, so that a name
/// lies in the same place in every image.
const SALT: u64 = 0x7a6f_6e65_2d69_6d67;

/// A name and its value.
#[derive(Clone, Debug)]
pub(in crate::stream) struct Name<'a> {
    /// 1 to 255 bytes, no NUL; no two the same.
    pub(in crate::stream) name: Cow<'a, [u8]>,
    pub(in crate::stream) value: Value,
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(in crate::stream) enum Value {
    Number(u64),
    /// Only a fat ZAP can hold these.
    Words(Vec<u16>),
}

/// So many names have hashes that begin alike that no leaf would hold them:
/// millions in one directory.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::stream) struct TooManyNames;

/// A name with its place: hash, and a number that tells those of one hash
/// apart ("collision differentiator").
struct Hashed<'a> {
    hash: u64,
    cd: u32,
    entry: Name<'a>,
}

/// All names of an object, laid out.
pub(in crate::stream) struct Zap<'a>(Form<'a>);

enum Form<'a> {
    Micro(Vec<Hashed<'a>>),
    Fat(Fat<'a>),
}

impl<'a> Zap<'a> {
    /// Lays names out; their order does not matter for what is found, yet
    /// two orders may give other bytes: give them sorted.
    ///
    /// Errors: `TooManyNames`.
    pub(in crate::stream) fn new(
        names: Vec<Name<'a>>,
    ) -> Result<Self, TooManyNames> {
        let micro = names.len() <= MICRO_NAMES_MAX
            && names.iter().all(|Name { name, value }| {
                matches!(value, Value::Number(_))
                    && name.len() <= MICRO_NAME_MAX
            });
        let hashed = hashed(names);
        Ok(Self(match micro {
            true => Form::Micro(hashed),
            false => Form::Fat(Fat::new(hashed)?),
        }))
    }

    /// Bytes of each block.
    pub(in crate::stream) fn block_size(&self) -> u32 {
        match &self.0 {
            Form::Micro(names) => {
                let len = MICRO_PIECE * (1 + names.len());
                u32::try_from(len.next_multiple_of(512))
                    .expect("2,047 names at most")
            }
            Form::Fat(fat) => fat.block_size(),
        }
    }

    /// The blocks in order; each is made when asked for.
    pub(in crate::stream) fn blocks(
        &self,
    ) -> Box<dyn Iterator<Item = Vec<u8>> + '_> {
        match &self.0 {
            Form::Micro(names) => Box::new(std::iter::once_with(|| {
                micro(names, self.block_size() as usize)
            })),
            Form::Fat(fat) => Box::new(fat.blocks()),
        }
    }
}

/// Sorted by hash; those of one hash are numbered as they came.
fn hashed(names: Vec<Name<'_>>) -> Vec<Hashed<'_>> {
    let mut all: Vec<Hashed> = names
        .into_iter()
        .map(|entry| Hashed { hash: hash(&entry.name), cd: 0, entry })
        .collect();
    all.sort_by_key(|name| name.hash);
    for at in 1..all.len() {
        if all[at].hash == all[at - 1].hash {
            all[at].cd = all[at - 1].cd + 1;
        }
    }
    all
}

fn micro(names: &[Hashed], size: usize) -> Vec<u8> {
    let mut block = Vec::with_capacity(size);
    block.extend_from_slice(&MICRO_MAGIC.to_le_bytes());
    block.extend_from_slice(&SALT.to_le_bytes());
    block.resize(MICRO_PIECE, 0);
    for Hashed { cd, entry, .. } in names {
        let Value::Number(value) = entry.value else {
            unreachable!("the form was chosen by the values")
        };
        let end = block.len() + MICRO_PIECE;
        block.extend_from_slice(&value.to_le_bytes());
        block.extend_from_slice(&cd.to_le_bytes());
        block.extend_from_slice(&[0; 2]);
        block.extend_from_slice(&entry.name);
        block.resize(end, 0);
    }
    block.resize(size, 0);
    block
}

/// CRC-64 of the name, begun with the salt; the upper 28 bits count.
fn hash(name: &[u8]) -> u64 {
    let crc = name.iter().fold(SALT, |crc, &byte| {
        let [low, ..] = crc.to_le_bytes();
        crc >> 8 ^ CRC[usize::from(low ^ byte)]
    });
    crc & !0 << (64 - 28)
}

/// The reflected CRC-64 of ECMA-182, byte by byte.
const CRC: [u64; 256] = {
    let mut table = [0_u64; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = at as u64;
        let mut bit = 0;
        while bit < 8 {
            let polynomial = 0xc96c_5795_d787_0f42;
            crc = crc >> 1 ^ if crc & 1 == 1 { polynomial } else { 0 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests;
