// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a plan promises, over requests at random; the small ones beside every
//! assignment there is.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::Strategy as Any;

use super::tests::{apply, instance, shard};
use super::{Strategy, *};

/// How much of what a request may hold.
#[derive(Clone, Copy, Debug)]
struct Kind {
    instances: usize,
    shards: usize,
    weight: u64,
    /// Pins, members of pairs, capacities, draining shards, wrong positions.
    rules: bool,
}

fn requests(kind: Kind) -> impl Any<Value = Request> {
    let Kind { instances, shards, weight, rules } = kind;
    let unknown = shards as u32 + u32::from(rules);
    let one =
        (1..=weight, option::of(0..unknown), option::weighted(0.2, 0..unknown));
    let total = instances as u64 * weight;
    let pair = (
        option::weighted(0.4, 0..=total),
        vec(0..instances, 0..=usize::from(rules) * 2),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.15),
    );
    let all = (vec(one, 0..=instances), vec(pair, 1..=shards));
    all.prop_map(move |(ones, pairs)| {
        let mut request = even_request();
        for (n, (weight, current, pinned)) in ones.into_iter().enumerate() {
            let known = |at: &u32| rules || (*at as usize) < pairs.len();
            let one = instance(n as u128, weight, current.filter(known));
            let pinned = pinned.filter(|_| rules);
            request.instances.push(Instance { pinned, ..one });
        }
        // A member belongs to one pair.
        let mut taken = Vec::new();
        for (n, (capacity, members, draining, closed)) in
            pairs.into_iter().enumerate()
        {
            let capacity = capacity.filter(|_| rules);
            let (draining, closed) = (draining && rules, closed && rules);
            let mut one = Shard { capacity, draining, closed, ..shard(n) };
            for member in members {
                let uuid = instance(member as u128, 1, None).uuid;
                if !taken.contains(&uuid) {
                    taken.push(uuid);
                    one.forbidden.push(uuid);
                }
            }
            request.shards.push(one);
        }
        request
    })
}

/// Without hysteresis.
fn even_request() -> Request {
    let limits = Limits { hysteresis_permille: 0, most_moves: None };
    Request { limits, ..Request::default() }
}

const TINY: Kind = Kind { instances: 6, shards: 3, weight: 1, rules: true };
const SMALL: Kind = Kind { instances: 60, shards: 6, weight: 1, rules: true };
const HEAVY: Kind = Kind { weight: 50, ..SMALL };

/// By the request, or because its shard is closed.
fn is_pinned(request: &Request, one: &Instance) -> Option<u32> {
    let stands = |at: u32| {
        let shard = request.shards.get(at as usize)?;
        let good = !shard.draining && !shard.forbidden.contains(&one.uuid);
        good.then_some(shard.closed)
    };
    let kept = one.current.filter(|&at| stands(at) == Some(true));
    let pin = one.pinned.filter(|&at| match stands(at) {
        Some(closed) => !closed || one.current == Some(at),
        None => false,
    });
    pin.or(kept)
}

fn forbids(request: &Request, one: &Instance) -> bool {
    request.shards.iter().any(|shard| shard.forbidden.contains(&one.uuid))
}

fn allows(request: &Request, one: &Instance, at: u32) -> bool {
    request
        .shards
        .get(at as usize)
        .is_some_and(|shard| !shard.forbidden.contains(&one.uuid))
}

fn takes(request: &Request, one: &Instance, at: u32) -> bool {
    allows(request, one, at)
        && !request.shards[at as usize].draining
        && (!request.shards[at as usize].closed || one.current == Some(at))
        && is_pinned(request, one).is_none_or(|pin| pin == at)
}

/// Sum of squared loads and number of moves, of the most even assignment that
/// keeps all rules; of those the one with the fewest moves.
fn best(request: &Request) -> Option<(u128, usize)> {
    let shards = request.shards.len();
    let all = shards.pow(request.instances.len() as u32);
    let score = |mut code: usize| {
        let mut loads = vec![0_u128; shards];
        let mut moves = 0;
        for one in &request.instances {
            let at = code % shards;
            code /= shards;
            if !takes(request, one, at as u32) {
                return None;
            }
            loads[at] += u128::from(one.weight);
            moves += usize::from(one.current != Some(at as u32));
        }
        let fits = |(load, shard): (&u128, &Shard)| {
            shard.capacity.is_none_or(|most| *load <= most.into())
        };
        let fits = loads.iter().zip(&request.shards).all(fits);
        fits.then(|| (squares(&loads), moves))
    };
    (0..all).filter_map(score).min()
}

fn squares(loads: &[u128]) -> u128 {
    loads.iter().map(|load| load * load).sum()
}

