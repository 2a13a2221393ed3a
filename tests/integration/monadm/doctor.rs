// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb doctor: what monitoring depends on, spoilt a piece at a time.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::net::Ipv4Addr;
use std::process::Stdio;

use localdc::agent_bench::eventually;
use localdc::binder::Binder;
use localdc::http::Fault;
use localdc::loopback::own_address;
use localdc::sapi::Kind;
use localdc::triton::ids;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UdpSocket};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::site::{Site, Zone, agent_says, found};

const BINDER: &str = "b1000000-0000-4000-8000-000000000001";
const BINDER0: &str = "b1000000-0000-4000-8000-000000000002";

async fn binder(site: &Site) -> Binder {
    let address = own_address();
    let service = json!({"uuid": BINDER, "name": "binder", "type": "vm",
        "application_uuid": ids::SDC});
    site.triton.sapi.handle.put(Kind::Service, service);
    let instance = json!({"uuid": BINDER0, "service_uuid": BINDER});
    site.triton.sapi.handle.put(Kind::Instance, instance);
    site.zone(BINDER0, "binder0", ids::HEADNODE, address);
    let binder = Binder::new("triton.test");
    let udp = UdpSocket::bind((address, 53)).await.unwrap();
    let tcp = TcpListener::bind((address, 53)).await.unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(binder.clone().serve(udp, tcp, stop));
    binder
}

fn has(said: &Value, line: &str) -> bool {
    found(said).iter().any(|one| one.contains(line))
}

fn finding<'a>(said: &'a Value, says: &str) -> &'a Value {
    let mut all = said["findings"].as_array().unwrap().iter();
    all.find(|one| one["says"].as_str().unwrap().contains(says))
        .unwrap_or_else(|| panic!("{says}: {said:#}"))
}

