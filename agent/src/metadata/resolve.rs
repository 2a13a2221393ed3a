// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Decides which config manifests are in force, and builds the one context
//! that all their templates are rendered over. Plain functions over plain
//! data.
//!
//! Source: sdc-config-agent `lib/agent/agent.js`, whose order is kept: SAPI
//! manifests among themselves, then local ones over them.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::config::SapiManifest;
use super::local::LocalManifest;

/// Where a config manifest came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The instance's config in SAPI.
    Sapi,
    /// A folder of this zone, the one holding `manifest.json`.
    Local(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sapi => f.write_str("SAPI"),
            Self::Local(dir) => write!(f, "{}", dir.display()),
        }
    }
}

/// A config manifest in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedManifest {
    /// What it says.
    pub manifest: SapiManifest,
    /// Where it came from.
    pub origin: Origin,
}

/// The manifests in force; no two have the same name or the same path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// SAPI's first, then local ones, each in the order given.
    pub manifests: Vec<ResolvedManifest>,
    /// Collisions that an operator should mend.
    pub warnings: Vec<ResolveWarning>,
}

/// Two claims to the same thing, one of which had to give way. A local
/// manifest over one of SAPI's is meant to be and gives no warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolveWarning {
    /// Two manifests of one source write the same file: the first is kept.
    SamePath {
        /// The file.
        path: PathBuf,
        /// Name of the manifest in force.
        kept: String,
        /// Name of the one left out.
        dropped: String,
    },
    /// Two manifests of one source have the same name: the last is kept.
    SameName {
        /// The name.
        name: String,
        /// The file of the manifest in force.
        kept: PathBuf,
        /// The file of the one left out.
        dropped: PathBuf,
    },
    /// Metadata has a key of its own called `auto`, which is replaced.
    AutoReplaced,
}

impl fmt::Display for ResolveWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SamePath { path, kept, dropped } => write!(
                f,
                "config manifests {kept} and {dropped} both write {}: {kept} \
                 is in force",
                path.display()
            ),
            Self::SameName { name, kept, dropped } => write!(
                f,
                "two config manifests are named {name}: the one for {} is in \
                 force, {} is not written",
                kept.display(),
                dropped.display()
            ),
            Self::AutoReplaced => f.write_str(
                "metadata key auto is replaced by this zone's own variables",
            ),
        }
    }
}

/// Decides which manifests are in force.
///
/// Within one source: of two with the same path the first stays, of two with
/// the same name the last. The order is that of the array SAPI sent, which
/// SAPI does not promise to keep, so a collision there may be decided
/// otherwise by the next answer: hence the warning. A local manifest replaces
/// SAPI's of the same name and SAPI's of the same path, also where these are
/// two; the Node agent leaves the second and writes both in a race. Paths are
/// compared by component, so `/a//b` is `/a/b`.
pub fn resolve_manifests(
    sapi: Vec<SapiManifest>,
    local: Vec<LocalManifest>,
) -> Resolved {
    let mut warnings = Vec::new();
    let sapi = sapi
        .into_iter()
        .map(|manifest| ResolvedManifest { manifest, origin: Origin::Sapi });
    let mut manifests = settle(sapi, &mut warnings);
    let local = local.into_iter().map(|LocalManifest { manifest, dir }| {
        ResolvedManifest { manifest, origin: Origin::Local(dir) }
    });
    let local = settle(local, &mut warnings);
    let names: HashSet<_> = local.iter().map(|e| &e.manifest.name).collect();
    let paths: HashSet<_> = local.iter().map(|e| &e.manifest.path).collect();
    manifests.retain(|ResolvedManifest { manifest, .. }| {
        !names.contains(&manifest.name) && !paths.contains(&manifest.path)
    });
    manifests.extend(local);
    Resolved { manifests, warnings }
}

/// Settles collisions within one source.
fn settle(
    given: impl Iterator<Item = ResolvedManifest>,
    warnings: &mut Vec<ResolveWarning>,
) -> Vec<ResolvedManifest> {
    // A manifest that gives way leaves a gap.
    let mut settled: Vec<Option<ResolvedManifest>> = Vec::new();
    let mut by_path: HashMap<PathBuf, String> = HashMap::new();
    let mut by_name: HashMap<String, usize> = HashMap::new();
    for entry in given {
        let SapiManifest { name, path, .. } = &entry.manifest;
        if let Some(kept) = by_path.get(path) {
            warnings.push(ResolveWarning::SamePath {
                path: path.clone(),
                kept: kept.clone(),
                dropped: name.clone(),
            });
            continue;
        }
        by_path.insert(path.clone(), name.clone());
        let old = by_name.insert(name.clone(), settled.len());
        if let Some(old) = old.and_then(|at| settled[at].take()) {
            let dropped = old.manifest.path;
            by_path.remove(&dropped);
            let (name, kept) = (name.clone(), path.clone());
            warnings.push(ResolveWarning::SameName { name, kept, dropped });
        }
        settled.push(Some(entry));
    }
    settled.into_iter().flatten().collect()
}

/// What templates see. Built once for each pass and borrowed by every
/// rendering; holds all of the metadata's secrets, so `Debug` prints none.
#[derive(Clone, PartialEq)]
pub struct TemplateContext {
    value: Value,
    warnings: Vec<ResolveWarning>,
}