/// What is misplaced, and what shards have above the shares they end with.
fn lower_bound(request: &Request) -> usize {
    let shards = request.shards.len();
    let mut kept = vec![0; shards];
    let mut misplaced = 0;
    for one in &request.instances {
        match one.current {
            Some(at) => kept[at as usize] += 1,
            None => misplaced += 1,
        }
    }
    kept.sort_unstable_by_key(|&kept| std::cmp::Reverse(kept));
    let (share, rest) = match shards {
        0 => (0, 0),
        _ => {
            (request.instances.len() / shards, request.instances.len() % shards)
        }
    };
    let above = |(n, kept): (usize, usize)| {
        kept.saturating_sub(share + usize::from(n < rest))
    };
    misplaced + kept.into_iter().enumerate().map(above).sum::<usize>()
}

fn hard(problem: &Problem) -> bool {
    matches!(problem, Problem::FitsNowhere { .. } | Problem::Overfull { .. })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_assignment_is_more_even_or_takes_fewer_moves(
        request in requests(TINY),
    ) {
        let plan = plan(&request, Extent::Rebalance);
        if let Some((even, moves)) = best(&request) {
            prop_assert!(!plan.problems.iter().any(hard), "{plan:?}");
            prop_assert_eq!(squares(&plan.after.by_shard), even, "{:?}", plan);
            let picky = request.instances.iter();
            let picky = picky.filter(|one| forbids(&request, one)).count();
            prop_assert!(
                (moves..=moves + picky).contains(&plan.moves.len()),
                "{moves} moves are enough, {picky} may not go everywhere: \
                 {plan:?}"
            );
        }
    }
}

