// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The instances: how many there are to be, which shard and which server each
//! belongs to, and what those that are there lack. Pure.

mod number;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use self::number::{Groups, metadata, number};
use super::blueprint::MANTA;
use super::facts::Transfer;
use super::place::Places;
use super::plan::Draft;
use super::service::package;
use super::step::{Named, NewZone, Own, Step};
use super::{Facts, Request};
use crate::deploy::roster::admin_ip;
use crate::triton::napi::Network;
use crate::triton::vmapi::{Nic, Vm};

/// Quota of Triton's packages, GiB: too little for metrics.
const TRAP_GIB: u64 = 25;
/// What SAPI makes of an image of ours.
const BRAND: &str = "joyent-minimal";

/// An instance that stays.
struct Kept<'a> {
    zone: Named,
    vm: &'a Vm,
    groups: Groups,
}

/// An instance to be.
#[derive(Default)]
struct Wanted {
    alias: Option<String>,
    groups: Groups,
    /// Where its forerunner was.
    server: Option<Uuid>,
    /// That of a record whose zone VMAPI never heard of, or the one that was
    /// chosen when its forerunner was to go.
    uuid: Option<Uuid>,
    /// What its forerunner has of its own.
    own: Option<Own>,
}

/// Plans them.
pub(super) fn zones(
    facts: &Facts,
    request: &Request,
    fresh: &mut dyn FnMut() -> Uuid,
    draft: &mut Draft,
) {
    let (mut kept, mut wanted) = standing(facts, request, fresh, draft);
    for vm in &facts.strays {
        let zone = Named { uuid: vm.uuid, alias: vm.alias.clone() };
        let Named { uuid, alias } = &zone;
        if vm.brand != BRAND {
            draft.note(format!(
                "zone {uuid} {alias} has the tag of this service and brand \
                 {:?}, where SAPI makes {BRAND}: it is left alone",
                vm.brand
            ));
            continue;
        }
        if let Some(service) = facts.taken.get(uuid) {
            draft.problem(format!(
                "zone {uuid} {alias}: saw it in SAPI as an instance of service \
                 {service}, wanted this one's, as its tag says"
            ));
            continue;
        }
        let begun = facts.pending.get(uuid);
        let mut own = begun.map(|one| one.own.clone()).unwrap_or_default();
        own.params.insert("alias".to_owned(), json!(alias));
        let groups = Groups::of(facts, request, &own.metadata);
        let adopted = zone.clone();
        draft.step(Step::AdoptInstance { zone: adopted, own });
        kept.push(Kept { zone, vm, groups });
    }
    owed(facts, request, &kept, &mut wanted);
    for (uuid, pending) in &facts.pending {
        let failed = facts.remains.get(uuid).filter(|vm| vm.state == "failed");
        if failed.is_some() && !is_member(facts, *uuid) {
            draft.note(format!(
                "zone {uuid} failed when it was made as {}, and no instance \
                 stands for it: delete it with VMAPI",
                pending.alias
            ));
        }
    }
    let last = number(request, &mut kept, &mut wanted, draft);
    let new = place(facts, request, &kept, wanted, fresh, draft);
    let names = new.iter().map(|one| one.zone.clone()).collect::<Vec<_>>();
    for one in new {
        draft.step(Step::CreateInstance(one));
    }
    for zone in &kept {
        condition(facts, request, zone, draft);
    }
    nics(facts, request, &kept, &names, draft);
    transfer(facts, &kept, &names, draft);
    let unwell = kept.iter().filter(|one| !facts.well.contains(&one.zone.uuid));
    let unwell = unwell.map(|one| one.zone.clone());
    for zone in unwell.chain(names).collect::<Vec<_>>() {
        draft.step(Step::Await(zone));
    }
    last.into_iter().for_each(|step| draft.step(step));
}

fn is_member(facts: &Facts, uuid: Uuid) -> bool {
    let mut members = facts.rosters.iter().flat_map(|one| &one.members);
    members.any(|member| member.instance.uuid == uuid)
}

