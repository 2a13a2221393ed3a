// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a plan could not do as asked.

use uuid::Uuid;

use super::ShardName;

/// One fault, in the words an operator can act on: where, what was seen, what
/// is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No shard takes anything.
    #[error(
        "shards: saw none but {draining} draining and {closed} out of sight, \
         wanted one that takes instances"
    )]
    NoShards {
        /// How many are draining.
        draining: usize,
        /// How many take nothing otherwise.
        closed: usize,
    },
    /// Of two shards the stricter counts, and for both.
    #[error("shard {name}: saw the name twice, wanted once")]
    ShardTwice {
        /// The name of both.
        name: ShardName,
    },
    /// Of several the heaviest counts.
    #[error("instance {uuid}: saw it more than once, wanted once")]
    InstanceTwice {
        /// Its uuid.
        uuid: Uuid,
    },
    /// Taken for one on no shard.
    #[error(
        "instance {uuid} current: saw {shard}, wanted a position below {shards}"
    )]
    CurrentUnknown {
        /// Its uuid.
        uuid: Uuid,
        /// The position given.
        shard: u32,
        /// How many shards there are.
        shards: usize,
    },
    /// The pin is ignored.
    #[error(
        "instance {uuid} pinned: saw {shard}, wanted a position below {shards}"
    )]
    PinUnknown {
        /// Its uuid.
        uuid: Uuid,
        /// The position given.
        shard: u32,
        /// How many shards there are.
        shards: usize,
    },
    /// The pin is ignored.
    #[error(
        "instance {uuid} pinned: saw {shard}, which is draining, wanted one \
         that takes instances"
    )]
    PinDraining {
        /// Its uuid.
        uuid: Uuid,
        /// Where it is pinned.
        shard: ShardName,
    },
    /// The pin is ignored.
    #[error(
        "instance {uuid} pinned: saw {shard}, which is out of sight, wanted \
         one that takes instances"
    )]
    PinClosed {
        /// Its uuid.
        uuid: Uuid,
        /// Where it is pinned.
        shard: ShardName,
    },
    /// The pin is ignored.
    #[error(
        "instance {uuid} pinned: saw {shard}, which it is a member of, wanted \
         another shard"
    )]
    PinForbidden {
        /// Its uuid.
        uuid: Uuid,
        /// Where it is pinned.
        shard: ShardName,
    },
    /// It stays where it is, or without a shard.
    #[error(
        "instance {uuid}: saw weight {weight} and {room} as the most room, \
         wanted a shard that takes it: more capacity, or another shard"
    )]
    FitsNowhere {
        /// Its uuid.
        uuid: Uuid,
        /// What it weighs.
        weight: u64,
        /// The most that any shard that may have it has left.
        room: u64,
    },
    /// What it has too much is pinned or fits nowhere else.
    #[error(
        "shard {name}: saw load {load}, {pinned} of it pinned, wanted \
         {capacity} at most"
    )]
    Overfull {
        /// Its name.
        name: ShardName,
        /// Its load.
        load: u128,
        /// What of that is pinned.
        pinned: u128,
        /// The most it may hold.
        capacity: u64,
    },
}
