// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verbs drain and rebalance, and what they are told: strategies, caps, pins,
//! retired pairs, another writer.

use std::fs::File;
use std::process::Stdio;

use localdc::datacenter::Fate;
use localdc::http::{Fault, When};
use localdc::sapi::Kind;
use localdc::triton::ids;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::super::{LIMIT, command, killed_at, program};
use super::site::{Site, loads, text, uuid};

/// Two pairs whose zones are dealt out.
async fn dealt() -> Site {
    let site = Site::new().await;
    let ended = site.apply(&[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    site
}

#[tokio::test]
async fn a_drained_shard_stays_empty_once_its_pair_is_retired() {
    let site = dealt().await;
    site.pair(2);
    let grown = site.write(&["rebalance"], &["--yes"]).await;
    assert_eq!(grown.code, Some(0), "{grown:?}");
    assert_eq!(site.loads(), loads(&[16, 16, 16]));
    let before = site.tags();
    let unasked = site.write(&["drain"], &["shard-2"]).await;
    assert!(unasked.stderr.contains("16 zones change shard"), "{unasked:?}");
    let drained = site.write(&["drain"], &["shard-2", "--yes"]).await;
    assert_eq!(drained.code, Some(0), "{drained:?}");
    assert_eq!(site.loads(), loads(&[24, 24]));
    let stayed = before.iter().filter(|(_, tag)| *tag != "shard-2");
    let tags = site.tags();
    assert!(stayed.clone().all(|(uuid, tag)| tags[uuid] == *tag));

    for number in [4, 5] {
        site.metadata(number, "prometheus_retired", json!(true));
        // One of a pair goes on for both.
        let plan = site.plan(&[]).await;
        let moves = plan["moves"].as_array().unwrap().len();
        assert_eq!(moves, if number == 4 { 16 } else { 0 }, "{plan}");
    }
    let plan = site.plan(&[]).await;
    assert_eq!(plan["shards"][2]["state"], "retired", "{plan}");
    // What somebody put there is scraped by nobody: it moves unasked.
    let strayed = uuid(0xb0, 3);
    site.set_tag(&strayed, "shard-2");
    let placed = site.apply(&["--extent", "assign"]).await;
    assert_eq!(placed.code, Some(0), "{placed:?}");
    assert_eq!(site.loads(), loads(&[24, 24]));
    // Of the two that work, each looks after the other.
    for number in 0..4 {
        let tag = site.tag(&uuid(0xd0, number)).unwrap();
        assert_eq!(tag, format!("shard-{}", 1 - number / 2));
    }
}

/// A pair that is down, or whose servers CNAPI has lost sight of, may be back
/// in a minute: its series are not cut for that.
#[tokio::test]
async fn a_pair_that_is_down_keeps_its_zones_and_gets_no_more() {
    let site = dealt().await;
    for state in ["stopped", "unknown"] {
        for number in [2, 3] {
            site.change(&uuid(0xd0, number), |vm| vm.state = state.into());
        }
        let new = site.make(if state == "stopped" { 90 } else { 91 });
        let before = site.tags();
        let ended = site.write(&["rebalance"], &["--yes"]).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let said = "takes nothing new and keeps what it has";
        assert!(ended.flat().contains(said), "{ended:?}");
        let after = site.tags();
        assert!(before.iter().all(|(uuid, tag)| after[uuid] == *tag));
        assert_eq!(after[&new], "shard-0");
        let plan = site.plan(&[]).await;
        assert_eq!(plan["shards"][1]["state"], "down", "{plan}");
    }
    let drained = site.write(&["drain"], &["shard-1", "--yes"]).await;
    assert!(!site.tags().values().any(|tag| tag == "shard-1"), "{drained:?}");
}

/// The members of the last shard have nobody else to look after them.
#[tokio::test]
async fn the_last_shard_takes_its_own_pair_too() {
    let site = dealt().await;
    let drained = site.write(&["drain"], &["shard-1", "--yes"]).await;
    assert_eq!(drained.code, Some(0), "{drained:?}");
    assert_eq!(site.loads(), loads(&[46]));
    let all = site.write(&["drain"], &["shard-0", "shard-1"]).await;
    assert_eq!(all.code, Some(1), "{all:?}");
    assert!(all.stdout.contains("saw none but 2 draining"), "{all:?}");
    assert_eq!(site.loads(), loads(&[46]));
}

#[tokio::test]
async fn what_is_asked_for_is_obeyed_or_told() {
    let site = dealt().await;
    let (there, gone) = (uuid(0xb0, 5), uuid(0xee, 5));
    let tag = site.tag(&there).unwrap();
    let other = if tag == "shard-0" { "shard-1" } else { "shard-0" };
    let good = format!("{there}={other}");
    let bad = format!("{gone}={other}");
    let words = ["-y", "--pin", &good, "--pin", &bad];
    let ended = site.write(&["rebalance"], &words).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let said = format!("pin {bad}: saw no such zone");
    assert!(ended.stdout.contains(&said), "{ended:?}");
    assert_eq!(site.tag(&there).as_deref(), Some(other));

    // A cap of one shard goes before the cap of all.
    let words = ["-y", "--cap", "40", "--cap", "shard-0=10"];
    let ended = site.write(&["rebalance"], &words).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(site.loads(), loads(&[10, 36]));
    let full = site.plan(&["--cap", "20"]).await;
    let problems = full["problems"].to_string();
    assert!(problems.contains("wanted 20 at most"), "{full}");

    for strategy in ["rendezvous", "random"] {
        let words = ["--strategy", strategy, "-y"];
        let ended = site.write(&["rebalance"], &words).await;
        assert_eq!(ended.code, Some(0), "{strategy}: {ended:?}");
        let (tags, writes) = (site.tags(), site.writes());
        let again = site.write(&["rebalance"], &words).await;
        assert!(again.stdout.contains("0 moves"), "{strategy}: {again:?}");
        assert_eq!((site.tags(), site.writes()), (tags, writes));
        let even = site.loads() == loads(&[23, 23]);
        assert!(!even, "{strategy} is as even as balanced");
    }
    let unknown = site.write(&["drain"], &["shard-9"]).await;
    assert!(unknown.stderr.contains("wanted one of shard-0"), "{unknown:?}");
    let unknown = site.apply(&["--cap", "shard-9=1"]).await;
    assert!(unknown.stderr.contains("wanted one of shard-0"), "{unknown:?}");
}

#[tokio::test]
async fn only_one_writes() {
    let site = Site::new().await;
    let lock = File::create(site.lock()).unwrap();
    lock.lock().unwrap();
    let lock_path = site.lock();
    let sapi = site.triton.sapi.url();
    let words = ["shard", "apply", "--lock", &lock_path];
    let mut child = command(&sapi, &words).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = tokio::time::timeout(LIMIT, lines.next_line()).await;
    let said = "monadm: another monadm writes tags; waiting for it";
    assert_eq!(line.unwrap().unwrap().as_deref(), Some(said));
    assert_eq!(site.writes(), 0);
    drop(lock);
    let ended = tokio::time::timeout(LIMIT, child.wait()).await.unwrap();
    assert_eq!(ended.unwrap().code(), Some(0));
    assert_eq!(site.loads(), loads(&[23, 23]));
    // Where it cannot lie, nothing is written.
    site.make(100);
    let words = ["shard", "apply", "--lock", "/nowhere/lock"];
    let ended = site.run(&words).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("could not lock /nowhere/lock"), "{ended:?}");
    assert_eq!(site.writes(), 46);
}

/// A person sees a bar, and nothing scrolls away.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a terminal to run it in")]
async fn on_a_terminal_there_is_a_bar() {
    let site = Site::new().await;
    let line =
        format!("{} shard apply --lock {}", program().display(), site.lock());
    let shown = Command::new("/usr/bin/script")
        .args(["-qec", &line, "/dev/null"])
        .env("SAPI_URL", site.triton.sapi.url())
        .stdin(Stdio::null())
        .output();
    let shown = tokio::time::timeout(LIMIT, shown).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&shown.stdout);
    assert_eq!(shown.status.code(), Some(0), "{text}");
    for done in [1, 23, 46] {
        let bar = format!("] {done}/46 {}%", 100 * done / 46);
        assert!(text.contains(&bar), "no {bar:?} in {text}");
    }
    let bars = text.matches("\r\x1b[K[").count();
    assert_eq!(bars, 46, "{text}");
    assert_eq!(site.loads(), loads(&[23, 23]));
}

