// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What can go wrong when networks and zones are made, entered or asked.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A network or a zone could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ZoneError {
    /// Namespaces and mounts need root.
    #[error("zones need root (effective uid is {uid})")]
    NotRoot {
        /// Effective uid of this process.
        uid: u32,
    },
    /// A name that cannot be part of a path.
    #[error("{name:?} is no name: want 1 to 32 of a-z 0-9 - _")]
    BadName {
        /// The name as given.
        name: String,
    },
    /// The folder for roots, logs and data could not be made or swept.
    #[error("could not prepare folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A network namespace could not be made, entered or used.
    #[error("could not {step} in network namespace {namespace}")]
    Namespace {
        /// The step: `create`, `enter`, `bind 10.88.0.2:80`.
        step: String,
        /// Name of the namespace.
        namespace: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// `ip` refused a batch of commands.
    #[error("ip failed in network namespace {namespace}: {stderr}")]
    Ip {
        /// Name of the namespace.
        namespace: String,
        /// What it said.
        stderr: String,
    },
    /// There is no image to provision a zone with.
    #[error("no image of role {role}: {reason}")]
    Image {
        /// The role.
        role: String,
        /// What zone-image said.
        reason: String,
    },
    /// The zone's first process could not be started.
    #[error("could not start zone-init by {program}")]
    Start {
        /// The localdc program.
        program: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The zone did not come up; the reason is its own.
    #[error("zone {zone} did not boot: {reason}")]
    Boot {
        /// Name of the zone.
        zone: String,
        /// What zone-init said, or what its log ends with.
        reason: String,
    },
    /// The supervisor could not be asked.
    #[error("could not ask the supervisor of zone {zone}")]
    Control {
        /// Name of the zone.
        zone: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The supervisor said no.
    #[error("the supervisor of zone {zone} refused: {reason}")]
    Refused {
        /// Name of the zone.
        zone: String,
        /// Its reason.
        reason: String,
    },
    /// A time limit passed.
    #[error("{what} took longer than {limit:?}")]
    TooLate {
        /// What was waited for.
        what: String,
        /// The limit.
        limit: Duration,
    },
    /// A file of the zone could not be read from outside.
    #[error("could not read {path}")]
    Read {
        /// Host path.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}
