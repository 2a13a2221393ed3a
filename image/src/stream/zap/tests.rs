// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! ZAPs looked up as ZFS does: by hash, through table, leaf and chain.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn names(all: &[Vec<u8>]) -> Vec<Name<'_>> {
    all.iter()
        .zip(0..)
        .map(|(name, value)| Name {
            name: name.into(),
            value: Value::Number(value),
        })
        .collect()
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()).into()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// A fat ZAP as its blocks say.
struct Found {
    shift: u32,
    blocks: Vec<Vec<u8>>,
}

impl Found {
    fn new(zap: &Zap) -> Self {
        let blocks: Vec<_> = zap.blocks().collect();
        assert!(
            blocks
                .iter()
                .all(|block| { block.len() == zap.block_size() as usize })
        );
        Self { shift: zap.block_size().trailing_zeros(), blocks }
    }

    fn leaf(&self, hash: u64) -> &[u8] {
        let header = &self.blocks[0];
        let half = header.len() / 2;
        let index = (hash >> (64 - (self.shift - 4))) as usize;
        &self.blocks[u64_at(header, half + 8 * index) as usize]
    }

    fn chunk<'a>(&self, leaf: &'a [u8], number: usize) -> &'a [u8] {
        let at = 48 + 2 * (1 << (self.shift - 5)) + 24 * number;
        &leaf[at..at + 24]
    }

    fn array(&self, leaf: &[u8], first: usize) -> Vec<u8> {
        let (mut bytes, mut next) = (Vec::new(), first);
        while next != 0xffff {
            let chunk = self.chunk(leaf, next);
            assert_eq!(chunk[0], 251);
            bytes.extend_from_slice(&chunk[1..22]);
            next = u16_at(chunk, 22);
        }
        bytes
    }

    fn get(&self, name: &[u8]) -> Option<u64> {
        let hash = hash(name);
        let leaf = self.leaf(hash);
        let prefix_bits = u16_at(leaf, 32) as u32;
        let prefix = u64_at(leaf, 16);
        if prefix_bits > 0 {
            assert_eq!(hash >> (64 - prefix_bits), prefix);
        }
        let bits = self.shift - 5;
        let head = (hash << prefix_bits >> (64 - bits)) as usize;
        let mut next = u16_at(leaf, 48 + 2 * head);
        let mut last_cd = 0;
        while next != 0xffff {
            let entry = self.chunk(leaf, next);
            assert_eq!(entry[..2], [252, 8]);
            let cd = u32::from_le_bytes(entry[12..16].try_into().unwrap());
            assert!(cd >= last_cd, "chains are sorted");
            last_cd = cd;
            let mut stored = self.array(leaf, u16_at(entry, 4));
            stored.truncate(u16_at(entry, 6));
            if u64_at(entry, 16) == hash && stored == [name, b"\0"].concat() {
                let value = self.array(leaf, u16_at(entry, 8));
                return value.first_chunk().map(|v| u64::from_be_bytes(*v));
            }
            next = u16_at(entry, 2);
        }
        None
    }
}

/// Checks that each name is found, and no other.
fn check(all: &[Vec<u8>]) -> Result<u32, TooManyNames> {
    let zap = Zap::new(names(all))?;
    let found = Found::new(&zap);
    for (name, value) in all.iter().zip(0..) {
        assert_eq!(found.get(name), Some(value), "{name:?}");
    }
    assert_eq!(found.get(b"not there"), None);
    Ok(zap.block_size())
}

fn numbered(count: usize, prefix: &str) -> Vec<Vec<u8>> {
    (0..count).map(|n| format!("{prefix}{n}").into_bytes()).collect()
}

/// Names without a pattern: numbered ones hardly ever share a hash.
fn scattered(count: u64) -> Vec<Vec<u8>> {
    (0..count)
        .map(|n| {
            let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            format!("{:x}", n ^ n >> 27).into_bytes()
        })
        .collect()
}

#[test]
fn the_hash_is_the_crc_of_the_reflected_polynomial() {
    // The check value of CRC-64/XZ, which begins and ends with all ones.
    let crc = b"123456789".iter().fold(!0, |crc: u64, &byte| {
        let [low, ..] = crc.to_le_bytes();
        crc >> 8 ^ CRC[usize::from(low ^ byte)]
    });
    assert_eq!(!crc, 0x995d_c9bb_df19_39fa);
    assert_eq!(hash(b"name") & 0xf_ffff_ffff, 0, "28 bits count");
}

#[test]
fn the_form_changes_with_count_and_length() {
    let size = |all: &[Vec<u8>]| Zap::new(names(all)).unwrap().block_size();
    assert_eq!(size(&[]), 512);
    assert_eq!(size(&numbered(7, "")), 512);
    assert_eq!(size(&numbered(8, "")), 1024);
    assert_eq!(size(&numbered(2047, "")), 131_072);
    assert_eq!(check(&numbered(2048, "")), Ok(1 << 14));
    assert_eq!(size(&[vec![b'n'; 49]]), 512);
    assert_eq!(check(&[vec![b'n'; 50]]), Ok(1 << 14));
}

#[test]
fn a_micro_zap_holds_its_names() {
    let all = numbered(3, "name");
    let zap = Zap::new(names(&all)).unwrap();
    let blocks: Vec<_> = zap.blocks().collect();
    assert_eq!(blocks.len(), 1);
    let mut seen: Vec<(Vec<u8>, u64)> = (1..4)
        .map(|piece| {
            let entry = &blocks[0][64 * piece..][..64];
            (entry[14..19].to_vec(), u64_at(entry, 0))
        })
        .collect();
    seen.sort();
    let wanted: Vec<_> = all.iter().cloned().zip(0..).collect();
    assert_eq!(seen, wanted);
}

#[test]
fn names_of_one_hash_are_told_apart() {
    let all = scattered(200_000);
    let mut by_hash: HashMap<u64, Vec<&Vec<u8>>> = HashMap::new();
    for name in &all {
        by_hash.entry(hash(name)).or_default().push(name);
    }
    let twins = by_hash.values().filter(|names| names.len() > 1).count();
    assert!(twins > 10, "the test needs some: {twins}");
    assert_eq!(check(&all), Ok(1 << 17));
    let cds = hashed(names(&all)).iter().filter(|name| name.cd > 0).count();
    assert!(cds >= twins);
}

#[test]
fn a_million_names_fit_and_too_many_are_an_error() {
    let all = numbered(1_000_000, "some-file-name-");
    let zap = Zap::new(names(&all)).unwrap();
    assert_eq!(zap.block_size(), 1 << 17);

    // Names of one hash never part: more than a leaf's, none will do.
    let mut alike = hashed(names(&all));
    alike.truncate(3000);
    for name in &mut alike {
        name.hash = 1 << 40;
    }
    assert!(matches!(Fat::new(alike), Err(TooManyNames)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_names_are_found(
        all in prop::collection::btree_set(
            prop::collection::vec(1_u8.., 1..256), 0..400,
        ),
    ) {
        let all: Vec<Vec<u8>> = all
            .into_iter()
            .chain([vec![b'l'; 60]]) // makes it fat
            .collect();
        prop_assert!(check(&all).is_ok());
    }
}
