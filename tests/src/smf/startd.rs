// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The restarter: starts what may start, watches what runs, gives up as
//! svc.startd(8) does.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::manifest::{Manifest, Method};
use super::repository::{Ask, Repository, Service, State, with};

const LOOK: Duration = Duration::from_millis(30);
/// Starts whose mean distance is judged, and what it must not be below,
/// unless the manifest says otherwise. svc.startd(8) has 600 s.
const STARTS: usize = 5;
const APART: Duration = Duration::from_secs(600);

/// A service as this process knows it.
#[derive(Default)]
struct Running {
    method: Option<Method>,
    child: Option<Child>,
    /// The session that is its contract.
    session: Option<i32>,
    since: Option<Instant>,
    stopping: bool,
    /// When it was started without being asked to.
    starts: Vec<Instant>,
}

/// Runs until killed, with its zone.
pub(super) fn run() -> io::Result<()> {
    if !init_starts_us(&fs::read_to_string("/etc/inittab")?) {
        return Err(io::Error::other(
            "no entry smf in /etc/inittab: init starts no svc.startd",
        ));
    }
    let mut running: BTreeMap<String, Running> = BTreeMap::new();
    loop {
        with(|repository| {
            let fmris: Vec<String> =
                repository.services.keys().cloned().collect();
            for fmri in fmris {
                let known = running.entry(fmri.clone()).or_default();
                look(repository, &fmri, known);
            }
        })?;
        thread::sleep(LOOK);
    }
}

/// init knows from there alone what starts SMF.
///
/// Source: illumos, usr/src/cmd/init/init.c, boot_init.
fn init_starts_us(inittab: &str) -> bool {
    inittab.lines().any(|line| {
        let entry: Vec<&str> = line.splitn(4, ':').collect();
        let ["smf", _, "sysinit", process] = entry[..] else { return false };
        process.split_whitespace().next() == Some("/lib/svc/bin/svc.startd")
    })
}

/// Whether somebody who is not root has a project, without which a method has
/// no context and is not started.
///
/// Source: illumos, usr/src/lib/libproject/common/getprojent.c,
/// getdefaultproj; usr/src/lib/librestart/common/librestart.c, get_projid.
fn has_project(projects: &str, user: &str, group: &str) -> bool {
    let user = format!("user.{user}");
    let group = format!("group.{group}");
    let mut names = projects.lines().filter_map(|it| it.split(':').next());
    names.any(|name| name == "default" || name == user || name == group)
}

/// Takes one service one step on.
fn look(repository: &mut Repository, fmri: &str, known: &mut Running) {
    let may_start = repository.may_start(fmri);
    let Some(service) = repository.services.get_mut(fmri) else { return };
    let Some(manifest) = service.manifest.clone() else { return };
    if known.stopping {
        return stopped(service, &manifest, known);
    }
    if known.child.is_some() {
        return started(service, &manifest, known);
    }
    match service.state {
        State::Disabled if service.wanted() => service.state = State::Offline,
        State::Offline if !service.wanted() => service.state = State::Disabled,
        State::Offline if may_start => start(service, &manifest, known),
        State::Maintenance if service.asked.remove(&Ask::Clear) => {
            known.starts.clear();
            service.state = State::Disabled;
        }
        State::Maintenance if !service.wanted() => {
            service.state = State::Disabled;
        }
        State::Online => online(service, &manifest, known),
        _ => {}
    }
    if service.state != State::Online {
        service.asked.remove(&Ask::Refresh);
        service.asked.remove(&Ask::Restart);
    }
}

#[expect(clippy::disallowed_methods, reason = "the restarter starts things")]
fn start(service: &mut Service, manifest: &Manifest, known: &mut Running) {
    if too_often(manifest, &mut known.starts) {
        return maintenance(service, "restarting too quickly");
    }
    let (user, group) = whom(manifest);
    let projects = fs::read_to_string("/etc/project").unwrap_or_default();
    if user != "root" && !has_project(&projects, user, group) {
        return maintenance(service, "Missing passwd or project entry");
    }
    let method = manifest.methods["start"].clone();
    let log = manifest.fmri.trim_start_matches("svc:/").replace('/', "-");
    let log = format!("/var/svc/log/{log}.log");
    let opened = fs::create_dir_all("/var/svc/log")
        .and_then(|()| fs::File::options().create(true).append(true).open(log));
    let mut command = Command::new("setsid");
    command.arg("setpriv").args(credentials(manifest));
    // As startd's method.c: a method that begins with a builtin never starts.
    command.args(["sh", "-c", &format!("exec {}", method.exec)]);
    command.env_clear();
    command.env("PATH", "/usr/sbin:/usr/bin");
    command.env("SMF_FMRI", &manifest.fmri);
    command.env("SMF_METHOD", "start");
    // The platform that our own programs are to see.
    command.env("CONFIG_AGENT_BRAND", "joyent-minimal");
    if let Some(privileges) = &manifest.privileges {
        command.env(super::PRIVILEGES, privileges);
    }
    if manifest.user.is_none() {
        command.env("PATH", crate::zone::ZONE_PATH);
    }
    command.envs(&manifest.environment);
    command.current_dir(manifest.working_directory.as_deref().unwrap_or("/"));
    let spawned = opened.and_then(|log| {
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.spawn()
    });
    match spawned {
        Ok(child) => {
            known.session = Some(child.id().cast_signed());
            known.child = Some(child);
            known.method = Some(method);
            known.since = Some(Instant::now());
            service.moves = true;
        }
        Err(error) => failed(service, &error.to_string()),
    }
}

