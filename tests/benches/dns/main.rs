// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The released config-agent as a name server, beside Knot, NSD and BIND: the
//! same zone as CNS publishes it, the same questions, the same run.
//!
//! Ours takes its zone from a real Knot by transfer; the peers read it from
//! the file that this primary has. The server has one core, dnsperf and the
//! primary another; all on loopback. CPU is that of the server's processes, by
//! their clocks, per million queries answered; a peer's figure is the median
//! of rounds in which all take their turn. "From disk" is from the start of
//! the program to the first answer, with no primary there: ours from its own
//! store, peers from a zone file. "Taken in" is from the start with an empty
//! folder to the first answer; its CPU and memory are those when the server
//! has come to rest, so that what it writes to disk is in them.
//!
//! Words on the command line choose parts: load, notify, forward, intake,
//! replace.

mod forward;
mod forwarders;
mod intake;
mod load;
mod notify;
mod probe;
mod replace;
mod report;
mod servers;
mod zone;

use std::path::Path;

use anyhow::{Context, Result};
use nix::sched::sched_getaffinity;
use nix::unistd::Pid;

use crate::intake::{starts, taken_in};
use crate::load::Load;
use crate::report::{Report, Row, median, ours, ratio};
use crate::servers::{Kind, Server};
use crate::zone::Zone;

const SMALL: usize = 100_000;
const LARGE: usize = 1_000_000;
const QUESTIONS: usize = 200_000;
/// Different ones, while a zone is replaced.
const QUERIES: usize = 20_000;
/// Runs of each server over each transport, and starts of each; the medians
/// count.
const ROUNDS: usize = 3;

/// For the server and for all else.
#[derive(Clone, Copy)]
struct Cores {
    server: usize,
    load: usize,
}

fn main() -> Result<()> {
    // `cargo test --benches` only wants to know that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let parts: Vec<String> =
        std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wants =
        |part: &str| parts.is_empty() || parts.iter().any(|p| p == part);
    let cores = cores()?;
    let dir = tempfile::tempdir()?;
    let mut report = Report::default();
    if ["load", "notify", "forward"].into_iter().any(wants) {
        let mut small = Zone::write(dir.path(), SMALL, 0)?;
        if wants("load") {
            load(&mut small, cores, &mut report)?;
        }
        if wants("notify") {
            notify(&small, cores, &mut report)?;
        }
        if wants("forward") {
            forward::section(&mut small, cores)?;
        }
    }
    if wants("intake") || wants("replace") {
        let mut large = Zone::write(dir.path(), LARGE, 0)?;
        if wants("intake") {
            intake(&large, cores, &mut report)?;
        }
        if wants("replace") {
            let next = Zone::write(dir.path(), LARGE, 1)?;
            replace(&mut large, &next, cores, &mut report)?;
        }
    }
    report.print();
    Ok(())
}

fn load(zone: &mut Zone, cores: Cores, report: &mut Report) -> Result<()> {
    let questions = zone.questions(QUESTIONS)?;
    let (mut servers, _) = taken_in(zone, cores, &[Kind::Ours], 1)?;
    let start = starts(&mut servers, zone, cores)?;
    let udp = loads(&servers, "udp", &questions, cores)?;
    let tcp = loads(&servers, "tcp", &questions, cores)?;
    let [_, knot, nsd, bind] = Kind::ALL;
    report.row("UDP, CPU s per million queries", udp.cpu);
    report.row("UDP, queries/s", udp.rate);
    report.row("UDP, queries lost", udp.lost);
    report.row("TCP, CPU s per million queries", tcp.cpu);
    report.row("TCP, queries/s", tcp.rate);
    report.row("TCP, queries lost", tcp.lost);
    report.row("first answer from disk, ms", start);
    let peers = [knot, nsd];
    report.bar("dns_udp_cpu_ratio", ratio(&udp.cpu, &peers), 0.9);
    let peers = [knot, nsd, bind];
    report.bar("dns_tcp_cpu_ratio", ratio(&tcp.cpu, &peers), 0.7);
    report.bar("dns_from_disk_100k_ms", ours(&start), 50.0);
    Ok(())
}

