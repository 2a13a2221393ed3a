// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! From a service to a zone and back.

use monitoring_agent::triton::sapi::{Action, Change};

use super::*;

#[tokio::test]
async fn an_instance_becomes_a_zone_that_all_apis_know() {
    let rig = Rig::start().await;
    rig.triton.datacenter.stock().job_polls = 3;
    let service = rig.service(json!({})).await;
    let named = rig.sapi.services_named(uuid(ids::SDC), "prometheus").await;
    assert_eq!(named.unwrap()[0].uuid, service.uuid);

    let made = rig.instance(&service, None).await.unwrap();
    let zone = made.instance.uuid;
    assert_eq!(rig.vm(zone).await.state, "provisioning");
    rig.wait(made.job_uuid.unwrap()).await;

    let vm = rig.vm(zone).await;
    assert_eq!((&*vm.state, &*vm.alias), ("running", "prometheus0"));
    assert_eq!(vm.server_uuid, Some(uuid(ids::HEADNODE)));
    assert_eq!(vm.image_uuid, Some(uuid(ids::CORE_IMAGE)));
    assert_eq!((vm.quota, vm.max_physical_memory), (25, 1024));
    assert_eq!(vm.datasets, [format!("zones/{zone}/data")]);
    assert_eq!(vm.customer_metadata["user-script"], "exit 0");
    assert_eq!(vm.tags["smartdc_role"], "prometheus");
    let nics = |nic_tag, ip: &str, primary| {
        let network = match nic_tag {
            "admin" => ids::ADMIN_NETWORK,
            _ => ids::EXTERNAL_NETWORK,
        };
        (nic_tag, ip.to_owned(), primary, Some(uuid(network)))
    };
    let wanted = [
        nics("admin", "10.88.0.100", false),
        nics("external", "192.0.2.100", true),
    ];
    let seen = vm.nics.iter().map(|nic| {
        (&*nic.nic_tag, nic.ip.clone(), nic.primary, nic.network_uuid)
    });
    assert_eq!(seen.collect::<Vec<_>>(), wanted);
    let of_napi = rig.napi.nics(zone).await.unwrap();
    let macs = |all: Vec<String>| all.join(" ");
    assert_eq!(
        macs(of_napi.iter().map(|nic| nic.mac.clone()).collect()),
        macs(vm.nics.iter().map(|nic| nic.mac.clone()).collect()),
    );
    assert_eq!(of_napi[1].ip.as_deref(), Some("192.0.2.100"));

    let known = rig.sapi.instance(zone).await.unwrap().unwrap();
    assert_eq!(known.service_uuid, service.uuid);
    let all = rig.sapi.instances(service.uuid, false).await.unwrap();
    assert_eq!(all.len(), 1);
}

#[tokio::test]
async fn a_zone_that_is_there_is_adopted() {
    let rig = Rig::start().await;
    let service = rig.service(json!({})).await;
    let there = uuid(ids::CNS0);
    let params = object(json!({"alias": "cns0"}));
    let new = NewInstance {
        service_uuid: service.uuid,
        uuid: Some(there),
        params: &params,
        metadata: &Map::new(),
        master: false,
    };
    let before = rig.triton.datacenter.facts().vms.len();
    let adopted = rig.sapi.adopt_instance(&new).await.unwrap();
    assert_eq!((adopted.instance.uuid, adopted.job_uuid), (there, None));
    assert_eq!(rig.triton.datacenter.facts().vms.len(), before);
    let gate = rig.triton.datacenter.gate();
    assert_eq!(gate.mutations().last().unwrap().body["exists"], true);
    // A second try of a create finds what the first one made.
    let first = rig.instance(&service, Some(Uuid::from_u128(7))).await;
    assert!(first.unwrap().job_uuid.is_some());
    let again = rig.instance(&service, Some(Uuid::from_u128(7))).await;
    assert!(again.unwrap().job_uuid.is_none());
}

#[tokio::test]
async fn a_zone_is_destroyed_with_its_instance() {
    let rig = Rig::start().await;
    let zone = rig.zone().await;
    assert!(rig.sapi.delete_instance(zone, LIMIT).await.unwrap());
    assert_eq!(rig.vm(zone).await.state, "destroyed");
    assert!(rig.sapi.instance(zone).await.unwrap().is_none());
    assert!(rig.napi.nics(zone).await.unwrap().is_empty());
    assert!(!rig.sapi.delete_instance(zone, LIMIT).await.unwrap());
    let gone = rig.vmapi.delete(uuid(ids::CMON0), admin()).await.unwrap();
    rig.wait(gone.job_uuid).await;
    assert_eq!(rig.vm(uuid(ids::CMON0)).await.state, "destroyed");
}