fn whom(manifest: &Manifest) -> (&str, &str) {
    let user = manifest.user.as_deref().unwrap_or("root");
    (user, manifest.group.as_deref().unwrap_or("root"))
}

/// Whom a method runs as. No privilege of Linux is a privilege of illumos: a
/// set that is not root's own is none here.
fn credentials(manifest: &Manifest) -> Vec<String> {
    let (user, group) = whom(manifest);
    let mut words = vec![
        format!("--reuid={user}"),
        format!("--regid={group}"),
        "--clear-groups".to_owned(),
    ];
    if manifest.privileges.as_deref() == Some("basic") {
        words.push("--bounding-set=-all".to_owned());
        words.push("--inh-caps=-all".to_owned());
    }
    words
}

/// A start method runs, or has ended.
fn started(service: &mut Service, manifest: &Manifest, known: &mut Running) {
    let Some(child) = &mut known.child else { return };
    let limit = known.method.as_ref().and_then(|it| it.timeout_seconds);
    let limit = limit.map(Duration::from_secs);
    let status = match child.try_wait() {
        Ok(None) => {
            let since = known.since.map_or(Duration::ZERO, |it| it.elapsed());
            if limit.is_some_and(|limit| since > limit) {
                signal(known.session, Signal::SIGKILL);
                let _ = child.wait();
                known.child = None;
                let why = "the start method did not return in its time";
                maintenance(service, why);
            }
            return;
        }
        Ok(Some(status)) => status,
        Err(error) => return failed(service, &error.to_string()),
    };
    known.child = None;
    service.moves = false;
    match status.code() {
        Some(0) => service.state = State::Online,
        Some(code @ (95 | 96)) => {
            maintenance(service, &format!("start method: exit code {code}"));
        }
        // mdata:execute is tried once.
        code if manifest.duration == "transient" => {
            maintenance(service, &format!("start method: {code:?}"));
        }
        code => {
            let why = format!("{code:?}, signal {:?}", status.signal());
            failed(service, &why);
        }
    }
}

/// It runs: or does it?
fn online(service: &mut Service, manifest: &Manifest, known: &mut Running) {
    let restart = service.asked.remove(&Ask::Restart);
    let refresh = service.asked.remove(&Ask::Refresh);
    if manifest.duration == "transient" {
        if !service.wanted() {
            service.state = State::Disabled;
        }
    } else if members(known.session).is_empty() {
        failed(service, "all processes in the service exited");
    } else if !service.wanted() || restart {
        let exec = manifest.methods["stop"].exec.clone();
        act(&exec, known);
        known.stopping = true;
        known.since = Some(Instant::now());
        service.moves = true;
    } else if refresh && let Some(method) = manifest.methods.get("refresh") {
        act(&method.exec, known);
    }
}

/// A stop method has been run; the contract must empty itself.
fn stopped(service: &mut Service, manifest: &Manifest, known: &mut Running) {
    if !members(known.session).is_empty() {
        let limit = manifest.methods["stop"].timeout_seconds.unwrap_or(60);
        let since = known.since.map_or(Duration::ZERO, |it| it.elapsed());
        if since > Duration::from_secs(limit) {
            signal(known.session, Signal::SIGKILL);
        }
        return;
    }
    known.stopping = false;
    known.session = None;
    known.starts.clear();
    service.moves = false;
    service.state = State::Disabled;
}

fn act(exec: &str, known: &Running) {
    let Some(name) = exec.strip_prefix(":kill") else { return };
    let name = name.trim().trim_start_matches('-');
    let name = if name.is_empty() { "TERM" } else { name };
    if let Ok(it) = format!("SIG{name}").parse() {
        signal(known.session, it);
    }
}

/// Notes a start; says whether the last few came too fast after each other.
fn too_often(manifest: &Manifest, starts: &mut Vec<Instant>) -> bool {
    starts.push(Instant::now());
    let surplus = starts.len().saturating_sub(STARTS);
    starts.drain(..surplus);
    let apart = manifest.critical_seconds.map_or(APART, Duration::from_secs);
    match starts.as_slice() {
        [first, .., last] if starts.len() == STARTS => {
            last.duration_since(*first) < apart * 4
        }
        _ => false,
    }
}

fn failed(service: &mut Service, why: &str) {
    service.moves = false;
    service.state = State::Offline;
    service.reason = why.to_owned();
}

fn maintenance(service: &mut Service, why: &str) {
    service.moves = false;
    service.state = State::Maintenance;
    service.reason = why.to_owned();
}

fn signal(session: Option<i32>, signal: Signal) {
    for pid in members(session) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// The processes of a session, but for those that are dead.
fn members(session: Option<i32>) -> Vec<i32> {
    let Some(session) = session else { return Vec::new() };
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        let stat = stat.unwrap_or_default();
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let words: Vec<&str> = rest.split_whitespace().collect();
        // state ppid pgrp session
        words.first().is_some_and(|it| *it != "Z")
            && words.get(3).and_then(|it| it.parse().ok()) == Some(session)
    })
    .collect()
}
