// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! SmartOS zones of the other roles, and of Manta: what the recipe of each
//! lays, set up and started by its own manifests. Every start method is run.

use localdc::zone::{Bind, User};
use monitoring_agent::certgen;
use time::OffsetDateTime;

use super::super::{of_grafana, of_manta};
use super::*;

/// A datacenter, and a zone of `role` in it that boots.
struct Site {
    // Fields are dropped in this order.
    ways: Ways,
    zone: Zone,
    ground: Ground,
}

impl Site {
    async fn new(
        world: &WorldSpec,
        role: &str,
        pick: impl FnOnce(&Ground) -> ZoneSpec,
    ) -> Self {
        let ground = Ground::lay(world, &mut |_| ()).await.unwrap();
        let mut spec = pick(&ground);
        image(&mut spec, role);
        let zone = Zone::boot(localdc(), ground.network(), spec);
        let zone = zone.await.unwrap();
        let ways = Ways::open(zone.namespace()).await.unwrap();
        Self { ways, zone, ground }
    }

    /// Waits until these daemons are online and the agent knows of nothing
    /// that is not as it should be.
    async fn runs(&self, daemons: &[&str]) {
        for daemon in daemons {
            reaches(&self.zone, daemon, "online").await;
        }
        let at_peace = async || match self.ways.daemons().status().await {
            Ok(report) if report.faults.is_empty() => Ok(()),
            Ok(report) => Err(report.faults.join("; ")),
            Err(error) => Err(joined(&error)),
        };
        let well = eventually("no faults", LONG, at_peace).await;
        if let Err(error) = well {
            panic!("{}\n{}", joined(&error), evidence(&self.zone).await);
        }
        let setup = text(&self.zone, "var/svc/setup.log");
        assert!(!setup.contains("went wrong"), "{setup}");
    }

    /// `user group` of a process.
    async fn account(&self, pattern: &str) -> String {
        let ask = format!("ps -o user=,group= -p $(pgrep -of '{pattern}')");
        let said = sh(&self.zone, &ask).await;
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn smartos_zone_of_role_thanos_starts_every_component() {
    let mut world = world();
    let now = OffsetDateTime::now_utc();
    let authority = certgen::make_authority("test", now).unwrap();
    world.thanos = Some(metadata(json!({
        "thanos_components": "query, query-global, query-frontend, store, \
            compact, rule, receive",
        "object_store": {"type": "FILESYSTEM",
            "config": {"directory": "/data/thanos/bucket"}},
        "thanos_regional_queries": ["thanos.region2.triton.test"],
        "thanos_ca_certificate": authority.certificate,
        "thanos_ca_private_key": authority.private_key.expose(),
    })));
    let site = Site::new(&world, "thanos", |ground| ground.thanos_spec(&world));
    let site = site.await;
    let daemons = [
        "thanos-query",
        "thanos-query-global",
        "thanos-query-frontend",
        "thanos-store",
        "thanos-compact",
        "thanos-rule",
        "thanos-receive",
    ];
    site.runs(&daemons).await;
    for daemon in daemons {
        let command = match daemon.trim_start_matches("thanos-") {
            "query-global" => "query @.*query-global",
            other => other,
        };
        let pattern = format!("thanos/bin/thanos {command}");
        let account = site.account(&pattern).await;
        assert_eq!(account, "nobody nogroup", "{daemon}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn smartos_zone_of_role_grafana_serves_through_nginx() {
    let world = world();
    let site = Site::new(&world, "grafana", |ground| {
        let mut spec = ground.zone_spec(&world, 0);
        of_grafana(&mut spec);
        let bin = "/opt/triton/grafana/bin";
        let nginx = std::path::Path::new("/usr/sbin/nginx");
        spec.binds.extend([
            Bind::read_only(localdc(), &format!("{bin}/grafana")),
            Bind::read_only(nginx, &format!("{bin}/nginx")),
        ]);
        // illumos has the account; Debian's nginx the folder.
        let (name, home) = ("daemon".to_owned(), "/usr/sbin".into());
        spec.users.push(User { name, uid: 1, home });
        let kept = "/var/lib/nginx/README".into();
        spec.files.insert(kept, String::new());
        spec
    });
    let site = site.await;
    site.runs(&["auth", "grafana", "nginx"]).await;
    assert_eq!(site.account("config-agent auth").await, "auth daemon");
    assert_eq!(site.account("grafana server").await, "nobody daemon");
    assert_eq!(site.account("nginx: master").await, "root root");
    assert_eq!(site.account("nginx: worker").await, "daemon daemon");
    // Nobody comes in without a name.
    let ask = "curl -sk -o /dev/null -w '%{http_code}' https://127.0.0.1/";
    let code = sh(&site.zone, ask).await;
    assert!(["302", "401"].contains(&code.as_str()), "{code}");
}

#[tokio::test(flavor = "multi_thread")]
async fn smartos_zone_of_manta_comes_up_by_itself() {
    let world = world();
    let site = Site::new(&world, "prometheus", |ground| {
        let mut spec = ground.zone_spec(&world, 0);
        of_manta(ground, &mut spec);
        spec
    });
    let site = site.await;
    site.runs(&["config-agent", "prometheus"]).await;
    let subject = "openssl x509 -noout -subject \
        -in /data/prometheus/tls/cmon.crt";
    let subject = sh(&site.zone, subject).await;
    assert!(subject.contains("poseidon"), "{subject}");
    drop(site.ground);
}
