// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Merged metadata, any JSON object, all the way to the files of the role:
//! model, resolver, routes, and the templates that are shipped.
//!
//! Nothing may panic, and what holds for every input is checked: problems
//! name their key; a good model renders, and what it renders says what the
//! model says, so that no value breaks out of its place; what is kept about
//! names reads back as it was written.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use monitoring_agent::discovery::{Found, ZoneFacts, routes, seed};
use monitoring_agent::metadata::meaning::{Site, model, resolver};
use monitoring_agent::model::{Caps, Flavor, Model, Peers, Role};
use monitoring_agent::render::{Output, TemplateSet};
use serde_json::{Map, Value};
use serde_yaml::Value as Yaml;

static PROMETHEUS: LazyLock<TemplateSet> = LazyLock::new(|| load("prometheus"));
static RESOLVER: LazyLock<TemplateSet> = LazyLock::new(|| load("resolver"));

fuzz_target!(|body: &[u8]| {
    let Ok(metadata) = serde_json::from_slice::<Map<String, Value>>(body)
    else {
        return;
    };
    for flavor in [Flavor::Triton, Flavor::Manta] {
        names(&metadata, flavor);
        let site = Site {
compaction: true,
            root: "/".into(),
            role: Role::Prometheus,
            flavor,
            instance: "c0000000-0000-4000-8000-000000000001".to_owned(),
            cmon_domain: None,
            agent_address: ([127, 0, 0, 1], 9165).into(),
            caps: Caps::default(),
            peers: Peers::default(),
        };
        if let Ok(resolver) = resolver(&metadata, &site) {
            for line in text(&RESOLVER.render(&resolver), "resolv.conf").lines()
            {
                let words = line.split(' ').count();
                assert!(line.starts_with('#') || words == 2, "{line:?}");
            }
        }
        match model(&metadata, &site) {
            Ok(good) => {
                assert_eq!(Ok(&good), model(&metadata, &site).as_ref());
                files(&good);
            }
            Err(problems) => {
                assert!(!problems.is_empty());
                for problem in problems {
                    assert!(!problem.to_string().is_empty());
                }
            }
        }
    }
});

/// Who is asked for which names.
fn names(metadata: &Map<String, Value>, flavor: Flavor) {
    let facts = ZoneFacts::default();
    let seed = seed(metadata, flavor, &facts);
    let found = Found { seed, ..Found::default() };
    for route in routes(&found, &facts).forwards {
        assert!(!route.upstreams.is_empty());
    }
    let kept = serde_json::to_vec(&found).expect("it is plain data");
    let read: Found = serde_json::from_slice(&kept).expect("as written");
    assert_eq!(read, found);
}

/// What Prometheus would read says what the model says.
fn files(model: &Model) {
    let output = PROMETHEUS.render(model);
    assert_eq!(output.failed, []);
    let settings = model.prometheus.as_ref().expect("it is the role's");
    let config = yaml(&output, "prometheus.yml");
    let global = &config["global"];
    let interval = format!("{}s", settings.scrape_interval_seconds);
    assert_eq!(global["scrape_interval"], interval.as_str());
    let labels = global["external_labels"].as_mapping().expect("a mapping");
    assert_eq!(labels.len(), settings.external_labels.len());
    for (name, value) in &settings.external_labels {
        assert_eq!(labels[name.as_str()], value.as_str());
    }
    let strings = |value: &Yaml| -> Vec<String> {
        let list = value.as_sequence().into_iter().flatten();
        list.map(|text| text.as_str().expect("text").to_owned()).collect()
    };
    if settings.retired {
        assert!(config.get("scrape_configs").is_none());
        return;
    }
    let rule_files = strings(&config["rule_files"]);
    assert_eq!(rule_files[1..], settings.rule_files);
    let managers = &config["alerting"]["alertmanagers"][0];
    let managers = strings(&managers["static_configs"][0]["targets"]);
    assert_eq!(managers, settings.alertmanagers);
    let job = &config["scrape_configs"][0];
    let discovery = &job["triton_sd_configs"][0];
    assert_eq!(discovery["account"], settings.cmon.account.as_str());
    assert_eq!(discovery["endpoint"], settings.cmon.endpoint.as_str());
    assert_eq!(strings(&discovery["groups"]), settings.cmon.groups);
    yaml(&output, "operator.yml");
    for line in text(&output, "prometheus.flags").lines() {
        assert!(line.starts_with("--"), "{line:?}");
    }
}

fn yaml(output: &Output, name: &str) -> Yaml {
    let mut value: Yaml =
        serde_yaml::from_str(text(output, name)).expect("it is YAML");
    value.apply_merge().expect("no merge keys");
    value
}

fn text<'a>(output: &'a Output, name: &str) -> &'a str {
    let file = output.files.iter().find(|file| file.target.ends_with(name));
    let file = file.expect("the role has this file");
    std::str::from_utf8(&file.bytes).expect("templates write text")
}

fn load(role: &str) -> TemplateSet {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../templates");
    TemplateSet::load(&Path::new(folder).join(role)).expect("it is shipped")
}
