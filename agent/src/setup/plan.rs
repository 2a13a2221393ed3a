// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Facts become the ordered steps of a set-up. Plain data in, plain data out.
//!
//! Steps that must be taken once a root are left out when set-up has come to
//! its end before; those that see for themselves whether they are needed
//! (folders, files of ours) are always there.
//!
//! Source: contract sheet on images, "Inside the zone"; the boot libraries of
//! Triton's and Manta's zones for the form of logadm entries.

use std::path::{Path, PathBuf};

use super::{Act, Brand, COMPLETE, Command, Facts, HOMES, Home, Step};
use crate::model::Flavor;

/// Seconds a command may take.
const COMMAND: u64 = 30;

/// Seconds an import may take: svccfg is slow on a busy headnode.
const IMPORT: u64 = 60;

/// Seconds the first pass may take, of the 300 that a provision has.
const FIRST_PASS: u64 = 120;

/// Where the delegate dataset goes.
const DATA: &str = "/data";

/// Folders whose `data` an earlier image may have left to another account,
/// and whose it is with ours: see `smf/`.
const HANDED_OVER: [&str; 2] = ["grafana", "prometheus"];
const USER: &str = "nobody";

/// MiB that copies of logs may take in all, beside 64 MiB of each log itself.
const LOGS: usize = 1024;

/// Milliseconds between two polls of SAPI.
const POLL_INTERVAL: u64 = 60_000;

const AGENT: &str = "config-agent";
const CRON: &str = "svc:/system/cron:default";
const REGISTRAR: &str = "svc:/manta/application/registrar:default";

/// The hourly look at the logs, as in every core zone.
const ROTATE: &str =
    "0 * * * * /usr/sbin/logadm -v >> /var/log/logadm.log 2>&1";
const ROTATE_LOG: &str = ">> /var/log/logadm.log 2>&1";

/// In between, logs that are large, whenever their last rotation was.
const ROTATE_LARGE: &str =
    "10,20,30,40,50 * * * * /usr/sbin/logadm -p now -s 64m";

/// The steps that bring the zone from `facts` to where its agent can run.
pub fn plan(facts: &Facts) -> Vec<Step> {
    let mut steps = Vec::new();
    mount(facts, &mut steps);
    accounts(facts, &mut steps);
    folders(facts, &mut steps);
    if !facts.complete {
        once(facts, &mut steps);
    }
    steps
}

/// What is done once a root, in an order in which nothing waits for us.
fn once(facts: &Facts, steps: &mut Vec<Step>) {
    own_files(facts, steps);
    let native = facts.zone.brand == Brand::JoyentMinimal;
    if native && facts.amon {
        let script = "cd /opt/amon-agent && ./pkg/postinstall.sh";
        let argv = ["/bin/bash", "-c", script];
        steps.push(may_fail(run("set up the amon agent", &argv, IMPORT)));
    }
    match facts.zone.brand {
        Brand::JoyentMinimal => import(facts, steps),
        Brand::Lx => link(facts, steps),
    }
    if native {
        rotation(facts, steps);
    }
    // After imports: a command in a manifest may name a service.
    let limit_seconds = FIRST_PASS;
    steps.push(may_fail(step(
        "write the zone's configuration for the first time",
        Act::FirstPass { limit_seconds },
    )));
    if facts.registrar {
        // It depends on mdata:execute, which waits for us: not with -s.
        let argv = ["svcadm", "enable", REGISTRAR];
        steps.push(run("enable registrar", &argv, COMMAND));
    }
    steps.push(step(
        "mark the set-up as complete",
        Act::Write { path: Path::new("/").join(COMPLETE), text: String::new() },
    ));
}

