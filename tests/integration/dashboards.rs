// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The stock dashboards: each builds, stands well on Grafana's grid, and asks
//! only what can be answered. Expressions are read by two parsers: promtool's
//! is Prometheus' own; ours tells which labels are left for a legend.

mod promql;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use localdc::metric_names;
use monitoring_agent::render::dashboard;
use serde_json::Value;

/// Stands for `$__rate_interval` once variables are filled in; nobody writes
/// that by hand.
const RATE_INTERVAL: Duration = Duration::from_secs(247);

/// Types of Grafana 11 we use; `graph`, `singlestat`, `table-old` are Angular.
const TYPES: [&str; 9] = [
    "row",
    "timeseries",
    "stat",
    "gauge",
    "bargauge",
    "table",
    "heatmap",
    "state-timeline",
    "text",
];

/// Labels that there are: contract sheet grafana-ufds 4.2, then what the
/// daemons' own metrics carry, by their sources.
const LABELS: [&str; 58] = [
    // Scrapes, discovery, alerts.
    "job",
    "instance",
    "alias",
    "hostname",
    "le",
    "quantile",
    "alertname",
    "alertstate",
    "severity",
    // Triton's services, Moray, Manatee, Manta.
    "service",
    "route",
    "method",
    "status_code",
    "rpcMethod",
    "interface",
    "gcType",
    "pool",
    "collector",
    "state",
    "datname",
    "relname",
    "operation",
    "statusCode",
    "success",
    "type",
    // config-agent.
    "file",
    "daemon",
    "zone",
    "suffix",
    "address",
    "what",
    "role",
    "version",
    // Prometheus.
    "config",
    "name",
    "mechanism",
    "interval",
    "slice",
    "rule_group",
    "alertmanager",
    "url",
    // Thanos; a job of ours holds several components.
    "component",
    "handler",
    "code",
    "grpc_code",
    "store_type",
    "external_labels",
    "op",
    "item_type",
    "reason",
    "result",
    "strategy",
    // Alertmanager; `hash` is made by count_values.
    "integration",
    "status",
    "hash",
    // Grafana.
    "datasource",
    "datasource_type",
    "secure_socks_ds_proxy_enabled",
];

/// Units of Grafana's that we use; it shows any other as text.
const UNITS: [&str; 12] = [
    "percentunit",
    "percent",
    "bytes",
    "Bps",
    "pps",
    "cps",
    "reqps",
    "ops",
    "s",
    "ms",
    "short",
    "none",
];

/// Gauges whose names end as counters' do.
const GAUGES: [&str; 7] = [
    "ntp_peer_last8_polls_failure_count",
    "tcp_current_established_connections_total",
    "heartbeating_servers_count",
    "nodejs_active_handles_count",
    "nodejs_active_requests_count",
    "gc_storage_instruction_files_queued_count",
    "cpucap_waiting_threads_count",
];

/// Counters whose names do not end as counters' do; histograms of Node's
/// have their buckets under the bare name.
const COUNTERS: [&str; 31] = [
    "cpu_user_usage",
    "cpu_sys_usage",
    "cpu_wait_time",
    "mem_anon_alloc_fail",
    "net_agg_bytes_in",
    "net_agg_bytes_out",
    "net_agg_packets_in",
    "net_agg_packets_out",
    "metaslab_group_loads",
    "http_requests_completed",
    "http_request_duration_seconds",
    "http_request_latency_ms",
    "collector_time_seconds",
    "fast_requests_completed",
    "fast_request_time_ms",
    "fast_server_request_time_seconds",
    "fast_client_requests_completed",
    "fast_client_request_time_ms",
    "fast_client_request_time_seconds",
    "binder_requests_completed",
    "binder_request_latency_seconds",
    "muskie_inbound_streamed_bytes",
    "muskie_outbound_streamed_bytes",
    "pg_stat_database_xact_commit",
    "pg_stat_database_blks_hit",
    "pg_stat_database_blks_read",
    "pg_stat_database_tup_inserted",
    "pg_stat_database_tup_updated",
    "pg_stat_database_tup_deleted",
    "pg_stat_database_tup_fetched",
    "pg_stat_user_tables_",
];

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

fn is_counter(metric: &str) -> bool {
    let named = ["_total", "_count", "_sum", "_bucket"]
        .iter()
        .any(|ending| metric.ends_with(ending));
    let listed = COUNTERS
        .iter()
        .any(|c| *c == metric || c.ends_with('_') && metric.starts_with(c));
    (named || listed) && !GAUGES.contains(&metric)
}

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
