// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb shard status: the shards as they are, and how their pairs bear it.

use std::collections::BTreeMap;

use anyhow::Result;

use super::args::{AskArgs, Goal, HowArgs, StatusArgs};
use super::session::Session;
use super::wanted::{Row, Wanted};
use crate::deploy::shards::SERVICE;
use crate::deploy::shards::measured::{Load, Measured, memory_limits};
use crate::shard::advice::{self, Advice, Verdict, advise};
use crate::shard::{Extent, ShardName};

/// Runs the verb. `false`, where something is not as it should be.
pub(super) async fn status(args: StatusArgs) -> Result<bool> {
    let StatusArgs { ask, prometheus } = args;
    let how = HowArgs::plain();
    let goal = Goal { ask, how, extent: Extent::Assign, drain: Vec::new() };
    let session = Session::open(&goal).await?;
    let mut wanted = session.wanted().await?;
    let mut sources = session.servers(&prometheus).await?;
    let measured = Measured::gather(&mut sources).await;
    let rosters = session.rosters(SERVICE).await?;
    let limits =
        memory_limits(rosters.iter().flat_map(|roster| &roster.members));
    let (mut loads, mut silent) = (BTreeMap::new(), Vec::new());
    for row in wanted.shards.iter().filter(|row| row.state.is_empty()) {
        match measured.load(&row.members, &limits) {
            Some(load) => {
                loads.insert(row.name.clone(), load);
            }
            None => silent
                .push(format!("{}: no server says how it fares", row.name)),
        }
    }
    wanted.notes.append(&mut sources.notes);
    // Of a part nothing can be said of the whole.
    if silent.is_empty() {
        judge(&mut wanted, &loads, &goal.ask);
    }
    wanted.problems.append(&mut silent);
    wanted.loads = loads;
    wanted.show(goal.ask.json)?;
    Ok(wanted.is_as_planned())
}

/// Says what is overloaded, and what to do about it.
fn judge(wanted: &mut Wanted, loads: &BTreeMap<String, Load>, ask: &AskArgs) {
    let same = ask.same();
    let fact = |(name, load): (&String, &Load)| {
        Some(advice::Facts {
            name: ShardName::parse(name).ok()?,
            series: load.series,
            memory_used_bytes: load.memory_used_bytes,
            memory_limit_bytes: load.memory_limit_bytes,
            scrapes: load.scrapes,
            dropped_scrapes: load.dropped_scrapes,
        })
    };
    let facts: Vec<advice::Facts> = loads.iter().filter_map(fact).collect();
    let Advice { verdict, overloaded, capacities } = advise(&facts);
    let names: Vec<&str> = overloaded.iter().map(ShardName::as_str).collect();
    let overloaded = match &names[..] {
        [one] => format!("{one} is overloaded"),
        all => format!("{} are overloaded", all.join(", ")),
    };
    let count = facts.len();
    match verdict {
        Verdict::Keep => {}
        Verdict::Rebalance => {
            let caps =
                facts.iter().zip(&capacities).filter_map(|(one, cap)| {
                    Some(format!(" --cap {}={}", one.name, (*cap)?))
                });
            wanted.problems.push(format!(
                "{overloaded}, and all together have room: monadm shard \
                 rebalance --weight series{}{same}",
                caps.collect::<String>()
            ));
        }
        Verdict::Grow { shards } => {
            let asked = numbered(&wanted.shards, &ask.prefix, shards);
            wanted.problems.push(format!(
                "{overloaded}: saw {count} shards, wanted {shards}: monadm \
                 post-setup prometheus --shards {asked}{}, then monadm shard \
                 rebalance --weight series{same}",
                ask.same_shards()
            ));
        }
        Verdict::Shrink { shards } => {
            let lightest = facts.iter().min_by_key(|one| one.series);
            let name = lightest.map_or("", |one| one.name.as_str());
            wanted.notes.push(format!(
                "{shards} of {count} shards would do: monadm shard drain \
                 {name}{same}"
            ));
        }
    }
}

