// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The shard planner at a size nobody has: a million instances onto 64 shards,
//! then one shard more, beside the other ways to do it. How even the loads
//! are, and what a new shard costs in moves. CPU of this process; all is in
//! memory, and the peak has the request in it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use localdc::measure::bar;
use monitoring_agent::shard::{
    Extent, Instance, Limits, Plan, Request, Shard, ShardName, Strategy, plan,
};
use nix::time::{ClockId, clock_gettime};
use uuid::Uuid;

const INSTANCES: u32 = 1_000_000;
const SHARDS: u32 = 64;
/// Points on the ring each shard, from the customary to the generous.
const POINTS: [u32; 3] = [100, 300, 1_000];

fn main() -> Result<()> {
    // `cargo test --benches` only wants to know that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    println!(
        "shard: {INSTANCES} instances onto {SHARDS} shards, then one more; \
         imbalance is the heaviest load by the mean\n"
    );
    println!(
        "{:32}{:>9}{:>9}{:>11}{:>8}{:>11}{:>7}{:>7}",
        "", "imbalance", "grown", "moves", "x least", "CPU s", "grow", "wall"
    );
    let balanced = planned("balanced", Strategy::Balanced, equal)?;
    // Before anything else has asked for memory.
    let peak = peak_mib()?;
    planned("balanced, unequal weights", Strategy::Balanced, unequal)?;
    planned("rendezvous", Strategy::Rendezvous, equal)?;
    planned("random", Strategy::Random { seed: 1 }, equal)?;
    hashed("hash-modulo", |shards| {
        Box::new(move |key| (key % u64::from(shards)) as u32)
    })?;
    for points in POINTS {
        let name = format!("consistent hashing, {points} points");
        hashed(&name, move |shards| ring(shards, points))?;
    }
    println!();
    bar("shard_million_cpu_s", balanced.cpu.as_secs_f64(), 1.0);
    bar("shard_million_peak_mib", peak, 300.0);
    bar("shard_grow_moves_over_lower_bound", balanced.over, 1.0);
    Ok(())
}

/// What the figures at the end are made of.
struct Figures {
    cpu: Duration,
    over: f64,
}

/// Our planner: everything placed, then a shard more.
fn planned(
    name: &str,
    strategy: Strategy,
    weight: fn(u32) -> u64,
) -> Result<Figures> {
    let instances = (0..INSTANCES).map(|n| Instance {
        uuid: uuid(n),
        weight: weight(n),
        current: None,
        pinned: None,
    });
    let mut request = Request {
        shards: (0..SHARDS).map(shard).collect::<Result<_>>()?,
        instances: instances.collect(),
        limits: Limits { hysteresis_permille: 0, ..Limits::default() },
        strategy,
    };
    let (placed, cpu, wall) = timed(|| plan(&request, Extent::Rebalance))?;
    ensure!(placed.problems.is_empty(), "{name}: {:?}", placed.problems);
    apply(&mut request, &placed)?;
    let even = placed.after.imbalance;
    drop(placed);
    request.shards.push(shard(SHARDS)?);
    let (grown, grow, _) = timed(|| plan(&request, Extent::Rebalance))?;
    let over = grown.moves.len() as f64 / f64::from(least());
    let moves = grown.moves.len();
    row(name, [even, grown.after.imbalance], moves, Some([cpu, grow, wall]));
    Ok(Figures { cpu, over })
}

/// How many instances a new shard has in the end: the fewest moves there can
/// be.
fn least() -> u32 {
    INSTANCES / (SHARDS + 1)
}

