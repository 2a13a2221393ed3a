// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The agent and the real Prometheus: changes arrive, and whatever goes
//! wrong on the way leaves what is in force untouched, is named in one line,
//! and mends itself when its cause is gone.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::fs;
use std::path::Path;

use localdc::agent_bench::{Agent, Bench, eventually};
use serde_json::{Value, json};

const ETC: &str = "opt/triton/prometheus/etc";
const FILES: [&str; 3] =
    ["prometheus.yml", "rules/discovery.yml", "prometheus.flags"];

/// A bench with an agent and its Prometheus.
struct World {
    bench: Bench,
    agent: Agent,
    /// The evaluation interval asked for last, which tells revisions apart.
    seconds: u32,
}

/// What is in force: bytes of files, and Prometheus' own idea of them.
#[derive(Debug, PartialEq)]
struct InForce {
    files: Vec<String>,
    running: String,
    start: String,
}

impl World {
    async fn start() -> Self {
        Self::start_prepared(|_| "true".to_owned()).await
    }

    async fn start_prepared(mount: impl Fn(&Bench) -> String) -> Self {
        let bench = Bench::prometheus().await;
        bench.prometheus_unit();
        bench.metadata(json!({"evaluation_interval": 11}));
        let agent = bench.starter().prepared_by(&mount(&bench)).start();
        let world = Self { bench, agent, seconds: 11 };
        world.evaluates_every(11).await;
        world
    }

    async fn api(&self, path: &str) -> Option<Value> {
        let url = self.bench.prometheus_url(path);
        let (_, text) = self.bench.get(&url).await?;
        let answer: Value = serde_json::from_str(&text).ok()?;
        Some(answer["data"].clone())
    }

    async fn running(&self) -> Option<String> {
        let config = self.api("/api/v1/status/config").await?;
        Some(config["yaml"].as_str()?.to_owned())
    }

    async fn evaluates_every(&self, seconds: u32) {
        let text = format!("evaluation_interval: {seconds}s");
        eventually(&format!("Prometheus runs with {text}"), async || {
            self.running().await?.contains(&text).then_some(())
        })
        .await;
    }

    fn etc(&self, file: &str) -> std::path::PathBuf {
        self.agent.sees(&self.bench.file(ETC)).join(file)
    }

    async fn in_force(&self) -> InForce {
        let info = self.api("/api/v1/status/runtimeinfo").await.unwrap();
        InForce {
            files: FILES
                .map(|file| fs::read_to_string(self.etc(file)).unwrap())
                .to_vec(),
            running: self.running().await.unwrap(),
            start: info["startTime"].as_str().unwrap().to_owned(),
        }
    }

    /// Breaks something, changes metadata, sees that nothing changed and why;
    /// mends, and sees the change arrive in the same process.
    async fn unharmed_by(
        &mut self,
        faults: &[&str],
        breaks: impl AsyncFnOnce(&Self),
        mends: impl AsyncFnOnce(&Self),
    ) {
        let before = self.in_force().await;
        breaks(self).await;
        self.seconds += 1;
        let seconds = self.seconds;
        self.bench.metadata(json!({"evaluation_interval": seconds}));
        let line = self.bench.said("faults", faults).await;
        assert!(!line.contains('\n'), "one line: {line}");
        self.bench.settle(&self.agent).await;
        // Still so after another pass.
        self.bench.said("faults", faults).await;
        // A pass that is under way may be trying it once more.
        eventually("what was in force is", async || {
            (self.in_force().await == before).then_some(())
        })
        .await;
        let (status, page) = self.bench.page("/healthz").await.unwrap();
        assert!(status == 503 && page.contains(faults[0]), "{page}");
        mends(self).await;
        self.evaluates_every(seconds).await;
        eventually("no fault", async || {
            let report = self.bench.report().await?;
            let mut faults = report["faults"].as_array()?.iter();
            // There is no CMON here.
            faults
                .all(|f| f.as_str().is_some_and(|f| f.starts_with("discovery")))
                .then_some(())
        })
        .await;
        assert_eq!(self.in_force().await.start, before.start);
    }
}

