// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Whole sites, and the traps each of them holds.

use localdc::sites::merged;

use super::*;

fn tls() -> Value {
    json!({"cert": "/data/thanos/tls/grpc.crt",
        "key": "/data/thanos/tls/grpc.key",
        "ca": "/data/thanos/tls/ca.crt", "server_name": "thanos.internal"})
}

/// Nobody looks inside here.
pub(super) fn authority() -> Value {
    json!({"thanos_ca_certificate": "-----BEGIN CERTIFICATE-----",
        "thanos_ca_private_key": "-----BEGIN PRIVATE KEY-----hush"})
}

fn pair(dc: u8) -> [Peer; 2] {
    [
        peer("prometheus", "prometheus0", dc, 31),
        peer("prometheus", "prometheus1", dc, 32),
    ]
}

/// Another Thanos zone that names the same bucket.
pub(super) fn second(alias: &str, components: &[&str]) -> Peer {
    Peer {
        components: components.iter().map(|&c| c.to_owned()).collect(),
        bucket: Some("S3 buckets-api.m.test blocks".to_owned()),
        ..peer("thanos", alias, 1, 51)
    }
}

/// Manta with four shards in pairs, spread over three datacenters, beside
/// Triton's own pair in each.
fn three_datacenters() -> Vec<Peer> {
    let mut peers = vec![own(&[])];
    for dc in 1..=3 {
        peers.extend(pair(dc));
    }
    for shard in 0..4_u8 {
        for replica in 0..2_u8 {
            let alias = format!("prometheus.r1-{shard}{replica}");
            let host = 100 + 2 * shard + replica;
            peers.push(Peer {
                flavor: Flavor::Manta,
                shard: Some(shard.to_string()),
                ..peer("prometheus", &alias, 1 + shard % 3, host)
            });
        }
    }
    for host in [31, 32] {
        let of =
            |p: &&mut Peer| p.instance == format!("prometheus-1-{host}-uuid");
        peers.iter_mut().find(of).expect("a pair").alertmanager = true;
    }
    peers
}

fn everything() -> Value {
    json!({
        "thanos_components": "query, query_global, query_frontend, store, \
            compact, rule, receive",
        "thanos_endpoints": ["dns+old-store.t.test:10901", "10.9.0.1:10901"],
        "thanos_regional_queries": ["thanos.r2.test"], "thanos_tls": tls(),
        "thanos_replica_labels": ["replica", "prometheus_replica"],
        "thanos_deduplication": "chain", "thanos_query_timeout": "5m",
        "thanos_store_response_timeout": 30,
        "thanos_query_max_concurrency": 40,
        "thanos_slowest_scrape_interval": "5m",
        "thanos_partial_response": "false", "thanos_cache_size": "512MB",
        "thanos_split_interval": "12h", "object_store": bucket(),
        "thanos_store_min_time": "-2y",
        "thanos_store_max_time": "-6w",
        "thanos_index_cache_size": "100MB",
        "thanos_chunk_pool_size": "1GB", "thanos_sync_interval": "5m",
        "thanos_retention_raw": "90d", "thanos_retention_5m": "1y",
        "thanos_retention_1h": "5y", "thanos_delete_delay": "1d",
        "rule_groups": [{"name": "operator", "rules": [
            {"record": "a:b", "expr": "sum(up)"}],
            "partial_response_strategy": "warn"}],
        "rule_files": ["/data/thanos/rules/*.yml"],
        "alertmanagers": "am0.t.test, am1.t.test:9094",
        "alertmanager": true, "alertmanager_peers": "10.1.0.31",
        "thanos_rule_queries": ["thanos1.t.test"],
        "thanos_ruler": "\"east\" \\ é", "evaluation_interval": 30,
        "thanos_rule_retention": "30d",
        "thanos_receive_endpoints": ["10.1.0.50", "10.1.0.51", "10.1.0.52"],
        "thanos_replication_factor": "2",
        "thanos_receive_labels": {"datacenter": "dc1"},
        "thanos_receive_retention": "2d", "thanos_tenant_label": "tenant",
        "thanos_default_tenant": "triton", "thanos_log_level": "debug",
    })
}

