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

use super::rotation::rotation;
use super::{Act, Brand, COMPLETE, Command, Facts, HOMES, Home, Step};
use crate::model::Flavor;

/// Seconds a command may take.
pub(super) const COMMAND: u64 = 30;

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

/// What account `auth` keeps. It is made anew with each root, and may be
/// another number there.
const SIGN_IN: (&str, &str) = ("/data/grafana/sign-in", "auth");

/// Milliseconds between two polls of SAPI.
const POLL_INTERVAL: u64 = 60_000;

pub(super) const AGENT: &str = "config-agent";
const CRON: &str = "svc:/system/cron:default";
const REGISTRAR: &str = "svc:/manta/application/registrar:default";

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
    hand_over(facts, steps);
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
    }
    // hermes, in the global zone, ships what lies there.
    if facts.zone.brand == Brand::JoyentMinimal {
        steps.push(folder(PathBuf::from(upload(facts)), 0o755));
    }
}

/// Before any daemon runs: what they could move meanwhile would be given, too.
fn hand_over(facts: &Facts, steps: &mut Vec<Step>) {
    let of_old = HANDED_OVER.iter().map(|home| {
        let path = Path::new(DATA).join(home).join("data");
        let what = format!("take over what is in {}", path.display());
        (*home, what, path, USER)
    });
    let (path, user) = SIGN_IN;
    let what = format!("give {path} to {user}");
    let sign_in = ("grafana", what, PathBuf::from(path), user);
    for (home, what, path, user) in of_old.chain([sign_in]) {
        if facts.homes.iter().any(|it| it.name == home) {
            let act = Act::HandOver { path, user: user.to_owned() };
            steps.push(may_fail(step(&what, act)));
        }
    }
}

pub(super) fn upload(facts: &Facts) -> &'static str {
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
pub(super) fn services(facts: &Facts) -> Vec<&Path> {
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

pub(super) fn step(what: &str, act: Act) -> Step {
    Step { what: what.to_owned(), act, may_fail: false }
}

pub(super) fn may_fail(step: Step) -> Step {
    Step { may_fail: true, ..step }
}

fn command(argv: &[&str], limit_seconds: u64) -> Command {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    Command { argv, limit_seconds, wanted: None }
}

pub(super) fn run(what: &str, argv: &[&str], limit_seconds: u64) -> Step {
    step(what, Act::Run(command(argv, limit_seconds)))
}

fn folder(path: PathBuf, mode: u32) -> Step {
    let what = format!("make {}", path.display());
    step(&what, Act::Folder { path, mode })
}

#[cfg(test)]
mod tests;
