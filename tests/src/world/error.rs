// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What can go wrong with a whole datacenter.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::Service;
use crate::cmon::TlsError;
use crate::zone::ZoneError;

/// A world could not be made, changed or asked.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// A program or folder that the zone needs is not there.
    #[error("{path} is missing: {advice}")]
    Missing {
        /// What was looked for.
        path: PathBuf,
        /// What to do about it.
        advice: &'static str,
    },
    /// The agent was built before its source changed.
    #[error(
        "{binary} is older than {source_file}: run cargo build --workspace"
    )]
    Stale {
        /// The agent's binary.
        binary: PathBuf,
        /// The newest source file.
        source_file: PathBuf,
    },
    /// A network or a zone.
    #[error("the zones failed")]
    Zone(#[from] ZoneError),
    /// A stand-in could not listen.
    #[error("could not start {service:?}")]
    Service {
        /// Which one.
        service: Service,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// CMON's certificate.
    #[error("could not set up CMON's TLS")]
    Tls(#[from] TlsError),
    /// A port of this machine could not be bound.
    #[error("could not listen on 127.0.0.1")]
    Listen(#[source] io::Error),
    /// A folder of the delegate dataset could not be made.
    #[error("could not prepare {path}")]
    Data {
        /// The folder.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The HTTP client could not be made, or a question failed.
    #[error("no answer from {url}")]
    Http {
        /// What was asked.
        url: String,
        /// Cause.
        #[source]
        source: reqwest::Error,
    },
    /// An answer is not what the API promises.
    #[error("{url} answered {answer}")]
    Answer {
        /// What was asked.
        url: String,
        /// The answer, shortened.
        answer: String,
    },
    /// A zone that should run does not.
    #[error("{0}")]
    NoZone(String),
    /// monadm failed.
    #[error("monadm {words}: {said}")]
    Monadm {
        /// Its arguments.
        words: String,
        /// What it said.
        said: String,
    },
    /// Something did not come true in time.
    #[error("not within {limit:?}: {what}; last seen: {seen}")]
    TooLate {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
        /// The state at the end.
        seen: String,
    },
}
