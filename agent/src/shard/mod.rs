// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Which shard an instance belongs to: instances and Prometheus pairs in,
//! moves out, as few as there can be.
//!
//! A shard is what one Prometheus pair scrapes: the instances whose tag
//! `triton.cmon.groups` has the shard's name. A move rewrites that tag: a job
//! of VMAPI, and a cut in the instance's series, which go on in another
//! Prometheus. So what need not move stays.
//!
//! Three extents, each doing what the one before does and more:
//!
//! - [`Extent::Assign`] finds a place for what nobody scrapes, and for a
//!   Prometheus that scrapes itself. Nothing else moves. A loop may run it
//!   whenever an instance appears.
//! - [`Extent::Drain`] also empties shards that are `draining`.
//! - [`Extent::Rebalance`] also obeys pins, empties what is over its
//!   capacity, and evens loads out.
//!
//! What [`Strategy::Balanced`] promises of a rebalance without hysteresis:
//!
//! - An instance that may go to a lighter shard with room weighs at least what
//!   the two shards differ by. So where no capacity and no pin is in the way,
//!   the heaviest load is above the mean by at most the lightest instance of
//!   that shard; and no plan has its heaviest load below the mean.
//! - With equal weights that is the optimum: loads differ by one instance at
//!   most. The moves are the lower bound: what is misplaced, and what each
//!   shard has above the share it ends with. Growing moves instances to the
//!   new shard alone, removing a shard moves only what it had. An instance
//!   that may not go everywhere can cost one move more.
//! - With unequal weights fewest moves is NP-hard (subset sum). Each move takes
//!   the heaviest instance that fits in half of the difference, which lowers
//!   the sum of squared loads, so it ends.
//! - No move puts a shard over its capacity, unless a pin says so, nor an
//!   instance onto a shard that must not scrape it. What fits nowhere stays
//!   where it is. With equal weights everything fits if it can.
//! - A shard that is `closed` loses only what is pinned elsewhere, or what it
//!   must not scrape.
//! - The answer depends on uuids and names, not on the order they come in, and
//!   a plan of what was planned is empty.
//!
//! Considered and refused: consistent hashing and hash-modulo, which the
//! benchmark sets beside these (with 100 points a shard the heaviest load is a
//! fifth above the mean); a flow solver, exact also where most instances may
//! not go everywhere, which no datacenter has.
//!
//! Source: RFD 150 "Sharding"; the `groups` parameter of CMON's discovery.

pub mod advice;
mod even;
mod hash;
mod packing;
mod place;
mod problem;
mod table;
pub mod tag;

use uuid::Uuid;

use self::packing::Packing;
pub use self::problem::Problem;
use self::table::{NOWHERE, Table};
pub use self::tag::ShardName;

/// What is known and what is wanted.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The shards there are, also those to be emptied.
    pub shards: Vec<Shard>,
    /// Everything to be scraped.
    pub instances: Vec<Instance>,
    /// How much may change.
    pub limits: Limits,
    /// How a shard is chosen.
    pub strategy: Strategy,
}

/// The targets of one Prometheus pair.
#[derive(Clone, Debug)]
pub struct Shard {
    /// Its name, which is its group in the tag.
    pub name: ShardName,
    /// Most weight it may hold, in the unit of [`Instance::weight`].
    pub capacity: Option<u64>,
    /// Instances it must not scrape: the members of the pair themselves, which
    /// another pair looks after. Empty where there is but one shard: then the
    /// members look after each other, and each after itself.
    pub forbidden: Vec<Uuid>,
    /// Whether it is to be emptied. It gets nothing new.
    pub draining: bool,
    /// Whether it is out of sight for now: it gets nothing new, and loses
    /// nothing for the sake of balance or capacity.
    pub closed: bool,
}

/// Something to be scraped: a SmartOS zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its uuid.
    pub uuid: Uuid,
    /// What it costs its shard: 1, or its series, or its samples a second;
    /// the same for all. 0 counts as 1: one that is down comes back.
    pub weight: u64,
    /// Where it is now, as a position in [`Request::shards`]; `None` without a
    /// group of ours.
    pub current: Option<u32>,
    /// Where it is to be whatever that does to balance, likewise.
    pub pinned: Option<u32>,
}