/// The property outlives a reprovision; being mounted does not.
fn mount(facts: &Facts, steps: &mut Vec<Step>) {
    let dataset = &facts.dataset;
    if dataset.mountpoint == DATA && dataset.mounted {
        return;
    }
    let name = dataset.name.as_str();
    if dataset.mountpoint != DATA {
        let to = format!("mountpoint={DATA}");
        let what = format!("have {name} mounted at {DATA}");
        steps.push(run(&what, &["zfs", "set", &to, name], COMMAND));
    }
    // Another dataset that does not mount is no business of ours; the look
    // that follows is at the one that matters.
    let all = run("mount datasets", &["zfs", "mount", "-a"], COMMAND);
    steps.push(may_fail(all));
    let argv = ["zfs", "get", "-Hpo", "value", "mounted", name];
    let mut seen = command(&argv, COMMAND);
    seen.wanted = Some("yes".to_owned());
    let what = format!("find {name} mounted");
    steps.push(step(&what, Act::Run(seen)));
}

fn accounts(facts: &Facts, steps: &mut Vec<Step>) {
    for group in &facts.groups {
        let what = format!("make group {group}");
        steps.push(run(&what, &["groupadd", group], COMMAND));
    }
    for user in &facts.users {
        let what = format!("make account {user}");
        let argv: &[&str] = match facts.zone.brand {
            Brand::JoyentMinimal => {
                &["useradd", "-d", "/", "-s", "/usr/bin/false", user]
            }
            Brand::Lx => &[
                "useradd",
                "--system",
                "--no-create-home",
                "--shell",
                "/usr/sbin/nologin",
                user,
            ],
        };
        steps.push(run(&what, argv, COMMAND));
    }
}

/// Root's own: what a daemon itself may write below, the agent makes.
fn folders(facts: &Facts, steps: &mut Vec<Step>) {
    for Home { name, .. } in &facts.homes {
        let etc = Path::new("/").join(HOMES).join(name).join("etc");
        steps.push(folder(etc, 0o755));
        let mode = if name == AGENT { 0o700 } else { 0o755 };
        steps.push(folder(Path::new(DATA).join(name), mode));
        if HANDED_OVER.contains(&name.as_str()) {
            let path = Path::new(DATA).join(name).join("data");
            let what = format!("take over what is in {}", path.display());
            let user = USER.to_owned();
            let act = Act::HandOver { path, user };
            steps.push(may_fail(step(&what, act)));
        }
    }
    // hermes, in the global zone, ships what lies there.
    if facts.zone.brand == Brand::JoyentMinimal {
        steps.push(folder(PathBuf::from(upload(facts)), 0o755));
    }
}

fn upload(facts: &Facts) -> &'static str {
    match facts.zone.flavor {
        Flavor::Triton => "/var/log/sdc/upload",
        Flavor::Manta => "/var/log/manta/upload",
    }
}

/// The agent's configuration, and what root sees.
fn own_files(facts: &Facts, steps: &mut Vec<Step>) {
    let zone = &facts.zone;
    let config = serde_json::json!({
        "logLevel": "info",
        "pollInterval": POLL_INTERVAL,
        "sapi": {"url": zone.sapi_url},
        "localManifestDirs": [format!("/{HOMES}/{}", zone.role)],
    });
    let home = Path::new("/").join(HOMES).join(AGENT);
    steps.push(step(
        "write config-agent's own configuration",
        Act::Write {
            path: home.join("etc/config.json"),
            text: format!("{config:#}\n"),
        },
    ));
    let profile = home.join("etc/profile");
    let bins: Vec<String> = facts
        .homes
        .iter()
        .map(|home| format!("/{HOMES}/{}/bin", home.name))
        .collect();
    steps.push(step(
        "write root's environment",
        Act::Write {
            path: profile.clone(),
            text: format!("export PATH={}:$PATH\n", bins.join(":")),
        },
    ));
    steps.push(step(
        "have root's shell read it",
        Act::Line {
            path: "/root/.profile".into(),
            line: format!(". {}", profile.display()),
        },
    ));
    if let Some(datacenter) = &zone.datacenter {
        steps.push(step(
            "name the datacenter to root's prompt",
            Act::Write {
                path: "/.dcinfo".into(),
                text: format!("SDC_DATACENTER_NAME=\"{datacenter}\"\n"),
            },
        ));
    }
}

