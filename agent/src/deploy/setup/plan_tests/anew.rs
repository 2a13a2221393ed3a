// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What an earlier run left behind, and zones that are lost.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{facts, planned, read, request, text, uuid, vm, with};
use crate::deploy::setup::journal::Pending;
use crate::deploy::setup::step::NewZone;
use crate::deploy::setup::{Plan, Request, Step};

#[test]
fn what_a_run_left_behind_is_mended_by_what_it_wrote_down() {
    let zones = vec![
        (Some(vm(0, "failed")), json!({"groups": ["shard-0"]})),
        (None, json!({"groups": "edge,shard-0"})),
        (Some(vm(2, "destroyed")), json!({"groups": ["shard-1"]})),
    ];
    let mut facts = with(facts(), zones);
    let pending = |alias: &str| Pending {
        service: "prometheus".to_owned(),
        alias: alias.to_owned(),
        image: Some(uuid(0xf0, 2)),
        begun: Some(900),
        ..Pending::default()
    };
    facts.pending = [
        (uuid(0xd0, 0), pending("prometheus0")),
        (uuid(0xd0, 33), pending("prometheus3")),
    ]
    .into();
    let request = Request { shards: Some(2), ..request() };
    let made = planned(&facts, &request);
    insta::assert_snapshot!(text(made.clone()), @r"
    delete instance prometheus0 d0000000-0000-0000-0000-000000000000
        its zone is failed
        ! what the zone of prometheus0 may hold is destroyed
    delete instance prometheus2 d0000000-0000-0000-0000-000000000002
        its zone is destroyed
    create prometheus0 on headnode
        for shard 0
    create prometheus1 on cn1
        for shard 0
    create prometheus2 on headnode
        for shard 1
    create prometheus3 on cn2
        for shard 1
    CNS transfers: add prometheus0, add prometheus1, add prometheus2, add prometheus3
        each zone is a secondary of CNS, by its admin address
        ! CNS restarts: transfers under way begin anew
    see prometheus0 well
    see prometheus1 well
    see prometheus2 well
    see prometheus3 well
    ");
    let created = |plan: &Plan| -> Vec<NewZone> {
        let created = plan.steps.iter().filter_map(|step| match step {
            Step::CreateInstance(new) => Some(new.clone()),
            _ => None,
        });
        created.collect()
    };
    let new = created(&made.unwrap());
    let uuids: Vec<Uuid> = new.iter().map(|new| new.zone.uuid).collect();
    // One that VMAPI knows as failed or destroyed is never asked for again;
    // one it never heard of, and one that was begun, are.
    let wanted = [101, 1, 102, 33].map(|number| uuid(0xd0, number));
    assert_eq!(uuids, wanted);
    // Whose groups are somebody's, and stay so.
    let groups = new.iter().map(|new| new.own.metadata["groups"].clone());
    let groups: Vec<Value> = groups.collect();
    let wanted = json!([["shard-0"], "edge,shard-0", ["shard-1"], ["shard-1"]]);
    assert_eq!(json!(groups), wanted);
    // Without the journal a failed zone may be anybody's.
    facts.pending.clear();
    let refused = text(planned(&facts, &request));
    assert!(refused.contains("saw its zone failed"), "{refused}");
}

#[test]
fn a_zone_made_anew_has_what_was_its_own() {
    let own = json!({"thanos_components": ["receive"]});
    let zones = vec![
        (Some(vm(0, "running")), json!({})),
        (Some(vm(1, "destroyed")), own.clone()),
    ];
    let mut facts = with(facts(), zones);
    let params = &mut facts.rosters[0].members[1].instance.params;
    // More than is asked for, and than its service gives.
    params.extend([("quota".into(), 500.into()), ("cpu_cap".into(), 9.into())]);
    let made = planned(&facts, &request()).unwrap();
    let [Step::DropInstance { heir, own: kept, .. }, rest @ ..] =
        &made.steps[..]
    else {
        panic!("{made:?}");
    };
    let Step::CreateInstance(new) = &rest[0] else { panic!("{made:?}") };
    assert_eq!((new.zone.uuid, new.anew), (*heir, true));
    assert_eq!(json!(new.own.metadata), own);
    let wanted = json!({"alias": "prometheus1", "cpu_cap": 9, "quota": 500,
        "server_uuid": uuid(0x90, 2)});
    assert_eq!(json!(new.own.params), wanted);
    // It is gone, and its heir is not there yet.
    let pending = Pending {
        service: "prometheus".to_owned(),
        alias: "prometheus1".to_owned(),
        own: kept.clone(),
        anew: true,
        ..Pending::default()
    };
    facts.pending = [(*heir, pending)].into();
    facts.rosters[0].members.pop();
    facts.remains.clear();
    let again = planned(&facts, &request()).unwrap();
    assert_eq!(again.steps[0], Step::CreateInstance(new.clone()));
    // It came to life after all, or somebody made another.
    let other = with(super::facts(), vec![(Some(vm(1, "running")), json!({}))]);
    facts.rosters = other.rosters;
    let said = text(planned(&facts, &request()));
    assert!(!said.contains("create"), "{said}");
    assert_eq!(facts.settle(), [*heir]);
}

#[test]
fn a_zone_that_was_seen_to_run_is_nobodys_to_destroy() {
    let zones = vec![(Some(vm(0, "running")), json!({}))];
    let mut facts = with(facts(), zones);
    let pending = Pending {
        service: "prometheus".to_owned(),
        alias: "prometheus0".to_owned(),
        ..Pending::default()
    };
    let begun = [(uuid(0xd0, 0), pending)];
    facts.pending = begun.clone().into();
    assert_eq!(facts.settle(), [uuid(0xd0, 0)]);
    assert!(facts.pending.is_empty());
    // One that nobody saw run is still pending.
    let zones = vec![(Some(vm(0, "failed")), json!({}))];
    let mut facts = with(super::facts(), zones);
    facts.pending = begun.into();
    assert!(facts.settle().is_empty());
    assert_eq!(facts.pending.len(), 1);
}

#[test]
fn a_zone_without_instance_is_adopted_if_it_is_ours() {
    let stray = |brand: &str| {
        let mut stray = vm(7, "running");
        stray.brand = brand.to_owned();
        stray
    };
    let mut facts = with(facts(), Vec::new());
    facts.transfer = None;
    facts.strays = vec![stray("joyent-minimal")];
    let metadata = json!({"groups": ["shard-0"], "shard": "0"});
    let pending = Pending {
        service: "prometheus".to_owned(),
        alias: "prometheus7".to_owned(),
        own: read(json!({"metadata": metadata, "params": {"cpu_cap": 9}})),
        ..Pending::default()
    };
    facts.pending = [(uuid(0xd0, 7), pending)].into();
    // It has its shard back, and needs no other.
    let request = Request { replicas: Some(1), ..request() };
    let made = planned(&facts, &request).unwrap();
    let [Step::AdoptInstance { own, .. }, rest @ ..] = &made.steps[..] else {
        panic!("{made:?}");
    };
    let params = json!({"alias": "prometheus7", "cpu_cap": 9});
    assert_eq!(json!(own), json!({"metadata": metadata, "params": params}));
    assert!(rest.iter().all(|step| step.kind() == "await"), "{rest:?}");
    // What somebody else made with the same tag is left alone.
    facts.strays = vec![stray("lx")];
    facts.pending.clear();
    let said = text(planned(&facts, &request));
    assert!(said.contains("brand \"lx\""), "{said}");
    assert!(said.contains("create prometheus0"), "{said}");
    assert!(!said.contains("write down"), "{said}");
    facts.strays = vec![stray("joyent-minimal")];
    facts.taken = [(uuid(0xd0, 7), uuid(0x5e, 7))].into();
    let refused = text(planned(&facts, &request));
    assert!(refused.contains("as an instance of service"), "{refused}");
}
