// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.
//! Whole sites: what is rendered was reviewed, and its checkers approve.

use std::process::Command;

use super::*;

fn pair(dc: u8) -> [Peer; 2] {
    [
        peer("prometheus", "prometheus0", dc, 31),
        peer("prometheus", "prometheus1", dc, 32),
    ]
}

fn manta(more: Value) -> Value {
    let mut base = json!({
        "is_manta_service": true, "DATACENTER": "dc1", "REGION": "r1",
        "DNS_DOMAIN": "m.test", "DOMAIN_NAME": "r1.m.test",
        "ADMIN_USERNAME": "poseidon",
    });
    let more = more.as_object().expect("an object").clone();
    base.as_object_mut().expect("an object").extend(more);
    base
}

/// Four shards in pairs; this zone is the first of shard 0.
fn four_shards() -> Vec<Peer> {
    let mut peers = Vec::new();
    for shard in 0..4_u8 {
        for half in 0..2_u8 {
            let host = 100 + 2 * shard + half;
            let alias = format!("prometheus.r1-{shard}{half}");
            let mut one = Peer {
                flavor: Flavor::Manta,
                shard: Some(shard.to_string()),
                alertmanager: shard == 1,
                ..peer("prometheus", &alias, 1 + shard % 3, host)
            };
            if shard == 0 && half == 0 {
                one.instance = OWN.to_owned();
                one.own = true;
            }
            peers.push(one);
        }
    }
    peers
}

fn alerting() -> Value {
    json!({
        "global": {"smtp_smarthost": "mail.t.test:25",
            "smtp_from": "am@t.test", "smtp_auth_password": "hush"},
        "route": {"receiver": "ops", "group_by": ["alertname"]},
        "receivers": [{"name": "ops", "email_configs": [{"to": "o@t.test"}]}],
    })
}

fn everything() -> Value {
    json!({
        "region_name": "r1", "scrape_interval": "30s", "scrape_timeout": 20,
        "evaluation_interval": 15, "discovery_interval": "2m", "shard": "3",
        "replica": "a", "external_labels": {"rack": "7 \"north\""},
        "cmon_domain": "cmon.dc1.cns.t.test",
        "cmon_enforce_certificate": true, "groups": "shard-3, all",
        "scrape_compute_nodes": false, "sample_limit": 50_000,
        "rule_files": "/data/prometheus/rules/*.yml",
        "rule_groups": [{"name": "mine", "rules": [
            {"record": "a:b", "expr": "sum(up)"}]}],
        "alertmanagers": "am0.t.test, 10.0.0.1:9094",
        "file_sd": [{"job_name": "switches",
            "files": ["/data/prometheus/sd/*.json"]}],
        "scrape_configs": [{"job_name": "extra", "basic_auth":
            {"username": "u", "password": "hush"},
            "static_configs": [{"targets": ["10.0.0.9:9100"]}]}],
        "federation": [{"targets": ["p.dc2.t.test:9090"],
            "match": ["{__name__=~\"job:.+\"}"], "interval": 120}],
        "watch_peers": true,
        "remote_write": [{"url": "https://receive.t.test/api/v1/receive",
            "basic_auth": {"username": "u", "password": "hush"}}],
        "remote_read": [{"url": "http://old.t.test/api/v1/read"}],
        "retention_time": "15d", "retention_size": "20GB",
        "query_timeout": "1m", "query_max_concurrency": 10,
        "query_max_samples": 10_000_000, "prometheus_log_level": "warn",
        "thanos_sidecar": true, "thanos_upload_compacted": true,
        "thanos_sidecar_min_time": "-3d",
        "object_store": {"type": "S3", "config": {"bucket": "blocks",
            "endpoint": "buckets-api.m.test", "secret_key": "hush"}},
        "alertmanager": true, "alertmanager_config": alerting(),
        "alertmanager_peers": "10.1.0.31, 10.1.0.32:9095",
        "alertmanager_retention": "10d",
        "alertmanager_url": "https://am.t.test/",
    })
}

#[test]
fn each_site_renders_what_was_reviewed_and_its_checkers_approve() {
    let lonely = || vec![own()];
    let region = || {
        let others = (1..=3).flat_map(pair);
        let mut peers: Vec<Peer> = others.skip(1).chain([own()]).collect();
        peers.push(peer("thanos", "thanos0", 1, 50));
        // Another datacenter's is watched there.
        let grafanas = [1, 2].map(|dc| peer("grafana", "grafana0", dc, 60));
        peers.extend(grafanas);
        peers
    };
    let sites: [(&str, Vec<Peer>, Value); 8] = [
        ("minimum", Vec::new(), json!({})),
        ("one-datacenter", lonely(), json!({"region_name": "r1"})),
        (
            "four-shards",
            four_shards(),
            manta(json!({"shard": "0", "groups": ["shard-0"]})),
        ),
        (
            "three-datacenters",
            region(),
            json!({"region_name": "r1", "alertmanager": "true"}),
        ),
        (
            "global",
            Vec::new(),
            json!({"groups": "nobody", "federation": [
                {"targets": ["prometheus.dc1.t.test:9090"], "match":
                    ["{__name__=~\"job:.*\"}"]},
                {"job_name": "federate_dc2", "scheme": "https",
                    "targets": ["10.2.0.31:9090"], "match": ["up"]}]}),
        ),
        (
            "ships-by-remote-write",
            lonely(),
            json!({"remote_write": [
                {"url": "http://10.1.0.50:19291/api/v1/receive"}]}),
        ),
        ("retired", region(), json!({"prometheus_retired": true})),
        ("everything", region(), everything()),
    ];
    let folder = templates();
    for (name, peers, metadata) in sites {
        let here = site(Path::new("/"), peers.clone());
        let model = read(metadata.clone(), &here).expect(name);
        let output = render(&folder, &model);
        assert_eq!(output.failed, [], "{name}");
        insta::assert_snapshot!(name, text(&output));

        let root = tempfile::tempdir().unwrap();
        let there = site(root.path(), peers);
        let model = read(metadata, &there).expect(name);
        check(&render(&folder, &model), root.path(), name);
    }
}

