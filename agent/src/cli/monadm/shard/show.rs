// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! How a plan looks: a table for people, JSON for programs.

use anyhow::Result;
use serde_json::{Value, json};

use super::super::screen::harmless;
use super::wanted::{Row, Wanted};
use crate::deploy::shards::measured::Load;
use crate::shard::Plan;

/// Moves that a table shows; JSON has them all.
const SHOWN: usize = 40;

impl Wanted {
    /// Prints it.
    pub(super) fn show(&self, json: bool) -> Result<()> {
        match json {
            true => say!("{}", serde_json::to_string_pretty(&self.json())?),
            false => {
                for line in self.table().trim_end().lines() {
                    say!("{}", harmless(line));
                }
            }
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let shards = self.shards.iter().map(|row| {
            let [before, after] = row.zones;
            let mut shard = json!({"name": row.name, "members": row.members,
                "state": row.state, "before": before, "after": after,
                "capacity": row.capacity});
            if let Some([before, after]) = row.weight {
                shard["weight"] = json!({"before": narrow(before),
                    "after": narrow(after)});
            }
            if let Some(load) = self.loads.get(&row.name) {
                shard["load"] = json!({"series": load.series,
                    "memory_used_bytes": load.memory_used_bytes,
                    "memory_limit_bytes": load.memory_limit_bytes,
                    "scrapes": load.scrapes,
                    "dropped_scrapes": load.dropped_scrapes});
            }
            shard
        });
        let moves = self.moves.iter().map(|one| {
            json!({"uuid": one.uuid, "alias": self.alias(one.uuid),
                "from": one.from, "to": one.to})
        });
        json!({
            "shards": shards.collect::<Vec<_>>(),
            "moves": moves.collect::<Vec<_>>(),
            "writes": self.writes.len(),
            "deferred": self.plan.deferred,
            "imbalance": {"before": self.plan.before.imbalance,
                "after": self.plan.after.imbalance},
            "problems": self.problems,
            "notes": self.notes,
        })
    }

    fn table(&self) -> String {
        let wide = self.shards.iter().map(|row| row.name.len()).max();
        let wide = wide.unwrap_or(0).max("SHARD".len());
        let mut text =
            format!("{:wide$}  PAIR  {:>7}  {:>7}", "SHARD", "ZONES", "AFTER");
        if self.shards.iter().any(|row| row.weight.is_some()) {
            text.push_str(&format!("  {:>11}  {:>11}", "WEIGHT", "AFTER"));
        }
        if !self.loads.is_empty() {
            text.push_str(&format!("  {:>9}  {:>6}  LATE", "SERIES", "MEMORY"));
        }
        text.push('\n');
        for row in &self.shards {
            text.push_str(&line(row, self.loads.get(&row.name), wide));
        }
        let Plan { before, after, deferred, .. } = &self.plan;
        text.push_str(&format!(
            "\n{} moves, {deferred} left for the next run, {} tags to write; \
             imbalance {:.3}, after that {:.3}\n",
            self.moves.len(),
            self.writes.len(),
            before.imbalance,
            after.imbalance
        ));
        for one in self.moves.iter().take(SHOWN) {
            let from = one.from.as_deref().unwrap_or("nowhere");
            let (uuid, alias) = (one.uuid, self.alias(one.uuid));
            text.push_str(&format!("  {uuid} {alias} {from} -> {}\n", one.to));
        }
        if let Some(more @ 1..) = self.moves.len().checked_sub(SHOWN) {
            text.push_str(&format!("  and {more} more; --json has all\n"));
        }
        for note in &self.notes {
            text.push_str(&format!("note: {note}\n"));
        }
        for problem in &self.problems {
            text.push_str(&format!("fault: {problem}\n"));
        }
        text
    }
}

fn line(row: &Row, load: Option<&Load>, wide: usize) -> String {
    let Row { name, members, state, zones: [before, after], .. } = row;
    let members = members.len();
    let mut text =
        format!("{name:wide$}  {members:>4}  {before:>7}  {after:>7}");
    if let Some([before, after]) = row.weight {
        text.push_str(&format!("  {before:>11}  {after:>11}"));
    }
    if let Some(load) = load {
        let limit = load.memory_limit_bytes.unwrap_or(0);
        let memory = percent(load.memory_used_bytes, limit);
        let late = percent(load.dropped_scrapes, load.scrapes);
        let series = load.series;
        text.push_str(&format!("  {series:>9}  {memory:>6}  {late:>4}"));
    }
    if !state.is_empty() {
        text.push_str(&format!("  {state}"));
    }
    text.push('\n');
    text
}

/// A share; `-`, where the whole is not known.
fn percent(part: u64, whole: u64) -> String {
    match u128::from(whole) {
        0 => "-".to_owned(),
        whole => format!("{}%", u128::from(part) * 100 / whole),
    }
}

/// JSON has no larger numbers.
fn narrow(weight: u128) -> u64 {
    u64::try_from(weight).unwrap_or(u64::MAX)
}