#[tokio::test]
async fn what_names_depend_on_is_looked_at_piece_by_piece() {
    let site = Site::new().await;
    let binder = binder(&site).await;
    let (first, second) = (site.well(0).await, site.well(1).await);
    let name = "prometheus.dc1.triton.test";
    // CNS lets the first transfer, binder has the second.
    let allow = |ip: Ipv4Addr| ip.to_string().parse().unwrap();
    site.cns.reconfigure(|config| config.allow_transfer = vec![allow(first)]);
    binder.set(name, vec![second]);
    let (code, said) = site.json(&["doctor"]).await;
    assert_eq!(code, 1, "{said:#}");
    for line in [
        "wrong prometheus1: cns0 does not let it transfer names",
        "well cns0: lets transfer names: prometheus0",
        "wrong prometheus0: is not found under prometheus.dc1.triton.test",
        "well Triton's APIs: ",
        "well firewall: lets the admin network in",
        "wrong CMON: does not answer",
        "note prometheus0: its quota of 25 GiB is small",
    ] {
        assert!(has(&said, line), "{line}: {:#?}", found(&said));
    }
    let refused = finding(&said, "does not let it transfer");
    let evidence = refused["evidence"].to_string();
    assert!(evidence.contains(&format!("lacks {second}")), "{refused:#}");
    assert!(evidence.contains("in SAPI lacks it"), "{refused:#}");
    assert_eq!(refused["mend"], "monadm post-setup prometheus");
    let lost = finding(&said, "is not found under").to_string();
    assert!(lost.contains(&format!("{second}, and not {first}")), "{lost}");

    // SAPI has been told, and CNS not yet; or told nonsense.
    for (list, says) in [
        (json!([first.to_string(), format!("{second}/32")]), "SAPI has it"),
        (json!(["127.0.0.0/8"]), "SAPI has it"),
        (json!(["127.0.0.0/64", "x"]), "in SAPI lacks it"),
        (json!({"all": true}), "what SAPI has is not known: "),
    ] {
        site.triton.sapi.handle.edit_metadata(Kind::Service, ids::CNS, |all| {
            all.insert("allow_transfer".into(), list.clone());
        });
        let (_, said) = site.json(&["doctor"]).await;
        let refused = finding(&said, "does not let it transfer");
        assert!(refused.to_string().contains(says), "{list}: {refused:#}");
    }

    // All mended.
    let all = vec![allow(first), allow(second)];
    site.cns.reconfigure(|config| config.allow_transfer = all);
    binder.set(name, vec![first, second]);
    let (_, said) = site.json(&["doctor"]).await;
    assert!(has(&said, "lets transfer names: prometheus0, prometheus1"));
    assert!(has(&said, "leads to all 2 instances"), "{:#?}", found(&said));
    assert!(!has(&said, "transfer names: prometheus0\n"));
    // The screen has grounds and command beside each.
    let ended = site.run(&["doctor", "--timeout", "2"]).await;
    assert_eq!(ended.code, Some(1));
    for words in [
        "WRONG",
        "CMON: does not answer",
        "    # sdc-login cmon",
        "WELL",
        "NEVER LOOKED AT FROM HERE",
    ] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_said_and_hides_nothing() {
    let site = Site::new().await;
    site.well(0).await;
    for (api, lines) in [
        (
            "FWAPI",
            [
                "wrong FWAPI: is not well",
                "unseen firewall (FWAPI): not looked at",
            ],
        ),
        ("NAPI", ["wrong NAPI: is not well", "well firewall: "]),
        ("VMAPI", ["wrong VMAPI: is not well", "unseen zone (VMAPI)"]),
    ] {
        for fault in [Fault::Hang, Fault::Close] {
            site.ill(api, fault.clone());
            let (code, said) = site.json(&["doctor"]).await;
            assert_eq!(code, 1, "{api} {fault:?}");
            for line in lines {
                let all = found(&said);
                assert!(has(&said, line), "{api} {fault:?} {line}: {all:#?}");
            }
            let up = &said["picture"]["instances"][0]["agent"]["seen"];
            assert!(up.is_object(), "{api} {fault:?}");
        }
        site.ill(api, Fault::Status(503));
        let (_, said) = site.json(&["doctor"]).await;
        assert!(has(&said, lines[0]), "{api}: {:#?}", found(&said));
        let front = match api {
            "FWAPI" => site.triton.fwapi.handle.front(),
            "NAPI" => site.triton.napi.handle.front(),
            _ => site.triton.vmapi.handle.front(),
        };
        front.clear_faults();
    }
    let ended = site.run(&["doctor", "--sapi", "http://127.0.0.1:1"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
}

/// A clock an hour off, and a silent zone that no rule of the firewall lets
/// be asked.
#[tokio::test]
async fn clocks_and_the_firewall_are_blamed_for_what_they_do() {
    let site = Site::new().await;
    let address = own_address();
    site.prometheus(0, address);
    let past = "Sun, 06 Nov 1994 08:49:37 GMT";
    site.answers(address, 9165, Zone::At(past, agent_says(""))).await;
    site.answers(address, 9090, Zone::Text("ok".into())).await;
    site.prometheus(1, own_address());
    site.triton.datacenter.stock().rules.clear();
    let (code, said) = site.json(&["doctor"]).await;
    assert_eq!(code, 1);
    let clock = finding(&said, "behind the headnode's");
    assert_eq!(clock["about"], "prometheus0");
    assert!(clock.to_string().contains("ntpq -p"), "{clock:#}");
    let closed = finding(&said, "no firewall rule lets the admin network in");
    assert_eq!(closed["about"], "prometheus1", "{closed:#}");
}

#[expect(clippy::disallowed_methods, reason = "a real Prometheus")]
fn prometheus(folder: &std::path::Path, ip: Ipv4Addr, labels: &str) -> Child {
    let config = folder.join(format!("{ip}.yml"));
    let text = format!("global:\n  external_labels: {labels}\n");
    std::fs::write(&config, text).unwrap();
    Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join(ip.to_string()).display()
        ))
        .arg(format!("--web.listen-address={ip}:9090"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Real ones, so that what is read is what they write.
#[tokio::test]
async fn the_labels_of_a_pair_are_compared() {
    let site = Site::new().await;
    let folder = tempfile::tempdir().unwrap();
    let run = async |n: usize, labels: &str| {
        let ip = own_address();
        site.prometheus(n, ip);
        site.answers(ip, 9165, Zone::Text(agent_says(""))).await;
        let child = prometheus(folder.path(), ip, labels);
        eventually("a Prometheus", async || {
            tokio::net::TcpStream::connect((ip, 9090)).await.ok()
        })
        .await;
        child
    };
    let _first = run(0, "{datacenter: dc1, replica: a}").await;
    let _second = run(1, "{datacenter: dc1, replica: b}").await;
    let healthy = async |words: &str| {
        eventually(words, async || {
            let (_, said) = site.json(&["doctor"]).await;
            // It may still be reading its log.
            let up = !has(&said, "does not answer that it is well");
            (up && has(&said, words)).then_some(said)
        })
        .await
    };
    healthy(
        "well prometheus: prometheus0 and 1 more differ in label replica alone",
    )
    .await;
    let _third = run(2, "{datacenter: dc2, replica: b}").await;
    let said = healthy("differ in more than label replica").await;
    assert!(has(&said, "do not differ in label replica"), "{said:#}");
    let one = finding(&said, "differ in more than");
    let line = "external labels of prometheus2: datacenter=dc2 replica=b";
    assert!(one["evidence"].to_string().contains(line), "{one:#}");
}
