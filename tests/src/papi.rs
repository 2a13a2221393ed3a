// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The Package API as far as it is read: packages by what they have, or by
//! uuid.
//!
//! Source: sdc-papi, lib/papi.js. Not imitated: LDAP filters, `sort`, writes.

use axum::body::Body;
use axum::http::{Method, Response};
use serde_json::{Value, json};

use crate::http::rest::{Answer, Refusal, paged, respond, stand_in};
use crate::http::{Call, Front, Handler};

/// What packages are indexed by; other parameters filter nothing.
const INDEXED: &[&str] = &["uuid", "name", "version", "active", "os", "group"];

stand_in!(
    /// A handle to one PAPI; clones share everything.
    Papi,
    "papi"
);

impl Papi {
    fn route(&self, call: &Call) -> Answer {
        let segments = call.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (call.method == Method::GET, &segments[..]) {
            (true, ["ping"]) => Ok((200, json!({"pid": 1, "backend": "up"}))),
            (true, ["packages"]) => {
                Ok((200, paged(call, self.list(call)).into()))
            }
            (true, ["packages", uuid]) => {
                let all = &self.datacenter.stock().packages;
                let found = all.iter().find(|package| package["uuid"] == *uuid);
                let none = || {
                    let why = format!("Package {uuid} does not exist");
                    Refusal::not_found(why)
                };
                Ok((200, found.cloned().ok_or_else(none)?))
            }
            _ => {
                let message = format!("{} does not exist", call.path());
                Err(Refusal::not_found(message))
            }
        }
    }

    /// Those that pass every filter. A value may be a JSON array of several,
    /// and a text may have asterisks.
    fn list(&self, call: &Call) -> Vec<Value> {
        let filters: Vec<(String, Vec<Value>)> = call
            .query()
            .into_iter()
            .filter(|(key, _)| INDEXED.contains(&key.as_str()))
            .map(|(key, value)| match serde_json::from_str(&value) {
                Ok(Value::Array(any)) => (key, any),
                Ok(one) => (key, vec![one]),
                Err(_) => (key, vec![Value::String(value)]),
            })
            .collect();
        let stock = self.datacenter.stock();
        let fits = |package: &&Value| {
            filters.iter().all(|(key, any)| {
                any.iter().any(|wanted| matches(wanted, &package[key]))
            })
        };
        let with_version = |package: &Value| {
            let mut shown = package.clone();
            shown["v"] = json!(1);
            shown
        };
        stock.packages.iter().filter(fits).map(with_version).collect()
    }
}

/// Equal; or as text, with `*` for anything.
fn matches(wanted: &Value, value: &Value) -> bool {
    let (Value::String(pattern), Value::String(text)) = (wanted, value) else {
        return wanted == value;
    };
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    let open = parts.peek().is_some();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    open || rest.is_empty()
}

impl Handler for Papi {
    fn front(&self) -> &Front {
        &self.front
    }

    fn answer(&self, call: &Call) -> Response<Body> {
        respond("SmartDataCenter Package API", call, self.route(call))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asterisk_is_anything() {
        for (pattern, text, wanted) in [
            ("sdc_1024", "sdc_1024", true),
            ("sdc_1024", "sdc_10240", false),
            ("sdc_*", "sdc_1024", true),
            ("*_1024", "sdc_1024", true),
            ("s*_*4", "sdc_1024", true),
            ("s*_*5", "sdc_1024", false),
            ("*", "", true),
        ] {
            let matched = matches(&json!(pattern), &json!(text));
            assert_eq!(matched, wanted, "{pattern} {text}");
        }
    }
}
