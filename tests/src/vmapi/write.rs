// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Changing VMs: create, actions, tags. Each checks before it changes.

use std::net::Ipv4Addr;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::Refusal;
use crate::datacenter::{Facts, Nic, Vm};
use crate::tags::check_tags;

/// First address on a network where no VM has one yet.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

/// Adds a VM and returns its uuid.
///
/// `owner_uuid` is required; `uuid`, `alias`, `brand`, `image_uuid`,
/// `server_uuid`, `tags`, and `nics` (as in the facts) or `networks` (names
/// or `{name}`; the name is taken for the NIC tag) are taken when given.
pub(super) fn create(
    facts: &mut Facts,
    body: &Map<String, Value>,
) -> Result<String, Refusal> {
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    let or = |key: &str, default: &str| text(key).unwrap_or(default).to_owned();
    let owner_uuid = text("owner_uuid")
        .ok_or_else(|| Refusal::invalid("owner_uuid", "is required"))?;
    if !facts.accounts.iter().any(|a| a.uuid == owner_uuid) {
        return Err(Refusal::invalid("owner_uuid", "no such account"));
    }
    let uuid = match text("uuid") {
        None => Uuid::new_v4().to_string(),
        Some(uuid) if Uuid::parse_str(uuid).is_err() => {
            return Err(Refusal::invalid("uuid", "is no UUID"));
        }
        Some(uuid) if facts.vm(uuid).is_some() => {
            return Err(Refusal::invalid("uuid", "exists already"));
        }
        Some(uuid) => uuid.to_owned(),
    };
    let tags = match body.get("tags") {
        None => Map::new(),
        Some(Value::Object(tags)) => tags.clone(),
        Some(_) => return Err(Refusal::invalid("tags", "is no object")),
    };
    check_tags(&tags).map_err(|why| Refusal::invalid("tags", why))?;
    let first_server =
        facts.servers.first().map_or("", |server| server.uuid.as_str());
    let vm = Vm {
        alias: or("alias", &uuid),
        owner_uuid: owner_uuid.to_owned(),
        server_uuid: or("server_uuid", first_server),
        state: "running".to_owned(),
        brand: or("brand", "joyent-minimal"),
        image_uuid: or("image_uuid", "f0000000-0000-4000-8000-000000000001"),
        tags,
        nics: nics(facts, body)?,
        uuid: uuid.clone(),
    };
    facts.vms.push(vm);
    Ok(uuid)
}

fn nics(facts: &Facts, body: &Map<String, Value>) -> Result<Vec<Nic>, Refusal> {
    if let Some(nics) = body.get("nics") {
        return serde_json::from_value(nics.clone())
            .map_err(|why| Refusal::invalid("nics", why.to_string()));
    }
    let networks = body.get("networks").and_then(Value::as_array);
    let names: Vec<&str> = networks
        .into_iter()
        .flatten()
        .filter_map(|network| network.as_str().or(network["name"].as_str()))
        .collect();
    let names = if names.is_empty() { vec!["external"] } else { names };
    Ok(names.into_iter().map(|tag| next_nic(facts, tag)).collect())
}

/// The address after the highest on this NIC tag.
fn next_nic(facts: &Facts, tag: &str) -> Nic {
    let on_tag = || {
        let all = facts.vms.iter().flat_map(|vm| &vm.nics);
        all.filter(|nic| nic.nic_tag == tag)
    };
    let ip = on_tag()
        .map(|nic| u32::from(nic.ip))
        .max()
        .map_or(FIRST_ADDRESS, |highest| {
            Ipv4Addr::from(highest.saturating_add(1))
        });
    let network_uuid = on_tag().next().map_or_else(
        || Uuid::new_v4().to_string(),
        |nic| nic.network_uuid.clone(),
    );
    Nic { nic_tag: tag.to_owned(), ip, network_uuid }
}

/// `POST /vms/:uuid?action=`: start, stop, reboot, reprovision.
pub(super) fn act(
    vm: &mut Vm,
    action: &str,
    body: &Map<String, Value>,
) -> Result<(), Refusal> {
    match action {
        "start" | "reboot" => vm.state = "running".to_owned(),
        "stop" => vm.state = "stopped".to_owned(),
        "reprovision" => {
            let image = body.get("image_uuid").and_then(Value::as_str);
            let image = image
                .ok_or_else(|| Refusal::invalid("image_uuid", "is required"))?;
            vm.image_uuid = image.to_owned();
        }
        _ => return Err(Refusal::invalid("action", "is unknown")),
    }
    Ok(())
}

/// Adds or overwrites `tags`, or puts them in place of all when `whole`.
pub(super) fn set_tags(
    vm: &mut Vm,
    tags: &Map<String, Value>,
    whole: bool,
) -> Result<(), Refusal> {
    check_tags(tags).map_err(|why| Refusal::invalid("tags", why))?;
    if whole {
        vm.tags.clear();
    }
    vm.tags.extend(tags.clone());
    Ok(())
}

/// As `find`, to be changed.
pub(super) fn find_mut<'a>(
    facts: &'a mut Facts,
    uuid: &str,
    owner: Option<&str>,
) -> Result<&'a mut Vm, Refusal> {
    facts
        .vms
        .iter_mut()
        .find(|vm| vm.uuid == uuid)
        .filter(|vm| owner.is_none_or(|owner| vm.owner_uuid == owner))
        .ok_or_else(|| Refusal::not_found("VM"))
}
