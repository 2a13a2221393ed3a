// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What Grafana gets: files it provisions, panels on its grid, variables.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::known::{TYPES, UNITS};
use super::{all, label_values, list, text};

#[test]
fn uids_are_their_files_names() {
    for dashboard in all() {
        let uid = text(&dashboard.json, "uid");
        assert_eq!(uid, dashboard.name);
        assert!(uid.len() <= 40, "{uid}");
    }
    let titles: BTreeSet<_> =
        all().iter().map(|d| text(&d.json, "title").to_owned()).collect();
    assert_eq!(titles.len(), all().len(), "a title is there twice");
}

/// Contract sheet grafana-ufds 3.4, 3.6 and 3.7.
#[test]
fn files_are_what_grafana_provisions() {
    let source = serde_json::json!({
        "type": "prometheus",
        "uid": "${datasource}",
    });
    for dashboard in all() {
        let (name, json) = (&dashboard.name, &dashboard.json);
        assert!(json.get("id").is_none(), "{name}");
        assert_eq!(json["schemaVersion"], 39, "{name}");
        assert_eq!(json["editable"], false, "{name}");
        // Of their folder; older ones refuse a dashboard called as it is.
        assert_ne!(json["title"], "Triton", "{name}");
        let variables = dashboard.variables();
        assert_eq!(variables[0]["type"], "datasource", "{name}");
        let panels = dashboard.panels().filter(|p| p["targets"].is_array());
        let targets = dashboard.panels().flat_map(|p| list(p, "targets"));
        for asking in panels
            .chain(targets)
            .chain(&variables[1..])
            .chain(list(&json["annotations"], "list"))
        {
            assert_eq!(asking["datasource"], source, "{name}: {asking}");
        }
    }
}

#[test]
fn panels_are_of_grafana_11_and_fit_the_grid() {
    for dashboard in all() {
        let name = &dashboard.name;
        let mut ids = BTreeSet::new();
        for panel in dashboard.panels() {
            let kind = text(panel, "type");
            assert!(TYPES.contains(&kind), "{name}: {kind}");
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{name}");
        }
        let top = list(&dashboard.json, "panels");
        let folded = top.iter().map(|p| list(p, "panels"));
        for panels in folded.chain([top]) {
            let mut taken = BTreeSet::new();
            for panel in panels {
                let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
                assert!(at("x") + at("w") <= 24, "{name}: {panel}");
                assert!(at("w") > 0 && at("h") > 0, "{name}: {panel}");
                for x in at("x")..at("x") + at("w") {
                    for y in at("y")..at("y") + at("h") {
                        assert!(taken.insert((x, y)), "{name}: {panel}");
                    }
                }
            }
        }
    }
}

#[test]
fn panels_say_what_they_show() {
    for dashboard in all() {
        for panel in dashboard.panels() {
            let kind = text(panel, "type");
            if matches!(kind, "row" | "text") {
                continue;
            }
            let title = text(panel, "title");
            let unit = &panel["fieldConfig"]["defaults"]["unit"];
            let known = unit.as_str().is_some_and(|u| {
                UNITS.contains(&u) || u.starts_with("suffix:")
            });
            assert!(known, "{}: {title}: {unit}", dashboard.name);
            let help = text(panel, "description");
            assert!(help.len() >= 20, "{}: {title}", dashboard.name);
        }
    }
}

#[test]
fn variables_are_defined_once_and_used() {
    let mut known = BTreeMap::<String, Value>::new();
    for dashboard in all() {
        let json = dashboard.json.to_string();
        for variable in dashboard.variables() {
            let name = text(variable, "name");
            let uses = json.matches(&format!("${name}")).count()
                + json.matches(&format!("${{{name}")).count();
            assert!(uses > 0, "{}: ${name} is not used", dashboard.name);
            // Links carry values from one to the next.
            let same = known.entry(name.into()).or_insert(variable.clone());
            assert_eq!(same, variable, "{}", dashboard.name);
            if let Some(query) = variable["query"]["query"].as_str() {
                let (selector, _) = label_values(query);
                dashboard.fill(selector);
            }
        }
        // What is used and not defined, `fill` finds.
        for target in dashboard.targets() {
            dashboard.fill(target.expr);
        }
    }
}