proptest! {
    #[test]
    fn equal_weights_differ_by_one_and_moves_are_the_lower_bound(
        request in requests(Kind { rules: false, instances: 400, ..SMALL }),
    ) {
        let plan = plan(&request, Extent::Rebalance);
        let loads = &plan.after.by_shard;
        let least = loads.iter().min().copied().unwrap_or(0);
        prop_assert!(loads.iter().all(|&load| load <= least + 1), "{loads:?}");
        prop_assert_eq!(plan.moves.len(), lower_bound(&request));
        prop_assert_eq!(plan.problems, []);
    }

    #[test]
    fn growing_fills_the_new_shard_and_shrinking_empties_the_old(
        request in requests(Kind { rules: false, instances: 200, ..SMALL }),
    ) {
        let mut request = request;
        apply(&mut request, Extent::Rebalance);
        let new = request.shards.len() as u32;
        request.shards.push(shard(new as usize));
        let plan = apply(&mut request, Extent::Rebalance);
        let share = request.instances.len() / request.shards.len();
        prop_assert!(plan.moves.iter().all(|one| one.to == new));
        prop_assert_eq!(plan.moves.len(), share);

        request.shards[0].draining = true;
        let had = |one: &&Instance| one.current == Some(0);
        let had = request.instances.iter().filter(had).count();
        let plan = apply(&mut request, Extent::Rebalance);
        prop_assert!(plan.moves.iter().all(|one| one.from == Some(0)));
        prop_assert_eq!(plan.moves.len(), had);
    }

    #[test]
    fn every_rule_is_kept(
        request in requests(HEAVY),
        strategy in strategies(),
        extent in extents(),
    ) {
        let request = Request { strategy, ..request };
        let mut after = request.clone();
        let plan = apply(&mut after, extent);
        for one in &plan.moves {
            let find = |i: &&Instance| i.uuid == one.uuid;
            let moved = request.instances.iter().find(find).unwrap();
            prop_assert!(takes(&request, moved, one.to), "{one:?}");
        }
        let mut pinned = vec![0; request.shards.len()];
        for one in &after.instances {
            if let Some(pin) = is_pinned(&request, one) {
                pinned[pin as usize] += u128::from(one.weight);
                if extent == Extent::Rebalance {
                    prop_assert_eq!(one.current, Some(pin));
                }
            }
            let told = plan.problems.iter().any(|problem| matches!(
                problem, Problem::FitsNowhere { uuid, .. } if *uuid == one.uuid
            ));
            let shut = |one: &Shard| one.draining || one.closed;
            let told = told || request.shards.iter().all(shut);
            let good = |at| allows(&request, one, at);
            prop_assert!(told || one.current.is_some_and(good), "{one:?}");
        }
        let loads = plan.before.by_shard.iter().zip(&plan.after.by_shard);
        for ((&before, &load), (shard, &pinned)) in
            loads.zip(request.shards.iter().zip(&pinned))
        {
            let most = u128::from(shard.capacity.unwrap_or(u64::MAX));
            prop_assert!(load <= most.max(before).max(pinned + before));
            prop_assert!(pinned > 0 || load <= most.max(before));
            let told = plan.problems.iter().any(|problem| matches!(
                problem, Problem::Overfull { name, .. } if *name == shard.name
            ));
            let open = !shard.draining && !shard.closed;
            prop_assert_eq!(told, load > most && open);
        }
    }

    #[test]
    fn assign_and_drain_leave_others_alone(
        request in requests(HEAVY), strategy in strategies(),
    ) {
        let request = Request { strategy, ..request };
        let shards = request.shards.len() as u32;
        let current: BTreeMap<Uuid, &Instance> =
            request.instances.iter().map(|one| (one.uuid, one)).collect();
        for one in plan(&request, Extent::Assign).moves {
            let had = current[&one.uuid];
            let stands = |at| allows(&request, had, at);
            prop_assert!(!had.current.is_some_and(stands), "{one:?}");
        }
        for one in plan(&request, Extent::Drain).moves {
            let had = current[&one.uuid];
            let stands = |at: u32| {
                allows(&request, had, at)
                    && !request.shards[at as usize].draining
            };
            prop_assert!(!had.current.is_some_and(stands), "{one:?}");
            prop_assert!(one.to < shards);
        }
    }

    #[test]
    fn a_plan_of_what_was_planned_is_empty(
        request in requests(HEAVY), extent in extents(),
    ) {
        let mut request = request;
        apply(&mut request, extent);
        let again = plan(&request, extent);
        prop_assert_eq!(again.moves, []);
        prop_assert_eq!(again.before, again.after);
    }

    #[test]
    fn order_does_not_matter(
        (request, shuffled) in requests(HEAVY).prop_flat_map(|request| {
            let instances = Just(request.instances.clone()).prop_shuffle();
            (Just(request), instances)
        }),
        extent in extents(),
        strategy in strategies(),
    ) {
        let request = Request { strategy, ..request };
        let mut other = request.clone();
        other.instances = shuffled;
        // Last first: positions change, names stay.
        other.shards.reverse();
        let last = request.shards.len() as u32 - 1;
        let turn = |at: u32| last.checked_sub(at).unwrap_or(at);
        for one in &mut other.instances {
            one.current = one.current.map(turn);
            one.pinned = one.pinned.map(turn);
        }
        let (plan, other) = (plan(&request, extent), plan(&other, extent));
        let turned: Vec<Move> = other.moves.iter().map(|one| Move {
            from: one.from.map(turn), to: turn(one.to), ..*one
        }).collect();
        prop_assert_eq!(plan.moves, turned);
        prop_assert_eq!(plan.problems.len(), other.problems.len());
    }

    #[test]
    fn an_instance_that_could_go_lighter_is_too_heavy(
        request in requests(HEAVY),
    ) {
        let mut request = request;
        let plan = apply(&mut request, Extent::Rebalance);
        let loads = &plan.after.by_shard;
        for one in &request.instances {
            let Some(from) = one.current else { continue };
            let open = |at: u32| {
                request.shards.get(at as usize).is_some_and(|s| !s.draining)
            };
            if is_pinned(&request, one).is_some() || !open(from) {
                continue;
            }
            for to in 0..request.shards.len() as u32 {
                let capacity = request.shards[to as usize].capacity;
                let room = u128::from(capacity.unwrap_or(u64::MAX))
                    .saturating_sub(loads[to as usize]);
                if takes(&request, one, to) && room >= one.weight.into() {
                    let gap = loads[from as usize]
                        .saturating_sub(loads[to as usize]);
                    prop_assert!(gap <= one.weight.into(), "{one:?} {loads:?}");
                }
            }
        }
    }

    #[test]
    fn a_limit_takes_the_same_moves_in_more_runs(
        request in requests(SMALL), most in 1_usize..9,
    ) {
        let whole = plan(&request, Extent::Rebalance);
        let mut request = request;
        request.limits.most_moves = Some(most);
        let mut left = whole.moves.len();
        for _ in 0..=whole.moves.len() {
            let now = apply(&mut request, Extent::Rebalance);
            prop_assert!(now.moves.len() <= most);
            prop_assert_eq!(now.moves.len() + now.deferred, left);
            left = now.deferred;
        }
        prop_assert_eq!(left, 0);
        let after = plan(&request, Extent::Rebalance).after.by_shard;
        prop_assert_eq!(squares(&after), squares(&whole.after.by_shard));
    }

    #[test]
    fn hysteresis_moves_nothing_or_everything(
        request in requests(Kind { rules: false, ..HEAVY }),
        hysteresis_permille in 0_u32..2_000,
    ) {
        let mut request = request;
        apply(&mut request, Extent::Assign);
        let whole = plan(&request, Extent::Rebalance);
        let loads = &whole.before.by_shard;
        let (most, least) = (loads.iter().max(), loads.iter().min());
        let gap = most.unwrap_or(&0) - least.unwrap_or(&0);
        let sum: u128 = loads.iter().sum();
        request.limits.hysteresis_permille = hysteresis_permille;
        let now = plan(&request, Extent::Rebalance);
        if gap * 1000 * loads.len() as u128
            <= sum * u128::from(hysteresis_permille)
        {
            prop_assert_eq!(now.moves, []);
        } else if !now.moves.is_empty() {
            prop_assert_eq!(now.moves, whole.moves);
        }
    }
}

fn extents() -> impl Any<Value = Extent> {
    let all = [Extent::Assign, Extent::Drain, Extent::Rebalance];
    prop::sample::select(all.to_vec())
}

fn strategies() -> impl Any<Value = Strategy> {
    let random = Strategy::Random { seed: 7 };
    let all = [Strategy::Balanced, Strategy::Rendezvous, random];
    prop::sample::select(all.to_vec())
}
