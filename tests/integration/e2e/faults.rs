// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Faults between the model and the running daemon: each leaves what runs
//! alone, is named by one line of the status, and mends by itself.

use std::fs;
use std::path::{Path, PathBuf};

use localdc::world::World;
use localdc::zone::SizeLimit;
use serde_json::json;

use super::{
    all_up, prometheus_pid, put_metadata, sh, soon, status, text, when,
    world_with,
};

/// A world at rest whose templates can be edited.
struct Editable {
    folder: tempfile::TempDir,
    world: World,
    /// That of prometheus.yml.
    template: PathBuf,
    /// Of Prometheus.
    pid: i32,
}

async fn editable() -> Editable {
    let folder = tempfile::tempdir().unwrap();
    let world = world_with(|spec| {
        copy(&spec.programs.templates, folder.path());
        spec.programs.templates = folder.path().canonicalize().unwrap();
    })
    .await;
    let template = folder.path().join("prometheus/prometheus.yml.tera");
    all_up(&world).await;
    let pid = prometheus_pid(&world).await;
    Editable { folder, world, template, pid }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Replaces the one `from` in the template by `to`.
fn edit(template: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(template).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from}");
    replace(template, &text.replace(from, to));
}

/// At once: a file that is half written would be rendered as it is.
fn replace(file: &Path, text: &str) {
    let other = file.with_extension("new");
    fs::write(&other, text).unwrap();
    fs::rename(other, file).unwrap();
}

async fn faulty(world: &World, wanted: &[&str]) {
    soon("the status names the fault", async || {
        let faults = status(world).await?.faults;
        let seen = matches!(&faults[..], [one]
            if wanted.iter().all(|part| one.contains(part)));
        when(seen, || faults.join("\n"))
    })
    .await;
}

async fn healthy(world: &World) {
    soon("healthy again", async || {
        let report = status(world).await?;
        when(report.healthy, || report.faults.join("; "))
    })
    .await;
}

async fn running_has(world: &World, part: &str) {
    soon(part, async || {
        let yaml = text(world.daemons().config().await)?;
        when(yaml.contains(part), || yaml)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn template_error_and_checkers_refusal_leave_what_runs() {
    let Editable { folder: _folder, world, template, pid } = editable().await;
    let own = "{{ prometheus.evaluation_interval_seconds }}s";
    edit(&template, own, "7s");
    running_has(&world, "evaluation_interval: 7s").await;

    edit(&template, "interval: 7s", "interval: {{ prometheus.typo }}s");
    faulty(&world, &["prometheus.yml", "typo"]).await;
    running_has(&world, "evaluation_interval: 7s").await;

    // Well rendered; promtool's turn.
    edit(&template, "{{ prometheus.typo }}s", "seldom");
    faulty(&world, &["prometheus.yml", "promtool", "seldom"]).await;
    running_has(&world, "evaluation_interval: 7s").await;
    let in_force = "cat /opt/triton/prometheus/etc/prometheus.yml";
    let in_force = sh(&world, in_force).await.stdout;
    assert!(in_force.contains("evaluation_interval: 7s"), "{in_force}");

    edit(&template, "interval: seldom", &format!("interval: {own}"));
    healthy(&world).await;
    running_has(&world, "evaluation_interval: 10s").await;
    assert_eq!(prometheus_pid(&world).await, pid);
    all_up(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_reload_puts_the_last_good_file_back() {
    let Editable { folder: _folder, world, template, pid } = editable().await;
    let before = status(&world).await.unwrap().walk.refusals;
    // promtool runs as root and finds the file; Prometheus may not read it.
    let own = "key_file: {{ (paths.tls ~ \"/cmon.key\") | yaml }}";
    edit(&template, own, "key_file: /root/.ssh/sdc.id_rsa");
    soon("the refusal", async || {
        let report = status(&world).await?;
        let named = report.faults.iter().any(|f| f.contains("prometheus"));
        let seen = report.walk.refusals > before && named;
        when(seen, || report.faults.join("\n"))
    })
    .await;
    let in_force = "cat /opt/triton/prometheus/etc/prometheus.yml";
    let in_force = sh(&world, in_force).await.stdout;
    assert!(in_force.contains("tls/cmon.key"), "{in_force}");
    running_has(&world, "tls/cmon.key").await;
    assert_eq!(prometheus_pid(&world).await, pid);
    all_up(&world).await;
    edit(&template, "key_file: /root/.ssh/sdc.id_rsa", own);
    healthy(&world).await;
    all_up(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_and_read_only_disks_leave_what_runs() {
    let etc = "/opt/triton/prometheus/etc";
    let world = world_with(|spec| {
        let path = etc.into();
        let size_bytes = 256 << 10;
        spec.limits = vec![SizeLimit { path, size_bytes, user: None }];
    })
    .await;
    all_up(&world).await;
    let pid = prometheus_pid(&world).await;
    let long: serde_json::Map<_, _> = (0..300)
        .map(|n| (format!("long{n}"), "x".repeat(900).into()))
        .collect();
    put_metadata(&world, json!({"external_labels": long})).await;
    faulty(&world, &["prometheus.yml", "No space left on device"]).await;
    running_has(&world, "scrape_interval: 3s").await;
    let whole = "prometheus.env\nprometheus.flags\nprometheus.yml\nrules\n";
    // A try that is under way may be seen, but none stays.
    soon("nothing half written", async || {
        let left = sh(&world, &format!("ls -A {etc}")).await.stdout;
        when(left == whole, || left)
    })
    .await;
    put_metadata(&world, json!({"external_labels": {"long": "short"}})).await;
    running_has(&world, "long: short").await;
    healthy(&world).await;

    let remount = async |how: &str| {
        let done = sh(&world, &format!("mount -o remount,{how} {etc}")).await;
        assert!(done.success(), "{done:?}");
    };
    remount("ro").await;
    put_metadata(&world, json!({"scrape_interval": 4})).await;
    faulty(&world, &["prometheus.yml", "Read-only file system"]).await;
    running_has(&world, "scrape_interval: 3s").await;
    remount("rw").await;
    running_has(&world, "scrape_interval: 4s").await;
    healthy(&world).await;
    assert_eq!(prometheus_pid(&world).await, pid);
    all_up(&world).await;
}
