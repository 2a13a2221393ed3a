// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb setup: a fresh zone root becomes a zone whose agent can run. Looks at
//! the zone, plans the steps that are missing, takes them one after the other.
//!
//! What never changes, whatever happens in between: a step can be taken again,
//! and looks first; the mark `/var/svc/setup_complete` is the last step, and
//! until it is there every later boot takes the steps again. So a run that was
//! cut off is finished by the next. The user-script marks its own start, not
//! our end: that is why `configure.sh`, too, calls us.
//!
//! Leaves the files of daemons, certificates and DNS to the agent: its first
//! pass is one of the steps. No step here waits for a service that depends on
//! `mdata:execute`, which in turn waits for us.

mod carry;
mod hand;
mod look;
mod plan;
mod rotation;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use crate::host::HostError;
use crate::model::{Flavor, Role};

pub use carry::{Outcome, Report, carry};
pub use look::look;
pub use plan::plan;

/// Where the folders of the agent and of the image's daemons lie.
const HOMES: &str = "opt/triton";

/// The mark of a finished set-up; gone with the root at a reprovision.
const COMPLETE: &str = "var/svc/setup_complete";

/// What the platform makes zones of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Brand {
    /// SMF, and the platform's own tools.
    JoyentMinimal,
    /// systemd, and the platform's tools under `/native`.
    Lx,
}

/// The zone as its metadata describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Zone {
    /// Its uuid, which is its name.
    pub uuid: String,
    /// SmartOS or LX.
    pub brand: Brand,
    /// Whose service it is.
    pub flavor: Flavor,
    /// What it is for.
    pub role: Role,
    /// Its datacenter's name, where metadata has it.
    pub datacenter: Option<String>,
    /// SAPI's base URL.
    pub sapi_url: String,
}

/// What was found in the zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its metadata.
    pub zone: Zone,
    /// The delegate dataset.
    pub dataset: Dataset,
    /// Folders of the image below `/opt/triton`, by name.
    pub homes: Vec<Home>,
    /// Accounts that service files name and nobody has made.
    pub users: BTreeSet<String>,
    /// Groups, likewise.
    pub groups: BTreeSet<String>,
    /// The image brings registrar.
    pub registrar: bool,
    /// The image brings the amon agent.
    pub amon: bool,
    /// Root's crontab; `None` when there is one that could not be read.
    pub crontab: Option<String>,
    /// Set-up has come to its end on this root before.
    pub complete: bool,
}

/// The delegate dataset, the only thing that outlives a reprovision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// `zones/UUID/data`.
    pub name: String,
    /// Property `mountpoint`; as it is kept with the data, a reprovisioned
    /// zone finds it right.
    pub mountpoint: String,
    /// Property `mounted`.
    pub mounted: bool,
}

/// A folder of the image below `/opt/triton`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// `config-agent`, or a role, or a daemon.
    pub name: String,
    /// Service files of its `smf` folder, for this brand.
    pub services: Vec<PathBuf>,
}

/// A step of a set-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What it is for, in the operator's words.
    pub what: String,
    /// What is done.
    #[serde(flatten)]
    pub act: Act,
    /// The zone comes up without it: a failure is said, and no more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub may_fail: bool,
}

/// What a step does. Paths are absolute, as in the zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Runs a command.
    Run(Command),
    /// Makes a folder, and sees to its mode.
    Folder {
        /// Where.
        path: PathBuf,
        /// Permission bits.
        #[serde(serialize_with = "octal")]
        mode: u32,
    },
    /// Gives a folder and all below it to an account, links as they are.
    HandOver {
        /// The folder.
        path: PathBuf,
        /// Name of the account.
        user: String,
    },
    /// Writes a file, unless it has this text.
    Write {
        /// Where.
        path: PathBuf,
        /// All of it; nothing secret.
        text: String,
    },
    /// Adds a line to a file, unless it has it.
    Line {
        /// Where.
        path: PathBuf,
        /// The line.
        line: String,
    },
    /// The agent's first pass, daemons left alone.
    FirstPass {
        /// Seconds it may take.
        limit_seconds: u64,
    },
}

/// A command of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Command {
    /// Program and arguments; nothing secret.
    pub argv: Vec<String>,
    /// Seconds it may take.
    pub limit_seconds: u64,
    /// What it must print; anything, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
}

/// Whether set-up has come to its end on this root before.
pub fn is_complete(root: &std::path::Path) -> bool {
    root.join(COMPLETE).exists()
}

fn octal<S: serde::Serializer>(mode: &u32, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&format!("{mode:04o}"))
}

/// Why a set-up cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The platform's tools gave no answer.
    #[error("instance metadata did not answer; its messages are above")]
    NoAnswer,
    /// The zone has no name.
    #[error("zonename names no zone")]
    NoZone,
    /// SAPI is nowhere.
    #[error("neither sapi-url nor SAPI_URL is in the zone's metadata")]
    NoSapi,
    /// The image is for another role.
    #[error(
        "the zone is to be {role}, and its image has no /opt/triton/{role}"
    )]
    WrongImage {
        /// The zone's tag.
        role: Role,
    },
    /// The service lacks `delegate_dataset`.
    #[error(
        "the zone has no dataset {name}; its service needs the parameter \
         delegate_dataset"
    )]
    NoDataset {
        /// `zones/UUID/data`.
        name: String,
        /// What zfs said.
        #[source]
        source: HostError,
    },
    /// The zone's quota is used up.
    #[error(
        "the zone has {} MiB free of {} MiB, and set-up wants {} MiB; give it \
         more (vmadm update UUID quota=GIB), or remove what it can do without",
        .available >> 20, .size >> 20, .least >> 20
    )]
    NoSpace {
        /// Bytes that may still be written.
        available: u64,
        /// Bytes of the quota.
        size: u64,
        /// Bytes that it takes.
        least: u64,
    },
    /// A folder of the image could not be read.
    #[error("could not look at {path}")]
    Look {
        /// Where.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A command to look with failed.
    #[error("could not look around")]
    Ask(#[source] HostError),
    /// A step failed.
    #[error("could not {what}")]
    Step {
        /// The step.
        what: String,
        /// The cause.
        #[source]
        source: StepError,
    },
}

impl SetupError {
    /// Whether another try would fail the same way: what is wrong is how the
    /// zone was made.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::NoSapi | Self::WrongImage { .. } | Self::NoDataset { .. }
        )
    }
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Its command.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Its command said something else.
    #[error("{program} says {seen:?} rather than {wanted:?}")]
    Unwanted {
        /// The program.
        program: String,
        /// What it printed.
        seen: String,
        /// What it was to print.
        wanted: String,
    },
    /// A file or folder.
    #[error("{path}")]
    File {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// An account that files are to be given to.
    #[error("{0}")]
    Account(String),
    /// The agent's first pass.
    #[error("{0}")]
    Pass(String),
    /// All time is used up.
    #[error("no time is left for it")]
    OutOfTime,
}
