// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! CNS's stand-in with each of its traps alone, then with all together, while
//! its zone changes by chance. After each quiet point our zone equals CNS's.
//!
//! All together run for some seconds; `DNS_SECONDS=600` makes it ten minutes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use localdc::bind_both;
use localdc::cns::{ClockedCns, Cns, Faults};
use localdc::datacenter::Vm;
use monitoring_agent::dns::RefreshPolicy;
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::ours::{Ours, assert_same, policy};

const ZONE: &str = ClockedCns::ZONE;

/// A CNS on loopback, whose clock the test moves.
struct Rig {
    cns: Cns,
    clocked: ClockedCns,
    at: SocketAddr,
    random: fastrand::Rng,
    _stop: DropGuard,
}

impl Rig {
    async fn start(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let vms = (0..40).map(|n| vm(n, &mut random)).collect();
        let clocked = ClockedCns::new(vms);
        let cns = clocked.cns.clone();
        let (udp, tcp) = bind_both(Ipv4Addr::LOCALHOST.into()).await.unwrap();
        let at = udp.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(cns.clone().serve_dns(udp, tcp, stop.clone()));
        let _stop = stop.drop_guard();
        Self { cns, clocked, at, random, _stop }
    }

    /// A change of some VMs, `seconds` after the last one.
    fn change(&mut self, seconds: i64) {
        let random = &mut self.random;
        self.clocked.change(seconds, |vms| {
            for _ in 0..random.usize(1..4) {
                let n = random.u8(0..80);
                let new = vm(n, random);
                let old = vms.iter().position(|vm| vm.uuid == new.uuid);
                match old {
                    Some(at) if random.bool() => {
                        vms.remove(at);
                    }
                    Some(at) => vms[at] = new,
                    None => vms.push(new),
                }
            }
        });
    }

    fn heal(&self) {
        self.cns.update_faults(|faults| *faults = Faults::default());
    }

    /// One last change, which nothing is wrong with, and our zone is CNS's.
    async fn settle(&mut self, ours: &Ours) {
        self.heal();
        self.change(10);
        let serial = self.cns.serial(ZONE).unwrap();
        ours.until_serial(serial).await;
        let cns = &self.cns;
        ours.until("the primary's records", |ours| owners(ours) == theirs(cns))
            .await;
    }
}

fn vm(n: u8, random: &mut fastrand::Rng) -> Vm {
    let services = format!("web{}:80{}", n % 3, random.u8(10..99));
    let mut vm = ClockedCns::vm(n);
    vm.alias = format!("vm{n}-{}", random.u8(0..3));
    vm.tags =
        json!({ "triton.cns.services": services }).as_object().unwrap().clone();
    vm.nics[0].ip = Ipv4Addr::new(10, 9, random.u8(0..3), n);
    vm
}

/// Owner and type of every record, with doubles; SOA and NS aside.
fn owners(ours: &Ours) -> Vec<String> {
    let mut lines: Vec<String> = ours
        .records()
        .iter()
        .filter(|line| !line.starts_with(&format!("{ZONE}. ")))
        .cloned()
        .collect();
    lines.sort();
    lines
}

/// What CNS means to serve, in the form of our records.
fn theirs(cns: &Cns) -> Vec<String> {
    let mut lines = Vec::new();
    for (owner, all) in cns.contents(ZONE).unwrap() {
        for data in all {
            let (rtype, rdata) = wire(&data);
            let hex: String =
                rdata.iter().map(|byte| format!("{byte:02x}")).collect();
            lines.push(format!("{owner}. 30 {rtype} {hex}"));
        }
    }
    lines.sort();
    lines
}