fn notify(zone: &Zone, cores: Cores, report: &mut Report) -> Result<()> {
    let notify::Latency { p50, p95 } = notify::measure(zone, cores)?;
    report.row("NOTIFY to new answer, p50 ms", p50);
    report.row("  p95", p95);
    let peers = [Kind::Knot, Kind::Bind];
    report.bar("dns_notify_p50_ratio", ratio(&p50, &peers), 1.0);
    report.bar("dns_notify_p95_ratio", ratio(&p95, &peers), 1.0);
    Ok(())
}

fn intake(zone: &Zone, cores: Cores, report: &mut Report) -> Result<()> {
    let both = [Kind::Knot, Kind::Ours];
    let (mut servers, intake) = taken_in(zone, cores, &both, ROUNDS)?;
    let start = starts(&mut servers, zone, cores)?;
    report.row("1,000,000 records from disk, ms", start);
    report.row("  taken in, s", intake.wall);
    report.row("  CPU, s", intake.cpu);
    report.row("  resident, MiB", intake.memory);
    for (name, row, limit) in [
        ("dns_taken_in_wall_ratio", &intake.wall, 0.8),
        ("dns_taken_in_cpu_ratio", &intake.cpu, 0.8),
        ("dns_taken_in_memory_ratio", &intake.memory, 0.6),
    ] {
        report.bar(name, ratio(row, &[Kind::Knot]), limit);
    }
    report.bar("dns_from_disk_1m_ms", ours(&start), 300.0);
    Ok(())
}

fn replace(
    old: &mut Zone,
    new: &Zone,
    cores: Cores,
    report: &mut Report,
) -> Result<()> {
    let queries = old.queries(QUERIES);
    let mut rows = [Row::default(); 6];
    for kind in [Kind::Knot, Kind::Ours] {
        let seen = replace::measure(kind, old, new, &queries, cores)?;
        let figures = [
            seen.p999,
            seen.at_rest,
            seen.worst,
            seen.lost,
            seen.wall,
            seen.peak,
        ];
        for (row, figure) in rows.iter_mut().zip(figures) {
            row[kind as usize] = Some(figure);
        }
    }
    let [p999, at_rest, worst, lost, wall, peak] = rows;
    report.row("1,000,000 replaced at 20,000 q/s, s", wall);
    report.row("  answers, p99.9 ms", p999);
    report.row("  before that, p99.9 ms", at_rest);
    report.row("  slowest, ms", worst);
    report.row("  lost", lost);
    report.row("  most memory by usual", peak);
    report.bar("dns_replace_p999_ms", ours(&p999), 5.0);
    report.bar("dns_replace_lost", ours(&lost), 0.0);
    report.bar("dns_replace_memory_factor", ours(&peak), 2.0);
    Ok(())
}

/// The first two cores we may use; one does for both if need be.
fn cores() -> Result<Cores> {
    let may = sched_getaffinity(Pid::from_raw(0))?;
    let mut all =
        (0..1024).filter(|core| may.is_set(*core).unwrap_or_default());
    let server = all.next().context("no core")?;
    let load = all.next().unwrap_or(server);
    Ok(Cores { server, load })
}

/// CPU, rate and losses of each server, medians.
struct Loads {
    cpu: Row,
    rate: Row,
    lost: Row,
}

fn loads(
    servers: &[Server],
    transport: &str,
    questions: &Path,
    cores: Cores,
) -> Result<Loads> {
    let mut all: Vec<Vec<Load>> = vec![Vec::new(); Kind::ALL.len()];
    for _ in 0..ROUNDS {
        for server in servers {
            let load = load::run(server, transport, questions, cores.load)?;
            all[server.kind as usize].push(load);
        }
    }
    let row = |figure: fn(&Load) -> f64| {
        let mut row = Row::default();
        for (place, loads) in row.iter_mut().zip(&all) {
            *place = median(loads.iter().map(figure));
        }
        row
    };
    let (cpu, rate) = (row(|load| load.cpu), row(|load| load.rate));
    Ok(Loads { cpu, rate, lost: row(|load| load.lost) })
}
