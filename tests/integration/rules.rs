// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The rule files of `templates/`: promtool accepts them and runs their unit
//! tests; each alert is shown firing and keeping quiet, asks only for metrics
//! that exist, and has its section in the runbook.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use localdc::metric_names;
use promql_parser::label::MatchOp;
use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde::Deserialize;

/// Who evaluates the rules of which folder.
const EVALUATORS: [&str; 2] = ["prometheus", "thanos"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    /// Costly groups are evaluated seldom.
    #[serde(rename = "interval")]
    _interval: Option<String>,
    rules: Vec<Rule>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    alert: Option<String>,
    record: Option<String>,
    expr: String,
    #[serde(rename = "for")]
    _pending: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The parts of a promtool test that are looked at here.
#[derive(Deserialize)]
struct TestFile {
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    promql_expr_test: Vec<ExprTest>,
}

#[derive(Deserialize)]
struct ExprTest {
    expr: String,
    exp_samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    labels: String,
}

/// Every sample that tests expect of an alert, and whether it was ever quiet.
#[derive(Default)]
struct Shown {
    fired: Vec<BTreeMap<String, String>>,
    quiet: bool,
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Files of a folder of the workspace, by the end of their names.
fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let dir = workspace().join(folder);
    let mut found: Vec<_> = std::fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "{} holds *{end}", dir.display());
    found
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> T {
    let text = std::fs::read_to_string(path).expect("the file can be read");
    serde_yaml::from_str(&text)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rule_files(evaluator: &str) -> Vec<PathBuf> {
    files(&format!("templates/{evaluator}/rules"), ".yml")
}

fn rules(evaluator: &str) -> Vec<Rule> {
    rule_files(evaluator)
        .iter()
        .flat_map(|path| read::<RuleFile>(path).groups)
        .flat_map(|group| group.rules)
        .collect()
}

/// Every alert of both evaluators, with its name.
fn alerts() -> Vec<(String, Rule)> {
    EVALUATORS
        .into_iter()
        .flat_map(rules)
        .filter_map(|rule| Some((rule.alert.clone()?, rule)))
        .collect()
}

/// Selectors of an expression, those under functions and ranges too.
fn selectors(expr: &str) -> Vec<VectorSelector> {
    struct Found(Vec<VectorSelector>);
    impl ExprVisitor for Found {
        type Error = Infallible;
        fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Infallible> {
            match expr {
                Expr::VectorSelector(vector) => self.0.push(vector.clone()),
                Expr::MatrixSelector(matrix) => self.0.push(matrix.vs.clone()),
                _ => {}
            }
            Ok(true)
        }
    }
    let parsed =
        parser::parse(expr).unwrap_or_else(|error| panic!("{expr}: {error}"));
    let mut found = Found(Vec::new());
    let Ok(_) = walk_expr(&mut found, &parsed);
    found.0
}

/// The value of an equality matcher.
fn equal<'a>(selector: &'a VectorSelector, label: &str) -> Option<&'a str> {
    let mut matchers = selector.matchers.matchers.iter();
    matchers
        .find(|m| m.name == label && matches!(m.op, MatchOp::Equal))
        .map(|m| m.value.as_str())
}

/// What the unit tests show of each alert.
fn shown() -> BTreeMap<String, Shown> {
    let mut shown = BTreeMap::<String, Shown>::new();
    let tests = files("tests/fixtures/rules", ".test.yml");
    let tests = tests.iter().flat_map(|path| read::<TestFile>(path).tests);
    for test in tests.flat_map(|test| test.promql_expr_test) {
        let asked = selectors(&test.expr);
        let [asked] = asked.as_slice() else { panic!("{}", test.expr) };
        assert_eq!(asked.name.as_deref(), Some("ALERTS"), "{}", test.expr);
        assert_eq!(equal(asked, "alertstate"), Some("firing"), "{}", test.expr);
        let name = equal(asked, "alertname").expect("an alert is named");
        let entry = shown.entry(name.to_owned()).or_default();
        entry.quiet |= test.exp_samples.is_empty();
        for sample in test.exp_samples {
            let [series] = &selectors(&sample.labels)[..] else {
                panic!("{}", sample.labels)
            };
            let labels = series.matchers.matchers.iter();
            let labels = labels.map(|m| (m.name.clone(), m.value.clone()));
            entry.fired.push(labels.collect());
        }
    }
    shown
}

/// Names between `{{` and `}}`: `$value` or labels, each with its filter.
fn placeholders(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in text.split("{{").skip(1) {
        let (inner, _) = part.split_once("}}").expect("{{ has its }}");
        found.push(inner.trim().to_owned());
    }
    found
}