#[test]
fn each_site_renders_what_was_reviewed() {
    let mut region = three_datacenters();
    region.push(second("thanos1", &[]));
    let receivers: Vec<Peer> = (51..=54)
        .map(|host| Peer {
            components: vec!["receive".to_owned()],
            ..peer("thanos", &format!("thanos{host}"), 1, host)
        })
        .chain([own(&["receive"])])
        .collect();
    let folder = json!({"object_store": {"type": "FILESYSTEM",
        "config": {"directory": "/data/thanos/bucket"}}});
    let sites = [
        ("minimum", site(Vec::new()), json!({})),
        (
            "folder",
            site(pair(1).into_iter().chain([own(&[])]).collect()),
            folder,
        ),
        (
            "three-datacenters",
            capped(site(region)),
            json!({"object_store": bucket()}),
        ),
        (
            "two-regions",
            capped(site(pair(1).into_iter().chain([own(&[])]).collect())),
            json!({"thanos_regional_queries": ["10.20.0.50", "10.30.0.50"],
                "thanos_tls": tls()}),
        ),
        (
            "two-regions-issued",
            capped(site(pair(1).into_iter().chain([own(&[])]).collect())),
            merged(
                authority(),
                json!({"thanos_regional_queries": ["thanos.r2.test"]}),
            ),
        ),
        (
            "five-receivers",
            capped(site(receivers)),
            json!({"thanos_components": ["receive"],
                "object_store": bucket()}),
        ),
        ("everything", capped(site(vec![own(&[])])), everything()),
    ];
    for (name, site, metadata) in sites {
        let model = read(metadata, &site).expect(name);
        let output = render(&model);
        assert_eq!(output.failed, [], "{name}");
        insta::assert_snapshot!(name, text(&output));
        assert_eq!(text(&render(&model)), text(&output), "{name}");
    }
}

#[test]
fn nothing_set_and_nobody_known_still_answers_queries() {
    let output = render(&read(json!({}), &site(Vec::new())).unwrap());
    assert_eq!(daemons(&output), ["thanos-query", "thanos-query-frontend"]);
    assert_eq!(output.unwanted.len(), 6);
}

#[test]
fn keys_of_the_bucket_are_for_the_daemons_user_alone() {
    let output =
        render(&read(everything(), &capped(site(vec![own(&[])]))).unwrap());
    let mut stores = 0;
    for file in &output.files {
        let text = String::from_utf8_lossy(&file.bytes);
        if text.contains("hush") {
            stores += 1;
            assert_eq!(file.mode, Some(0o600), "{}", file.name);
            assert_eq!(file.owner.as_deref(), Some("nobody"));
        }
    }
    assert_eq!(stores, 4);
}

#[test]
fn a_file_of_the_operator_is_used_and_never_written() {
    let told = json!({"object_store_file": "/data/thanos/bucket.yml"});
    let output = render(&read(told, &site(vec![own(&[])])).unwrap());
    let flags = file(&output, "store.flags");
    assert!(flags.contains("--objstore.config-file=/data/thanos/bucket.yml"));
    let written =
        |f: &monitoring_agent::render::Rendered| f.name.contains("objstore");
    assert!(!output.files.iter().any(written));
}

#[test]
fn an_endpoint_with_an_address_is_missed_and_a_name_is_not() {
    let mut peers = vec![own(&[])];
    peers.extend(pair(1));
    peers[1].address = None;
    // Nobody would answer there.
    peers.push(Peer {
        no_sidecar: true,
        ..peer("prometheus", "prometheus2", 1, 33)
    });
    let output = render(&read(json!({}), &site(peers)).unwrap());
    let endpoints = file(&output, "query.endpoints.yml");
    let yaml: Value = serde_yaml::from_str(&endpoints).unwrap();
    assert_eq!(
        yaml,
        json!({"endpoints": [
            {"address": "dns+prometheus-1-31-uuid.prometheus.dc1.t.test:10901",
             "strict": false},
            {"address": "10.1.0.32:10901", "strict": true},
        ]})
    );
}

