// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The zone as CNS knows it: a secondary that answers at the address it
//! transfers from, and is told of changes.

use localdc::world::PROMETHEUS;

use super::{all_up, sh, soon, when, world_with};

#[tokio::test(flavor = "multi_thread")]
async fn cns_learns_to_know_the_zone_and_notifies_it() {
    // An hour between two questions of ours: what comes sooner was told.
    let world = world_with(|spec| spec.pace.refresh_seconds = 3600).await;
    all_up(&world).await;
    let cns = &world.services().cns;
    soon("CNS found a secondary at the zone's address", async || {
        let counters = cns.counters();
        when(counters.peer_checks > 0, || format!("{counters:?}"))
    })
    .await;

    let before = cns.counters();
    let vm = world.datacenter().update(|facts| {
        let vm = facts.vms.iter().find(|vm| !vm.nics.is_empty());
        let mut vm = vm.unwrap().clone();
        vm.uuid = "c0000000-0000-4000-8000-0000000000ff".to_owned();
        vm.alias = "notified0".to_owned();
        facts.vms.push(vm.clone());
        vm
    });
    let zone = world.datacenter().read(|facts| facts.cns_zone());
    let name = format!("{}.cmon.{zone}", vm.uuid);
    soon("the new VM's name", async || {
        let asked = format!("dig +short +tries=1 @127.0.0.1 {name} CNAME");
        let said = sh(&world, &asked).await.stdout;
        when(said.contains("cmon."), || format!("{:?}", cns.counters()))
    })
    .await;
    let after = cns.counters();
    assert!(after.notify_answered > before.notify_answered, "{after:?}");
    assert!(after.ixfr_differences > before.ixfr_differences, "{after:?}");

    // Anyone else is turned away at that address.
    let asked = format!("dig +tries=2 +time=10 @{PROMETHEUS} {zone} SOA");
    let said = sh(&world, &asked).await.stdout;
    assert!(said.contains("status: REFUSED"), "{said}");
}
