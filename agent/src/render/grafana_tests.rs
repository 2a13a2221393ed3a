// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The shipped templates of a Grafana zone, for sites of every size.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Output, TemplateSet};
use crate::lint::{self, Kind};
use crate::metadata::meaning::{Site, model};
use crate::model::{Caps, Flavor, Peer, Peers, Role};

/// Two Prometheus instances of the datacenter that `metadata` names, with or
/// without an address, Manta's, and one elsewhere.
fn peers(metadata: &Value) -> Peers {
    let here = metadata["datacenter_name"].as_str().unwrap();
    let peer = |at: u8, datacenter: &str, flavor: &str, address: Value| {
        serde_json::from_value::<Peer>(json!({
            "instance": format!("c0000000-0000-4000-8000-00000000001{at}"),
            "service": "prometheus", "datacenter": datacenter,
            "alias": format!("prometheus{at}"), "name": format!("p{at}.test"),
            "flavor": flavor, "address": address,
        }))
        .unwrap()
    };
    vec![
        peer(1, here, "triton", json!("10.99.99.45")),
        peer(2, here, "triton", json!("fd00::46")),
        peer(3, here, "triton", Value::Null),
        peer(4, here, "manta", json!("10.77.77.47")),
        peer(5, "far-away", "triton", json!("10.88.88.48")),
    ]
    .into()
}

fn site(caps: Caps) -> Site {
    Site {
        compaction: true,
        root: PathBuf::from("/"),
        role: Role::Grafana,
        flavor: Flavor::Triton,
        instance: "c0000000-0000-4000-8000-000000000001".to_owned(),
        cmon_domain: None,
        peers: Peers::default(),
        agent_address: ([127, 0, 0, 1], 9165).into(),
        caps,
    }
}

fn render(metadata: &Value, caps: Caps) -> Output {
    let mut site = site(caps);
    if metadata.get("auto").is_some() {
        site.peers = peers(metadata);
    }
    let model = model(metadata.as_object().unwrap(), &site).unwrap();
    let templates = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../templates")
        .join("grafana");
    let output = TemplateSet::load(&templates).unwrap().render(&model);
    assert_eq!(output.failed, []);
    output
}

/// Sites by name.
fn sites() -> [(&'static str, Value, Caps); 4] {
    let minimum = json!({"datacenter_name": "dc1", "dns_domain": "t.test"});
    let one = json!({
        "datacenter_name": "us-east-1a", "dns_domain": "triton.test",
        "region_name": "us-east",
        "auto": {"ADMIN_IP": "10.99.99.50", "EXTERNAL_IP": "192.0.2.50",
            "ADMIN_IPS": ["10.99.99.50"], "EXTERNAL_IPS": ["192.0.2.50"]},
    });
    let two = json!({
        "datacenter_name": "eu-1", "dns_domain": "triton.test",
        "region_name": "eu",
        "grafana_regions": [
            {"name": "eu", "thanos": "thanos.eu-1.triton.test"},
            {"name": "us", "thanos": "https://thanos.us.example.com"},
        ],
        "grafana_thanos_ca": CA,
    });
    let all = json!({
        "datacenter_name": "dc1", "dns_domain": "triton.test",
        "region_name": "r1",
        "grafana_domain": "graphs.example.com",
        "grafana_root_url": "https://graphs.example.com:8443/",
        "grafana_server_names": "graphs.example.com,192.0.2.1",
        "grafana_listen": ["192.0.2.1", "2001:db8::1"],
        "grafana_https_port": "8443", "grafana_http_port": 8080,
        "grafana_metrics_listen": ["10.99.99.50:9168"],
        "grafana_body_size": 64, "grafana_request_rate": 20,
        "grafana_connections": 50, "grafana_query_timeout": "2m",
        "grafana_live": "true", "grafana_log_level": "debug",
        "grafana_home_dashboard": "/data/grafana/dashboards/ours.json",
        "grafana_scrape_interval": 30,
        "grafana_data_sources": [
            {"name": "East: \"all\" \u{e9}", "url": "https://t.example.com/q",
             "type": "thanos", "ca": CA, "server_name": "t.internal"},
            {"name": "Old one", "url": "p.example.com"},
        ],
    });
    let caps = Caps {
        memory_bytes: Some(1 << 30),
        cpu_percent: Some(200),
        quota_bytes: Some(25 << 30),
    };
    let none = Caps::default();
    [
        ("minimum", minimum, none),
        ("one-datacenter", one, none),
        ("two-regions-thanos", two, none),
        ("everything", all, caps),
    ]
}

const CA: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n\
                  -----END CERTIFICATE-----";

#[test]
fn every_file_of_every_site_is_reviewed() {
    for (site, metadata, caps) in sites() {
        for file in render(&metadata, caps).files {
            if file.target.extension().is_some_and(|e| e == "json") {
                // Dashboards are the same everywhere, and looked at elsewhere.
                continue;
            }
            let text = String::from_utf8(file.bytes).unwrap();
            let name = file.name.replace('/', "-");
            insta::assert_snapshot!(format!("{site}-{name}"), text);
        }
    }
}

#[test]
fn what_is_rendered_passes_its_own_check() {
    for (site, metadata, caps) in sites() {
        let mut checked = 0;
        for file in render(&metadata, caps).files {
            let [program, verb, kind, staged, ..] = file.check.as_slice()
            else {
                continue;
            };
            if program == "nginx" {
                continue;
            }
            assert_eq!((program.as_str(), verb.as_str()), {
                ("config-agent", "lint")
            });
            assert_eq!(staged, "{staged}");
            let text = String::from_utf8(file.bytes).unwrap();
            let judged = lint::lint(Kind::parse(kind).unwrap(), &text);
            assert!(judged.is_ok(), "{site} {}: {judged:?}", file.name);
            checked += 1;
        }
        assert_eq!(checked, 3, "{site}");
    }
}

#[test]
fn people_begin_on_a_dashboard_that_is_there() {
    let output = render(&sites()[0].1, Caps::default());
    let home =
        Path::new("/opt/triton/grafana/etc/dashboards/triton-overview.json");
    assert!(output.files.iter().any(|file| file.target == home));
    let ini = output.files.iter().find(|f| f.name.ends_with("grafana.ini"));
    let text = String::from_utf8_lossy(&ini.unwrap().bytes).into_owned();
    assert!(text.contains(&format!("{}\n", home.display())), "{text}");
}

/// 2.3: a location that sets a header loses those that keep identities honest:
/// none such may lead to Grafana.
#[test]
fn only_the_sign_in_sets_headers_of_its_own() {
    for (site, metadata, caps) in sites() {
        let output = render(&metadata, caps);
        let conf = output.files.iter().find(|f| f.name.ends_with("nginx.conf"));
        let text = String::from_utf8_lossy(&conf.unwrap().bytes).into_owned();
        let mut own = 0;
        for location in text.split("\n        location ").skip(1) {
            if location.contains("proxy_set_header") {
                own += 1;
                assert!(location.contains("http://sign_in"), "{location}");
                assert!(!location.contains("http://grafana"), "{location}");
            }
        }
        assert_eq!(own, 4, "{site}");
        assert_eq!(text.matches("auth_request off;").count(), 7, "{site}");
    }
}
