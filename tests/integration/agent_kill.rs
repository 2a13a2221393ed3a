// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The agent killed at random moments while it writes: never a torn,
//! missing or unchecked file, and the next start finishes the job.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use localdc::agent_bench::{Bench, Manifest, eventually};
use serde_json::{Value, json};

/// Benches side by side, and kills of each.
const BENCHES: u64 = 5;
const KILLS: u32 = 44;
/// Lines of each file; a torn one has fewer, or of two revisions.
const LINES: usize = 400;
/// Files a daemon reads, and files with a command.
const FILES: usize = 10;

/// Files of a daemon with a checker that writes down what it approved.
fn role_files(bench: &Bench) {
    let folder = bench.path("templates/prometheus");
    fs::remove_dir_all(&folder).unwrap();
    let mut manifest = String::new();
    for number in 0..FILES {
        manifest.push_str(&format!(
            "[[file]]\ntemplate = \"d{number}.tera\"\n\
             target = \"{{{{ paths.etc }}}}/d{number}\"\nmode = \"0644\"\n\
             check = [\"approve\", \"{{staged}}\"]\n\
             daemon = \"prometheus\"\non_change = \"reload\"\n\n"
        ));
        let line = "{{ prometheus.evaluation_interval_seconds }}\n";
        let template = folder.join(format!("d{number}.tera"));
        bench.write(&template, line.repeat(LINES));
    }
    manifest.push_str("[[daemon]]\nname = \"prometheus\"\n");
    bench.write(&folder.join("manifest.toml"), manifest);
    bench.tool("approve", "sha256sum <\"$1\" >>\"$B/approved\"");
    // What the daemon reads when it starts or reloads.
    let etc = bench.file("opt/triton/prometheus/etc");
    let read =
        format!("cat {}/d? >{}\n", etc.display(), bench.path("read").display());
    bench.write(&bench.path("units/prometheus.reload"), &read);
    bench.unit("prometheus", "sleep 300");
    let start = bench.path("units/prometheus.start");
    let text = fs::read_to_string(&start).unwrap();
    bench.write(&start, format!("{read}{text}"));
}

fn manifests(bench: &Bench) {
    let template = "{{rev}}\n".repeat(LINES);
    fs::create_dir_all(bench.path("taken")).unwrap();
    for number in 0..FILES {
        let (name, path) = (format!("m{number}"), format!("etc/m{number}"));
        let command = format!(
            "cp {} {}",
            bench.file(&path).display(),
            bench.path("taken").display()
        );
        bench.manifest(Manifest {
            name: &name,
            path: &path,
            template: &template,
            post_cmd: Some(&command),
        });
    }
}

fn targets(bench: &Bench) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let paths = |folder: &str, letter: &str| {
        (0..FILES)
            .map(|n| bench.file(&format!("{folder}/{letter}{n}")))
            .collect()
    };
    (paths("opt/triton/prometheus/etc", "d"), paths("etc", "m"))
}

/// The revision of a whole file; `None` while it is not there.
fn revision(path: &Path) -> Option<u32> {
    let text = fs::read_to_string(path).ok()?;
    let (first, _) = text.split_once('\n').unwrap_or_default();
    let whole = format!("{first}\n").repeat(LINES);
    assert!(text == whole, "{} is torn:\n{text}", path.display());
    Some(first.parse().unwrap())
}

/// Everything below `folder` whose name ends in `.staged`.
fn leftovers(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            leftovers(&path, found);
        } else if path.extension().is_some_and(|e| e == "staged") {
            found.push(path);
        }
    }
}

struct Seen {
    revisions: Vec<Option<u32>>,
}

/// Looks at every file after a kill.
fn inspect(bench: &Bench, newest: u32, before: &Seen) -> Seen {
    let approved = fs::read_to_string(bench.path("approved"));
    let approved = approved.unwrap_or_default();
    let approved: BTreeSet<&str> =
        approved.lines().filter_map(|line| line.get(..64)).collect();
    let (daemon, command) = targets(bench);
    for path in &daemon {
        if let Ok(bytes) = fs::read(path) {
            let digest = monitoring_agent::apply::commit::sha256(&bytes);
            assert!(
                approved.contains(digest.as_str()),
                "{} was never approved",
                path.display()
            );
        }
    }
    let revisions: Vec<Option<u32>> =
        daemon.iter().chain(&command).map(|path| revision(path)).collect();
    for (now, before) in revisions.iter().zip(&before.revisions) {
        // Never back, never gone, never from the future.
        assert!(now >= before, "{now:?} after {before:?}");
        assert!(now.is_none_or(|now| now <= newest));
    }
    Seen { revisions }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_no_file_is_torn_missing_or_unchecked() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("again with SEED={seed}");
    let random = |n: u64| fastrand::Rng::with_seed(seed.wrapping_add(n));
    let benches = (0..BENCHES).map(|n| kill_again_and_again(random(n)));
    let torn_off: u32 = join_all(benches).await.iter().sum();
    assert!(torn_off >= 5, "{torn_off} kills came while files were written");
}