/// Manta's own Prometheus is a service of application manta.
#[tokio::test]
async fn the_account_of_manta_has_its_own_pairs() {
    let site = Site::new().await;
    let service = "5e000000-0000-4000-8000-000000000002";
    let sapi = &site.triton.sapi.handle;
    sapi.put(
        Kind::Service,
        json!({"uuid": service, "name": "prometheus",
            "application_uuid": ids::MANTA, "type": "vm"}),
    );
    for number in [80, 81] {
        sapi.put(
            Kind::Instance,
            json!({"uuid": uuid(0xd0, number), "service_uuid": service,
                "metadata": {"groups": "shard-m"}}),
        );
    }
    // A pair of which no zone runs takes nothing.
    let storage = site.make(90);
    site.change(&storage, |vm| vm.owner_uuid = ids::POSEIDON.to_owned());
    let ended = site.apply(&["--account", ids::POSEIDON]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let said = "fault: shard-m: saw none of its zones run";
    assert!(ended.stdout.contains(said), "{ended:?}");
    assert_eq!(site.tag(&storage), None);
    for number in [80, 81] {
        let made = site.make(number);
        site.change(&made, |vm| {
            vm.uuid = uuid(0xd0, number);
            vm.owner_uuid = ids::POSEIDON.to_owned();
        });
    }
    let ended = site.apply(&["--account", ids::POSEIDON]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(site.tag(&storage).as_deref(), Some("shard-m"));
    // The pair itself too, as it is the only one.
    assert_eq!(site.tags().len(), 3, "other zones are admin's");
}

#[tokio::test]
async fn a_drain_that_fails_anywhere_is_finished_by_the_next() {
    let site = dealt().await;
    let fault = Fault::Refusal(404, None);
    site.triton.datacenter.gate().fail(9, When::Before, fault);
    finishes(&site, "answered 404").await;
    for (said, fate) in [
        ("update-", Fate::Fails("disk full".into())),
        ("lost sight of job", Fate::Vanishes { done: false }),
    ] {
        let site = dealt().await;
        site.triton.datacenter.stock().next_job("update", fate);
        finishes(&site, said).await;
    }
}

async fn finishes(site: &Site, said: &str) {
    let words = ["shard-1", "--yes"];
    let failed = site.write(&["drain"], &words).await;
    assert_eq!(failed.code, Some(1), "{said}: {failed:?}");
    assert!(failed.stderr.contains(said), "{said}: {failed:?}");
    assert!(failed.stderr.contains("1 of 23 tags not written"), "{failed:?}");
    let again = site.write(&["drain"], &words).await;
    assert_eq!(again.code, Some(0), "{said}: {again:?}");
    assert_eq!(site.loads(), loads(&[46]), "{said}");
}

#[tokio::test]
async fn a_drain_killed_at_any_moment_is_finished_by_the_next() {
    for at in [1, 6, 15] {
        let site = dealt().await;
        let (sapi, lock) = (site.triton.sapi.url(), site.lock());
        let words = ["shard", "drain", "shard-1", "--yes", "--lock", &lock];
        let begun = site.writes();
        killed_at(at, &sapi, &words, || site.writes() - begun).await;
        let left = site.tags().values().filter(|tag| *tag == "shard-1").count();
        assert!(left > 0, "it was done after {at}");
        let ended = site.write(&["drain"], &["shard-1", "--yes"]).await;
        assert_eq!(ended.code, Some(0), "after {at}: {ended:?}");
        assert_eq!(site.loads(), loads(&[46]), "after {at}");
    }
}

#[tokio::test]
async fn a_rebalance_killed_at_any_moment_is_finished_by_the_next() {
    for at in [1, 6, 15] {
        let site = dealt().await;
        site.pair(2);
        let plan = site.plan(&[]).await;
        let moves = plan["moves"].as_array().unwrap().iter();
        let wanted: Vec<(String, String)> =
            moves.map(|one| (text(&one["uuid"]), text(&one["to"]))).collect();
        let (sapi, lock) = (site.triton.sapi.url(), site.lock());
        let words = ["shard", "rebalance", "--yes", "--lock", &lock];
        let begun = site.writes();
        let mut child = command(&sapi, &words).spawn().unwrap();
        let until = async {
            while site.writes() < begun + at
                && child.try_wait().unwrap().is_none()
            {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, until).await.unwrap();
        child.kill().await.unwrap();
        // The lock of the dead is nobody's.
        let ended = site.write(&["rebalance"], &["--yes"]).await;
        assert_eq!(ended.code, Some(0), "after {at}: {ended:?}");
        let tags = site.tags();
        let placed = wanted.iter().all(|(uuid, shard)| tags[uuid] == *shard);
        assert!(placed, "after {at}: {tags:?}");
        assert_eq!(site.loads(), loads(&[16, 16, 16]), "after {at}");
    }
}
