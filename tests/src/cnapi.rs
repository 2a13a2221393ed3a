// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The Compute Node API as far as it is read: servers.
//!
//! Source: sdc-cnapi, lib/endpoints/servers.js and lib/validation. Its traps: a
//! parameter it does not know is a 409, one of the wrong form a 500, a limit
//! out of bounds a 400. Not imitated: the default server, writes.

use axum::body::Body;
use axum::http::{Method, Response};
use serde_json::{Value, json};

use crate::http::rest::{Answer, Refusal, paged, respond, stand_in};
use crate::http::{Call, Front, Handler};

stand_in!(
    /// A handle to one CNAPI; clones share everything.
    Cnapi,
    "cnapi"
);

impl Cnapi {
    fn route(&self, call: &Call) -> Answer {
        let segments = call.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (call.method == Method::GET, &segments[..]) {
            (true, ["ping"]) => {
                let down = self.datacenter.stock().workflow_down;
                let workflow = if down { "offline" } else { "online" };
                Ok((
                    200,
                    json!({
                        "ready": !down,
                        "services": {"moray": "online", "workflow": workflow},
                    }),
                ))
            }
            (true, ["servers"]) => {
                check(call)?;
                Ok((200, paged(call, self.list(call)).into()))
            }
            (true, ["servers", uuid]) => {
                let found = self.servers().into_iter();
                let none =
                    || Refusal::not_found(format!("No such server: {uuid}"));
                let mut found = found.filter(|server| server["uuid"] == *uuid);
                Ok((200, found.next().ok_or_else(none)?))
            }
            _ => {
                let message = format!("{} does not exist", call.path());
                Err(Refusal::not_found(message))
            }
        }
    }

    fn servers(&self) -> Vec<Value> {
        self.datacenter.read(|facts| {
            let stock = self.datacenter.stock();
            let all = facts.servers.iter();
            all.map(|server| stock.server(facts, server)).collect()
        })
    }

    fn list(&self, call: &Call) -> Vec<Value> {
        let mut found = self.servers();
        for flag in ["setup", "headnode", "reserved"] {
            if let Some(wanted) = call.parameter(flag) {
                let wanted = wanted.eq_ignore_ascii_case("true");
                found.retain(|server| server[flag] == wanted);
            }
        }
        if let Some(wanted) = call.parameter("hostname") {
            found.retain(|server| server["hostname"] == *wanted);
        }
        if let Some(wanted) = call.parameter("uuids") {
            found.retain(|server| {
                wanted.split(',').any(|uuid| server["uuid"] == uuid)
            });
        }
        let extras = call.parameter("extras").unwrap_or_default();
        if !extras.split(',').any(|extra| ["memory", "all"].contains(&extra)) {
            for server in found.iter_mut().filter_map(Value::as_object_mut) {
                server.retain(|key, _| !key.starts_with("memory_"));
            }
        }
        found
    }
}

/// Whether the parameters are known, and of the form they should have.
fn check(call: &Call) -> Result<(), Refusal> {
    let words = |text: &str| {
        text.split(',').all(|word| {
            let letter =
                |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
            !word.is_empty() && word.bytes().all(letter)
        })
    };
    for (key, value) in call.query() {
        let good = match key.as_str() {
            "setup" | "headnode" | "reserved" | "reservoir" => {
                ["true", "false"].contains(&value.to_lowercase().as_str())
            }
            "extras" | "fields" | "uuids" => words(&value),
            "hostname" => true,
            "offset" => value.parse::<u32>().is_ok(),
            "limit" => match value.parse::<u32>() {
                Ok(1..=1000) => true,
                Ok(_) => return Err(invalid(400, "limit", "1-1000")),
                Err(_) => false,
            },
            _ => {
                let why =
                    format!("{key} is not an explicitly defined parameter");
                return Err(Refusal::new(409, "InvalidArgument", why));
            }
        };
        if !good {
            return Err(invalid(500, &key, "Invalid characters"));
        }
    }
    Ok(())
}

fn invalid(status: u16, field: &str, why: &str) -> Refusal {
    let message = "Request parameters failed validation";
    Refusal::new(status, "InvalidParameters", message)
        .of_field(field, "Invalid", why)
}

impl Handler for Cnapi {
    fn front(&self) -> &Front {
        &self.front
    }

    fn answer(&self, call: &Call) -> Response<Body> {
        respond("Compute Node API", call, self.route(call))
    }
}
