// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The objects of a proto-mode SAPI and what creating, changing and deleting
//! does to them. No HTTP here; `config` merges them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::route::{Kind, Version};
use super::schema;

/// One object or one bag of parameters.
pub(super) type Object = Map<String, Value>;

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// Plain JavaScript errors have none.
    pub(super) code: Option<&'static str>,
    pub(super) message: String,
    /// The body of another API's refusal that is passed on.
    pub(super) body: Option<Value>,
}

impl Refusal {
    pub(super) fn new(
        status: u16,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { status, code: Some(code), message: message.into(), body: None }
    }

    pub(super) fn plain(message: impl Into<String>) -> Self {
        Self { status: 500, code: None, message: message.into(), body: None }
    }

    pub(super) fn no_such(kind: Kind, uuid: &str) -> Self {
        let message = format!("no such {}: {uuid}", kind.word());
        Self::new(404, "ResourceNotFound", message)
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(409, "InvalidArgument", message)
    }
}

/// All objects. The real one keeps a file each, named by uuid, so lists come
/// in the order of uuids.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    objects: BTreeMap<(Kind, String), Object>,
}

impl Store {
    pub(super) fn get(
        &self,
        kind: Kind,
        uuid: &str,
    ) -> Result<&Object, Refusal> {
        self.objects
            .get(&(kind, uuid.to_owned()))
            .ok_or_else(|| Refusal::no_such(kind, uuid))
    }

    /// What SAPI keeps on its own disk: application `sdc` and what belongs to
    /// it, and all manifests, which belong to nobody.
    pub(super) fn of_triton(&self) -> Self {
        let mut kept = self.clone();
        let mut parents: Vec<String> = Vec::new();
        // Kinds come in the order application, service, instance.
        kept.objects.retain(|(kind, uuid), object| {
            let parent = match kind {
                Kind::Application => None,
                Kind::Service => Some("application_uuid"),
                Kind::Instance => Some("service_uuid"),
                Kind::Manifest => return true,
            };
            let stays = match parent {
                None => text(object, "name") == "sdc",
                Some(key) => parents.iter().any(|p| p == text(object, key)),
            };
            if stays {
                parents.push(uuid.clone());
            }
            stays
        });
        kept
    }

    /// Stores as it is, whatever was there.
    pub(super) fn put(&mut self, kind: Kind, uuid: &str, object: Object) {
        self.objects.insert((kind, uuid.to_owned()), object);
    }

    /// Takes out; referring objects stay and dangle. False: was not there.
    pub(super) fn delete(&mut self, kind: Kind, uuid: &str) -> bool {
        self.objects.remove(&(kind, uuid.to_owned())).is_some()
    }

    /// The objects that pass the filters of `bag`; unknown filters are
    /// ignored. `include_master` too: this SAPI is the master itself.
    pub(super) fn list(
        &self,
        kind: Kind,
        bag: &Object,
        version: Version,
    ) -> Vec<&Object> {
        let keys: &[&str] = match kind {
            Kind::Application => &["name", "owner_uuid"],
            Kind::Service => &["name", "application_uuid", "type"],
            Kind::Instance if bag.contains_key("service_uuid") => {
                &["service_uuid"]
            }
            Kind::Instance => &["type"],
            Kind::Manifest => &[],
        };
        let typed = matches!(kind, Kind::Service | Kind::Instance);
        let explicit =
            bag.contains_key("type") || keys == ["service_uuid"] || !typed;
        let only_vm = version == Version::V1 && !explicit;
        let fits = |object: &Object| {
            let filters = keys.iter().all(|key| {
                bag.get(*key)
                    .is_none_or(|wanted| object.get(*key) == Some(wanted))
            });
            filters && (!only_vm || object.get("type") == Some(&json!("vm")))
        };
        self.objects
            .iter()
            .filter(|((k, _), object)| *k == kind && fits(object))
            .map(|(_, object)| object)
            .collect()
    }

    /// Creates from `bag`; an object with the same uuid is overwritten whole.
    pub(super) fn create(
        &mut self,
        kind: Kind,
        bag: &Object,
    ) -> Result<Object, Refusal> {
        let (required, optional) = keys_of(kind);
        let missing: Vec<&str> =
            required.iter().copied().filter(|k| !truthy(bag.get(*k))).collect();
        if !missing.is_empty() {
            let message = format!("missing: {}", missing.join(", "));
            return Err(Refusal::new(409, "MissingParameter", message));
        }
        let uuid = match bag.get("uuid").and_then(Value::as_str) {
            Some(uuid) if !uuid.is_empty() => uuid.to_owned(),
            _ => Uuid::new_v4().to_string(),
        };
        let mut object = Object::new();
        object.insert("uuid".to_owned(), json!(uuid));
        for key in required.iter().chain(optional) {
            // A false `master` is kept, as shown in the sheet's examples.
            let value = bag.get(*key);
            if truthy(value) || (*key == "master" && value.is_some()) {
                object.insert((*key).to_owned(), bag[*key].clone());
            }
        }
        self.complete(kind, bag, &mut object)?;
        self.put(kind, &uuid, object.clone());
        Ok(object)
    }

