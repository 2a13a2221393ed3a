// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A SmartOS zone: SMF and the platform's own tools.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{
    Action, DaemonState, Exec, Finished, Host, HostError, HostFuture,
    mdata_get, run, succeed, zone_name,
};

/// A `joyent-minimal` zone.
#[derive(Clone, Copy, Debug)]
pub struct SmartOs;

/// Services of ours hang below this; see `smf/smartos/`.
fn fmri(daemon: &str) -> String {
    format!("svc:/triton/application/{daemon}:default")
}

/// The command lines that do `action`, in order.
///
/// `svcadm restart` returns before anything happened, has no `-s`, and whoever
/// looks then sees the old process: a restart is a temporary disable and an
/// enable, both of which wait. See [`mark`] for one that is cut off between.
fn argv(fmri: &str, action: Action) -> Vec<Vec<String>> {
    let lines: &[&[&str]] = match action {
        Action::Enable => &[&["svcadm", "enable", "-s"]],
        Action::Disable => &[&["svcadm", "disable", "-s"]],
        Action::Refresh => &[&["svcadm", "refresh"]],
        Action::Restart => {
            &[&["svcadm", "disable", "-st"], &["svcadm", "enable", "-s"]]
        }
        Action::Clear => &[&["svcadm", "clear"]],
    };
    let line = |words: &&[&str]| {
        words.iter().chain([&fmri]).map(|w| (*w).to_owned()).collect()
    };
    lines.iter().map(line).collect()
}

/// Where a restart leaves word of itself while it is under way, so that a
/// daemon which is off because we were killed is not taken for one that an
/// operator stopped. Gone at a reboot (tmpfs), as is the temporary disable.
const RUN: &str = "/var/run/config-agent";

fn mark(run: &Path, daemon: &str) -> PathBuf {
    run.join(format!("restart.{daemon}"))
}

/// Notes that a restart begins; that any other action, or its end, settles it.
fn note(run: &Path, daemon: &str, restarts: bool) -> io::Result<()> {
    let mark = mark(run, daemon);
    if restarts {
        fs::create_dir_all(run)?;
        return fs::write(mark, "");
    }
    match fs::remove_file(mark) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// A daemon that is off in the middle of a restart is on its way up.
fn unless_restarting(
    run: &Path,
    daemon: &str,
    state: DaemonState,
) -> DaemonState {
    match state {
        DaemonState::Disabled if mark(run, daemon).exists() => {
            DaemonState::Offline
        }
        state => state,
    }
}

/// Reads `svcs -Ho state,nstate FMRI`.
fn state(output: &str) -> DaemonState {
    let mut words = output.split_whitespace();
    match (words.next(), words.next()) {
        // A next state means that it is on its way there.
        (Some(_), Some(next)) if next != "-" => DaemonState::Offline,
        (Some("online" | "degraded" | "legacy_run"), _) => DaemonState::Online,
        (Some("maintenance"), _) => DaemonState::Maintenance,
        (Some("disabled"), _) => DaemonState::Disabled,
        (Some(_), _) => DaemonState::Offline,
        (None, _) => DaemonState::Absent,
    }
}

impl Host for SmartOs {
    fn control<'a>(
        &'a self,
        daemon: &'a str,
        action: Action,
    ) -> HostFuture<'a, ()> {
        Box::pin(async move {
            let run = Path::new(RUN);
            let noted = |restarts| {
                let noted = note(run, daemon, restarts);
                noted.map_err(|source| HostError::Note { source })
            };
            if action == Action::Restart {
                noted(true)?;
            }
            for argv in argv(&fmri(daemon), action) {
                let words: Vec<&str> =
                    argv.iter().map(String::as_str).collect();
                succeed(&words).await?;
            }
            match action {
                Action::Enable | Action::Disable | Action::Restart => {
                    noted(false)
                }
                Action::Refresh | Action::Clear => Ok(()),
            }
        })
    }

    fn state<'a>(&'a self, daemon: &'a str) -> HostFuture<'a, DaemonState> {
        Box::pin(async move {
            let fmri = fmri(daemon);
            let argv = ["svcs", "-Ho", "state,nstate", &fmri];
            let exec = Exec::new(&argv, super::CONTROL_TIMEOUT);
            let finished = run(&exec).await?;
            if finished.success() {
                let state = state(&finished.stdout);
                return Ok(unless_restarting(Path::new(RUN), daemon, state));
            }
            // svcs fails for a pattern that matches nothing.
            Ok(DaemonState::Absent)
        })
    }

    fn mdata<'a>(&'a self, key: &'a str) -> HostFuture<'a, Option<String>> {
        Box::pin(mdata_get(key))
    }

    fn zonename(&self) -> HostFuture<'_, String> {
        Box::pin(zone_name())
    }

    fn run<'a>(&'a self, exec: &'a Exec) -> HostFuture<'a, Finished> {
        Box::pin(run(exec))
    }

    fn is_linux(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_become_svcadm() {
        let fmri = fmri("prometheus");
        assert_eq!(
            argv(&fmri, Action::Enable)[0].join(" "),
            "svcadm enable -s svc:/triton/application/prometheus:default"
        );
        assert_eq!(argv(&fmri, Action::Clear)[0][1], "clear");
        assert_eq!(argv(&fmri, Action::Restart).len(), 2);
    }

    #[test]
    fn a_restart_that_was_cut_off_is_told_from_an_operators_stop() {
        let run = tempfile::tempdir().unwrap();
        let run = run.path().join("config-agent");
        let seen = |state| unless_restarting(&run, "prometheus", state);
        assert_eq!(seen(DaemonState::Disabled), DaemonState::Disabled);
        note(&run, "prometheus", true).unwrap();
        assert_eq!(seen(DaemonState::Disabled), DaemonState::Offline);
        assert_eq!(seen(DaemonState::Maintenance), DaemonState::Maintenance);
        let other = unless_restarting(&run, "x", DaemonState::Disabled);
        assert_eq!(other, DaemonState::Disabled);
        note(&run, "prometheus", false).unwrap();
        note(&run, "prometheus", false).unwrap();
        assert_eq!(seen(DaemonState::Disabled), DaemonState::Disabled);
    }

    #[test]
    fn states_are_read_from_svcs() {
        for (output, want) in [
            ("online         -\n", DaemonState::Online),
            ("offline        -\n", DaemonState::Offline),
            ("disabled       -\n", DaemonState::Disabled),
            ("maintenance    -\n", DaemonState::Maintenance),
            ("online         offline\n", DaemonState::Offline),
            ("", DaemonState::Absent),
        ] {
            assert_eq!(state(output), want, "{output:?}");
        }
    }
}
