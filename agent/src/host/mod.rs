// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The operating system around us: daemons under SMF or systemd, instance
//! metadata, and every process we start. Knows nothing of what it is for.

pub mod datagrams;
mod exec;
pub mod fake;
mod lx;
mod smartos;
mod space;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use exec::{Exec, Finished, find_program, run};
pub use lx::Lx;
pub use smartos::SmartOs;
pub use space::{SETUP_LEAST, Space, space};

/// How long a command of the service manager may take: a daemon is given 60 s
/// to stop.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(90);

/// How long the platform's metadata service may take; nothing of ours starts
/// before it answered or ran out of this.
const MDATA_TIMEOUT: Duration = Duration::from_secs(5);

/// The answer of a call that starts processes.
pub type HostFuture<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, HostError>> + Send + 'a>>;

/// What a service manager can do to a daemon, in SMF's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start it now and at every boot.
    Enable,
    /// Stop it and start it no more.
    Disable,
    /// Make it read its configuration again.
    Refresh,
    /// Stop and start it.
    Restart,
    /// Forget that it failed.
    Clear,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Refresh => "refresh",
            Self::Restart => "restart",
            Self::Clear => "clear",
        })
    }
}

/// The state of a daemon, in SMF's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonState {
    /// The service manager does not know it.
    Absent,
    /// Not meant to run.
    Disabled,
    /// On its way up or down.
    Offline,
    /// Running.
    Online,
    /// Given up after failures.
    Maintenance,
}

/// Why the host did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The command could not be started.
    #[error("could not start {program}")]
    Start {
        /// The program.
        program: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A restart could not be noted.
    #[error("could not note that a restart is under way")]
    Note {
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The command ran into its time limit and was killed.
    #[error("{program} was killed after {seconds} s")]
    Timeout {
        /// The program.
        program: String,
        /// The limit.
        seconds: u64,
    },
    /// The command said no.
    #[error("{program} ended with {status}: {output}")]
    Failed {
        /// The program.
        program: String,
        /// Exit status or signal.
        status: String,
        /// The end of what it printed, on one line.
        output: String,
    },
}

/// The operating system of a zone.
pub trait Host: Send + Sync + fmt::Debug {
    /// Does `action` to `daemon`.
    fn control<'a>(
        &'a self,
        daemon: &'a str,
        action: Action,
    ) -> HostFuture<'a, ()>;

    /// Looks how `daemon` fares.
    fn state<'a>(&'a self, daemon: &'a str) -> HostFuture<'a, DaemonState>;

    /// A key of the instance's metadata; `None` when it is not set.
    fn mdata<'a>(&'a self, key: &'a str) -> HostFuture<'a, Option<String>>;

    /// The zone's name, which is its uuid and SAPI's instance uuid.
    fn zonename(&self) -> HostFuture<'_, String>;

    /// Runs a checker or a post command.
    fn run<'a>(&'a self, exec: &'a Exec) -> HostFuture<'a, Finished>;

    /// Whether this is an LX zone, where `post_cmd_linux` applies.
    fn is_linux(&self) -> bool;
}

/// The host this program was built for, unless the variable
/// `CONFIG_AGENT_BRAND` names the other: so tests play a SmartOS zone.
pub fn native() -> Box<dyn Host> {
    let smartos = match std::env::var("CONFIG_AGENT_BRAND").as_deref() {
        Ok("joyent-minimal") => true,
        Ok("lx") => false,
        _ => cfg!(target_os = "illumos"),
    };
    if smartos { Box::new(SmartOs) } else { Box::new(Lx) }
}

/// Runs a tool and wants exit code 0.
async fn succeed(argv: &[&str]) -> Result<String, HostError> {
    let exec = Exec::new(argv, CONTROL_TIMEOUT);
    let finished = run(&exec).await?;
    if finished.success() {
        return Ok(finished.stdout);
    }
    Err(finished.into_error(&exec))
}

/// `zonename`.
async fn zone_name() -> Result<String, HostError> {
    let exec = Exec::new(&["zonename"], MDATA_TIMEOUT);
    let finished = run(&exec).await?;
    if finished.success() {
        return Ok(finished.stdout.trim().to_owned());
    }
    Err(finished.into_error(&exec))
}

/// `mdata-get KEY`: the value without its newline; exit code 1 is "not set".
async fn mdata_get(key: &str) -> Result<Option<String>, HostError> {
    let exec = Exec::new(&["mdata-get", key], MDATA_TIMEOUT);
    let finished = run(&exec).await?;
    match finished.code {
        Some(0) => Ok(Some(finished.stdout.trim_end().to_owned())),
        Some(1) => Ok(None),
        _ => Err(finished.into_error(&exec)),
    }
}