/// How many `post-setup` is to be asked for, so that so many take zones: it
/// counts by number, also those that are retired, and fills gaps.
fn numbered(rows: &[Row], prefix: &str, wanted: usize) -> usize {
    let number = |row: &Row| -> Option<usize> {
        row.name.strip_prefix(prefix)?.parse().ok()
    };
    let there = rows.iter().filter_map(number).max().map_or(0, |n| n + 1);
    let retired = rows.iter().filter(|row| row.state == "retired").count();
    there.max(wanted + retired)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::deploy::shards::Facts;

    #[derive(Parser)]
    struct Words {
        #[command(flatten)]
        status: StatusArgs,
    }

    /// What is said where shards have so much of their memory in use, in
    /// percent.
    fn said(used: &[u64]) -> (Vec<String>, Vec<String>) {
        said_of("shard-", used)
    }

    fn said_of(prefix: &str, used: &[u64]) -> (Vec<String>, Vec<String>) {
        let name = |n: usize| format!("{prefix}{n}");
        let load = |(n, percent): (usize, &u64)| {
            let load = Load {
                series: 1000 * percent,
                memory_used_bytes: percent << 20,
                memory_limit_bytes: Some(100 << 20),
                scrapes: 1000,
                dropped_scrapes: 0,
            };
            (name(n), load)
        };
        let loads = used.iter().enumerate().map(load).collect();
        let words = ["x", "--prefix", prefix];
        let ask = Words::try_parse_from(words).unwrap().status.ask;
        let how = HowArgs::plain();
        let goal = Goal { ask, how, extent: Extent::Assign, drain: vec![] };
        let pairs = (0..used.len()).map(|n| (name(n), [].into())).collect();
        let facts = Facts { pairs, ..Facts::default() };
        let mut wanted = Wanted::of(&facts, &goal, None).unwrap();
        judge(&mut wanted, &loads, &goal.ask);
        (wanted.problems, wanted.notes)
    }

    #[test]
    fn advice_is_a_command() {
        assert_eq!(said(&[50, 60]), (vec![], vec![]));
        let (problems, _) = said(&[90, 20]);
        let wanted = "shard-0 is overloaded, and all together have room: \
                      monadm shard rebalance --weight series --cap \
                      shard-0=80000 --cap shard-1=80000";
        assert_eq!(problems, [wanted]);
        let (problems, _) = said(&[90, 85]);
        let wanted = "shard-0, shard-1 are overloaded: saw 2 shards, wanted \
                      3: monadm post-setup prometheus --shards 3, then monadm \
                      shard rebalance --weight series";
        assert_eq!(problems, [wanted]);
        let (problems, notes) = said(&[10, 5]);
        assert!(problems.is_empty(), "{problems:?}");
        let wanted = "1 of 2 shards would do: monadm shard drain shard-1";
        assert_eq!(notes, [wanted]);
        // Of shards by another name too.
        let (problems, _) = said_of("part_", &[90, 85]);
        let wanted = "part_0, part_1 are overloaded: saw 2 shards, wanted 3: \
                      monadm post-setup prometheus --shards 3 --prefix part_, \
                      then monadm shard rebalance --weight series --prefix \
                      part_";
        assert_eq!(problems, [wanted]);
        let (problems, _) = said_of("part_", &[90, 20]);
        let wanted = "--cap part_0=80000 --cap part_1=80000 --prefix part_";
        assert!(problems[0].ends_with(wanted), "{problems:?}");
        let (_, notes) = said_of("part_", &[10, 5]);
        let wanted = "monadm shard drain part_1 --prefix part_";
        assert!(notes[0].ends_with(wanted), "{notes:?}");
    }

    #[test]
    fn more_shards_are_asked_for_by_number() {
        let row = |(number, state): &(usize, &'static str)| Row {
            name: format!("shard-{number}"),
            members: std::collections::BTreeSet::new(),
            state,
            zones: [0; 2],
            weight: None,
            capacity: None,
        };
        for (rows, asked) in [
            (&[(0, ""), (1, "")][..], 3),
            (&[(0, ""), (1, "retired"), (2, "")], 4),
            // A gap is filled.
            (&[(0, ""), (2, "")], 3),
        ] {
            let rows: Vec<Row> = rows.iter().map(row).collect();
            assert_eq!(numbered(&rows, "shard-", 3), asked);
        }
    }
}
