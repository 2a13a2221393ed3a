// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A request in the form decisions are made in: shards by name, instances by
//! uuid, each once, with a few bytes each. Positions in here are ranks in that
//! order, so that ties fall the same way whatever order the request has.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Extent, Instance, Problem, Request, Shard, ShardName};

/// On no shard.
pub(super) const NOWHERE: u32 = u32::MAX;

/// See the head of this file.
pub(super) struct Table<'a> {
    request: &'a Request,
    /// By name, each name once.
    pub(super) shards: Vec<Row>,
    /// Positions in the request's instances.
    pub(super) order: Vec<u32>,
    /// At least 1 each.
    pub(super) weights: Vec<u64>,
    /// The shard each is on now, or [`NOWHERE`].
    pub(super) homes: Vec<u32>,
    /// The shard each must be on, or [`NOWHERE`]; only those that can be.
    pub(super) pins: Vec<u32>,
    /// The few that may not go everywhere, and where not.
    pub(super) forbidden: BTreeMap<u32, Vec<u32>>,
    /// What is wrong with the request.
    pub(super) problems: Vec<Problem>,
}

/// A shard.
pub(super) struct Row {
    /// Its position in the request.
    pub(super) given: u32,
    /// The most it may hold.
    pub(super) capacity: Option<u64>,
    /// To be emptied.
    pub(super) draining: bool,
    /// Takes nothing, and keeps what it has.
    pub(super) closed: bool,
}

impl<'a> Table<'a> {
    pub(super) fn new(request: &'a Request) -> Self {
        let mut problems = Vec::new();
        let (shards, ranks) = shards(request, &mut problems);
        // More than fit in 32 bits would be 160 GiB of request.
        let mut order: Vec<u32> =
            (0..NOWHERE).zip(&request.instances).map(|(n, _)| n).collect();
        let instance = |n: u32| &request.instances[n as usize];
        let rank = |shard: Option<u32>| {
            shard.map(|shard| ranks.get(shard as usize).copied())
        };
        order.sort_unstable_by(|&a, &b| {
            let (a, b) = (instance(a), instance(b));
            let rest = |one: &Instance| {
                (Reverse(one.weight), rank(one.current), rank(one.pinned))
            };
            a.uuid.cmp(&b.uuid).then_with(|| rest(a).cmp(&rest(b)))
        });
        order.dedup_by(|&mut later, &mut first| {
            let uuid = instance(later).uuid;
            let twice = uuid == instance(first).uuid;
            if twice {
                problems.push(Problem::InstanceTwice { uuid });
            }
            twice
        });
        problems.dedup();
        let mut table = Self {
            request,
            weights: order.iter().map(|&n| instance(n).weight.max(1)).collect(),
            homes: vec![NOWHERE; order.len()],
            pins: vec![NOWHERE; order.len()],
            forbidden: forbidden(request, &order, &ranks),
            shards,
            order,
            problems,
        };
        for n in 0..table.order.len() {
            let instance = instance(table.order[n]);
            table.home(n, instance, &ranks);
            table.keep(n);
            table.pin(n, instance, &ranks);
        }
        table
    }

    fn home(&mut self, n: usize, instance: &Instance, ranks: &[u32]) {
        let Some(shard) = instance.current else { return };
        match ranks.get(shard as usize) {
            Some(&rank) => self.homes[n] = rank,
            None => self.problems.push(Problem::CurrentUnknown {
                uuid: instance.uuid,
                shard,
                shards: ranks.len(),
            }),
        }
    }

    /// Whoever is on a closed shard is as if pinned to it.
    fn keep(&mut self, n: usize) {
        let home = self.homes[n];
        let closed = self
            .shards
            .get(home as usize)
            .is_some_and(|row| row.closed && !row.draining);
        if closed && self.allows(n as u32, home) {
            self.pins[n] = home;
        }
    }

    fn pin(&mut self, n: usize, instance: &Instance, ranks: &[u32]) {
        let Some(shard) = instance.pinned else { return };
        let uuid = instance.uuid;
        let Some(&rank) = ranks.get(shard as usize) else {
            let shards = ranks.len();
            self.problems.push(Problem::PinUnknown { uuid, shard, shards });
            return;
        };
        let name = self.request.shards[shard as usize].name.clone();
        let row = &self.shards[rank as usize];
        if row.draining {
            self.problems.push(Problem::PinDraining { uuid, shard: name });
        } else if row.closed && self.homes[n] != rank {
            self.problems.push(Problem::PinClosed { uuid, shard: name });
        } else if !self.allows(n as u32, rank) {
            self.problems.push(Problem::PinForbidden { uuid, shard: name });
        } else {
            self.pins[n] = rank;
        }
    }

