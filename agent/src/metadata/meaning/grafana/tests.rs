// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

use serde_json::json;

use super::super::super::wire::Problem;
use super::super::tests::site;
use super::super::{Site, model};
use super::*;
use crate::model::{Peers, Role};

fn read(metadata: Value) -> Result<Grafana, Vec<Problem>> {
    read_among(metadata, json!([]))
}

/// With instances as SAPI lists them: service, datacenter, flavor, components.
fn read_among(
    mut metadata: Value,
    peers: Value,
) -> Result<Grafana, Vec<Problem>> {
    let mut listed = Vec::new();
    for (at, peer) in peers.as_array().unwrap().iter().enumerate() {
        let mut peer = peer.clone();
        let service = peer["service"].as_str().unwrap().to_owned();
        peer["instance"] = json!(format!("i{at}"));
        peer["alias"] = json!(format!("{service}{at}"));
        peer["name"] = json!(format!("i{at}.{service}.t.test"));
        if peer["flavor"].is_null() {
            peer["flavor"] = json!("triton");
        }
        listed.push(serde_json::from_value::<Peer>(peer).unwrap());
    }
    let base = json!({"datacenter_name": "dc1", "dns_domain": "t.test"});
    let map = metadata.as_object_mut().unwrap();
    for (key, value) in base.as_object().unwrap() {
        map.entry(key.clone()).or_insert(value.clone());
    }
    let peers = Peers::from(listed);
    let site = Site { role: Role::Grafana, peers, ..site() };
    model(map, &site).map(|model| model.grafana.unwrap())
}

fn sources(grafana: &Grafana) -> Vec<(&str, &str, &str)> {
    let all = grafana.data_sources.iter();
    all.map(|s| (s.name.as_str(), s.uid.as_str(), s.url.as_str())).collect()
}

#[test]
fn nothing_set_asks_the_datacenters_prometheus() {
    let grafana = read(json!({})).unwrap();
    assert_eq!(
        sources(&grafana),
        [("dc1", "dc1", "http://prometheus.dc1.t.test:9090")]
    );
    assert_eq!(grafana.reachable, ["prometheus.dc1.t.test:9090"]);
    assert_eq!(grafana.root_url, "https://grafana.dc1.t.test/");
    assert_eq!(grafana.front.listen, ["0.0.0.0:443"]);
    assert_eq!(grafana.front.redirect_listen, ["0.0.0.0:80"]);
    assert!(!grafana.live);
}

#[test]
fn a_region_keeps_its_uid_when_thanos_comes() {
    let before = read(json!({
        "region_name": "eu", "region_datacenters": "dc1,dc2",
    }))
    .unwrap();
    assert_eq!(
        sources(&before),
        [
            ("eu", "eu", "http://prometheus.dc1.t.test:9090"),
            ("eu dc2", &uid("eu dc2"), "http://prometheus.dc2.t.test:9090"),
            ("eu Manta", &uid("eu Manta"), "http://prometheus.eu.t.test:9090"),
        ]
    );
    let after = read(json!({
        "region_name": "eu", "region_datacenters": "dc1,dc2",
        "grafana_thanos": "thanos.dc1.t.test",
    }))
    .unwrap();
    assert_eq!(
        sources(&after),
        [("eu", "eu", "http://thanos.dc1.t.test:10902")]
    );
    assert_eq!(after.data_sources[0].kind, SourceKind::Thanos);
}

#[test]
fn a_uid_is_short_plain_and_follows_from_the_name() {
    assert_eq!(uid("eu-central_1"), "eu-central_1");
    for name in ["EU", "eu", "é", "a b", "a-b", &"x".repeat(100)] {
        let uid = uid(name);
        assert!(uid.len() <= UID_MOST, "{uid}");
        assert!(
            uid.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)),
            "{uid}"
        );
    }
    assert_ne!(uid("a b"), uid("a-b"));
    assert_ne!(uid("EU"), uid("eu"));
}

