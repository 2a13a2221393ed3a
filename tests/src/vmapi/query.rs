// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Reading VMs: filters, pages, chosen fields.

use serde_json::{Map, Value, json};

use super::{Answer, Refusal};
use crate::datacenter::{Facts, Vm};

/// Longest page. Assumed to be refused above this.
const LIMIT: usize = 1000;

/// `GET /vms`: the VMs that pass every known filter, in the datacenter's own
/// order; a marker names the last VM of the page before. Unknown parameters
/// are ignored.
pub(super) fn list(facts: &Facts, query: &[(String, String)]) -> Answer {
    let one = |key: &str| {
        query.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    };
    let limit = match one("limit").map(str::parse::<usize>) {
        None => LIMIT,
        Some(Ok(limit)) if (1..=LIMIT).contains(&limit) => limit,
        Some(_) => return Err(Refusal::invalid("limit", "1 to 1000")),
    };
    let mut found: Vec<&Vm> = facts.vms.iter().collect();
    if let Some(marker) = one("marker") {
        if one("offset").is_some() {
            let why = "offset and marker exclude each other";
            return Err(Refusal::invalid("marker", why));
        }
        let marker: Value = serde_json::from_str(marker)
            .map_err(|why| Refusal::invalid("marker", why.to_string()))?;
        let Some(uuid) = marker["uuid"].as_str() else {
            return Err(Refusal::invalid("marker", "uuid is required"));
        };
        let at = found.iter().position(|vm| vm.uuid == uuid);
        found.drain(..at.map_or(found.len(), |at| at + 1));
    }
    found.retain(|vm| query.iter().all(|(k, wanted)| fits(vm, k, wanted)));
    if let Some(Ok(offset)) = one("offset").map(str::parse::<usize>) {
        found.drain(..offset.min(found.len()));
    }
    found.truncate(limit);
    let fields: Option<Vec<&str>> =
        one("fields").map(|f| f.split(',').collect());
    let shown = found.into_iter().map(|vm| {
        let mut whole = shown(vm);
        if let (Some(fields), Value::Object(map)) = (&fields, &mut whole) {
            map.retain(|key, _| fields.contains(&key.as_str()));
        }
        whole
    });
    Ok((200, shown.collect()))
}

fn fits(vm: &Vm, key: &str, wanted: &str) -> bool {
    match key {
        "uuid" => vm.uuid == wanted,
        "owner_uuid" => vm.owner_uuid == wanted,
        "server_uuid" => vm.server_uuid == wanted,
        "alias" => vm.alias == wanted,
        "brand" => vm.brand == wanted,
        "image_uuid" => vm.image_uuid == wanted,
        "state" if wanted == "active" => {
            !["destroyed", "failed"].contains(&vm.state.as_str())
        }
        "state" => vm.state == wanted,
        _ => match key.strip_prefix("tag.") {
            Some(tag) => vm.tags.get(tag).is_some_and(|value| {
                let text = match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                wanted == "*" || text == wanted
            }),
            None => true,
        },
    }
}

/// A VM as VMAPI shows it: the facts, and a few fields that every VM has.
pub(super) fn shown(vm: &Vm) -> Value {
    let mut shown: Map<String, Value> = match serde_json::to_value(vm) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    };
    shown.insert("zonename".to_owned(), json!(vm.uuid));
    shown.insert("zone_state".to_owned(), json!(vm.state));
    shown.insert("customer_metadata".to_owned(), json!({}));
    shown.insert("internal_metadata".to_owned(), json!({}));
    Value::Object(shown)
}
