// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A SmartOS zone: SMF and the platform's own tools.

use super::{
    Action, DaemonState, Exec, Finished, Host, HostFuture, mdata_get, run,
    succeed, zone_name,
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
/// `svcadm restart` returns before anything happened, and whoever looks then
/// sees the old process: a restart is a temporary disable and an enable, both
/// of which wait (`-s`).
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
            for argv in argv(&fmri(daemon), action) {
                let words: Vec<&str> =
                    argv.iter().map(String::as_str).collect();
                succeed(&words).await?;
            }
            Ok(())
        })
    }

    fn state<'a>(&'a self, daemon: &'a str) -> HostFuture<'a, DaemonState> {
        Box::pin(async move {
            let fmri = fmri(daemon);
            let argv = ["svcs", "-Ho", "state,nstate", &fmri];
            let exec = Exec::new(&argv, super::CONTROL_TIMEOUT);
            let finished = run(&exec).await?;
            if finished.success() {
                return Ok(state(&finished.stdout));
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
