// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! SmartOS zones: the boot scripts and service manifests under a stand-in for
//! SMF, with the real agent and the real Prometheus.

use std::path::{Path, PathBuf};
use std::time::Duration;

use localdc::smf;
use localdc::world::{Ground, Programs, Ways, WorldSpec, eventually, joined};
use localdc::zone::{Network, Reboot, Zone, ZoneSpec};
use serde_json::{Map, Value, json};
use zone_image::recipe::{self, Brand};
use zone_image::tree::TreePath;

mod roles;

const LONG: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(20);

/// Registrar, which comes with the origin image.
const REGISTRAR: (&str, &str) = (
    "/opt/smartdc/registrar/smf/manifests/registrar.xml",
    include_str!("../../fixtures/registrar.xml"),
);

fn localdc() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_localdc"))
}

fn world() -> WorldSpec {
    let programs = Programs::beside(localdc());
    WorldSpec::new(programs.unwrap_or_else(|error| panic!("{error}")))
}

/// What the image of `role` has for a SmartOS zone, as its recipe says.
fn image(spec: &mut ZoneSpec, role: &str) {
    smf::smartos(spec, localdc());
    let mut file = |path: &str, text: &str| {
        spec.files.insert(path.into(), text.to_owned());
    };
    let script = include_str!("../../../boot/user-script.sh");
    file("/var/svc/mdata-user-script", script);
    file(REGISTRAR.0, REGISTRAR.1);
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let recipes = top.join("image/recipes");
    let recipe = recipe::load(&recipes, role, Brand::JoyentMinimal).unwrap();
    for part in recipe.parts.iter().map(|part| &part.wants) {
        for it in &part.file {
            for (below, text) in texts(&top.join(&it.from)) {
                file(&format!("{}{below}", it.to.0), &text);
            }
        }
        // A file in a folder stands for the folder.
        for it in part.folder.iter().filter(|it| concerns(&it.path.0)) {
            file(&format!("{}/.folder", it.path.0), "");
        }
        for it in part.text.iter().filter(|it| concerns(&it.path.0)) {
            file(&it.path.0.to_string(), &it.text);
        }
    }
}

/// A file of the repository, or those of a folder, by the end of their paths.
fn texts(from: &Path) -> Vec<(String, String)> {
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    if from.is_file() {
        return vec![(String::new(), text(from))];
    }
    let entries = std::fs::read_dir(from).unwrap();
    let entries = entries.map(|entry| entry.unwrap().path());
    let named = |path: std::path::PathBuf| {
        let name = path.file_name().unwrap().display().to_string();
        (format!("/{name}"), text(&path))
    };
    entries.map(named).collect()
}

/// Of what the platform reads, what its stand-ins do: the rest would cover
/// what a zone on Linux lives by.
fn concerns(path: &TreePath) -> bool {
    let path = path.to_string();
    let all = ["cron", "inittab", "logadm", "pam.conf", "project", "user_attr"];
    all.iter().any(|it| path.contains(it))
}

