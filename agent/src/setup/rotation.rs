// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! How logs of a native zone are rotated: logadm's entries and root's crontab.
//! Plain data in, steps out.
//!
//! Source: the boot libraries of Triton's and Manta's zones for the form of
//! logadm entries.

use std::path::Path;

use super::plan::{AGENT, COMMAND, may_fail, run, services, step, upload};
use super::{Act, Facts, HOMES, Step};
use crate::model::Flavor;

/// MiB that copies of logs may take in all, beside 64 MiB of each log itself.
pub(super) const LOGS: usize = 1024;

/// The hourly look at the logs, as in every core zone.
const ROTATE: &str =
    "0 * * * * /usr/sbin/logadm -v >> /var/log/logadm.log 2>&1";
const ROTATE_LOG: &str = ">> /var/log/logadm.log 2>&1";

/// In between, logs that are large, whenever their last rotation was.
const ROTATE_LARGE: &str =
    "10,20,30,40,50 * * * * /usr/sbin/logadm -p now -s 64m";

/// Hourly into the folder that is shipped, under names that say which zone
/// and when. Each flavor's collector has its own idea of both. What grows
/// faster than that is looked at in between by size; in a Manta zone the
/// later of two copies within an hour replaces the earlier.
///
/// A zone without log rotation beats none: each step may fail, and is told.
pub(super) fn rotation(facts: &Facts, steps: &mut Vec<Step>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crontab_keeps_what_is_not_ours_and_settles() {
        let now = "5 * * * * /opt/own\n10 3 * * * /usr/sbin/logadm\n";
        let once = crontab(now, &["a", "b"]);
        let ours = format!("{ROTATE}\n{ROTATE_LARGE} a b {ROTATE_LOG}\n");
        assert_eq!(once, format!("5 * * * * /opt/own\n{ours}"));
        assert_eq!(crontab(&once, &["a", "b"]), once);
    }
}
