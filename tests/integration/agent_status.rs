// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the agent says of itself, and the verbs that need neither SAPI nor
//! root.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use localdc::agent_bench::{Bench, Ended, eventually};
use localdc::http::Fault;
use serde_json::{Value, json};

/// Ask at the zone's admin address: metrics, and health as a number. It comes
/// and goes with the NIC.
#[tokio::test]
async fn other_zones_see_metrics_and_health_and_nothing_else() {
    let mut bench = Bench::new().await;
    let admin = bench.other_address();
    bench.admin_address(&admin.to_string());
    bench.plain("a", "etc/a.conf", "{{#open}}");
    let agent = bench.start();
    let fault = bench.said("faults", &["a: "]).await;
    let at = |path: &str| format!("http://{admin}:9165{path}");
    let metrics = eventually("metrics at the admin address", async || {
        let (status, text) = bench.get(&at("/metrics")).await?;
        (status == 200).then_some(text)
    })
    .await;
    assert!(metrics.contains("config_agent_healthy 0"), "{metrics}");
    let here = bench.page("/healthz").await.unwrap();
    assert_eq!(here, (503, format!("{fault}\n")));
    let there = bench.get(&at("/healthz")).await.unwrap();
    assert_eq!(there, (503, "faults: 1\n".to_owned()), "no text of a fault");
    for path in ["/", "/status.json", "/nothing", "/metrics/", "//metrics"] {
        assert_eq!(bench.get(&at(path)).await.unwrap().0, 404, "{path}");
    }
    for (more, status) in [("-X POST -d x", "405"), ("-X TRACE", "405")] {
        let script = format!(
            "curl -s {more} -o /dev/null -w '%{{http_code}}' {}",
            at("/metrics")
        );
        assert_eq!(bench.shell(&script).await.stdout, status, "{more}");
    }
    // Who holds connections and says nothing keeps nobody out for long.
    let mut idle = Vec::new();
    for _ in 0..40 {
        idle.push(std::net::TcpStream::connect((admin, 9165)).unwrap());
    }
    eventually("an answer beside idle connections", async || {
        let (status, _) = bench.get(&at("/healthz")).await?;
        (status == 503).then_some(())
    })
    .await;
    drop(idle);
    agent.stop().await;

    // The operator may say where, or nowhere.
    bench.configure(json!({"metricsListen": []}));
    let _agent = bench.start();
    bench.said("faults", &["a: "]).await;
    assert_eq!(bench.get(&at("/metrics")).await, None);
}

async fn status(bench: &Bench, more: &[&str]) -> Ended {
    let config = bench.config_path().display().to_string();
    let mut args = vec!["status", "-f", &config];
    args.extend(more);
    bench.verb(&args).await
}

#[tokio::test]
async fn pages_verb_and_metrics_tell_the_same_story() {
    let bench = Bench::new().await;
    bench.plain("a", "etc/a.conf", "{{v}}\n");
    bench.metadata(json!({"v": 1}));
    let ended = status(&bench, &[]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("does it run?"), "{ended:?}");

    let agent = bench.start();
    bench.holds("etc/a.conf", "1\n").await;
    bench.settle(&agent).await;
    assert_eq!(bench.page("/healthz").await.unwrap(), (200, "ok\n".into()));
    let (code, page) = bench.page("/").await.unwrap();
    assert!(code == 200 && page.contains("healthy"), "{page}");
    assert!(page.contains("/etc/a.conf"), "{page}");
    assert_eq!(bench.page("/nothing").await.unwrap().0, 404);
    let ended = status(&bench, &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for word in ["healthy", "SAPI", "unchanged", "a.conf", "no role"] {
        assert!(ended.stdout.contains(word), "{word}: {}", ended.stdout);
    }
    assert!(!ended.stdout.contains('\x1b'), "colours in a pipe");
    let ended = status(&bench, &["--json"]).await;
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["healthy"], true);
    assert_eq!(report["agent"]["pid"], agent.pid());
    let revision = report["sapi"]["revision"].as_str().unwrap();
    assert_eq!(revision.len(), 64);

    // The same while something is at fault.
    bench.plain("b", "etc/b.conf", "{{#open}}");
    let fault = bench.said("faults", &["b: "]).await;
    let (code, text) = bench.page("/healthz").await.unwrap();
    assert_eq!((code, text), (503, format!("{fault}\n")));
    let ended = status(&bench, &[]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains("UNHEALTHY"), "{}", ended.stdout);
    assert!(ended.stdout.contains(&fault), "{}", ended.stdout);
    let (_, metrics) = bench.page("/metrics").await.unwrap();
    assert!(metrics.contains("config_agent_healthy 0"), "{metrics}");
    let line = "config_agent_file_in_force{file=\"b\"} 0";
    assert!(metrics.contains(line), "{metrics}");
    bench.sapi.front().set_fault(Fault::Close);
    bench.said("warnings", &["SAPI"]).await;
    let (_, metrics) = bench.page("/metrics").await.unwrap();
    assert!(!metrics.contains("consecutive_failures 0"), "{metrics}");
    let file = bench.path("metrics");
    bench.write(&file, &metrics);
    let ended = bench.shell("promtool check metrics <metrics").await;
    assert_eq!(ended.code, Some(0), "{ended:?}\n{metrics}");
    assert_eq!(ended.stderr, "");
    assert_eq!(agent.stop().await, Some(0));
}