#[tokio::test]
async fn a_change_in_sapi_reaches_the_same_process_and_flags_another() {
    let world = World::start().await;
    let before = world.in_force().await;
    assert!(before.running.contains("scrape_interval: 10s"));
    world.bench.metadata(json!({"scrape_interval": "15"}));
    eventually("the new interval", async || {
        world.running().await?.contains("scrape_interval: 15s").then_some(())
    })
    .await;
    assert_eq!(world.in_force().await.start, before.start);
    assert_eq!(
        world.bench.service_calls(),
        ["enable --now prometheus.service"]
    );

    world.bench.metadata(json!({"retention_time": "7d"}));
    eventually("the new flag", async || {
        let flags = world.api("/api/v1/status/flags").await?;
        (flags["storage.tsdb.retention.time"] == "1w").then_some(())
    })
    .await;
    let after = world.in_force().await;
    assert_ne!(after.start, before.start);
    assert_eq!(
        world.bench.service_calls(),
        ["enable --now prometheus.service", "restart prometheus.service"]
    );
    // What is in force is left alone by a restart of the agent.
    let World { bench, agent, .. } = world;
    // Killed before it saw Prometheus up, it would restart it once more.
    bench.settle(&agent).await;
    agent.kill().await;
    let agent = bench.start();
    bench.settle(&agent).await;
    let world = World { bench, agent, seconds: 11 };
    assert_eq!(world.in_force().await, after);
    assert_eq!(world.bench.service_calls().len(), 2);
}

#[tokio::test]
async fn bad_metadata_is_refused_with_key_seen_and_wanted() {
    let mut world = World::start().await;
    for (bad, good, words) in [
        (
            json!({"scrape_interval": "often"}),
            json!({"scrape_interval": 10}),
            ["scrape_interval", "often", "seconds"],
        ),
        (
            json!({"scrape_interval": 5, "scrape_timeout": 9}),
            json!({"scrape_interval": 10}),
            ["scrape_timeout", "9", "at most scrape_interval"],
        ),
        (
            json!({"dns_domain": null, "scrape_timeout": null}),
            json!({"dns_domain": "triton.test"}),
            ["dns_domain", "nothing", "a DNS domain"],
        ),
        (
            json!({"external_labels": ["a"]}),
            json!({"external_labels": {"a": "b"}}),
            ["external_labels", "[\"a\"]", "object"],
        ),
    ] {
        let breaks = async |w: &World| w.bench.metadata(bad);
        let mends = async |w: &World| w.bench.metadata(good);
        world.unharmed_by(&words, breaks, mends).await;
    }
}

fn template(world: &World) -> std::path::PathBuf {
    world.bench.path("templates/prometheus/prometheus.yml.tera")
}

fn append(path: &Path, text: &str) -> String {
    let before = fs::read_to_string(path).unwrap();
    replace(path, &format!("{before}{text}"));
    before
}

/// At once: a file that is half written would be rendered as it is.
fn replace(file: &Path, text: &str) {
    let other = file.with_extension("new");
    fs::write(&other, text).unwrap();
    fs::rename(other, file).unwrap();
}

#[tokio::test]
async fn a_template_error_is_held_and_an_edit_is_taken_while_running() {
    let mut world = World::start().await;
    let path = template(&world);
    let good = fs::read_to_string(&path).unwrap();
    for (text, word) in [
        ("{% if %}", "prometheus.yml"),
        ("{{ no.such.thing }}", "prometheus.yml"),
    ] {
        let breaks = async |_: &World| drop(append(&path, text));
        let mends = async |_: &World| replace(&path, &good);
        world.unharmed_by(&[word], breaks, mends).await;
    }
    append(&path, "\n# an operator's remark\n");
    eventually("the edit arrives", async || {
        let text = fs::read_to_string(world.etc("prometheus.yml")).ok()?;
        text.contains("remark").then_some(())
    })
    .await;
    let manifest = world.bench.path("templates/prometheus/manifest.toml");
    let good = fs::read_to_string(&manifest).unwrap();
    let breaks = async |_: &World| replace(&manifest, "[[file]\n");
    let mends = async |_: &World| replace(&manifest, &good);
    world.unharmed_by(&["manifest.toml"], breaks, mends).await;
}

