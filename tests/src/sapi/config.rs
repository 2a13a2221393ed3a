// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The two merged views of an instance: its config (what config-agent polls)
//! and its VM payload. Merging is shallow: application, service, instance,
//! later wins per top-level key.

use serde_json::{Value, json};

use super::objects::{Object, Refusal, Store, entries, text};
use super::route::Kind;

/// Metadata keys that reach the VM itself; `pass_vmapi_metadata_keys` names
/// more.
const PASSED_KEYS: &[&str] = &[
    "SAPI_URL",
    "sapi_url",
    "SAPI-URL",
    "sapi-url",
    "user-script",
    "assets-ip",
];

/// One instance with its service and application.
struct Chain<'a> {
    uuid: &'a str,
    links: [&'a Object; 3],
}

impl<'a> Chain<'a> {
    fn of(store: &'a Store, uuid: &'a str) -> Result<Self, Refusal> {
        let instance = store.get(Kind::Instance, uuid)?;
        let service =
            store.get(Kind::Service, text(instance, "service_uuid"))?;
        let application =
            store.get(Kind::Application, text(service, "application_uuid"))?;
        Ok(Self { uuid, links: [application, service, instance] })
    }

    fn merged(&self, field: &str) -> Object {
        let mut all = Object::new();
        for link in self.links {
            all.extend(link.get(field).map(entries).unwrap_or_default());
        }
        all
    }
}

/// What `GET /configs/:uuid` answers. Errors: a missing instance, service or
/// application is a 404, a missing manifest a 500.
pub(super) fn config(
    store: &Store,
    uuid: &str,
    own_server_uuid: &str,
) -> Result<Value, Refusal> {
    let chain = Chain::of(store, uuid)?;
    let mut manifests = Vec::new();
    let mut dangling = Vec::new();
    for manifest in chain.merged("manifests").values() {
        let uuid = manifest.as_str().unwrap_or_default();
        match store.get(Kind::Manifest, uuid) {
            Ok(found) => manifests.push(Value::Object(found.clone())),
            Err(refusal) => dangling.push(refusal.message),
        }
    }
    if let Some(first) = dangling.first() {
        let count = dangling.len();
        let plural = if count == 1 { "" } else { "s" };
        return Err(Refusal::plain(format!(
            "first of {count} error{plural}: {first}"
        )));
    }
    let params = chain.merged("params");
    let server = params.get("server_uuid").cloned();
    let mut metadata = chain.merged("metadata");
    metadata.insert(
        "SERVER_UUID".to_owned(),
        server.unwrap_or_else(|| json!(own_server_uuid)),
    );
    for key in ["ZONE_UUID", "INSTANCE_UUID"] {
        metadata.insert(key.to_owned(), json!(chain.uuid));
    }
    metadata.shift_remove("user-script");
    Ok(json!({"manifests": manifests, "metadata": metadata}))
}

/// What `GET /instances/:uuid/payload` answers: empty for agents.
pub(super) fn payload(store: &Store, uuid: &str) -> Result<Value, Refusal> {
    let chain = Chain::of(store, uuid)?;
    let [application, service, _] = chain.links;
    if text(service, "type") == "agent" {
        return Ok(json!({}));
    }
    let metadata = chain.merged("metadata");
    let more = metadata.get("pass_vmapi_metadata_keys").cloned();
    let more = more.as_ref().and_then(Value::as_array);
    let passed: Object = PASSED_KEYS
        .iter()
        .copied()
        .chain(more.into_iter().flatten().filter_map(Value::as_str))
        .filter_map(|key| Some((key.to_owned(), metadata.get(key)?.clone())))
        .collect();
    let mut payload = chain.merged("params");
    if let Some(Value::Array(networks)) = payload.get_mut("networks") {
        for network in networks {
            if let Some(name) = network.as_str() {
                let is_uuid = uuid::Uuid::parse_str(name).is_ok();
                let key = if is_uuid { "uuid" } else { "name" };
                *network = json!({key: name});
            }
        }
    }
    let owner = application.get("owner_uuid").cloned();
    payload.insert("owner_uuid".to_owned(), owner.unwrap_or(Value::Null));
    payload.insert("uuid".to_owned(), json!(chain.uuid));
    payload.insert("brand".to_owned(), json!("joyent-minimal"));
    payload.insert("customer_metadata".to_owned(), Value::Object(passed));
    Ok(Value::Object(payload))
}
