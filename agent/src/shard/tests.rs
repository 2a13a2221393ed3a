// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

use super::*;

pub(super) fn shard(n: usize) -> Shard {
    Shard {
        name: ShardName::parse(&format!("shard-{n}")).unwrap(),
        capacity: None,
        forbidden: Vec::new(),
        draining: false,
        closed: false,
    }
}

pub(super) fn instance(
    uuid: u128,
    weight: u64,
    current: Option<u32>,
) -> Instance {
    let uuid = Uuid::from_u128(uuid);
    Instance { uuid, weight, current, pinned: None }
}

/// Plans, and does it.
pub(super) fn apply(request: &mut Request, extent: Extent) -> Plan {
    let plan = plan(request, extent);
    let to = |uuid: &Uuid| plan.moves.iter().find(|one| one.uuid == *uuid);
    for one in &mut request.instances {
        if let Some(moved) = to(&one.uuid) {
            assert_ne!(Some(moved.to), one.current, "a move that is none");
            one.current = Some(moved.to);
        }
    }
    plan
}

/// Shards of these many instances each, of weight 1.
fn shards(counts: &[usize]) -> Request {
    let mut request = Request::default();
    for (n, &count) in counts.iter().enumerate() {
        request.shards.push(shard(n));
        for _ in 0..count {
            let uuid = request.instances.len() as u128;
            request.instances.push(instance(uuid, 1, Some(n as u32)));
        }
    }
    request
}

#[test]
fn growing_moves_the_share_of_the_new_shard_alone() {
    let request = shards(&[10, 10, 10, 0]);
    let plan = plan(&request, Extent::Rebalance);
    assert_eq!(plan.moves.len(), 7);
    assert!(plan.moves.iter().all(|one| one.to == 3), "{plan:?}");
    assert_eq!(plan.after.by_shard, [8, 8, 7, 7]);
    assert_eq!(plan.before.imbalance, 40.0 / 30.0);
}

#[test]
fn what_nobody_scrapes_comes_first() {
    let mut request = shards(&[3, 3]);
    request.shards[1].draining = true;
    request.instances.push(instance(100, 1, None));
    request.limits.most_moves = Some(2);
    let plan = plan(&request, Extent::Drain);
    let from: Vec<_> = plan.moves.iter().map(|one| one.from).collect();
    assert_eq!(from, [None, Some(1)]);
    assert_eq!(plan.deferred, 2);
    assert_eq!(plan.after.by_shard, [5, 2]);
}

/// A pair that is down for an hour is not worth a cut in all its series.
#[test]
fn a_closed_shard_takes_nothing_and_keeps_what_it_has() {
    for strategy in [Strategy::Balanced, Strategy::Rendezvous] {
        let mut request = shards(&[16, 16, 16]);
        request.strategy = strategy;
        request.shards[1].closed = true;
        request.shards[1].capacity = Some(4);
        request.instances.push(instance(100, 1, None));
        for extent in [Extent::Assign, Extent::Drain, Extent::Rebalance] {
            let plan = plan(&request, extent);
            assert_eq!(plan.after.by_shard[1], 16, "{strategy:?} {extent:?}");
            assert_eq!(plan.after.by_shard.iter().sum::<u128>(), 49);
            assert_eq!(plan.problems, []);
        }
        let new = request.instances.last_mut().unwrap();
        new.pinned = Some(1);
        let pinned = plan(&request, Extent::Rebalance);
        assert!(matches!(pinned.problems[..], [Problem::PinClosed { .. }]));
        // Who wants it empty says so.
        request.shards[1].draining = true;
        let drained = plan(&request, Extent::Drain);
        assert_eq!(drained.after.by_shard[1], 0);
    }
}

#[test]
fn a_pair_is_scraped_by_others() {
    let mut request = shards(&[2, 2]);
    let members = |n: usize| request.instances[n..n + 2].iter().map(|i| i.uuid);
    let pairs: Vec<Vec<Uuid>> =
        vec![members(0).collect(), members(2).collect()];
    for (shard, pair) in request.shards.iter_mut().zip(pairs) {
        shard.forbidden = pair;
    }
    // Each on its own shard: both pairs change sides.
    let plan = plan(&request, Extent::Assign);
    let to: Vec<u32> = plan.moves.iter().map(|one| one.to).collect();
    assert_eq!(to, [1, 1, 0, 0]);
    assert_eq!(plan.problems, []);
}