/// Whoever puts the zone on another image sees by it whether its data is back.
#[tokio::test]
async fn data_has_an_id_that_is_made_once() {
    let bench = Bench::new().await;
    bench.plain("a", "etc/a.conf", "{{v}}\n");
    let id = async || {
        let agent = bench.start();
        bench.settle(&agent).await;
        let (_, report) = bench.page("/status.json").await.unwrap();
        let report: Value = serde_json::from_str(&report).unwrap();
        let (_, metrics) = bench.page("/metrics").await.unwrap();
        assert_eq!(agent.stop().await, Some(0));
        let id = report["zone"]["data_id"].as_str().unwrap_or_default();
        let known = u8::from(!id.is_empty());
        let line = format!("config_agent_data_info{{id=\"{id}\"}} {known}\n");
        assert!(metrics.contains(&line), "{line}: {metrics}");
        (id.to_owned(), report["warnings"].to_string())
    };
    let first = id().await;
    assert_eq!(first.0.len(), 32, "{first:?}");
    assert!(!first.1.contains("data"), "{first:?}");
    assert_eq!(id().await, first);
    // One that makes no sense is told, and nobody's to make anew.
    let path = bench.path("state/data-id");
    fs::write(&path, "0123").unwrap();
    let (none, told) = id().await;
    assert_eq!(none, "");
    assert!(told.contains("saw 4 bytes that are none"), "{told}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "0123");
    fs::remove_file(&path).unwrap();
    let (other, _) = id().await;
    assert!(other.len() == 32 && other != first.0, "{other}");
}

/// A bench that nobody else may look into, but read.
async fn open_bench() -> (Bench, String, String) {
    let bench = Bench::prometheus().await;
    let folder = bench.path("");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let (config, _) =
        bench.sapi.config(localdc::sapi::ids::PROMETHEUS0).unwrap();
    let metadata = bench.path("metadata.json");
    bench.write(&metadata, config.to_string());
    let program = localdc::agent_bench::program();
    // Somebody else can run it, wherever the build folder lies.
    fs::copy(program, bench.path("config-agent")).unwrap();
    let templates = bench.path("templates").display().to_string();
    (bench, metadata.display().to_string(), templates)
}

#[tokio::test]
async fn check_and_render_need_neither_sapi_nor_root() {
    let (bench, metadata, templates) = open_bench().await;
    bench.sapi.front().set_fault(Fault::Hang);
    let asked = bench.sapi.front().total();
    let nobody = bench.starter().user("nobody");
    let offline = ["--metadata", &metadata, "--templates", &templates];
    let check = [&["check"][..], &offline].concat();
    let ended = nobody.verb(&check).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for file in ["prometheus.yml", "rules/discovery.yml", "prometheus.flags"] {
        let line = ended.stdout.lines().find(|line| line.contains(file));
        assert!(line.is_some_and(|l| l.starts_with("ok")), "{ended:?}");
    }
    assert!(!bench.path("state").exists(), "check committed something");
    assert!(!bench.root().exists(), "check committed something");

    let out = bench.path("out");
    fs::create_dir(&out).unwrap();
    std::os::unix::fs::chown(&out, Some(65534), Some(65534)).unwrap();
    let out = out.display().to_string();
    let render = [&["render", "--out", &out][..], &offline].concat();
    let ended = nobody.verb(&render).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let file = format!("{out}/opt/triton/prometheus/etc/prometheus.yml");
    let text = fs::read_to_string(&file).unwrap();
    // Paths inside are those of a zone.
    assert!(text.contains("/data/prometheus/tls/cmon.crt"), "{text}");
    assert!(!text.contains(&out), "{text}");

    // Bad metadata, by a pipe.
    bench.write(
        &bench.path("bad.json"),
        r#"{"datacenter_name":"dc1","dns_domain":"t.test",
            "scrape_interval":"often","scrape_timeout":-1}"#,
    );
    let bad = bench.path("bad.json").display().to_string();
    let check =
        ["check", "--json", "--metadata", &bad, "--templates", &templates];
    let ended = nobody.verb(&check).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let verdicts: Value = serde_json::from_str(&ended.stdout).unwrap();
    let text = verdicts.to_string();
    // All problems at once.
    assert!(text.contains("scrape_interval") && text.contains("often"));
    assert!(text.contains("scrape_timeout"), "{text}");
    let ended = nobody.verb(&["check", "--metadata", "/nowhere"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("/nowhere"), "{ended:?}");
    assert_eq!(bench.sapi.front().total(), asked, "SAPI was asked");
    // Nobody else is nobody here.
    let scratch = fs::read_dir("/tmp").unwrap().flatten().find(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let uuid = name.strip_prefix("config-agent-").map(str::len);
        uuid == Some(36) && entry.metadata().is_ok_and(|m| m.uid() == 65534)
    });
    assert!(scratch.is_none(), "{scratch:?}");
}

