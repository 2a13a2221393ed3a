// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The agent and a SAPI that misbehaves: faults of every kind, ETags that
//! hide changes, and the configuration kept for the time without SAPI.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use localdc::agent_bench::{Bench, eventually};
use localdc::http::Fault;
use localdc::sapi::{Kind, ids};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A bench with one file, `v` of the metadata.
async fn bench(config: Value) -> Bench {
    let mut bench = Bench::new().await;
    bench.configure(config);
    bench.plain("a", "etc/a.conf", "{{{v}}}\n");
    bench.metadata(json!({"v": 1}));
    bench
}

#[tokio::test]
async fn requests_are_conditional_polite_and_tell_who_asks() {
    let bench = bench(json!({})).await;
    let _agent = bench.start();
    bench.holds("etc/a.conf", "1\n").await;
    bench.polls(3).await;
    let requests = bench.sapi.front().requests();
    let (_, etag) = bench.sapi.config(ids::PROMETHEUS0).unwrap();
    for (number, request) in requests.iter().take(3).enumerate() {
        let path = format!("/configs/{}", ids::PROMETHEUS0);
        assert_eq!((request.method.as_str(), &request.path), ("GET", &path));
        assert_eq!(request.header("accept-version"), Some("~2"));
        assert_eq!(request.header("accept"), Some("application/json"));
        let user_agent = request.header("user-agent").unwrap();
        assert!(user_agent.starts_with("triton-monitoring/"), "{user_agent}");
        let id = request.header("x-request-id").unwrap();
        assert!(uuid::Uuid::parse_str(id).is_ok(), "{id}");
        // Verbatim: no quotes, as it came.
        let condition = request.header("if-none-match");
        if number == 0 {
            assert_eq!((condition, request.status), (None, Some(200)));
        } else {
            assert_eq!(condition, Some(etag.as_str()));
            assert_eq!(request.status, Some(304));
        }
    }
    assert_ne!(
        requests[0].header("x-request-id"),
        requests[1].header("x-request-id")
    );
}

#[tokio::test]
async fn a_change_that_keeps_the_etag_is_applied_within_the_full_interval() {
    let bench = bench(json!({"fullPollInterval": 6_000})).await;
    bench.plain("b", "etc/b.conf", "{{#l}}{{.}} {{/l}}\n");
    bench.plain("c", "etc/c.conf", "{{{o}}}\n");
    bench.metadata(json!({"l": ["x", "y"], "o": {"k": 1}}));
    let _agent = bench.start();
    bench.holds("etc/c.conf", "{\"k\":1}\n").await;
    let etag = |bench: &Bench| bench.sapi.config(ids::PROMETHEUS0).unwrap().1;
    let before = etag(&bench);
    bench.polls(2).await;
    bench.metadata(json!({"l": ["y", "x"], "o": {"k": "1"}}));
    assert_eq!(etag(&bench), before, "the stand-in has SAPI's blind spot");
    bench.polls(1).await;
    bench.holds("etc/b.conf", "y x \n").await;
    bench.holds("etc/c.conf", "{\"k\":\"1\"}\n").await;
    let report = bench.report().await.unwrap();
    assert_eq!(report["sapi"]["missed_by_etag"], 1);
    let not_modified = report["sapi"]["not_modified"].as_u64().unwrap();
    assert!(not_modified >= 2, "most polls stay cheap: {not_modified}");
}

#[tokio::test]
async fn a_connection_closed_between_polls_costs_no_poll() {
    let bench = bench(json!({})).await;
    let agent = bench.start();
    bench.holds("etc/a.conf", "1\n").await;
    bench.sapi.front().set_fault(Fault::Last);
    bench.polls(5).await;
    bench.sapi.front().clear_faults();
    bench.polls(5).await;
    assert!(!agent.log().contains("SAPI poll failed"));
}

#[tokio::test]
async fn whatever_sapi_does_polling_goes_on_and_files_stay() {
    let bench = bench(json!({"requestTimeout": 300})).await;
    let agent = bench.start();
    bench.holds("etc/a.conf", "1\n").await;
    for (number, fault, said) in [
        (2, Fault::Hang, "no answer from"),
        (3, Fault::HangBody, "no answer from"),
        (4, Fault::Trickle(Duration::from_millis(50)), "no answer from"),
        (5, Fault::Close, "no answer from"),
        (6, Fault::Garbage, "cannot be read"),
        (7, Fault::Status(500), "answered 500"),
        (8, Fault::Status(404), "answered 404"),
        (9, Fault::Status(503), "answered 503"),
        (10, Fault::Status(302), "answered 302"),
    ] {
        bench.metadata(json!({"v": number}));
        bench.sapi.front().set_fault(fault.clone());
        let line = bench.said("warnings", &["SAPI: ", said]).await;
        assert!(line.contains("the last good one is in force"), "{line}");
        bench.polls(2).await;
        assert_eq!(bench.page("/healthz").await.unwrap().0, 200);
        assert_eq!(
            bench.text("etc/a.conf").unwrap(),
            format!("{}\n", number - 1),
            "{fault:?}"
        );
        bench.sapi.front().clear_faults();
        bench.holds("etc/a.conf", &format!("{number}\n")).await;
    }
    assert!(agent.log().contains("SAPI answers again"));
}