#[expect(clippy::disallowed_methods, reason = "promtool, in a test")]
fn promtool(args: &[&str], path: &Path) -> Result<(), String> {
    let output = Command::new("promtool")
        .args(args)
        .arg(path)
        .output()
        .expect("promtool runs");
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{}: {}{}",
        path.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// Runs promtool on each file, all at once.
fn promtool_each(args: &[&str], paths: &[PathBuf]) {
    let failed: Vec<String> = thread::scope(|scope| {
        let runs: Vec<_> = paths
            .iter()
            .map(|path| scope.spawn(move || promtool(args, path)))
            .collect();
        runs.into_iter()
            .filter_map(|run| run.join().expect("no panic").err())
            .collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn promtool_accepts_every_rule_file() {
    for evaluator in EVALUATORS {
        promtool_each(&["check", "rules"], &rule_files(evaluator));
    }
}

#[test]
fn promtool_runs_every_unit_test() {
    let tests = files("tests/fixtures/rules", ".test.yml");
    promtool_each(&["test", "rules"], &tests);
    // None is forgotten, none tests a file that went.
    let tested: BTreeSet<String> = tests
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    let wanted = EVALUATORS.into_iter().flat_map(|evaluator| {
        rule_files(evaluator).into_iter().map(move |path| {
            let stem = path.file_stem().unwrap().to_string_lossy();
            format!("{evaluator}-{stem}.test.yml")
        })
    });
    assert_eq!(tested, wanted.collect());
}

#[test]
fn names_are_used_once() {
    for evaluator in EVALUATORS {
        let groups = rule_files(evaluator)
            .iter()
            .flat_map(|path| read::<RuleFile>(path).groups)
            .map(|group| group.name)
            .collect::<Vec<_>>();
        let distinct: BTreeSet<_> = groups.iter().collect();
        assert_eq!(distinct.len(), groups.len(), "groups of {evaluator}");
    }
    let names: Vec<_> = alerts().into_iter().map(|(name, _)| name).collect();
    let distinct: BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len(), "{names:?}");
}

#[test]
fn every_alert_tells_what_it_means() {
    let runbook = workspace().join("templates/prometheus/runbook.md");
    let runbook = std::fs::read_to_string(runbook).unwrap();
    let sections: BTreeSet<String> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(str::to_lowercase)
        .collect();
    let mut wanted = BTreeSet::new();
    for (name, rule) in alerts() {
        let severity = rule.labels.get("severity").map(String::as_str);
        assert!(
            matches!(severity, Some("critical" | "warning" | "info")),
            "{name}: severity {severity:?}"
        );
        let keys: Vec<_> = rule.annotations.keys().collect();
        assert_eq!(keys, ["description", "runbook", "summary"], "{name}");
        let section = &rule.annotations["runbook"];
        assert_eq!(*section, name.to_lowercase());
        assert!(sections.contains(section), "{name}: no section {section}");
        assert!(
            rule.annotations.values().all(|text| !text.trim().is_empty()),
            "{name}: an annotation is empty"
        );
        wanted.insert(section.clone());
    }
    // Rules made from instances; their own test is with the Thanos zone.
    let expected = workspace().join("templates/thanos/expected.yml.tera");
    let expected = std::fs::read_to_string(expected).unwrap();
    let made = expected.lines().map(str::trim);
    wanted.extend(
        made.filter_map(|line| line.strip_prefix("runbook: "))
            .map(str::to_owned),
    );
    assert_eq!(sections, wanted, "sections without an alert");
}

#[test]
fn every_alert_is_shown_firing_and_keeping_quiet() {
    let mut shown = shown();
    for (name, rule) in alerts() {
        let shown = shown.remove(&name).unwrap_or_default();
        assert!(!shown.fired.is_empty(), "{name} is never seen to fire");
        // The dead man's switch has no quiet side.
        let always = rule.expr.trim() == "vector(1)";
        assert!(shown.quiet || always, "{name} is never seen to keep quiet");
        // A label that the expression drops would be an empty word.
        for text in rule.annotations.values() {
            for inner in placeholders(text) {
                let (what, _filter) =
                    inner.split_once('|').unwrap_or((&inner, ""));
                let what = what.trim();
                if what == "$value" {
                    continue;
                }
                let label = what
                    .strip_prefix("$labels.")
                    .unwrap_or_else(|| panic!("{name}: {what}"));
                assert!(
                    shown.fired.iter().any(|s| s.contains_key(label)),
                    "{name} speaks of {label}, and has it in no test"
                );
            }
        }
    }
    let left: Vec<_> = shown.into_keys().collect();
    assert!(left.is_empty(), "tests of alerts that went: {left:?}");
}

#[test]
fn rules_ask_for_metrics_that_exist() {
    let sources = metric_names::sources();
    for evaluator in EVALUATORS {
        let rules = rules(evaluator);
        let made: BTreeSet<_> =
            rules.iter().filter_map(|rule| rule.record.as_deref()).collect();
        for rule in &rules {
            for selector in selectors(&rule.expr) {
                let name = selector.name.as_deref().unwrap_or_else(|| {
                    panic!("a selector without a name: {}", rule.expr)
                });
                if made.contains(name) {
                    continue;
                }
                let known = sources
                    .get(name)
                    .unwrap_or_else(|| panic!("{name}: {}", rule.expr));
                assert!(
                    known.iter().any(|s| !s.text.contains("no alert may rest")),
                    "{name} is too new: {}",
                    rule.expr
                );
            }
        }
    }
}

/// Prometheus 3 writes `le="1.0"` where 2 wrote `le="1"`.
#[test]
fn buckets_are_asked_for_in_both_spellings() {
    for rule in EVALUATORS.into_iter().flat_map(rules) {
        for selector in selectors(&rule.expr) {
            let exact = equal(&selector, "le");
            assert_eq!(exact, None, "{}", rule.expr);
        }
    }
}

#[test]
fn the_list_of_our_own_metrics_is_that_of_the_agent() {
    let sources = [
        include_str!("../../agent/src/status/metrics.rs"),
        include_str!("../../agent/src/status/dns_metrics.rs"),
    ];
    let exported: BTreeSet<&str> = sources
        .into_iter()
        .flat_map(|source| source.split('"'))
        .filter(|text| text.starts_with("config_agent_"))
        .collect();
    let listed: BTreeSet<String> = metric_names::known()
        .into_iter()
        .filter(|name| name.starts_with("config_agent_"))
        .collect();
    for name in &exported {
        let histogram = format!("{name}_bucket");
        let there = listed.contains(*name) || listed.contains(&histogram);
        assert!(there, "{name} is not listed");
    }
    for name in &listed {
        let family = ["_bucket", "_sum", "_count"]
            .into_iter()
            .find_map(|part| name.strip_suffix(part))
            .unwrap_or(name);
        assert!(exported.contains(family), "{name} is listed");
    }
}