#[tokio::test]
async fn certgen_issues_once_and_renews_for_another_key() {
    let bench = Bench::new().await;
    let keys =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/src/certgen/testdata/");
    let out = bench.path("tls").display().to_string();
    let certgen = async |key: &str, more: &[&str]| {
        let key = format!("{keys}{key}");
        let mut args = vec!["certgen", "--account-key", &key, "--out", &out];
        args.extend(["--login", "admin"]);
        args.extend(more);
        bench.verb(&args).await
    };
    let ended = certgen("rsa.openssh", &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // ed:2d:44:c9:cd:03:8a:3a:71:df:4f:34:02:10:1f:3b, as CMON spells it.
    let fingerprint = "MD5:7S1Eyc0Dijpx3080AhAfOw";
    assert!(ended.stdout.contains(fingerprint), "{ended:?}");
    assert!(ended.stdout.contains("issued"), "{ended:?}");
    let key = bench.path("tls/cmon.key");
    let mode = fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let pem = fs::read(bench.path("tls/cmon.crt")).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
    let certificate = pem.parse_x509().unwrap();
    assert_eq!(certificate.subject().to_string(), "CN=admin");

    let before = fs::read(&key).unwrap();
    // The same key in another container.
    let ended = certgen("rsa.pkcs8", &["--json"]).await;
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["changed"], false, "{report}");
    assert_eq!(fs::read(&key).unwrap(), before);
    let ended = certgen("p256.sec1", &["--json"]).await;
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["changed"], true, "{report}");
    for (refused, why) in [("enc.pkcs8", "encrypted"), ("README.md", "key")] {
        let ended = certgen(refused, &[]).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.to_lowercase().contains(why), "{ended:?}");
    }
}

#[tokio::test]
async fn every_verb_has_help() {
    let bench = Bench::new().await;
    let ended = bench.verb(&["--help"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for verb in ["run", "check", "render", "status", "certgen", "completion"] {
        assert!(ended.stdout.contains(verb), "{ended:?}");
        let ended = bench.verb(&[verb, "--help"]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("Usage:"), "{ended:?}");
    }
    assert_eq!(bench.verb(&[]).await.code, Some(64));
    let ended = bench.verb(&["completion", "bash"]).await;
    assert!(ended.stdout.contains("config-agent"), "{ended:?}");
    eventually("a version", async || {
        let ended = bench.verb(&["--version"]).await;
        ended.stdout.starts_with("config-agent 0.").then_some(())
    })
    .await;
}
