// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The config walk of the released config-agent beside that of the Node
//! agent: 200 config manifests of 40 keys each over 2,000 metadata keys.
//!
//! Measured from outside, on whole programs. A first pass is `run -s` on an
//! empty root, so it has the program's start in it. Polls are those of a
//! daemon that has nothing left to do, over the connection it keeps, as SAPI
//! lets it; what a poll costs where the server closes after each answer stands
//! on its own line. CPU is that of the agent's own process, by its clock; what
//! the tools cost that it starts (`mdata-get` and `zonename`, here shell
//! scripts) stands on a line too. So does what a disk adds, for each file is
//! fsynced, which the Node agent does not do: the passes that count have their
//! files in memory.
//! No zone is served, and the role that a zone would have is left out: its
//! checkers and its daemon are other programs.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use localdc::http::Fault;
use localdc::measure::{EmptyZone, bar, released_agent};
use localdc::sapi::{Kind, Sapi, ids};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const MANIFESTS: usize = 200;
const KEYS_EACH: usize = 40;
const METADATA_KEYS: usize = 2_000;

/// First passes; the median counts.
const PASSES: usize = 11;
/// Polls before those that count: the first pass and its echoes are over.
const WARM_POLLS: u64 = 40;
const POLLS: u64 = 250;
/// Mean pause between polls, milliseconds.
const PAUSE: u64 = 20;
/// What cannot take this long hangs.
const LIMIT: Duration = Duration::from_secs(30);

/// The Node agent on the same work on the same kind of machine, recorded
/// once: milliseconds of CPU for a first pass with its start and for a poll
/// answered 304, MiB resident.
const NODE: Figures = Figures { pass: 390.0, poll: 1.7, resident: 82.0 };
/// What ours may take.
const LIMITS: Figures = Figures { pass: 20.0, poll: 0.3, resident: 20.0 };

/// What is compared: CPU milliseconds twice, MiB.
struct Figures {
    pass: f64,
    poll: f64,
    resident: f64,
}

fn main() -> Result<()> {
    // `cargo test --benches` only wants to know that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let program = released_agent()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let sapi = sapi();
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    runtime.spawn(sapi.clone().serve(listener, stop));

    let disk = program.parent().context("no folder")?;
    let memory = Path::new("/dev/shm");
    let memory = if memory.is_dir() { memory } else { disk };
    let in_memory = passes(&program, memory, address)?;
    let on_disk = passes(&program, disk, address)?;
    let place = empty_zone(&program, memory, address)?;
    let (poll, resident) = runtime.block_on(polls(&place, &sapi))?;
    sapi.front().set_fault(Fault::Last);
    let place = empty_zone(&program, memory, address)?;
    let (connecting, _) = runtime.block_on(polls(&place, &sapi))?;
    let ours = Figures {
        pass: milliseconds(in_memory.own),
        poll: milliseconds(poll),
        resident,
    };
    print(&ours, connecting, &in_memory, &on_disk);
    Ok(())
}

fn print(
    ours: &Figures,
    connecting: Duration,
    in_memory: &Pass,
    on_disk: &Pass,
) {
    println!(
        "config walk: {MANIFESTS} manifests of {KEYS_EACH} keys, \
         {METADATA_KEYS} metadata keys\n\
         median of {PASSES} passes, mean of {POLLS} polls; CPU of the agent's \
         own process\n"
    );
    println!("{:34}{:>12}{:>12}{:>8}", "", "ours", "Node", "ratio");
    let rows = [
        ("first pass with start, CPU", "ms", ours.pass, NODE.pass),
        ("poll answered 304, CPU", "ms", ours.poll, NODE.poll),
        ("resident after that", "MiB", ours.resident, NODE.resident),
    ];
    for (name, unit, ours, node) in rows {
        let ratio = format!("{:.0}x", node / ours);
        let ours = format!("{ours:.2} {unit}");
        let node = format!("{node} {unit}");
        println!("{name:34}{ours:>12}{node:>12}{ratio:>8}");
    }
    println!("beside these, not counted");
    for (name, value) in [
        ("  poll on a new connection, CPU", connecting),
        ("  tools it starts, CPU", in_memory.tools),
        ("  its wall time", in_memory.wall),
        ("  on a disk, with its fsyncs, CPU", on_disk.own),
        ("  on a disk, wall time", on_disk.wall),
    ] {
        let value = format!("{:.2} ms", milliseconds(value));
        println!("{name:34}{value:>12}");
    }
    println!();
    for (name, value, limit) in [
        ("walk_first_pass_cpu_ms", ours.pass, LIMITS.pass),
        ("walk_poll_304_cpu_ms", ours.poll, LIMITS.poll),
        ("walk_resident_mib", ours.resident, LIMITS.resident),
    ] {
        bar(name, value, limit);
    }
}

/// What one first pass took.
struct Pass {
    own: Duration,
    tools: Duration,
    wall: Duration,
}

/// The medians of first passes with their files below `parent`.
fn passes(program: &Path, parent: &Path, address: SocketAddr) -> Result<Pass> {
    // Kept to the end: removing one costs the next one dear on some file
    // systems.
    let mut places = Vec::with_capacity(PASSES);
    let mut passes = Vec::with_capacity(PASSES);
    for _ in 0..PASSES {
        let place = empty_zone(program, parent, address)?;
        passes.push(first_pass(&place)?);
        places.push(place);
    }
    let median = |figure: fn(&Pass) -> Duration| {
        let mut all: Vec<Duration> = passes.iter().map(figure).collect();
        all.sort_unstable();
        all[all.len() / 2]
    };
    Ok(Pass {
        own: median(|pass| pass.own),
        tools: median(|pass| pass.tools),
        wall: median(|pass| pass.wall),
    })
}

