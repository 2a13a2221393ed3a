// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Starts the zone's process 1 and ends it for certain.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};

use super::init::{Boot, READY};
use super::root::Places;
use super::{Namespace, ZoneError, ZoneSpec};

const BOOT_LIMIT: Duration = Duration::from_secs(20);
/// How long the kernel may take to end a zone's processes.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Longest line expected from zone-init, in bytes.
const MAX_LINE: u64 = 4096;

/// Process 1 of a zone; the zone ends when this is dropped.
#[derive(Debug)]
pub(super) struct Init {
    child: Child,
    // Held open: zone-init ends when it closes.
    stdin: ChildStdin,
}

impl Init {
    /// Pid as the host sees it.
    pub(super) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }
}

impl Drop for Init {
    /// SIGKILL to process 1 ends all of its pid namespace; waiting for it
    /// waits for all of them.
    fn drop(&mut self) {
        let pid = self.pid();
        if let Err(error) = self.child.kill() {
            tracing::warn!(pid, %error, "zone not killed");
        }
        let deadline = Instant::now() + END_LIMIT;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(1));
                }
                Ok(Some(_)) => return,
                Ok(None) => return tracing::warn!(pid, "zone does not end"),
                Err(error) => {
                    return tracing::warn!(pid, %error, "zone not awaited");
                }
            }
        }
    }
}

/// Where zone-init and its supervisor log.
pub(super) fn init_log(places: &Places) -> PathBuf {
    places.logs.join("zone-init.log")
}

/// Starts zone-init in `namespace` and waits until it is ready.
pub(super) async fn start(
    spec: &ZoneSpec,
    places: &Places,
    namespace: &Namespace,
) -> Result<Init, ZoneError> {
    let program = &places.program;
    let failed = |source| ZoneError::Start { program: program.clone(), source };
    // The socket of an earlier boot.
    let _ = fs::remove_file(places.run.join("control"));
    let mut child =
        namespace.run(|| spawn(program, &init_log(places)))?.map_err(failed)?;
    let stdin = child.stdin.take().expect("stdin is a pipe");
    let stdout = child.stdout.take().expect("stdout is a pipe");
    // From here on an early return ends the zone.
    let init = Init { child, stdin };

    let boot = Boot { spec: spec.clone(), places: places.clone() };
    let mut line =
        serde_json::to_vec(&boot).map_err(|e| failed(io::Error::other(e)))?;
    line.push(b'\n');
    let pipe = init.stdin.as_fd().try_clone_to_owned().map_err(failed)?;
    let refused = |reason| ZoneError::Boot { zone: spec.name.clone(), reason };
    match converse(line, pipe, stdout).await {
        Some(line) if line == READY => Ok(init),
        Some(line) if !line.is_empty() => Err(refused(line)),
        Some(_) => {
            let log = fs::read_to_string(init_log(places));
            let log = log.unwrap_or_default();
            let last = log.lines().last().unwrap_or("it ended silently");
            Err(refused(last.to_owned()))
        }
        None => Err(ZoneError::TooLate {
            what: format!("boot of zone {}", spec.name),
            limit: BOOT_LIMIT,
        }),
    }
}

/// Runs on a thread of its own inside the network namespace: the child is
/// process 1 of a pid namespace made here, and nobody else's.
#[expect(clippy::disallowed_methods, reason = "zones start here")]
fn spawn(program: &Path, log: &Path) -> io::Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    unshare(CloneFlags::CLONE_NEWPID)?;
    Command::new(program)
        .arg("zone-init")
        .env_clear()
        .current_dir("/")
        // A Ctrl-C is for us, not for the zones.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
}

/// Tells zone-init what to be; returns its first line, empty when it ended
/// without one, none when it is late.
///
/// What is late ends when the zone does, for the pipes break then.
async fn converse(
    boot: Vec<u8>,
    stdin: OwnedFd,
    stdout: ChildStdout,
) -> Option<String> {
    let talk = tokio::task::spawn_blocking(move || {
        // A zone-init that does not listen says why, or nothing.
        let _ = File::from(stdin).write_all(&boot);
        let mut line = String::new();
        let mut reader = BufReader::new(stdout.take(MAX_LINE));
        // An unreadable line is as good as none.
        let _ = reader.read_line(&mut line);
        line.trim().to_owned()
    });
    let said = tokio::time::timeout(BOOT_LIMIT, talk).await.ok()?;
    Some(said.unwrap_or_default())
}
