// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! monadm as an operator runs it, against all of Triton's APIs.

mod doctor;
mod manta;
mod post_setup;
mod shard;
mod site;
mod split;
mod status;
mod update;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::process::Command;

/// Far longer than any verb takes.
const LIMIT: Duration = Duration::from_secs(120);

/// How it ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    /// What it printed, wherever its lines end: they are a terminal's.
    fn flat(&self) -> String {
        let words: Vec<&str> = self.stdout.split_whitespace().collect();
        words.join(" ")
    }
}

fn program() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_localdc"));
    let program = beside.with_file_name("monadm");
    assert!(program.is_file(), "no monadm: cargo build --workspace");
    program
}

/// Where monadm keeps its lock and journal: a folder of each datacenter's own,
/// as its SAPI's port is.
fn state(sapi: &str) -> PathBuf {
    static BEGUN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let port = sapi.rsplit(':').next().unwrap_or_default();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("monadm");
    let folder = folder.join(port);
    let mut begun = BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
    if begun.insert(folder.clone()) {
        // What another datacenter that had this port left.
        let _ = std::fs::remove_dir_all(&folder);
    }
    folder
}

#[expect(clippy::disallowed_methods, reason = "the program under test")]
fn command(sapi: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .args(words)
        .env_clear()
        .env("SAPI_URL", sapi)
        .env("MONADM_STATE", state(sapi))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn monadm(sapi: &str, words: &[&str]) -> Ended {
    ended(command(sapi, words)).await
}

/// Runs it to its end.
async fn ended(mut command: Command) -> Ended {
    let output = command.output();
    let output = tokio::time::timeout(LIMIT, output).await;
    let output = output.expect("it ends").expect("it starts");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs it and kills it as soon as `writes` is `at`, or after its end.
async fn killed_at(
    at: usize,
    sapi: &str,
    words: &[&str],
    writes: impl Fn() -> usize,
) {
    let mut child = command(sapi, words).spawn().expect("it starts");
    let until = async {
        while writes() < at
            && child.try_wait().is_ok_and(|ended| ended.is_none())
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, until).await.expect("it writes or ends");
    child.kill().await.expect("it is ours");
}

#[tokio::test]
async fn words_that_make_no_sense_and_a_datacenter_that_is_none() {
    let nowhere = "http://127.0.0.1:1";
    for words in [&["shard"][..], &["sharp"], &["shard", "apply", "--pin", "x"]]
    {
        let ended = monadm(nowhere, words).await;
        assert_eq!(ended.code, Some(64), "{words:?}: {ended:?}");
    }
    let ended = monadm(nowhere, &["shard", "status"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let said = "monadm: could not ask SAPI for sdc: no answer from \
                http://127.0.0.1:1/applications";
    assert!(ended.stderr.starts_with(said), "{ended:?}");
    let ended = monadm(nowhere, &["completion", "bash"]).await;
    assert!(ended.stdout.contains("_monadm"), "{ended:?}");
}
