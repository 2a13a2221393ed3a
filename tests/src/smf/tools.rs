// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The commands: SMF's own, and those of the platform that a set-up calls.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::getppid;

use super::repository::{Ask, Repository, State, with};
use super::{PATHS, PRIVILEGES, TOOLS, manifest, startd};

/// The dataset's properties lie beside the data, which a reprovision keeps.
const MOUNTPOINT: &str = "/data/.zfs-mountpoint";
/// Whether it is mounted is the root's; to the stand-in's zone it always is.
const MOUNTED: &str = "/var/run-zfs-mounted";
const LOGADM: &str = "/etc/logadm.conf";
const TIMES: &str = "/var/logadm/timestamps";
const CRONTAB: &str = "/var/spool/cron/crontabs/root";
/// How long `-s` waits.
const SYNCHRONOUS: Duration = Duration::from_secs(80);
const LOOK: Duration = Duration::from_millis(20);

/// The platform's own manifest, in a folder that the stand-in's zone lacks.
const CRON: &str = r#"<service_bundle type="manifest" name="cron">
<service name="system/cron" type="service" version="1">
<create_default_instance enabled="false"/>
<dependency name="fs" grouping="require_all" restart_on="none" type="service">
<service_fmri value="svc:/system/filesystem/local"/></dependency>
<exec_method type="method" name="start" exec="sleep 100000 &amp;"
    timeout_seconds="60"/>
<exec_method type="method" name="stop" exec=":kill" timeout_seconds="60"/>
</service></service_bundle>"#;

/// Plays `name`, if it is one of SMF's tools; the exit code.
pub(crate) fn run(name: &str, args: &[String]) -> Option<u8> {
    if !TOOLS.contains(&name) {
        return None;
    }
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let changes = !matches!(
        (name, words.as_slice()),
        ("svcs" | "svc.startd" | "uname", _)
            | ("zfs", ["get", ..])
            | ("crontab", ["-l"])
    );
    let done = match changes {
        true => count(name, &words).and_then(|()| play(name, &words)),
        false => play(name, &words),
    };
    Some(match done {
        Ok(text) => {
            print!("{text}");
            0
        }
        Err(error) => {
            eprintln!("{name}: {error}");
            1
        }
    })
}

/// Notes the call; kills the caller before one that was named.
fn count(name: &str, words: &[&str]) -> Result<(), String> {
    let text = |e: io::Error| e.to_string();
    let before = fs::read_to_string(PATHS.calls).unwrap_or_default();
    let number = before.lines().count() + 1;
    let mut calls = OpenOptions::new();
    let calls = calls.create(true).append(true).open(PATHS.calls);
    let line = format!("{name} {}\n", words.join(" "));
    calls.map_err(text)?.write_all(line.as_bytes()).map_err(text)?;
    let at = fs::read_to_string(PATHS.kill_at).unwrap_or_default();
    if at.trim() == number.to_string() {
        kill(getppid(), Signal::SIGKILL).map_err(|e| e.to_string())?;
        return Err("the caller is gone".to_owned());
    }
    Ok(())
}

fn play(name: &str, words: &[&str]) -> Result<String, String> {
    let text = |e: io::Error| e.to_string();
    match (name, words) {
        ("svc.startd", []) => {
            startd::run().map_err(text).map(|()| String::new())
        }
        ("uname", ["-s"]) => Ok("SunOS\n".to_owned()),
        ("svccfg", ["import", file]) => import(file),
        ("svcadm", [verb, rest @ ..]) => svcadm(verb, rest),
        ("svcs", ["-Ho", "state,nstate", word]) => with(|repository| {
            let fmri = repository.resolve(word);
            let fmri = fmri.ok_or(format!("Pattern '{word}' doesn't match"))?;
            let service = &repository.services[&fmri];
            let state = format!("{:?}", service.state).to_lowercase();
            let next = if service.moves { "online" } else { "-" };
            Ok(format!("{state} {next}\n"))
        })
        .map_err(text)?,
        ("zfs", words) => zfs(words),
        ("logadm", words) => logadm(words).map_err(text)?,
        ("crontab", words) => crontab(words),
        ("groupadd", [group]) => {
            add("/etc/group", group, &format!("{group}:x:60001:\n"))
        }
        ("useradd", [.., user]) => {
            // passmgmt writes what useradd has as defaults there.
            let attributes = fs::metadata("/etc/user_attr");
            attributes.map_err(|e| format!("/etc/user_attr: {e}"))?;
            let line = format!("{user}:x:60001:60001::/:/usr/bin/false\n");
            add("/etc/passwd", user, &line)
        }
        _ => Err(format!("unknown: {}", words.join(" "))),
    }
}