#[tokio::test]
async fn a_huge_body_is_refused_before_it_fills_the_memory() {
    let bench = bench(json!({})).await;
    let agent = bench.start();
    bench.holds("etc/a.conf", "1\n").await;
    bench.sapi.front().set_fault(Fault::HugeBody(1 << 30));
    bench.said("warnings", &["more than 67108864 bytes"]).await;
    let status = format!("/proc/{}/status", agent.pid());
    let status = fs::read_to_string(status).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    let peak = peak.unwrap().split_whitespace().nth(1).unwrap();
    assert!(peak.parse::<u64>().unwrap() < 300_000, "{peak} kB at the peak");
    bench.sapi.front().clear_faults();
    bench.metadata(json!({"v": 2}));
    bench.holds("etc/a.conf", "2\n").await;
}

/// A manifest that is gone makes SAPI answer 500 to the whole config.
#[tokio::test]
async fn a_dangling_manifest_is_named_and_costs_nothing_in_force() {
    let bench = bench(json!({})).await;
    let _agent = bench.start();
    bench.holds("etc/a.conf", "1\n").await;
    let mut service = bench.sapi.get(Kind::Service, ids::PROMETHEUS).unwrap();
    let gone = "d0000000-0000-4000-8000-00000000dead";
    service["manifests"]["gone"] = json!(gone);
    bench.sapi.put(Kind::Service, Value::Object(service));
    bench.said("warnings", &["answered 500", gone]).await;
    assert_eq!(bench.text("etc/a.conf").as_deref(), Some("1\n"));
}

#[tokio::test]
async fn without_sapi_a_start_uses_the_kept_configuration() {
    let bench = bench(json!({})).await;
    let agent = bench.start();
    bench.holds("etc/a.conf", "1\n").await;
    let kept = bench.path("state/config.json");
    let mode = fs::metadata(&kept).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    agent.kill().await;

    // A reprovisioned zone: files are gone, the data folder is not.
    fs::remove_dir_all(bench.file("etc")).unwrap();
    bench.sapi.front().set_fault(Fault::Close);
    let agent = bench.start();
    bench.holds("etc/a.conf", "1\n").await;
    let report = bench.report().await.unwrap();
    assert_eq!(report["sapi"]["origin"], "disk");
    bench.said("warnings", &["SAPI: no answer"]).await;
    bench.sapi.front().clear_faults();
    eventually("SAPI's own configuration", async || {
        (bench.report().await?["sapi"]["origin"] == "sapi").then_some(())
    })
    .await;

    // Someone edits the kept copy, or removes it: it is put back.
    let body = fs::read(&kept).unwrap();
    for damage in [
        (|path| fs::write(path, "{}").unwrap()) as fn(&std::path::Path),
        |path| fs::remove_file(path).unwrap(),
    ] {
        damage(&kept);
        eventually("the kept copy is back", async || {
            (fs::read(&kept).ok()? == body).then_some(())
        })
        .await;
    }
    agent.logged("kept configuration was changed").await;
    let mode = fs::metadata(&kept).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    agent.kill().await;

    // A damaged copy is as good as none, and no reason to fall over.
    bench.write(&kept, "{\"metadata\":");
    bench.sapi.front().set_fault(Fault::Hang);
    let agent = bench.start();
    bench.said("faults", &["no configuration yet"]).await;
    assert_eq!(bench.page("/healthz").await.unwrap().0, 503);
    agent.logged("kept configuration is damaged").await;
    bench.sapi.front().clear_faults();
    agent.signal(nix::sys::signal::Signal::SIGHUP);
    drop(agent);
}

#[tokio::test]
async fn a_first_start_waits_for_sapi_without_giving_up() {
    let bench = bench(json!({"requestTimeout": 300})).await;
    bench.sapi.front().set_fault(Fault::Hang);
    let agent = bench.start();
    bench.said("faults", &["no configuration yet", "no answer from"]).await;
    bench.polls(2).await;
    bench.sapi.front().clear_faults();
    bench.holds("etc/a.conf", "1\n").await;
    assert_eq!(agent.stop().await, Some(0));
}

/// triton issues 218 and 254: a wildcard name leads to a foreign web server.
#[tokio::test]
async fn a_foreign_web_server_is_unmasked() {
    let mut bench = bench(json!({})).await;
    let page = || async {
        (StatusCode::OK, [("server", "wildcard/1.2")], "<html>Welcome</html>")
    };
    let missing = || async {
        (StatusCode::NOT_FOUND, [("server", "wildcard/1.2")], "<html>")
    };
    for (router, words) in [
        (Router::new().fallback(missing), "answered 404"),
        (Router::new().fallback(page), "cannot be read"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server =
            tokio::spawn(async { axum::serve(listener, router).await });
        bench.configure(json!({"sapi": {"url": url}}));
        let agent = bench.start();
        let line = bench.said("faults", &["no configuration yet", words]).await;
        assert!(line.contains("wildcard/1.2"), "{line}");
        assert!(line.contains(&url), "{line}");
        assert_eq!(agent.stop().await, Some(0));
        server.abort();
    }
}
