// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The wire form of `GET /configs/:uuid`: merged metadata and the config
//! manifests of one instance.
//!
//! Lenient by entry: one bad manifest is a [`ManifestProblem`] and costs only
//! itself. The body as a whole is judged strictly, so that an answer from
//! something that is not SAPI never replaces a good config. Fetching and
//! caching the body is not done here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value, json};

/// The config of one instance.
///
/// Metadata holds the whole application's secrets, passwords and private keys
/// included, and a template may hold some too; `Debug` prints neither.
#[derive(Clone, PartialEq)]
pub struct SapiConfig {
    /// The good config manifests, in the order SAPI gave them, which is not
    /// stable from one answer to the next.
    pub manifests: Vec<SapiManifest>,
    /// Application, service and instance metadata as SAPI merged them.
    pub metadata: Map<String, Value>,
}

/// A config manifest as SAPI keeps it and as `manifest.json` spells it in a
/// local folder. Unknown fields pass.
#[derive(Clone, PartialEq, Eq)]
pub struct SapiManifest {
    /// Its uuid in SAPI; local ones have none as a rule.
    pub uuid: Option<String>,
    /// Its name, not empty.
    pub name: String,
    /// The file to write: absolute, without `..` and NUL, naming a file.
    pub path: PathBuf,
    /// Template text.
    pub template: String,
    /// What renders it. Upstream has mustache alone and no such field.
    pub engine: ManifestEngine,
    /// Shell command to run after the file was written.
    pub post_cmd: Option<String>,
    /// The same on Linux.
    pub post_cmd_linux: Option<String>,
    /// As given, "1.0.0" by SAPI's default.
    pub version: Option<String>,
    /// Kept in the master datacenter's SAPI; means nothing to an agent.
    pub master: bool,
}

/// What renders a config manifest's template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ManifestEngine {
    /// Triton's Hogan, `render::hogan`.
    #[default]
    Mustache,
    /// tera, over the same variables.
    Tera,
}

/// What a body gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The config without its bad manifests.
    pub config: SapiConfig,
    /// The manifests left out, in the order given.
    pub problems: Vec<ManifestProblem>,
}

/// A config manifest that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestProblem {
    /// Its name, else its uuid, else its place (`manifest 3`, from 1).
    pub which: String,
    /// What was seen and what would be accepted; never a template's text.
    pub reason: String,
}

impl fmt::Display for ManifestProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "config manifest {}: {}", self.which, self.reason)
    }
}

/// Why a body is no config at all.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Beyond the caller's limit.
    #[error("config of {size} bytes, at most {max} accepted")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The caller's limit in bytes.
        max: usize,
    },
    /// Not JSON. The source gives line and column, not the content.
    #[error("config is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// JSON of another shape.
    #[error("config's {what} is {seen}, wanted {wanted}")]
    Shape {
        /// `body`, `metadata` or `manifests`.
        what: &'static str,
        /// The type seen.
        seen: &'static str,
        /// The type wanted.
        wanted: &'static str,
    },
}

impl SapiConfig {
    /// Parses a body of at most `max_bytes`.
    ///
    /// Errors: too large, not JSON, no object, `metadata` no object (or
    /// absent: SAPI always sends some), `manifests` neither array nor absent.
    /// Source: sdc-sapi, `GET /configs/:uuid`.
    pub fn parse(
        bytes: &[u8],
        max_bytes: usize,
    ) -> Result<Parsed, ConfigError> {
        if bytes.len() > max_bytes {
            let size = bytes.len();
            return Err(ConfigError::TooLarge { size, max: max_bytes });
        }
        let body: Value =
            serde_json::from_slice(bytes).map_err(ConfigError::NotJson)?;
        let mut body = match body {
            Value::Object(body) => body,
            other => return Err(shape("body", &other, "an object")),
        };
        let metadata = match body.remove("metadata").unwrap_or_default() {
            Value::Object(metadata) => metadata,
            other => return Err(shape("metadata", &other, "an object")),
        };
        let entries = match body.remove("manifests").unwrap_or_default() {
            Value::Array(entries) => entries,
            Value::Null => Vec::new(),
            other => return Err(shape("manifests", &other, "an array")),
        };
        let mut manifests = Vec::with_capacity(entries.len());
        let mut problems = Vec::new();
        for (index, entry) in entries.into_iter().enumerate() {
            let which = which(&entry, index);
            match SapiManifest::from_value(entry) {
                Ok(manifest) => manifests.push(manifest),
                Err(reason) => problems.push(ManifestProblem { which, reason }),
            }
        }
        Ok(Parsed { config: Self { manifests, metadata }, problems })
    }