#[test]
fn a_full_shard_makes_room_for_one_that_may_not_go_elsewhere() {
    let mut request = shards(&[2, 1]);
    for shard in &mut request.shards {
        shard.capacity = Some(2);
    }
    let member = instance(100, 1, None);
    request.instances.push(member);
    request.shards[1].forbidden = vec![member.uuid];
    let assign = plan(&request, Extent::Assign);
    assert_eq!(assign.moves, []);
    assert!(matches!(assign.problems[..], [Problem::FitsNowhere { .. }]));
    let plan = plan(&request, Extent::Rebalance);
    assert_eq!(plan.moves.len(), 2);
    assert_eq!(plan.after.by_shard, [2, 2]);
    assert_eq!(plan.problems, []);
}

#[test]
fn greatest_weights_add_up() {
    for strategy in [Strategy::Balanced, Strategy::Rendezvous] {
        let mut request = shards(&[4, 0]);
        request.strategy = strategy;
        for one in &mut request.instances {
            one.weight = u64::MAX;
        }
        request.shards[1].capacity = Some(u64::MAX);
        request.limits.hysteresis_permille = u32::MAX;
        request.limits.most_moves = Some(0);
        assert_eq!(plan(&request, Extent::Rebalance).moves, []);
        request.limits = Limits::default();
        let after = plan(&request, Extent::Rebalance).after.by_shard;
        if strategy == Strategy::Balanced {
            let most = u128::from(u64::MAX);
            assert_eq!(after, [3 * most, most]);
        }
    }
}

#[test]
fn capacities_are_weights_of_rendezvous() {
    let mut request = shards(&[8_000, 0, 0]);
    request.strategy = Strategy::Rendezvous;
    let alike = plan(&request, Extent::Rebalance).after.by_shard;
    assert!(alike.iter().all(|&load| load.abs_diff(2_667) < 150), "{alike:?}");
    for (shard, capacity) in
        request.shards.iter_mut().zip([20_000, 10_000, 10_000])
    {
        shard.capacity = Some(capacity);
    }
    let after = plan(&request, Extent::Rebalance).after.by_shard;
    assert!(after[0].abs_diff(4_000) < 150, "{after:?}");
    assert!(after[1].abs_diff(2_000) < 150, "{after:?}");
}

#[test]
fn every_fault_is_told_and_none_stops_the_rest() {
    let mut request = shards(&[2, 1, 1]);
    let [a, b, ..] = request.instances[..] else { unreachable!() };
    let pin = |uuid, pinned| Instance {
        pinned: Some(pinned),
        ..instance(uuid, 1, None)
    };
    request.instances.extend([a, a]);
    request.instances.push(instance(50, 1, Some(9)));
    request.instances.extend([pin(51, 9), pin(52, 2), pin(53, 1)]);
    request.instances.extend([pin(54, 0), pin(55, 0)]);
    request.instances.push(instance(56, 1_000, None));
    request.shards[0].capacity = Some(1);
    request.shards[1].capacity = Some(100);
    request.shards[1].forbidden = vec![Uuid::from_u128(53), b.uuid];
    request.shards[2].draining = true;
    request.shards.push(shard(2));
    let plan = plan(&request, Extent::Rebalance);
    let told: Vec<String> =
        plan.problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @"
    shard shard-2: saw the name twice, wanted once
    instance 00000000-0000-0000-0000-000000000000: saw it more than once, wanted once
    instance 00000000-0000-0000-0000-000000000032 current: saw 9, wanted a position below 4
    instance 00000000-0000-0000-0000-000000000033 pinned: saw 9, wanted a position below 4
    instance 00000000-0000-0000-0000-000000000034 pinned: saw shard-2, which is draining, wanted one that takes instances
    instance 00000000-0000-0000-0000-000000000035 pinned: saw shard-1, which it is a member of, wanted another shard
    instance 00000000-0000-0000-0000-000000000035: saw weight 1 and 0 as the most room, wanted a shard that takes it: more capacity, or another shard
    instance 00000000-0000-0000-0000-000000000038: saw weight 1000 and 94 as the most room, wanted a shard that takes it: more capacity, or another shard
    shard shard-0: saw load 3, 2 of it pinned, wanted 1 at most
    ");
}

#[test]
fn nowhere_to_go_is_told_once() {
    let mut request = shards(&[0]);
    request.instances.push(instance(1, 1, None));
    request.shards[0].draining = true;
    let plan = plan(&request, Extent::Rebalance);
    assert_eq!(plan.moves, []);
    let told: Vec<String> =
        plan.problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @"shards: saw none but 1 draining and 0 out of sight, wanted one that takes instances");
    let empty = super::plan(&Request::default(), Extent::Rebalance);
    assert_eq!((empty.moves.len(), empty.problems.len()), (0, 0));
}
