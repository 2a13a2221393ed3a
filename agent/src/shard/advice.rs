// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Whether the shards are enough: a look at each becomes advice.
//!
//! A shard is as full as its memory, since a Prometheus that needs more than
//! it has is killed; one that drops scrapes is full whatever its memory says.
//! Memory is taken to grow in proportion to series.

use super::ShardName;

/// A shard with more of its memory in use is overloaded: what is left is for
/// queries and for the compaction of a block, every two hours.
const MEMORY_MOST_PERMILLE: u64 = 800;

/// How full shards are to be after a change.
const MEMORY_AIM_PERMILLE: u64 = 600;

/// Below this mean there are too many. Well below the aim, lest a shard comes
/// and goes.
const MEMORY_LEAST_PERMILLE: u64 = 300;

/// A shard that drops more of its scrapes is overloaded.
const DROPPED_MOST_PERMILLE: u64 = 10;

/// What was measured of a shard, the worse of its pair.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its name.
    pub name: ShardName,
    /// Series in the head (`prometheus_tsdb_head_series`).
    pub series: u64,
    /// Memory that it needs: what the Go runtime has from the system and has
    /// not given back (`go_memstats_*`), since illumos tells of no process how
    /// much is resident.
    pub memory_used_bytes: u64,
    /// What the zone may use; `None` when unknown, and memory then says
    /// nothing.
    pub memory_limit_bytes: Option<u64>,
    /// Scrapes that were due in the time looked at.
    pub scrapes: u64,
    /// Those of them that were skipped, timed out or refused for their size.
    pub dropped_scrapes: u64,
}

/// What to do about the shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// In a word.
    pub verdict: Verdict,
    /// The overloaded, in the order given.
    pub overloaded: Vec<ShardName>,
    /// For each shard in the order given: series at which it would be
    /// overloaded, fit for [`super::Shard::capacity`] when series are weights.
    pub capacities: Vec<Option<u64>>,
}

/// The advice in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Leave it.
    Keep,
    /// Some are overloaded, but all together have room: weigh instances by
    /// series and rebalance.
    Rebalance,
    /// So many shards are needed.
    Grow {
        /// How many.
        shards: usize,
    },
    /// So many shards are enough.
    Shrink {
        /// How many.
        shards: usize,
    },
}

/// Judges the shards.
pub fn advise(shards: &[Facts]) -> Advice {
    let uses: Vec<u128> = shards.iter().map(use_permille).collect();
    let sum: u128 = uses.iter().sum();
    let needed = sum.div_ceil(MEMORY_AIM_PERMILLE.into()).max(1);
    let needed = usize::try_from(needed).unwrap_or(usize::MAX);
    let least = u128::from(MEMORY_LEAST_PERMILLE) * shards.len() as u128;
    let overloaded: Vec<ShardName> = shards
        .iter()
        .zip(&uses)
        .filter(|&(_, &used)| used > MEMORY_MOST_PERMILLE.into())
        .map(|(shard, _)| shard.name.clone())
        .collect();
    // Memory that nobody tells is not free.
    let known = shards.iter().all(|shard| {
        shard.memory_used_bytes > 0
            && shard.memory_limit_bytes.is_some_and(|limit| limit > 0)
    });
    let verdict = if !overloaded.is_empty() {
        match needed > shards.len() {
            true => Verdict::Grow { shards: needed },
            false => Verdict::Rebalance,
        }
    } else if known && sum < least && needed < shards.len() {
        Verdict::Shrink { shards: needed }
    } else {
        Verdict::Keep
    };
    let capacities = shards.iter().zip(&uses).map(capacity).collect();
    Advice { verdict, overloaded, capacities }
}

/// How full a shard is.
fn use_permille(shard: &Facts) -> u128 {
    let permille = |part: u64, whole: u64| match whole {
        0 => 0,
        _ => u128::from(part) * 1000 / u128::from(whole),
    };
    let limit = shard.memory_limit_bytes.unwrap_or(0);
    let memory = permille(shard.memory_used_bytes, limit);
    let dropped = permille(shard.dropped_scrapes, shard.scrapes);
    match dropped > DROPPED_MOST_PERMILLE.into() {
        true => memory.max(1000),
        false => memory,
    }
}

fn capacity((shard, &used): (&Facts, &u128)) -> Option<u64> {
    let most = u128::from(shard.series) * u128::from(MEMORY_MOST_PERMILLE);
    let series = most.checked_div(used).filter(|&series| series > 0)?;
    Some(u64::try_from(series).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shard of a million series; how much of its memory is used, in
    /// percent, and how many of a thousand scrapes are dropped.
    fn shards(all: &[(u64, u64)]) -> Vec<Facts> {
        let shard = |(n, &(memory, dropped_scrapes)): (usize, &(u64, u64))| {
            let name = ShardName::parse(&format!("shard-{n}")).unwrap();
            let memory_limit_bytes = Some(8 << 30);
            Facts {
                name,
                series: 1_000_000,
                memory_used_bytes: (8 << 30) * memory / 100 + 1,
                memory_limit_bytes,
                scrapes: 1_000,
                dropped_scrapes,
            }
        };
        all.iter().enumerate().map(shard).collect()
    }

    fn verdict(all: &[(u64, u64)]) -> Verdict {
        advise(&shards(all)).verdict
    }

    #[test]
    fn thresholds() {
        assert_eq!(verdict(&[]), Verdict::Keep);
        assert_eq!(verdict(&[(80, 10), (30, 0)]), Verdict::Keep);
        // One over, but room in the others.
        assert_eq!(verdict(&[(85, 0), (30, 0)]), Verdict::Rebalance);
        let grow = Verdict::Grow { shards: 3 };
        assert_eq!(verdict(&[(85, 0), (70, 0)]), grow);
        // Dropped scrapes count as full: 1000 + 300 needs three at 600.
        assert_eq!(verdict(&[(50, 11), (30, 0)]), grow);
        // Idle, but not so much that it would grow again at once.
        assert_eq!(verdict(&[(29, 0); 4]), Verdict::Shrink { shards: 2 });
        assert_eq!(verdict(&[(31, 0); 4]), Verdict::Keep);
        assert_eq!(verdict(&[(1, 0)]), Verdict::Keep);
    }

    #[test]
    fn capacities_are_where_a_shard_would_be_overloaded() {
        let mut all = shards(&[(90, 0), (40, 0), (50, 0)]);
        all[2].memory_limit_bytes = None;
        let advice = advise(&all);
        assert_eq!(advice.overloaded, [all[0].name.clone()]);
        let wanted = [Some(888_888), Some(2_000_000), None];
        assert_eq!(advice.capacities, wanted);
    }

    #[test]
    fn nonsense_is_no_panic() {
        let mut all = shards(&[(90, 0), (40, 0)]);
        for shard in &mut all {
            shard.memory_used_bytes = u64::MAX;
            shard.memory_limit_bytes = Some(1);
            shard.series = u64::MAX;
            shard.dropped_scrapes = u64::MAX;
            shard.scrapes = 1;
        }
        assert!(matches!(advise(&all).verdict, Verdict::Grow { .. }));
        all[0].memory_limit_bytes = Some(0);
        all[0].scrapes = 0;
        assert_eq!(advise(&all[..1]).verdict, Verdict::Keep);
    }
}