/// The agent's own service first: the others name it as a dependency.
fn services(facts: &Facts) -> Vec<&Path> {
    let (own, others): (Vec<&Home>, Vec<&Home>) =
        facts.homes.iter().partition(|home| home.name == AGENT);
    let all = own.into_iter().chain(others);
    all.flat_map(|home| &home.services).map(PathBuf::as_path).collect()
}

/// A joyent-minimal zone imports nothing by itself, and has no cron.
fn import(facts: &Facts, steps: &mut Vec<Step>) {
    let cron = Path::new("/lib/svc/manifest/system/cron.xml");
    let registrar =
        Path::new("/opt/smartdc/registrar/smf/manifests/registrar.xml");
    let mut all = services(facts);
    all.push(cron);
    if facts.registrar {
        all.push(registrar);
    }
    for file in all {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let what = format!("import service {name}");
        let file = file.display().to_string();
        let import = run(&what, &["svccfg", "import", &file], IMPORT);
        steps.push(if name == "cron" { may_fail(import) } else { import });
    }
    let argv = ["svcadm", "enable", CRON];
    steps.push(may_fail(run("enable cron", &argv, COMMAND)));
}

/// Known to systemd, not yet enabled.
fn link(facts: &Facts, steps: &mut Vec<Step>) {
    let files: Vec<String> = services(facts)
        .into_iter()
        .map(|file| file.display().to_string())
        .collect();
    let words = ["systemctl", "link"].into_iter();
    let argv: Vec<&str> =
        words.chain(files.iter().map(String::as_str)).collect();
    steps.push(run("make services known to systemd", &argv, COMMAND));
}

/// Hourly into the folder that is shipped, under names that say which zone
/// and when. Each flavor's collector has its own idea of both. What grows
/// faster than that is looked at in between by size; in a Manta zone the
/// later of two copies within an hour replaces the earlier.
///
/// A zone without log rotation beats none: each step may fail, and is told.
fn rotation(facts: &Facts, steps: &mut Vec<Step>) {
    let (kept, time) = match facts.zone.flavor {
        Flavor::Triton => ("168", "%FT%H:%M:%S"),
        Flavor::Manta => ("48", "%FT%H:00:00"),
    };
    let mut logs: Vec<(String, String)> = services(facts)
        .into_iter()
        .filter_map(|file| file.file_stem()?.to_str())
        .map(|name| {
            let log = format!("triton-application-{name}:default.log");
            (name.to_owned(), format!("/var/svc/log/{log}"))
        })
        .collect();
    if facts.registrar {
        let pattern = "/var/svc/log/*registrar*.log".to_owned();
        logs.push(("registrar".to_owned(), pattern));
    }
    let names: Vec<&str> = logs.iter().map(|(it, _)| it.as_str()).collect();
    let wanted = facts.crontab.as_deref().map(|now| crontab(now, &names));
    let each = format!("{}m", LOGS / logs.len().max(1));
    for (name, pattern) in logs {
        let to = format!("{}/{name}_$nodename_{time}.log", upload(facts));
        let argv = [
            "logadm", "-w", &name, "-C", kept, "-c", "-p", "1h", "-S", &each,
            "-t", &to, &pattern,
        ];
        let what = format!("rotate the log of {name}");
        steps.push(may_fail(run(&what, &argv, COMMAND)));
    }
    // The platform's own entry would take them first, and keep three.
    let argv = ["logadm", "-r", "smf_logs"];
    let what = "take logs of other services out of the rotation";
    steps.push(may_fail(run(what, &argv, COMMAND)));
    let argv = [
        "logadm",
        "-w",
        "smf_logs",
        "-C",
        "3",
        "-c",
        "-s",
        "1m",
        "/var/svc/log/*.log",
    ];
    let what = "rotate logs of other services last";
    steps.push(may_fail(run(what, &argv, COMMAND)));
    let Some(wanted) = wanted else {
        // It failed before: to be told, and nothing to be overwritten.
        let argv = ["crontab", "-l"];
        let what = "read root's crontab, which is left as it is";
        return steps.push(may_fail(run(what, &argv, COMMAND)));
    };
    if facts.crontab.as_ref() != Some(&wanted) {
        let path = Path::new("/").join(HOMES).join(AGENT).join("etc/crontab");
        let file = path.display().to_string();
        let what = "write root's crontab, logs rotated hourly";
        steps.push(step(what, Act::Write { path, text: wanted }));
        let argv = ["crontab", &file];
        let what = "put root's crontab in force";
        steps.push(may_fail(run(what, &argv, COMMAND)));
    }
}

