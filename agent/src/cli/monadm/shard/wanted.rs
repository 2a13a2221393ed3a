// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a plan comes to: tags to be written. Pure; how it looks is `show`'s.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow, bail};
use uuid::Uuid;

use super::args::Goal;
use crate::deploy::shards::measured::Load;
use crate::deploy::shards::{Facts, Write, Zone};
use crate::shard::tag::{self, Edit};
use crate::shard::{Instance, Limits, Plan, Request, Shard, ShardName, plan};

/// The answer.
pub(super) struct Wanted {
    /// Shards, by name.
    pub(super) shards: Vec<Row>,
    /// Zones that change shard.
    pub(super) moves: Vec<Moved>,
    /// The planner's own words.
    pub(super) plan: Plan,
    /// What people call the zones.
    pub(super) aliases: BTreeMap<Uuid, String>,
    /// Tags to be written.
    pub(super) writes: Vec<Write>,
    /// Zones whose tag names a shard that is none now, and which.
    pub(super) orphans: BTreeMap<Uuid, String>,
    /// What is wrong and stays so.
    pub(super) problems: Vec<String>,
    /// What is to be known beside.
    pub(super) notes: Vec<String>,
    /// How pairs bear what they have, where that was asked.
    pub(super) loads: BTreeMap<String, Load>,
    /// Zones that CMON is to list, and in which group.
    pub(super) listed: BTreeMap<Uuid, String>,
}

/// A shard.
pub(super) struct Row {
    /// Its name.
    pub(super) name: String,
    /// The pair.
    pub(super) members: BTreeSet<Uuid>,
    /// `draining`, `retired`, `down`, or nothing.
    pub(super) state: &'static str,
    /// Zones now and after.
    pub(super) zones: [usize; 2],
    /// Weight now and after, where it is not their number.
    pub(super) weight: Option<[u128; 2]>,
    /// Most weight.
    pub(super) capacity: Option<u64>,
}

/// A zone that changes shard.
pub(super) struct Moved {
    /// The zone.
    pub(super) uuid: Uuid,
    /// Where it is; `None`, where nobody scrapes it.
    pub(super) from: Option<String>,
    /// Where it will be.
    pub(super) to: String,
}

