// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Lists: pages, filters, and what is left out of them.

use super::*;
use crate::http::Fault;

#[tokio::test]
async fn all_of_2500_vms_are_listed() {
    let rig = Rig::start().await;
    rig.triton.datacenter.update(|facts| {
        let like = facts.vms[0].clone();
        for number in 0..2500_u128 {
            // Spread over the uuids, so that no order is the right one by luck.
            let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060);
            let mut vm = like.clone();
            vm.uuid = Uuid::from_u128(spread << 8 | 1).to_string();
            vm.alias = format!("vm{number}");
            vm.tags.insert("odd".to_owned(), json!(number % 2 == 1));
            facts.vms.push(vm);
        }
    });
    let all = rig.vmapi.vms(admin(), &[]).await.unwrap();
    assert_eq!(all.len(), 2502);
    assert!(all.windows(2).all(|pair| pair[0].uuid < pair[1].uuid));
    let front = rig.triton.vmapi.handle.front();
    assert_eq!(front.requests_of("GET", "/vms").len(), 3);
    let odd = rig.vmapi.vms(admin(), &[("tag.odd", "true")]).await.unwrap();
    assert_eq!(odd.len(), 1250);
    let filter = [("tag.smartdc_role", "cns"), ("state", "active")];
    let none = rig.vmapi.vms(uuid(ids::POSEIDON), &filter).await.unwrap();
    assert!(none.is_empty());

    // A page that never changes.
    let page: Vec<Value> =
        (0..1000).map(|n| json!({"uuid": Uuid::from_u128(n)})).collect();
    front.set_fault(Fault::Refusal(200, Some(json!(page))));
    let endless = rig.vmapi.vms(admin(), &[]).await.unwrap_err();
    assert!(matches!(endless, ApiError::Endless { .. }), "{endless}");
}

#[tokio::test]
async fn exactly_a_page_is_not_the_last() {
    let rig = Rig::start().await;
    rig.triton.datacenter.update(|facts| {
        let like = facts.vms[0].clone();
        facts.vms = (0..1000)
            .map(|number| {
                let uuid = Uuid::from_u128(number).to_string();
                crate::datacenter::Vm { uuid, ..like.clone() }
            })
            .collect();
    });
    assert_eq!(rig.vmapi.vms(admin(), &[]).await.unwrap().len(), 1000);
}

#[tokio::test]
async fn servers_are_listed_page_by_page() {
    let rig = Rig::start().await;
    let servers = rig.cnapi.servers().await.unwrap();
    let seen: Vec<_> = servers
        .iter()
        .map(|s| (&*s.hostname, s.headnode, s.setup, &*s.status))
        .collect();
    assert_eq!(
        seen,
        [("headnode", true, true, "running"), ("cn1", false, true, "running"),]
    );
    assert_eq!(servers[0].memory_total_bytes, 64 << 30);
    let one = rig.cnapi.server(uuid(ids::SERVER1)).await.unwrap().unwrap();
    assert_eq!(one.uuid, servers[1].uuid);
    assert!(rig.cnapi.server(Uuid::nil()).await.unwrap().is_none());
    let change = object(json!({"status": "unknown"}));
    let stock = || rig.triton.datacenter.stock();
    stock().servers.insert(ids::HEADNODE.to_owned(), change);
    assert_eq!(rig.cnapi.servers().await.unwrap()[0].status, "unknown");
    // Nobody knows whether its zones run.
    assert_eq!(rig.vm(uuid(ids::CNS0)).await.state, "unknown");

    rig.triton.datacenter.update(|facts| {
        let like = facts.servers[1].clone();
        facts.servers.extend((0..1100).map(|number| {
            let uuid = Uuid::from_u128(number).to_string();
            crate::datacenter::Server { uuid, ..like.clone() }
        }));
    });
    assert_eq!(rig.cnapi.servers().await.unwrap().len(), 1102);
}

#[tokio::test]
async fn packages_and_networks_are_found_by_name() {
    let rig = Rig::start().await;
    let found = rig.papi.packages("sdc_1024").await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].uuid, uuid(ids::SDC_1024));
    assert_eq!((found[0].quota_mib, found[0].active), (25600, true));
    let same = rig.papi.package(found[0].uuid).await.unwrap();
    assert_eq!(same.as_ref(), found.first());
    assert!(rig.papi.packages("sdc_*").await.unwrap().is_empty());
    assert!(rig.papi.package(Uuid::nil()).await.unwrap().is_none());

    let stock = || rig.triton.datacenter.stock();
    let mut own = stock().networks[0].clone();
    own.uuid = Uuid::from_u128(9).to_string();
    own.fabric = true;
    stock().networks.push(own);
    let found = rig.napi.networks("admin").await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].subnet, "10.88.0.0/24");
    assert_eq!(found[0].gateway.as_deref(), Some("10.88.0.1"));
    assert_eq!(found[0].resolvers, ["10.88.0.11"]);
    let same = rig.napi.network(found[0].uuid).await.unwrap();
    assert_eq!(same.as_ref(), found.first());
    assert!(rig.napi.networks("dmz").await.unwrap().is_empty());
    assert!(rig.napi.network(Uuid::nil()).await.unwrap().is_none());
    assert!(rig.napi.nics(Uuid::nil()).await.unwrap().is_empty());
}

#[tokio::test]
async fn applications_and_their_services_are_found() {
    let rig = Rig::start().await;
    let found = rig.sapi.applications("sdc", false).await.unwrap();
    assert_eq!(found.len(), 1);
    let sdc = rig.sapi.application(uuid(ids::SDC)).await.unwrap().unwrap();
    assert_eq!((&*sdc.name, sdc.owner_uuid), ("sdc", Some(admin())));
    assert_eq!(sdc.metadata["datacenter_name"], "dc1");
    let host = sdc.metadata["VMAPI_SERVICE"].as_str().unwrap();
    assert_eq!(format!("http://{host}"), rig.triton.vmapi.url());
    assert!(rig.sapi.application(Uuid::nil()).await.unwrap().is_none());
    assert!(rig.sapi.service(Uuid::nil()).await.unwrap().is_none());
    // Names are not unique.
    rig.service(json!({})).await;
    rig.service(json!({})).await;
    let named = rig.sapi.services_named(sdc.uuid, "prometheus").await;
    assert_eq!(named.unwrap().len(), 2);
    let named = rig.sapi.services_named(uuid(ids::MANTA), "cns").await;
    assert!(named.unwrap().is_empty());
}

#[tokio::test]
async fn every_api_says_how_it_is() {
    let rig = Rig::start().await;
    rig.vmapi.ping().await.unwrap();
    rig.imgapi.ping().await.unwrap();
    rig.updates.ping().await.unwrap();
    rig.cnapi.ping().await.unwrap();
    assert!(rig.papi.ping().await.unwrap());
    assert!(rig.napi.ping().await.unwrap());
    assert!(rig.fwapi.ping().await.unwrap());
    let well = rig.sapi.ping().await.unwrap();
    assert!(well.full && well.stored);
    rig.triton.sapi.handle.set_store_down(true);
    assert!(!rig.sapi.ping().await.unwrap().stored);
    let said = json!({"healthy": false, "status": "initializing"});
    let front = rig.triton.napi.handle.front();
    front.set_fault(Fault::Refusal(200, Some(said)));
    assert!(!rig.napi.ping().await.unwrap());
    front.set_fault(Fault::Garbage);
    assert!(rig.napi.ping().await.is_err());
}
