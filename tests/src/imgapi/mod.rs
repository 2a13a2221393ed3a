// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The Image API, twice: the datacenter's own, with the job that imports from
//! elsewhere, and the updates server it imports from, which has channels.
//! What publishing asks for has a server of its own, in `publish`.
//!
//! Source: sdc-imgapi, lib/images.js, lib/channels.js, lib/errors.js and
//! lib/workflows/import-remote-image.js. Not imitated: files, accounts, ACLs,
//! `marker`, ETags.

mod import;
pub mod publish;

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::datacenter::Datacenter;
use crate::http::rest::{Answer, Refusal, respond};
use crate::http::{self, Call, Front, Handler};

/// Channels of the updates server; the first is the default.
const CHANNELS: &[&str] =
    &["dev", "staging", "release", "experimental", "support"];

/// A handle to one IMGAPI; clones share everything.
#[derive(Clone)]
pub struct Imgapi {
    datacenter: Arc<Datacenter>,
    front: Arc<Front>,
    /// The updates server, not the datacenter's own.
    updates: bool,
}

impl Imgapi {
    /// The datacenter's own, behind its gate.
    pub fn new(datacenter: Arc<Datacenter>) -> Self {
        Self::behind(datacenter, false)
    }

    /// The updates server: it has `Stock::updates`, and changes nothing.
    pub fn updates(datacenter: Arc<Datacenter>) -> Self {
        Self::behind(datacenter, true)
    }

    fn behind(datacenter: Arc<Datacenter>, updates: bool) -> Self {
        let front = Arc::new(Front::default());
        let name = if updates { "updates" } else { "imgapi" };
        front.stand_behind(datacenter.gate(), name);
        Self { datacenter, front, updates }
    }

    /// Answers HTTP on `listener` until `stop`.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        http::serve(self, listener, None, stop).await;
    }

    /// Request log and faults.
    pub fn front(&self) -> &Front {
        &self.front
    }

    fn route(&self, call: &Call) -> Answer {
        let segments = call.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (call.method.as_str(), &segments[..]) {
            ("GET", ["ping"]) => Ok((
                200,
                json!({
                    "ping": "pong", "version": "4.14.0", "imgapi": true,
                }),
            )),
            ("GET", ["images"]) => self.list(call),
            ("GET", ["images", uuid]) => {
                if !self.updates {
                    self.datacenter.poll_subject(uuid);
                }
                self.get(call, uuid)
            }
            ("POST", ["images", uuid]) if !self.updates => {
                match call.parameter("action").as_deref() {
                    Some("import-remote") => {
                        import::start(&self.datacenter, call, uuid)
                    }
                    _ => Err(invalid("InvalidParameter", "action")),
                }
            }
            ("DELETE", ["images", uuid]) if !self.updates => {
                self.get(call, uuid)?;
                self.delete(uuid)
            }
            _ => {
                let message = format!("{} does not exist", call.path());
                Err(Refusal::not_found(message))
            }
        }
    }

    fn list(&self, call: &Call) -> Answer {
        let channel = self.channel(call)?;
        let stock = self.datacenter.stock();
        let images = if self.updates { &stock.updates } else { &stock.images };
        let mut found: Vec<&Value> = images.values().collect();
        found.retain(|image| in_channel(image, channel.as_deref()));
        let state = call.parameter("state").unwrap_or("active".to_owned());
        let states =
            ["active", "unactivated", "disabled", "creating", "failed", "all"];
        if !states.contains(&state.as_str()) {
            return Err(invalid("InvalidParameter", "state"));
        }
        // Whoever is not signed in sees active ones alone.
        found.retain(|image| match (self.updates, state.as_str()) {
            (true, _) => image["state"] == "active" && state != "unactivated",
            (false, "all") => true,
            (false, state) => image["state"] == state,
        });
        for field in ["name", "version", "type", "os", "owner"] {
            let Some(wanted) = call.parameter(field) else { continue };
            found.retain(|image| {
                let value = image[field].as_str().unwrap_or_default();
                match (wanted.strip_prefix('~'), wanted.strip_prefix('!')) {
                    (Some(part), _) => value.contains(part),
                    (_, Some(other)) => value != other,
                    _ => value == wanted,
                }
            });
        }
        found.sort_by_key(|image| image["published_at"].as_str());
        if let Some(Ok(limit)) = call.parameter("limit").map(|l| l.parse()) {
            found.truncate(limit);
        }
        Ok((200, found.into_iter().cloned().collect()))
    }

    fn get(&self, call: &Call, uuid: &str) -> Answer {
        let channel = self.channel(call)?;
        let stock = self.datacenter.stock();
        let images = if self.updates { &stock.updates } else { &stock.images };
        let found = images.get(uuid);
        let found = found.filter(|i| in_channel(i, channel.as_deref()));
        let none = || Refusal::not_found("image not found");
        Ok((200, found.cloned().ok_or_else(none)?))
    }

    fn delete(&self, uuid: &str) -> Answer {
        let mut stock = self.datacenter.stock();
        let built_on = |image: &&Value| image["origin"] == uuid;
        let dependents: Vec<&str> = stock
            .images
            .values()
            .filter(built_on)
            .filter_map(|image| image["uuid"].as_str())
            .collect();
        if !dependents.is_empty() {
            let why = format!(
                "cannot delete image \"{uuid}\" because it has dependent \
                 images: {}",
                dependents.join(", ")
            );
            return Err(Refusal::new(422, "ImageHasDependentImages", why));
        }
        stock.images.remove(uuid);
        Ok((204, Value::Null))
    }

    /// The channel asked in; `None` is every one. Who has no channels
    /// overlooks it.
    fn channel(&self, call: &Call) -> Result<Option<String>, Refusal> {
        let asked = call.parameter("channel");
        match asked.as_deref() {
            _ if !self.updates => Ok(None),
            None => Ok(Some(CHANNELS[0].to_owned())),
            Some("*") => Ok(None),
            Some(name) if CHANNELS.contains(&name) => Ok(asked),
            Some(name) => {
                let message = format!("unknown channel: {name}");
                Err(Refusal::new(422, "ValidationFailed", message)
                    .of_field("channel", "Invalid", "unknown"))
            }
        }
    }
}

fn in_channel(image: &Value, channel: Option<&str>) -> bool {
    let channels = image["channels"].as_array();
    channel.is_none_or(|name| {
        channels.is_some_and(|all| all.iter().any(|one| one == name))
    })
}

fn invalid(code: &str, field: &str) -> Refusal {
    Refusal::new(422, code, format!("invalid {field}"))
        .of_field(field, "Invalid", "no good")
}

impl Handler for Imgapi {
    fn front(&self) -> &Front {
        &self.front
    }

    fn answer(&self, call: &Call) -> Response<Body> {
        respond("imgapi/4.14.0", call, self.route(call))
    }
}
