// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Rendering a zone of the largest site we plan for: 200 Prometheus and 20
//! Thanos instances over ten datacenters, 1,000 endpoints to query. From
//! merged metadata to the bytes of every file, templates read from disk, as a
//! pass does after a change. CPU of this process.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use localdc::measure::bar;
use localdc::sites;
use monitoring_agent::metadata::meaning::{Site, model};
use monitoring_agent::model::{Caps, Flavor, Peer, Peers, Role};
use nix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};

const PROMETHEUS: usize = 200;
const THANOS: usize = 20;
const ENDPOINTS: usize = 1_000;
const DATACENTERS: usize = 10;
const ROUNDS: usize = 25;
/// Milliseconds of CPU that the costliest of the zones may take.
const LIMIT: f64 = 100.0;

fn main() -> Result<()> {
    // `cargo test --benches` only wants to know that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    println!(
        "render: {PROMETHEUS} Prometheus, {THANOS} Thanos, {ENDPOINTS} \
         endpoints; median of {ROUNDS} renders\n"
    );
    let mut worst = 0.0_f64;
    for role in Role::ALL {
        let (files, bytes, cpu) = render(role)?;
        let cpu = cpu.as_secs_f64() * 1e3;
        worst = worst.max(cpu);
        println!(
            "{:12}{cpu:>8.2} ms CPU{files:>6} files{:>8} KiB",
            role.as_str(),
            bytes >> 10
        );
    }
    println!();
    bar("render_largest_site_cpu_ms", worst, LIMIT);
    Ok(())
}

/// Files, bytes and CPU of one zone.
fn render(role: Role) -> Result<(usize, usize, Duration)> {
    let metadata = metadata();
    let site = site(role);
    let templates = sites::templates();
    let mut times = Vec::with_capacity(ROUNDS);
    let mut size = (0, 0);
    for _ in 0..ROUNDS {
        let begin = cpu()?;
        let model = match model(&metadata, &site) {
            Ok(model) => model,
            Err(problems) => bail!("{role}: {problems:?}"),
        };
        let output = sites::render(&templates, &model);
        times.push(cpu()?.saturating_sub(begin));
        ensure!(output.failed.is_empty(), "{role}: {:?}", output.failed);
        let bytes = output.files.iter().map(|file| file.bytes.len()).sum();
        size = (output.files.len(), bytes);
        if role == Role::Thanos {
            let listed = output
                .files
                .iter()
                .filter(|file| file.target.ends_with("query.endpoints.yml"))
                .map(|f| {
                    String::from_utf8_lossy(&f.bytes).matches("address").count()
                })
                .sum::<usize>();
            ensure!(listed >= ENDPOINTS, "{listed} endpoints");
        }
    }
    times.sort_unstable();
    Ok((size.0, size.1, times[times.len() / 2]))
}

fn cpu() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

fn metadata() -> Map<String, Value> {
    let endpoints: Vec<String> = (0..ENDPOINTS - PROMETHEUS)
        .map(|n| format!("10.200.{}.{}:10901", n / 250, n % 250 + 1))
        .collect();
    let all = json!({
        "datacenter_name": "dc0", "dns_domain": "t.test", "region_name": "r1",
        "auto": {"ADMIN_IP": "10.0.0.1"},
        "thanos_endpoints": endpoints,
        "object_store": {"type": "S3", "config": {"bucket": "blocks",
            "endpoint": "buckets-api.m.test"}},
    });
    all.as_object().cloned().unwrap_or_default()
}

fn site(role: Role) -> Site {
    let all = [("prometheus", PROMETHEUS), ("thanos", THANOS)];
    let peers = all
        .into_iter()
        .flat_map(|(service, count)| (0..count).map(move |n| peer(service, n)));
    let peers: Vec<Peer> = peers.collect();
    Site {
        compaction: true,
        root: PathBuf::from("/"),
        role,
        flavor: Flavor::Triton,
        instance: match role {
            Role::Thanos => "thanos-0".to_owned(),
            _ => "prometheus-0".to_owned(),
        },
        cmon_domain: Some("cmon.dc0.cns.t.test".to_owned()),
        peers: Peers::from(peers),
        agent_address: ([127, 0, 0, 1], 9165).into(),
        caps: Caps {
            memory_bytes: Some(8 << 30),
            cpu_percent: Some(400),
            quota_bytes: Some(500 << 30),
        },
    }
}

fn peer(service: &str, number: usize) -> Peer {
    let [high, low] = u16::try_from(number + 1).unwrap_or(1).to_be_bytes();
    let net = if service == "thanos" { 100 } else { 101 };
    let place = u8::try_from(number % DATACENTERS).unwrap_or_default();
    let instance = format!("{service}-{number}");
    Peer {
        address: Some([10, net, high, low].into()),
        shard: Some((number / 2).to_string()),
        instance: instance.clone(),
        ..sites::peer(service, &instance, place, low)
    }
}