/// Kills the agent of one bench; says how often amid staging.
async fn kill_again_and_again(mut random: fastrand::Rng) -> u32 {
    let mut bench = Bench::prometheus().await;
    role_files(&bench);
    manifests(&bench);
    bench.configure(json!({"pollInterval": 5, "logLevel": "warn"}));
    let bench = Arc::new(bench);
    let newest = Arc::new(AtomicU32::new(1));
    let set = |bench: &Bench, rev: u32| {
        bench.metadata(json!({"rev": rev, "evaluation_interval": rev}));
    };
    set(&bench, 1);
    let writer = tokio::spawn({
        let (bench, newest) = (Arc::clone(&bench), Arc::clone(&newest));
        async move {
            loop {
                tokio::time::sleep(Duration::from_millis(7)).await;
                let rev = newest.fetch_add(1, Ordering::Relaxed) + 1;
                set(&bench, rev);
            }
        }
    });
    let begin = Instant::now();
    let mut seen = Seen { revisions: vec![None; 2 * FILES] };
    let (mut kills, mut torn_off) = (0, 0);
    // A start reads the platform's facts first: most kills shall come later.
    let mut warm = Duration::from_millis(50);
    while kills < KILLS {
        let agent = bench.start();
        let wait = warm.mul_f64(0.5 + 3.0 * random.f64());
        if kills % 5 == 0 {
            // How long it takes from start to first writing here and now.
            let started = Instant::now();
            let before = revision(&bench.file("etc/m0"));
            eventually("a first pass", async || {
                (revision(&bench.file("etc/m0")) > before).then_some(())
            })
            .await;
            let limits = [20, 1_000].map(Duration::from_millis);
            warm = started.elapsed().clamp(limits[0], limits[1]);
        } else {
            tokio::time::sleep(wait).await;
        }
        agent.kill().await;
        kills += 1;
        let rev = newest.load(Ordering::Relaxed);
        seen = inspect(&bench, rev, &seen);
        let mut left = Vec::new();
        leftovers(bench.path("").as_path(), &mut left);
        torn_off += u32::from(!left.is_empty());
    }
    writer.abort();
    let _ = writer.await;
    println!(
        "{kills} kills in {:?}, {torn_off} amid staging, {} revisions",
        begin.elapsed(),
        newest.load(Ordering::Relaxed)
    );

    let agent = bench.start();
    let last = newest.load(Ordering::Relaxed);
    let (daemon, command) = targets(&bench);
    eventually("the last run converges", async || {
        let all = daemon.iter().chain(&command);
        all.map(|path| revision(path)).all(|r| r == Some(last)).then_some(())
    })
    .await;
    bench.settle(&agent).await;
    let whole = format!("{last}\n").repeat(LINES);
    let read = fs::read_to_string(bench.path("read")).unwrap();
    assert_eq!(read, whole.repeat(FILES), "the daemon is behind");
    for path in &command {
        let taken = bench.path("taken").join(path.file_name().unwrap());
        let taken = fs::read_to_string(taken).unwrap();
        assert_eq!(taken, whole, "a command was forgotten");
    }
    let record = fs::read(bench.path("state/applied.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    for (key, unit) in record["units"].as_object().unwrap() {
        assert_eq!(unit["pending"], false, "{key}");
    }
    let mut left = Vec::new();
    leftovers(bench.path("").as_path(), &mut left);
    assert_eq!(left, [] as [PathBuf; 0]);
    let tls = bench.file("data/prometheus/tls");
    for file in ["cmon.key", "cmon.crt"] {
        let text = fs::read_to_string(tls.join(file)).unwrap();
        assert!(text.trim_end().ends_with("-----"), "{file}: {text}");
    }
    torn_off
}

/// What a kill left staged goes, also where its target is as it should be.
#[tokio::test]
async fn what_a_kill_left_staged_is_swept_up() {
    let bench = Bench::new().await;
    bench.plain("a", "etc/a.conf", "a\n");
    let agent = bench.start();
    bench.holds("etc/a.conf", "a\n").await;
    bench.settle(&agent).await;
    agent.kill().await;
    let left = ["root/etc/.a.conf.staged", "state/.config.json.staged"];
    for left in left {
        bench.write(&bench.path(left), "half a fi");
    }
    let _agent = bench.start();
    for left in left {
        eventually(&format!("{left} is gone"), async || {
            (!bench.path(left).exists()).then_some(())
        })
        .await;
    }
}