/// A store that serves all of the bucket is enough; of several that split it
/// by time all are needed.
#[test]
fn stores_of_one_bucket_are_asked_once() {
    let peers = || vec![own(&[]), second("thanos1", &["store"])];
    let stores = |more: Value| {
        let mut told = json!({"object_store": bucket()});
        let map = told.as_object_mut().unwrap();
        map.extend(more.as_object().unwrap().clone());
        let thanos = read(told, &site(peers())).unwrap().thanos.unwrap();
        let endpoints = thanos.query.unwrap().endpoints;
        let all = endpoints.iter().map(|e| e.address.clone());
        all.filter(|a| a.ends_with(":10905")).collect::<Vec<_>>()
    };
    assert_eq!(stores(json!({})), ["10.1.0.50:10905"]);
    assert_eq!(
        stores(json!({"thanos_store_min_time": "-6w"})),
        ["10.1.0.50:10905", "10.1.0.51:10905"]
    );
}

#[test]
fn small_zones_get_an_index_cache_that_starts() {
    let small = Caps { memory_bytes: Some(1 << 30), ..Caps::default() };
    let site = Site { caps: small, ..site(vec![own(&[])]) };
    let told = json!({"object_store": bucket()});
    let output = render(&read(told, &site).unwrap());
    let cache: Value =
        serde_yaml::from_str(&file(&output, "store.index-cache.yml")).unwrap();
    let size = |key: &str| {
        let text = cache["config"][key].as_str().unwrap();
        text.strip_suffix("MB").unwrap().parse::<u32>().unwrap()
    };
    assert!(size("max_size") < 125, "{cache}");
    assert!(size("max_item_size") < size("max_size"), "{cache}");
    assert!(!file(&output, "store.flags").contains("--index-cache-size"));
}

