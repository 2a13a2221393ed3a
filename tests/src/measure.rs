// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What benchmarks share: whole programs measured from outside, an agent in
//! an empty zone, and the lines that figures end in.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::time::ClockId;
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::sapi::ids;

/// Prints a figure for people and programs alike.
pub fn bar(name: &str, value: f64, limit: f64) {
    let verdict = if value <= limit { "ok" } else { "short" };
    println!("bar {name} {value:.2} <= {limit} {verdict}");
}

/// [`bar`] for a figure where more is better.
pub fn bar_at_least(name: &str, value: f64, limit: f64) {
    let verdict = if value >= limit { "ok" } else { "short" };
    println!("bar {name} {value:.2} >= {limit} {verdict}");
}

/// The released agent: it lies beside the folder of this program.
///
/// Errors: it was not built.
pub fn released_agent() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.ancestors().nth(2).context("no folder")?;
    let program = folder.join("config-agent");
    ensure!(
        program.is_file(),
        "no {}: cargo build --release -p monitoring-agent",
        program.display()
    );
    Ok(program)
}

/// A process and all its descendants: NSD answers from those.
pub fn family(eldest: Pid) -> Vec<Pid> {
    let mut all = vec![eldest];
    let mut at = 0;
    while let Some(parent) = all.get(at) {
        let path = format!("/proc/{parent}/task/{parent}/children");
        let text = fs::read_to_string(path).unwrap_or_default();
        let children = text.split_whitespace();
        all.extend(
            children.filter_map(|pid| pid.parse().ok()).map(Pid::from_raw),
        );
        at += 1;
    }
    all
}

/// A running program; killed when dropped.
pub struct Measured(Child);

impl Measured {
    /// From a child just started.
    pub fn new(child: Child) -> Self {
        Self(child)
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }

    /// CPU time of all its threads, past ones too, without its children.
    ///
    /// Errors: it has been waited for.
    pub fn cpu(&self) -> Result<Duration> {
        cpu(self.pid())
    }

    /// [`Measured::cpu`] with that of all descendants that still run.
    ///
    /// Errors: one ended meanwhile.
    pub fn family_cpu(&self) -> Result<Duration> {
        family(self.pid()).into_iter().map(cpu).sum()
    }

    /// MiB resident, of this process alone.
    ///
    /// Errors: it has ended.
    pub fn resident_mib(&self) -> Result<f64> {
        self.mib("VmRSS:")
    }

    /// The most MiB that were resident since the start.
    ///
    /// Errors: it has ended.
    pub fn peak_mib(&self) -> Result<f64> {
        self.mib("VmHWM:")
    }

    fn mib(&self, label: &str) -> Result<f64> {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix(label))
            .and_then(|rest| {
                rest.trim().strip_suffix(" kB")?.parse::<f64>().ok()
            })
            .with_context(|| format!("/proc gives no {label}"))?;
        Ok(kib / 1024.0)
    }

    /// Waits for its end.
    ///
    /// Errors: those of the system.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.0.wait()
    }

    /// Whether it has ended, and how.
    ///
    /// Errors: those of the system.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        // An error here means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn cpu(pid: Pid) -> Result<Duration> {
    Ok(ClockId::pid_cpu_clock_id(pid)?.now()?.into())
}

/// A zone with nothing in it but an agent's configuration and the platform's
/// tools. Goes when dropped.
pub struct EmptyZone {
    program: PathBuf,
    dir: TempDir,
}

impl EmptyZone {
    /// A folder below `parent` for `program` with `config` as its file, to
    /// which the places of that zone are added.
    ///
    /// Errors: a file could not be written.
    pub fn new(program: &Path, parent: &Path, config: Value) -> Result<Self> {
        let dir = TempDir::with_prefix_in("config-agent-bench-", parent)?;
        let path = |name: &str| dir.path().join(name);
        let mut config = config;
        for (key, name) in [
            ("root", "root"),
            ("stateDir", "state"),
            ("templatesDir", "templates"),
        ] {
            config[key] = path(name).display().to_string().into();
        }
        config["statusListen"] = "127.0.0.1:0".into();
        fs::write(path("config.json"), config.to_string())?;
        fs::create_dir(path("bin"))?;
        for (tool, script) in [
            ("zonename", format!("#!/bin/sh\necho {}\n", ids::PROMETHEUS0)),
            ("mdata-get", "#!/bin/sh\nexit 1\n".to_owned()),
        ] {
            let tool = path("bin").join(tool);
            fs::write(&tool, script)?;
            fs::set_permissions(&tool, fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { program: program.to_owned(), dir })
    }

    /// The folder; what stands for `/` is `root` in it.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Verb run with more arguments; `before` are words in front of the
    /// program, which must end in its place.
    ///
    /// Errors: it does not start.
    #[expect(clippy::disallowed_methods, reason = "the agent starts here")]
    pub fn start(
        &self,
        before: &[&str],
        arguments: &[&str],
    ) -> Result<Measured> {
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = self.path().join("bin");
        let log = fs::File::create(self.path().join("log"))?;
        let program = self.program.display().to_string();
        let words: Vec<&str> =
            before.iter().copied().chain([program.as_str()]).collect();
        let child = Command::new(words[0])
            .args(&words[1..])
            .arg("run")
            .arg("-f")
            .arg(self.path().join("config.json"))
            .args(arguments)
            .env("PATH", format!("{}:{path}", bin.display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| words.join(" "))?;
        Ok(Measured::new(child))
    }
}
