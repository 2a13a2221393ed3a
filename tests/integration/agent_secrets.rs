// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Nothing secret leaves the files it belongs in: not by logs at trace, the
//! status page, metrics, nor by the command lines of what the agent starts.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use localdc::agent_bench::{Bench, MARKERS, Manifest, eventually};
use localdc::http::Fault;
use serde_json::{Value, json};

/// Lines of the private key in metadata, which are secret as well.
fn key_lines(bench: &Bench) -> Vec<String> {
    let service = localdc::sapi::ids::PROMETHEUS0;
    let (config, _) = bench.sapi.config(service).unwrap();
    let pem = config["metadata"]["SDC_PRIVATE_KEY"].as_str().unwrap();
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    lines.map(str::to_owned).collect()
}

/// Arguments of every process that has `folder` in them.
fn command_lines(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(bytes) = fs::read(process.path().join("cmdline")) else {
            continue;
        };
        let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
        if text.contains(folder) {
            found.push(text);
        }
    }
    found
}

#[tokio::test]
async fn no_secret_is_ever_said() {
    let mut bench = Bench::prometheus().await;
    bench.configure(json!({"logLevel": "trace", "requestTimeout": 300}));
    bench.metadata(json!({
        "null": null,
        "their_store": {"secret_key": MARKERS[2]},
    }));
    let secret = "{{{ufds_ldap_root_pw}}} {{{their_store.secret_key}}}\n";
    bench.plain("secret", "etc/secret.conf", secret);
    bench.plain("key", "etc/key.pem", "{{{SDC_PRIVATE_KEY}}}");
    // Templates that fail beside a secret, and commands that talk.
    bench.plain("null", "etc/null.conf", &format!("{secret}{{{{null}}}}"));
    bench.plain("open", "etc/open.conf", &format!("{secret}{{{{#x}}}}"));
    let talk = bench.file("etc/talk.conf");
    let talk = format!("cat {0}; cat {0} >&2; exit 1", talk.display());
    bench.manifest(Manifest {
        name: "talk",
        path: "etc/talk.conf",
        template: secret,
        post_cmd: Some(&talk),
    });
    let bench = Arc::new(bench);
    let agent = bench.start();
    let folder = bench.path("").display().to_string();
    let watch = tokio::spawn(async move {
        let mut seen = Vec::new();
        loop {
            seen.extend(command_lines(&folder));
            tokio::time::sleep(Duration::from_millis(3)).await;
            if seen.len() > 50_000 {
                return seen;
            }
            if !std::path::Path::new(&folder).join("bin").exists() {
                return seen;
            }
            if std::path::Path::new(&folder).join("enough").exists() {
                return seen;
            }
        }
    });
    let mut said = String::new();
    let ldap = format!("{} {}\n", MARKERS[0], MARKERS[2]);
    bench.holds("etc/secret.conf", &ldap).await;
    bench.said("faults", &["etc/talk.conf"]).await;
    bench.said("faults", &["null"]).await;
    for fault in [Fault::Garbage, Fault::Hang, Fault::Status(500), Fault::Close]
    {
        bench.sapi.front().set_fault(fault);
        bench.said("warnings", &["SAPI"]).await;
        bench.sapi.front().clear_faults();
        bench.settle(&agent).await;
    }
    // Values of the wrong shape under secret keys, and a key that is none.
    let good = bench.sapi.config(localdc::sapi::ids::PROMETHEUS0).unwrap().0;
    bench.metadata(json!({
        "SDC_PRIVATE_KEY": MARKERS[1],
        "cmon_domain": {"password": MARKERS[2]},
    }));
    bench.said("faults", &["cmon_domain"]).await;
    said.push_str(&bench.page("/status.json").await.unwrap().1);
    bench.metadata(json!({"cmon_domain": "cmon.invalid"}));
    bench.said("faults", &["client certificate"]).await;
    said.push_str(&bench.page("/status.json").await.unwrap().1);
    bench.metadata(json!({
        "SDC_PRIVATE_KEY": good["metadata"]["SDC_PRIVATE_KEY"],
    }));
    // Drift, in a file with secrets.
    bench.write(&bench.file("etc/secret.conf"), "theirs\n");
    bench.holds("etc/secret.conf", &ldap).await;
    bench.settle(&agent).await;
    for page in ["/", "/status.json", "/metrics", "/healthz"] {
        said.push_str(&bench.page(page).await.unwrap().1);
    }
    let config = bench.config_path().display().to_string();
    for args in
        [&["status", "-f", &config][..], &["status", "--json", "-f", &config]]
    {
        let ended = bench.verb(args).await;
        said.push_str(&ended.stdout);
        said.push_str(&ended.stderr);
    }
    bench.write(&bench.path("enough"), "");
    let seen = watch.await.unwrap();
    assert!(seen.iter().any(|line| line.contains("promtool")), "{seen:?}");
    said.push_str(&seen.join("\n"));
    said.push_str(&agent.log());
    assert!(said.contains("\"level\":40"), "the log is among it");
    let mut secrets: Vec<String> = MARKERS.map(str::to_owned).to_vec();
    secrets.extend(key_lines(&bench));
    for secret in secrets {
        if let Some(at) = said.find(&secret) {
            let from = at.saturating_sub(300);
            panic!("{secret} was said: {}", said.get(from..at + 50).unwrap());
        }
    }
    private_files(&bench).await;
}

/// Files that hold keys, and all of the state, are for root alone.
async fn private_files(bench: &Bench) {
    let tls = "data/prometheus/tls/cmon.key";
    eventually("a client key", async || bench.text(tls).map(drop)).await;
    let mut private = vec![bench.file("etc/key.pem"), bench.file(tls)];
    let mut folders = vec![bench.path("state")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                private.push(entry.path());
            }
        }
    }
    for path in private {
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let mode = metadata.permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
    let report: Value = bench.report().await.unwrap();
    assert_eq!(report["certificate"]["login"], "admin");
}
