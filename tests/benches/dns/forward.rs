// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Names that others answer: the released config-agent beside unbound and
//! BIND, all three forwarding to one real Knot.
//!
//! Cache hits: 10,000 questions, asked once before and then over and over;
//! nothing runs out meanwhile. Dead upstreams: of five the last one lives. The
//! first answer is that of a program just started, which has answered a name
//! of its own but never asked an upstream; a later one is the median of those
//! that follow.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use localdc::measure::bar;

use crate::forwarders::{Forwarder, GIVE_UP, Program};
use crate::load::{self, Load};
use crate::report::median;
use crate::servers::{From, Kind, Server};
use crate::zone::Zone;
use crate::{Cores, ROUNDS};
use localdc::loopback::own_port;

/// Different questions, and how often each stands in the file.
const DIFFERENT: usize = 10_000;
const TIMES: usize = 20;
/// Questions after the first, where upstreams are dead.
const LATER: usize = 50;
/// Measures all and prints the table and the bars.
pub(crate) fn section(zone: &mut Zone, cores: Cores) -> Result<()> {
    let from = From::File(&zone.file);
    let mut upstream = Server::new(Kind::Knot, cores.load, own_port()?, from)?;
    upstream.start(zone)?;
    let questions = repeated(zone)?;
    let cached = cached(upstream.at, &questions, cores)?;
    println!("\nforwarded{:>35}{:>10}{:>10}", "ours", "unbound", "BIND");
    print("cache hit, CPU s per million queries", &cached.map(|l| l.cpu));
    print("cache hit, queries/s", &cached.map(|l| l.rate));
    let [ours, unbound, _] = cached.map(|load| load.cpu);
    let mut bars = vec![("dns_forward_cpu_ratio", ours / unbound, 0.9)];
    for (how, first_bar, later_bar) in [
        (Dead::Refusing, "dns_refusing_first_ms", "dns_refusing_later_ratio"),
        (Dead::Silent, "dns_silent_first_ms", "dns_silent_later_ratio"),
    ] {
        let dead = dead(how, upstream.at, zone, cores)?;
        let word = format!("{how:?}").to_lowercase();
        print(&format!("4 of 5 {word}: first answer, ms"), &dead.first);
        print("  later ones, ms", &dead.later);
        // Usual is what it takes with all of them alive.
        let usual = dead.usual;
        bars.push((first_bar, dead.first[0], 1.5 * usual + 20.0));
        bars.push((later_bar, dead.later[0] / usual, 1.5));
    }
    println!();
    for (name, value, limit) in bars {
        bar(name, value, limit);
    }
    Ok(())
}

fn print(name: &str, row: &[f64; 3]) {
    print!("{name:38}");
    for figure in row {
        match figure {
            figure if figure.is_nan() => print!("{:>10}", "-"),
            figure if *figure >= 1e3 => print!("{figure:>10.0}"),
            figure => print!("{figure:>10.2}"),
        }
    }
    println!();
}

/// A file of questions for dnsperf, each of them many times.
fn repeated(zone: &mut Zone) -> Result<PathBuf> {
    let once = zone.questions(DIFFERENT)?;
    let text = fs::read(&once)?;
    let path = once.with_extension("repeated");
    let mut out = File::create(&path)?;
    for _ in 0..TIMES {
        out.write_all(&text)?;
    }
    Ok(path)
}

/// Medians of rounds in which all take their turn.
fn cached(
    upstream: SocketAddr,
    questions: &Path,
    cores: Cores,
) -> Result<[Load; 3]> {
    let mut forwarders = Vec::new();
    for program in Program::ALL {
        forwarders.push(Forwarder::start(program, &[upstream], cores)?);
    }
    let mut all: [Vec<Load>; 3] = Default::default();
    // The first round fills the caches.
    for round in 0..=ROUNDS {
        for (forwarder, loads) in forwarders.iter().zip(&mut all) {
            let name = format!("{:?}", forwarder.program);
            let load = load::measure(
                &name,
                forwarder.at,
                &forwarder.running,
                "udp",
                questions,
                cores.load,
            )?;
            if round > 0 {
                loads.push(load);
            }
        }
    }
    Ok(all.map(|loads| {
        let figure = |of: fn(&Load) -> f64| {
            median(loads.iter().map(of)).unwrap_or(f64::NAN)
        };
        Load {
            cpu: figure(|l| l.cpu),
            rate: figure(|l| l.rate),
            lost: figure(|l| l.lost),
        }
    }))
}

/// How upstreams are dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dead {
    /// Nobody listens there.
    Refusing,
    /// Nobody answers.
    Silent,
}

/// Milliseconds, medians.
struct Waits {
    first: [f64; 3],
    later: [f64; 3],
    /// Ours with one upstream that lives.
    usual: f64,
}

fn dead(
    how: Dead,
    alive: SocketAddr,
    zone: &mut Zone,
    cores: Cores,
) -> Result<Waits> {
    let mut silent = Vec::new();
    let mut upstreams = Vec::new();
    for _ in 0..4 {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        upstreams.push(socket.local_addr()?);
        if how == Dead::Silent {
            silent.push(socket);
        }
    }
    upstreams.push(alive);
    let names = names(zone)?;
    let mut waits = Waits { first: [0.0; 3], later: [0.0; 3], usual: f64::NAN };
    for (at, program) in Program::ALL.into_iter().enumerate() {
        let (mut first, mut later) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let forwarder = Forwarder::start(program, &upstreams, cores)?;
            let mut times = names.iter().map(|name| forwarder.time(name));
            first.push(times.next().context("no name")?);
            // Who gives up once need not do so again and again.
            let given_up = GIVE_UP.as_secs_f64() * 1e3;
            later.extend(times.take_while(|time| *time < given_up));
        }
        waits.first[at] = median(first).unwrap_or(f64::NAN);
        waits.later[at] = median(later).unwrap_or(f64::NAN);
    }
    let forwarder = Forwarder::start(Program::Ours, &[alive], cores)?;
    let usual = names.iter().map(|name| forwarder.time(name));
    waits.usual = median(usual).unwrap_or(f64::NAN);
    Ok(waits)
}

/// Some different names with an address.
fn names(zone: &mut Zone) -> Result<Vec<String>> {
    let text = fs::read_to_string(zone.questions(20 * LATER)?)?;
    let mut names: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_suffix(" A"))
        .filter(|name| !name.starts_with("nope-"))
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names.dedup();
    names.truncate(1 + LATER);
    Ok(names)
}
