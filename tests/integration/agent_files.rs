// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Files and folders: one bad manifest harms only itself, local manifests
//! and their precedence, and what is noticed while the agent runs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use localdc::agent_bench::{Bench, Manifest, eventually};
use serde_json::json;

/// Writes a local manifest into the folder `dir` of the bench.
fn local(
    bench: &Bench,
    dir: &str,
    manifest: serde_json::Value,
    template: &str,
) {
    let folder = bench.path(&format!("image/sapi_manifests/{dir}"));
    bench.write(&folder.join("manifest.json"), manifest.to_string());
    bench.write(&folder.join("template"), template);
}

#[tokio::test]
async fn a_null_or_a_bad_template_harms_its_own_file_only() {
    let mut bench = Bench::prometheus().await;
    // Nothing to reload: this is about files.
    bench.configure(json!({"fullPollInterval": 500}));
    bench.metadata(json!({"null": null, "s": "ok", "o": {"k": null}}));
    for (name, template, _) in BROKEN {
        bench.plain(name, &format!("etc/{name}.conf"), template);
        bench.write(&bench.file(&format!("etc/{name}.conf")), "old\n");
    }
    bench.plain("good", "etc/good.conf", "{{s}}\n");
    let _agent = bench.start();
    bench.holds("etc/good.conf", "ok\n").await;
    for (name, _, why) in BROKEN {
        bench.said("faults", &[name, why]).await;
        let path = format!("etc/{name}.conf");
        assert_eq!(bench.text(&path).as_deref(), Some("old\n"));
    }
    eventually("the role's own files", async || {
        bench.text("opt/triton/prometheus/etc/prometheus.yml").map(drop)
    })
    .await;
    bench.metadata(json!({"null": "n", "o": {"k": "v"}}));
    bench.plain("open", "etc/open.conf", "closed\n");
    bench.plain("unequal", "etc/unequal.conf", "equal\n");
    bench.holds("etc/null.conf", "n\n").await;
    bench.holds("etc/inner.conf", "v\n").await;
    bench.holds("etc/open.conf", "closed\n").await;
    bench.holds("etc/unequal.conf", "equal\n").await;
}

/// Name, template, and what the fault says.
const BROKEN: [(&str, &str, &str); 4] = [
    ("null", "{{null}}\n", "null"),
    ("inner", "{{{o.k}}}\n", "o.k"),
    ("open", "{{#s}} never closed\n", "s"),
    ("unequal", "{{#s}}{{/t}}\n", "t"),
];

#[tokio::test]
async fn text_beyond_ascii_is_written_once_and_reloads_once() {
    let mut bench = Bench::new().await;
    bench.configure(json!({"localManifestDirs": [bench.path("image")]}));
    let log = bench.path("log");
    let command = format!("echo ran >>{}", log.display());
    bench.metadata(json!({"v": "naïve Größe \u{1F600}"}));
    bench.manifest(Manifest {
        name: "u",
        path: "etc/u.conf",
        template: "café {{{v}}}\n",
        post_cmd: Some(&command),
    });
    local(
        &bench,
        "l",
        json!({"name": "l", "path": "/etc/l.conf", "post_cmd": command}),
        "naïve {{{v}}}\n",
    );
    // An empty file is a file as well.
    bench.manifest(Manifest {
        name: "e",
        path: "etc/e.conf",
        template: "{{missing}}",
        post_cmd: Some(&command),
    });
    let agent = bench.start();
    bench.holds("etc/u.conf", "café naïve Größe \u{1F600}\n").await;
    bench.holds("etc/l.conf", "naïve naïve Größe \u{1F600}\n").await;
    bench.holds("etc/e.conf", "").await;
    bench.settle(&agent).await;
    let before = fs::metadata(bench.file("etc/u.conf")).unwrap();
    bench.metadata(json!({"unused": 1}));
    bench.settle(&agent).await;
    agent.kill().await;
    let agent = bench.start();
    bench.settle(&agent).await;
    let after = fs::metadata(bench.file("etc/u.conf")).unwrap();
    assert_eq!(before.ino(), after.ino(), "the file was written again");
    let ran = fs::read_to_string(&log).unwrap();
    assert_eq!(ran, "ran\n", "one pass, one command");
}

#[tokio::test]
async fn local_manifests_win_and_a_stray_file_only_warns() {
    let mut bench = Bench::new().await;
    bench.configure(json!({"localManifestDirs": [
        bench.path("image"), bench.path("nowhere"),
    ]}));
    bench.plain("one", "etc/one.conf", "SAPI\n");
    bench.plain("two", "etc/two.conf", "SAPI\n");
    bench.plain("three", "etc/three.conf", "SAPI\n");
    // By name, at another path; and by path, under another name.
    local(
        &bench,
        "a",
        json!({"name": "one", "path": "/etc/1.conf"}),
        "local\n",
    );
    local(
        &bench,
        "b",
        json!({"name": "x", "path": "/etc/two.conf"}),
        "local\n",
    );
    let folder = bench.path("image/sapi_manifests");
    bench.write(&folder.join("README"), "stray");
    bench.write(&folder.join("broken/manifest.json"), "{");
    bench.write(&folder.join("broken/template"), "x");
    fs::create_dir(folder.join("empty")).unwrap();
    let _agent = bench.start();
    bench.holds("etc/three.conf", "SAPI\n").await;
    bench.holds("etc/1.conf", "local\n").await;
    bench.holds("etc/two.conf", "local\n").await;
    assert_eq!(bench.text("etc/one.conf"), None);
    for stray in ["README", "broken", "empty", "nowhere"] {
        bench.said("warnings", &[stray]).await;
    }
    let report = bench.report().await.unwrap();
    assert_eq!(report["faults"], json!([]), "a warning, no fault");
}