/// The crontab with our looks at the logs in the place of any other.
fn crontab(now: &str, names: &[&str]) -> String {
    let others = now.lines().filter(|line| {
        !line.contains("/usr/sbin/logadm")
            && !line.contains("Rotate system logs")
    });
    let mut text: String = others.flat_map(|line| [line, "\n"]).collect();
    text.push_str(ROTATE);
    text.push('\n');
    let names = names.join(" ");
    text.push_str(&format!("{ROTATE_LARGE} {names} {ROTATE_LOG}\n"));
    text
}

fn step(what: &str, act: Act) -> Step {
    Step { what: what.to_owned(), act, may_fail: false }
}

fn may_fail(step: Step) -> Step {
    Step { may_fail: true, ..step }
}

fn command(argv: &[&str], limit_seconds: u64) -> Command {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    Command { argv, limit_seconds, wanted: None }
}

fn run(what: &str, argv: &[&str], limit_seconds: u64) -> Step {
    step(what, Act::Run(command(argv, limit_seconds)))
}

fn folder(path: PathBuf, mode: u32) -> Step {
    let what = format!("make {}", path.display());
    step(&what, Act::Folder { path, mode })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Role;
    use crate::setup::{Dataset, Zone};

    const UUID: &str = "5f1a0f6e-6a4b-4c0e-9a54-0d8f2b7c0045";

    /// A zone as it boots for the first time, or after a reprovision, when
    /// its dataset has been set and, on SmartOS, mounted by the boot itself.
    fn facts(brand: Brand, flavor: Flavor, reprovision: bool) -> Facts {
        let suffix = match brand {
            Brand::JoyentMinimal => "xml",
            Brand::Lx => "service",
        };
        let home = |home: &str, daemons: &[&str]| Home {
            name: home.to_owned(),
            services: daemons
                .iter()
                .map(|it| format!("/opt/triton/{home}/smf/{it}.{suffix}"))
                .map(PathBuf::from)
                .collect(),
        };
        let native = brand == Brand::JoyentMinimal;
        Facts {
            zone: Zone {
                uuid: UUID.to_owned(),
                brand,
                flavor,
                role: Role::Prometheus,
                datacenter: Some("dc1".to_owned()),
                sapi_url: "http://sapi.dc1.example.test".to_owned(),
            },
            dataset: Dataset {
                name: format!("zones/{UUID}/data"),
                mountpoint: match reprovision {
                    true => "/data".to_owned(),
                    false => format!("/zones/{UUID}/data"),
                },
                mounted: reprovision && native,
            },
            homes: vec![
                home("config-agent", &["config-agent"]),
                home("prometheus", &["prometheus", "thanos-sidecar"]),
            ],
            users: [].into(),
            groups: [].into(),
            registrar: native,
            amon: native,
            crontab: Some(match native {
                true => "# Rotate system logs\n\
                         10 3 * * * /usr/sbin/logadm\n\
                         15 3 * * 0 /usr/lib/fs/nfs/nfsfind\n"
                    .to_owned(),
                false => String::new(),
            }),
            complete: false,
        }
    }

    fn told(steps: &[Step]) -> String {
        let line = |step: &Step| format!("{step}\n");
        steps.iter().map(line).collect()
    }

    #[test]
    fn plans_are_reviewed() {
        for (name, brand) in
            [("smartos", Brand::JoyentMinimal), ("lx", Brand::Lx)]
        {
            for (flavor_name, flavor) in
                [("triton", Flavor::Triton), ("manta", Flavor::Manta)]
            {
                for (state, again) in [("fresh", false), ("reprovision", true)]
                {
                    let steps = plan(&facts(brand, flavor, again));
                    let name = format!("{name}-{flavor_name}-{state}");
                    insta::assert_snapshot!(name, told(&steps));
                }
            }
        }
    }

    #[test]
    fn what_is_complete_is_only_looked_after() {
        let mut facts = facts(Brand::JoyentMinimal, Flavor::Triton, true);
        facts.complete = true;
        let steps = plan(&facts);
        let only_folders = steps.iter().all(|it| {
            matches!(it.act, Act::Folder { .. } | Act::HandOver { .. })
        });
        assert!(only_folders, "{}", told(&steps));
        facts.dataset.mounted = false;
        assert!(told(&plan(&facts)).contains("zfs mount -a"));
    }

    #[test]
    fn accounts_that_are_missing_are_made_before_anything_is_theirs() {
        for brand in [Brand::JoyentMinimal, Brand::Lx] {
            let mut facts = facts(brand, Flavor::Triton, true);
            facts.users = ["prometheus".to_owned()].into();
            facts.groups = ["metrics".to_owned()].into();
            let text = told(&plan(&facts));
            let at = |part: &str| text.find(part).unwrap();
            assert!(at("groupadd metrics") < at("useradd"), "{text}");
            assert!(at("useradd") < at("/data/prometheus"), "{text}");
        }
    }

    #[test]
    fn the_crontab_keeps_what_is_not_ours_and_settles() {
        let now = "5 * * * * /opt/own\n10 3 * * * /usr/sbin/logadm\n";
        let once = crontab(now, &["a", "b"]);
        let ours = format!("{ROTATE}\n{ROTATE_LARGE} a b {ROTATE_LOG}\n");
        assert_eq!(once, format!("5 * * * * /opt/own\n{ours}"));
        assert_eq!(crontab(&once, &["a", "b"]), once);
    }

    #[test]
    fn a_crontab_that_cannot_be_read_is_left_alone() {
        let mut facts = facts(Brand::JoyentMinimal, Flavor::Triton, false);
        facts.crontab = None;
        let text = told(&plan(&facts));
        assert!(text.contains("crontab -l"), "{text}");
        assert!(!text.contains("etc/crontab"), "{text}");
    }

    /// Copies, all together, and what no look has found yet.
    #[test]
    fn logs_have_a_bound_in_all() {
        let facts = facts(Brand::JoyentMinimal, Flavor::Manta, false);
        let mut sum = 0;
        for step in plan(&facts) {
            let Act::Run(command) = &step.act else { continue };
            let Some(at) = command.argv.iter().position(|it| it == "-S") else {
                continue;
            };
            let size = command.argv[at + 1].trim_end_matches('m');
            sum += size.parse::<usize>().unwrap();
        }
        assert!((1..=LOGS).contains(&sum), "{sum} MiB");
    }

    /// `svcadm enable -s` of a service that depends on mdata:execute, which
    /// is us, would never come back.
    #[test]
    fn no_step_waits_for_a_service() {
        let facts = facts(Brand::JoyentMinimal, Flavor::Triton, false);
        for step in plan(&facts) {
            let Act::Run(command) = &step.act else { continue };
            let waits = command.argv.iter().any(|word| word == "-s");
            let svcadm = command.argv[0] == "svcadm";
            assert!(!(svcadm && waits), "{step}");
        }
    }

    /// The platform gives a provision 300 s, we take 240.
    #[test]
    fn the_first_pass_and_all_that_must_follow_it_fit_into_a_provision() {
        for brand in [Brand::JoyentMinimal, Brand::Lx] {
            let facts = facts(brand, Flavor::Triton, false);
            let steps = plan(&facts);
            let first = |it: &Step| matches!(it.act, Act::FirstPass { .. });
            let at = steps.iter().position(first).unwrap();
            let limits = steps[at..].iter().map(|step| match &step.act {
                Act::Run(command) => command.limit_seconds,
                Act::FirstPass { limit_seconds } => *limit_seconds,
                _ => 1,
            });
            assert!(limits.sum::<u64>() <= 200);
            // Nothing in between that nobody waits for.
            assert!(steps[at + 1..].iter().all(|it| !it.may_fail));
        }
    }
}
