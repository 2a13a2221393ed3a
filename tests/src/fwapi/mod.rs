// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The Firewall API as far as rules go: list, get, create, change, delete.
//!
//! Source: sdc-fwapi, lib/endpoints/rules/index.js. A rule is written back in
//! its canonical form: keywords in capitals, tags in quotes. Not imitated: what
//! rules do, updates to servers, the grammar beyond its outline.

mod rule;

use axum::body::Body;
use axum::http::Response;
use serde_json::{Map, Value, json};

use crate::http::rest::{Answer, Refusal, read_object, respond, stand_in};
use crate::http::{Call, Front, Handler};
use uuid::Uuid;

/// What the list may be asked by; anything else is refused.
const LISTED_BY: &[&str] = &[
    "fields",
    "ip",
    "owner_uuid",
    "protocol",
    "subnet",
    "vm",
    "enabled",
    "action",
    "global",
    "tag",
    "wildcard",
    "log",
];

stand_in!(
    /// A handle to one FWAPI; clones share everything.
    Fwapi,
    "fwapi"
);

impl Fwapi {
    fn route(&self, call: &Call) -> Answer {
        let segments = call.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (call.method.as_str(), &segments[..]) {
            ("GET", ["ping"]) => Ok((
                200,
                json!({
                    "healthy": true,
                    "services": {"fast": "online", "moray": "online",
                        "ufds": "online"},
                    "status": "OK",
                }),
            )),
            ("GET", ["rules"]) => self.list(call),
            ("POST", ["rules"]) => self.create(call),
            ("GET", ["rules", uuid]) => Ok((200, self.find(call, uuid)?)),
            ("PUT", ["rules", uuid]) => self.update(call, uuid),
            ("DELETE", ["rules", uuid]) => {
                self.find(call, uuid)?;
                self.datacenter.stock().rules.remove(*uuid);
                Ok((204, Value::Null))
            }
            _ => {
                let message = format!("{} does not exist", call.path());
                Err(Refusal::not_found(message))
            }
        }
    }

    /// Global rules are in it only when they are asked for.
    fn list(&self, call: &Call) -> Answer {
        let query = call.query();
        for (key, _) in &query {
            if !LISTED_BY.contains(&key.as_str()) {
                let why = format!("Unknown parameter: {key}");
                return Err(invalid(key, why));
            }
        }
        let global = call.parameter("global").is_some();
        let stock = self.datacenter.stock();
        let fits = |rule: &&Value| {
            query.iter().all(|(key, wanted)| match key.as_str() {
                "owner_uuid" => {
                    rule["owner_uuid"] == **wanted
                        || global && rule["global"] == true
                }
                "enabled" => rule["enabled"] == (wanted == "true"),
                "tag" => {
                    let tag = format!("tag \"{wanted}\"");
                    rule["rule"].as_str().is_some_and(|r| r.contains(&tag))
                }
                _ => true,
            })
        };
        Ok((200, stock.rules.values().filter(fits).cloned().collect()))
    }

    /// The rule, unless it is another account's.
    fn find(&self, call: &Call, uuid: &str) -> Result<Value, Refusal> {
        let stock = self.datacenter.stock();
        let found = stock.rules.get(uuid);
        let none = || Refusal::not_found("fwrule not found");
        let found = found.cloned().ok_or_else(none)?;
        match call.parameter("owner_uuid") {
            Some(owner) if found["owner_uuid"] != *owner => {
                let why = "owner_uuid does not match";
                let refusal =
                    Refusal::new(403, "Forbidden", "owner does not match");
                Err(refusal.of_field("owner_uuid", "InvalidParameter", why))
            }
            _ => Ok(found),
        }
    }

    fn create(&self, call: &Call) -> Answer {
        let body = read_object(call)?;
        if !body.contains_key("rule") {
            let why = "\"rule\" parameter required";
            return Err(Refusal::new(409, "MissingParameter", why));
        }
        let uuid = Uuid::new_v4().to_string();
        let new = json!({"uuid": uuid, "enabled": false});
        self.put(new, &body)
    }

    fn update(&self, call: &Call, uuid: &str) -> Answer {
        let body = read_object(call)?;
        let rule = self.find(call, uuid)?;
        self.put(rule, &body)
    }

    /// `rule` with the changes of `body`, if that is one, in stock.
    fn put(&self, mut rule: Value, body: &Map<String, Value>) -> Answer {
        for key in ["rule", "enabled", "owner_uuid", "global", "description"] {
            if let Some(value) = body.get(key) {
                rule[key] = value.clone();
            }
        }
        if let Value::String(flag) = &rule["enabled"] {
            // Forms have no booleans.
            rule["enabled"] = json!(flag == "true");
        }
        let owned = rule["owner_uuid"].is_string();
        if !owned && rule["global"] != true {
            let why = "owner_uuid required, unless the rule is global";
            return Err(invalid("owner_uuid", why));
        }
        let text = rule["rule"].as_str().unwrap_or_default();
        let text = rule::canonical(text).map_err(|why| invalid("rule", why))?;
        rule["rule"] = json!(text);
        let mut stock = self.datacenter.stock();
        let uuid = rule["uuid"].as_str().unwrap_or_default().to_owned();
        rule["version"] = json!(format!("{}.000001", 1_893_553_445_000_u64));
        stock.rules.insert(uuid, rule.clone());
        Ok((202, rule))
    }
}

fn invalid(field: &str, why: impl Into<String>) -> Refusal {
    Refusal::new(422, "InvalidParameters", "Invalid parameters").of_field(
        field,
        "InvalidParameter",
        why,
    )
}

impl Handler for Fwapi {
    fn front(&self) -> &Front {
        &self.front
    }

    fn answer(&self, call: &Call) -> Response<Body> {
        respond("SmartDataCenter Firewall API", call, self.route(call))
    }
}