    /// An instance's uuid.
    pub(super) fn uuid(&self, instance: u32) -> Uuid {
        self.request.instances[self.order[instance as usize] as usize].uuid
    }

    /// A shard's name.
    pub(super) fn name(&self, shard: u32) -> &'a ShardName {
        let given = self.shards[shard as usize].given;
        &self.request.shards[given as usize].name
    }

    /// Whether a shard may scrape an instance.
    pub(super) fn allows(&self, instance: u32, shard: u32) -> bool {
        match self.forbidden.get(&instance) {
            Some(shards) => !shards.contains(&shard),
            None => true,
        }
    }

    /// Whether an instance has to go somewhere else.
    pub(super) fn misplaced(&self, n: u32, place: u32, extent: Extent) -> bool {
        if place == NOWHERE || !self.allows(n, place) {
            return true;
        }
        let drains = self.shards[place as usize].draining;
        let pin = self.pins[n as usize];
        match extent {
            Extent::Assign => false,
            Extent::Drain => drains,
            Extent::Rebalance => drains || pin != NOWHERE && pin != place,
        }
    }

    /// Shards that take something new.
    pub(super) fn open(&self) -> impl Iterator<Item = u32> {
        let rows = (0..NOWHERE).zip(&self.shards);
        let open = rows.filter(|(_, row)| !row.draining && !row.closed);
        open.map(|(rank, _)| rank)
    }

    /// What each shard holds when instances are at `places`.
    pub(super) fn loads(&self, places: &[u32]) -> Vec<u128> {
        let mut loads = vec![0; self.shards.len()];
        for (&place, &weight) in places.iter().zip(&self.weights) {
            if place != NOWHERE {
                loads[place as usize] += u128::from(weight);
            }
        }
        loads
    }

    /// Loads in the order of the request; nothing for a name's second shard.
    pub(super) fn by_shard(&self, loads: &[u128]) -> Vec<u128> {
        let mut given = vec![0; self.request.shards.len()];
        for (row, &load) in self.shards.iter().zip(loads) {
            given[row.given as usize] = load;
        }
        given
    }

    /// The heaviest by the mean, over shards that take something.
    pub(super) fn imbalance(&self, loads: &[u128]) -> f64 {
        let open = || self.open().map(|rank| loads[rank as usize]);
        let (sum, most) = (open().sum::<u128>(), open().max());
        match most {
            Some(most) if sum > 0 => {
                most as f64 * open().count() as f64 / sum as f64
            }
            _ => 1.0,
        }
    }
}

/// The shards by name, and the rank of each position in the request.
fn shards(
    request: &Request,
    problems: &mut Vec<Problem>,
) -> (Vec<Row>, Vec<u32>) {
    let mut order: Vec<(u32, &_)> = (0..NOWHERE).zip(&request.shards).collect();
    // Of two with one name the stricter counts, wherever it stands.
    order.sort_by_key(|(_, shard)| {
        let most = shard.capacity.unwrap_or(u64::MAX);
        (&shard.name, !shard.draining, !shard.closed, most)
    });
    let mut rows: Vec<Row> = Vec::with_capacity(order.len());
    let mut ranks = vec![NOWHERE; order.len()];
    let mut before = None;
    for (given, shard) in order {
        if before == Some(&shard.name) {
            let name = shard.name.clone();
            problems.push(Problem::ShardTwice { name });
        } else {
            let Shard { capacity, draining, closed, .. } = *shard;
            rows.push(Row { given, capacity, draining, closed });
        }
        before = Some(&shard.name);
        ranks[given as usize] = rows.len() as u32 - 1;
    }
    problems.dedup();
    let draining = rows.iter().filter(|row| row.draining).count();
    let closed = rows.iter().filter(|row| row.closed && !row.draining).count();
    if draining + closed == rows.len() && !request.instances.is_empty() {
        problems.push(Problem::NoShards { draining, closed });
    }
    (rows, ranks)
}

/// Which instance may not go where.
fn forbidden(
    request: &Request,
    order: &[u32],
    ranks: &[u32],
) -> BTreeMap<u32, Vec<u32>> {
    let find = |uuid: &Uuid| {
        order
            .binary_search_by_key(uuid, |&n| request.instances[n as usize].uuid)
    };
    let mut all: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (shard, &rank) in request.shards.iter().zip(ranks) {
        for n in shard.forbidden.iter().flat_map(find) {
            all.entry(n as u32).or_default().push(rank);
        }
    }
    for shards in all.values_mut() {
        shards.sort_unstable();
        shards.dedup();
    }
    all
}
