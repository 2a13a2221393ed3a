// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Strategies that look at names alone. What they answer is part of what
//! operators see, so the functions are fixed: a test holds their values.
//!
//! A uuid is its two halves, big-endian, each put through the finalizer of
//! SplitMix64 (Steele, Lea and Flood 2014); a name is FNV-1a of its bytes.

use std::cmp::Reverse;

use uuid::Uuid;

use super::table::Table;

/// Highest random weight.
pub(super) struct Rendezvous(Vec<Candidate>);

struct Candidate {
    shard: u32,
    hash: u64,
    weight: u64,
}

impl Rendezvous {
    /// Open shards, each with its capacity as its weight; one without counts
    /// as the mean of the others.
    pub(super) fn new(table: &Table) -> Self {
        let capacity = |shard: u32| table.shards[shard as usize].capacity;
        let known = || table.open().filter_map(capacity).map(u128::from);
        let mean = known().sum::<u128>() / (known().count() as u128).max(1);
        let mean = u64::try_from(mean).unwrap_or(u64::MAX);
        let candidate = |shard: u32| Candidate {
            shard,
            hash: fnv1a(table.name(shard).as_str().as_bytes()),
            weight: capacity(shard).unwrap_or(mean).max(1),
        };
        Self(table.open().map(candidate).collect())
    }

    /// The best shard that fits.
    pub(super) fn first(
        &self,
        uuid: &Uuid,
        fits: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let key = spread(uuid, 0);
        let weight = self.0.first()?.weight;
        let alike = self.0.iter().all(|one| one.weight == weight);
        let score = |one: &Candidate| mix(key ^ one.hash);
        let fitting = self.0.iter().filter(|one| fits(one.shard));
        let best = if alike {
            fitting.min_by_key(|one| (Reverse(score(one)), one.shard))
        } else {
            // log(score)/weight, compared without a division.
            fitting.min_by(|a, b| {
                let (x, y) = (score(a), score(b));
                let by_weight = (u128::from(rarity(x)) * u128::from(b.weight))
                    .cmp(&(u128::from(rarity(y)) * u128::from(a.weight)));
                by_weight.then(y.cmp(&x)).then(a.shard.cmp(&b.shard))
            })
        };
        best.map(|one| one.shard)
    }
}

/// A draw in which each open shard has the same chance.
pub(super) struct Draw {
    shards: Vec<u32>,
    seed: u64,
}

impl Draw {
    pub(super) fn new(table: &Table, seed: u64) -> Self {
        Self { shards: table.open().collect(), seed }
    }

    /// The shard drawn, or the next by name that fits.
    pub(super) fn first(
        &self,
        uuid: &Uuid,
        fits: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let drawn = u128::from(spread(uuid, mix(self.seed)));
        let drawn = ((drawn * self.shards.len() as u128) >> 64) as usize;
        let (before, after) = self.shards.split_at_checked(drawn)?;
        after.iter().chain(before).copied().find(|&shard| fits(shard))
    }
}

fn spread(uuid: &Uuid, seed: u64) -> u64 {
    let (high, low) = uuid.as_u64_pair();
    mix(mix(high ^ seed) ^ low)
}

/// The finalizer of SplitMix64, with its increment.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// How many times chance must be halved to reach so high a score: minus the
/// binary logarithm of (`score` + 1) / 2^64, in 2^-32. In integers, since the
/// last bits of a logarithm differ between systems.
fn rarity(score: u64) -> u64 {
    let score = u128::from(score) + 1;
    let whole = score.ilog2();
    let mut mantissa = (score << 64) >> whole;
    let mut fraction = 0;
    for _ in 0..32 {
        // Between 1 and 4, in 2^-62: two bits of 2^-64 are let go first.
        let square = ((mantissa >> 2) * (mantissa >> 2)) >> 62;
        let double = square >> 63;
        fraction = (fraction << 1) | double as u64;
        mantissa = (square << 2) >> double;
    }
    (64 << 32) - ((u64::from(whole) << 32) | fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_fixed() {
        let uuid = Uuid::from_u128(0x8d1f0c1e_0000_4000_8000_00000000c001);
        let all = [spread(&uuid, 0), spread(&uuid, 1), fnv1a(b"shard-1")];
        let wanted = [
            17_624_820_323_460_227_244,
            1_609_832_126_772_300_499,
            10_008_278_701_674_131_193,
        ];
        assert_eq!(all, wanted);
    }

    #[test]
    fn rarity_is_a_logarithm() {
        assert_eq!(rarity(u64::MAX), 0);
        assert_eq!(rarity(u64::MAX >> 1), 1 << 32);
        assert_eq!(rarity(0), 64 << 32);
        for score in [1, 5, 1_000, u64::MAX / 3, u64::MAX - 1_000_000] {
            let wanted = 64.0 - (score as f64 + 1.0).log2();
            let got = rarity(score) as f64 / 2_f64.powi(32);
            assert!((wanted - got).abs() < 1e-8, "{score}: {got} {wanted}");
        }
    }
}