#[tokio::test]
async fn a_service_is_changed_key_by_key() {
    let rig = Rig::start().await;
    let service = rig.service(json!({"quota": 100})).await;
    let change = |action, params: Option<Value>, metadata: Option<Value>| {
        let sapi = rig.sapi.clone();
        async move {
            let params = params.map(object);
            let metadata = metadata.map(object);
            let change = Change {
                action,
                params: params.as_ref(),
                metadata: metadata.as_ref(),
            };
            sapi.update_service(service.uuid, &change).await.unwrap()
        }
    };
    let image = json!({"image_uuid": ids::PROMETHEUS_IMAGE});
    let now = change(Action::Update, Some(image), None).await;
    assert_eq!(now.params["image_uuid"], ids::PROMETHEUS_IMAGE);
    assert_eq!(now.params["quota"], 100);
    assert_eq!(now.metadata.len(), 2);
    let gone = json!({"quota": null});
    let now = change(Action::Delete, Some(gone), None).await;
    assert!(!now.params.contains_key("quota"));
    let only = json!({"SERVICE_NAME": "x"});
    let now = change(Action::Replace, None, Some(only)).await;
    assert_eq!(now.metadata.len(), 1);
    let stored = rig.sapi.service(service.uuid).await.unwrap().unwrap();
    assert_eq!(stored.metadata["SERVICE_NAME"], "x");
    assert_eq!(stored.params["image_uuid"], ids::PROMETHEUS_IMAGE);

    let params = object(json!({"image_uuid": ids::CORE_IMAGE}));
    let kept = Change {
        action: Action::Update,
        params: Some(&params),
        metadata: None,
    };
    let cns = uuid(ids::CNS0);
    let now = rig.sapi.update_instance(cns, &kept).await.unwrap();
    assert_eq!(now.params["alias"], "cns0");
}

#[tokio::test]
async fn a_zone_that_cannot_be_made_leaves_nothing_behind() {
    let rig = Rig::start().await;
    let missing = "f0000000-0000-4000-8000-00000000dead";
    let stock = || rig.triton.datacenter.stock();
    stock()
        .servers
        .insert(ids::HEADNODE.to_owned(), object(json!({"setup": false})));
    for (params, field) in [
        (json!({"image_uuid": missing}), "image_uuid Image not found"),
        (json!({"billing_id": missing}), "billing_id Package does not"),
        (json!({"networks": ["dmz"]}), "networks No such network/pool: dmz"),
        (json!({}), "server_uuid Server is not running"),
    ] {
        let service = rig.service(params).await;
        let refused = rig.instance(&service, None).await.err().unwrap();
        assert_eq!(refused.status(), Some(409), "{field}");
        assert_eq!(refused.code(), Some("ValidationFailed"));
        assert!(said(&refused).contains(field), "{}", said(&refused));
        let left = rig.sapi.instances(service.uuid, false).await.unwrap();
        assert!(left.is_empty(), "{field}");
    }
    stock().servers.clear();
    for network in &mut stock().networks {
        network.provision_end_ip = network.provision_start_ip;
    }
    let service = rig.service(json!({})).await;
    rig.instance(&service, None).await.unwrap();
    let full = rig.instance(&service, None).await.err().unwrap();
    assert_eq!((full.status(), full.code()), (Some(507), Some("SubnetFull")));
}

