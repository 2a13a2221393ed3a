// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What goes on while parts of the datacenter are away.

use std::time::Duration;

use localdc::world::{Service, eventually};
use localdc::zone::Reboot;

use super::{all_up, sh, soon, status, told, when, world};

#[tokio::test(flavor = "multi_thread")]
async fn names_outlive_cns_over_restart_and_reboot() {
    let mut world = world().await;
    all_up(&world).await;
    let serial = status(&world).await.unwrap().zones[0].serial;
    assert!(serial.is_some());
    world.stop(Service::Cns).await;
    let zone = world.zone();
    zone.restart_unit("config-agent").await.unwrap();
    // A fresh Prometheus has no open connection: it needs every name.
    zone.restart_unit("prometheus").await.unwrap();
    soon("the kept zone", async || {
        let report = status(&world).await?;
        let zone = report.zones.first().ok_or("no zone")?;
        let kept = zone.from_disk && zone.serial == serial;
        when(kept, || format!("{zone:?}"))
    })
    .await;
    all_up(&world).await;
    world.reboot(Reboot::Keep).await.unwrap();
    all_up(&world).await;
    assert!(status(&world).await.unwrap().zones[0].from_disk);

    world.resume(Service::Cns).await.unwrap();
    let confirmed = eventually("CNS confirms", LATER, async || {
        let report = status(&world).await?;
        let zone = &report.zones[0];
        when(!zone.from_disk && zone.last_error.is_none(), || {
            format!("{zone:?}")
        })
    });
    confirmed.await.unwrap();
}

/// After an outage everyone asks again at growing intervals.
const LATER: Duration = Duration::from_secs(80);

#[tokio::test(flavor = "multi_thread")]
async fn reprovision_without_sapi_cns_and_binder_starts_from_the_data() {
    let mut world = world().await;
    all_up(&world).await;
    for service in [Service::Sapi, Service::Cns, Service::Binder] {
        world.stop(service).await;
    }
    world.reboot(Reboot::Reprovision).await.unwrap();
    all_up(&world).await;
    let report = status(&world).await.unwrap();
    assert_eq!(report.sapi.origin.as_deref(), Some("disk"));
    assert!(report.zones[0].from_disk);
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    let warned = report.warnings.iter().any(|w| w.starts_with("SAPI: "));
    assert!(warned, "nobody says that SAPI is away: {:?}", report.warnings);

    world.resume(Service::Binder).await.unwrap();
    world.resume(Service::Sapi).await.unwrap();
    let again = eventually("SAPI answers again", LATER, async || {
        let report = status(&world).await?;
        let origin = report.sapi.origin.unwrap_or_default();
        when(report.sapi.last_error.is_none(), || origin)
    });
    again.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn resolv_conf_is_put_back_when_the_platform_rewrites_it() {
    let world = world().await;
    all_up(&world).await;
    let own = sh(&world, "cat /etc/resolv.conf").await.stdout;
    let lines: Vec<_> = own.lines().filter(|l| !l.starts_with('#')).collect();
    assert_eq!(lines, ["search triton.test", "nameserver 127.0.0.1"]);
    let before = status(&world).await.unwrap().walk.repairs;
    world.zone().platform_rewrites_resolv_conf().await.unwrap();
    soon("resolv.conf put back", async || {
        let now = sh(&world, "cat /etc/resolv.conf").await.stdout;
        when(now == own, || now)
    })
    .await;
    soon("the repair is reported", async || {
        let walk = status(&world).await?.walk;
        let said = walk.repairs > before
            && walk.last_repair.as_deref() == Some("resolver/resolv.conf");
        when(said, || format!("{walk:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_certificate_is_not_taken_for_no_targets() {
    let world = world().await;
    all_up(&world).await;
    let cmon = &world.services().cmon;
    cmon.configure(|settings| settings.refuse_certificates = true);
    // The agent asks now and then; at its start it asks at once.
    world.zone().restart_unit("config-agent").await.unwrap();
    let said = soon("status names the refusal", async || {
        let said = told(&world).await;
        let seen = said.stdout.contains("fault: discovery")
            && said.stdout.contains("401");
        when(seen, || said.stdout.clone()).map(|()| said)
    })
    .await;
    assert_eq!(said.code, Some(1));
    cmon.configure(|settings| settings.refuse_certificates = false);
    soon("healthy again", async || {
        let report = status(&world).await?;
        when(report.healthy, || report.faults.join("; "))
    })
    .await;
    all_up(&world).await;
}