impl Wanted {
    /// Plans. `weights` are those of the zones that are known; `None` counts
    /// zones.
    ///
    /// Errors: no shard; a name that is none of them; a group that can be no
    /// shard's name.
    pub(super) fn of(
        facts: &Facts,
        goal: &Goal,
        weights: Option<&BTreeMap<Uuid, u64>>,
    ) -> Result<Self> {
        check(facts, goal)?;
        let shards = shards(facts, goal)?;
        let positions: BTreeMap<&str, u32> =
            shards.iter().map(|s| s.name.as_str()).zip(0..).collect();
        let mut problems = Vec::new();
        let pins = pins(facts, goal, &positions, &mut problems);
        let prefix = &*goal.ask.prefix;
        let current = |tag: &Option<String>| {
            let mut ours = tag::ours(tag.as_deref(), prefix);
            // Nobody scrapes what is on a shard that is retired.
            let mut working =
                ours.by_ref().filter(|name| !facts.retired.contains(*name));
            working.find_map(|name| positions.get(name).copied())
        };
        let weigh = weigh(facts, weights);
        let zones = facts.zones.iter();
        let instances: Vec<Instance> = zones
            .map(|zone| Instance {
                uuid: zone.uuid,
                weight: weigh(zone.uuid),
                current: current(&zone.tag),
                pinned: pins.get(&zone.uuid).copied(),
            })
            .collect();
        let before: BTreeMap<Uuid, Option<u32>> =
            instances.iter().map(|one| (one.uuid, one.current)).collect();
        let limits = Limits {
            most_moves: goal.how.most,
            hysteresis_permille: goal.how.hysteresis,
        };
        let strategy = goal.how.strategy.into();
        let request = Request { shards, instances, limits, strategy };
        let plan = plan(&request, goal.extent);
        let mut after = before.clone();
        after.extend(plan.moves.iter().map(|one| (one.uuid, Some(one.to))));
        let count = |places: &BTreeMap<Uuid, Option<u32>>, shard: u32| {
            places.values().filter(|place| **place == Some(shard)).count()
        };
        let name = |shard: u32| request.shards[shard as usize].name.clone();
        let row = |(n, (name, members)): (u32, _)| {
            let name: &String = name;
            let shard = &request.shards[n as usize];
            let at = n as usize;
            let weight = [plan.before.by_shard[at], plan.after.by_shard[at]];
            Row {
                name: name.clone(),
                members: Clone::clone(members),
                state: match (facts.retired.contains(name), shard.draining) {
                    (true, _) => "retired",
                    (false, true) => "draining",
                    (false, false) if shard.closed => "down",
                    (false, false) => "",
                },
                zones: [count(&before, n), count(&after, n)],
                weight: weights.map(|_| weight),
                capacity: shard.capacity,
            }
        };
        let moves = plan.moves.iter().map(|one| Moved {
            uuid: one.uuid,
            from: one.from.map(|shard| name(shard).to_string()),
            to: name(one.to).to_string(),
        });
        problems.extend(plan.problems.iter().map(ToString::to_string));
        let mut wanted = Self {
            shards: (0..).zip(&facts.pairs).map(row).collect(),
            moves: moves.collect(),
            aliases: BTreeMap::new(),
            writes: Vec::new(),
            problems,
            orphans: BTreeMap::new(),
            notes: Vec::new(),
            loads: BTreeMap::new(),
            listed: BTreeMap::new(),
            plan,
        };
        wanted.problems.extend(facts.ungrouped.iter().map(|uuid| {
            format!(
                "prometheus {uuid}: saw no group {prefix}*, wanted one: it \
                 scrapes everything"
            )
        }));
        wanted.problems.extend(facts.absent.iter().map(|name| {
            format!(
                "{name}: saw none of its zones run, wanted one at least; it \
                 takes nothing new and keeps what it has (monadm shard drain \
                 {name} empties it)"
            )
        }));
        for zone in &facts.zones {
            let mut groups = tag::ours(zone.tag.as_deref(), prefix).peekable();
            let first = groups.peek().copied();
            if let Some(first) = first
                && groups.all(|name| !facts.pairs.contains_key(name))
            {
                wanted.orphans.insert(zone.uuid, first.to_owned());
            }
            wanted.aliases.insert(zone.uuid, zone.alias.clone());
            // One that has no place keeps what it has.
            let place = after.get(&zone.uuid).copied().flatten();
            let Some(shard) = place.map(name) else { continue };
            if zone.listed {
                wanted.listed.insert(zone.uuid, shard.to_string());
            }
            match tag::edit(zone.tag.as_deref(), prefix, Some(&shard)) {
                Ok(Edit::Unchanged) => {}
                Ok(Edit::Delete) => wanted.write(zone, None),
                Ok(Edit::Write(value)) => wanted.write(zone, Some(value)),
                Err(faults) => wanted.problems.extend(faults.iter().map(|f| {
                    format!("zone {} {}: {f}", zone.uuid, zone.alias)
                })),
            }
        }
        // First what nobody scrapes.
        let moves = wanted.moves.iter().filter(|one| one.from.is_some());
        let cut: BTreeSet<Uuid> = moves.map(|one| one.uuid).collect();
        wanted.writes.sort_by_key(|one| cut.contains(&one.uuid));
        if let Some(weights) = weights {
            let known = facts.zones.iter();
            let known =
                known.filter(|zone| weights.contains_key(&zone.uuid)).count();
            if known < facts.zones.len() {
                wanted.notes.push(format!(
                    "{} of {} zones could not be weighed and count as the \
                     mean of the others",
                    facts.zones.len() - known,
                    facts.zones.len()
                ));
            }
        }
        Ok(wanted)
    }

    fn write(&mut self, zone: &Zone, value: Option<String>) {
        let (uuid, seen) = (zone.uuid, zone.tag.clone());
        self.writes.push(Write { uuid, seen, value });
    }

    /// Nothing to write, and nothing wrong.
    pub(super) fn is_as_planned(&self) -> bool {
        self.writes.is_empty() && self.problems.is_empty()
    }