#[tokio::test]
async fn a_reprovision_keeps_the_data() {
    let rig = Rig::start().await;
    let zone = rig.zone().await;
    let known = || rig.triton.datacenter.stock().zone(&zone.to_string());
    let before = (rig.vm(zone).await, known());
    let mut image =
        rig.triton.datacenter.stock().images[ids::CORE_IMAGE].clone();
    let next = "f0000000-0000-4000-8000-000000000011";
    image["uuid"] = json!(next);
    rig.triton.datacenter.stock().put_image(image);

    rig.triton.datacenter.stock().job_polls = 3;
    let started = rig.vmapi.reprovision(zone, admin(), uuid(next)).await;
    let mut states = Vec::new();
    for _ in 0..3 {
        states.push(rig.vm(zone).await.state);
    }
    assert_eq!(states, ["stopped", "stopped", "running"]);
    rig.wait(started.unwrap().job_uuid).await;
    let after = (rig.vm(zone).await, known());
    assert_eq!(after.0.image_uuid, Some(uuid(next)));
    assert_eq!(
        (&after.0.tags, &after.0.nics),
        (&before.0.tags, &before.0.nics)
    );
    assert_eq!(after.1.data, before.1.data);
    assert!(after.1.data.is_some());
    assert_ne!(after.1.root, before.1.root);

    // By way of SAPI, which answers when it is done.
    let core = uuid(ids::CORE_IMAGE);
    rig.sapi.upgrade_instance(zone, core, LIMIT).await.unwrap();
    let vm = rig.vm(zone).await;
    assert_eq!((vm.image_uuid, &*vm.state), (Some(core), "running"));
    assert_eq!(known().data, before.1.data);
}

#[tokio::test]
async fn tags_are_added_to_those_there_are() {
    let rig = Rig::start().await;
    let cns = uuid(ids::CNS0);
    let add = |tags: Value| {
        let vmapi = rig.vmapi.clone();
        async move { vmapi.add_tags(cns, admin(), &object(tags)).await }
    };
    let added = add(json!({"triton.cmon.groups": "shard1"})).await.unwrap();
    rig.wait(added.job_uuid).await;
    assert_eq!(
        json!(rig.vmapi.tags(cns, admin()).await.unwrap()),
        json!({"smartdc_role": "cns", "smartdc_type": "core",
            "triton.cmon.groups": "shard1"})
    );
    let refused = add(json!({"triton.cmon.groups": "a b"})).await.unwrap_err();
    assert_eq!(refused.code(), Some("ValidationFailed"));
    assert!(said(&refused).contains("tags tag \"triton.cmon.groups\""));
    let key = "triton.cmon.groups";
    let gone = rig.vmapi.delete_tag(cns, admin(), key).await.unwrap();
    rig.wait(gone.job_uuid).await;
    assert_eq!(rig.vm(cns).await.tags.len(), 2);
    let again = rig.vmapi.delete_tag(cns, admin(), key).await.unwrap_err();
    assert!(again.is_not_found());

    let poseidon = uuid(ids::POSEIDON);
    let other = rig.vmapi.add_tags(cns, poseidon, &Map::new()).await;
    assert!(other.unwrap_err().is_not_found());
    assert_eq!(rig.vmapi.vm(cns, Some(poseidon)).await.unwrap(), None);
}

#[tokio::test]
async fn nics_and_metadata_are_changed_by_jobs() {
    let rig = Rig::start().await;
    rig.triton.datacenter.stock().job_polls = 2;
    let cns = uuid(ids::CNS0);
    let manta = rig.napi.networks("manta").await.unwrap();
    let added = rig.vmapi.add_nic(cns, admin(), manta[0].uuid, false).await;
    rig.wait(added.unwrap().job_uuid).await;
    let vm = rig.vm(cns).await;
    let new = &vm.nics[1];
    assert_eq!((&*new.nic_tag, &*new.ip), ("manta", "10.77.77.100"));
    assert!(vm.nics[0].primary && !new.primary);
    let macs = [new.mac.clone()];
    let gone = rig.vmapi.remove_nics(cns, admin(), &macs).await.unwrap();
    rig.wait(gone.job_uuid).await;
    assert_eq!(rig.vm(cns).await.nics.len(), 1);
    let none = rig.vmapi.remove_nics(cns, admin(), &macs).await.unwrap_err();
    assert_eq!(none.status(), Some(409));

    for script in ["one", "two"] {
        let metadata = object(json!({"user-script": script, script: 1}));
        let set = rig.vmapi.add_metadata(cns, admin(), &metadata).await;
        rig.wait(set.unwrap().job_uuid).await;
    }
    let wanted = json!({"user-script": "two", "one": 1, "two": 1});
    assert_eq!(json!(rig.vm(cns).await.customer_metadata), wanted);
    let change = object(json!({"quota": 300}));
    let set = rig.vmapi.update(cns, admin(), &change).await.unwrap();
    rig.wait(set.job_uuid).await;
    assert_eq!(rig.vm(cns).await.quota, 300);
}
