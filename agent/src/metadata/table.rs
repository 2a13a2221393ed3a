// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The keys of a role as people and SAPI want them: a table, a text about one
//! key, and the JSON Schema that SAPI takes as `metadata_schema`. All made of
//! the settings that the program itself reads by.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::meaning::settings;
use super::setting::{Default, Setting};
use crate::model::Role;

/// A key, told in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// SAPI key.
    pub key: &'static str,
    /// Roles that read it.
    pub roles: Vec<&'static str>,
    /// What it changes.
    pub text: &'static str,
    /// Type, unit and bounds.
    pub wanted: String,
    /// What counts while it is not set.
    pub default: String,
    /// `reload`, `restart` or `nothing`: what a change costs.
    pub change: &'static str,
}

/// The keys of `roles`, each once, in the order of the documentation.
pub fn entries(roles: &[Role]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for role in roles {
        for setting in settings(*role) {
            let key = setting.about().key;
            match entries.iter_mut().find(|entry| entry.key == key) {
                Some(entry) => entry.roles.push(role.as_str()),
                None => entries.push(entry(setting, *role)),
            }
        }
    }
    entries
}

fn entry(setting: &dyn Setting, role: Role) -> Entry {
    let about = setting.about();
    Entry {
        key: about.key,
        roles: vec![role.as_str()],
        text: about.text,
        wanted: setting.wanted(),
        default: match about.default {
            Default::Value(text) => text.to_owned(),
            Default::Derived(words) => words.to_owned(),
            Default::Required => "none: it must be set".to_owned(),
        },
        change: about.change.as_str(),
    }
}

/// The JSON Schema of a role's metadata, draft 2020-12. Keys that are not
/// ours pass: SAPI hands a zone those of its application too.
pub fn schema(role: Role) -> Value {
    let mut properties = Map::new();
    for setting in settings(role) {
        let about = setting.about();
        let mut text =
            format!("{} A change: {}.", about.text, about.change.as_str());
        let mut wanted = setting.schema();
        // Blanked keys count as not set.
        wanted = json!({"anyOf": [wanted, {"enum": [null, ""]}]});
        match about.default {
            Default::Value(value) => {
                wanted["default"] =
                    serde_json::from_str(value).unwrap_or_default();
            }
            Default::Derived(words) => {
                let _ = write!(text, " Default: {words}.");
            }
            Default::Required => {}
        }
        wanted["description"] = Value::String(text);
        properties.insert(about.key.to_owned(), wanted);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("SAPI metadata of a {role} zone"),
        "type": "object",
        "properties": properties,
    })
}

/// The table of a role's keys, Markdown.
pub fn markdown(role: Role) -> String {
    let mut out = format!(
        "# SAPI keys of a {role} zone\n\n\
         | key | what it changes | accepted | default | a change |\n\
         |---|---|---|---|---|\n"
    );
    for entry in entries(&[role]) {
        let cell = |text: &str| text.replace('|', "\\|");
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} |",
            entry.key,
            cell(entry.text),
            cell(&entry.wanted),
            cell(&entry.default),
            entry.change
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables that are shipped with the templates are those of the
    /// program. `UPDATE_SETTINGS=1` writes them anew.
    #[test]
    fn shipped_tables_are_true() {
        for role in Role::ALL {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../templates")
                .join(role.as_str())
                .join("settings.md");
            let now = markdown(role);
            if std::env::var_os("UPDATE_SETTINGS").is_some() {
                std::fs::write(&path, &now).unwrap();
            }
            let shipped = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(shipped == now, "{} is not of today", path.display());
        }
    }

    #[test]
    fn a_schema_names_every_key_with_its_default() {
        let schema = schema(Role::Prometheus);
        let interval = &schema["properties"]["scrape_interval"];
        assert_eq!(interval["default"], 10);
        assert!(interval["description"].as_str().unwrap().contains("reload"));
        let keys = schema["properties"].as_object().unwrap().len();
        assert_eq!(keys, entries(&[Role::Prometheus]).len());
    }
}
