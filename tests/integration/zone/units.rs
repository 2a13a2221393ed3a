// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The supervisor as daemons and `systemctl` meet it.

use std::time::Duration;

use localdc::zone::{Network, Restart, UnitSpec, Zone};
use nix::sys::signal::Signal;

use super::{
    COUNTER, as_prometheus, eventually, logged, program, prometheus, sh, shell,
    spec,
};

#[tokio::test]
async fn systemctl_reloads_restarts_and_stops() {
    let network = Network::create("units").unwrap();
    let mut spec = spec();
    let mut idle = shell("idle", "exec sleep 600");
    (idle.enabled, idle.reloads) = (false, false);
    spec.units = vec![shell("counter.service", COUNTER), idle];
    let zone = Zone::boot(program(), &network, spec).await.unwrap();
    logged(&zone, "counter", "up").await;
    let pid = zone.pid_of("counter").await.unwrap().unwrap();

    let active = sh(&zone, "systemctl is-active counter.service").await;
    assert_eq!((active.code, active.stdout.trim()), (Some(0), "active"));
    assert!(sh(&zone, "systemctl reload counter").await.success());
    logged(&zone, "counter", "hup 1").await;
    zone.reload_unit("counter").await.unwrap();
    logged(&zone, "counter", "hup 2").await;
    let show = "systemctl show -p MainPID --value counter.service";
    assert_eq!(sh(&zone, show).await.stdout.trim(), pid.to_string());

    let restarted = sh(&zone, "systemctl restart counter").await;
    assert!(restarted.success(), "{}", restarted.stderr);
    let now = zone.pid_of("counter").await.unwrap();
    assert!(now.is_some() && now != Some(pid), "{now:?} after {pid}");
    assert!(sh(&zone, "systemctl stop counter").await.success());
    let state =
        "systemctl show counter -p MainPID,ActiveState,SubState --value";
    assert_eq!(sh(&zone, state).await.stdout, "inactive\ndead\n0\n");

    let idle = sh(&zone, "systemctl is-active idle").await;
    assert_eq!((idle.code, idle.stdout.trim()), (Some(3), "inactive"));
    assert_eq!(sh(&zone, "systemctl is-enabled idle").await.code, Some(1));
    assert!(sh(&zone, "systemctl enable --now idle").await.success());
    assert_eq!(sh(&zone, "systemctl is-enabled idle").await.code, Some(0));
    assert!(zone.pid_of("idle").await.unwrap().is_some());
    assert_eq!(sh(&zone, "systemctl reload idle").await.code, Some(1));
    let either = sh(&zone, "systemctl reload-or-restart idle").await;
    assert!(either.success(), "{}", either.stderr);
}

#[tokio::test]
async fn systemctl_knows_its_exit_codes() {
    let network = Network::create("codes").unwrap();
    let mut spec = spec();
    let mut missing = UnitSpec::new("missing", ["/opt/no/such/program"]);
    (missing.enabled, missing.restart) = (false, Restart::No);
    spec.units = vec![missing, shell("idle", "exec sleep 600")];
    spec.users = vec![prometheus()];
    let zone = Zone::boot(program(), &network, spec).await.unwrap();
    for (command, code, said) in [
        ("is-active none", 3, "inactive"),
        ("is-failed none", 1, "inactive"),
        ("is-enabled none", 1, ""),
        ("start none", 5, ""),
        ("stop none", 5, ""),
        ("reload none", 5, ""),
        ("enable none", 1, ""),
        ("status none", 4, ""),
        ("show none -p LoadState --value", 0, "not-found"),
        ("start missing", 1, ""),
        ("is-failed missing", 0, "failed"),
        ("show missing -p ExecMainStatus", 0, "ExecMainStatus=203"),
        ("reset-failed missing", 0, ""),
        ("is-active missing", 3, "inactive"),
        ("daemon-reload", 0, ""),
        ("frobnicate idle", 1, ""),
    ] {
        for systemctl in ["systemctl", "/usr/bin/systemctl"] {
            let line = format!("{systemctl} {command}");
            let answer = sh(&zone, &line).await;
            assert_eq!(answer.code, Some(code), "{line}: {answer:?}");
            assert_eq!(answer.stdout.trim(), said, "{line}: {answer:?}");
        }
    }
    let refused = as_prometheus(&zone, "systemctl stop idle").await;
    assert_eq!(refused.code, Some(4), "{refused:?}");
    let asked = as_prometheus(&zone, "systemctl is-active idle").await;
    assert_eq!(asked.stdout, "active\n");
}

#[tokio::test]
async fn crash_restarts_until_it_is_too_often() {
    let network = Network::create("crash").unwrap();
    let mut spec = spec();
    let mut crasher = shell("crasher", "echo run; exit 3");
    crasher.enabled = false;
    crasher.restart_delay = Duration::from_millis(10);
    crasher.start_interval = Duration::from_secs(600);
    spec.units = vec![shell("counter", COUNTER), crasher];
    let zone = Zone::boot(program(), &network, spec).await.unwrap();
    logged(&zone, "counter", "up").await;
    let pid = zone.pid_of("counter").await.unwrap();
    zone.kill("counter", Signal::SIGKILL).await.unwrap();
    eventually("another pid", async || {
        let now = zone.pid_of("counter").await.unwrap();
        (now.is_some() && now != pid).then_some(())
    })
    .await;
    assert_eq!(zone.unit("counter").await.unwrap().restarts, 1);

    zone.start_unit("crasher").await.unwrap();
    let view = eventually("failed", async || {
        let view = zone.unit("crasher").await.unwrap();
        (view.active_state == "failed").then_some(view)
    })
    .await;
    assert_eq!(view.result, "start-limit-hit");
    assert_eq!(view.exec_main_status, 3);
    assert_eq!(zone.log_of("crasher").unwrap(), "run\n".repeat(5));
    let refused = sh(&zone, "systemctl start crasher").await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("too often"), "{}", refused.stderr);
    assert!(sh(&zone, "systemctl reset-failed crasher").await.success());
    zone.start_unit("crasher").await.unwrap();
}

#[tokio::test]
async fn stop_ends_what_a_daemon_left_behind() {
    let network = Network::create("group").unwrap();
    let mut spec = spec();
    let mut stubborn = shell("stubborn", "trap '' TERM; echo up; sleep 601");
    stubborn.stop_timeout = Duration::from_millis(100);
    spec.units = vec![stubborn, shell("parent", "sleep 602 & echo up; wait")];
    let zone = Zone::boot(program(), &network, spec).await.unwrap();
    for unit in ["stubborn", "parent"] {
        logged(&zone, unit, "up").await;
        zone.stop_unit(unit).await.unwrap();
    }
    assert_eq!(zone.unit("stubborn").await.unwrap().result, "timeout");
    let left = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 60'";
    let left = eventually("an end of both", async || {
        let left = sh(&zone, left).await.stdout;
        // The asking shell has the words in its own command line.
        (left.trim() == "1").then_some(left)
    })
    .await;
    assert_eq!(left, "1\n");
}
