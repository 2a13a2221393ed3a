// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a dashboard says about itself, `templates/grafana/dashboards/*.toml`:
//! what to ask and how to show it. Where each panel stands, and all that
//! Grafana wants besides, is left to `mod.rs`. Strict, because we write it.

use serde::Deserialize;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Description {
    /// Shown on top and in lists.
    pub(super) title: String,
    /// What links name; the same for ever, `[a-z0-9-]`, at most 40 bytes.
    pub(super) uid: String,
    /// Which question the dashboard answers.
    pub(super) help: String,
    /// Tags besides the one all of ours carry.
    #[serde(default)]
    pub(super) tags: Vec<String>,
    /// Start of the time shown at first.
    #[serde(default = "last_hour")]
    pub(super) from: String,
    /// Time between two refreshes.
    #[serde(default = "half_a_minute")]
    pub(super) refresh: String,
    /// Choices on top, after the data source's.
    #[serde(default)]
    pub(super) variable: Vec<Variable>,
    /// Groups of panels, from the top.
    pub(super) row: Vec<Row>,
}

/// A choice whose options come from the data source.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Variable {
    /// Used as `$name`. One name means the same on every dashboard: links
    /// between them carry the values along.
    pub(super) name: String,
    /// Shown beside it.
    pub(super) label: String,
    /// `label_values(selector, label)`.
    pub(super) query: String,
    /// Takes a part of each value: `/^prefix_(.+)$/`.
    #[serde(default)]
    pub(super) regex: String,
    /// Exactly one value rather than any number of them.
    #[serde(default)]
    pub(super) single: bool,
    /// Regular expression that "All" stands for; left out, every value.
    pub(super) all: Option<String>,
}

/// Panels under one heading.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    /// The heading; only the first row may go without.
    pub(super) title: Option<String>,
    /// Folded at first; its panels ask nothing until then.
    #[serde(default)]
    pub(super) collapsed: bool,
    /// Variable for each value of which the row is shown once.
    pub(super) repeat: Option<String>,
    /// Panels in reading order.
    pub(super) panel: Vec<Panel>,
}

/// One picture.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Panel {
    /// Unique within its row: the panel's id, thus links to it, follow.
    pub(super) title: String,
    /// What it means and what to do about it; every panel but text has one.
    pub(super) help: Option<String>,
    /// The form of the picture.
    #[serde(default)]
    pub(super) kind: Kind,
    /// Grafana's id of the unit; every panel but text has one.
    pub(super) unit: Option<String>,
    /// What is asked.
    #[serde(default)]
    pub(super) query: Vec<Query>,
    /// What a text panel says, in Markdown.
    pub(super) text: Option<String>,
    /// Columns of 24; the kind's own when left out.
    pub(super) width: Option<u8>,
    /// Grid units, about 30 pixels each; the kind's own when left out.
    pub(super) height: Option<u8>,
    /// Lower end of the axis.
    pub(super) min: Option<f64>,
    /// Upper end of the axis.
    pub(super) max: Option<f64>,
    /// Digits after the point.
    pub(super) decimals: Option<u8>,
    /// From where a value is bad.
    pub(super) thresholds: Option<Thresholds>,
    /// Values that have a name.
    #[serde(default)]
    pub(super) state: Vec<State>,
    /// Draws series on top of each other.
    #[serde(default)]
    pub(super) stack: bool,
    /// Where a click on a value leads.
    pub(super) drill: Option<Drill>,
}

/// One PromQL expression.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// The expression.
    pub(super) expr: String,
    /// A series' name, `{{label}}` in it; in a table, the column's.
    pub(super) legend: String,
    /// In a table, the column's unit where it is not the panel's.
    pub(super) unit: Option<String>,
}

/// A value with a name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    pub(super) value: i64,
    pub(super) text: String,
    pub(super) color: String,
}

/// Values from which a panel turns yellow and red; one number is red's.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Thresholds {
    /// High is bad.
    Above(Vec<f64>),
    /// Low is bad.
    Below(Vec<f64>),
}

/// A link that takes the label clicked on along.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Drill {
    /// The dashboard's uid.
    pub(super) uid: String,
    /// Label of the series, and variable there.
    pub(super) label: Option<String>,
    /// Variable there, where it is not called as the label is.
    pub(super) variable: Option<String>,
}

/// Panel types of Grafana 11; none of the Angular ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    #[default]
    Timeseries,
    Stat,
    Gauge,
    Bargauge,
    Table,
    Heatmap,
    StateTimeline,
    Text,
}

impl Kind {
    /// Grafana's name of the type.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Timeseries => "timeseries",
            Self::Stat => "stat",
            Self::Gauge => "gauge",
            Self::Bargauge => "bargauge",
            Self::Table => "table",
            Self::Heatmap => "heatmap",
            Self::StateTimeline => "state-timeline",
            Self::Text => "text",
        }
    }

    /// Width in columns and height in grid units.
    pub(super) fn size(self) -> (u8, u8) {
        match self {
            Self::Stat => (4, 4),
            Self::Gauge => (4, 6),
            Self::Table | Self::Text => (24, 8),
            _ => (8, 8),
        }
    }

    /// Whether it shows now rather than a course. Asked at one instant: the
    /// last value of a course may be of a target long gone.
    pub(super) fn is_instant(self) -> bool {
        matches!(self, Self::Stat | Self::Gauge | Self::Bargauge | Self::Table)
    }
}

fn last_hour() -> String {
    "now-1h".to_owned()
}

fn half_a_minute() -> String {
    "30s".to_owned()
}