fn import(file: &str) -> Result<String, String> {
    privileged()?;
    let own = "/lib/svc/manifest/system/cron.xml";
    let text = match file == own {
        true => CRON.to_owned(),
        false => {
            fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?
        }
    };
    let read = manifest::parse(&text).map_err(|e| format!("{file}: {e}"))?;
    with(|repository| repository.import(read)).map_err(|e| e.to_string())??;
    Ok(String::new())
}

/// svc.configd wants all of the zone's privileges, or an authorization.
fn privileged() -> Result<(), String> {
    let users = fs::read_to_string("/etc/user_attr").unwrap_or_default();
    let root = users.lines().find(|it| it.starts_with("root:"));
    let authorized = root.is_some_and(|it| it.contains("auths=solaris.*"));
    match std::env::var(PRIVILEGES) {
        Ok(set) if set != "zone" && !authorized => {
            Err("Permission denied.".to_owned())
        }
        _ => Ok(()),
    }
}

fn svcadm(verb: &str, rest: &[&str]) -> Result<String, String> {
    privileged()?;
    let [flags @ .., word] = rest else { return Err("no service".to_owned()) };
    let flags: String = flags
        .iter()
        .flat_map(|it| it.trim_start_matches('-').chars())
        .collect();
    if !flags.chars().all(|it| "st".contains(it)) {
        return Err(format!("unknown: -{flags}"));
    }
    let fmri = with(|repository| ask(repository, verb, &flags, word))
        .map_err(|e| e.to_string())??;
    if !flags.contains('s') {
        return Ok(String::new());
    }
    let deadline = Instant::now() + SYNCHRONOUS;
    while Instant::now() < deadline {
        let seen = with(|repository| {
            let service = &repository.services[&fmri];
            let wanted = match verb {
                "enable" => State::Online,
                _ => State::Disabled,
            };
            if service.state == wanted && !service.moves {
                return Ok(true);
            }
            match verb == "enable" {
                true => repository.hopeless(&fmri).map_or(Ok(false), Err),
                false => Ok(false),
            }
        });
        if seen.map_err(|e| e.to_string())?? {
            return Ok(String::new());
        }
        thread::sleep(LOOK);
    }
    Err(format!("{fmri} takes too long to {verb}"))
}

fn ask(
    repository: &mut Repository,
    verb: &str,
    flags: &str,
    word: &str,
) -> Result<String, String> {
    let fmri = repository.resolve(word);
    let fmri = fmri.ok_or(format!("Pattern '{word}' doesn't match"))?;
    let service = repository.services.get_mut(&fmri);
    let service = service.ok_or("it is there")?;
    match verb {
        "enable" | "disable" if flags.contains('t') => {
            service.temporarily = Some(verb == "enable");
        }
        "enable" | "disable" => {
            service.temporarily = None;
            service.enabled = verb == "enable";
        }
        "clear" if service.state != State::Maintenance => {
            return Err(format!("{fmri} is not in a maintenance state"));
        }
        "clear" => _ = service.asked.insert(Ask::Clear),
        "restart" => _ = service.asked.insert(Ask::Restart),
        "refresh" => _ = service.asked.insert(Ask::Refresh),
        _ => return Err(format!("unknown: {verb}")),
    }
    Ok(fmri)
}

