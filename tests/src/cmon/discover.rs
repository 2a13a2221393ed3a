// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What discovery lists: an account's cached VMs, and the compute nodes.

use serde_json::{Value, json};

use crate::datacenter::{Account, Facts, Vm};

/// Whether CMON keeps this VM in its cache: neither destroyed nor a NAT zone.
pub(super) fn is_cached(vm: &Vm) -> bool {
    vm.state != "destroyed" && tag(vm, "smartdc_role") != Some("nat")
}

/// The account's cached VMs.
pub(super) fn cached_vms<'a>(
    facts: &'a Facts,
    account: &'a Account,
) -> impl Iterator<Item = &'a Vm> {
    facts.vms.iter().filter(|vm| vm.owner_uuid == account.uuid && is_cached(vm))
}

/// The answer to `/v1/discover`. With `groups`, VMs that have any of them.
pub(super) fn containers(
    facts: &Facts,
    account: &Account,
    groups: Option<&[&str]>,
    include_stopped: bool,
    now_ms: u64,
) -> Value {
    let is_poseidon = account.login == "poseidon";
    let found: Vec<Value> = cached_vms(facts, account)
        .filter(|vm| include_stopped || vm.state != "stopped")
        .filter(|vm| {
            let role = tag(vm, "manta_role").filter(|_| is_poseidon);
            groups.is_none_or(|wanted| {
                groups_of(vm).chain(role).any(|group| wanted.contains(&group))
            })
        })
        .map(|vm| container(vm, now_ms))
        .collect();
    json!({"containers": found})
}

fn container(vm: &Vm, now_ms: u64) -> Value {
    let manta_role = tag(vm, "manta_role");
    let core = manta_role.or(tag(vm, "smartdc_role")).is_some();
    let mut container = json!({
        "groups": groups_of(vm).collect::<Vec<_>>(),
        "has_core_tag": core,
        "server_uuid": vm.server_uuid,
        "source": "Changefeed",
        "vm_alias": vm.alias,
        "vm_brand": vm.brand,
        "vm_image_uuid": vm.image_uuid,
        "vm_owner_uuid": vm.owner_uuid,
        "vm_uuid": vm.uuid,
        "vm_state": vm.state,
        "cached_date": now_ms,
    });
    if let Some(role) = manta_role {
        container["manta_group"] = json!(role);
    }
    container
}

/// The answer to `/v1/gz/discover`: every node, whoever asks.
pub(super) fn compute_nodes(facts: &Facts) -> Value {
    let nodes = facts.servers.iter().map(|server| {
        json!({
            "server_uuid": server.uuid,
            "server_hostname": server.hostname,
        })
    });
    json!({"cns": nodes.collect::<Vec<_>>()})
}

/// Split at commas, nothing trimmed.
fn groups_of(vm: &Vm) -> impl Iterator<Item = &str> {
    tag(vm, "triton.cmon.groups").into_iter().flat_map(|t| t.split(','))
}

fn tag<'a>(vm: &'a Vm, key: &str) -> Option<&'a str> {
    vm.tags.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}
