// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Whatever metadata says: either it is refused, or every file renders and
//! every flag is one that Thanos takes.

use std::cell::Cell;

use monitoring_agent::metadata::meaning::settings;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::told;

/// Values of all kinds; most keys take some of them, none takes all.
const POOL: &[&str] = &[
    "0",
    "1",
    "2",
    "60",
    "1200",
    "7200",
    "90d",
    "0d",
    "-6w",
    "2026-01-02T03:04:05Z",
    "100MB",
    "1GB",
    "true",
    "debug",
    "chain",
    "10.1.0.50",
    "10.1.0.50,10.1.0.51",
    "10.1.0.51:10911",
    "dns+a.test:10901",
    "dnssrv+_grpc._tcp.a.test",
    "http://a.test:1",
    "/data/x.yml",
    "replica",
    "query, query-global, receive, rule",
    "store, compact, query-frontend",
    "a\"b\\c",
    "a\n--wait",
    "{{ x }}",
    "\u{e9}\u{2028}",
    "{\"a\": \"b\", \"c\": \"\\\"d\\\"\"}",
    "[{\"name\": \"g\", \"rules\": []}]",
    "-----BEGIN CERTIFICATE-----",
    "-----BEGIN PRIVATE KEY-----",
    "{\"cert\": \"/a\", \"key\": \"/b\", \"ca\": \"/c\"}",
    "{\"type\": \"S3\", \"config\": {\"bucket\": \"b\", \"endpoint\": \"e\"}}",
];

fn entry() -> impl Strategy<Value = (&'static str, Value)> {
    // Where the zone stands is another room's.
    let settings = settings(Role::Thanos).into_iter().filter(|setting| {
        let key = setting.about().key;
        ["thanos_", "object_store", "rule", "alertmanagers", "evaluation"]
            .iter()
            .any(|start| key.starts_with(start))
    });
    told::entry(settings, POOL)
}

fn metadata() -> impl Strategy<Value = Value> {
    prop::collection::vec(entry(), 0..12).prop_map(|list| {
        let map: std::collections::BTreeMap<_, _> = list.into_iter().collect();
        json!(map)
    })
}

fn peers() -> impl Strategy<Value = Vec<Peer>> {
    let one = (any::<bool>(), 1_u8..4, 60_u8..90, 0_usize..4, any::<bool>());
    let one = one.prop_map(|(thanos, dc, host, components, known)| {
        let service = if thanos { "thanos" } else { "prometheus" };
        let named = ["", "query", "receive", "store"][components];
        let mut one = peer(service, &format!("{service}{host}"), dc, host);
        one.components = match named {
            "" => Vec::new(),
            named => vec![named.to_owned()],
        };
        one.alertmanager = !thanos && host % 3 == 0;
        if !known {
            one.address = None;
        }
        one
    });
    (prop::collection::vec(one, 0..8), any::<bool>()).prop_map(
        |(mut list, listed)| {
            list.extend(listed.then(|| own(&[])));
            list
        },
    )
}

#[test]
fn no_metadata_renders_a_flag_that_thanos_refuses() {
    let mut runner =
        TestRunner::new(Config { cases: 1_000, ..Config::default() });
    let accepted = Cell::new(0_u32);
    let all = (metadata(), peers(), any::<bool>());
    runner
        .run(&all, |(told, peers, caps)| {
            let site = site(peers);
            let site = if caps { capped(site) } else { site };
            let Ok(model) = read(told, &site) else { return Ok(()) };
            accepted.set(accepted.get() + 1);
            let output = render(&model);
            prop_assert_eq!(&output.failed, &[]);
            for file in &output.files {
                let text = String::from_utf8_lossy(&file.bytes);
                if file.name.ends_with(".env") {
                    prop_assert!(is_environment(&text), "{}", text);
                }
                if file.name.ends_with(".json") {
                    prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
                }
            }
            Ok(())
        })
        .unwrap();
    // Or it would say little.
    assert!(accepted.get() > 300, "{} accepted", accepted.get());
}

/// Whether each line is a limit: the shell reads it.
fn is_environment(text: &str) -> bool {
    text.lines().all(|line| {
        line.split_once('=').is_some_and(|(key, value)| {
            ["GOMEMLIMIT", "GOMAXPROCS"].contains(&key)
                && value.parse::<u64>().is_ok()
        })
    })
}
