// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The platform's tools as shell scripts. `systemctl` keeps one daemon a
//! name in files: `units/NAME.start` is the shell text that starts it,
//! `units/NAME.pid` the process it made, `units/NAME.reload` what a reload
//! does, SIGHUP if there is none.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

const ZONENAME: &str = "cat \"$B/mdata/sdc:uuid\"";

const MDATA_GET: &str = r#"
[ -f "$B/mdata/$1" ] || { echo "No metadata for '$1'" >&2; exit 1; }
cat "$B/mdata/$1"; echo"#;

/// Units that nobody wrote a start for are unknown, as with systemd.
const SYSTEMCTL: &str = r#"
echo "$*" >>"$B/systemctl.log"
for last; do :; done
unit=$B/units/${last%.service}
[ -f "$unit.start" ] || {
  [ "$1" = show ] && { echo LoadState=not-found; exit 0; }
  echo "Unit $last not found." >&2; exit 5; }
runs() {
  [ -f "$unit.pid" ] &&
    grep -qs '^State:.[^ZX]' "/proc/$(cat "$unit.pid")/status"
}
start() {
  runs && return
  sh "$unit.start" </dev/null >>"$unit.log" 2>&1 &
  echo $! >"$unit.pid"
}
stop() {
  runs || return 0
  kill "$(cat "$unit.pid")"
  while runs; do sleep 0.02; done
}
case $1 in
show)
  echo LoadState=loaded
  echo UnitFileState=enabled
  if runs; then echo ActiveState=active
  elif [ -f "$unit.pid" ]; then echo ActiveState=failed
  else echo ActiveState=inactive; fi ;;
enable) start ;;
restart) stop; start ;;
reload) runs || exit 1
  if [ -f "$unit.reload" ]; then sh "$unit.reload" </dev/null >>"$unit.log" 2>&1
  else kill -HUP "$(cat "$unit.pid")"; fi ;;
reset-failed) rm -f "$unit.pid" ;;
*) echo "Unknown command verb $1." >&2; exit 1 ;;
esac"#;

/// Writes the platform's tools into the bench.
pub(super) fn install(folder: &Path) {
    tool(folder, "zonename", ZONENAME);
    tool(folder, "mdata-get", MDATA_GET);
    tool(folder, "systemctl", SYSTEMCTL);
}

/// Writes one tool; `$B` in `body` is the bench's folder.
pub(super) fn tool(folder: &Path, name: &str, body: &str) {
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).expect("the bench can be written");
    let path = bin.join(name);
    let text = format!("#!/bin/sh\nB='{}'\n{body}\n", folder.display());
    fs::write(&path, text).expect("the bench can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .expect("the bench can be written");
}

/// Copies the repository's templates; whatever listens on a fixed loopback
/// address there listens on `address` here.
pub(super) fn copy_templates(to: &Path, address: Ipv4Addr) {
    let from = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../templates"));
    for set in ["alertmanager", "grafana", "prometheus", "resolver", "thanos"] {
        copy_folder(&from.join(set), &to.join(set), address);
    }
}

fn copy_folder(from: &Path, to: &Path, address: Ipv4Addr) {
    fs::create_dir_all(to).expect("the bench can be written");
    let files = fs::read_dir(from).expect("the repository has templates");
    for file in files {
        let path = file.expect("a folder can be read").path();
        let to = to.join(path.file_name().expect("a file has a name"));
        if path.is_dir() {
            copy_folder(&path, &to, address);
            continue;
        }
        let text = fs::read_to_string(&path)
            .expect("templates are text")
            .replace("127.0.0.1:9090", &format!("{address}:9090"))
            .replace("localhost:9090", &format!("{address}:9090"))
            // Made by a zone's set-up, which is not run here.
            .replace("owner = \"auth\"", "owner = \"nobody\"")
            .replace("127.0.0.1:9167", &format!("{address}:9167"))
            .replace(
                "in grafana.front.metrics_listen",
                &format!("in [\"{address}:9167\"]"),
            )
            .replace(
                "{{ prometheus.flags.listen_address }}",
                &format!("{address}:9090"),
            );
        fs::write(to, text).expect("the bench can be written");
    }
}

/// Ends every daemon that `systemctl` started.
pub(super) fn end_daemons(folder: &Path) {
    let Ok(units) = fs::read_dir(folder.join("units")) else { return };
    for unit in units.flatten() {
        let path = unit.path();
        if path.extension().is_none_or(|extension| extension != "pid") {
            continue;
        }
        let pid = fs::read_to_string(&path).unwrap_or_default();
        let Ok(pid) = pid.trim().parse() else { continue };
        let pid = Pid::from_raw(pid);
        let _ = kill(pid, Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while lives(pid) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        // `timeout` leads a group, and is not there to end it any more.
        let _ = killpg(pid, Signal::SIGKILL);
        let _ = kill(pid, Signal::SIGKILL);
    }
}

/// Nobody may be there to wait for it: a zombie is as good as gone.
fn lives(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}
