// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Moves that need not be, for the sake of balance and capacities.

use super::packing::{Packing, clamp};
use super::table::NOWHERE;

impl Packing<'_> {
    /// Takes from shards what they have above their capacity, as far as it
    /// fits elsewhere. Returns whether anything did.
    pub(super) fn relieve(&mut self) -> bool {
        let shards: Vec<u32> =
            self.open().filter(|&shard| self.excess(shard) > 0).collect();
        let mut relieved = false;
        for shard in shards {
            while self.relief(shard) {
                relieved = true;
            }
        }
        relieved
    }

    /// Sends the lightest instance that is enough, else the heaviest.
    fn relief(&mut self, from: u32) -> bool {
        let excess = clamp(self.excess(from));
        let most = self.open().map(|shard| self.room(shard)).max();
        let most = clamp(most.unwrap_or(0));
        if excess == 0 || most == 0 {
            return false;
        }
        let movable = self.movable(from);
        let enough = movable.range((excess, 0)..);
        let enough = enough.take_while(|one| one.0 <= most);
        let less = movable.range(..(excess.min(most.saturating_add(1)), 0));
        let candidates = || {
            let all = enough.clone().chain(less.clone().rev());
            all.map(|&(_, instance)| instance)
        };
        let Some(first) = candidates().next() else { return false };
        let direct = candidates().find_map(|instance| {
            let to = self.open().find(|&to| self.fits(instance, to))?;
            Some((instance, to))
        });
        match direct {
            Some((instance, to)) => self.put(instance, to),
            None => self.make_room(first),
        }
    }

    /// Moves instances from heavy shards to light ones, until none of them
    /// would bring two loads closer together.
    pub(super) fn even(&mut self, hysteresis_permille: u32) {
        let open = self.open().count() as u128;
        let sum: u128 = self.open().map(|n| self.loads[n as usize]).sum();
        let enough = sum.saturating_mul(hysteresis_permille.into());
        let mut below = true;
        while let Some(shift) = self.shift() {
            let gap = shift.gap.saturating_mul(open).saturating_mul(1000);
            below &= gap <= enough;
            if below {
                return;
            }
            for (instance, to) in shift.steps.into_iter().flatten() {
                self.put(instance, to);
            }
        }
    }

    /// The next such move, from the heaviest shard that can give to the
    /// lightest that can take.
    fn shift(&self) -> Option<Shift> {
        let loads = || self.open().map(|n| self.loads[n as usize]);
        if loads().next_back()? - loads().next()? < 2 {
            return None;
        }
        for from in self.open().rev() {
            let Some(&(least, _)) = self.movable(from).first() else {
                continue;
            };
            for to in self.open() {
                let high = self.loads[from as usize];
                let gap = high.saturating_sub(self.loads[to as usize]);
                if gap <= least.into() {
                    break;
                }
                let direct =
                    || Some([Some((self.half(from, to, gap)?, to)), None]);
                let steps = direct().or_else(|| self.relay(from, to, gap));
                if let Some(steps) = steps {
                    return Some(Shift { gap, steps });
                }
            }
        }
        None
    }

    /// The heaviest that fits in half of the gap, else the lightest that fits
    /// in the gap.
    fn half(&self, from: u32, to: u32, gap: u128) -> Option<u32> {
        let movable = self.movable(from);
        let (room, half) = (clamp(self.room(to)), clamp(gap / 2));
        let most = room.min(clamp(gap - 1));
        let light = movable.range(..=(half.min(room), NOWHERE)).rev();
        let heavy = movable.range((half, NOWHERE)..);
        let heavy = heavy.take_while(|one| one.0 <= most);
        light
            .chain(heavy)
            .map(|&(_, instance)| instance)
            .find(|&instance| self.table.allows(instance, to))
    }

    /// Where nothing of `from` may go to `to`: one goes to a third shard,
    /// which gives another of the same weight.
    fn relay(&self, from: u32, to: u32, gap: u128) -> Option<Steps> {
        let most = clamp(self.room(to).min(gap - 1));
        let light = || self.movable(from).range(..=(most, NOWHERE));
        light().next()?;
        for via in self.open().filter(|&via| via != from && via != to) {
            let may = |one: &u32, shard| self.table.allows(*one, shard);
            let goes = light().find(|(_, one)| may(one, via));
            let Some(&(weight, goes)) = goes else { continue };
            let given = self
                .movable(via)
                .range((weight, 0)..=(weight, NOWHERE))
                .find(|(_, one)| may(one, to));
            if let Some(&(_, given)) = given {
                return Some([Some((given, to)), Some((goes, via))]);
            }
        }
        None
    }
}

/// Brings two loads that differ by `gap` closer together.
struct Shift {
    gap: u128,
    steps: Steps,
}

/// Instances and where they go.
type Steps = [Option<(u32, u32)>; 2];
