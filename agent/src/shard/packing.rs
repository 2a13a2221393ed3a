// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Who is where while a plan is made, and what follows from it.
//!
//! What never changes: a step puts no instance where it must not be, and no
//! shard over its capacity; only of two that change places the first may, until
//! the second has left. So a plan may be cut off after any step. The steps
//! after that are still taken, to count what was left out.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use super::table::{NOWHERE, Table};
use super::{Extent, Problem};

/// See the head of this file.
pub(super) struct Packing<'a> {
    pub(super) table: &'a Table<'a>,
    /// The shard each instance is on, or [`NOWHERE`].
    pub(super) places: Vec<u32>,
    pub(super) loads: Vec<u128>,
    /// Shards that take something new, the lightest first.
    ladder: BTreeSet<(u128, u32)>,
    /// What may leave each shard, the lightest first; made when first asked
    /// for, since many plans need it not at all.
    movable: OnceCell<Vec<BTreeSet<(u64, u32)>>>,
    moved: usize,
    most: usize,
    /// The places when the limit was reached.
    cut: Option<Vec<u32>>,
}

impl<'a> Packing<'a> {
    /// Everybody at home.
    pub(super) fn new(table: &'a Table<'a>, most_moves: Option<usize>) -> Self {
        let loads = table.loads(&table.homes);
        let ladder =
            table.open().map(|rank| (loads[rank as usize], rank)).collect();
        Self {
            table,
            places: table.homes.clone(),
            loads,
            ladder,
            movable: OnceCell::new(),
            moved: 0,
            most: most_moves.unwrap_or(usize::MAX),
            cut: None,
        }
    }

    /// Puts an instance onto a shard; whether that is another than it was on.
    pub(super) fn put(&mut self, instance: u32, to: u32) -> bool {
        let n = instance as usize;
        let (from, home) = (self.places[n], self.table.homes[n]);
        if from == to {
            return false;
        }
        if to == home {
            self.moved -= 1;
        } else if from == home {
            if self.moved == self.most && self.cut.is_none() {
                self.cut = Some(self.places.clone());
            }
            self.moved += 1;
        }
        let weight = self.table.weights[n];
        self.places[n] = to;
        if from != NOWHERE {
            self.load(from, |load| load - u128::from(weight));
        }
        self.load(to, |load| load + u128::from(weight));
        if let Some(movable) = self.movable.get_mut() {
            if from != NOWHERE {
                movable[from as usize].remove(&(weight, instance));
            }
            movable[to as usize].insert((weight, instance));
        }
        true
    }

    fn load(&mut self, shard: u32, change: impl Fn(u128) -> u128) {
        let load = &mut self.loads[shard as usize];
        let before = std::mem::replace(load, change(*load));
        let after = *load;
        if self.ladder.remove(&(before, shard)) {
            self.ladder.insert((after, shard));
        }
    }

    /// What a shard may still take.
    pub(super) fn room(&self, shard: u32) -> u128 {
        self.room_without(shard, 0)
    }

    /// What it may take once so much has left it.
    pub(super) fn room_without(&self, shard: u32, weight: u128) -> u128 {
        let n = shard as usize;
        let load = self.loads[n].saturating_sub(weight);
        match self.table.shards[n].capacity {
            Some(most) => u128::from(most).saturating_sub(load),
            None => u128::MAX,
        }
    }

    /// By how much a shard is over its capacity.
    pub(super) fn excess(&self, shard: u32) -> u128 {
        let n = shard as usize;
        match self.table.shards[n].capacity {
            Some(most) => self.loads[n].saturating_sub(most.into()),
            None => 0,
        }
    }

    /// Whether a shard may take an instance that it does not have.
    pub(super) fn fits(&self, instance: u32, shard: u32) -> bool {
        let weight = self.table.weights[instance as usize];
        self.room(shard) >= weight.into() && self.table.allows(instance, shard)
    }

    /// Shards that take something new, the lightest first.
    pub(super) fn open(&self) -> impl DoubleEndedIterator<Item = u32> {
        self.ladder.iter().map(|&(_, shard)| shard)
    }

    /// What may leave a shard: all but the pinned, by weight.
    pub(super) fn movable(&self, shard: u32) -> &BTreeSet<(u64, u32)> {
        let all = self.movable.get_or_init(|| {
            let mut all = vec![Vec::new(); self.table.shards.len()];
            let places = self.places.iter().zip(&self.table.pins);
            for ((&place, &pin), instance) in places.zip(0..) {
                if place != NOWHERE && pin == NOWHERE {
                    let weight = self.table.weights[instance as usize];
                    all[place as usize].push((weight, instance));
                }
            }
            all.into_iter().map(BTreeSet::from_iter).collect()
        });
        &all[shard as usize]
    }

    /// What could not be done.
    pub(super) fn tell(&self, extent: Extent, problems: &mut Vec<Problem>) {
        let rooms = || self.open().map(|shard| (shard, self.room(shard)));
        let Some(most) = rooms().map(|(_, room)| room).max() else {
            // Told once, not for each.
            return;
        };
        for (&place, instance) in self.places.iter().zip(0..) {
            if !self.table.misplaced(instance, place, extent) {
                continue;
            }
            let room = match self.table.forbidden.contains_key(&instance) {
                true => rooms()
                    .filter(|&(shard, _)| self.table.allows(instance, shard))
                    .map(|(_, room)| room)
                    .max(),
                false => Some(most),
            };
            problems.push(Problem::FitsNowhere {
                uuid: self.table.uuid(instance),
                weight: self.table.weights[instance as usize],
                room: clamp(room.unwrap_or(0)),
            });
        }
        let pinned = self.table.loads(&self.table.pins);
        for shard in self.table.open().filter(|&shard| self.excess(shard) > 0) {
            let n = shard as usize;
            problems.push(Problem::Overfull {
                name: self.table.name(shard).clone(),
                load: self.loads[n],
                pinned: pinned[n],
                capacity: self.table.shards[n].capacity.unwrap_or(u64::MAX),
            });
        }
    }

    /// Where everybody ends, and how many moves the limit left out.
    pub(super) fn into_places(self) -> (Vec<u32>, usize) {
        match self.cut {
            Some(places) => (places, self.moved.saturating_sub(self.most)),
            None => (self.places, 0),
        }
    }
}

/// A room as a weight that fits.
pub(super) fn clamp(room: u128) -> u64 {
    u64::try_from(room).unwrap_or(u64::MAX)
}