    /// The bytes of what instances of a service have in common: all but their
    /// own uuids, in an order that does not depend on SAPI's. Where an
    /// instance has metadata or manifests of its own they differ. As secret as
    /// the config.
    ///
    /// Source: sdc-sapi, keys that `GET /configs/:uuid` adds.
    pub(super) fn shared(&self) -> Vec<u8> {
        const OWN: [&str; 3] = ["INSTANCE_UUID", "SERVER_UUID", "ZONE_UUID"];
        let metadata = self.metadata.iter();
        let metadata: BTreeMap<_, _> =
            metadata.filter(|(key, _)| !OWN.contains(&key.as_str())).collect();
        let manifests = self.manifests.iter().map(|one| {
            let tera = one.engine == ManifestEngine::Tera;
            let fields = json!([
                one.path,
                one.template,
                tera,
                one.post_cmd,
                one.post_cmd_linux
            ]);
            (&one.name, fields)
        });
        let manifests: BTreeMap<_, _> = manifests.collect();
        json!([metadata, manifests]).to_string().into_bytes()
    }
}

impl SapiManifest {
    /// Takes a manifest out of JSON, `template` included. Errors: the first
    /// reason why it cannot be used, for an operator to read.
    pub(super) fn from_value(value: Value) -> Result<Self, String> {
        let Value::Object(mut fields) = value else {
            return Err(format!("is {}, wanted an object", kind(&value)));
        };
        let name = required(&mut fields, "name")?;
        if name.is_empty() {
            return Err("name is empty".to_owned());
        }
        let path = required(&mut fields, "path")?;
        check_path(&path)?;
        Ok(Self {
            uuid: take_string(&mut fields, "uuid"),
            name,
            path: path.into(),
            template: required(&mut fields, "template")?,
            engine: match fields.get("engine") {
                None | Some(Value::Null) => ManifestEngine::Mustache,
                Some(Value::String(text)) if text == "mustache" => {
                    ManifestEngine::Mustache
                }
                Some(Value::String(text)) if text == "tera" => {
                    ManifestEngine::Tera
                }
                Some(other) => {
                    let wanted = "wanted \"mustache\" or \"tera\"";
                    return Err(format!("engine is {other}, {wanted}"));
                }
            },
            post_cmd: command(&mut fields, "post_cmd")?,
            post_cmd_linux: command(&mut fields, "post_cmd_linux")?,
            version: take_string(&mut fields, "version"),
            master: fields.get("master") == Some(&Value::Bool(true)),
        })
    }
}

/// Refuses what would write elsewhere than it says, or nowhere.
fn check_path(path: &str) -> Result<(), String> {
    let fault = if path.contains('\0') {
        "contains a NUL"
    } else if !path.starts_with('/') {
        "is not absolute"
    } else if Path::new(path).components().any(|c| c == Component::ParentDir) {
        "contains .."
    } else if path.ends_with('/') || path.ends_with("/.") {
        "names a directory"
    } else {
        return Ok(());
    };
    Err(format!("path {path:?} {fault}"))
}

fn required(
    fields: &mut Map<String, Value>,
    key: &str,
) -> Result<String, String> {
    match fields.remove(key) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => {
            Err(format!("{key} is {}, wanted a string", kind(&other)))
        }
        None => Err(format!("{key} is missing")),
    }
}

/// A command that is no string makes the manifest unusable: to write its file
/// and not tell the daemon would leave a change half done.
fn command(
    fields: &mut Map<String, Value>,
    key: &str,
) -> Result<Option<String>, String> {
    match fields.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            Ok(Some(text).filter(|text| !text.trim().is_empty()))
        }
        Some(other) => {
            Err(format!("{key} is {}, wanted a string", kind(&other)))
        }
    }
}

/// Fields we only pass on: another type counts as absent.
fn take_string(fields: &mut Map<String, Value>, key: &str) -> Option<String> {
    match fields.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn which(entry: &Value, index: usize) -> String {
    let text = |key| {
        let text = entry.get(key).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
    };
    match text("name").or(text("uuid")) {
        Some(name) => name.chars().take(100).collect(),
        None => format!("manifest {}", index + 1),
    }
}

fn shape(
    what: &'static str,
    seen: &Value,
    wanted: &'static str,
) -> ConfigError {
    ConfigError::Shape { what, seen: kind(seen), wanted }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null or absent",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

impl fmt::Debug for SapiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SapiConfig")
            .field("manifests", &self.manifests)
            .field("metadata_keys", &self.metadata.len())
            .finish()
    }
}

impl fmt::Debug for SapiManifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SapiManifest")
            .field("name", &self.name)
            .field("path", &self.path)
            .field("template_bytes", &self.template.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
