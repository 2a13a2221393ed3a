// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A place for whatever needs one.

use std::cmp::Reverse;

use super::hash::{Draw, Rendezvous};
use super::packing::{Packing, clamp};
use super::table::NOWHERE;
use super::{Extent, Strategy};

impl Packing<'_> {
    /// Places what is misplaced: pinned ones, then those that may not go
    /// everywhere, then the others. Of these those that nobody scrapes come
    /// first, and the heavy before the light, which fit in the gaps. Returns
    /// whether any was placed.
    pub(super) fn place(&mut self, strategy: Strategy, extent: Extent) -> bool {
        let table = self.table;
        let away = (0..).zip(&self.places).filter(|&(instance, &place)| {
            table.misplaced(instance, place, extent)
        });
        let (mut picky, mut others): (Vec<u32>, Vec<u32>) =
            away.map(|(instance, _)| instance).partition(|instance| {
                table.pins[*instance as usize] != NOWHERE
                    || table.forbidden.contains_key(instance)
            });
        let urgent = |instance: u32| {
            let n = instance as usize;
            (table.homes[n] != NOWHERE, Reverse(table.weights[n]), instance)
        };
        picky.sort_unstable_by_key(|instance| {
            let pin = table.pins[*instance as usize];
            let barred = table.forbidden.get(instance).map_or(0, Vec::len);
            (pin == NOWHERE, Reverse(barred), urgent(*instance))
        });
        others.sort_unstable_by_key(|&instance| urgent(instance));
        let choice = Choice::new(strategy, self);
        let mut placed = false;
        for instance in picky.into_iter().chain(others) {
            let pin = table.pins[instance as usize];
            let to = match pin {
                NOWHERE => choice.of(instance, self),
                _ => Some(pin),
            };
            placed |= match to {
                Some(to) => self.put(instance, to),
                None => extent == Extent::Rebalance && self.make_room(instance),
            };
        }
        placed
    }

    /// Moves everything that hashing puts elsewhere.
    pub(super) fn follow(&mut self, strategy: Strategy) {
        if strategy == Strategy::Balanced {
            return;
        }
        let choice = Choice::new(strategy, self);
        for instance in (0..).take(self.places.len()) {
            if self.table.pins[instance as usize] != NOWHERE {
                continue;
            }
            if let Some(shard) = choice.of(instance, self) {
                self.put(instance, shard);
            }
        }
    }

    /// For an instance that fits nowhere: sends another from a shard that may
    /// have it to one with room, and gives it that place.
    pub(super) fn make_room(&mut self, instance: u32) -> bool {
        let Some((other, here, there)) = self.swap(instance) else {
            return false;
        };
        self.put(other, there) && self.put(instance, here)
    }

    /// Who would leave which shard for which.
    fn swap(&self, instance: u32) -> Option<(u32, u32, u32)> {
        let table = self.table;
        let weight = u128::from(table.weights[instance as usize]);
        let place = self.places[instance as usize];
        let room = |shard: u32| match shard == place {
            true => self.room_without(shard, weight),
            false => self.room(shard),
        };
        let rooms: Vec<(u32, u128)> =
            self.open().map(|shard| (shard, room(shard))).collect();
        let most = rooms.iter().map(|&(_, room)| room).max()?;
        for &(here, room) in &rooms {
            let lacks = weight.saturating_sub(room);
            if lacks > most
                || self.excess(here) > 0
                || !table.allows(instance, here)
            {
                continue;
            }
            let movable = self.movable(here);
            for &(there, room) in &rooms {
                if there == here || room < lacks {
                    continue;
                }
                let other = movable
                    .range((clamp(lacks), 0)..=(clamp(room), NOWHERE))
                    .map(|&(_, other)| other)
                    .find(|&other| table.allows(other, there));
                if let Some(other) = other {
                    return Some((other, here, there));
                }
            }
        }
        None
    }
}

/// How a strategy chooses among shards with room.
enum Choice {
    Lightest,
    Highest(Rendezvous),
    Drawn(Draw),
}

impl Choice {
    fn new(strategy: Strategy, packing: &Packing) -> Self {
        match strategy {
            Strategy::Balanced => Self::Lightest,
            Strategy::Rendezvous => {
                Self::Highest(Rendezvous::new(packing.table))
            }
            Strategy::Random { seed } => {
                Self::Drawn(Draw::new(packing.table, seed))
            }
        }
    }

    fn of(&self, instance: u32, packing: &Packing) -> Option<u32> {
        let table = packing.table;
        let place = packing.places[instance as usize];
        let fits = |shard: u32| {
            let stays = place == shard && table.allows(instance, shard);
            stays || packing.fits(instance, shard)
        };
        match self {
            Self::Lightest => packing.open().find(|&shard| fits(shard)),
            Self::Highest(hash) => hash.first(&table.uuid(instance), fits),
            Self::Drawn(draw) => draw.first(&table.uuid(instance), fits),
        }
    }
}