#[tokio::test]
async fn a_local_manifest_is_noticed_while_the_agent_runs() {
    let mut bench = Bench::new().await;
    bench.configure(json!({
        "localManifestDirs": [bench.path("image")],
        "pollInterval": 3_600_000, "fullPollInterval": 3_600_000,
    }));
    bench.plain("a", "etc/a.conf", "{{v}}\n");
    bench.metadata(json!({"v": 1}));
    let _agent = bench.start();
    bench.holds("etc/a.conf", "1\n").await;
    bench.said("warnings", &["image/sapi_manifests"]).await;
    // The folder does not even exist yet.
    local(&bench, "l", json!({"name": "l", "path": "/etc/l.conf"}), "{{v}}\n");
    eventually("a new local manifest", async || {
        (bench.text("etc/l.conf")? == "1\n").then_some(())
    })
    .await;
    let template = bench.path("image/sapi_manifests/l/template");
    bench.write(&template, "changed {{v}}\n");
    eventually("a changed template", async || {
        (bench.text("etc/l.conf")? == "changed 1\n").then_some(())
    })
    .await;
    bench.configure(json!({"localMetadata": {"v": 2}}));
    eventually("local metadata", async || {
        (bench.text("etc/a.conf")? == "2\n").then_some(())
    })
    .await;
    // A file half written by an editor costs nothing.
    bench.write(&bench.config_path(), "{");
    bench.write(&template, "again {{v}}\n");
    bench.holds("etc/l.conf", "again 2\n").await;
    bench.configure(json!({"localMetadata": {}}));
    bench.holds("etc/l.conf", "again 1\n").await;
}

#[tokio::test]
async fn a_file_changed_behind_our_back_is_put_back_and_counted() {
    let mut bench = Bench::new().await;
    bench.configure(json!({
        "pollInterval": 3_600_000, "fullPollInterval": 3_600_000,
    }));
    let log = bench.path("log");
    bench.manifest(Manifest {
        name: "a",
        path: "etc/deep/a.conf",
        template: "mine\n",
        post_cmd: Some(&format!("echo ran >>{}", log.display())),
    });
    let agent = bench.start();
    bench.holds("etc/deep/a.conf", "mine\n").await;
    bench.settle(&agent).await;
    let file = bench.file("etc/deep/a.conf");
    type Tamper<'a> = &'a dyn Fn();
    let other = bench.path("other");
    let ways: [(&str, Tamper<'_>); 5] = [
        ("written over", &|| fs::write(&file, "theirs\n").unwrap()),
        ("removed", &|| fs::remove_file(&file).unwrap()),
        ("renamed over", &|| {
            fs::write(&other, "theirs\n").unwrap();
            fs::rename(&other, &file).unwrap();
        }),
        ("folder removed", &|| {
            // Out of the way at once: in one taken apart the agent writes.
            let aside = bench.path("aside");
            fs::rename(file.parent().unwrap(), &aside).unwrap();
            fs::remove_dir_all(aside).unwrap();
        }),
        ("emptied", &|| fs::write(&file, "").unwrap()),
    ];
    for (number, (way, tamper)) in ways.into_iter().enumerate() {
        tamper();
        eventually(way, async || {
            (bench.text("etc/deep/a.conf")? == "mine\n").then_some(())
        })
        .await;
        // Its reader learns of it, too.
        eventually("the command ran again", async || {
            let ran = fs::read_to_string(&log).ok()?.lines().count();
            (ran >= number + 2).then_some(())
        })
        .await;
        eventually("it is counted", async || {
            let report = bench.report().await?;
            let counted = report["walk"]["repairs"].as_u64()?;
            (counted > number as u64).then_some(())
        })
        .await;
        // The next change is news only once the agent is calm again.
        bench.settle(&agent).await;
    }
    let report = bench.report().await.unwrap();
    assert_eq!(report["walk"]["last_repair"], "a");
    let (_, metrics) = bench.page("/metrics").await.unwrap();
    assert!(metrics.contains("config_agent_file_repairs_total 5"), "{metrics}");
    agent.logged("file was changed behind our back; put back").await;
}

/// Mode and owner of what is there stay; links are followed; keys are hidden.
#[tokio::test]
async fn modes_owners_and_links_are_kept() {
    let bench = Bench::new().await;
    bench.plain("old", "etc/old.conf", "{{v}}\n");
    bench.plain("link", "etc/link.conf", "{{v}}\n");
    bench.plain("new", "etc/new.conf", "{{v}}\n");
    bench.plain("key", "etc/key.pem", "-----BEGIN RSA PRIVATE KEY-----\n");
    bench.metadata(json!({"v": 1}));
    let old = bench.file("etc/old.conf");
    bench.write(&old, "old\n");
    fs::set_permissions(&old, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(&old, Some(65534), Some(65534)).unwrap();
    let real = bench.file("data/real.conf");
    bench.write(&real, "old\n");
    let link = bench.file("etc/link.conf");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let _agent = bench.start();
    for file in ["old.conf", "new.conf", "link.conf"] {
        bench.holds(&format!("etc/{file}"), "1\n").await;
    }
    eventually("the key's file", async || {
        bench.file("etc/key.pem").exists().then_some(())
    })
    .await;
    let mode = |below: &str| {
        fs::metadata(bench.file(below)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("etc/old.conf"), 0o640);
    assert_eq!(fs::metadata(&old).unwrap().uid(), 65534);
    assert_eq!(mode("etc/new.conf"), 0o644);
    assert_eq!(mode("etc/key.pem"), 0o600);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&real).unwrap(), "1\n");
}
