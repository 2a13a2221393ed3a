// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb status: what real agents and stand-ins say, and that nobody who is
//! silent, slow or talks nonsense hides the others.

use std::time::Instant;

use localdc::agent_bench::{Bench, eventually};
use localdc::http::Fault;
use localdc::loopback::own_address;
use localdc::sapi::Kind;
use localdc::triton::ids;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::site::{Site, Zone, agent_says, found};
use super::{LIMIT, command};

/// The agent is real: what it says of its faults is what monadm says of it.
#[tokio::test]
async fn a_real_agent_is_seen_well_ill_and_gone() {
    let site = Site::new().await;
    site.well(1).await;
    let mut bench = Bench::new().await;
    let admin = bench.other_address();
    bench.admin_address(&admin.to_string());
    bench.plain("a", "etc/a.conf", "{{v}}");
    bench.configure(json!({}));
    site.prometheus(0, admin);
    site.answers(admin, 9090, Zone::Text("ok".into())).await;
    let agent = bench.start();
    bench.settle(&agent).await;
    let at = format!("http://{admin}:9165/healthz");
    eventually("the agent at its admin address", async || {
        (bench.get(&at).await?.0 == 200).then_some(())
    })
    .await;

    let (code, said) = site.json(&["status"]).await;
    assert_eq!((code, found(&said)), (0, vec![]), "{said:#}");
    assert_eq!(said["verdict"], "well");
    let first = &said["picture"]["instances"][0];
    assert_eq!(first["alias"], "prometheus0");
    let seen = &first["agent"]["seen"];
    assert_eq!(seen["version"], env!("CARGO_PKG_VERSION"), "{first:#}");
    assert!(seen["revision_age_seconds"].is_u64(), "{first:#}");
    let (_, report) = bench.page("/status.json").await.unwrap();
    let own: Value = serde_json::from_str(&report).unwrap();
    for key in ["revision", "shared_revision"] {
        assert_eq!(seen[key], own["sapi"][key], "{key}");
        assert_eq!(seen[key].as_str().unwrap().len(), 64, "{first:#}");
    }
    assert_eq!(first["zone"]["seen"]["hostname"], "headnode");
    assert_eq!(first["zone"]["seen"]["image"]["seen"]["name"], "core");
    // The same clock, whatever the load of this machine.
    let ahead = seen["clock_ahead_seconds"].as_i64().unwrap();
    assert!(ahead.abs() <= 2, "{ahead}");

    let ended = site.run(&["status"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let shared = seen["shared_revision"].as_str().unwrap();
    for words in [
        "dc1.triton.test",
        "prometheus0  running  headnode",
        &format!("  {}  ", &shared[..7]),
        "well",
    ] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
    assert!(!ended.stdout.contains('\x1b'), "colours in a pipe");

    bench.plain("b", "etc/b.conf", "{{#open}}");
    bench.said("faults", &["b: "]).await;
    let ended = site.run(&["status"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for words in ["is not as SAPI wants it", "b is not in force"] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
    agent.stop().await;
    let (code, said) = site.json(&["status"]).await;
    let says = "wrong prometheus0: its config-agent does not answer";
    assert_eq!((code, found(&said)), (1, vec![says.into()]), "{said:#}");
}

#[tokio::test]
async fn a_pair_with_different_configurations_is_told() {
    let site = Site::new().await;
    for n in 0..2 {
        let shared = n.to_string().repeat(64);
        let text = agent_says(&format!(
            "config_agent_revision_info{{revision=\"x\",shared=\"{shared}\"}} 1\n"
        ));
        let address = own_address();
        site.prometheus(n, address);
        site.answers(address, 9165, Zone::Text(text)).await;
        site.answers(address, 9090, Zone::Text("ok".into())).await;
    }
    let (code, said) = site.json(&["status"]).await;
    let says = "note prometheus: their configurations differ; right where \
                SAPI has metadata of an instance's own";
    assert_eq!((code, found(&said)), (0, vec![says.into()]), "{said:#}");
    let ended = site.run(&["status"]).await;
    let line = "prometheus1: shared revision 111111111111, for 120 min";
    assert!(ended.stdout.contains(line), "{}", ended.stdout);
}

/// One zone of two, ill in each way, on each of its ports.
#[tokio::test]
async fn no_zone_hides_another_or_takes_more_than_its_time() {
    let ills = [
        (Zone::Hang, "timed out"),
        (Zone::Trickle, "timed out"),
        (Zone::Garbage, "no answer"),
        (Zone::Huge, "answered more than"),
        (Zone::Status(500), "answered 500"),
        (Zone::Text("<html>It works!</html>".into()), "wanted a metric's name"),
        (Zone::Text("some_metric 1\n".into()), "saw no config_agent_healthy"),
        (Zone::Text(String::new()), "saw no config_agent_healthy"),
    ];
    let site = Site::new().await;
    site.well(0).await;
    for (n, (zone, _)) in ills.iter().enumerate() {
        let address = own_address();
        site.prometheus(n + 1, address);
        site.answers(address, 9165, zone.clone()).await;
        site.answers(address, 9090, zone.clone()).await;
    }
    let began = Instant::now();
    let (code, said) = site.json(&["status"]).await;
    // Two seconds a question, and all zones at once. The machine is busy.
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    assert_eq!(code, 1, "{said:#}");
    let all = said["picture"]["instances"].as_array().unwrap();
    let of = |n: usize| {
        let alias = format!("prometheus{n}");
        all.iter().find(|one| one["alias"] == *alias).unwrap()
    };
    assert_eq!(of(0)["agent"]["seen"]["role"], "prometheus", "{said:#}");
    assert_eq!(of(0)["health"]["seen"], Value::Null);
    for (n, (_, why)) in ills.iter().enumerate() {
        let failed = of(n + 1)["agent"]["failed"].as_str().unwrap_or_default();
        assert!(failed.contains(why), "{why}: {:#}", of(n + 1));
    }
    let found = found(&said);
    let silent = found.iter().filter(|one| one.contains("does not answer"));
    // All agents; and all servers but the three that are taken to be well.
    assert_eq!(silent.count(), ills.len() + ills.len() - 3, "{found:#?}");
}

#[tokio::test]
async fn no_api_hides_what_the_others_know() {
    for (api, says) in [
        (
            "VMAPI",
            "unseen zone (VMAPI): of prometheus0 and 1 more not looked at",
        ),
        (
            "IMGAPI",
            "unseen image (IMGAPI): of prometheus0 and 1 more not looked at",
        ),
        ("CNAPI", "unseen servers (CNAPI): not looked at"),
    ] {
        let site = Site::new().await;
        site.well(0).await;
        site.well(1).await;
        for fault in [
            Fault::Hang,
            Fault::HangBody,
            Fault::Garbage,
            Fault::Close,
            Fault::Status(500),
            Fault::Refusal(404, None),
        ] {
            site.ill(api, fault.clone());
            let (code, said) = site.json(&["status"]).await;
            let found = found(&said);
            assert_eq!(code, 2, "{api} {fault:?}: {found:#?}");
            assert!(found.contains(&says.into()), "{fault:?}: {found:#?}");
            for one in said["picture"]["instances"].as_array().unwrap() {
                let up = &one["agent"]["seen"]["daemons"]["prometheus"];
                assert_eq!(up, true, "{api} {fault:?}: {one:#}");
            }
        }
    }
    // Without SAPI there is nothing to look at.
    let site = Site::new().await;
    site.ill("SAPI", Fault::Hang);
    let ended = site.run(&["status", "--timeout", "1"]).await;
    assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{ended:?}");
    assert!(ended.stderr.contains("could not ask SAPI for sdc"), "{ended:?}");
}

#[tokio::test]
async fn what_fails_once_is_asked_again() {
    for (fault, zone) in
        [(Fault::Status(503), Zone::Status(503)), (Fault::Close, Zone::Close)]
    {
        let site = Site::new().await;
        let address = own_address();
        site.prometheus(0, address);
        for (port, says) in [(9165, agent_says("")), (9090, "ok".into())] {
            let both = [zone.clone(), Zone::Text(says)];
            site.answers(address, port, Zone::First(Box::new(both))).await;
        }
        let gate = site.triton.datacenter.gate();
        gate.stumble(fault.clone());
        let (code, said) = site.json(&["status"]).await;
        let found = found(&said);
        assert_eq!(code, 0, "{fault:?}: {found:#?}");
        assert!(found.iter().all(|one| one.starts_with("note")), "{found:#?}");
        assert!(gate.stumbled() > 10, "{}", gate.stumbled());
    }
}

#[tokio::test]
async fn the_copies_of_names_are_compared_with_those_of_cns() {
    let site = Site::new().await;
    let zone = "dc1.cns.triton.test";
    let serial = site.cns.serial(zone).unwrap();
    let says = |serial: u32, age: u32| {
        agent_says(&format!(
            "config_agent_zone_records{{zone=\"{zone}\"}} 9\n\
             config_agent_zone_serial{{zone=\"{zone}\"}} {serial}\n\
             config_agent_zone_age_seconds{{zone=\"{zone}\"}} {age}\n"
        ))
    };
    for (n, text) in
        [says(serial, 10), says(serial - 6, 10), says(serial - 6, 200)]
            .into_iter()
            .enumerate()
    {
        let address = own_address();
        site.prometheus(n, address);
        site.answers(address, 9165, Zone::Text(text)).await;
        site.answers(address, 9090, Zone::Text("ok".into())).await;
    }
    let (code, said) = site.json(&["status"]).await;
    let old = format!("wrong prometheus2: its copy of {zone} is old");
    assert_eq!((code, found(&said)), (1, vec![old]), "{said:#}");
    let ended = site.run(&["status"]).await;
    let line = format!("{zone}  {serial}  1 of 3 current");
    assert!(ended.stdout.contains(&line), "{}", ended.stdout);
    // CNS that hangs is said, and the rest seen.
    let hangs = Site::new().await;
    hangs.well(0).await;
    hangs.zone(
        "c0000000-0000-4000-8000-000000000001",
        "cns1",
        ids::HEADNODE,
        {
            let address = own_address();
            hangs.answers(address, 80, Zone::Hang).await;
            address
        },
    );
    let instance = json!({"uuid": "c0000000-0000-4000-8000-000000000001",
        "service_uuid": ids::CNS, "params": {"alias": "cns1"}});
    hangs.triton.sapi.handle.put(Kind::Instance, instance);
    let (code, said) = hangs.json(&["status"]).await;
    assert_eq!(code, 1);
    let says = "wrong cns1: CNS does not say which zones it serves";
    assert!(found(&said).contains(&says.into()), "{said:#}");
    let mut cns = said["picture"]["cns"].as_array().unwrap().iter();
    assert!(cns.any(|one| one["zones"]["seen"][zone].is_u64()), "{said:#}");
}

#[tokio::test]
async fn who_watches_sees_each_change_and_may_leave() {
    let site = Site::new().await;
    site.well(0).await;
    let sapi = site.triton.sapi.url();
    let words = ["status", "--watch", "1", "--json"];
    let mut child = command(&sapi, &words).spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    let mut lines = BufReader::new(stdout).lines();
    let mut next = async || {
        let line = tokio::time::timeout(LIMIT, lines.next_line()).await;
        let line = line.unwrap().unwrap().expect("it goes on");
        serde_json::from_str::<Value>(&line).unwrap()
    };
    assert_eq!(next().await["verdict"], "well");
    site.prometheus(1, own_address());
    while next().await["verdict"] != "wrong" {}
    // The reader goes, and so does it.
    drop(lines);
    let ended = tokio::time::timeout(LIMIT, child.wait()).await;
    assert_eq!(ended.unwrap().unwrap().code(), Some(1));
    for words in [["--watch", "0"], ["--timeout", "0"], ["--account", "x"]] {
        let ended = site.run(&[&["status"][..], &words].concat()).await;
        assert_eq!(ended.code, Some(64), "{words:?}: {ended:?}");
    }
}
