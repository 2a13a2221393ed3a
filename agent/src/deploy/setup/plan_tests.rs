// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Plans of facts written down here: what an operator reads.

mod anew;
mod shards;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use uuid::Uuid;

use super::facts::{Facts, Transfer};
use super::image::Found;
use super::{Plan, Refused, Request, Target, plan};
use crate::deploy::roster::{Member, Roster};
use crate::triton::vmapi::Vm;

fn uuid(kind: u8, number: u8) -> Uuid {
    Uuid::from_u128(u128::from(kind) << 120 | u128::from(number))
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// A datacenter with three servers, in which nothing monitors yet.
fn facts() -> Facts {
    let network = |number: u8, name: &str, subnet: &str| {
        json!({"uuid": uuid(0x10, number), "name": name, "nic_tag": name,
            "subnet": subnet})
    };
    let networks = [
        ("admin", network(1, "admin", "10.88.0.0/24")),
        ("external", network(2, "external", "192.0.2.0/24")),
        ("manta", network(3, "manta", "10.77.77.0/24")),
    ];
    let networks = networks.map(|(name, one)| (name, vec![read(one)]));
    let server = |number: u8, hostname: &str| {
        read(json!({"uuid": uuid(0x90, number), "hostname": hostname,
            "setup": true, "status": "running", "headnode": number == 1}))
    };
    let rule = |number: u8, protocol: &str| {
        read(json!({"uuid": uuid(0x11, number), "enabled": true,
            "owner_uuid": uuid(0xe0, 1), "rule": format!("FROM subnet \
            10.88.0.0/24 TO tag \"smartdc_role\" ALLOW {protocol} PORT all")}))
    };
    Facts {
        admin: uuid(0xe0, 1),
        domain: "dc1.triton.test".to_owned(),
        rosters: Vec::new(),
        remains: BTreeMap::new(),
        strays: Vec::new(),
        taken: BTreeMap::new(),
        well: BTreeSet::new(),
        needed: [("cns", 1), ("cmon", 1)].into(),
        packages: vec![read(json!({"uuid": uuid(0x47, 1), "active": true,
            "name": "sdc_1024", "max_physical_memory": 1024,
            "quota": 25600}))],
        quota_gib: None,
        networks: networks.into(),
        servers: vec![
            server(3, "cn2"),
            server(2, "cn1"),
            server(1, "headnode"),
        ],
        image: Found {
            image: Some(read(json!({"uuid": uuid(0xf0, 2), "version": "v2",
                "name": "mantav2-prometheus", "type": "zone-dataset",
                "origin": uuid(0xf0, 1)}))),
            missing: Vec::new(),
            stale: Vec::new(),
            disabled: Vec::new(),
            broken: false,
        },
        kept_image: false,
        rules: vec![rule(1, "tcp"), rule(2, "udp")],
        manta: None,
        transfer: Some(Transfer {
            service: uuid(0x5e, 9),
            allowed: Vec::new(),
            manta: Vec::new(),
            gone: BTreeSet::new(),
        }),
        pending: BTreeMap::new(),
        now: 1000,
    }
}

fn request() -> Request {
    Request {
        target: Target::Prometheus,
        replicas: None,
        shards: None,
        prefix: "shard-".to_owned(),
        servers: Vec::new(),
        package: None,
        quota_gib: None,
        image: None,
        replace: Vec::new(),
    }
}

fn vm(number: u8, state: &str) -> Vm {
    read(json!({
        "uuid": uuid(0xd0, number), "alias": format!("prometheus{number}"),
        "state": state, "server_uuid": uuid(0x90, 1), "quota": 100,
        "image_uuid": uuid(0xf0, 2), "datasets": ["zones/x/data"],
        "firewall_enabled": true,
        "nics": [{"nic_tag": "admin", "ip": format!("10.88.0.{number}"),
            "network_uuid": uuid(0x10, 1)},
            {"nic_tag": "external", "ip": format!("192.0.2.{number}"),
            "network_uuid": uuid(0x10, 2)}],
    }))
}

/// With instances of these zones.
fn with(mut facts: Facts, zones: Vec<(Option<Vm>, Value)>) -> Facts {
    let service = uuid(0x5e, 1);
    let blueprint = Target::Prometheus.blueprint();
    let mut members = Vec::new();
    for (number, (vm, metadata)) in (0..).zip(zones) {
        let instance = json!({"uuid": uuid(0xd0, number),
            "service_uuid": service, "metadata": metadata, "params": {
                "alias": format!("prometheus{number}"),
                "server_uuid": uuid(0x90, 1)}});
        let gone = |vm: &Vm| ["failed", "destroyed"].contains(&&*vm.state);
        if let Some(vm) = vm.clone().filter(gone) {
            facts.remains.insert(vm.uuid, vm);
        }
        let vm = vm.filter(|vm| !gone(vm));
        members.push(Member { instance: read(instance), vm });
    }
    let service = json!({"uuid": service, "name": "prometheus",
        "application_uuid": uuid(0xa0, 1),
        "params": blueprint.params(uuid(0xf0, 2), uuid(0x47, 1)),
        "metadata": blueprint.metadata("dc1.triton.test")});
    facts.kept_image = true;
    facts.rosters = vec![Roster { service: read(service), members }];
    facts
}

fn planned(facts: &Facts, request: &Request) -> Result<Plan, Refused> {
    let mut number = 100;
    let mut fresh = || {
        number += 1;
        uuid(0xd0, number)
    };
    plan(facts, request, &mut fresh)
}

/// As it is printed.
fn text(planned: Result<Plan, Refused>) -> String {
    let plan = match planned {
        Ok(plan) => plan,
        Err(refused) => return refused.to_string(),
    };
    let mut lines = Vec::new();
    for step in &plan.steps {
        lines.push(step.what());
        lines.extend(step.why().iter().map(|why| format!("    {why}")));
        lines.extend(step.disturbs().map(|what| format!("    ! {what}")));
    }
    lines.extend(plan.notes.iter().map(|note| format!("note: {note}")));
    lines.join("\n")
}

#[test]
fn what_is_as_it_should_be_is_left_alone() {
    let zones = vec![(Some(vm(0, "running")), json!({}))];
    let mut facts = with(facts(), zones);
    facts.well.insert(uuid(0xd0, 0));
    let transfer = facts.transfer.as_mut().unwrap();
    transfer.allowed = vec!["10.88.0.0/28".to_owned()];
    assert_eq!(planned(&facts, &request()).unwrap(), Plan::default());
    // What somebody chose stays, as long as nobody says otherwise.
    let service = &mut facts.rosters[0].service;
    service.params.insert("billing_id".to_owned(), json!(uuid(0x47, 2)));
    let script = json!("#!/bin/bash");
    service.metadata.insert("user-script".to_owned(), script);
    service.params.insert("archive_on_delete".to_owned(), json!(false));
    assert_eq!(planned(&facts, &request()).unwrap(), Plan::default());
    let asked = Request { package: Some("sdc_1024".to_owned()), ..request() };
    let asked = text(planned(&facts, &asked));
    assert!(asked.contains("params billing_id: "), "{asked}");
    // A firewall that somebody closed stays closed.
    let asked = Request { target: Target::Grafana, ..request() };
    let said = text(planned(&facts, &asked));
    assert!(said.contains("metadata SERVICE_NAME"), "{said}");
    assert!(!said.contains("firewall_enabled"), "{said}");
}

#[test]
fn a_new_zone_gets_a_quota_only_where_its_service_gives_it_less() {
    let zones = vec![(Some(vm(0, "running")), json!({}))];
    let mut facts = with(facts(), zones);
    let request = Request { replicas: Some(2), ..request() };
    for (of_service, wanted) in [(25, Some(100)), (100, None), (400, None)] {
        facts.quota_gib = Some(of_service);
        let made = planned(&facts, &request).unwrap();
        let new = made.steps.iter().find_map(|step| match step {
            super::Step::CreateInstance(new) => Some(new),
            _ => None,
        });
        let quota = new.unwrap().own.params.get("quota").cloned();
        assert_eq!(quota, wanted.map(|gib: u64| json!(gib)));
    }
}

#[test]
fn images_come_oldest_first_after_what_was_left_halfway() {
    let mut facts = facts();
    let image = facts.image.image.clone().unwrap();
    let origin = read(json!({"uuid": uuid(0xf0, 1), "version": "v1",
        "name": "triton-origin"}));
    facts.image.missing = vec![origin, image];
    facts.image.stale = vec![uuid(0xf0, 2), uuid(0xf0, 1)];
    let said = text(planned(&facts, &request()));
    let first: Vec<_> = said.lines().take(8).collect();
    insta::assert_snapshot!(first.join("\n"), @r"
    delete image f0000000-0000-0000-0000-000000000002
        an import left it halfway
    delete image f0000000-0000-0000-0000-000000000001
        an import left it halfway
    import image triton-origin v1
        origin of mantav2-prometheus v2
    import image mantav2-prometheus v2
        it is not in this datacenter
    ");
    // What somebody took out of use is nobody's to delete.
    facts.image.disabled = facts.image.stale.drain(..1).collect();
    let refused = text(planned(&facts, &request()));
    assert!(refused.contains("saw state \"disabled\""), "{refused}");
}

#[test]
fn everything_in_the_way_is_said_at_once() {
    let mut facts = facts();
    facts.needed = [("cns", 0), ("cmon", 1)].into();
    facts.packages.clear();
    facts.servers.truncate(1);
    if let Some(image) = &mut facts.image.image {
        image.kind = "lx-dataset".to_owned();
    }
    let request = Request { replicas: Some(2), ..request() };
    insta::assert_snapshot!(text(planned(&facts, &request)), @r#"
    it cannot be set up:
      service cns: saw no instance in application sdc, wanted one at least, set up before
      image f0000000-0000-0000-0000-000000000002: saw type "lx-dataset", wanted zone-dataset
      package sdc_1024: saw 0 active ones in PAPI, wanted one
      servers: saw 1 that can take zones, wanted one more, as those should not share one; --servers names one for all
    "#);
}

#[test]
fn a_zone_gets_the_firewall_and_the_nics_that_it_lacks() {
    let mut bare = vm(0, "running");
    bare.firewall_enabled = false;
    let other = json!({"nic_tag": "other", "ip": "198.51.100.7",
        "network_uuid": uuid(0x10, 9)});
    bare.nics = vec![read(other)];
    // One that is on its way has what it has when it is there.
    let mut young = vm(1, "provisioning");
    young.nics.clear();
    young.firewall_enabled = false;
    let zones = vec![(Some(bare), json!({})), (Some(young), json!({}))];
    let mut facts = with(facts(), zones);
    facts.rules.clear();
    insta::assert_snapshot!(text(planned(&facts, &request())), @r#"
    add rule FROM subnet 10.88.0.0/24 TO tag "smartdc_role" ALLOW tcp PORT all
        core zones meet on the admin network
    add rule FROM subnet 10.88.0.0/24 TO tag "smartdc_role" ALLOW udp PORT all
        core zones meet on the admin network
    switch the firewall of prometheus0 on
        it is off, and everything is open
        ! what no rule lets in reaches prometheus0 no more
    add a NIC on admin to prometheus0
        what is on it is reached by it
        ! prometheus0 restarts
    see prometheus0 well
    add a NIC on external to prometheus0
        what is on it is reached by it
        ! prometheus0 restarts
    see prometheus0 well
    CNS transfers: add prometheus0, add prometheus1
        each zone is a secondary of CNS, by its admin address
        ! CNS restarts: transfers under way begin anew
    see prometheus0 well
    see prometheus1 well
    note: prometheus0 has a NIC with tag "other" on network 10000000-0000-0000-0000-000000000009, which its service does not name: it is left alone
    "#);
    // Another network is nobody's fault once the service names it.
    let service = &mut facts.rosters[0].service;
    let networks = service.params["networks"].as_array_mut().unwrap();
    networks.push(json!({"uuid": uuid(0x10, 9)}));
    let said = text(planned(&facts, &request()));
    assert!(!said.contains("left alone"), "{said}");
    facts.networks.insert("external", Vec::new());
    let refused = text(planned(&facts, &request()));
    let said = "network external, on which prometheus0 has no NIC: saw 0";
    assert!(refused.contains(said), "{refused}");
}