fn wire(data: &localdc::cns::zone::Data) -> (u16, Vec<u8>) {
    use localdc::cns::zone::Data;
    let name = |text: &str| -> Vec<u8> {
        let mut wire = Vec::new();
        for label in text.split('.') {
            wire.push(u8::try_from(label.len()).unwrap());
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        wire
    };
    match data {
        Data::A(ip) => (1, ip.octets().to_vec()),
        Data::Txt(text) => {
            let len = u8::try_from(text.len()).unwrap();
            (16, [&[len], text.as_bytes()].concat())
        }
        Data::Srv { port, target } => {
            let mut rdata = vec![0, 0, 0, 10];
            rdata.extend_from_slice(&port.to_be_bytes());
            rdata.extend(name(target));
            (33, rdata)
        }
        Data::Cname(target) => (5, name(target)),
        Data::Ptr(target) => (12, name(target)),
    }
}

/// As in a zone, but quicker.
fn quick() -> RefreshPolicy {
    RefreshPolicy {
        interval_max: Duration::from_millis(60),
        probe_limit: Duration::from_millis(200),
        ..policy()
    }
}

async fn following(seed: u64, policy: RefreshPolicy) -> (Rig, Ours) {
    println!("seed {seed}");
    let rig = Rig::start(seed).await;
    let ours = Ours::start(ZONE, policy).await;
    ours.follow(vec![rig.at.into()]);
    ours.until("first transfer", |ours| ours.serial().is_some()).await;
    assert_same(&owners(&ours), &theirs(&rig.cns));
    (rig, ours)
}

#[tokio::test]
async fn cns_gives_differences() {
    let (mut rig, ours) = following(1, quick()).await;
    for round in 0..8 {
        // Away now and then: a chain of two steps, or of more than CNS keeps.
        for _ in 0..=round % 4 {
            rig.change(10);
        }
        rig.settle(&ours).await;
    }
    let counters = ours.counters();
    assert!(counters.transfers_incremental >= 4, "{counters:?}");
    assert_eq!(counters.differences_odd, 0, "{counters:?}");
    assert!(rig.cns.counters().ixfr_differences >= 4);
}

/// One fault at a time: while it lasts our zone is never empty and never
/// a mixture, afterwards it is CNS's.
async fn with_fault(seed: u64, fault: impl Fn(&mut Faults)) -> (Rig, Ours) {
    let (mut rig, ours) = following(seed, quick()).await;
    for _ in 0..3 {
        rig.cns.update_faults(&fault);
        for _ in 0..3 {
            rig.change(10);
            tokio::time::sleep(Duration::from_millis(80)).await;
            assert!(owners(&ours).len() > 50);
        }
        rig.settle(&ours).await;
    }
    (rig, ours)
}

#[tokio::test]
async fn records_that_come_twice() {
    with_fault(2, |faults| faults.duplicate_records = true).await;
}

#[tokio::test]
async fn transfers_that_are_cut() {
    with_fault(3, |faults| faults.cut_transfer_after = Some(0)).await;
}

#[tokio::test]
async fn transfers_that_are_refused() {
    with_fault(4, |faults| faults.refuse_transfer = true).await;
}

#[tokio::test]
async fn differences_without_records() {
    let fault = |faults: &mut Faults| faults.empty_diff = true;
    let (_rig, ours) = with_fault(5, fault).await;
    assert!(ours.counters().differences_odd > 0);
}

#[tokio::test]
async fn chains_past_the_announced_serial() {
    let fault = |faults: &mut Faults| faults.late_commit = true;
    let (_rig, ours) = with_fault(6, fault).await;
    assert!(ours.counters().differences_odd > 0);
}

#[tokio::test]
async fn silence_and_servfail() {
    with_fault(7, |faults| faults.silent = true).await;
    with_fault(8, |faults| faults.servfail_all = true).await;
}

/// New content under the old serial: the next change does not fit, or the
/// scheduled full transfer finds it.
#[tokio::test]
async fn content_that_changes_under_its_serial() {
    let mut policy = quick();
    policy.full_every = Duration::from_millis(300);
    let (mut rig, ours) = following(9, policy).await;
    rig.cns.update_faults(|faults| faults.same_serial = true);
    rig.change(10);
    let cns = rig.cns.clone();
    ours.until("same serial, new content", |ours| owners(ours) == theirs(&cns))
        .await;
    assert!(ours.counters().divergences >= 1);
    rig.settle(&ours).await;
}

/// A wiped database: an empty zone under a serial that moves, then the whole
/// zone under one that goes back.
#[tokio::test]
async fn a_wiped_database() {
    let (mut rig, ours) = following(10, quick()).await;
    let held = owners(&ours);
    rig.cns.update_faults(|faults| faults.wiped = true);
    for _ in 0..5 {
        rig.clocked.pass(10);
        tokio::time::sleep(Duration::from_millis(80)).await;
        assert_eq!(owners(&ours), held);
    }
    ours.until("held back", |ours| ours.status().unwrap().held_back.is_some())
        .await;
    assert!(ours.counters().held_back > 0);
    rig.clocked.pass(100);
    rig.settle(&ours).await;
    assert_eq!(ours.status().unwrap().held_back, None);
}

/// All of it, by chance, for as long as one likes.
#[tokio::test]
async fn all_traps_together() {
    let seconds = std::env::var("DNS_SECONDS")
        .ok()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(10);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut policy = quick();
    policy.full_every = Duration::from_secs(2);
    let (mut rig, ours) = following(fastrand::u64(..), policy).await;
    let mut rounds = 0;
    while Instant::now() < end {
        for _ in 0..rig.random.usize(1..6) {
            let trap = rig.random.u8(0..12);
            rig.cns.update_faults(|faults| spring(faults, trap));
            let steps = rig.random.i64(1..3);
            rig.change(10 * steps);
            let wait = rig.random.u64(0..150);
            tokio::time::sleep(Duration::from_millis(wait)).await;
            assert!(owners(&ours).len() > 20, "trap {trap}");
        }
        rig.settle(&ours).await;
        rounds += 1;
    }
    println!("{rounds} rounds: {:?}", ours.counters());
    assert!(rounds > 1);
}

/// Turns one fault over; those that are on stay on.
fn spring(faults: &mut Faults, trap: u8) {
    match trap {
        0 => faults.silent = !faults.silent,
        1 => faults.cut_transfer_after = Some(0),
        2 => faults.cut_transfer_after = None,
        3 => faults.duplicate_records = !faults.duplicate_records,
        4 => faults.refuse_transfer = !faults.refuse_transfer,
        5 | 6 => faults.empty_diff = !faults.empty_diff,
        7 | 8 => faults.late_commit = !faults.late_commit,
        9 => faults.same_serial = !faults.same_serial,
        10 => faults.servfail_all = !faults.servfail_all,
        _ => faults.wiped = !faults.wiped,
    }
}
