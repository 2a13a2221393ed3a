// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Reading VMs: filters, pages, chosen fields.

use serde_json::{Value, json};

use super::invalid;
use crate::datacenter::{Facts, Stock, Vm};
use crate::http::rest::Answer;

/// Longest page; more is refused.
const LIMIT: usize = 1000;

/// Beside `vms`: how many VMs there are in all pages, for the header.
pub(super) const TOTAL: &str = "total";

/// `GET /vms`: the VMs that pass every known filter, by uuid, descending; a
/// marker names the last VM of the page before, which may be gone meanwhile.
/// Not imitated: `sort`, `query`, `predicate`. Unknown parameters are ignored.
pub(super) fn list(
    facts: &Facts,
    stock: &Stock,
    query: &[(String, String)],
) -> Answer {
    let one = |key: &str| {
        query.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    };
    let limit = match one("limit").map(str::parse::<usize>) {
        None => LIMIT,
        Some(Ok(limit)) if (1..=LIMIT).contains(&limit) => limit,
        Some(_) => return Err(invalid("limit", "1 to 1000")),
    };
    let mut found: Vec<&Vm> = facts.vms.iter().collect();
    found.retain(|vm| query.iter().all(|(k, wanted)| fits(vm, k, wanted)));
    found.sort_by(|a, b| b.uuid.cmp(&a.uuid));
    let total = found.len();
    if let Some(marker) = one("marker") {
        if one("offset").is_some() {
            let why = "offset and marker exclude each other";
            return Err(invalid("marker", why));
        }
        let marker: Value = serde_json::from_str(marker)
            .map_err(|why| invalid("marker", why.to_string()))?;
        let Some(uuid) = marker["uuid"].as_str() else {
            let why = "A marker needs to have a uuid property from which a \
                       strict total order can be established";
            return Err(invalid("marker", why));
        };
        found.retain(|vm| vm.uuid.as_str() < uuid);
    }
    if let Some(Ok(offset)) = one("offset").map(str::parse::<usize>) {
        found.drain(..offset.min(found.len()));
    }
    found.truncate(limit);
    let shown = found.into_iter().map(|vm| {
        let mut shown = stock.vm(facts, vm);
        choose(&mut shown, one("fields"));
        shown
    });
    let page: Value = shown.collect();
    Ok((200, json!({TOTAL: total, "vms": page})))
}

/// Keeps the fields asked for, a comma list; all when nothing is asked for.
pub(super) fn choose(shown: &mut Value, fields: Option<&str>) {
    if let (Some(fields), Value::Object(map)) = (fields, shown) {
        let fields: Vec<&str> = fields.split(',').collect();
        map.retain(|key, _| {
            fields.contains(&key.as_str()) || fields.contains(&"*")
        });
    }
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
