// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What panels ask. Expressions are read by two parsers: promtool's is
//! Prometheus' own; ours tells which labels are left for a legend.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use localdc::metric_names;
use serde_json::Value;

use super::known::{LABELS, is_counter};
use super::{
    RATE_INTERVAL, all, label_values, list, placeholders, promql, text, world,
};

/// Whether promtool likes a file of this content, and what it says.
#[expect(clippy::disallowed_methods, reason = "promtool, in a test")]
fn promtool(args: &[&str], file: &Value) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file.yml");
    std::fs::write(&path, file.to_string()).expect("written");
    let output = Command::new("promtool")
        .args(args)
        .arg(&path)
        .current_dir(folder.path())
        .output()
        .expect("promtool runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

#[test]
fn promtool_reads_every_expression() {
    let mut rules = Vec::new();
    for dashboard in all() {
        let mut add = |expr: &str| {
            let record = format!("q{}", rules.len());
            let expr = dashboard.fill(expr);
            rules.push(serde_json::json!({ "record": record, "expr": expr }));
        };
        for target in dashboard.targets() {
            add(target.expr);
        }
        for variable in &dashboard.variables()[1..] {
            add(label_values(text(&variable["query"], "query")).0);
        }
        for annotation in list(&dashboard.json["annotations"], "list") {
            add(text(annotation, "expr"));
        }
    }
    let groups = serde_json::json!({
        "groups": [{ "name": "dashboards", "rules": rules }],
    });
    let (success, said) = promtool(&["check", "rules"], &groups);
    assert!(success, "{said}");
    assert!(said.contains(&format!("{} rules found", rules.len())), "{said}");
}

/// Names and labels may all exist and a query still find nothing: two sides
/// of a division that do not match, an `and` that never holds.
#[test]
fn every_query_finds_something_where_there_is() {
    let mut tests = Vec::new();
    for dashboard in all() {
        for target in dashboard.targets() {
            let expr = dashboard.fill(target.expr);
            let query = promql::read(&expr).unwrap();
            tests.push(world::test(&target.at, &expr, &query));
        }
    }
    let rules = serde_json::json!({ "rule_files": [], "tests": tests });
    let (success, said) = promtool(&["test", "rules"], &rules);
    assert!(success, "{said}");
}

/// Names that our recording rules make, of every role.
fn recorded() -> BTreeSet<String> {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates");
    let mut found = BTreeSet::new();
    for role in std::fs::read_dir(templates).expect("the folder is there") {
        let rules = role.expect("it can be listed").path().join("rules");
        let Ok(files) = std::fs::read_dir(rules) else { continue };
        for file in files {
            let path = file.expect("it can be listed").path();
            let text = std::fs::read_to_string(path).expect("text");
            let names = text
                .lines()
                .filter_map(|line| line.trim().strip_prefix("- record: "));
            found.extend(names.map(str::to_owned));
        }
    }
    found
}

#[test]
fn every_metric_and_label_exists() {
    let mut metrics = metric_names::known();
    metrics.extend(recorded());
    for dashboard in all() {
        let check = |at: &str, expr: &str| {
            let query = promql::read(&dashboard.fill(expr))
                .unwrap_or_else(|e| panic!("{at}: {e}: {expr}"));
            let mut labels = query.named;
            for used in query.uses {
                let metric = &used.metric;
                assert!(metrics.contains(metric), "{at}: no metric {metric}");
                labels.extend(used.matchers.into_iter().map(|m| m.name));
            }
            for label in labels {
                let known = LABELS.contains(&label.as_str());
                assert!(known, "{at}: no label {label}");
            }
        };
        for target in dashboard.targets() {
            check(&target.at, target.expr);
        }
        for variable in &dashboard.variables()[1..] {
            let query = text(&variable["query"], "query");
            let (selector, label) = label_values(query);
            check(&dashboard.name, selector);
            assert!(LABELS.contains(&label), "{}: {label}", dashboard.name);
        }
    }
}

#[test]
fn every_selector_keeps_to_the_chosen_datacenter() {
    for dashboard in all() {
        for target in dashboard.targets() {
            let query = promql::read(&dashboard.fill(target.expr)).unwrap();
            for used in query.uses {
                let own = used.metric.starts_with("ALERTS");
                let kept = own || used.matchers.iter().any(|m| m.name == "job");
                assert!(kept, "{}: {}", target.at, used.metric);
            }
        }
    }
}

#[test]
fn counters_are_rated_and_gauges_are_not() {
    for dashboard in all() {
        for target in dashboard.targets() {
            let query = promql::read(&dashboard.fill(target.expr)).unwrap();
            for used in query.uses {
                let at = format!("{}: {}", target.at, used.metric);
                let counter = is_counter(&used.metric);
                match used.ranged {
                    Some(("rate" | "increase", _)) => {
                        assert!(counter, "{at} is a gauge");
                    }
                    _ => assert!(
                        !counter || used.counted,
                        "{at} is a counter and only ever grows"
                    ),
                }
            }
        }
    }
}

/// A course needs the interval of its resolution; an instant's would follow
/// the time range shown, which has nothing to do with now.
#[test]
fn rates_over_time_follow_the_resolution() {
    for dashboard in all() {
        for target in dashboard.targets() {
            let query = promql::read(&dashboard.fill(target.expr)).unwrap();
            for used in query.uses {
                let Some((function, range)) = used.ranged else { continue };
                if target.instant {
                    assert_ne!(range, RATE_INTERVAL, "{}", target.at);
                } else if function == "rate" {
                    assert_eq!(range, RATE_INTERVAL, "{}", target.at);
                }
            }
        }
    }
}

#[test]
fn legends_and_links_name_labels_that_are_left() {
    let all = all();
    let variables: BTreeMap<_, BTreeSet<_>> = all
        .iter()
        .map(|d| {
            let names = d.variables().iter().map(|v| text(v, "name"));
            (d.name.as_str(), names.collect())
        })
        .collect();
    for dashboard in &all {
        for target in dashboard.targets() {
            let at = &target.at;
            let labels =
                promql::read(&dashboard.fill(target.expr)).unwrap().labels;
            for label in placeholders(target.legend) {
                assert!(labels.has(label), "{at}: {label} does not survive");
            }
            let one_line = matches!(&labels, promql::Labels::Only(left)
                if left.is_empty());
            let table = text(target.panel, "type") == "table";
            assert!(
                one_line || table || target.legend.contains("{{"),
                "{at}: many series, one name"
            );
            assert!(!table || !target.legend.contains("{{"), "{at}");
            let defaults = &target.panel["fieldConfig"]["defaults"];
            for link in list(defaults, "links") {
                let url = text(link, "url").strip_prefix("/d/").unwrap();
                let (uid, rest) = url.split_once('?').unwrap();
                let there = variables
                    .get(uid)
                    .unwrap_or_else(|| panic!("{at}: no dashboard {uid}"));
                let Some((_, rest)) = rest.split_once("&var-") else {
                    continue;
                };
                let (variable, rest) = rest.split_once('=').unwrap();
                assert!(there.contains(variable), "{at}: {variable}");
                // A table's row has columns where a series has labels.
                let taken = match table {
                    true => "${__data.fields.",
                    false => "${__field.labels.",
                };
                let label = rest
                    .strip_prefix(taken)
                    .and_then(|rest| rest.split_once('}'))
                    .unwrap()
                    .0;
                assert!(labels.has(label), "{at}: {label} does not survive");
            }
        }
    }
}

/// Rows of a table join by their labels: they must have the same ones.
#[test]
fn columns_of_a_table_have_the_same_labels() {
    for dashboard in all() {
        for panel in dashboard.panels() {
            if text(panel, "type") != "table" {
                continue;
            }
            let mut labels = list(panel, "targets").iter().map(|target| {
                let expr = dashboard.fill(text(target, "expr"));
                promql::read(&expr).unwrap().labels
            });
            let first = labels.next().unwrap();
            let at = format!("{}: {}", dashboard.name, text(panel, "title"));
            assert!(matches!(first, promql::Labels::Only(_)), "{at}");
            assert!(labels.all(|other| other == first), "{at}");
        }
    }
}