/// A way of others, of equal weights: from a key to a shard.
fn hashed<F: Fn(u64) -> u32 + ?Sized>(
    name: &str,
    of: impl Fn(u32) -> Box<F>,
) -> Result<()> {
    let imbalance = |places: &[u32], shards: u32| {
        let mut loads = vec![0_u32; shards as usize];
        places.iter().for_each(|&place| loads[place as usize] += 1);
        let most = loads.into_iter().max().unwrap_or(0);
        f64::from(most) * f64::from(shards) / f64::from(INSTANCES)
    };
    let places = |shards: u32| -> Vec<u32> {
        let place = of(shards);
        (0..INSTANCES).map(|n| place(key(uuid(n).as_bytes()))).collect()
    };
    let (before, after) = (places(SHARDS), places(SHARDS + 1));
    let moves = before.iter().zip(&after).filter(|(a, b)| a != b).count();
    let even = [imbalance(&before, SHARDS), imbalance(&after, SHARDS + 1)];
    row(name, even, moves, None);
    Ok(())
}

/// Points at random on a ring; a key belongs to the next of them.
fn ring(shards: u32, points: u32) -> Box<dyn Fn(u64) -> u32> {
    let mut ring: Vec<(u64, u32)> = (0..shards)
        .flat_map(|shard| (0..points).map(move |point| (shard, point)))
        .map(|(shard, point)| {
            (key(format!("shard-{shard}/{point}").as_bytes()), shard)
        })
        .collect();
    ring.sort_unstable();
    Box::new(move |key| {
        let next = ring.partition_point(|&(point, _)| point < key);
        ring[next % ring.len()].1
    })
}

fn row(name: &str, even: [f64; 2], moves: usize, times: Option<[Duration; 3]>) {
    let over = moves as f64 / f64::from(least());
    let [placed, grown] = even;
    print!("{name:32}{placed:>9.4}{grown:>9.4}{moves:>11}{over:>8.2}");
    if let Some([cpu, grow, wall]) =
        times.map(|all| all.map(|t| t.as_secs_f64()))
    {
        print!("{cpu:>11.2}{grow:>7.2}{wall:>7.2}");
    }
    println!();
}

fn timed(run: impl FnOnce() -> Plan) -> Result<(Plan, Duration, Duration)> {
    let (begin, wall) = (cpu()?, Instant::now());
    let plan = run();
    Ok((plan, cpu()?.saturating_sub(begin), wall.elapsed()))
}

fn apply(request: &mut Request, plan: &Plan) -> Result<()> {
    // Both are by uuid when everything moves from nowhere.
    request.instances.sort_unstable_by_key(|one| one.uuid);
    ensure!(plan.moves.len() == request.instances.len(), "some stayed");
    for (one, moved) in request.instances.iter_mut().zip(&plan.moves) {
        ensure!(one.uuid == moved.uuid, "not by uuid");
        one.current = Some(moved.to);
    }
    Ok(())
}

fn shard(n: u32) -> Result<Shard> {
    Ok(Shard {
        name: ShardName::parse(&format!("shard-{n}"))?,
        capacity: None,
        forbidden: (2 * n..2 * n + 2).map(uuid).collect(),
        draining: false,
        closed: false,
    })
}

fn equal(_: u32) -> u64 {
    1
}

/// As measured series are: many of some hundred, few of many thousand.
fn unequal(n: u32) -> u64 {
    let draw = key(uuid(n).as_bytes()) >> 11;
    let draw = (draw as f64 + 1.0) / (1_u64 << 53) as f64;
    (200.0 / draw.sqrt()).min(100_000.0) as u64
}

/// Version 4 in looks; the same at every run.
fn uuid(n: u32) -> Uuid {
    let half = |salt: u64| mix((u64::from(n) << 1) | salt);
    let bytes = (u128::from(half(0)) << 64) | u128::from(half(1));
    uuid::Builder::from_random_bytes(bytes.to_be_bytes()).into_uuid()
}

/// FNV-1a, stirred: by itself it leaves the high bits of short keys alike.
fn key(bytes: &[u8]) -> u64 {
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    }))
}

/// The finalizer of SplitMix64.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

fn cpu() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

/// The most that was resident since the start.
fn peak_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kib.context("no VmHWM")?.parse::<f64>()? / 1024.0)
}