#[test]
fn the_ring_is_the_same_on_every_node_and_knows_its_own() {
    let all: Vec<u8> = (50..55).collect();
    let mut rings = Vec::new();
    for own_host in &all {
        let mut peers = Vec::new();
        for host in &all {
            let mut one = peer("thanos", &format!("thanos{host}"), 1, *host);
            one.components = vec!["receive".to_owned()];
            one.own = host == own_host;
            peers.push(one);
        }
        let own = peers.iter().find(|peer| peer.own).unwrap().clone();
        let site = Site { instance: own.instance.clone(), ..site(peers) };
        let told = json!({"thanos_components": ["receive"],
            "auto": {"ADMIN_IP": format!("10.1.0.{own_host}")}});
        let output = render(&read(told, &site).unwrap());
        rings.push(file(&output, "receive.hashrings.json"));
        let flags = file(&output, "receive.flags");
        let local = format!("--receive.local-endpoint=10.1.0.{own_host}:10911");
        assert!(flags.lines().any(|line| line == local), "{flags}");
        assert!(flags.contains("--receive.replication-factor=3"));
    }
    assert_eq!(rings.len(), 5);
    assert!(rings.windows(2).all(|two| two[0] == two[1]), "{rings:?}");
    let ring: Value = serde_json::from_str(&rings[0]).unwrap();
    assert_eq!(ring[0]["endpoints"].as_array().unwrap().len(), 5);
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let store = || json!({"object_store": bucket()});
    let mut said = String::new();
    for (name, more) in [
        ("no component", json!({"thanos_components": []})),
        ("unknown", json!({"thanos_components": "query, sidecar"})),
        ("no bucket", json!({"thanos_components": ["store", "compact"]})),
        ("no regions", json!({"thanos_components": ["query-global"]})),
        ("no tls", json!({"thanos_regional_queries": ["10.2.0.1"]})),
        (
            "relative",
            json!({"thanos_tls": {"cert": "a", "key": "/b",
            "ca": "/c"}}),
        ),
        ("whose", merged(authority(), json!({"thanos_tls": tls()}))),
        (
            "half",
            json!({"thanos_ca_private_key": "-----BEGIN PRIVATE KEY-----hush",
                "thanos_regional_queries": ["10.2.0.1"]}),
        ),
        ("swapped", json!({"thanos_ca_certificate": "PRIVATE KEY-----hush"})),
        ("raw", json!({"thanos_retention_raw": "39h"})),
        ("5m", json!({"thanos_retention_5m": "9d"})),
        ("hidden", json!({"thanos_retention_raw": "0d5ms"})),
        ("delay", json!({"thanos_delete_delay": 1800})),
        (
            "times",
            json!({"thanos_store_min_time": "-6w",
            "thanos_store_max_time": "-2y"}),
        ),
        ("time", json!({"thanos_store_min_time": "6w"})),
        ("cache", json!({"thanos_index_cache_size": "250"})),
        (
            "silence",
            json!({"thanos_query_timeout": 10,
            "thanos_store_response_timeout": 11}),
        ),
        (
            "factor",
            json!({"thanos_components": ["receive"],
            "thanos_replication_factor": 3,
            "thanos_receive_endpoints": ["10.1.0.50", "10.1.0.51"]}),
        ),
        (
            "ring",
            json!({"thanos_components": ["receive"],
            "thanos_receive_endpoints": ["10.1.0.51"]}),
        ),
        ("label", json!({"thanos_receive_labels": {"receive_replica": "a"}})),
        ("rule", json!({"thanos_components": ["rule"]})),
        ("frontend", json!({"thanos_components": ["query_frontend"]})),
        (
            "strategy",
            json!({"rule_groups": [{"name": "a",
            "partial_response_strategy": "maybe"}]}),
        ),
        ("endpoint", json!({"thanos_endpoints": ["http://10.1.0.1:10901"]})),
        ("line", json!({"thanos_ruler": "a\n--wait"})),
    ] {
        let mut told = store();
        if name == "no bucket" {
            told = json!({});
        }
        let map = told.as_object_mut().unwrap();
        map.extend(more.as_object().unwrap().clone());
        let reason = read(told, &site(vec![own(&[])])).expect_err(name);
        said.push_str(&format!("{name}\n  {}\n", reason.replace('\n', "\n  ")));
    }
    insta::assert_snapshot!("refused", said);
}

#[test]
fn the_sidecar_ships_only_blocks_that_prometheus_leaves_alone() {
    let prometheus = |more: Value| {
        let site = Site { role: Role::Prometheus, ..site(Vec::new()) };
        let output = render(&read(more, &site).unwrap());
        assert_eq!(output.failed, []);
        output
    };
    let output = prometheus(json!({"object_store": bucket(),
        "thanos_upload_compacted": true, "thanos_sidecar_min_time": "-3d"}));
    insta::assert_snapshot!("sidecar", file(&output, "thanos-sidecar.flags"));
    let flags = file(&output, "prometheus.flags");
    for edge in ["min", "max"] {
        let line = format!("--storage.tsdb.{edge}-block-duration=2h");
        assert!(flags.lines().any(|flag| flag == line), "{flags}");
    }
    assert!(file(&output, "objstore.yml").contains("hush"));
    // Retired: it serves what it has, and ships nothing.
    let output = prometheus(json!({"prometheus_retired": true}));
    let flags = file(&output, "thanos-sidecar.flags");
    assert!(!flags.contains("objstore"), "{flags}");
    assert!(!file(&output, "prometheus.flags").contains("block-duration"));
    let output = prometheus(json!({}));
    assert!(output.unwanted.contains(&"thanos-sidecar".to_owned()));
}

#[expect(clippy::disallowed_methods, reason = "promtool, in a test")]
fn promtool(words: [&str; 2], path: &Path) {
    let said = std::process::Command::new("promtool")
        .args(words)
        .arg(path)
        .output()
        .expect("promtool runs");
    assert!(said.status.success(), "{}: {said:?}", path.display());
}

