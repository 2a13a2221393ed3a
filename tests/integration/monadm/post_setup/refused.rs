// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What stands in the way is said, all of it at once, and nothing is written.

use localdc::sapi::Kind;
use localdc::triton::ids;
use serde_json::{Value, json};

use super::{PAIR, Site};

async fn says(site: &Site, words: &[&str], wanted: &[&str]) {
    let writes = site.writes();
    let ended = site.yes(words).await;
    assert_eq!(ended.code, Some(1), "{words:?}: {ended:?}");
    for said in wanted {
        assert!(ended.stderr.contains(said), "{said}: {ended:?}");
    }
    // For programs too: all of it, and nothing else.
    let ended = site.yes(&[words, &["--json"]].concat()).await;
    assert_eq!(ended.code, Some(1), "{words:?}: {ended:?}");
    if !ended.stderr.is_empty() {
        // It is no word about the datacenter: nothing was looked at.
        assert!(ended.stdout.is_empty(), "{words:?}: {ended:?}");
        assert!(!ended.stderr.contains("cannot be set up"), "{ended:?}");
    } else {
        let said: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(said["service"], words[0], "{said}");
        let problems = said["problems"].as_array().unwrap();
        for wanted in wanted {
            let has = |one: &Value| one.as_str().unwrap().contains(wanted);
            assert!(problems.iter().any(has), "{wanted}: {said}");
        }
    }
    assert_eq!(site.writes(), writes, "{words:?}");
}

#[tokio::test]
async fn a_datacenter_that_lacks_something() {
    let site = Site::new().await;
    site.triton.sapi.handle.remove(Kind::Instance, ids::CMON0);
    {
        let mut stock = site.triton.datacenter.stock();
        stock.packages.clear();
        stock.networks.retain(|network| network.name != "external");
        stock.updates.remove(ids::BASE);
        let down = json!({"status": "unknown"});
        let down = down.as_object().unwrap().clone();
        stock.servers.insert(ids::SERVER1.to_owned(), down);
    }
    let all = [
        "service cmon: saw no instance in application sdc",
        "package sdc_1024: saw 0 active ones in PAPI, wanted one",
        "network external: saw 0 in NAPI, wanted one",
        "or an origin of it, is not in the channel",
        "servers: saw 1 that can take zones, wanted one more",
    ];
    says(&site, PAIR, &all).await;
    let named = [PAIR, &["--servers", "cn1,nowhere"]].concat();
    let wanted = [
        "--servers cn1: saw it unknown, wanted one that is set up and running",
        "--servers nowhere: CNAPI has none",
    ];
    says(&site, &named, &wanted).await;
    says(&site, &["thanos"], &["service prometheus: saw no instance"]).await;
    let words = ["alertmanager"];
    says(&site, &words, &["monadm post-setup prometheus"]).await;
    let words = ["prometheus", "--image", "main-1"];
    says(&site, &words, &["image: saw none such"]).await;
    let words = ["grafana", "--shards", "2"];
    says(&site, &words, &["only prometheus has shards"]).await;
}

#[tokio::test]
async fn what_would_take_something_away() {
    let site = Site::new().await;
    site.set_up(&["prometheus", "--shards", "1"]).await;
    let words = ["prometheus", "--replicas", "1"];
    says(&site, &words, &["saw 2 instances of shard 0, wanted 1"]).await;
    let other = json!({"uuid": "5e000000-0000-4000-8000-000000000009",
        "name": "prometheus", "application_uuid": ids::SDC, "type": "vm"});
    site.triton.sapi.handle.put(Kind::Service, other);
    let said = "service prometheus: saw 2 of that name";
    says(&site, &["prometheus"], &[said]).await;
}

#[tokio::test]
async fn one_server_takes_a_pair_if_it_is_named() {
    let site = Site::new().await;
    let words = [PAIR, &["--servers", "headnode"]].concat();
    let done = site.set_up(&words).await;
    assert!(done.stdout.contains("share a server, as asked"), "{done:?}");
    let servers = ["prometheus0", "prometheus1"];
    let servers = servers.map(|alias| site.vm(alias).server_uuid);
    assert_eq!(servers, [ids::HEADNODE, ids::HEADNODE]);
    site.is_settled(PAIR).await;
}

#[tokio::test]
async fn two_runs_at_once_are_one_too_many() {
    let site = Site::new().await;
    let lock = std::fs::File::create(site.state.path().join("lock")).unwrap();
    lock.lock().unwrap();
    says(&site, PAIR, &["another monadm is at work"]).await;
    // Who only looks is in nobody's way.
    let shown = site.run(&[PAIR, &["-n"]].concat()).await;
    assert!(shown.stdout.contains("create prometheus0"), "{shown:?}");
    drop(lock);
    site.set_up(PAIR).await;
}

#[tokio::test]
async fn a_sapi_that_remembers_only_is_not_believed() {
    let site = Site::new().await;
    site.triton.sapi.handle.set_store_down(true);
    says(&site, PAIR, &["SAPI: saw without its store, wanted one in"]).await;
    site.triton.sapi.handle.set_store_down(false);
    site.triton.datacenter.stock().workflow_down = true;
    let ended = site.yes(PAIR).await;
    assert!(ended.stderr.contains("Workflow API is down"), "{ended:?}");
    site.triton.datacenter.stock().workflow_down = false;
    site.set_up(PAIR).await;
}
