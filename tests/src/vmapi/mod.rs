// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The VM API as far as monitoring touches it: list, get, create, destroy,
//! tags, jobs. It writes to the shared `Datacenter`, which wakes CMON and CNS.
//!
//! Shortcuts: every job has succeeded when its uuid is handed out; a created
//! VM runs at once on the first server and takes the next free address.

mod query;
#[cfg(test)]
mod tests;
mod write;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, SERVER};
use axum::http::{HeaderValue, Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::datacenter::{Datacenter, Facts, Vm};
use crate::http::{self, Call, Front, Handler};

/// Jobs remembered.
const JOBS_LIMIT: usize = 10_000;

/// A handle to one VMAPI; clones share everything.
#[derive(Clone)]
pub struct Vmapi {
    inner: Arc<Inner>,
}

struct Inner {
    datacenter: Arc<Datacenter>,
    front: Front,
    jobs: Mutex<VecDeque<Value>>,
}

/// An error answer.
#[derive(Debug)]
struct Refusal {
    status: u16,
    body: Value,
}

impl Refusal {
    fn not_found(what: &str) -> Self {
        let message = format!("{what} not found");
        let body = json!({"code": "ResourceNotFound", "message": message});
        Self { status: 404, body }
    }

    fn invalid(field: &str, message: impl Into<String>) -> Self {
        let errors = json!([
            {"field": field, "code": "Invalid", "message": message.into()},
        ]);
        let body = json!({
            "code": "ValidationFailed",
            "message": "Invalid Parameters",
            "errors": errors,
        });
        Self { status: 409, body }
    }
}

type Answer = Result<(u16, Value), Refusal>;

impl Vmapi {
    /// A VMAPI over `datacenter`.
    pub fn new(datacenter: Arc<Datacenter>) -> Self {
        Self {
            inner: Arc::new(Inner {
                datacenter,
                front: Front::default(),
                jobs: Mutex::default(),
            }),
        }
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
        match segments[..] {
            // Assumed: the sheet does not give the body.
            ["ping"] if get => {
                Ok((200, json!({"status": "OK", "healthy": true})))
            }
            ["vms"] if get => {
                let query = call.query();
                datacenter.read(|facts| query::list(facts, &query))
            }
            ["vms"] if call.method == Method::POST => {
                let body = read_object(call)?;
                // A refusal must not wake anyone.
                write::create(&mut datacenter.facts(), &body)?;
                let uuid =
                    datacenter.update(|facts| write::create(facts, &body))?;
                Ok(self.job("provision", &uuid))
            }
            ["vms", uuid, ref rest @ ..] => self.route_vm(call, uuid, rest),
            ["jobs"] if get => {
                let jobs = self.inner.jobs.lock().expect("no holder panics");
                Ok((200, jobs.iter().cloned().collect()))
            }
            ["jobs", job] | ["jobs", job, "wait"] if get => {
                let jobs = self.inner.jobs.lock().expect("no holder panics");
                let found = jobs.iter().find(|j| j["uuid"] == job);
                found
                    .map(|job| (200, job.clone()))
                    .ok_or_else(|| Refusal::not_found("Job"))
            }
            _ => Err(Refusal::not_found(call.path())),
        }
    }

    fn route_vm(&self, call: &Call, uuid: &str, rest: &[&str]) -> Answer {
        let query = call.query();
        let query =
            |key: &str| query.iter().find(|(k, _)| k == key).map(|(_, v)| v);
        let owner = query("owner_uuid").map(String::as_str);
        let datacenter = &self.inner.datacenter;
        let edit = |edit: &dyn Fn(&mut Vm) -> Result<(), Refusal>| {
            let known =
                datacenter.read(|facts| find(facts, uuid, owner).map(drop));
            known?;
            // A refusal must not wake anyone.
            let mut facts = datacenter.facts();
            edit(write::find_mut(&mut facts, uuid, owner)?)?;
            datacenter
                .update(|facts| edit(write::find_mut(facts, uuid, owner)?))
        };
        let (method, path) = (call.method.as_str(), rest);
        match (method, path) {
            ("GET", []) => datacenter.read(|facts| {
                Ok((200, query::shown(find(facts, uuid, owner)?)))
            }),
            ("DELETE", []) => {
                edit(&|vm| {
                    vm.state = "destroyed".to_owned();
                    Ok(())
                })?;
                Ok(self.job("destroy", uuid))
            }
            ("POST", []) => {
                let action = query("action").cloned();
                let action = action.unwrap_or_default();
                let body = read_object(call).unwrap_or_default();
                edit(&|vm| write::act(vm, &action, &body))?;
                Ok(self.job(&action, uuid))
            }
            ("GET", ["tags"]) => datacenter.read(|facts| {
                let vm = find(facts, uuid, owner)?;
                Ok((200, Value::Object(vm.tags.clone())))
            }),
            ("GET", ["tags", key]) => datacenter.read(|facts| {
                let tag = find(facts, uuid, owner)?.tags.get(*key);
                let tag = tag.ok_or_else(|| Refusal::not_found("Tag"))?;
                Ok((200, tag.clone()))
            }),
            ("POST" | "PUT" | "DELETE", ["tags"]) => {
                let tags = match method {
                    "DELETE" => serde_json::Map::new(),
                    _ => read_object(call)?,
                };
                let whole = method != "POST";
                edit(&|vm| write::set_tags(vm, &tags, whole))?;
                Ok(self.job("update", uuid))
            }
            ("DELETE", ["tags", key]) => {
                edit(&|vm| {
                    let gone = vm.tags.shift_remove(*key);
                    gone.map(drop).ok_or_else(|| Refusal::not_found("Tag"))
                })?;
                Ok(self.job("update", uuid))
            }
            _ => Err(Refusal::not_found(call.path())),
        }
    }

    /// Writes a finished job down and answers with it.
    fn job(&self, task: &str, vm_uuid: &str) -> (u16, Value) {
        let job_uuid = Uuid::new_v4().to_string();
        let mut jobs = self.inner.jobs.lock().expect("no holder panics");
        if jobs.len() == JOBS_LIMIT {
            jobs.pop_front();
        }
        jobs.push_back(json!({
            "uuid": job_uuid,
            "name": task,
            "vm_uuid": vm_uuid,
            "execution": "succeeded",
            "chain_results": [{"name": task, "result": "OK", "error": ""}],
        }));
        (202, json!({"vm_uuid": vm_uuid, "job_uuid": job_uuid}))
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
        .ok_or_else(|| Refusal::not_found("VM"))
}

fn read_object(call: &Call) -> Result<serde_json::Map<String, Value>, Refusal> {
    match call.json() {
        Ok(Some(Value::Object(object))) => Ok(object),
        Ok(_) => Err(Refusal::invalid("body", "a JSON object is required")),
        Err(why) => {
            let body = json!({"code": "InvalidContent",
                "message": format!("Invalid JSON: {why}")});
            Err(Refusal { status: 400, body })
        }
    }
}

impl Handler for Vmapi {
    fn front(&self) -> &Front {
        &self.inner.front
    }

    fn answer(&self, call: &Call) -> Response<Body> {
        let (status, value, count) = match self.route(call) {
            Ok((status, value)) => {
                let count = value.as_array().map(Vec::len);
                (status, value, count)
            }
            Err(refusal) => (refusal.status, refusal.body, None),
        };
        let mut response = Response::new(Body::from(value.to_string()));
        *response.status_mut() =
            StatusCode::from_u16(status).expect("statuses here are valid");
        let headers = response.headers_mut();
        headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(SERVER, HeaderValue::from_static("VMAPI"));
        if let Some(count) = count {
            // Of this page; the real header counts all pages.
            headers.insert("x-joyent-resource-count", count.into());
        }
        response
    }
}