fn metadata(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

async fn sh(zone: &Zone, script: &str) -> String {
    let done = zone.exec(["bash", "-c", script], SOON).await.unwrap();
    format!("{}{}", done.stdout, done.stderr)
}

/// A file of the zone's root, from outside.
fn text(zone: &Zone, path: &str) -> String {
    let path = zone.root_folder().join(path);
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Waits until `service` is in `state`, and there to stay.
async fn reaches(zone: &Zone, service: &str, state: &str) {
    let wanted = format!("{state} -\n");
    let asked = format!("svcs -Ho state,nstate {service}");
    let reached = eventually(service, LONG, async || {
        let said = sh(zone, &asked).await;
        if said == wanted { Ok(()) } else { Err(said) }
    });
    if let Err(error) = reached.await {
        panic!("{error}\n{}", evidence(zone).await);
    }
}

async fn evidence(zone: &Zone) -> String {
    let look = "cd /var; tail -n 30 svc/setup.log log/mdata-user-script.log \
        svc/log/*";
    sh(zone, look).await
}

async fn all_up(ground: &Ground, zone: &Zone, ways: &Ways) {
    let up = ground.all_up(ways.daemons(), LONG).await;
    let at_peace = async || match ways.daemons().status().await {
        Ok(report) if report.faults.is_empty() => Ok(()),
        Ok(report) => Err(report.faults.join("; ")),
        Err(error) => Err(joined(&error)),
    };
    let well = match up {
        Ok(_) => eventually("no faults", LONG, at_peace).await,
        Err(error) => Err(error),
    };
    if let Err(error) = well {
        panic!("{}\n{}", joined(&error), evidence(zone).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn smartos_zone_comes_up_under_smf_and_again_after_a_reprovision() {
    let mut world = world();
    world.metadata = metadata(json!({
        "alertmanager_config": {"route": {"receiver": "none"},
            "receivers": [{"name": "none"}]},
        "thanos_sidecar": true,
    }));
    let ground = Ground::lay(&world, &mut |_| ()).await.unwrap();
    let mut spec = ground.zone_spec(&world, 0);
    image(&mut spec, "prometheus");
    let mut zone = Zone::boot(localdc(), ground.network(), spec).await.unwrap();
    let ways = Ways::open(zone.namespace()).await.unwrap();
    for round in ["fresh", "reprovisioned"] {
        all_up(&ground, &zone, &ways).await;
        for service in [
            "config-agent",
            "prometheus",
            "alertmanager",
            "thanos-sidecar",
            "cron",
            "registrar",
            "mdata:execute",
        ] {
            reaches(&zone, service, "online").await;
        }
        let pid = "pgrep -x prometheus | head -1";
        let user = sh(&zone, &format!("ps -o user= -p $({pid})")).await;
        assert_eq!(user, "nobody\n", "{round}");
        let bounds = format!("grep CapBnd /proc/$({pid})/status");
        let bounds = sh(&zone, &bounds).await;
        assert!(bounds.contains("0000000000000000"), "{bounds}");
        let logadm = text(&zone, "etc/logadm.conf");
        let last = logadm.lines().last().unwrap();
        assert!(last.starts_with("smf_logs "), "{logadm}");
        let to = "/var/log/sdc/upload/prometheus_$nodename_%FT%H:%M:%S.log";
        assert!(logadm.contains(to), "{logadm}");
        let crontab = text(&zone, "var/spool/cron/crontabs/root");
        assert!(crontab.starts_with("0 * * * * /usr/sbin/logadm"));
        let registrar = text(&zone, "opt/smartdc/registrar/etc/config.json");
        let registrar: Value = serde_json::from_str(&registrar).unwrap();
        assert_eq!(
            registrar["registration"]["domain"],
            "prometheus.dc1.triton.test"
        );
        assert_eq!(registrar["adminIp"], "10.88.0.45");
        let setup = text(&zone, "var/svc/setup.log");
        assert!(!setup.contains("went wrong"), "{setup}");
        assert!(!setup.contains("PRIVATE KEY"), "{setup}");
        let remounted = setup.contains("done       have zones/");
        assert_eq!(remounted, round == "fresh", "{setup}");
        if round == "fresh" {
            zone.reboot(Reboot::Reprovision).await.unwrap();
        }
    }
}

/// A zone without a datacenter: what set-up leaves behind is the same, and
/// nobody waits.
async fn alone(name: &str, script: Option<&str>) -> (Network, Zone) {
    let world = world();
    let network = Network::create(name).unwrap();
    let uuid = "5f1a0f6e-6a4b-4c0e-9a54-0d8f2b7c0099";
    let mut spec = ZoneSpec::new(name, uuid, [10, 88, 0, 99].into());
    for (key, value) in [
        ("sdc:tags.smartdc_role", "prometheus"),
        ("sdc:datacenter_name", "dc1"),
        ("sapi-url", "http://127.0.0.1:1"),
    ] {
        spec.mdata.insert(key.into(), value.into());
    }
    let home = "/opt/triton/config-agent";
    spec.binds.extend([
        localdc::zone::Bind::read_only(
            &world.programs.config_agent,
            &format!("{home}/bin/config-agent"),
        ),
        localdc::zone::Bind::read_only(
            &world.programs.templates,
            &format!("{home}/templates"),
        ),
    ]);
    image(&mut spec, "prometheus");
    if let Some(script) = script {
        let path = PathBuf::from("/var/svc/mdata-user-script");
        spec.files.insert(path, script.to_owned());
    }
    let zone = Zone::boot(localdc(), &network, spec).await.unwrap();
    (network, zone)
}

/// All that a set-up leaves, with what SMF is told to run.
async fn left_behind(zone: &Zone) -> String {
    let look = "find /opt/triton /var/log/sdc /data -maxdepth 3 \
            -path /data/config-agent/\\* -prune -o \
            -path '*/templates/*' -prune -o -name .zfs-mountpoint -o \
            -type d -printf '%p %m %u\\n' -o -printf '%p %m %u %s\\n' | sort
        cd /; md5sum opt/triton/*/etc/* root/.profile .dcinfo \
            etc/logadm.conf var/spool/cron/crontabs/root \
            var/svc/setup_complete etc/group data/.zfs-mountpoint";
    let files = sh(zone, look).await;
    let repository = text(zone, "etc/svc/repository.json");
    let repository: Value = serde_json::from_str(&repository).unwrap();
    let services = repository["services"].as_object().unwrap();
    let services = services
        .iter()
        .map(|(fmri, service)| format!("{fmri} {}\n", service["enabled"]));
    format!("{files}{}", services.collect::<String>())
}

/// Whether the user-script came to its end, well or not.
async fn ended(zone: &Zone) -> bool {
    let asked = "svcs -Ho state,nstate mdata:execute";
    let end = eventually("the user-script's end", LONG, async || {
        match sh(zone, asked).await.as_str() {
            "online -\n" => Ok(true),
            "maintenance -\n" => Ok(false),
            other => Err(other.to_owned()),
        }
    });
    end.await.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn set_up_that_is_killed_at_any_call_is_finished_by_the_next_boot() {
    let (_network, mut zone) = alone("killed", None).await;
    assert!(ended(&zone).await, "{}", evidence(&zone).await);
    reaches(&zone, "config-agent", "online").await;
    let wanted = left_behind(&zone).await;
    assert!(wanted.contains("/data/prometheus 755 root"), "{wanted}");
    let calls = text(&zone, "var/calls");
    let calls: Vec<&str> = calls.lines().collect();
    assert!(calls.len() > 12, "{calls:?}");
    for (at, call) in calls.iter().enumerate() {
        // As if there never had been any data; none there is as good.
        let mountpoint = zone.data_folder().join(".zfs-mountpoint");
        let _ = std::fs::remove_file(mountpoint);
        let number = (at + 1).to_string();
        let path = PathBuf::from("/var/kill-at");
        zone.spec_mut().files.insert(path, number);
        zone.reboot(Reboot::Reprovision).await.unwrap();
        assert!(!ended(&zone).await, "nobody was killed at {call}");
        let mark = zone.root_folder().join("var/kill-at");
        std::fs::write(mark, "").unwrap();
        zone.reboot(Reboot::Keep).await.unwrap();
        let finished = ended(&zone).await;
        assert!(finished, "{call}: {}", evidence(&zone).await);
        reaches(&zone, "config-agent", "online").await;
        assert_eq!(left_behind(&zone).await, wanted, "{call}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_service_that_waits_for_us_is_found_out() {
    let script = "svccfg import \
        /opt/smartdc/registrar/smf/manifests/registrar.xml
        svcadm enable -s registrar";
    let (_network, zone) = alone("deadlock", Some(script)).await;
    assert!(!ended(&zone).await);
    let log = text(&zone, "var/log/mdata-user-script.log");
    assert!(log.contains("deadlock: svc:/smartdc/mdata:execute"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn start_methods_are_held_to_their_contract() {
    let (_network, zone) = alone("contract", Some("true")).await;
    assert!(ended(&zone).await);
    let agent = include_str!("../../../smf/smartos/config-agent.xml");
    let begin = agent.find("exec=\"/opt").unwrap() + 6;
    let end = begin + agent[begin..].find('"').unwrap();
    for (name, method, state) in [
        ("foreground", "sleep 100", "maintenance"),
        ("misconfigured", "sh -c 'exit 96'", "maintenance"),
        ("falls-over", "sleep 0.1 &amp;", "maintenance"),
        ("well", "sleep 100 &amp;", "online"),
    ] {
        let manifest = [&agent[..begin], method, &agent[end..]].concat();
        let limit = |seconds: &str| {
            format!("name=\"start\" timeout_seconds=\"{seconds}\"")
        };
        assert!(manifest.contains(&limit("30")));
        let manifest = match name {
            "foreground" => manifest.replace(&limit("30"), &limit("1")),
            _ => manifest,
        };
        let manifest =
            manifest.replace("application/config-agent", &format!("x/{name}"));
        let file = zone.root_folder().join("var/x.xml");
        std::fs::write(&file, manifest).unwrap();
        let enable =
            format!("svccfg import /var/x.xml && svcadm enable {name}");
        assert_eq!(sh(&zone, &enable).await, "");
        reaches(&zone, name, state).await;
    }
    let stop =
        sh(&zone, "svcadm disable -s well && pgrep -f 'sleep 100'").await;
    assert_eq!(stop, "");
}
