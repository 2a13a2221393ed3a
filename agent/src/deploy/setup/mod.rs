// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Setting a service up: facts of all APIs, a plan of steps, and the running
//! of them. What sdcadm made is taken over as it is, and brought into shape;
//! what is as it should be is left alone, so a second run finds nothing to do.
//!
//! What never happens: two zones where one was to be. A zone's uuid is chosen
//! here and written into the journal before SAPI is asked for it; SAPI makes no
//! zone that VMAPI knows. What a failed run leaves behind is a step of the
//! next plan, or a problem that is said.

mod apply;
mod blueprint;
mod facts;
mod image;
mod journal;
mod place;
mod plan;
#[cfg(test)]
mod plan_tests;
mod rules;
mod service;
mod step;
pub(super) mod transfer;
mod zones;

use std::io;

use uuid::Uuid;

pub use self::apply::{Hands, Outcome};
pub use self::blueprint::{Blueprint, Target};
pub use self::facts::{Facts, gather};
pub use self::journal::{Journal, Save};
pub use self::plan::{Plan, Refused, plan};
pub use self::step::Step;
use super::DeployError;
use super::images::Wanted;
use crate::triton::job::JobError;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is set up.
    pub target: Target,
    /// Zones in all, or of each shard.
    pub replicas: Option<usize>,
    /// Shards: a Prometheus pair each.
    pub shards: Option<usize>,
    /// What the groups of shards begin with.
    pub prefix: String,
    /// Servers that zones may be put on, by uuid or host name; empty means
    /// all, the headnode first.
    pub servers: Vec<String>,
    /// Package by name.
    pub package: Option<String>,
    /// Least quota of a zone, GiB.
    pub quota_gib: Option<u64>,
    /// Image; `None` keeps the one that the service has.
    pub image: Option<Wanted>,
    /// Zones that never ran, to be destroyed and made anew.
    pub replace: Vec<Uuid>,
}

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// An API said no, or what it said is odd.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// A job has not done what it was for.
    #[error("could not {what}")]
    Job {
        /// What it was for.
        what: String,
        /// How it ended.
        #[source]
        source: JobError,
    },
    /// A zone is not what it should be, and does not become it.
    #[error("{alias} {uuid}: saw its zone {seen}, wanted running{hint}")]
    Zone {
        /// The zone.
        uuid: Uuid,
        /// Its alias.
        alias: String,
        /// Its state.
        seen: String,
        /// What to do about it.
        hint: String,
    },
    /// A zone runs, and is not well.
    #[error("{alias} {uuid} is not well")]
    Unwell {
        /// The zone.
        uuid: Uuid,
        /// Its alias.
        alias: String,
        /// What it said last.
        #[source]
        source: DeployError,
    },
    /// Somebody else writes it at the same time.
    #[error("{0}: what was written is not there; somebody else writes it too")]
    Contended(&'static str),
    /// The journal cannot be written.
    #[error("could not write the journal")]
    Journal(#[from] io::Error),
}
