// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A prometheus zone of brand LX, from the image's files to all targets up,
//! without a hand laid on it.

use std::path::Path;
use std::time::Duration;

use localdc::lx::LxZone;
use localdc::world::{
    Ground, Programs, Service, Ways, WorldSpec, eventually, joined,
};

/// A first boot: systemd, set-up, a first pass, discovery, scrapes.
const LONG: Duration = Duration::from_secs(90);

/// What an operator would look at, were this a zone that does not come up.
const EVIDENCE: &str = "cat /var/svc/setup.log /var/log/mdata-user-script.log; \
    systemctl --no-pager --failed; \
    journalctl --no-pager -n 40 -o cat -u mdata-execute -u config-agent \
        -u prometheus -u mount-zfs";

/// A datacenter and a zone in it that has been provisioned.
struct Site {
    // Fields are dropped in this order.
    ways: Ways,
    zone: LxZone,
    ground: Ground,
}

impl Site {
    async fn new() -> Self {
        let localdc = Path::new(env!("CARGO_BIN_EXE_localdc"));
        let programs = Programs::beside(localdc);
        let programs = programs.unwrap_or_else(|error| panic!("{error}"));
        let world = WorldSpec::new(programs);
        let ground = Ground::lay(&world, &mut |_| ()).await.unwrap();
        let mut spec = ground.zone_spec(&world, 0);
        let script = include_str!("../../fixtures/user-script.sh");
        spec.mdata.insert("user-script".into(), script.into());
        let zone = LxZone::create(ground.network(), spec, &world.programs);
        let mut zone = zone.unwrap();
        zone.provision("one").unwrap_or_else(|e| panic!("{}", joined(&e)));
        let ways = Ways::open(zone.namespace()).await.unwrap();
        Self { ways, zone, ground }
    }

    /// Waits until the agent is at peace and Prometheus sees all targets.
    async fn all_up(&self) {
        let up = self.ground.all_up(self.ways.daemons(), LONG).await;
        let at_peace = async || match self.ways.daemons().status().await {
            Ok(report) if report.faults.is_empty() => Ok(()),
            Ok(report) => Err(report.faults.join("; ")),
            Err(error) => Err(joined(&error)),
        };
        let well = match up {
            Ok(_) => eventually("no faults", LONG, at_peace).await,
            Err(error) => Err(error),
        };
        if let Err(error) = well {
            let evidence = self.sh(EVIDENCE);
            panic!("{}\n{evidence}\n{}", joined(&error), self.zone.console());
        }
    }

    fn sh(&self, script: &str) -> String {
        let done = self.zone.sh(script).unwrap();
        format!("{}{}", done.stdout, done.stderr)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lx_zone_comes_up_by_itself_and_keeps_its_data_over_a_new_image() {
    let mut site = Site::new().await;
    site.all_up().await;
    let zone = &site.zone;
    assert!(zone.root().join("var/svc/provision_success").exists());
    assert!(zone.root().join("var/svc/setup_complete").exists());
    let setup = zone.text("var/svc/setup.log");
    assert!(setup.contains("done       mount datasets"), "{setup}");
    assert!(setup.contains("done       write the zone's conf"), "{setup}");
    assert!(!setup.contains("BEGIN"), "a key in the log: {setup}");
    // By the user-script, once; configure.sh found nothing to do.
    assert_eq!(setup.matches("mark the set-up").count(), 1, "{setup}");
    let failed = site.sh("systemctl list-units --failed --plain --no-legend");
    assert_eq!(failed, "", "{failed}");
    let enabled = "systemctl is-enabled config-agent prometheus";
    assert_eq!(site.sh(enabled), "enabled\nenabled\n");
    let again = site.sh("/opt/triton/config-agent/bin/config-agent setup");
    let all_there = again.lines().all(|line| line.starts_with("there "));
    assert!(all_there && !again.is_empty(), "{again}");
    let tls = zone.data().join("prometheus/tls/cmon.crt");
    let certificate = std::fs::read(&tls).unwrap();
    let blocks = site.zone.data().join("prometheus/data/wal");
    assert!(blocks.exists());

    // A new image: the root goes, /data stays, set-up runs again.
    site.zone.provision("two").unwrap();
    site.all_up().await;
    assert_eq!(site.zone.text("etc/product"), "Image: two\n");
    let setup = site.zone.text("var/svc/setup.log");
    assert!(setup.contains("there      make /data/prometheus"), "{setup}");
    assert_eq!(std::fs::read(&tls).unwrap(), certificate, "another key");
    let kept = site.zone.sh("journalctl -o cat -u prometheus").unwrap();
    assert!(kept.stdout.contains("WAL segment loaded"), "{kept:?}");

    // SAPI and CNS are away, and a boot is a boot.
    site.ground.stop(Service::Sapi).await;
    site.ground.stop(Service::Cns).await;
    site.zone.boot().unwrap();
    site.all_up().await;
    // And a new image on top of that.
    site.zone.provision("three").unwrap();
    site.all_up().await;
    let setup = site.zone.text("var/svc/setup.log");
    assert!(setup.contains("mark the set-up as complete"), "{setup}");
}