    /// What `watch` leaves to `apply`, by the name of each shard that is none;
    /// `same` is what that verb is to be told.
    pub(super) fn left_to_apply(&self, same: &str) -> Vec<String> {
        let mut count: BTreeMap<&str, usize> = BTreeMap::new();
        for group in self.orphans.values() {
            *count.entry(group).or_default() += 1;
        }
        let told = count.iter().map(|(group, count)| {
            let zones = match count {
                1 => "1 zone that bears it",
                _ => &format!("{count} zones that bear it"),
            };
            format!(
                "{group}: saw {zones} and is scraped by nobody, wanted a \
                 prometheus that has it: monadm shard apply --extent \
                 assign{same}"
            )
        });
        told.collect()
    }

    /// Zones whose series go on elsewhere.
    pub(super) fn cuts(&self) -> usize {
        self.moves.iter().filter(|one| one.from.is_some()).count()
    }

    /// What people call a zone.
    pub(super) fn alias(&self, uuid: Uuid) -> &str {
        self.aliases.get(&uuid).map_or("", String::as_str)
    }
}

/// Whether there is what the goal speaks of.
fn check(facts: &Facts, goal: &Goal) -> Result<()> {
    if facts.pairs.is_empty() {
        bail!(
            "no shard: saw {} instances of prometheus, none with a group that \
             begins {:?} in its metadata; wanted one at least",
            facts.ungrouped.len(),
            goal.ask.prefix
        );
    }
    let pinned = goal.how.pin.iter().map(|(_, shard)| shard);
    let capped = goal.how.cap.iter().filter_map(|(shard, _)| shard.as_ref());
    for name in goal.drain.iter().chain(pinned).chain(capped) {
        if !facts.pairs.contains_key(name) {
            let all: Vec<&str> =
                facts.pairs.keys().map(String::as_str).collect();
            bail!("shard {name}: unknown; wanted one of {}", all.join(", "));
        }
    }
    Ok(())
}

fn shards(facts: &Facts, goal: &Goal) -> Result<Vec<Shard>> {
    let draining = |name: &String| {
        goal.drain.contains(name) || facts.retired.contains(name)
    };
    // A pair that is the only one to take anything looks after itself too.
    let open = facts.pairs.keys().filter(|name| !draining(name)).count();
    let shard = |(name, members): (&String, &BTreeSet<Uuid>)| {
        let forbidden = match open {
            ..=1 => Vec::new(),
            _ => members.iter().copied().collect(),
        };
        Ok(Shard {
            capacity: goal.how.cap_of(name),
            draining: draining(name),
            closed: facts.absent.contains(name),
            name: ShardName::parse(name).map_err(|e| anyhow!("{e}"))?,
            forbidden,
        })
    };
    facts.pairs.iter().map(shard).collect()
}

/// Positions by zone. A zone that is not there is told: it may have been
/// misspelt.
fn pins(
    facts: &Facts,
    goal: &Goal,
    positions: &BTreeMap<&str, u32>,
    problems: &mut Vec<String>,
) -> BTreeMap<Uuid, u32> {
    let zones: BTreeSet<Uuid> =
        facts.zones.iter().map(|zone| zone.uuid).collect();
    let mut pins = BTreeMap::new();
    for (uuid, shard) in &goal.how.pin {
        let position = positions.get(shard.as_str());
        match position.filter(|_| zones.contains(uuid)) {
            Some(position) => {
                pins.insert(*uuid, *position);
            }
            None => problems.push(format!(
                "pin {uuid}={shard}: saw no such zone, wanted one of the \
                 account that is up"
            )),
        }
    }
    pins
}

/// What a zone weighs: what is known of it, else the mean of what is.
fn weigh(
    facts: &Facts,
    weights: Option<&BTreeMap<Uuid, u64>>,
) -> impl Fn(Uuid) -> u64 {
    let known =
        move |uuid: &Uuid| weights.and_then(|all| all.get(uuid)).copied();
    let all = facts.zones.iter().filter_map(|zone| known(&zone.uuid));
    let (count, sum) = all.fold((0_u128, 0_u128), |(count, sum), weight| {
        (count + 1, sum + u128::from(weight))
    });
    let mean = sum.checked_div(count).unwrap_or(1).max(1);
    let mean = u64::try_from(mean).unwrap_or(u64::MAX);
    move |uuid| known(&uuid).unwrap_or(mean)
}
