// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The agent's process: how it is started, watched, asked to do things and
//! ended.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::{PATIENCE, eventually};

/// The built config-agent: it lies where this program, or the folder `deps`
/// this program is in, lies.
///
/// Panics when it was not built.
pub fn program() -> PathBuf {
    let own = std::env::current_exe().expect("a program knows its file");
    let found = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("config-agent"))
        .find(|path| path.is_file());
    found.expect("build config-agent first: cargo build --workspace --bins")
}

/// What a start of the agent looks like.
pub struct Starter {
    folder: PathBuf,
    shell: Option<String>,
    args: Vec<String>,
    before: Vec<String>,
}

impl Starter {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            shell: None,
            args: Vec::new(),
            before: Vec::new(),
        }
    }

    /// Runs this shell text first, in mounts of the agent's own: what it
    /// mounts nobody else sees.
    pub fn prepared_by(mut self, script: &str) -> Self {
        self.shell = Some(script.to_owned());
        self
    }

    /// As this user, without any privilege.
    pub fn user(mut self, name: &str) -> Self {
        self.before = ["--reuid", name, "--regid", "nogroup", "--clear-groups"]
            .map(str::to_owned)
            .to_vec();
        self
    }

    /// More arguments of verb run.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Starts verb run in the background, with the bench's configuration.
    pub fn start(&self) -> Agent {
        let mut words = self.words();
        words.extend(["run", "-f"].map(str::to_owned));
        words.push(self.folder.join("config.json").display().to_string());
        words.extend(self.args.clone());
        let log = self.folder.join("agent.log");
        let open = || File::options().create(true).append(true).open(&log);
        let child = command(&self.folder, &words)
            .stdout(open().expect("the bench can be written"))
            .stderr(open().expect("the bench can be written"))
            .spawn()
            .expect("the agent starts");
        Agent { child, folder: self.folder.clone(), log }
    }

    /// Runs the agent with `args` to its end.
    pub async fn verb(&self, args: &[&str]) -> Ended {
        let mut words = self.words();
        words.extend(args.iter().map(|arg| (*arg).to_owned()));
        to_its_end(&self.folder, &words).await
    }

    fn words(&self) -> Vec<String> {
        // Dies with the test, whatever becomes of that.
        let mut words: Vec<String> =
            ["setpriv", "--pdeathsig", "KILL"].map(str::to_owned).to_vec();
        words.extend(self.before.clone());
        if let Some(script) = &self.shell {
            let script = format!("set -e\n{script}\nexec \"$0\" \"$@\"");
            words.extend(["unshare", "--mount", "sh", "-c"].map(str::to_owned));
            words.push(script);
        }
        words.push(program().display().to_string());
        words
    }
}

pub(super) async fn shell(folder: &Path, script: &str) -> Ended {
    to_its_end(folder, &["sh", "-c", script].map(str::to_owned)).await
}

async fn to_its_end(folder: &Path, words: &[String]) -> Ended {
    let output = command(folder, words).output();
    let output = tokio::time::timeout(PATIENCE, output)
        .await
        .expect("the command ends")
        .expect("the command starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the bench starts processes"
)]
fn command(folder: &Path, words: &[String]) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let bin = folder.join("bin");
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .env("PATH", format!("{}:{path}", bin.display()))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// How a verb ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// All of standard output.
    pub stdout: String,
    /// All of standard error.
    pub stderr: String,
}

/// A running agent; dropping it kills it.
pub struct Agent {
    child: Child,
    folder: PathBuf,
    log: PathBuf,
}

impl Agent {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        let pid = self.child.id().expect("it was not waited for");
        i32::try_from(pid).expect("process ids are small")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("it still runs");
    }

    /// Runs shell text among the agent's own mounts.
    ///
    /// Panics when it fails.
    pub async fn inside(&self, script: &str) {
        let pid = self.pid().to_string();
        let words = ["nsenter", "--mount", "--target", &pid, "sh", "-ec"];
        let mut words: Vec<String> = words.map(str::to_owned).to_vec();
        words.push(script.to_owned());
        let ended = to_its_end(&self.folder, &words).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }

    /// A path as the agent sees it, mounts of its own included.
    pub fn sees(&self, path: &Path) -> PathBuf {
        let path = path.strip_prefix("/").unwrap_or(path);
        Path::new("/proc").join(self.pid().to_string()).join("root").join(path)
    }

    /// All it has printed so far, and those before it on the same bench.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it printed `text`.
    pub async fn logged(&self, text: &str) {
        eventually(&format!("the log says {text:?}"), async || {
            self.log().contains(text).then_some(())
        })
        .await;
    }

    /// Waits for its end; the exit code, `None` after a signal.
    pub async fn ended(&mut self, limit: Duration) -> Option<i32> {
        tokio::time::timeout(limit, self.child.wait())
            .await
            .expect("the agent ends")
            .expect("it can be waited for")
            .code()
    }

    /// SIGTERM, and its end.
    pub async fn stop(mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.ended(PATIENCE).await
    }

    /// SIGKILL, and its end.
    pub async fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        assert_eq!(self.ended(PATIENCE).await, None, "it ended by itself");
    }
}