/// The instances that are there; and those to be made anew, as their zones are
/// none.
fn standing<'a>(
    facts: &'a Facts,
    request: &Request,
    fresh: &mut dyn FnMut() -> Uuid,
    draft: &mut Draft,
) -> (Vec<Kept<'a>>, Vec<Wanted>) {
    let (mut kept, mut anew) = (Vec::new(), Vec::new());
    let members = facts.rosters.first().map_or(&[][..], |one| &one.members);
    for member in members {
        let uuid = member.instance.uuid;
        let zone = Named { uuid, alias: member.alias() };
        let own = Own::of(&member.instance);
        let groups = Groups::of(facts, request, &own.metadata);
        let replace = request.replace.contains(&uuid);
        let vm = member.vm.as_ref().or_else(|| facts.remains.get(&uuid));
        let state = vm.map_or("", |vm| vm.state.as_str());
        let drop = match state {
            "destroyed" => true,
            // Its setup failed; it may have been reprovisioned, with data.
            "failed" => replace || vm.is_some_and(|vm| facts.never_ran(vm)),
            "provisioning" => replace,
            _ => false,
        };
        match vm {
            Some(vm) if drop => {
                let state = state.to_owned();
                let alias = zone.alias.clone();
                let heir = begun(facts, &alias).unwrap_or_else(&mut *fresh);
                anew.push(Wanted {
                    alias: Some(alias),
                    groups,
                    server: vm.server_uuid,
                    uuid: Some(heir),
                    own: Some(own.clone()),
                });
                draft.step(Step::DropInstance { zone, state, heir, own });
            }
            Some(_) if state == "failed" => draft.problem(format!(
                "{} {uuid}: saw its zone failed, wanted running; see \
                 /var/svc/setup.log in it. If it holds nothing, --replace \
                 {uuid} makes another",
                zone.alias
            )),
            Some(vm) => {
                if replace {
                    draft.problem(format!(
                        "--replace {uuid}: saw its zone {state}, wanted one \
                         that never ran: provisioning or failed"
                    ));
                }
                kept.push(Kept { zone, vm, groups });
            }
            None => anew.push(Wanted {
                alias: Some(zone.alias),
                groups,
                server: own.server(),
                uuid: Some(uuid),
                own: Some(own),
            }),
        }
    }
    (kept, anew)
}

/// Those whose forerunner is gone, and that an earlier run did not come to
/// make: nobody would know that they are lacking.
fn owed(
    facts: &Facts,
    request: &Request,
    kept: &[Kept<'_>],
    wanted: &mut Vec<Wanted>,
) {
    for (uuid, pending) in facts.pending.iter().filter(|(_, one)| one.anew) {
        let alias = Some(pending.alias.clone());
        let is_kept = |one: &Kept<'_>| {
            one.zone.uuid == *uuid || one.zone.alias == pending.alias
        };
        if is_member(facts, *uuid)
            || kept.iter().any(is_kept)
            || wanted.iter().any(|one| one.alias == alias)
        {
            continue;
        }
        let own = pending.own.clone();
        wanted.push(Wanted {
            alias,
            groups: Groups::of(facts, request, &own.metadata),
            server: own.server(),
            // One that failed without an instance has used its uuid up.
            uuid: (!facts.remains.contains_key(uuid)).then_some(*uuid),
            own: Some(own),
        });
    }
}

/// The uuid of a zone of this alias that was begun and is nothing yet.
fn begun(facts: &Facts, alias: &str) -> Option<Uuid> {
    let begun = facts.pending.iter().find(|(uuid, pending)| {
        // One that has an instance is kept, or is to go.
        pending.alias == alias
            && !facts.remains.contains_key(uuid)
            && !is_member(facts, **uuid)
    });
    begun.map(|(uuid, _)| *uuid)
}

