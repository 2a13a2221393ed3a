// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Changing VMs: each call checks, starts a job, and answers 202 with it. The
//! job does the rest; see `datacenter::job`. SAPI comes this way too.
//!
//! Source: sdc-vmapi, lib/endpoints/vms.js and lib/workflows. What a job that
//! fails leaves behind: a provision a zone that is `failed`; so a reprovision,
//! on its new image, as when the set-up in it fails; others nothing (assumed).
//! A reprovision of a zone that is `failed` is taken, and makes it run
//! (assumed); one whose server starts none that is marked so is a job that
//! fails.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{invalid, write};
use crate::datacenter::job::{Effect, Plan};
use crate::datacenter::stock::mac;
use crate::datacenter::{Datacenter, Facts, Vm};
use crate::http::rest::{Answer, Refusal};
use crate::tags::check_tags;

/// Whether jobs can be started at all.
pub(super) fn workflow(datacenter: &Datacenter) -> Result<(), Refusal> {
    match datacenter.stock().workflow_down {
        false => Ok(()),
        true => Err(Refusal::new(
            503,
            "ServiceUnavailableError",
            "Workflow API is unavailable",
        )),
    }
}

/// `POST /vms`.
pub(crate) fn provision(
    datacenter: &Datacenter,
    body: &Map<String, Value>,
) -> Answer {
    workflow(datacenter)?;
    let uuid = datacenter.try_update(|facts| {
        let mut stock = datacenter.stock();
        let (vm, zone) = write::plan(facts, &stock, body)?;
        let uuid = vm.uuid.clone();
        stock.zones.insert(uuid.clone(), zone);
        facts.vms.push(vm);
        Ok(uuid)
    })?;
    let plan = Plan {
        task: "provision",
        midway: None,
        done: to_state(&uuid, "running"),
        undone: Some(to_state(&uuid, "failed")),
        subject: uuid,
    };
    Ok(started(datacenter, plan))
}

/// `DELETE /vms/:uuid`.
pub(crate) fn destroy(datacenter: &Datacenter, vm: &Vm) -> Answer {
    workflow(datacenter)?;
    let done = to_state(&vm.uuid, "destroyed");
    Ok(started(datacenter, plan("destroy", vm, done)))
}

/// `POST /vms/:uuid?action=reprovision`: all but the delegate dataset is new.
pub(crate) fn reprovision(
    datacenter: &Datacenter,
    vm: &Vm,
    image: &str,
) -> Answer {
    workflow(datacenter)?;
    if !["joyent", "joyent-minimal", "lx"].contains(&vm.brand.as_str()) {
        let why = "VM 'brand' does not support reprovision";
        return Err(Refusal::new(409, "BrandNotSupported", why));
    }
    write::check_image(&datacenter.stock(), image)?;
    let then = |state: &'static str| -> Effect {
        let (uuid, image) = (vm.uuid.clone(), image.to_owned());
        Box::new(move |facts, stock| {
            stock.zone_mut(&uuid).root = Uuid::new_v4();
            with_vm(facts, &uuid, |vm| {
                vm.image_uuid = image;
                vm.state = state.to_owned();
            });
        })
    };
    let midway = Some(to_state(&vm.uuid, "stopped"));
    let undone = Some(then("failed"));
    let plan = plan("reprovision", vm, then("running"));
    Ok(started(datacenter, Plan { midway, undone, ..plan }))
}

/// `POST /vms/:uuid?action=`.
pub(super) fn act(
    datacenter: &Datacenter,
    vm: &Vm,
    action: &str,
    body: &Map<String, Value>,
) -> Answer {
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    let required =
        |field: &str| {
            Refusal::new(409, "ValidationFailed", "Invalid Parameters")
                .of_field(field, "MissingParameter", "Missing parameter")
        };
    if action.is_empty() {
        return Err(required("action"));
    }
    let known = ["start", "stop", "reboot", "reprovision", "update"];
    let known = known.into_iter().chain(["add_nics", "remove_nics"]);
    if !known.into_iter().any(|known| known == action) {
        return Err(invalid("action", "Invalid parameter"));
    }
    if vm.state == "provisioning" {
        let why = format!(
            "Cannot call {action} for a VM that has not been provisioned yet"
        );
        return Err(Refusal::new(409, "UnallocatedVM", why));
    }
    let to = |task, state| plan(task, vm, to_state(&vm.uuid, state));
    Ok(match action {
        "start" => started(datacenter, to("start", "running")),
        "stop" => started(datacenter, to("stop", "stopped")),
        "reboot" => started(datacenter, to("reboot", "running")),
        "add_nics" => add_nics(datacenter, vm, body)?,
        "remove_nics" => {
            let Some(Value::Array(macs)) = body.get("macs") else {
                return Err(required("macs"));
            };
            remove_nics(datacenter, vm, macs)?
        }
        "update" => update(datacenter, vm, body),
        _ => match text("image_uuid") {
            None => return Err(required("image_uuid")),
            Some(image) if Uuid::parse_str(image).is_err() => {
                return Err(invalid("image_uuid", "Invalid UUID"));
            }
            Some(image) => reprovision(datacenter, vm, image)?,
        },
    })
}