/// How much may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most moves of one plan; the next plan goes on from there.
    pub most_moves: Option<usize>,
    /// Two shards that differ by this much of the mean load, in permille, are
    /// even enough to let everything be. [`Strategy::Balanced`] alone asks.
    pub hysteresis_permille: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            most_moves: None,
            // Measured series swing by some percent from day to day; each
            // move cuts the series of an instance in two.
            hysteresis_permille: 50,
        }
    }
}

/// How a shard is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The lightest; see the head of this module.
    #[default]
    Balanced,
    /// The highest random weight (rendezvous hashing) over uuid and name, in
    /// proportion to capacities. Needs no memory of who was where.
    ///
    /// Source: Thaler and Ravishankar 1998; the weights, Schindelhauer and
    /// Schomaker 2005.
    Rendezvous,
    /// Any, by a fixed draw; a rebalance draws for everything.
    Random {
        /// Another seed, another draw.
        seed: u64,
    },
}

/// How far a plan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// Places what has no place.
    Assign,
    /// And empties draining shards.
    Drain,
    /// And evens out.
    Rebalance,
}

/// What to do, and what comes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// First what nobody scrapes, then the others; each by uuid.
    pub moves: Vec<Move>,
    /// Moves left out because of [`Limits::most_moves`].
    pub deferred: usize,
    /// How it is.
    pub before: Loads,
    /// How it will be.
    pub after: Loads,
    /// What was wrong with the request, or cannot be done. The rest of the
    /// plan stands.
    pub problems: Vec<Problem>,
}

/// One instance changes shard. Positions are those in [`Request::shards`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The instance.
    pub uuid: Uuid,
    /// Where it is; `None` if on no shard that we know.
    pub from: Option<u32>,
    /// Where it will be.
    pub to: u32,
}

/// Weight by shard.
#[derive(Clone, Debug, PartialEq)]
pub struct Loads {
    /// In the order of [`Request::shards`], in the unit of
    /// [`Instance::weight`].
    pub by_shard: Vec<u128>,
    /// The heaviest by the mean, over shards that take something; 1 is even.
    pub imbalance: f64,
}

/// Decides which instances change shard.
///
/// Never fails: see [`Plan::problems`].
pub fn plan(request: &Request, extent: Extent) -> Plan {
    let mut table = Table::new(request);
    let mut problems = std::mem::take(&mut table.problems);
    let mut packing = Packing::new(&table, request.limits.most_moves);
    packing.place(request.strategy, extent);
    if extent == Extent::Rebalance {
        packing.follow(request.strategy);
        packing.relieve();
        loop {
            if request.strategy == Strategy::Balanced {
                packing.even(request.limits.hysteresis_permille);
            }
            // What left a full shard may have made room there.
            let placed = packing.place(request.strategy, extent);
            if !packing.relieve() && !placed {
                break;
            }
        }
    }
    packing.tell(extent, &mut problems);
    let (places, deferred) = packing.into_places();
    let loads = |places: &[u32]| {
        let loads = table.loads(places);
        let imbalance = table.imbalance(&loads);
        Loads { by_shard: table.by_shard(&loads), imbalance }
    };
    Plan {
        moves: moves(&table, &places),
        deferred,
        before: loads(&table.homes),
        after: loads(&places),
        problems,
    }
}

fn moves(table: &Table, places: &[u32]) -> Vec<Move> {
    let given = |shard: u32| table.shards[shard as usize].given;
    let (mut moves, mut others) = (Vec::new(), Vec::new());
    for ((&from, &to), instance) in table.homes.iter().zip(places).zip(0..) {
        if from == to {
            continue;
        }
        let (uuid, to) = (table.uuid(instance), given(to));
        if from == NOWHERE {
            moves.push(Move { uuid, from: None, to });
        } else {
            others.push(Move { uuid, from: Some(given(from)), to });
        }
    }
    moves.append(&mut others);
    moves
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
