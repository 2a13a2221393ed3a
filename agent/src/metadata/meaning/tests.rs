// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

use serde_json::json;

use super::super::setting::Default;
use super::*;

pub(super) fn site() -> Site {
    Site {
        compaction: true,
        root: PathBuf::from("/"),
        role: Role::Prometheus,
        flavor: Flavor::Triton,
        instance: "c0000000-0000-4000-8000-000000000001".to_owned(),
        cmon_domain: None,
        agent_address: ([127, 0, 0, 1], 9165).into(),
        caps: Caps::default(),
        peers: Peers::default(),
    }
}

fn read(mut metadata: Value) -> Result<Model, Vec<Problem>> {
    let base = json!({"datacenter_name": "dc1", "dns_domain": "t.test"});
    let map = metadata.as_object_mut().unwrap();
    for (key, value) in base.as_object().unwrap() {
        map.entry(key.clone()).or_insert(value.clone());
    }
    model(map, &site())
}

fn keys(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|p| p.key.as_str()).collect()
}

#[test]
fn nothing_set_gives_a_right_system() {
    let model = read(json!({})).unwrap();
    let prometheus = model.prometheus.as_ref().unwrap();
    assert_eq!(prometheus.scrape_interval_seconds, 10);
    assert_eq!(prometheus.scrape_timeout_seconds, 10);
    assert_eq!(prometheus.cmon.endpoint, "cmon.dc1.cns.t.test");
    assert_eq!(prometheus.cmon.account, "admin");
    assert!(!prometheus.cmon.verify);
    assert!(prometheus.compute_nodes);
    assert_eq!(prometheus.flags.retention_time, "31d");
}

#[test]
fn a_timeout_above_the_interval_is_refused_and_an_unset_one_follows() {
    let model = read(json!({"scrape_interval": 5})).unwrap();
    assert_eq!(model.prometheus.as_ref().unwrap().scrape_timeout_seconds, 5);
    let problems =
        read(json!({"scrape_interval": 5, "scrape_timeout": 8})).unwrap_err();
    assert_eq!(
        problems[0].to_string(),
        "scrape_timeout: saw 8, wanted at most scrape_interval, \
         which is 5 seconds"
    );
}

#[test]
fn all_problems_come_together() {
    let problems = read(json!({
        "dns_domain": "not a domain", "scrape_interval": "often",
        "cmon_domain": "metrics.example.test", "groups": ["a b"],
        "retention_time": "a month", "cmon_enforce_certificate": "maybe",
        "alertmanagers": ["am:port"], "rule_files": ["rules/*.yml"],
        "external_labels": {"9": "x"}
    }))
    .unwrap_err();
    assert_eq!(
        keys(&problems),
        [
            "dns_domain",
            "scrape_interval",
            "external_labels",
            "retention_time",
            "cmon_domain",
            "cmon_enforce_certificate",
            "groups",
            "rule_files",
            "alertmanagers",
        ]
    );
}

#[test]
fn the_datacenter_must_be_known() {
    let empty = Map::new();
    let problems = model(&empty, &site()).unwrap_err();
    assert_eq!(keys(&problems), ["datacenter_name", "dns_domain"]);
}

#[test]
fn manta_spells_its_keys_in_upper_case() {
    let metadata = json!({
        "is_manta_service": true, "DATACENTER": "dc2", "REGION": "r1",
        "DNS_DOMAIN": "m.test", "DOMAIN_NAME": "r1.m.test",
        "ADMIN_USERNAME": "poseidon"
    });
    let model = model(metadata.as_object().unwrap(), &site()).unwrap();
    assert_eq!(model.flavor, Flavor::Manta);
    assert_eq!(model.place.search_domain, "r1.m.test");
    assert_eq!(model.prometheus.as_ref().unwrap().cmon.account, "poseidon");
    assert!(!model.prometheus.as_ref().unwrap().compute_nodes);
    assert_eq!(
        model.prometheus.as_ref().unwrap().external_labels["region"],
        "r1"
    );
}

/// What the program says of a key is what it does.
#[test]
fn the_table_of_keys_is_the_programs_own() {
    for role in Role::ALL {
        let settings = settings(role);
        let mut seen = std::collections::BTreeSet::new();
        for setting in &settings {
            let about = setting.about();
            assert!(seen.insert(about.key), "{} twice", about.key);
            assert!(about.text.ends_with('.'), "{}", about.key);
            assert!(!setting.wanted().is_empty(), "{}", about.key);
            if let Default::Value(text) = about.default {
                let value = serde_json::from_str(text).unwrap();
                assert_eq!(setting.judge(&value), Ok(()), "{}", about.key);
            }
        }
        let mut read = std::collections::BTreeSet::new();
        for flavor in [Flavor::Triton, Flavor::Manta] {
            let map = Map::new();
            let mut reader = Reader::new(&map);
            let site = Site { role, flavor, ..site() };
            super::read(&mut reader, &map, &site);
            read.extend(reader.asked().iter().copied());
        }
        // Read by what serves names and looks around.
        read.extend(["dns_resolvers", "region_datacenters"]);
        assert_eq!(read, seen, "{role}");
    }
}

#[test]
fn an_alertmanager_may_run_beside_thanos_too() {
    let metadata = json!({
        "datacenter_name": "dc1", "dns_domain": "t.test",
        "alertmanager": true,
    });
    let metadata = metadata.as_object().unwrap();
    for role in Role::ALL {
        let site = Site { role, ..site() };
        let model = model(metadata, &site).unwrap();
        assert_eq!(model.alertmanager.is_some(), role != Role::Grafana);
    }
}