    /// Checks references and fills in what a create adds by itself.
    fn complete(
        &self,
        kind: Kind,
        bag: &Object,
        object: &mut Object,
    ) -> Result<(), Refusal> {
        let parent = |key: &str| text(object, key).to_owned();
        match kind {
            Kind::Application => check_schema(object)?,
            Kind::Service => {
                self.get(Kind::Application, &parent("application_uuid"))?;
                let sort = match bag.get("type") {
                    None => json!("vm"),
                    Some(sort) if sort == "vm" || sort == "agent" => {
                        sort.clone()
                    }
                    Some(other) => {
                        let message = format!("invalid type: {other}");
                        return Err(Refusal::plain(message));
                    }
                };
                object.insert("type".to_owned(), sort);
            }
            Kind::Instance => {
                let service =
                    self.get(Kind::Service, &parent("service_uuid"))?;
                let sort = service.get("type").cloned();
                object.insert(
                    "type".to_owned(),
                    sort.unwrap_or_else(|| json!("vm")),
                );
            }
            Kind::Manifest => {
                let version =
                    object.entry("version").or_insert_with(|| json!("1.0.0"));
                if !version.as_str().is_some_and(is_semver) {
                    let message = format!("invalid version: {version}");
                    return Err(Refusal::invalid(message));
                }
            }
        }
        Ok(())
    }

    /// Changes fields by `action`: shallow, and only fields that are present
    /// and truthy in the bag.
    pub(super) fn update(
        &mut self,
        kind: Kind,
        uuid: &str,
        bag: &Object,
    ) -> Result<Object, Refusal> {
        let action = match bag.get("action") {
            None => "update".to_owned(),
            Some(Value::String(action)) => action.to_lowercase(),
            Some(_) => String::new(),
        };
        if !["update", "replace", "delete"].contains(&action.as_str()) {
            return Err(Refusal::invalid(""));
        }
        // A 500 although the caller's fault, and without a code. The words
        // are ours.
        let mut object = self.get(kind, uuid).cloned().map_err(|_| {
            Refusal::plain(format!("no {} {uuid} to update", kind.word()))
        })?;
        let mut fields = vec!["params", "metadata", "manifests"];
        if kind == Kind::Application {
            fields.push("metadata_schema");
            if truthy(bag.get("owner_uuid")) {
                object.insert("owner_uuid".into(), bag["owner_uuid"].clone());
            }
        }
        for field in fields {
            if let Some(change) = bag.get(field)
                && truthy(Some(change))
            {
                change_field(&mut object, field, &action, change);
            }
        }
        if kind == Kind::Application {
            check_schema(&object)?;
        }
        self.put(kind, uuid, object.clone());
        Ok(object)
    }
}

fn change_field(
    object: &mut Object,
    field: &str,
    action: &str,
    change: &Value,
) {
    let mut now = match action {
        "replace" => {
            object.insert(field.to_owned(), change.clone());
            return;
        }
        _ => object.get(field).map(entries).unwrap_or_default(),
    };
    for (key, value) in entries(change) {
        if action == "delete" {
            now.shift_remove(&key);
        } else {
            now.insert(key, value);
        }
    }
    object.insert(field.to_owned(), Value::Object(now));
}

/// The enumerable properties JavaScript sees: a string or an array has the
/// keys "0", "1", ... and so mangles what it is merged into.
pub(super) fn entries(value: &Value) -> Object {
    let numbered = |items: Vec<Value>| {
        items
            .into_iter()
            .enumerate()
            .map(|(index, item)| (index.to_string(), item))
            .collect()
    };
    match value {
        Value::Object(map) => map.clone(),
        Value::Array(items) => numbered(items.clone()),
        Value::String(text) => {
            numbered(text.chars().map(|c| json!(c)).collect())
        }
        _ => Object::new(),
    }
}

/// Required and optional keys of a create, in the order objects show them.
fn keys_of(kind: Kind) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        Kind::Application => (
            &["name", "owner_uuid"],
            &["params", "metadata", "metadata_schema", "manifests", "master"],
        ),
        Kind::Service => (
            &["name", "application_uuid"],
            &["params", "metadata", "manifests", "master"],
        ),
        Kind::Instance => {
            (&["service_uuid"], &["params", "metadata", "manifests", "master"])
        }
        Kind::Manifest => (
            &["name", "path", "template"],
            &["post_cmd", "post_cmd_linux", "version", "master"],
        ),
    }
}

fn check_schema(object: &Object) -> Result<(), Refusal> {
    let Some(schema) = object.get("metadata_schema") else { return Ok(()) };
    let empty = json!({});
    let metadata = object.get("metadata").unwrap_or(&empty);
    schema::check(schema, metadata)
        .map_err(|why| Refusal::new(409, "SchemaValidationError", why))
}

/// A member as text; empty when absent or of another type.
pub(super) fn text<'a>(object: &'a Object, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// JavaScript's idea of true.
pub(super) fn truthy(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(flag)) => *flag,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    }
}

fn is_semver(text: &str) -> bool {
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<&str> = core.split('.').collect();
    parts.len() == 3
        && parts
            .iter()
            .all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
}
