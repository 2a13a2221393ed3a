// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The VM API as far as monitoring touches it: list, get, create, destroy,
//! actions, tags, metadata, jobs. It writes to the shared `Datacenter`, which
//! wakes CMON and CNS.
//!
//! Shortcuts: a job is over when its uuid is handed out, unless the stock says
//! how many polls it takes; a VM whose server is not named goes to the first;
//! `/jobs/:uuid/wait` ends the job instead of waiting for it.

mod query;
#[cfg(test)]
mod tests;
mod write;
mod zones;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Response};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::datacenter::{Datacenter, Facts, Vm};
use crate::http::rest::{Answer, Refusal, read_object, respond};
use crate::http::{self, Call, Front, Handler};

pub(crate) use zones::{destroy, provision, reprovision};

/// A handle to one VMAPI; clones share everything.
#[derive(Clone)]
pub struct Vmapi {
    inner: Arc<Inner>,
}

struct Inner {
    datacenter: Arc<Datacenter>,
    front: Front,
}

/// 409, as VMAPI says that a field is wrong.
fn invalid(field: &str, message: impl Into<String>) -> Refusal {
    Refusal::new(409, "ValidationFailed", "Invalid Parameters")
        .of_field(field, "Invalid", message)
}

impl Vmapi {
    /// A VMAPI over `datacenter`, behind its gate.
    pub fn new(datacenter: Arc<Datacenter>) -> Self {
        let front = Front::default();
        front.stand_behind(datacenter.gate(), "vmapi");
        Self { inner: Arc::new(Inner { datacenter, front }) }
    }

    /// Answers HTTP on `listener` until `stop`.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        http::serve(self, listener, None, stop).await;
    }

    /// Request log and faults.
    pub fn front(&self) -> &Front {
        &self.inner.front
    }

    fn route(&self, call: &Call) -> Answer {
        let segments = call.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let get = call.method == Method::GET;
        let datacenter = &self.inner.datacenter;
        let no_job = || Refusal::not_found("Job not found");
        match segments[..] {
            ["ping"] if get => Ok(self.ping()),
            ["vms"] if get => datacenter.read(|facts| {
                query::list(facts, &datacenter.stock(), &call.query())
            }),
            ["vms"] if call.method == Method::POST => {
                zones::provision(datacenter, &read_object(call)?)
            }
            ["vms", uuid, ref rest @ ..] => self.route_vm(call, uuid, rest),
            ["jobs"] if get => Ok((200, datacenter.jobs().into())),
            ["jobs", job] if get => {
                Ok((200, datacenter.poll(job).ok_or_else(no_job)?))
            }
            ["jobs", job, "wait"] if get => {
                Ok((200, datacenter.drive(job).ok_or_else(no_job)?))
            }
            _ => {
                let message = format!("{} does not exist", call.path());
                Err(Refusal::not_found(message))
            }
        }
    }

    fn ping(&self) -> (u16, Value) {
        let down = self.inner.datacenter.stock().workflow_down;
        let (status, said, workflow) = match down {
            true => (503, "some services are not ready", "offline"),
            false => (200, "OK", "online"),
        };
        let said = json!({
            "status": said,
            "healthy": !down,
            "services": {"moray": "online", "wfapi": workflow},
        });
        (status, said)
    }

    fn route_vm(&self, call: &Call, uuid: &str, rest: &[&str]) -> Answer {
        let datacenter = &self.inner.datacenter;
        let owner = call.parameter("owner_uuid");
        let owner = owner.as_deref();
        if call.method == Method::GET {
            // Also who looks at the zone sees it move on.
            datacenter.poll_subject(uuid);
            return datacenter.read(|facts| {
                let vm = find(facts, uuid, owner)?;
                show(vm, &datacenter.stock().vm(facts, vm), rest, call)
            });
        }
        // In this order: not even a VM that is not there is looked for.
        zones::workflow(datacenter)?;
        let vm = datacenter.read(|facts| find(facts, uuid, owner).cloned())?;
        match (call.method.as_str(), rest) {
            ("DELETE", []) => zones::destroy(datacenter, &vm),
            ("POST", []) => {
                let action = call.parameter("action").unwrap_or_default();
                zones::act(datacenter, &vm, &action, &read_object(call)?)
            }
            ("POST" | "PUT" | "DELETE", ["tags"]) => {
                let tags = match call.method.as_str() {
                    "DELETE" => Map::new(),
                    _ => read_object(call)?,
                };
                let whole = call.method != Method::POST;
                zones::tag(datacenter, &vm, tags, whole)
            }
            ("DELETE", ["tags", key]) => zones::untag(datacenter, &vm, key),
            ("POST", ["customer_metadata"]) => {
                zones::add_metadata(datacenter, &vm, read_object(call)?)
            }
            _ => {
                let message = format!("{} does not exist", call.path());
                Err(Refusal::not_found(message))
            }
        }
    }
}

/// `GET` of a VM, or of something it has.
fn show(vm: &Vm, shown: &Value, path: &[&str], call: &Call) -> Answer {
    match path {
        [] => {
            let mut shown = shown.clone();
            query::choose(&mut shown, call.parameter("fields").as_deref());
            Ok((200, shown))
        }
        ["tags"] => Ok((200, json!(vm.tags))),
        ["tags", key] => {
            let none = || Refusal::not_found(format!("Tag {key:?} not found"));
            Ok((200, vm.tags.get(*key).cloned().ok_or_else(none)?))
        }
        ["customer_metadata"] => Ok((200, shown["customer_metadata"].clone())),
        _ => Err(Refusal::not_found("Route does not exist")),
    }
}

/// The VM, unless it belongs to another account than the one asked for.
fn find<'a>(
    facts: &'a Facts,
    uuid: &str,
    owner: Option<&str>,
) -> Result<&'a Vm, Refusal> {
    facts
        .vm(uuid)
        .filter(|vm| owner.is_none_or(|owner| vm.owner_uuid == owner))
        .ok_or_else(|| Refusal::not_found("VM not found"))
}

impl Handler for Vmapi {
    fn front(&self) -> &Front {
        &self.inner.front
    }

    fn answer(&self, call: &Call) -> Response<Body> {
        let mut answer = self.route(call);
        let mut count = None;
        if let Ok((_, Value::Object(list))) = &mut answer
            && let Some(total) = list.remove(query::TOTAL)
        {
            count = total.as_u64();
            let page = list.remove("vms").unwrap_or_default();
            answer = Ok((200, page));
        }
        let mut response = respond("VMAPI", call, answer);
        if let Some(count) = count {
            let value = HeaderValue::from(count);
            response.headers_mut().insert("x-joyent-resource-count", value);
        }
        response
    }
}