fn first_pass(place: &EmptyZone) -> Result<Pass> {
    let children = || getrusage(UsageWho::RUSAGE_CHILDREN);
    let before = children()?;
    let begin = Instant::now();
    let mut agent = place.start(&[], &["-s", "-t", "30"])?;
    // Ended but not yet reaped: its clock can still be read.
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(agent.pid()), flags)?;
    let wall = begin.elapsed();
    let own = agent.cpu()?;
    let status = agent.wait()?;
    ensure!(status.success(), "the first pass ended with {status}");
    let after = children()?;
    let all = (after.user_time() + after.system_time())
        - (before.user_time() + before.system_time());
    let all = Duration::from_micros(u64::try_from(all.num_microseconds())?);
    check(place)?;
    Ok(Pass { own, tools: all.saturating_sub(own), wall })
}

/// CPU of one poll answered 304, and MiB resident after them.
async fn polls(place: &EmptyZone, sapi: &Sapi) -> Result<(Duration, f64)> {
    let agent = place.start(&[], &[])?;
    let front = sapi.front();
    let reach = async |count| {
        let reached = front.wait_for_total(count);
        tokio::time::timeout(LIMIT, reached).await.context("no polls")
    };
    let first = front.total() + WARM_POLLS;
    reach(first).await?;
    check(place)?;
    front.clear_log();
    let (cpu, count) = (agent.cpu()?, front.total());
    reach(count + POLLS).await?;
    let spent = agent.cpu()?.saturating_sub(cpu);
    let count = front.total() - count;
    for request in front.requests() {
        // The last one may still be on its way.
        if request.status.is_some_and(|status| status != 304) {
            bail!("a poll was answered {:?}", request.status);
        }
    }
    Ok((spent.div_f64(count as f64), agent.resident_mib()?))
}

/// An empty zone whose agent asks this SAPI.
fn empty_zone(
    program: &Path,
    parent: &Path,
    sapi: SocketAddr,
) -> Result<EmptyZone> {
    let config = json!({
        "logLevel": "info",
        "pollInterval": PAUSE,
        "fullPollInterval": 86_400_000,
        "sapi": {"url": format!("http://{sapi}")},
        "dnsListen": ["127.0.0.1:0"],
    });
    EmptyZone::new(program, parent, config)
}

/// Every file is in force and right: what is fast must have been done.
fn check(place: &EmptyZone) -> Result<()> {
    for number in 0..MANIFESTS {
        let path = place.path().join("root").join(target(number));
        let text = fs::read_to_string(&path)
            .with_context(|| path.display().to_string())?;
        ensure!(text == content(number), "{} is wrong", path.display());
    }
    Ok(())
}

/// A SAPI with the instance to configure.
fn sapi() -> Sapi {
    let sapi = Sapi::new(ids::PROMETHEUS0);
    let mut manifests = Map::new();
    for number in 0..MANIFESTS {
        let uuid = format!("d0000000-0000-4000-8000-{number:012}");
        manifests.insert(name(number), json!(uuid));
        sapi.put(
            Kind::Manifest,
            json!({
                "uuid": uuid,
                "name": name(number),
                "path": format!("/{}", target(number)),
                "template": lines(number, |key| format!("{{{{{{{key}}}}}}}")),
                "version": "1.0.0",
            }),
        );
    }
    let metadata: Map<String, Value> =
        (0..METADATA_KEYS).map(|n| (key(n), json!(value(&key(n))))).collect();
    sapi.put(
        Kind::Application,
        json!({"uuid": ids::SDC, "name": "sdc", "metadata": metadata}),
    );
    sapi.put(
        Kind::Service,
        json!({"uuid": ids::PROMETHEUS, "name": "prometheus",
               "application_uuid": ids::SDC, "manifests": manifests}),
    );
    sapi.put(
        Kind::Instance,
        json!({"uuid": ids::PROMETHEUS0, "service_uuid": ids::PROMETHEUS}),
    );
    sapi
}

fn name(number: usize) -> String {
    format!("service{number}")
}

/// Twenty files a folder: a zone has few folders of configuration.
fn target(number: usize) -> String {
    format!("opt/smartdc/folder{}/etc/{number}.json", number / 20)
}

fn key(number: usize) -> String {
    format!("METADATA_KEY_{number}")
}

fn value(key: &str) -> String {
    format!("value-of-{key}.coal.example.com")
}

/// The file that manifest `number` must become.
fn content(number: usize) -> String {
    lines(number, value)
}

/// A file of one JSON member a key; the manifests together use all keys.
fn lines(number: usize, value: impl Fn(&str) -> String) -> String {
    let mut text = "{\n".to_owned();
    for line in 0..KEYS_EACH {
        let key = key((number * KEYS_EACH + line * 7) % METADATA_KEYS);
        let comma = if line + 1 < KEYS_EACH { "," } else { "" };
        text.push_str(&format!("  \"{key}\": \"{}\"{comma}\n", value(&key)));
    }
    text.push_str("}\n");
    text
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
