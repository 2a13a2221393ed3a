// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Stock dashboards: a short description becomes what Grafana 11 provisions
//! (classic JSON, schema version 39).
//!
//! A description says what to ask; this says everything that is the same on
//! each dashboard, so that it cannot differ by mistake: the data source is a
//! choice (`$datasource`, one per region), nothing can be edited, links lead
//! to all others and take time and choices along, critical alerts are marked
//! on every graph. Queries are not read here: the tests give them to a real
//! parser.

mod description;
mod panel;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use description::{Description, Kind, Panel, Row, Variable};

/// Of Grafana 10 and 11; later ones bring it forward at load.
const SCHEMA_VERSION: u32 = 39;

/// The tag by which links find all of ours.
const TAG: &str = "triton-stock";

/// The grid's columns.
const COLUMNS: u32 = 24;

/// Why a description is not a dashboard.
#[derive(Debug, thiserror::Error)]
pub enum DashboardError {
    /// It is not TOML, or not of our form.
    #[error("{name} is not a dashboard description")]
    Syntax {
        /// The file.
        name: String,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// It contradicts itself or leaves out what a panel needs.
    #[error("{name}: {}", problems.join("; "))]
    Invalid {
        /// The file.
        name: String,
        /// Everything found.
        problems: Vec<String>,
    },
}

/// Makes Grafana's JSON of a description; `name` is the file's, for errors.
///
/// The same text gives the same bytes. A panel's id follows from its titles
/// alone, so that links to it outlive a change of order.
pub fn dashboard(text: &str, name: &str) -> Result<String, DashboardError> {
    let description: Description =
        toml::from_str(text).map_err(|source| DashboardError::Syntax {
            name: name.to_owned(),
            source: Box::new(source),
        })?;
    let mut problems = Vec::new();
    check(&description, &mut problems);
    let panels = layout(&description.row, &mut problems);
    if !problems.is_empty() {
        let name = name.to_owned();
        return Err(DashboardError::Invalid { name, problems });
    }
    let mut tags = vec![TAG.to_owned()];
    tags.extend(description.tags);
    let mut variables = vec![region()];
    variables.extend(description.variable.iter().map(variable));
    let dashboard = json!({
        "uid": description.uid,
        "title": description.title,
        "description": description.help,
        "tags": tags,
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": false,
        "graphTooltip": 1,
        "timezone": "utc",
        "time": { "from": description.from, "to": "now" },
        "refresh": description.refresh,
        "timepicker": {},
        "links": [{
            "type": "dashboards",
            "title": "Dashboards",
            "tags": [TAG],
            "asDropdown": true,
            "includeVars": true,
            "keepTime": true,
            "targetBlank": false,
            "icon": "external link",
            "tooltip": "",
            "url": "",
        }],
        "annotations": { "list": [alerts()] },
        "templating": { "list": variables },
        "panels": panels,
    });
    let mut json = serde_json::to_string_pretty(&dashboard)
        .expect("a JSON value has nothing that cannot be written");
    json.push('\n');
    Ok(json)
}

/// What every panel and every query variable asks.
fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// Which region's data source; none chosen means the default one.
fn region() -> Value {
    json!({
        "name": "datasource",
        "label": "Region",
        "type": "datasource",
        "query": "prometheus",
        "regex": "",
        "multi": false,
        "includeAll": false,
        "current": {},
        "options": [],
        "refresh": 1,
        "hide": 0,
        "skipUrlSync": false,
    })
}

/// Marks when something went wrong that pages.
fn alerts() -> Value {
    json!({
        "name": "Critical alerts",
        "datasource": source(),
        "enable": true,
        "hide": false,
        "iconColor": "red",
        "expr": r#"ALERTS{alertstate="firing",severity="critical"}"#,
        "step": "60s",
        "titleFormat": "{{alertname}}",
        "textFormat": "{{alias}} {{hostname}} {{instance}}",
        "tagKeys": "alertname",
        "useValueForTime": false,
    })
}

fn variable(variable: &Variable) -> Value {
    let current = if variable.single {
        json!({})
    } else {
        json!({ "selected": true, "text": ["All"], "value": ["$__all"] })
    };
    json!({
        "name": variable.name,
        "label": variable.label,
        "type": "query",
        "datasource": source(),
        "definition": variable.query,
        "query": { "query": variable.query, "refId": variable.name },
        "regex": variable.regex,
        "multi": !variable.single,
        "includeAll": !variable.single,
        "allValue": variable.all,
        "current": current,
        "options": [],
        // Again when the time changes: zones come and go.
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "skipUrlSync": false,
    })
}

/// Fills lines of 24 columns from the left; a line is as high as its
/// highest panel.
fn layout(rows: &[Row], problems: &mut Vec<String>) -> Vec<Value> {
    let mut all = Vec::new();
    let mut ids = BTreeSet::new();
    let mut top = 0;
    for row in rows {
        let heading = row.title.as_deref().unwrap_or_default();
        let mut id = |title: &str| {
            let id = id(heading, title);
            if !ids.insert(id) {
                problems.push(format!("{heading}/{title}: title taken"));
            }
            id
        };
        let mut header = row.title.as_ref().map(|title| {
            let position = json!({ "x": 0, "y": top, "w": COLUMNS, "h": 1 });
            top += 1;
            let mut header = json!({
                "id": id(""),
                "type": "row",
                "title": title,
                "collapsed": row.collapsed,
                "gridPos": position,
                "panels": [],
            });
            if let Some(variable) = &row.repeat {
                header["repeat"] = Value::from(variable.as_str());
            }
            header
        });
        let start = top;
        let (mut left, mut height) = (0, 0);
        let mut panels = Vec::new();
        for panel in &row.panel {
            let (w, h) = size(panel);
            if left + w > COLUMNS {
                (left, top, height) = (0, top + height, 0);
            }
            let position = json!({ "x": left, "y": top, "w": w, "h": h });
            panels.push(panel::panel(panel, id(&panel.title), position));
            left += w;
            height = height.max(h);
        }
        top += height;
        if let (Some(header), true) = (&mut header, row.collapsed) {
            header["panels"] = Value::from(std::mem::take(&mut panels));
            top = start;
        }
        all.extend(header);
        all.append(&mut panels);
    }
    all
}

fn size(panel: &Panel) -> (u32, u32) {
    let (w, h) = panel.kind.size();
    (panel.width.unwrap_or(w).into(), panel.height.unwrap_or(h).into())
}

/// 24 bits of FNV-1a over both titles, never 0.
fn id(row: &str, panel: &str) -> u32 {
    let bytes = row.bytes().chain([0]).chain(panel.bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    ((hash >> 8) ^ (hash & 0xff)).max(1)
}

/// Says everything that is wrong with a description at once.
fn check(description: &Description, problems: &mut Vec<String>) {
    let mut expect = |good: bool, what: String| {
        if !good {
            problems.push(what);
        }
    };
    let uid = &description.uid;
    let plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-');
    expect(
        (1..=40).contains(&uid.len()) && uid.chars().all(plain),
        format!("uid {uid:?} is not 1 to 40 of a-z, 0-9 and -"),
    );
    expect(!description.title.is_empty(), "no title".to_owned());
    let mut names = BTreeSet::from(["datasource"]);
    for variable in &description.variable {
        let name = variable.name.as_str();
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        expect(
            !name.is_empty() && name.chars().all(word) && names.insert(name),
            format!("variable {name:?} is not a name, or there twice"),
        );
    }
    for (at, row) in description.row.iter().enumerate() {
        let heading = row.title.as_deref().unwrap_or_default();
        expect(
            row.title.is_some()
                || (at == 0 && !row.collapsed && row.repeat.is_none()),
            format!("row {at} has no title"),
        );
        for panel in &row.panel {
            let at = format!("{heading}/{}", panel.title);
            let (w, h) = size(panel);
            expect(
                (1..=COLUMNS).contains(&w) && (1..=COLUMNS).contains(&h),
                format!("{at}: a panel of {w} by {h} does not fit"),
            );
            if panel.kind == Kind::Text {
                expect(
                    panel.text.is_some() && panel.query.is_empty(),
                    format!("{at}: a text panel has text and no query"),
                );
                continue;
            }
            expect(
                panel.text.is_none() && (1..=26).contains(&panel.query.len()),
                format!("{at}: needs one to 26 queries and no text"),
            );
            expect(panel.help.is_some(), format!("{at}: no help"));
            expect(panel.unit.is_some(), format!("{at}: no unit"));
            expect(
                panel.thresholds.as_ref().is_none_or(panel::in_order),
                format!("{at}: thresholds are one or two, yellow before red"),
            );
        }
    }
}

#[cfg(test)]
mod tests;
