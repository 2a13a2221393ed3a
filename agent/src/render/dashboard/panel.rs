// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One panel's JSON: what each type of Grafana 11 takes.

use serde_json::{Value, json};

use super::description::{Drill, Kind, Panel, Query, Thresholds};
use super::source;

/// The JSON of `panel`, standing at `position`.
pub(super) fn panel(panel: &Panel, id: u32, position: Value) -> Value {
    if panel.kind == Kind::Text {
        return json!({
            "id": id,
            "type": "text",
            "title": panel.title,
            "gridPos": position,
            "options": { "mode": "markdown", "content": panel.text },
        });
    }
    let mut json = json!({
        "id": id,
        "type": panel.kind.as_str(),
        "title": panel.title,
        "description": panel.help,
        "datasource": source(),
        "gridPos": position,
        "targets": targets(panel),
        "fieldConfig": {
            "defaults": defaults(panel),
            "overrides": overrides(panel),
        },
        "options": options(panel),
    });
    if panel.kind == Kind::Table {
        json["transformations"] = transformations(&panel.query);
    }
    json
}

/// Whether thresholds name yellow and then red, or red alone.
pub(super) fn in_order(thresholds: &Thresholds) -> bool {
    match thresholds {
        Thresholds::Above(at) => match at[..] {
            [_] => true,
            [yellow, red] => yellow < red,
            _ => false,
        },
        Thresholds::Below(at) => match at[..] {
            [_] => true,
            [yellow, red] => yellow > red,
            _ => false,
        },
    }
}

fn targets(panel: &Panel) -> Vec<Value> {
    let instant = panel.kind.is_instant();
    let format = match panel.kind {
        Kind::Table => "table",
        Kind::Heatmap => "heatmap",
        _ => "time_series",
    };
    let target = |(query, letter): (&Query, char)| {
        json!({
            "refId": letter.to_string(),
            "datasource": source(),
            "editorMode": "code",
            "expr": query.expr.trim(),
            "legendFormat": query.legend,
            "instant": instant,
            "range": !instant,
            "format": format,
        })
    };
    panel.query.iter().zip('A'..='Z').map(target).collect()
}

fn defaults(panel: &Panel) -> Value {
    let by_threshold = panel.kind != Kind::Timeseries;
    let mut defaults = json!({
        "unit": panel.unit,
        "color": {
            "mode": if by_threshold { "thresholds" } else { "palette-classic" },
        },
        "thresholds": { "mode": "absolute", "steps": steps(panel) },
        "mappings": mappings(panel),
        "links": panel.drill.iter().map(|to| link(to, panel.kind)).collect::<Vec<_>>(),
        "custom": custom(panel),
    });
    for (name, value) in [
        ("min", panel.min.map(Value::from)),
        ("max", panel.max.map(Value::from)),
        ("decimals", panel.decimals.map(Value::from)),
    ] {
        if let Some(value) = value {
            defaults[name] = value;
        }
    }
    defaults
}

fn custom(panel: &Panel) -> Value {
    match panel.kind {
        Kind::Timeseries => json!({
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": if panel.stack { 40 } else { 8 },
            "showPoints": "auto",
            // A gap is a finding; a line across it would hide that.
            "spanNulls": false,
            "stacking": {
                "mode": if panel.stack { "normal" } else { "none" },
                "group": "A",
            },
            "thresholdsStyle": {
                "mode": if panel.thresholds.is_some() { "line" } else { "off" },
            },
        }),
        Kind::StateTimeline => json!({ "lineWidth": 0, "fillOpacity": 70 }),
        Kind::Table => json!({
            "align": "auto",
            "filterable": true,
            "cellOptions": { "type": "auto" },
        }),
        _ => json!({}),
    }
}

/// Grafana's list: the colour below all, then each value it changes at.
fn steps(panel: &Panel) -> Value {
    let (colors, at) = match &panel.thresholds {
        None => (vec!["green"], vec![]),
        Some(Thresholds::Above(at)) if at.len() == 1 => {
            (vec!["green", "red"], at.clone())
        }
        Some(Thresholds::Above(at)) => {
            (vec!["green", "yellow", "red"], at.clone())
        }
        Some(Thresholds::Below(at)) if at.len() == 1 => {
            (vec!["red", "green"], at.clone())
        }
        Some(Thresholds::Below(at)) => {
            (vec!["red", "yellow", "green"], at.iter().rev().copied().collect())
        }
    };
    let values = std::iter::once(None).chain(at.into_iter().map(Some));
    colors
        .into_iter()
        .zip(values)
        .map(|(color, value)| json!({ "color": color, "value": value }))
        .collect()
}