fn zfs(words: &[&str]) -> Result<String, String> {
    let text = |e: io::Error| e.to_string();
    let uuid = nix::unistd::gethostname().map_err(|e| e.to_string())?;
    let own = format!("zones/{}/data", uuid.display());
    let home =
        || fs::read_to_string(MOUNTPOINT).unwrap_or_else(|_| format!("/{own}"));
    match words {
        ["get", "-Hpo", "value", properties, dataset] if *dataset == own => {
            let of = |property: &str| match property {
                "mountpoint" => Ok(home() + "\n"),
                "mounted" if Path::new(MOUNTED).exists() => Ok("yes\n".into()),
                "mounted" => Ok("no\n".to_owned()),
                other => Err(format!("no property {other}")),
            };
            properties.split(',').map(of).collect()
        }
        ["set", to, dataset] if *dataset == own => {
            let to = to.strip_prefix("mountpoint=").ok_or("no mountpoint")?;
            fs::write(MOUNTPOINT, to).map_err(text)?;
            Ok(String::new())
        }
        ["mount", "-a"] => {
            if home() == "/data" {
                fs::write(MOUNTED, "").map_err(text)?;
            }
            Ok(String::new())
        }
        ["get" | "set", .., other] => {
            Err(format!("cannot open '{other}': dataset does not exist"))
        }
        _ => Err(format!("unknown: {}", words.join(" "))),
    }
}

/// An entry is a line that begins with its name; `-w` puts it in the place of
/// one of that name.
///
/// Makes neither its files nor their folders: logadm/conf.c of illumos.
fn logadm(words: &[&str]) -> io::Result<Result<String, String>> {
    let now = match fs::read_to_string(LOGADM) {
        Ok(now) => now,
        Err(error) => return Ok(Err(format!("open {LOGADM}: {error}"))),
    };
    let times = OpenOptions::new().create(true).append(true).open(TIMES);
    if let Err(error) = times {
        return Ok(Err(format!("open {TIMES}: {error}")));
    }
    let others = |name: &str| -> String {
        let is_other = |line: &&str| line.split(' ').next() != Some(name);
        now.lines().filter(is_other).flat_map(|it| [it, "\n"]).collect()
    };
    let new = match words {
        ["-r", name] => others(name),
        ["-w", name, rest @ ..] => {
            format!("{}{name} {}\n", others(name), rest.join(" "))
        }
        _ => return Ok(Err(format!("unknown: {}", words.join(" ")))),
    };
    put(Path::new(LOGADM), &new)?;
    Ok(Ok(String::new()))
}

/// Who may, by cron.deny or an authorization; whom PAM knows nothing of, may
/// not. Makes no folder: crontab.c and permit.c of illumos.
fn crontab(words: &[&str]) -> Result<String, String> {
    let denied = fs::read_to_string("/etc/cron.d/cron.deny");
    let users = fs::read_to_string("/etc/user_attr").unwrap_or_default();
    let allowed = match denied {
        Ok(names) => !names.lines().any(|name| name == "root"),
        Err(_) => users.lines().any(|it| it.contains("solaris.*")),
    };
    if !allowed {
        return Err("you are not authorized to use cron.  Sorry.".to_owned());
    }
    let pam = fs::read_to_string("/etc/pam.conf").unwrap_or_default();
    let knows = |line: &str| {
        let mut words = line.split_whitespace();
        let service = words.next();
        matches!(service, Some("cron" | "other"))
            && words.next() == Some("account")
    };
    if !pam.lines().any(knows) {
        return Err("System error".to_owned());
    }
    let open = |_| "can't open your crontab file.".to_owned();
    let create = |_| {
        "can't create your crontab file in the crontab directory.".to_owned()
    };
    match words {
        ["-l"] => fs::read_to_string(CRONTAB).map_err(open),
        [file] => {
            let table = fs::read_to_string(file).map_err(open)?;
            fs::write(CRONTAB, table).map_err(create)?;
            Ok(String::new())
        }
        _ => Err("proper usage is: crontab [file | -e | -l | -r ]".to_owned()),
    }
}

fn add(file: &str, name: &str, line: &str) -> Result<String, String> {
    let now = fs::read_to_string(file).map_err(|e| e.to_string())?;
    if now.lines().any(|it| it.split(':').next() == Some(name)) {
        return Err(format!("{name} is there already"));
    }
    put(Path::new(file), &(now + line)).map_err(|e| e.to_string())?;
    Ok(String::new())
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}
