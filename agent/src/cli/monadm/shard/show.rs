// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! How a plan looks: a table for people, JSON for programs.

use anyhow::Result;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::super::screen::{
    self, Cell, Paint, WIDE, cut, first_gives_way, hang, harmless,
};
use super::wanted::{Row, Wanted};
use crate::deploy::shards::measured::Load;
use crate::shard::Plan;

/// Moves that a table shows; JSON has them all.
const SHOWN: usize = 40;
/// Columns of a shard's name in a move.
const SHORT: usize = 14;

impl Wanted {
    /// Prints it.
    pub(super) fn show(&self, json: bool) -> Result<()> {
        match json {
            true => say!("{}", serde_json::to_string_pretty(&self.json())?),
            false => say!("{}", self.table().trim_end()),
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
        let mut text = String::new();
        screen::table(&mut text, &self.rows(), Paint(false));
        let Plan { before, after, deferred, .. } = &self.plan;
        text.push('\n');
        let count = format!(
            "{} moves, {deferred} left for the next run, {} tags to write; \
             imbalance {:.3}, after that {:.3}",
            self.moves.len(),
            self.writes.len(),
            before.imbalance,
            after.imbalance
        );
        hang(&mut text, "", &count);
        for one in self.moves.iter().take(SHOWN) {
            let short = |name: &str| cut(&harmless(name), SHORT);
            let from = short(one.from.as_deref().unwrap_or("nowhere"));
            let way = format!(" {from} -> {}", short(&one.to));
            let uuid = format!("  {} ", one.uuid);
            let room = WIDE - uuid.width() - way.width();
            let alias = cut(&harmless(self.alias(one.uuid)), room);
            text.push_str(&format!("{uuid}{alias}{way}\n"));
        }
        if let Some(more @ 1..) = self.moves.len().checked_sub(SHOWN) {
            text.push_str(&format!("  and {more} more; --json has all\n"));
        }
        for note in &self.notes {
            hang(&mut text, "note: ", note);
        }
        for problem in &self.problems {
            hang(&mut text, "fault: ", problem);
        }
        text
    }

    /// The table's, numbers to the right.
    fn rows(&self) -> Vec<screen::Row> {
        let weighs = self.shards.iter().any(|row| row.weight.is_some());
        let mut head = vec!["SHARD", "PAIR", "ZONES", "AFTER"];
        if weighs {
            head.extend(["WEIGHT", "AFTER"]);
        }
        if !self.loads.is_empty() {
            head.extend(["SERIES", "MEMORY", "LATE"]);
        }
        let numbers = head.len();
        let mut rows = vec![head.into_iter().map(str::to_owned).collect()];
        for row in &self.shards {
            let load = self.loads.get(&row.name);
            let mut cells = line(row, load, weighs, numbers);
            cells.push(row.state.to_owned());
            rows.push(cells);
        }
        for at in 1..numbers {
            let cells = rows.iter().map(|row: &Vec<String>| row[at].len());
            let wide = cells.max().unwrap_or(0);
            for row in &mut rows {
                row[at] = format!("{:>wide$}", row[at]);
            }
        }
        let cells = |row: &Vec<String>| row.iter().map(Cell::new).collect();
        let mut rows: Vec<Vec<Cell>> = rows.iter().map(cells).collect();
        first_gives_way(&mut rows);
        rows.into_iter().map(screen::Row::Cells).collect()
    }
}

/// The cells of a shard, as many as `count`.
fn line(
    row: &Row,
    load: Option<&Load>,
    weighs: bool,
    count: usize,
) -> Vec<String> {
    let Row { name, members, zones: [before, after], .. } = row;
    let members = members.len().to_string();
    let mut cells =
        vec![name.clone(), members, before.to_string(), after.to_string()];
    if weighs {
        let weights = row.weight.map(|all| all.map(|one| one.to_string()));
        cells.extend(weights.unwrap_or_default());
    }
    if let Some(load) = load {
        let limit = load.memory_limit_bytes.unwrap_or(0);
        cells.push(load.series.to_string());
        cells.push(percent(load.memory_used_bytes, limit));
        cells.push(percent(load.dropped_scrapes, load.scrapes));
    }
    cells.resize(count, String::new());
    cells
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::wanted::Moved;
    use super::*;
    use crate::cli::monadm::screen::{ODD, assert_fits};
    use crate::shard::Loads;

    #[test]
    fn it_fits_whatever_others_call_their_things() {
        let row = |name: &str, state| Row {
            name: name.to_owned(),
            members: [uuid::Uuid::nil()].into(),
            state,
            zones: [123_456, 9],
            weight: Some([123_456_789, 1]),
            capacity: None,
        };
        let load = Load {
            series: 12_345_678,
            memory_used_bytes: 1,
            memory_limit_bytes: Some(2),
            scrapes: 0,
            dropped_scrapes: 0,
        };
        let moved = |n| Moved {
            uuid: uuid::Uuid::from_u128(n),
            from: Some(ODD.to_owned()),
            to: ODD.to_owned(),
        };
        let even = Loads { by_shard: vec![1], imbalance: 1.0 };
        let wanted = Wanted {
            shards: vec![row("shard-0", ""), row(ODD, "draining")],
            moves: (0..50).map(moved).collect(),
            plan: Plan {
                moves: Vec::new(),
                deferred: 0,
                before: even.clone(),
                after: even,
                problems: Vec::new(),
            },
            aliases: [(uuid::Uuid::nil(), ODD.to_owned())].into(),
            writes: Vec::new(),
            orphans: BTreeMap::new(),
            problems: vec![format!("{ODD}: saw {ODD}")],
            notes: vec![format!("{ODD} is {}", "long ".repeat(30))],
            loads: BTreeMap::from([("shard-0".to_owned(), load)]),
            listed: BTreeMap::new(),
        };
        let text = wanted.table();
        assert_fits(&text);
        assert!(text.contains("\nshard-0"), "{text}");
        assert!(text.contains(" 12345678 "), "numbers are whole: {text}");
        assert!(text.contains(" 123456789 "), "numbers are whole: {text}");
        assert!(text.contains("and 10 more"), "{text}");
    }
}
