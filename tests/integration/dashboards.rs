// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The stock dashboards: each builds, stands well on Grafana's grid, and asks
//! only what can be answered.

mod form;
mod known;
mod promql;
mod queries;
mod world;

use std::path::Path;
use std::time::Duration;

use monitoring_agent::render::dashboard;
use serde_json::Value;

/// Stands for `$__rate_interval` once variables are filled in; nobody writes
/// that by hand.
const RATE_INTERVAL: Duration = Duration::from_secs(247);

struct Dashboard {
    name: String,
    json: Value,
}

/// A query of a panel, variables still in it.
struct Target<'a> {
    /// Dashboard and panel, for messages.
    at: String,
    panel: &'a Value,
    expr: &'a str,
    legend: &'a str,
    instant: bool,
}

fn all() -> Vec<Dashboard> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../templates/grafana/dashboards");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        let name =
            path.file_name().expect("a file").to_string_lossy().into_owned();
        let name = name.strip_suffix(".toml").expect("a description").into();
        let text = std::fs::read_to_string(&path).expect("text");
        let json =
            dashboard(&text, &path.to_string_lossy()).unwrap_or_else(|e| {
                panic!("{e}: {:?}", std::error::Error::source(&e))
            });
        let json = serde_json::from_str(&json).expect("JSON");
        all.push(Dashboard { name, json });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(all.len() >= 12, "descriptions are missing");
    all
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

impl Dashboard {
    /// Every panel, those of folded rows too.
    fn panels(&self) -> impl Iterator<Item = &Value> {
        let top = list(&self.json, "panels").iter();
        top.flat_map(|p| std::iter::once(p).chain(list(p, "panels")))
    }

    fn variables(&self) -> &[Value] {
        list(&self.json["templating"], "list")
    }

    fn targets(&self) -> Vec<Target<'_>> {
        let mut targets = Vec::new();
        for panel in self.panels() {
            for target in list(panel, "targets") {
                targets.push(Target {
                    at: format!("{} «{}»", self.name, text(panel, "title")),
                    panel,
                    expr: text(target, "expr"),
                    legend: text(target, "legendFormat"),
                    instant: target["instant"] == true,
                });
            }
        }
        targets
    }

    /// `expr` as Grafana would send it, one value chosen of each variable.
    fn fill(&self, expr: &str) -> String {
        let rate = format!("{}s", RATE_INTERVAL.as_secs());
        let mut values = vec![
            ("__rate_interval", rate.as_str()),
            ("__interval", "30s"),
            ("__range", "3600s"),
        ];
        for variable in self.variables() {
            values.push((text(variable, "name"), "x"));
        }
        values.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let mut filled = expr.to_owned();
        for (name, value) in values {
            filled = filled.replace(&format!("${{{name}}}"), value);
            filled = filled.replace(&format!("${name}"), value);
        }
        assert!(!filled.contains('$'), "{}: {filled}", self.name);
        filled
    }
}

/// `label_values(SELECTOR, LABEL)`: both.
fn label_values(query: &str) -> (&str, &str) {
    query
        .strip_prefix("label_values(")
        .and_then(|rest| rest.strip_suffix(')'))
        .and_then(|rest| rest.rsplit_once(", "))
        .unwrap_or_else(|| panic!("{query} is not label_values(_, _)"))
}

/// `{{a}} and {{b}}`: a, b.
fn placeholders(legend: &str) -> Vec<&str> {
    let after = legend.split("{{").skip(1);
    after.filter_map(|rest| rest.split_once("}}")).map(|(l, _)| l).collect()
}