/// Puts `tags` to those there are, or in place of all when `whole`.
pub(super) fn tag(
    datacenter: &Datacenter,
    vm: &Vm,
    tags: Map<String, Value>,
    whole: bool,
) -> Answer {
    check_tags(&tags).map_err(|why| invalid("tags", why))?;
    let uuid = vm.uuid.clone();
    let done: Effect = Box::new(move |facts, _| {
        with_vm(facts, &uuid, |vm| {
            if whole {
                vm.tags.clear();
            }
            vm.tags.extend(tags);
        });
    });
    Ok(started(datacenter, plan("update", vm, done)))
}

/// Takes one tag away.
pub(super) fn untag(datacenter: &Datacenter, vm: &Vm, key: &str) -> Answer {
    if !vm.tags.contains_key(key) {
        let message = format!("Tag {key:?} not found");
        return Err(Refusal::not_found(message));
    }
    let (uuid, key) = (vm.uuid.clone(), key.to_owned());
    let done: Effect = Box::new(move |facts, _| {
        with_vm(facts, &uuid, |vm| drop(vm.tags.shift_remove(&key)));
    });
    Ok(started(datacenter, plan("update", vm, done)))
}

/// Puts `metadata` to what the zone has.
pub(super) fn add_metadata(
    datacenter: &Datacenter,
    vm: &Vm,
    metadata: Map<String, Value>,
) -> Answer {
    let uuid = vm.uuid.clone();
    let done: Effect = Box::new(move |_, stock| {
        stock.zone_mut(&uuid).customer_metadata.extend(metadata);
    });
    Ok(started(datacenter, plan("update", vm, done)))
}

/// `action=update`: alias and quota; other fields are overlooked.
fn update(
    datacenter: &Datacenter,
    vm: &Vm,
    body: &Map<String, Value>,
) -> (u16, Value) {
    let quota = body.get("quota").and_then(Value::as_u64);
    let firewall = body.get("firewall_enabled").and_then(Value::as_bool);
    let alias = body.get("alias").and_then(Value::as_str).map(str::to_owned);
    let uuid = vm.uuid.clone();
    let done: Effect = Box::new(move |facts, stock| {
        let zone = stock.zone_mut(&uuid);
        zone.quota_gib = quota.unwrap_or(zone.quota_gib);
        zone.firewall_enabled = firewall.unwrap_or(zone.firewall_enabled);
        with_vm(facts, &uuid, |vm| {
            vm.alias = alias.unwrap_or(std::mem::take(&mut vm.alias));
        });
    });
    started(datacenter, plan("update", vm, done))
}

/// Addresses are taken when the job ends, not before, as NAPI would.
fn add_nics(
    datacenter: &Datacenter,
    vm: &Vm,
    body: &Map<String, Value>,
) -> Answer {
    if !body.contains_key("networks") {
        return Err(invalid("networks", "Missing parameter"));
    }
    let (nics, primary) = datacenter
        .read(|facts| write::nics(facts, &datacenter.stock(), body))?;
    let uuid = vm.uuid.clone();
    let done: Effect = Box::new(move |facts, stock| {
        let zone = stock.zone_mut(&uuid);
        zone.primary = primary.or(zone.primary);
        with_vm(facts, &uuid, |vm| {
            vm.nics.extend(nics);
            vm.state = "running".to_owned();
        });
    });
    let midway = Some(to_state(&vm.uuid, "stopped"));
    Ok(started(datacenter, Plan { midway, ..plan("add-nics", vm, done) }))
}

fn remove_nics(datacenter: &Datacenter, vm: &Vm, macs: &[Value]) -> Answer {
    let of_vm = |wanted: &Value| vm.nics.iter().any(|n| *wanted == mac(n.ip));
    if !macs.iter().all(of_vm) {
        return Err(invalid("macs", "VM has no such NIC"));
    }
    let (uuid, macs) = (vm.uuid.clone(), macs.to_vec());
    let done: Effect = Box::new(move |facts, _| {
        with_vm(facts, &uuid, |vm| {
            vm.nics.retain(|nic| !macs.contains(&json!(mac(nic.ip))));
        });
    });
    Ok(started(datacenter, plan("remove-nics", vm, done)))
}

fn plan(task: &'static str, vm: &Vm, done: Effect) -> Plan {
    let subject = vm.uuid.clone();
    Plan { task, subject, midway: None, done, undone: None }
}

fn started(datacenter: &Datacenter, plan: Plan) -> (u16, Value) {
    let vm_uuid = plan.subject.clone();
    let job_uuid = datacenter.start(plan);
    (202, json!({"vm_uuid": vm_uuid, "job_uuid": job_uuid}))
}

fn to_state(uuid: &str, state: &'static str) -> Effect {
    let uuid = uuid.to_owned();
    Box::new(move |facts, _| {
        with_vm(facts, &uuid, |vm| vm.state = state.to_owned());
    })
}

fn with_vm(facts: &mut Facts, uuid: &str, change: impl FnOnce(&mut Vm)) {
    if let Some(vm) = facts.vms.iter_mut().find(|vm| vm.uuid == uuid) {
        change(vm);
    }
}
