// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A prometheus zone of brand LX, from the image's files to all targets up,
//! without a hand laid on it.

use std::path::Path;
use std::time::Duration;

use localdc::http::Fault;
use localdc::lx::{LxImage, LxZone};
use localdc::world::{
    Ground, Programs, Service, Ways, WorldSpec, eventually, joined,
};
use localdc::zone::ZoneSpec;
use monitoring_agent::host::{Exec, run};

use super::{of_grafana, of_manta};

/// A first boot: systemd, set-up, a first pass, discovery, scrapes.
const LONG: Duration = Duration::from_secs(90);

/// What an operator would look at, were this a zone that does not come up.
const EVIDENCE: &str = "cat /var/svc/setup.log /var/log/mdata-user-script.log; \
    systemctl --no-pager --failed; \
    journalctl --no-pager -n 40 -o cat -u mdata-execute -u config-agent \
        -u prometheus -u mount-zfs";

fn programs() -> Programs {
    let localdc = Path::new(env!("CARGO_BIN_EXE_localdc"));
    Programs::beside(localdc).unwrap_or_else(|error| panic!("{error}"))
}

/// An image of `role`, the versions of which `number` counts.
pub(super) fn image(role: &str, number: u8) -> LxImage {
    LxImage::build(&programs(), role, number)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A datacenter and a prometheus zone in it, before it is provisioned.
async fn create() -> (Ground, LxZone) {
    let world = WorldSpec::new(programs());
    create_in(&world, |ground| ground.zone_spec(&world, 0)).await
}

/// A datacenter and the zone of it that `pick` says.
async fn create_in(
    world: &WorldSpec,
    pick: impl FnOnce(&Ground) -> ZoneSpec,
) -> (Ground, LxZone) {
    let ground = Ground::lay(world, &mut |_| ()).await.unwrap();
    let mut spec = pick(&ground);
    let script = include_str!("../../../boot/user-script.sh");
    spec.mdata.insert("user-script".into(), script.into());
    let zone = LxZone::create(ground.network(), spec);
    (ground, zone.unwrap())
}

/// A datacenter and a zone in it that has been provisioned.
struct Site {
    // Fields are dropped in this order.
    ways: Ways,
    zone: LxZone,
    ground: Ground,
}

impl Site {
    async fn new(image: &LxImage) -> Self {
        Self::of(create().await, image).await
    }

    async fn of((ground, mut zone): (Ground, LxZone), image: &LxImage) -> Self {
        zone.provision(image).unwrap_or_else(|e| panic!("{}", joined(&e)));
        let ways = Ways::open(zone.namespace()).await.unwrap();
        Self { ways, zone, ground }
    }

    /// Waits until the agent is at peace and Prometheus sees all targets.
    async fn all_up(&self) {
        let up = self.ground.all_up(self.ways.daemons(), LONG).await;
        if let Err(error) = up {
            self.unwell(&error);
        }
        self.at_peace().await;
    }

    /// Waits until the agent knows of nothing that is not as it should be.
    async fn at_peace(&self) {
        let look = async || match self.ways.daemons().status().await {
            Ok(report) if report.faults.is_empty() => Ok(()),
            Ok(report) => Err(report.faults.join("; ")),
            Err(error) => Err(joined(&error)),
        };
        if let Err(error) = eventually("no faults", LONG, look).await {
            self.unwell(&error);
        }
    }

    fn unwell(&self, error: &dyn std::error::Error) -> ! {
        let evidence = self.sh(EVIDENCE);
        panic!("{}\n{evidence}\n{}", joined(error), self.zone.console());
    }

    /// Waits until systemd runs these daemons of ours and no other, the agent
    /// aside, and all is well with them.
    async fn runs(&self, wanted: &[&str]) {
        let look = async || {
            let running = self.running();
            if running == wanted { Ok(()) } else { Err(running.join(" ")) }
        };
        if let Err(error) = eventually("daemons run", LONG, look).await {
            self.unwell(&error);
        }
        self.at_peace().await;
        // A daemon that reloads is not quite active for a moment.
        if let Err(error) = eventually("no other", LONG, look).await {
            self.unwell(&error);
        }
    }

    fn running(&self) -> Vec<String> {
        let ask = "cd /opt/triton && ls -d */smf/* | \
            sed 's,.*/,,; /config-agent/d' | xargs systemctl show -p Id \
            -p ActiveState -p UnitFileState --value | paste - - - -";
        let all = self.sh(ask);
        let running = all.lines().filter(|it| it.contains("\tactive\tenabled"));
        let names = running.filter_map(|line| line.split('.').next());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        names
    }

    fn nothing_failed(&self) {
        let ask = "systemctl list-units --failed --plain --no-legend";
        let failed = self.sh(ask);
        assert_eq!(failed, "", "{failed}");
        self.wants_nothing_that_lx_lacks();
    }

    /// This machine has mount namespaces and credentials, and the brand has
    /// neither: what systemd would ask for is all that can be seen here.
    fn wants_nothing_that_lx_lacks(&self) {
        let lacking = [
            ("NoNewPrivileges", "no"),
            ("PrivateDevices", "no"),
            ("PrivateTmp", "no"),
            ("ProtectClock", "no"),
            ("ProtectKernelLogs", "no"),
            ("ProtectProc", "default"),
            ("ProtectSystem", "no"),
            ("ReadWritePaths", ""),
        ];
        let asked = lacking.map(|(key, _)| format!("--property={key}"));
        let ask = format!(
            "systemctl show --all --type=service --property=Id,LoadState {}",
            asked.join(" ")
        );
        let told = self.sh(&ask);
        let mut loaded = 0;
        for unit in told.split("\n\n") {
            let value = |key: &str| {
                let mut lines = unit.lines();
                lines.find_map(|it| it.strip_prefix(key)?.strip_prefix('='))
            };
            if value("LoadState") != Some("loaded") {
                continue;
            }
            loaded += 1;
            for (key, wanted) in lacking {
                let seen = value(key).unwrap_or_default();
                assert_eq!(seen, wanted, "{key} of {:?}", value("Id"));
            }
        }
        assert!(loaded > 10, "{told}");
        // Which show does not print. The last line of a list counts, and an
        // empty one empties it.
        let cat = "systemctl list-units --all --type=service --plain \
            --no-legend | while read -r unit _; do systemctl cat \
            --no-pager \"$unit\" 2>/dev/null | awk -F = \
            '/^(Load|Set)Credential/ { last[$1] = $0 } \
            END { for (key in last) print last[key] }'; done";
        let told = self.sh(cat);
        assert!(told.lines().count() > 10, "{told}");
        assert!(told.lines().all(|line| line.ends_with('=')), "{told}");
    }

    /// The next image on the data of this one, then a boot with SAPI and CNS
    /// away: all comes up by itself.
    async fn lives_on(&mut self, next: &LxImage, daemons: &[&str]) {
        self.zone.provision(next).unwrap();
        self.runs(daemons).await;
        let product = self.zone.text("etc/product");
        assert!(product.contains(&next.version), "{product}");
        let setup = self.zone.text("var/svc/setup.log");
        assert!(setup.contains("mark the set-up as complete"), "{setup}");
        self.nothing_failed();
        self.ground.stop(Service::Sapi).await;
        self.ground.stop(Service::Cns).await;
        self.zone.boot().unwrap();
        self.runs(daemons).await;
        self.nothing_failed();
    }

    fn sh(&self, script: &str) -> String {
        let done = self.zone.sh(script).unwrap();
        format!("{}{}", done.stdout, done.stderr)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lx_zone_comes_up_by_itself_and_keeps_its_data_over_a_new_image() {
    let [one, two] = [0, 1].map(|number| image("prometheus", number));
    let mut site = Site::new(&one).await;
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
    site.nothing_failed();
    // The latter two by the image; set-up would mount, too, and hide it.
    let enabled = "systemctl is-enabled config-agent prometheus \
        mdata-execute mount-zfs";
    assert_eq!(site.sh(enabled), "enabled\n".repeat(4));
    let again = site.sh("/opt/triton/config-agent/bin/config-agent setup");
    let all_there = again.lines().all(|line| line.starts_with("there "));
    assert!(all_there && !again.is_empty(), "{again}");
    let tls = zone.data().join("prometheus/tls/cmon.crt");
    let certificate = std::fs::read(&tls).unwrap();
    let blocks = site.zone.data().join("prometheus/data/wal");
    assert!(blocks.exists());

    // A new image: the root goes, /data stays, set-up runs again.
    site.zone.provision(&two).unwrap();
    site.all_up().await;
    let product = site.zone.text("etc/product");
    let named = format!("Image: mantav2-prometheus-lx {}\n", two.version);
    assert!(product.contains(&named), "{product}");
    assert_ne!(one.version, two.version);
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
    // And another image on top of that: back to the one before.
    site.zone.provision(&one).unwrap();
    site.all_up().await;
    let setup = site.zone.text("var/svc/setup.log");
    assert!(setup.contains("mark the set-up as complete"), "{setup}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lx_zone_cut_off_in_its_set_up_is_set_up_by_the_next_boot() {
    let (ground, mut zone) = create().await;
    // The agent's first pass, the last step but one, waits for an answer.
    let sapi = &ground.services().sapi;
    sapi.front().set_fault(Fault::Hang);
    zone.provision(&image("prometheus", 0)).unwrap();
    let exists = |zone: &LxZone, path: &str| zone.root().join(path).exists();
    let begun = "opt/triton/config-agent/etc/config.json";
    let seen = eventually("set-up has begun", LONG, async || {
        if exists(&zone, begun) { Ok(()) } else { Err(zone.console()) }
    });
    seen.await.unwrap_or_else(|error| panic!("{error}"));
    zone.cut_off();
    sapi.front().clear_faults();
    assert!(exists(&zone, "var/svc/.ran-user-script"));
    assert!(!exists(&zone, "var/svc/setup_complete"), "too late to tell");
    zone.boot().unwrap();
    let done = eventually("set-up is complete", LONG, async || {
        let complete = exists(&zone, "var/svc/setup_complete");
        if complete { Ok(()) } else { Err(zone.console()) }
    });
    done.await.unwrap_or_else(|error| panic!("{error}"));

    // And nothing of a zone outlives it.
    let leader = zone.leader().unwrap();
    let (machine, root) = (zone.namespace().name().to_owned(), zone.root());
    drop(zone);
    assert!(!Path::new(&format!("/proc/{leader}")).exists());
    assert!(!root.exists());
    drop(ground);
    let left = format!(
        "find /sys/fs/cgroup /run/systemd/nspawn -name '{machine}*'; \
         grep -c {machine} /proc/self/mountinfo"
    );
    let exec = Exec::shell(&left, LONG);
    let left = run(&exec).await.unwrap();
    assert_eq!(left.stdout, "0\n", "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lx_zone_of_role_thanos_comes_up_by_itself() {
    let mut world = WorldSpec::new(programs());
    world.thanos = Some(serde_json::Map::new());
    let zone = create_in(&world, |ground| ground.thanos_spec(&world)).await;
    let mut site = Site::of(zone, &image("thanos", 0)).await;
    let daemons = ["thanos-query", "thanos-query-frontend"];
    site.runs(&daemons).await;
    site.nothing_failed();
    let kept = site.zone.data().join("thanos/kept");
    std::fs::write(&kept, "kept").unwrap();
    site.lives_on(&image("thanos", 1), &daemons).await;
    assert_eq!(std::fs::read(&kept).unwrap(), b"kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn lx_zone_of_role_grafana_comes_up_by_itself() {
    let world = WorldSpec::new(programs());
    let zone = create_in(&world, |ground| {
        let mut spec = ground.zone_spec(&world, 0);
        of_grafana(&mut spec);
        spec
    });
    let mut site = Site::of(zone.await, &image("grafana", 0)).await;
    let daemons = ["auth", "grafana", "nginx"];
    site.runs(&daemons).await;
    site.nothing_failed();
    // Debian's own site is none of ours.
    assert_eq!(
        site.sh("readlink /etc/systemd/system/nginx.service"),
        "/opt/triton/grafana/smf/nginx.service\n"
    );
    let keys = site.zone.data().join("grafana/sign-in/keys.json");
    let kept = std::fs::read(&keys).unwrap();
    // The image that wrote them had another number for the account.
    site.sh("systemctl stop config-agent auth");
    site.sh("chown -R 4711:4711 /data/grafana/sign-in");
    site.lives_on(&image("grafana", 1), &daemons).await;
    assert_eq!(std::fs::read(&keys).unwrap(), kept, "everybody signs in anew");
    let owner = "stat -c %U /data/grafana/sign-in/keys.json";
    assert_eq!(site.sh(owner), "auth\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn lx_zone_of_manta_comes_up_by_itself() {
    let world = WorldSpec::new(programs());
    let zone = create_in(&world, |ground| {
        let mut spec = ground.zone_spec(&world, 0);
        of_manta(ground, &mut spec);
        spec
    });
    let site = Site::of(zone.await, &image("prometheus", 0)).await;
    site.runs(&["prometheus"]).await;
    let subject = "openssl x509 -noout -subject \
        -in /data/prometheus/tls/cmon.crt";
    let subject = site.sh(subject);
    assert!(subject.contains("poseidon"), "{subject}");
}