/// Gives each its alias, server and uuid.
fn place(
    facts: &Facts,
    request: &Request,
    kept: &[Kept<'_>],
    wanted: Vec<Wanted>,
    fresh: &mut dyn FnMut() -> Uuid,
    draft: &mut Draft,
) -> Vec<NewZone> {
    let blueprint = request.target.blueprint();
    let mut places = Places::new(facts, request, draft);
    for one in kept {
        places.take(one.groups.shard, one.vm.server_uuid);
    }
    let mut aliases: BTreeSet<String> =
        kept.iter().map(|one| one.zone.alias.clone()).collect();
    aliases.extend(wanted.iter().filter_map(|one| one.alias.clone()));
    let quota = request.quota_gib.unwrap_or(blueprint.quota_gib);
    let of_service = facts.quota_gib.unwrap_or_else(|| {
        package(facts).map_or(0, |one| one.quota_mib / 1024)
    });
    let mut new = Vec::new();
    for one in wanted {
        let alias = one.alias.unwrap_or_else(|| {
            let mut all =
                (0..).map(|n: usize| format!("{}{n}", blueprint.service));
            all.find(|alias| !aliases.contains(alias)).unwrap_or_default()
        });
        aliases.insert(alias.clone());
        let shard = one.groups.shard;
        let Some(server) = places.choose(shard, one.server, draft) else {
            continue;
        };
        let uuid = one.uuid.or_else(|| begun(facts, &alias));
        let anew = one.own.is_some();
        // Of its forerunner all stays but what is chosen here.
        let mut own = one.own.unwrap_or_default();
        if one.groups.is_given() {
            own.metadata.extend(metadata(request, shard));
        }
        let of_its_own = own.params.get("quota").and_then(Value::as_u64);
        let has = of_its_own.unwrap_or(of_service);
        // 0 of its own is no limit at all.
        if has < quota && of_its_own != Some(0) {
            own.params.insert("quota".to_owned(), json!(quota));
        }
        own.params.insert("alias".to_owned(), json!(alias));
        own.params.insert("server_uuid".to_owned(), json!(server.uuid));
        new.push(NewZone {
            zone: Named { uuid: uuid.unwrap_or_else(&mut *fresh), alias },
            hostname: server.hostname.clone(),
            shard,
            own,
            anew,
        });
    }
    new
}

/// What a zone that is there lacks.
fn condition(
    facts: &Facts,
    request: &Request,
    one: &Kept<'_>,
    draft: &mut Draft,
) {
    let blueprint = request.target.blueprint();
    let (vm, alias) = (one.vm, &one.zone.alias);
    let least = match request.quota_gib {
        Some(quota) => quota,
        // What somebody chose is enough.
        None if vm.quota > TRAP_GIB => 0,
        None => blueprint.quota_gib,
    };
    // 0 is no limit at all.
    if vm.quota != 0 && vm.quota < least && vm.state != "provisioning" {
        let zone = one.zone.clone();
        draft.step(Step::RaiseQuota { zone, from: vm.quota, to: least });
    }
    if blueprint.firewall && !vm.firewall_enabled && vm.state != "provisioning"
    {
        draft.step(Step::EnableFirewall(one.zone.clone()));
    }
    if vm.datasets.is_empty() && vm.state != "provisioning" {
        draft.note(format!(
            "{alias} has no delegate dataset: all it keeps is lost when it is \
             reprovisioned"
        ));
    }
    let image = facts.image.image.as_ref().map(|image| image.uuid);
    if vm.image_uuid != image {
        draft.note(format!(
            "{alias} runs another image than new zones get: monadm update {}",
            blueprint.service
        ));
    }
}

/// NICs that zones lack, those on the service's own networks first: they are
/// what the rest goes by. A new zone has them from SAPI.
fn nics(
    facts: &Facts,
    request: &Request,
    kept: &[Kept<'_>],
    new: &[Named],
    draft: &mut Draft,
) {
    let blueprint = request.target.blueprint();
    for network in blueprint.networks {
        let old = kept.iter().filter(|one| one.vm.state != "provisioning");
        add_nics(facts, network, old, &[], draft);
    }
    let manta = facts.networks.get(MANTA).map_or(0, Vec::len);
    if blueprint.manta_nic && manta == 1 {
        add_nics(facts, MANTA, kept.iter(), new, draft);
    }
    for one in kept {
        for nic in &one.vm.nics {
            if !is_named(facts, nic) {
                let network = nic.network_uuid.map(|uuid| uuid.to_string());
                draft.note(format!(
                    "{} has a NIC with tag {:?} on network {}, which its \
                     service does not name: it is left alone",
                    one.zone.alias,
                    nic.nic_tag,
                    network.as_deref().unwrap_or("unknown")
                ));
            }
        }
    }
}

fn add_nics<'a>(
    facts: &Facts,
    name: &'static str,
    kept: impl Iterator<Item = &'a Kept<'a>>,
    new: &[Named],
    draft: &mut Draft,
) {
    let found = facts.networks.get(name).map_or(&[][..], Vec::as_slice);
    let network = match found {
        [network] => Some(network),
        _ => None,
    };
    let tag = network.map_or(name, |network| &*network.nic_tag);
    let lacks = |one: &&Kept<'_>| !one.vm.nics.iter().any(|n| n.nic_tag == tag);
    let old = kept.filter(lacks).map(|one| (&one.zone, true));
    for (zone, in_use) in old.chain(new.iter().map(|zone| (zone, false))) {
        let Some(network) = network else {
            draft.problem(format!(
                "network {name}, on which {} has no NIC: saw {} in NAPI, \
                 wanted one",
                zone.alias,
                found.len()
            ));
            continue;
        };
        let (zone, uuid, nic_tag) =
            (zone.clone(), network.uuid, network.nic_tag.clone());
        let well = zone.clone();
        draft.step(Step::AddNic { zone, network: name, nic_tag, uuid, in_use });
        // It restarts; the next one does so when this one is back.
        if in_use {
            draft.step(Step::Await(well));
        }
    }
}

/// Whether a NIC is on a network that zones of this service get, or that
/// somebody added to it.
fn is_named(facts: &Facts, nic: &Nic) -> bool {
    let mut ours = facts.networks.values().flatten();
    let is = |network: &Network| match nic.network_uuid {
        Some(uuid) => uuid == network.uuid,
        None => nic.nic_tag == network.nic_tag,
    };
    let params = facts.rosters.first().map(|one| &one.service.params);
    let networks = params.and_then(|params| params.get("networks"));
    let uuid = nic.network_uuid.map(|uuid| uuid.to_string());
    let says =
        |text: &str| text == nic.nic_tag || Some(text) == uuid.as_deref();
    let mut added = networks.and_then(Value::as_array).into_iter().flatten();
    ours.any(is)
        || added.any(|entry| {
            let keys = ["name", "uuid", "ipv4_uuid"];
            let texts = keys.iter().map(|key| &entry[*key]).chain([entry]);
            texts.filter_map(Value::as_str).any(says)
        })
}

fn transfer(
    facts: &Facts,
    kept: &[Kept<'_>],
    new: &[Named],
    draft: &mut Draft,
) {
    let Some(Transfer { service, allowed, manta, gone }) = &facts.transfer
    else {
        return;
    };
    let may = |one: &&Kept<'_>| {
        let address = admin_ip(one.vm);
        address.is_some_and(|ip| super::transfer::holds(allowed, ip))
    };
    let old = kept.iter().filter(|one| !may(one)).map(|one| &one.zone);
    let manta = manta
        .iter()
        .filter(|(_, address)| !super::transfer::holds(allowed, *address));
    let old = old.chain(manta.map(|(zone, _)| zone));
    let zones: Vec<Named> = old.chain(new).cloned().collect();
    let mut gone = gone.clone();
    gone.retain(|address| allowed.contains(&address.to_string()));
    if !zones.is_empty() || !gone.is_empty() {
        draft.step(Step::AllowTransfer { service: *service, zones, gone });
    }
}
