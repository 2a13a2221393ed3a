// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

use std::error::Error;

use super::*;

const SMALL: &str = r#"
title = "Small"
uid = "small"
help = "One of each shape."
tags = ["test"]

[[variable]]
name = "alias"
label = "Zone"
query = "label_values(up, alias)"
all = ".+"

[[variable]]
name = "job"
label = "Job"
query = "label_values(up, job)"
single = true

[[row]]
[[row.panel]]
title = "Down"
help = "Targets that do not answer."
kind = "stat"
unit = "none"
thresholds = { above = [1] }
[[row.panel.query]]
expr = 'count(up{job="$job"} == 0) or vector(0)'
legend = "down"

[[row.panel]]
title = "Note"
kind = "text"
width = 21
text = "Read me."

[[row]]
title = "Folded"
collapsed = true
[[row.panel]]
title = "Zones"
help = "Which zones answer."
kind = "table"
unit = "none"
drill = { uid = "small", label = "alias" }
state = [{ value = 0, text = "down", color = "red" }]
[[row.panel.query]]
expr = 'max by (alias) (up{alias=~"$alias"})'
legend = "Up"
[[row.panel.query]]
expr = 'max by (alias) (scrape_duration_seconds{alias=~"$alias"})'
legend = "Took"
unit = "s"

[[row]]
title = "Open"
[[row.panel]]
title = "Up"
help = "Share of targets that answer."
unit = "percentunit"
min = 0
max = 1
decimals = 2
thresholds = { below = [0.99, 0.9] }
[[row.panel.query]]
expr = 'avg(up)'
legend = "up"
"#;

fn json(text: &str) -> Value {
    serde_json::from_str(&dashboard(text, "t.toml").unwrap()).unwrap()
}

fn problems(text: &str) -> Vec<String> {
    match dashboard(text, "t.toml") {
        Err(DashboardError::Invalid { problems, .. }) => problems,
        other => panic!("{other:?}"),
    }
}

fn places(panels: &Value) -> Vec<[u64; 4]> {
    let panels = panels.as_array().unwrap().iter();
    let at = |panel: &Value, key| panel["gridPos"][key].as_u64().unwrap();
    panels.map(|p| ["x", "y", "w", "h"].map(|key| at(p, key))).collect()
}

#[test]
fn panels_fill_lines_and_a_folded_row_takes_one() {
    let panels = &json(SMALL)["panels"];
    assert_eq!(
        places(panels),
        [
            [0, 0, 4, 4],
            // 4 + 21 does not fit.
            [0, 4, 21, 8],
            [0, 12, 24, 1],
            [0, 13, 24, 1],
            [0, 14, 8, 8],
        ]
    );
    assert_eq!(places(&panels[2]["panels"]), [[0, 13, 24, 8]]);
}

#[test]
fn ids_depend_on_titles_alone() {
    let before = json(SMALL);
    let row = SMALL.split("[[row]]\ntitle = \"Folded\"").next().unwrap();
    let after = json(row);
    assert_eq!(before["panels"][0]["id"], after["panels"][0]["id"]);
    assert_ne!(before["panels"][0]["id"], before["panels"][1]["id"]);
    let twice = SMALL.replace("\"Note\"", "\"Down\"");
    assert_eq!(problems(&twice), ["/Down: title taken"]);
}

#[test]
fn low_is_bad_where_it_says_so() {
    let panels = &json(SMALL)["panels"];
    let steps = |at: usize| {
        panels[at]["fieldConfig"]["defaults"]["thresholds"]["steps"].clone()
    };
    assert_eq!(
        steps(0),
        json!([
            { "color": "green", "value": null },
            { "color": "red", "value": 1.0 },
        ])
    );
    assert_eq!(
        steps(4),
        json!([
            { "color": "red", "value": null },
            { "color": "yellow", "value": 0.9 },
            { "color": "green", "value": 0.99 },
        ])
    );
}

#[test]
fn a_table_has_a_named_column_per_query() {
    let table = &json(SMALL)["panels"][2]["panels"][0];
    assert_eq!(table["targets"][1]["format"], "table");
    assert_eq!(table["targets"][1]["instant"], true);
    assert_eq!(
        table["transformations"][1]["options"]["renameByName"],
        json!({ "Value #A": "Up", "Value #B": "Took" })
    );
    assert_eq!(
        table["fieldConfig"]["overrides"],
        json!([
            {
                "matcher": { "id": "byName", "options": "Up" },
                "properties": [{
                    "id": "custom.cellOptions",
                    "value": { "type": "color-text" },
                }],
            },
            {
                "matcher": { "id": "byName", "options": "Took" },
                "properties": [{ "id": "unit", "value": "s" }],
            },
        ])
    );
    assert_eq!(
        table["fieldConfig"]["defaults"]["links"][0]["url"],
        "/d/small?${datasource:queryparam}&var-alias=${__data.fields.alias}\
         &${__url_time_range}"
    );
}

#[test]
fn every_problem_is_said_at_once() {
    let bad = SMALL
        .replace("uid = \"small\"\nhelp", "uid = \"Small_1\"\nhelp")
        .replace("unit = \"none\"\nthresholds", "thresholds")
        .replace("name = \"job\"", "name = \"alias\"")
        .replace("width = 21", "width = 25")
        .replace("[0.99, 0.9]", "[0.9, 0.99]")
        .replace("title = \"Open\"\n", "");
    assert_eq!(
        problems(&bad),
        [
            "uid \"Small_1\" is not 1 to 40 of a-z, 0-9 and -",
            "variable \"alias\" is not a name, or there twice",
            "/Down: no unit",
            "/Note: a panel of 25 by 8 does not fit",
            "row 2 has no title",
            "/Up: thresholds are one or two, yellow before red",
        ]
    );
}

#[test]
fn an_unknown_word_is_refused_with_its_place() {
    let bad = SMALL.replace("collapsed = true", "colapsed = true");
    let error = dashboard(&bad, "t.toml").unwrap_err();
    assert_eq!(error.to_string(), "t.toml is not a dashboard description");
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("colapsed") && cause.contains("line"), "{cause}");
}

#[test]
fn what_grafana_gets_is_reviewed() {
    insta::assert_snapshot!(dashboard(SMALL, "t.toml").unwrap());
}

/// Whoever edits a stock dashboard learns of a mistake here already.
#[test]
fn stock_dashboards_build() {
    let folder =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../templates/grafana/dashboards");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let built = dashboard(&text, &path.to_string_lossy()).unwrap();
        assert_eq!(built, dashboard(&text, "again").unwrap());
    }
}