impl TemplateContext {
    /// Lays `local_metadata` over SAPI's, key by key and not deeper, and the
    /// `auto` object over both.
    pub fn new(
        mut metadata: Map<String, Value>,
        local_metadata: Map<String, Value>,
        auto: Map<String, Value>,
    ) -> Self {
        metadata.extend(local_metadata);
        let replaced = metadata.insert("auto".to_owned(), Value::Object(auto));
        let warnings = match replaced {
            None | Some(Value::Null) => Vec::new(),
            Some(_) => vec![ResolveWarning::AutoReplaced],
        };
        Self { value: Value::Object(metadata), warnings }
    }

    /// The object to render over.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// What an operator should know about it.
    pub fn warnings(&self) -> &[ResolveWarning] {
        &self.warnings
    }
}

impl fmt::Debug for TemplateContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.value.as_object().map_or(0, Map::len);
        f.debug_struct("TemplateContext")
            .field("keys", &keys)
            .field("warnings", &self.warnings)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(name: &str, path: &str) -> SapiManifest {
        let fields = json!({"name": name, "path": path, "template": "t"});
        SapiManifest::from_value(fields).unwrap()
    }

    /// Resolves `(name, path)` pairs; gives back `S:` or `L:`, name, path.
    fn resolve(
        sapi: &[(&str, &str)],
        local: &[(&str, &str)],
    ) -> (Vec<String>, Vec<String>) {
        let sapi = sapi.iter().map(|(n, p)| manifest(n, p)).collect();
        let local = local
            .iter()
            .map(|(n, p)| LocalManifest {
                manifest: manifest(n, p),
                dir: format!("/image/{n}").into(),
            })
            .collect();
        let resolved = resolve_manifests(sapi, local);
        let list = resolved.manifests.iter().map(|entry| {
            let SapiManifest { name, path, .. } = &entry.manifest;
            let from = if entry.origin == Origin::Sapi { 'S' } else { 'L' };
            format!("{from}:{name} {}", path.display())
        });
        let warnings = resolved.warnings.iter().map(ToString::to_string);
        (list.collect(), warnings.collect())
    }

    #[test]
    fn local_replaces_by_name_or_path() {
        let sapi = [("a", "/a"), ("b", "/b"), ("c", "/c")];
        let (list, warnings) =
            resolve(&sapi, &[("a", "/elsewhere"), ("other", "/b")]);
        assert_eq!(list, ["S:c /c", "L:a /elsewhere", "L:other /b"]);
        assert!(warnings.is_empty());
        let (list, _) = resolve(&sapi, &[("d", "/d")]);
        assert_eq!(list, ["S:a /a", "S:b /b", "S:c /c", "L:d /d"]);
    }

    /// §2.8: the Node agent keeps `b` here and writes /b twice, in a race.
    #[test]
    fn local_replaces_one_by_name_and_another_by_path() {
        let sapi = [("a", "/a"), ("b", "/b"), ("c", "/c")];
        let (list, warnings) = resolve(&sapi, &[("a", "/b")]);
        assert_eq!(list, ["S:c /c", "L:a /b"]);
        assert!(warnings.is_empty());
    }

    #[test]
    fn the_first_of_one_path_stays_and_a_warning_says_so() {
        let same = [("a", "/x"), ("b", "//x"), ("c", "/y")];
        let said = "config manifests a and b both write //x: a is in force";
        let (list, warnings) = resolve(&same, &[]);
        assert_eq!(list, ["S:a /x", "S:c /y"]);
        assert_eq!(warnings, [said]);
        let (list, warnings) = resolve(&[("b", "/x")], &same);
        assert_eq!(list, ["L:a /x", "L:c /y"]);
        assert_eq!(warnings, [said]);
    }

    #[test]
    fn the_last_of_one_name_stays_and_a_warning_says_so() {
        let same = [("a", "/x"), ("b", "/b"), ("a", "/y"), ("c", "/x")];
        let (list, warnings) = resolve(&same, &[]);
        assert_eq!(list, ["S:b /b", "S:a /y", "S:c /x"]);
        assert_eq!(
            warnings,
            ["two config manifests are named a: the one for /y is in force, \
              /x is not written"]
        );
    }

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn context_is_metadata_then_local_then_auto() {
        let context = TemplateContext::new(
            object(json!({"a": {"x": 1}, "b": 2, "c": null})),
            object(json!({"a": {"y": 1}, "d": 4})),
            object(json!({"ZONENAME": "z"})),
        );
        assert_eq!(
            *context.value(),
            json!({"a": {"y": 1}, "b": 2, "c": null, "d": 4,
                   "auto": {"ZONENAME": "z"}})
        );
        assert_eq!(context.warnings(), []);
    }

    #[test]
    fn a_key_named_auto_is_replaced_with_a_warning() {
        let auto = || object(json!({"ZONENAME": "z"}));
        let old = || object(json!({"auto": {"ZONENAME": "hush", "b": 1}}));
        for context in [
            TemplateContext::new(old(), Map::new(), auto()),
            TemplateContext::new(Map::new(), old(), auto()),
        ] {
            assert_eq!(context.value()["auto"], json!({"ZONENAME": "z"}));
            assert_eq!(context.warnings(), [ResolveWarning::AutoReplaced]);
            assert!(!format!("{context:?}").contains("hush"));
        }
    }
}
