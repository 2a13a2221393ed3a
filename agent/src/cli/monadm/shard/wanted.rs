// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a plan comes to: tags to be written, and how it looks in a table and
//! in JSON. Pure.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::deploy::shards::{Facts, Write};
use crate::shard::tag::{self, Edit};
use crate::shard::{
    Extent, Instance, Limits, Plan, Request, Shard, ShardName, Strategy, plan,
};

/// Moves that a table shows; JSON has them all.
const SHOWN: usize = 40;

/// What was asked for.
pub(super) struct Question<'a> {
    /// Of the groups that are ours.
    pub(super) prefix: &'a str,
    /// Shards to be emptied.
    pub(super) drain: &'a [String],
    /// Zones and their shards.
    pub(super) pins: &'a [(Uuid, String)],
    /// How much may change.
    pub(super) limits: Limits,
    /// How far to go.
    pub(super) extent: Extent,
}

/// The answer.
pub(super) struct Wanted {
    shards: Vec<Row>,
    moves: Vec<Moved>,
    plan: Plan,
    aliases: BTreeMap<Uuid, String>,
    /// Tags to be written.
    pub(super) writes: Vec<Write>,
    /// What is wrong and stays so.
    problems: Vec<String>,
}

struct Row {
    name: String,
    members: BTreeSet<Uuid>,
    before: usize,
    after: usize,
}

struct Moved {
    uuid: Uuid,
    from: Option<String>,
    to: String,
}

impl Wanted {
    /// Plans.
    ///
    /// Errors: a group that can be no shard's name.
    pub(super) fn of(facts: &Facts, asked: &Question<'_>) -> Result<Self> {
        let alone = facts.pairs.len() == 1;
        let shard = |(name, members): (&String, &BTreeSet<Uuid>)| {
            let forbidden = match alone {
                true => Vec::new(),
                false => members.iter().copied().collect(),
            };
            let draining = asked.drain.contains(name);
            let name = ShardName::parse(name).map_err(|e| anyhow!("{e}"))?;
            Ok(Shard { name, capacity: None, forbidden, draining })
        };
        let shards: Vec<Shard> =
            facts.pairs.iter().map(shard).collect::<Result<_>>()?;
        let positions: BTreeMap<&str, u32> =
            shards.iter().map(|s| s.name.as_str()).zip(0..).collect();
        let pins: BTreeMap<Uuid, u32> = asked
            .pins
            .iter()
            .filter_map(|(uuid, name)| {
                Some((*uuid, *positions.get(name.as_str())?))
            })
            .collect();
        let current = |tag: &Option<String>| {
            let mut ours = tag::ours(tag.as_deref(), asked.prefix);
            ours.find_map(|name| positions.get(name).copied())
        };
        let zones = facts.zones.iter();
        let instances: Vec<Instance> = zones
            .map(|zone| Instance {
                uuid: zone.uuid,
                weight: 1,
                current: current(&zone.tag),
                pinned: pins.get(&zone.uuid).copied(),
            })
            .collect();
        let mut places: BTreeMap<Uuid, Option<u32>> =
            instances.iter().map(|one| (one.uuid, one.current)).collect();
        let (limits, strategy) = (asked.limits, Strategy::Balanced);
        let request = Request { shards, instances, limits, strategy };
        let plan = plan(&request, asked.extent);
        let count = |places: &BTreeMap<Uuid, Option<u32>>, shard: u32| {
            places.values().filter(|place| **place == Some(shard)).count()
        };
        let before = places.clone();
        places.extend(plan.moves.iter().map(|one| (one.uuid, Some(one.to))));
        let name = |shard: u32| request.shards[shard as usize].name.clone();
        let rows = facts.pairs.iter().zip(0..);
        let rows = rows.map(|((name, members), shard)| Row {
            name: name.clone(),
            members: members.clone(),
            before: count(&before, shard),
            after: count(&places, shard),
        });
        let moves = plan.moves.iter().map(|one| Moved {
            uuid: one.uuid,
            from: one.from.map(|shard| name(shard).to_string()),
            to: name(one.to).to_string(),
        });
        let mut wanted = Self {
            shards: rows.collect(),
            moves: moves.collect(),
            aliases: BTreeMap::new(),
            writes: Vec::new(),
            problems: plan.problems.iter().map(ToString::to_string).collect(),
            plan,
        };
        wanted.problems.extend(facts.ungrouped.iter().map(|uuid| {
            format!(
                "prometheus {uuid}: saw no group {}*, wanted one: it scrapes \
                 everything",
                asked.prefix
            )
        }));
        for zone in &facts.zones {
            wanted.aliases.insert(zone.uuid, zone.alias.clone());
            // One that has no place keeps what it has.
            let place = places.get(&zone.uuid).copied().flatten();
            let Some(shard) = place.map(name) else { continue };
            match tag::edit(zone.tag.as_deref(), asked.prefix, Some(&shard)) {
                Ok(Edit::Unchanged) => {}
                Ok(Edit::Delete) => wanted.write(zone.uuid, None),
                Ok(Edit::Write(value)) => wanted.write(zone.uuid, Some(value)),
                Err(faults) => wanted.problems.extend(faults.iter().map(|f| {
                    format!("zone {} {}: {f}", zone.uuid, zone.alias)
                })),
            }
        }
        Ok(wanted)
    }

    fn write(&mut self, uuid: Uuid, value: Option<String>) {
        self.writes.push(Write { uuid, value });
    }

    /// Nothing to write, and nothing wrong.
    pub(super) fn is_as_planned(&self) -> bool {
        self.writes.is_empty() && self.problems.is_empty()
    }

    /// Zones whose series go on elsewhere.
    pub(super) fn cuts(&self) -> usize {
        self.moves.iter().filter(|one| one.from.is_some()).count()
    }

    /// What people call the zones.
    pub(super) fn names(&self) -> BTreeMap<Uuid, String> {
        self.aliases.clone()
    }

    /// Prints it.
    pub(super) fn show(&self, json: bool) -> Result<()> {
        match json {
            true => say!("{}", serde_json::to_string_pretty(&self.json())?),
            false => say!("{}", self.table().trim_end()),
        }
        Ok(())
    }

    fn alias(&self, uuid: Uuid) -> &str {
        self.aliases.get(&uuid).map_or("", String::as_str)
    }

    fn json(&self) -> Value {
        let shards = self.shards.iter().map(|row| {
            json!({"name": row.name, "members": row.members,
                "before": row.before, "after": row.after})
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
        })
    }

    fn table(&self) -> String {
        let wide = self.shards.iter().map(|row| row.name.len()).max();
        let wide = wide.unwrap_or(0).max("SHARD".len());
        let mut text = format!(
            "{:wide$}  PAIR  {:>7}  {:>7}\n",
            "SHARD", "ZONES", "AFTER"
        );
        for row in &self.shards {
            let members = row.members.len();
            text.push_str(&format!(
                "{:wide$}  {members:>4}  {:>7}  {:>7}\n",
                row.name, row.before, row.after
            ));
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
        for problem in &self.problems {
            text.push_str(&format!("fault: {problem}\n"));
        }
        text
    }
}
