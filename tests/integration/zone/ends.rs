// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Nothing of a zone outlives its owner, whatever ends it.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use localdc::zone::{Bind, Network, Zone, ZoneError, sweep_stale};

use super::{eventually, logged, program, sh, shell, spec};

#[tokio::test]
async fn boot_that_fails_says_why_and_leaves_nothing() {
    let network = Network::create("fails").unwrap();
    let mut bad = spec();
    bad.binds = vec![Bind::read_only(Path::new("/no/such"), "/opt/x")];
    let failed = Zone::boot(program(), &network, bad).await;
    let Err(ZoneError::Boot { zone, reason }) = failed else {
        panic!("booted: {failed:?}");
    };
    assert_eq!(zone, "prometheus0");
    assert!(reason.contains("/no/such"), "{reason}");
    assert!(reason.contains("No such file"), "{reason}");
    // The name, the address and the folder are free again.
    let zone = Zone::boot(program(), &network, spec()).await.unwrap();
    let again = Zone::boot(program(), &network, spec()).await;
    assert!(again.is_err(), "two zones of one name: {again:?}");
    assert!(sh(&zone, "true").await.success());
}

#[tokio::test]
async fn drop_ends_everything() {
    let network = Network::create("drop").unwrap();
    let mut spec = spec();
    // Out of its group and orphaned, yet of the zone.
    let runaway = "setsid sleep 600 & setsid sleep 600 & echo up; sleep 600";
    spec.units = vec![shell("runaway", runaway)];
    let zone = Zone::boot(program(), &network, spec).await.unwrap();
    logged(&zone, "runaway", "up").await;
    let spaces = namespaces(zone.init_pid().unwrap());
    let folder = zone.root_folder().ancestors().nth(2).unwrap().to_owned();
    assert!(inhabitants(&spaces).len() >= 4, "{:?}", inhabitants(&spaces));
    drop(zone);
    assert_eq!(inhabitants(&spaces), Vec::<PathBuf>::new());
    drop(network);
    assert!(!folder.exists(), "{} is left", folder.display());
}

#[tokio::test]
async fn parent_killed_leaves_nothing_but_a_folder_to_sweep() {
    let data = tempfile::tempdir().unwrap();
    let mut parent = hold(data.path());
    let mut line = String::new();
    let stdout = parent.0.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let (pid, root) = line.trim().split_once(' ').unwrap();
    let spaces = namespaces(pid.parse().unwrap());
    assert!(inhabitants(&spaces).len() >= 2);
    let folder = Path::new(root).ancestors().nth(2).unwrap();
    assert!(folder.exists());

    // Neither a living owner's folder nor anything else is swept.
    let swept = sweep_stale().unwrap();
    assert!(!swept.iter().any(|path| path == folder), "{swept:?}");
    parent.0.kill().unwrap();
    parent.0.wait().unwrap();
    eventually("an empty zone", async || {
        inhabitants(&spaces).is_empty().then_some(())
    })
    .await;
    // Another test's network may be about to sweep it.
    eventually("no folder", async || {
        sweep_stale().unwrap();
        (!folder.exists()).then_some(())
    })
    .await;
    assert!(data.path().exists(), "the delegate dataset was swept");
}

/// Its pid and network namespaces, as /proc names them.
fn namespaces(pid: i32) -> [Space; 2] {
    ["pid_for_children", "net"].map(|kind| {
        let path = format!("/proc/{pid}/ns/{kind}");
        let held = fs::File::open(&path).unwrap();
        Space { name: fs::read_link(&path).unwrap(), _held: held }
    })
}

/// A namespace, held: its number is given to no other one meanwhile.
struct Space {
    name: PathBuf,
    _held: fs::File,
}

/// Processes that live in one of the namespaces.
fn inhabitants(spaces: &[Space]) -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lives_in = |path: &PathBuf| {
        ["ns/pid", "ns/net"].iter().any(|kind| {
            let space = fs::read_link(path.join(kind));
            let ours = |name| spaces.iter().any(|space| space.name == name);
            space.is_ok_and(ours)
        })
    };
    processes.map(|entry| entry.path()).filter(lives_in).collect()
}

/// Ends the process with the test, also after a panic.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "a parent to be killed")]
fn hold(data: &Path) -> Reaped {
    let child = Command::new(program())
        .arg("zone-hold")
        .arg(data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    Reaped(child.unwrap())
}

#[tokio::test]
async fn parent_killed_at_any_moment_of_a_boot_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let mark = data.path().to_str().unwrap();
    for round in 0..15 {
        let mut parent = hold(data.path());
        let pid = parent.0.id();
        // From before the first step to after the last, in even strides.
        tokio::time::sleep(Duration::from_millis(round * 6)).await;
        parent.0.kill().unwrap();
        parent.0.wait().unwrap();
        eventually("no process with the zone's mounts", async || {
            holders(mark).is_empty().then_some(())
        })
        .await;
        // Another sweeper, or a process on its last way, may interfere.
        let ours = format!("tm-{pid}-");
        eventually("no folder", async || {
            sweep_stale().unwrap();
            let left = fs::read_dir(std::env::temp_dir()).unwrap().flatten();
            let mut names = left.map(|entry| entry.file_name());
            let is_ours =
                |name: OsString| name.to_string_lossy().starts_with(&ours);
            (!names.any(is_ours)).then_some(())
        })
        .await;
    }
}

/// Processes that see a mount of `path`.
fn holders(path: &str) -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let sees = |process: &PathBuf| {
        let mounts = fs::read_to_string(process.join("mountinfo"));
        mounts.is_ok_and(|mounts| mounts.contains(path))
    };
    processes.map(|entry| entry.path()).filter(sees).collect()
}
