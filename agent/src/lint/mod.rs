// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Judges files that stop their daemon when they are wrong and for which it
//! has no checker of its own: Grafana's. Pure; the agent calls itself as the
//! checker, so that such a file is staged, judged and put in force like any
//! other.
//!
//! Stricter than Grafana, which passes over what it does not know: we write
//! these files, and a word it does not know is a mistake of ours.
//!
//! No JSON Schema stands beside it, for it would say less. The types take no
//! key they do not know, want each one that has no default, and know the
//! values where there are few; YAML that says a thing twice does not parse;
//! what is read must come out the same when written again, so nothing is
//! passed over or taken for another type. And no schema can say what is said
//! of several entries: one default, names, uids and paths of their own.
//!
//! Source: Grafana's documentation of provisioning and configuration, and how
//! its servers of the 7.5 line were seen to fail at start: YAML that does not
//! parse, two default data sources in one organisation, a conflict of uid and
//! name.

mod dashboards;
mod datasources;
mod ini;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a file is meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `grafana.ini`.
    GrafanaIni,
    /// A file of `provisioning/datasources`.
    GrafanaDatasources,
    /// A file of `provisioning/dashboards`.
    GrafanaDashboards,
}

impl Kind {
    /// The kind of this name; the error lists all names.
    pub fn parse(name: &str) -> Result<Self, String> {
        match name {
            "grafana-ini" => Ok(Self::GrafanaIni),
            "grafana-datasources" => Ok(Self::GrafanaDatasources),
            "grafana-dashboards" => Ok(Self::GrafanaDashboards),
            _ => Err("wanted grafana-ini, grafana-datasources or \
                      grafana-dashboards"
                .to_owned()),
        }
    }
}

/// Why a file will not do.
#[derive(Debug, thiserror::Error)]
pub enum LintError {
    /// It is not even of the right form.
    #[error("not of the form Grafana reads")]
    Form(#[source] serde_yaml::Error),
    /// Its form is right and its content is not; everything found.
    #[error("{}", .0.join("; "))]
    Content(Vec<String>),
}

/// Judges the text of a file.
///
/// Errors: everything that is wrong with it, as far as it can be read.
pub fn lint(kind: Kind, text: &str) -> Result<(), LintError> {
    let problems = match kind {
        Kind::GrafanaIni => ini::problems(text),
        Kind::GrafanaDatasources => datasources::problems(&yaml(text)?),
        Kind::GrafanaDashboards => dashboards::problems(&yaml(text)?),
    };
    if problems.is_empty() { Ok(()) } else { Err(LintError::Content(problems)) }
}

/// Reads YAML into a type that must hold all of it: written again it is what
/// it was.
fn yaml<T: DeserializeOwned + Serialize>(text: &str) -> Result<T, LintError> {
    let typed: T = serde_yaml::from_str(text).map_err(LintError::Form)?;
    let plain: serde_yaml::Value =
        serde_yaml::from_str(text).map_err(LintError::Form)?;
    let again = serde_yaml::to_value(&typed).map_err(LintError::Form)?;
    if plain != again {
        return Err(LintError::Content(vec![
            "a value is not of the type Grafana takes it for".to_owned(),
        ]));
    }
    Ok(typed)
}

/// Grafana puts the environment and files in the place of `$`.
fn expands(text: &str) -> bool {
    text.replace("$$", "").contains('$')
}

/// Grafana's grammar of uids.
fn is_uid(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

#[cfg(test)]
mod tests;