fn mappings(panel: &Panel) -> Value {
    if panel.state.is_empty() {
        return json!([]);
    }
    let mut options = serde_json::Map::new();
    for (index, state) in panel.state.iter().enumerate() {
        options.insert(
            state.value.to_string(),
            json!({
                "text": state.text,
                "color": state.color,
                "index": index,
            }),
        );
    }
    json!([{ "type": "value", "options": options }])
}

/// Leads to another dashboard with the same region and time, and the label
/// that was clicked on: a series has labels, a table's row has columns.
fn link(drill: &Drill, kind: Kind) -> Value {
    let labels = match kind {
        Kind::Table => "__data.fields",
        _ => "__field.labels",
    };
    let mut url = format!("/d/{}?${{datasource:queryparam}}", drill.uid);
    if let Some(label) = &drill.label {
        let variable = drill.variable.as_ref().unwrap_or(label);
        url.push_str(&format!("&var-{variable}=${{{labels}.{label}}}"));
    }
    url.push_str("&${__url_time_range}");
    json!({ "title": "In depth", "url": url, "targetBlank": false })
}

/// In a table each query is a column, which may have its own unit. Only
/// those in the panel's unit are coloured: thresholds are in that.
fn overrides(panel: &Panel) -> Vec<Value> {
    if panel.kind != Kind::Table {
        return Vec::new();
    }
    let colored = panel.thresholds.is_some() || !panel.state.is_empty();
    let column = |query: &Query| {
        let property = match &query.unit {
            Some(unit) => json!({ "id": "unit", "value": unit }),
            None if colored => json!({
                "id": "custom.cellOptions",
                "value": { "type": "color-text" },
            }),
            None => return None,
        };
        Some(json!({
            "matcher": { "id": "byName", "options": query.legend },
            "properties": [property],
        }))
    };
    panel.query.iter().filter_map(column).collect()
}

/// Joins the columns by their labels and names them.
fn transformations(queries: &[Query]) -> Value {
    let mut names = serde_json::Map::new();
    for (query, letter) in queries.iter().zip('A'..='Z') {
        let column = match queries.len() {
            1 => "Value".to_owned(),
            _ => format!("Value #{letter}"),
        };
        names.insert(column, Value::from(query.legend.as_str()));
    }
    json!([
        { "id": "merge", "options": {} },
        {
            "id": "organize",
            "options": {
                "excludeByName": { "Time": true },
                "indexByName": {},
                "renameByName": names,
            },
        },
    ])
}

fn options(panel: &Panel) -> Value {
    let reduce = json!({
        "calcs": ["lastNotNull"], "fields": "", "values": false,
    });
    let legend = |calcs: &[&str]| {
        json!({
            "showLegend": true,
            "displayMode": if calcs.is_empty() { "list" } else { "table" },
            "placement": "bottom",
            "calcs": calcs,
        })
    };
    match panel.kind {
        Kind::Timeseries => json!({
            "legend": legend(&["lastNotNull", "max"]),
            "tooltip": { "mode": "multi", "sort": "desc" },
        }),
        Kind::Stat => json!({
            "reduceOptions": reduce,
            "colorMode": match panel.thresholds {
                Some(_) => "background",
                None => "value",
            },
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": "auto",
        }),
        Kind::Gauge => json!({
            "reduceOptions": reduce,
            "orientation": "auto",
            "showThresholdLabels": false,
            "showThresholdMarkers": true,
        }),
        Kind::Bargauge => json!({
            "reduceOptions": reduce,
            "displayMode": "basic",
            "orientation": "horizontal",
            "showUnfilled": true,
            "valueMode": "color",
        }),
        Kind::Table => json!({
            "showHeader": true,
            "cellHeight": "sm",
            "sortBy": panel.query.iter().take(1).map(|query| {
                json!({ "displayName": query.legend, "desc": true })
            }).collect::<Vec<_>>(),
        }),
        Kind::Heatmap => json!({
            "calculate": false,
            "cellGap": 1,
            "color": {
                "mode": "scheme", "scheme": "Oranges", "steps": 64,
                "exponent": 0.5, "fill": "dark-orange", "reverse": false,
            },
            "filterValues": { "le": 1e-9 },
            "legend": { "show": true },
            "rowsFrame": { "layout": "auto" },
            "tooltip": { "mode": "single", "yHistogram": false },
            "yAxis": { "axisPlacement": "left", "unit": panel.unit },
        }),
        Kind::StateTimeline => json!({
            "alignValue": "left",
            "mergeValues": true,
            "rowHeight": 0.9,
            "showValue": "never",
            "legend": legend(&[]),
            "tooltip": { "mode": "single", "sort": "none" },
        }),
        Kind::Text => json!({}),
    }
}
