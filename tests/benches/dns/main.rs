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

mod forward;
mod load;
mod peers;
mod servers;
mod zone;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result};
use localdc::bind_both;
use localdc::measure::bar;
use nix::sched::sched_getaffinity;
use nix::unistd::Pid;

use crate::load::Load;
use crate::servers::{From, Kind, Server};
use crate::zone::Zone;

const SMALL: usize = 100_000;
const LARGE: usize = 1_000_000;
const QUESTIONS: usize = 200_000;
/// Runs of each server over each transport, and starts of each; the medians
/// count.
const ROUNDS: usize = 3;

/// For the server and for all else.
#[derive(Clone, Copy)]
struct Cores {
    server: usize,
    load: usize,
}

/// A figure of each server, in the order of `Kind::ALL`; not measured: none.
type Row = [Option<f64>; Kind::ALL.len()];

fn main() -> Result<()> {
    // `cargo test --benches` only wants to know that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let cores = cores()?;
    let dir = tempfile::tempdir()?;
    let mut small = Zone::write(dir.path(), SMALL)?;
    if std::env::args().any(|argument| argument == "forward") {
        return forward::section(&mut small, cores);
    }
    let questions = small.questions(QUESTIONS)?;
    let (mut servers, _) = taken_in(&small, cores, &[Kind::Ours], 1)?;
    let small_start = starts(&mut servers, &small, cores)?;
    let udp = loads(&servers, "udp", &questions, cores)?;
    let tcp = loads(&servers, "tcp", &questions, cores)?;
    drop(servers);

    let large = Zone::write(dir.path(), LARGE)?;
    let both = [Kind::Knot, Kind::Ours];
    let (mut servers, intake) = taken_in(&large, cores, &both, ROUNDS)?;
    let large_start = starts(&mut servers, &large, cores)?;
    print(&udp, &tcp, &small_start, &large_start, &intake);
    forward::section(&mut small, cores)
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

fn free_address() -> Result<SocketAddr> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (udp, _tcp) =
        runtime.block_on(bind_both(Ipv4Addr::LOCALHOST.into()))?;
    Ok(udp.local_addr()?)
}

/// Seconds to the first answer, CPU seconds, MiB resident.
struct Intake {
    wall: Row,
    cpu: Row,
    memory: Row,
}

/// Lets each of `kinds` take the zone in, in turn; ours of the last round
/// stays, ended, with what it has on disk. The primary is gone then.
fn taken_in(
    zone: &Zone,
    cores: Cores,
    kinds: &[Kind],
    rounds: usize,
) -> Result<(Vec<Server>, Intake)> {
    let from = From::File(&zone.file);
    let mut primary =
        Server::new(Kind::Knot, cores.load, free_address()?, from)?;
    primary.start(zone)?;
    let mut all = vec![Vec::new(); Kind::ALL.len()];
    let mut kept = Vec::new();
    for _ in 0..rounds {
        for kind in kinds {
            let from = From::Primary(primary.at);
            let mut server =
                Server::new(*kind, cores.server, free_address()?, from)?;
            let wall = server.start(zone)?.as_secs_f64();
            let cpu = server.settle()?.as_secs_f64();
            let memory = server.running()?.resident_mib()?;
            all[*kind as usize].push([wall, cpu, memory]);
            server.end();
            if *kind == Kind::Ours {
                kept = vec![server];
            }
        }
    }
    let row = |at: usize| {
        let mut row = Row::default();
        for (place, figures) in row.iter_mut().zip(&all) {
            *place = median(figures.iter().map(|figures| figures[at]));
        }
        row
    };
    Ok((kept, Intake { wall: row(0), cpu: row(1), memory: row(2) }))
}

/// Milliseconds from start to first answer; all servers run afterwards.
/// `servers` has ours, and gets the peers.
fn starts(servers: &mut Vec<Server>, zone: &Zone, cores: Cores) -> Result<Row> {
    for kind in [Kind::Knot, Kind::Nsd, Kind::Bind] {
        let from = From::File(&zone.file);
        let at = free_address()?;
        servers.push(Server::new(kind, cores.server, at, from)?);
    }
    let mut row = Row::default();
    for server in servers {
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            times.push(server.start(zone)?.as_secs_f64() * 1e3);
            server.settle()?;
        }
        row[server.kind as usize] = median(times);
    }
    Ok(row)
}

/// CPU and rate of each server, medians.
struct Loads {
    cpu: Row,
    rate: Row,
    lost: f64,
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
    let lost = all.iter().flatten().map(|load| load.lost).sum();
    Ok(Loads { cpu: row(|l| l.cpu), rate: row(|l| l.rate), lost })
}

fn median(figures: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut all: Vec<f64> = figures.into_iter().collect();
    all.sort_unstable_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}

fn print(
    udp: &Loads,
    tcp: &Loads,
    small_start: &Row,
    large_start: &Row,
    intake: &Intake,
) {
    println!(
        "dns: {SMALL} records unless said; medians of {ROUNDS}; {} UDP and {} \
         TCP queries lost\n",
        udp.lost, tcp.lost
    );
    println!(
        "{:38}{:>10}{:>10}{:>10}{:>10}",
        "", "ours", "Knot", "NSD", "BIND"
    );
    for (name, row) in [
        ("UDP, CPU s per million queries", &udp.cpu),
        ("UDP, queries/s", &udp.rate),
        ("TCP, CPU s per million queries", &tcp.cpu),
        ("TCP, queries/s", &tcp.rate),
        ("first answer from disk, ms", small_start),
        ("  1,000,000 records, ms", large_start),
        ("1,000,000 taken in, s", &intake.wall),
        ("  CPU, s", &intake.cpu),
        ("  resident, MiB", &intake.memory),
    ] {
        print!("{name:38}");
        for figure in row {
            match figure {
                Some(figure) if *figure >= 1e3 => print!("{figure:>10.0}"),
                Some(figure) => print!("{figure:>10.2}"),
                None => print!("{:>10}", "-"),
            }
        }
        println!();
    }
    println!();
    let [_, knot, nsd, bind] = Kind::ALL;
    for (name, row, against, limit) in [
        ("dns_udp_cpu_ratio", &udp.cpu, &[knot, nsd][..], 0.9),
        ("dns_tcp_cpu_ratio", &tcp.cpu, &[knot, nsd, bind], 0.7),
        ("dns_taken_in_wall_ratio", &intake.wall, &[knot], 0.8),
        ("dns_taken_in_cpu_ratio", &intake.cpu, &[knot], 0.8),
        ("dns_taken_in_memory_ratio", &intake.memory, &[knot], 0.6),
    ] {
        bar(name, ratio(row, against), limit);
    }
    let ours = |row: &Row| row[Kind::Ours as usize].unwrap_or(f64::NAN);
    bar("dns_from_disk_100k_ms", ours(small_start), 50.0);
    bar("dns_from_disk_1m_ms", ours(large_start), 300.0);
}

/// Ours by the best of `against`.
fn ratio(row: &Row, against: &[Kind]) -> f64 {
    let best = against
        .iter()
        .filter_map(|kind| row[*kind as usize])
        .fold(f64::INFINITY, f64::min);
    row[Kind::Ours as usize].unwrap_or(f64::NAN) / best
}