#[test]
fn what_would_leave_the_zone_open_or_stop_grafana_is_refused() {
    let twice = json!([{"name": "a", "url": "p1"}, {"name": "a", "url": "p2"}]);
    let key = "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n";
    for (key, value) in [
        ("grafana_listen", json!([])),
        ("grafana_http_port", json!(443)),
        ("grafana_data_sources", twice),
        ("grafana_data_sources", json!([{"name": "$HOME", "url": "p1"}])),
        ("grafana_data_sources", json!([{"name": "a", "url": "ftp://x"}])),
        ("grafana_data_sources", json!([{"name": "a", "uid": "b"}])),
        ("grafana_data_sources", json!([])),
        ("grafana_regions", json!([{"name": "eu"}])),
        ("grafana_root_url", json!("http://g.test/")),
        ("grafana_root_url", json!("https://g.test/;x")),
        ("grafana_thanos_ca", json!(key)),
        ("grafana_home_dashboard", json!("../../etc/passwd")),
        ("grafana_metrics_listen", json!(["everywhere:80"])),
        ("grafana_domain", json!("a b")),
    ] {
        let problems = read(json!({key: value.clone()})).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].key, key, "{value}");
    }
}

#[test]
fn a_certificate_names_what_people_type() {
    let grafana = read(json!({
        "grafana_root_url": "https://graphs.example.com:8443",
        "auto": {"ADMIN_IP": "10.1.0.9", "EXTERNAL_IP": "192.0.2.9",
                 "PRIMARY_IP": "192.0.2.9", "ZONENAME": "z"},
    }))
    .unwrap();
    assert_eq!(
        grafana.front.names,
        ["grafana.dc1.t.test", "10.1.0.9", "192.0.2.9", "graphs.example.com"]
    );
    assert_eq!(grafana.root_url, "https://graphs.example.com:8443/");
}

#[test]
fn what_sapi_lists_is_asked() {
    let eu = json!({"region_name": "eu"});
    let prometheus =
        |dc: &str| json!({"service": "prometheus", "datacenter": dc});
    let thanos = |dc: &str, components: Value| {
        json!({"service": "thanos", "datacenter": dc,
               "components": components})
    };
    let urls = |peers| {
        let grafana = read_among(eu.clone(), peers).unwrap();
        let all = grafana.data_sources.iter();
        all.map(|s| s.url.clone()).collect::<Vec<_>>()
    };
    let mut manta = prometheus("dc1");
    manta["flavor"] = json!("manta");
    let mut far = prometheus("dc9");
    far["region"] = json!("us");
    assert_eq!(
        urls(json!([prometheus("dc1"), prometheus("dc2"), far])),
        [
            "http://prometheus.dc1.t.test:9090",
            "http://prometheus.dc2.t.test:9090"
        ]
    );
    assert_eq!(
        urls(json!([manta])),
        [
            "http://prometheus.dc1.t.test:9090",
            "http://prometheus.eu.t.test:9090"
        ]
    );
    // A store takes no queries; then the name of all is not theirs alone.
    let store = thanos("dc1", json!(["store"]));
    assert_eq!(
        urls(json!([prometheus("dc1"), store])),
        ["http://prometheus.dc1.t.test:9090"]
    );
    assert_eq!(
        urls(json!([store, thanos("dc1", json!(["query"]))])),
        ["http://i1.thanos.t.test:10902"]
    );
    assert_eq!(
        urls(json!([thanos("dc0", json!([])), thanos("dc1", json!([]))])),
        ["http://thanos.dc1.t.test:10902"]
    );
}

#[test]
fn prometheus_comes_in_where_nothing_else_listens() {
    let peers = json!([
        {"service": "prometheus", "datacenter": "dc1", "address": "10.9.0.4"},
        {"service": "prometheus", "datacenter": "dc1", "address": "10.9.0.3"},
        {"service": "thanos", "datacenter": "dc1", "address": "10.9.0.5"},
    ]);
    let own = json!({"ADMIN_IPS": ["10.9.0.9"], "EXTERNAL_IPS": ["192.0.2.9"]});
    let front = |listen: &str, peers: &Value| {
        let metadata = json!({"auto": own, "grafana_metrics_listen": listen});
        read_among(metadata, peers.clone()).unwrap().front
    };
    let found = front("10.9.0.9:9168", &peers);
    assert_eq!(found.scrape_listen, ["10.9.0.9:9167"]);
    let scrapers: Vec<String> =
        found.scrapers.iter().map(ToString::to_string).collect();
    assert_eq!(scrapers, ["10.9.0.3", "10.9.0.4"]);
    assert_eq!(found.metrics_listen, ["127.0.0.1:9167", "10.9.0.9:9168"]);
    // nginx does not start with an address that it has twice.
    for taken in ["10.9.0.9:9167", "0.0.0.0:9167"] {
        assert!(front(taken, &peers).scrape_listen.is_empty(), "{taken}");
    }
    // Nobody is known who would ask.
    assert!(front("", &json!([])).scrape_listen.is_empty());
}
