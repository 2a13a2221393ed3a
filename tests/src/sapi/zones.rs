// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What full mode adds: instances are zones, made, changed and destroyed by
//! VMAPI's jobs. Without `async` the real one answers when the job is over;
//! here the job is over because it was asked.
//!
//! Source: sdc-sapi, lib/server/model.js and lib/server/vmapiplus.js.

use std::sync::Arc;

use serde_json::{Value, json};

use super::State;
use super::config;
use super::objects::{Object, Refusal, text};
use super::route::Kind;
use crate::datacenter::{Datacenter, Vm};
use crate::http::rest;
use crate::vmapi;

/// The datacenter, if instances of this service are zones in it.
fn zones_of(state: &State, instance: &Object) -> Option<Arc<Datacenter>> {
    let agent = instance.get("type") == Some(&json!("agent"));
    let zones = state.zones.clone().filter(|_| state.mode == "full");
    zones.filter(|_| !agent)
}

/// Makes the zone of an instance just stored, unless VMAPI knows it; the
/// instance is dropped when that fails. Answers the job, if it goes on.
/// `exists` is overlooked, as in 2.1.3.
pub(super) fn create(
    state: &mut State,
    instance: &Object,
    asynchronous: bool,
) -> Result<Option<String>, Refusal> {
    let Some(datacenter) = zones_of(state, instance) else { return Ok(None) };
    let uuid = text(instance, "uuid");
    let made = make(state, &datacenter, uuid, asynchronous);
    if made.is_err() {
        state.store.delete(Kind::Instance, uuid);
    }
    made
}

fn make(
    state: &State,
    datacenter: &Datacenter,
    uuid: &str,
    asynchronous: bool,
) -> Result<Option<String>, Refusal> {
    let payload = config::payload(&state.store, uuid)?;
    if datacenter.read(|facts| facts.vm(uuid).is_some()) {
        return Ok(None);
    }
    let payload = payload.as_object().cloned().unwrap_or_default();
    let job = job_of(vmapi::provision(datacenter, &payload))?;
    if asynchronous {
        return Ok(Some(job));
    }
    end(datacenter, &job, "ProvisionFailedError")?;
    Ok(None)
}

/// Puts the zone of an instance on another image.
pub(super) fn upgrade(
    state: &State,
    instance: &Object,
    image: &str,
) -> Result<(), Refusal> {
    let Some(datacenter) = zones_of(state, instance) else { return Ok(()) };
    let vm = vm(&datacenter, text(instance, "uuid"))?;
    let job = job_of(vmapi::reprovision(&datacenter, &vm, image))?;
    end(&datacenter, &job, "ReprovisionFailedError")
}

/// Destroys the zone of an instance. One that VMAPI does not know is an
/// error, and the instance stays.
pub(super) fn destroy(state: &State, instance: &Object) -> Result<(), Refusal> {
    let Some(datacenter) = zones_of(state, instance) else { return Ok(()) };
    let vm = vm(&datacenter, text(instance, "uuid"))?;
    let job = job_of(vmapi::destroy(&datacenter, &vm))?;
    end(&datacenter, &job, "DestroyFailedError")
}

fn vm(datacenter: &Datacenter, uuid: &str) -> Result<Vm, Refusal> {
    let found = datacenter.read(|facts| facts.vm(uuid).cloned());
    found.ok_or_else(|| passed_on(rest::Refusal::not_found("VM not found")))
}

fn job_of(answer: rest::Answer) -> Result<String, Refusal> {
    let (_, started) = answer.map_err(passed_on)?;
    Ok(started["job_uuid"].as_str().unwrap_or_default().to_owned())
}

/// The job's end; 500 with `code` unless it is the one wanted.
fn end(
    datacenter: &Datacenter,
    job: &str,
    code: &'static str,
) -> Result<(), Refusal> {
    let ended = datacenter.drive(job).unwrap_or_default();
    let why = match ended["execution"].as_str() {
        Some("succeeded") => return Ok(()),
        None => "Job not found",
        Some("running") => "polling for job timed out",
        Some(_) => {
            let results = ended["chain_results"].as_array();
            let last = results.and_then(|all| all.last());
            last.and_then(|last| last["error"]["message"].as_str())
                .unwrap_or("job failed")
        }
    };
    Err(Refusal::new(500, code, why))
}

/// VMAPI's own answer, body and all.
fn passed_on(refusal: rest::Refusal) -> Refusal {
    let body = refusal.body.unwrap_or(Value::Null);
    let message = body["message"].as_str().unwrap_or_default().to_owned();
    let mut passed = Refusal::plain(message);
    passed.status = refusal.status;
    passed.body = Some(body);
    passed
}