#[test]
fn what_should_be_there_is_asked_for_by_name() {
    let told = || json!({"alertmanagers": ["am.t.test"]});
    let region = site(three_datacenters());
    let alone = site(vec![own(&[])]);
    let scratch = tempfile::tempdir().unwrap();
    for (name, site) in [("region", region), ("alone", alone)] {
        let output = render(&read(told(), &site).unwrap());
        assert_eq!(output.failed, []);
        let path = scratch.path().join(format!("{name}.yml"));
        std::fs::write(&path, file(&output, "rules/expected.yml")).unwrap();
        promtool(["check", "rules"], &path);
    }
    // dc1 is there, dc2 went, nobody ever heard of dc3; of 14 sidecars one
    // querier has all and the other all but one.
    let labels = |name: &str, more: Value| {
        let absent = |dc: &str| {
            json!({
            "severity": "critical", "datacenter": dc})
        };
        let list = match name {
            "DatacenterAbsent" => vec![absent("dc2"), absent("dc3")],
            _ => vec![more],
        };
        list.into_iter()
            .map(|labels| {
                let dc = labels["datacenter"].as_str().unwrap_or_default();
                let (summary, description) = match name {
                    "DatacenterAbsent" => (
                        format!("Nothing is heard of datacenter {dc}"),
                        "SAPI lists a Prometheus there. Everything in it is \
                         unwatched from here.",
                    ),
                    _ => (
                        "Querier q1 has not every sidecar".to_owned(),
                        "It is connected to 13 sidecars; SAPI lists 14 \
                         Prometheus servers.",
                    ),
                };
                json!({"exp_labels": labels, "exp_annotations": {
                    "summary": summary, "description": description,
                    "runbook": name.to_lowercase()}})
            })
            .collect::<Vec<_>>()
    };
    let connections = |instance: &str, number: u32| {
        json!({"series": format!(
            "thanos_store_nodes_grpc_connections{{component=\"query\",\
             store_type=\"sidecar\",job=\"thanos_dc1\",\
             instance=\"{instance}\"}}"),
            "values": format!("{number}x40")})
    };
    let missing = json!({"severity": "warning", "job": "thanos_dc1",
        "instance": "q1"});
    let test = json!({
        "rule_files": ["region.yml"], "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": [
            {"series": "up{datacenter=\"dc1\"}", "values": "1x40"},
            {"series": "up{datacenter=\"dc2\"}", "values": "1x5 stale"},
            connections("q0", 14), connections("q1", 13),
        ], "alert_rule_test": [
            {"eval_time": "30m", "alertname": "DatacenterAbsent",
             "exp_alerts": labels("DatacenterAbsent", Value::Null)},
            {"eval_time": "30m", "alertname": "ThanosSidecarsMissing",
             "exp_alerts": labels("ThanosSidecarsMissing", missing)},
        ]}],
    });
    let path = scratch.path().join("test.yml");
    std::fs::write(&path, test.to_string()).unwrap();
    promtool(["test", "rules"], &path);
}

/// What only names others is followed while running; what a flag says is not.
#[test]
fn a_change_costs_no_more_than_it_must() {
    use monitoring_agent::render::{OnChange, Then};
    let output =
        render(&read(everything(), &capped(site(vec![own(&[])]))).unwrap());
    for file in &output.files {
        // Alertmanager's are the same in a Prometheus zone, and shown there.
        let Some(name) = file.name.strip_prefix("thanos/") else { continue };
        let followed = name.ends_with("endpoints.yml")
            || name.ends_with("targets.yml")
            || name.ends_with("hashrings.json");
        let rules = name.starts_with("rules/")
            || ["operator.yml", "expected.yml"].contains(&name);
        let wanted = match &file.then {
            Then::Nothing => followed,
            Then::Daemon(daemon, OnChange::Reload) => {
                rules && daemon == "thanos-rule"
            }
            Then::Daemon(_, OnChange::Restart) => !followed && !rules,
            Then::Command(_) => false,
        };
        assert!(wanted, "{name}: {:?}", file.then);
    }
}
