// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The Networking API as far as it is read: networks, and the NICs of the
//! zones there are.
//!
//! Source: sdc-napi, lib/endpoints and lib/models. Not imitated: writes, pools,
//! NICs of servers, ETags.

use axum::body::Body;
use axum::http::{Method, Response};
use serde_json::{Value, json};

use crate::http::rest::{Answer, Refusal, paged, respond, stand_in};
use crate::http::{Call, Front, Handler};

/// What each list may be asked by; anything else is refused.
const OF_NETWORKS: &[&str] = &[
    "uuid",
    "name",
    "nic_tag",
    "fabric",
    "family",
    "vlan_id",
    "owner_uuid",
    "provisionable_by",
    "limit",
    "offset",
];
const OF_NICS: &[&str] = &[
    "belongs_to_uuid",
    "belongs_to_type",
    "owner_uuid",
    "cn_uuid",
    "network_uuid",
    "nic_tag",
    "nic_tags_provided",
    "state",
    "underlay",
    "limit",
    "offset",
];

stand_in!(
    /// A handle to one NAPI; clones share everything.
    Napi,
    "napi"
);

impl Napi {
    fn route(&self, call: &Call) -> Answer {
        let segments = call.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (call.method == Method::GET, &segments[..]) {
            (true, ["ping"]) => Ok((
                200,
                json!({
                    "healthy": true,
                    "services": {"moray": "online"},
                    "status": "OK",
                }),
            )),
            (true, ["networks"]) => listed(call, self.networks(), OF_NETWORKS),
            (true, ["nics"]) => listed(call, self.nics(), OF_NICS),
            (true, ["networks", uuid]) => {
                one(self.networks(), "uuid", uuid, "network")
            }
            (true, ["nics", mac]) => {
                // Colons should not stand in a path.
                let digits: String =
                    mac.chars().filter(char::is_ascii_hexdigit).collect();
                let same = |nic: &Value| {
                    let mac = nic["mac"].as_str().unwrap_or_default();
                    mac.replace(':', "") == digits
                };
                let found = self.nics().into_iter().find(same);
                let none = || Refusal::not_found("nic not found");
                Ok((200, found.ok_or_else(none)?))
            }
            _ => {
                let message = format!("{} does not exist", call.path());
                Err(Refusal::not_found(message))
            }
        }
    }

    fn networks(&self) -> Vec<Value> {
        let stock = self.datacenter.stock();
        let shown = stock.networks.iter().map(|network| {
            let mut shown = json!(network);
            shown["family"] = json!("ipv4");
            shown["vlan_id"] = json!(0);
            shown["netmask"] = json!("255.255.255.0");
            shown
        });
        shown.collect()
    }

    /// Destroyed zones have none any more.
    fn nics(&self) -> Vec<Value> {
        self.datacenter.read(|facts| {
            let stock = self.datacenter.stock();
            let alive = facts.vms.iter().filter(|vm| vm.state != "destroyed");
            let shown = alive.flat_map(|vm| {
                let stock = &stock;
                vm.nics.iter().map(move |nic| {
                    let mut shown = stock.nic(vm, nic);
                    shown["belongs_to_uuid"] = json!(vm.uuid);
                    shown["belongs_to_type"] = json!("zone");
                    shown["owner_uuid"] = json!(vm.owner_uuid);
                    shown["cn_uuid"] = json!(vm.server_uuid);
                    shown["state"] = json!(vm.state);
                    shown
                })
            });
            shown.collect()
        })
    }
}

/// A page of those that pass all filters; several values stand in a comma
/// list.
fn listed(call: &Call, mut all: Vec<Value>, known: &[&str]) -> Answer {
    for (key, wanted) in call.query() {
        if !known.contains(&key.as_str()) {
            let refusal =
                Refusal::new(422, "InvalidParameters", "Invalid parameters");
            let why = format!("Unknown parameter: {key}");
            return Err(refusal.of_field(&key, "InvalidParameter", why));
        }
        if ["limit", "offset", "provisionable_by"].contains(&key.as_str()) {
            continue;
        }
        all.retain(|object| {
            let text = match &object[&key] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            wanted.split(',').any(|wanted| wanted == text)
        });
    }
    Ok((200, paged(call, all).into()))
}

fn one(all: Vec<Value>, key: &str, wanted: &str, kind: &str) -> Answer {
    let found = all.into_iter().find(|object| object[key] == wanted);
    let none = || Refusal::not_found(format!("{kind} not found"));
    Ok((200, found.ok_or_else(none)?))
}

impl Handler for Napi {
    fn front(&self) -> &Front {
        &self.front
    }

    fn answer(&self, call: &Call) -> Response<Body> {
        respond("SmartDataCenter Networking API", call, self.route(call))
    }
}