/// Writes the files where they belong and runs each one's checker.
#[expect(clippy::disallowed_methods, reason = "checkers start here")]
fn check(output: &Output, root: &Path, site: &str) {
    let bin = surroundings(root);
    let path = std::env::var("PATH").unwrap_or_default();
    for file in &output.files {
        let folder = file.target.parent().expect("a file lies in a folder");
        std::fs::create_dir_all(folder).expect("it can be written");
        std::fs::write(&file.target, &file.bytes).expect("it can be written");
    }
    for file in output.files.iter().filter(|file| !file.check.is_empty()) {
        let target = file.target.to_string_lossy();
        let argv: Vec<_> =
            file.check.iter().map(|w| w.replace("{staged}", &target)).collect();
        let done = Command::new(&argv[0])
            .args(&argv[1..])
            .env("PATH", format!("{}:{path}", bin.display()))
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", argv[0]));
        assert!(
            done.status.success(),
            "{site}: {}: {}{}",
            file.name,
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
    }
}

/// A target that nobody answers at would be an alert about nothing.
#[test]
fn sidecars_are_scraped_where_they_run() {
    let bucket = Some("S3 buckets-api.m.test blocks".to_owned());
    let peers = |thanos: bool| {
        let mut peers = vec![
            own(),
            peer("prometheus", "prometheus1", 1, 31),
            Peer { bucket: bucket.clone(), ..peer("prometheus", "p2", 1, 32) },
            Peer { no_sidecar: true, ..peer("prometheus", "p3", 1, 33) },
        ];
        peers.extend(thanos.then(|| peer("thanos", "thanos0", 2, 50)));
        peers
    };
    let sidecars = |thanos: bool, sidecar: bool| {
        let more = json!({"thanos_sidecar": sidecar});
        let site = site(Path::new("/"), peers(thanos));
        let watched = read(more, &site).unwrap().prometheus.unwrap().watched;
        let jobs = watched.into_iter();
        let jobs = jobs.filter(|job| job.job_name == "thanos_dc1");
        let groups = jobs.flat_map(|job| job.groups);
        groups.flat_map(|group| group.targets).collect::<Vec<_>>()
    };
    assert_eq!(sidecars(false, false), ["10.1.0.32:10902"]);
    assert_eq!(
        sidecars(true, true),
        ["localhost:10902", "10.1.0.32:10902", "10.1.0.31:10902"]
    );
}

#[test]
fn no_secret_lies_in_a_file_that_others_read() {
    let here = site(Path::new("/"), vec![own()]);
    let model = read(everything(), &here).unwrap();
    let output = render(&templates(), &model);
    let mut holders = 0;
    for file in &output.files {
        if String::from_utf8_lossy(&file.bytes).contains("hush") {
            assert_eq!(file.mode, Some(0o600), "{}", file.name);
            assert_eq!(file.owner.as_deref(), Some("nobody"), "{}", file.name);
            holders += 1;
        }
    }
    assert_eq!(holders, 3);
}

#[test]
fn impossible_combinations_are_refused_with_the_reason() {
    let here = site(Path::new("/"), vec![own()]);
    let cases = [
        json!({"scrape_interval": 5, "scrape_timeout": 8}),
        json!({"retention_size": "24GB"}),
        json!({"prometheus_retired": true, "thanos_sidecar": false}),
        json!({"thanos_upload_compacted": true}),
        json!({"scrape_configs": [{"job_name": "prometheus_dc1"}]}),
        json!({"file_sd": [{"job_name": "a", "files": ["/a.json"]}],
               "scrape_configs": [{"job_name": "a"}]}),
        json!({"federation": [{"targets": ["a:1"], "match": []}]}),
        json!({"object_store": {"type": "S3", "config": {"bucket": "b",
               "endpoint": "https://e", "secret_key": "hush"}}}),
        json!({"alertmanager_config": {"receivers": []}}),
        json!({"remote_write": [{"url": "ftp://a"}]}),
    ];
    let refused: Vec<String> = cases
        .into_iter()
        .map(|case| read(case, &here).expect_err("it cannot be"))
        .collect();
    let refused = refused.join("\n");
    assert!(!refused.contains("hush"), "{refused}");
    insta::assert_snapshot!("refused", refused);
}
