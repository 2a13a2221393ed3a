// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! An LX zone: systemd, and the platform's tools under `/native`.

use super::{
    Action, DaemonState, Exec, Finished, Host, HostFuture, mdata_get, run,
    succeed, zone_name,
};

/// A zone of brand `lx`.
#[derive(Clone, Copy, Debug)]
pub struct Lx;

/// The command line that does `action`.
fn argv(daemon: &str, action: Action) -> Vec<String> {
    let unit = format!("{daemon}.service");
    let words: &[&str] = match action {
        Action::Enable => &["systemctl", "enable", "--now"],
        Action::Disable => &["systemctl", "disable", "--now"],
        Action::Refresh => &["systemctl", "reload"],
        Action::Restart => &["systemctl", "restart"],
        Action::Clear => &["systemctl", "reset-failed"],
    };
    words.iter().map(|w| (*w).to_owned()).chain([unit]).collect()
}

/// Reads `systemctl show -p LoadState,ActiveState,UnitFileState,Job`.
///
/// A unit that is enabled but idle, with no job waiting for it, was stopped by
/// hand: systemd starts those it is to start by a job, and ours start again
/// whenever they end. It counts as disabled, as `svcadm disable -t` does.
fn state(output: &str) -> DaemonState {
    let property = |name: &str| {
        output.lines().find_map(|line| {
            line.strip_prefix(name).and_then(|rest| rest.strip_prefix('='))
        })
    };
    if property("LoadState") == Some("not-found") {
        return DaemonState::Absent;
    }
    // systemctl leaves the line out where there is no job.
    let waits = property("Job").is_some_and(|job| !job.is_empty());
    match property("ActiveState") {
        Some("active" | "reloading") => DaemonState::Online,
        Some("failed") => DaemonState::Maintenance,
        Some("activating" | "deactivating") => DaemonState::Offline,
        Some("inactive") => match property("UnitFileState") {
            Some("enabled") if waits => DaemonState::Offline,
            _ => DaemonState::Disabled,
        },
        _ => DaemonState::Absent,
    }
}

impl Host for Lx {
    fn control<'a>(
        &'a self,
        daemon: &'a str,
        action: Action,
    ) -> HostFuture<'a, ()> {
        Box::pin(async move {
            let argv = argv(daemon, action);
            let words: Vec<&str> = argv.iter().map(String::as_str).collect();
            succeed(&words).await.map(drop)
        })
    }

    fn state<'a>(&'a self, daemon: &'a str) -> HostFuture<'a, DaemonState> {
        Box::pin(async move {
            let unit = format!("{daemon}.service");
            let output = succeed(&[
                "systemctl",
                "show",
                "-p",
                "LoadState,ActiveState,UnitFileState,Job",
                &unit,
            ])
            .await?;
            Ok(state(&output))
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
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_from_systemctl_show() {
        for (load, active, file, job, want) in [
            ("loaded", "active", "enabled", "", DaemonState::Online),
            ("loaded", "inactive", "disabled", "", DaemonState::Disabled),
            ("loaded", "inactive", "enabled", "Job=7", DaemonState::Offline),
            ("loaded", "inactive", "enabled", "Job=", DaemonState::Disabled),
            ("loaded", "inactive", "enabled", "", DaemonState::Disabled),
            ("loaded", "failed", "enabled", "", DaemonState::Maintenance),
            ("loaded", "activating", "enabled", "", DaemonState::Offline),
            ("not-found", "inactive", "", "", DaemonState::Absent),
        ] {
            let output = format!(
                "LoadState={load}\nActiveState={active}\n\
                 UnitFileState={file}\n{job}\n"
            );
            assert_eq!(state(&output), want, "{output}");
        }
    }
}