#[tokio::test]
async fn what_promtool_refuses_is_never_in_force() {
    let mut world = World::start().await;
    let rules = world.bench.file("data/operator.yml");
    world.bench.write(&rules, "groups: [{nonsense: true}]\n");
    let breaks = async |w: &World| {
        w.bench.metadata(json!({"rule_files": [rules.display().to_string()]}));
    };
    let mends = async |_: &World| fs::write(&rules, "groups: []\n").unwrap();
    world
        .unharmed_by(&["prometheus.yml", "checker refused"], breaks, mends)
        .await;
}

#[tokio::test]
async fn what_prometheus_refuses_to_load_goes_back() {
    let mut world = World::start().await;
    let manifest = world.bench.path("templates/prometheus/manifest.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let check = r#"check = ["promtool", "check", "config", "{staged}"]"#;
    assert!(text.contains(check));
    let blind = r#"check = ["test", "-f", "{staged}"]"#;
    replace(&manifest, &text.replace(check, blind));
    let path = template(&world);
    let good = fs::read_to_string(&path).unwrap();
    let breaks = async |_: &World| drop(append(&path, "\nnonsense: 1\n"));
    let mends = async |_: &World| replace(&path, &good);
    world.unharmed_by(&["refused", "nonsense"], breaks, mends).await;
    let (_, metrics) =
        world.bench.get(&world.bench.prometheus_url("/metrics")).await.unwrap();
    assert!(
        metrics.contains("prometheus_config_last_reload_successful 1"),
        "Prometheus has taken the last good files back"
    );
    let report = world.bench.report().await.unwrap();
    assert!(report["walk"]["refusals"].as_u64().unwrap() >= 1, "{report}");
}

#[tokio::test]
async fn a_full_disk_leaves_the_old_files_whole() {
    for (folder, words) in [
        (format!("root/{ETC}"), ["could not stage", "No space"]),
        ("state".to_owned(), ["could not save the record", "No space"]),
    ] {
        let mut world = World::start_prepared(|bench| {
            let path = bench.path(&folder);
            fs::create_dir_all(&path).unwrap();
            format!("mount -t tmpfs -o size=256k tmpfs {}", path.display())
        })
        .await;
        let junk = world.bench.path(&folder).join("junk");
        let junk = junk.display();
        // What was staged before is gone: the disk is really full.
        let fill = format!("cat /dev/zero >{junk} 2>/dev/null || true");
        let breaks = async |w: &World| w.agent.inside(&fill).await;
        let empty = format!("rm {junk}");
        let mends = async |w: &World| w.agent.inside(&empty).await;
        world.unharmed_by(&words, breaks, mends).await;
    }
}

#[tokio::test]
async fn an_unwritable_folder_leaves_the_old_files_whole() {
    let etc = |bench: &Bench| bench.file(ETC).display().to_string();
    let mut world = World::start_prepared(|bench| {
        fs::create_dir_all(bench.file(ETC)).unwrap();
        format!("mount --bind {0} {0}", etc(bench))
    })
    .await;
    let path = etc(&world.bench);
    let remount = |how: &str| format!("mount -o remount,bind,{how} {path}");
    let breaks = async |w: &World| w.agent.inside(&remount("ro")).await;
    let mends = async |w: &World| w.agent.inside(&remount("rw")).await;
    world.unharmed_by(&["could not stage", "Read-only"], breaks, mends).await;
    // A file where a folder should be.
    let way = world.bench.file("etc/in/the");
    world.bench.write(&way, "way\n");
    let breaks = async |w: &World| {
        w.bench.plain("blocked", "etc/in/the/way.conf", "x\n");
        let template = "{{no}}y\n";
        w.bench.plain("free", "etc/free.conf", template);
        w.bench.said("faults", &["blocked"]).await;
        // One file's trouble is no other's.
        w.bench.holds("etc/free.conf", "y\n").await;
    };
    breaks(&world).await;
    world.bench.metadata(json!({"evaluation_interval": 50}));
    world.evaluates_every(50).await;
    fs::remove_file(&way).unwrap();
    world.bench.holds("etc/in/the/way.conf", "x\n").await;
}
