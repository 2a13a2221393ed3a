// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Primaries and upstreams that swallow everything.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use monitoring_agent::model::dns::{
    ForwardZone, Routes, SecondaryZone, UpstreamKind, ZoneName,
};
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::ask;
use crate::dns_secondary::ours::{Ours, policy};
use crate::dns_secondary::real::{Kind, Real, Signed, ZONE};

/// Names asked of nobody who answers.
const LOST: u64 = 1_500;

/// Files and tasks that may be open at the end: a hundredth of what was asked.
const SLACK: usize = 15;

/// Open files of this process, tasks of this runtime, MiB resident.
fn held() -> (usize, usize, f64) {
    let files = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let tasks = Handle::current().metrics().num_alive_tasks();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = kib.unwrap().trim().trim_end_matches(" kB");
    (files, tasks, kib.parse::<f64>().unwrap() / 1024.0)
}

fn root(upstreams: Vec<SocketAddr>) -> ForwardZone {
    ForwardZone {
        suffix: ZoneName::parse(".").unwrap(),
        upstreams,
        kind: UpstreamKind::Recursive,
        fallback: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_all_around_leaves_the_store_and_nothing_else_behind() {
    let mut policy = policy();
    policy.interval_max = Duration::from_millis(100);
    policy.probe_limit = Duration::from_millis(100);
    let ours = Ours::start(ZONE, policy).await;
    let real = Real::start(Kind::Bind, Signed::No, ours.notify, 41).await;
    // They take what comes and never answer.
    let mut holes = Vec::new();
    for _ in 0..5 {
        holes.push(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    }
    let upstreams: Vec<SocketAddr> =
        holes.iter().map(|hole| hole.local_addr().unwrap()).collect();
    ours.route(Routes {
        secondaries: vec![SecondaryZone {
            name: ZoneName::parse(ZONE).unwrap(),
            primaries: vec![real.primary()],
        }],
        forwards: vec![root(upstreams)],
    });
    ours.until_serial(1).await;
    let before = held();
    real.freeze(true);
    let begin = Instant::now();
    ours.until("the silence is told", |ours| {
        ours.status().unwrap().last_error.is_some()
    })
    .await;
    println!("told after {:?}", begin.elapsed());
    // Questions without an answer, all at once; those about the zone go on.
    let mut lost = JoinSet::new();
    for n in 0..LOST {
        let at = ours.at;
        lost.spawn(async move {
            // More at once than a socket keeps would be lost on the way.
            tokio::time::sleep(Duration::from_millis(n)).await;
            let name = format!("n{n}.example.net.");
            let limit = Duration::from_secs(12);
            ask(at, &name, RecordType::A, limit).await
        });
    }
    let mut slowest = Duration::ZERO;
    while !lost.is_empty() {
        let begin = Instant::now();
        let apex = format!("{ZONE}.");
        // Before the others are answered, where all have to wait.
        let limit = Duration::from_secs(10);
        let answer = ask(ours.at, &apex, RecordType::SOA, limit).await;
        assert_eq!(answer.expect("the store answers").answers.len(), 1);
        slowest = slowest.max(begin.elapsed());
        while let Some(done) = lost.try_join_next() {
            if let Some(answer) = done.unwrap() {
                let rcode = answer.metadata.response_code;
                assert_eq!(rcode, ResponseCode::ServFail);
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("the zone's slowest answer: {slowest:?}");
    let upstreams = ours.handle.upstreams();
    assert!(upstreams.iter().any(|upstream| !upstream.alive), "{upstreams:?}");
    // All that was begun has ended; refreshes go on failing meanwhile.
    let failures = |ours: &Ours| ours.status().unwrap().primaries[0].failures;
    let failed = failures(&ours);
    ours.until("more refreshes fail", |ours| failures(ours) > failed + 5).await;
    let mut seen = 0;
    ours.until("nothing is left over", |_| {
        let now = held();
        if seen != now.0 {
            println!("files, tasks, MiB: {now:?}");
            seen = now.0;
        }
        // A refresh on its way has a socket and a task or two, and so has each
        // upstream that is looked at again.
        now.0 <= before.0 + SLACK && now.1 <= before.1 + SLACK
    })
    .await;
    let after = held();
    println!("files, tasks, MiB: {before:?}, then {after:?}");
    assert!(after.2 < before.2 + 64.0);
    real.freeze(false);
    ours.until("all is well", |ours| {
        ours.status().unwrap().last_error.is_none()
    })
    .await;
    drop(holes);
}
