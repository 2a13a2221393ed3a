// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Whatever metadata says: either it is refused, or every file renders and
//! every flag is one that Thanos takes.

use monitoring_agent::metadata::meaning::settings;
use proptest::prelude::*;
use proptest::test_runner::Config;

use super::*;

/// Values that one key or another takes, and some that none does.
fn value() -> impl Strategy<Value = Value> {
    let texts = prop::sample::select(vec![
        "",
        "0",
        "1",
        "2",
        "3",
        "60",
        "600",
        "90d",
        "0d",
        "40h",
        "-6w",
        "-2y",
        "2026-01-02T03:04:05Z",
        "250MB",
        "100MB",
        "1GB",
        "true",
        "false",
        "info",
        "debug",
        "chain",
        "penalty",
        "10.1.0.50",
        "10.1.0.51:10911",
        "dns+a.test:10901",
        "dnssrv+_grpc._tcp.a.test",
        "http://a.test:1",
        "/data/x.yml",
        "replica",
        "query",
        "receive",
        "rule,query",
        "store, compact, query-frontend",
        "query_global,query",
        "10.1.0.50,10.1.0.51",
        "a\"b\\c",
        "a\n--wait",
        "{{ x }}",
        "é\u{2028}",
        "{\"type\": \"S3\", \"config\": {\"bucket\": \"b\", \
          \"endpoint\": \"e\"}}",
    ]);
    prop_oneof![
        8 => texts.prop_map(Value::from),
        2 => (0_u32..200_000).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => "\\PC{0,20}".prop_map(Value::from),
        1 => Just(json!([])),
        1 => Just(json!(["query", "rule", "receive"])),
        1 => Just(json!(["10.1.0.50", "10.1.0.51", "10.1.0.52"])),
        1 => Just(json!({"a": "b", "c": "\"d\""})),
        1 => Just(json!([{"name": "g", "rules": []}])),
        1 => Just(json!({"cert": "/a", "key": "/b", "ca": "/c"})),
        1 => Just(bucket()),
    ]
}

fn metadata() -> impl Strategy<Value = Value> {
    // Where the zone stands is another room's.
    let keys: Vec<&str> = settings(Role::Thanos)
        .iter()
        .map(|setting| setting.about().key)
        .filter(|key| {
            key.starts_with("thanos_")
                || ["object_store", "rule", "alertmanagers", "evaluation"]
                    .iter()
                    .any(|start| key.starts_with(start))
        })
        .collect();
    assert!(keys.len() > 30, "{keys:?}");
    prop::collection::btree_map(prop::sample::select(keys), value(), 0..8)
        .prop_map(|map| json!(map))
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

proptest! {
    #![proptest_config(Config { cases: 300, ..Config::default() })]

    #[test]
    fn no_metadata_renders_a_flag_that_thanos_refuses(
        told in metadata(), peers in peers(), caps in any::<bool>()
    ) {
        let site = site(peers);
        let site = if caps { capped(site) } else { site };
        if let Ok(model) = read(told, &site) {
            let output = render(&model);
            prop_assert_eq!(&output.failed, &[]);
            for file in &output.files {
                if file.name.ends_with(".env") {
                    let text = String::from_utf8_lossy(&file.bytes);
                    for line in text.lines() {
                        let whole = line.split_once('=').is_some_and(
                            |(key, value)| {
                                key.starts_with("GOM")
                                    && value.parse::<u64>().is_ok()
                            },
                        );
                        prop_assert!(whole, "{}", line);
                    }
                }
            }
        }
    }
}
