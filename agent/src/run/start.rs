// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What comes before the loops: who we are, where SAPI is, that nobody else
//! writes here; and how long that is tried.

use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::data;
use crate::apply::commit::sweep;
use crate::config::ConfigFile;
use crate::dns::DnsError;
use crate::host::Host;
use crate::log::chain;
use crate::walk::{Facts, gather};

/// Pause between two looks at a lock that another holds.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// How long a start is tried again before we leave it to the service manager,
/// which gives up after a few, and the pauses in between.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Why the agent could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The zone's uuid is unknown.
    #[error("the zone has no name and the configuration no instance")]
    NoInstance,
    /// No URL of SAPI.
    #[error("neither mdata (sapi-url, SAPI_URL) nor sapi.url names SAPI")]
    NoSapi,
    /// Another config-agent writes the same files.
    #[error(
        "another config-agent works here and holds {0}; send it HUP to have \
         it poll and walk now"
    )]
    Locked(std::path::PathBuf),
    /// The name server could not listen, or fell over.
    #[error("name server failed")]
    Names(#[source] DnsError),
    /// Upstreams are to be asked by TLS, and nobody knows whom to trust.
    #[error("could not set up forwarding")]
    Forward(#[source] crate::config::forward::AuthoritiesError),
    /// The status page could not listen.
    #[error("could not listen on {address} for the status page")]
    Status {
        /// Where.
        address: std::net::SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A loop ended by itself.
    #[error("a loop ended: {0}")]
    Ended(&'static str),
}

impl RunError {
    /// Whether it may pass by itself: a platform that is slow to answer, a
    /// predecessor that is slow to go.
    pub(super) fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::NoInstance
                | Self::NoSapi
                | Self::Locked(_)
                | Self::Names(DnsError::Bind { .. })
                | Self::Status { .. }
        )
    }
}

/// Tries `work` until it succeeds, fails for good, has had its time, or
/// `stop`; then the last error is the answer.
pub(super) async fn persevere<T>(
    stop: &CancellationToken,
    mut work: impl AsyncFnMut() -> Result<T, RunError>,
) -> Result<T, RunError> {
    let end = tokio::time::Instant::now() + PATIENCE;
    let mut pause = PAUSE;
    loop {
        let error = match work().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let late = tokio::time::Instant::now() + pause >= end;
        if late || !error.is_transient() {
            return Err(error);
        }
        warn!(
            err.message = %chain(&error),
            pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            "cannot start yet"
        );
        tokio::select! {
            () = stop.cancelled() => return Err(error),
            // Cancel-safe: nothing is begun yet.
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// What a run is started with.
#[derive(Clone)]
pub struct Start {
    /// The configuration.
    pub config: ConfigFile,
    /// Where it was read, to look for changes of `localMetadata`.
    pub config_path: Option<std::path::PathBuf>,
    /// Overrides every other URL of SAPI.
    pub sapi_url: Option<String>,
    /// The operating system.
    pub host: Arc<dyn Host>,
}

/// The zone, and the right to write in it.
pub(super) struct Prepared {
    pub(super) config: ConfigFile,
    pub(super) config_path: Option<std::path::PathBuf>,
    pub(super) host: Arc<dyn Host>,
    pub(super) facts: Facts,
    pub(super) sapi_url: String,
    /// Of the zone's data; or why it is not known.
    pub(super) data_id: Result<String, String>,
    /// Held as long as we write; gone with the process, however it ends.
    pub(super) lock: Option<File>,
}

/// Gets the zone for ourselves; whoever has it may take `patience` to end.
pub(super) async fn prepare(
    start: Start,
    patience: Duration,
) -> Result<Prepared, RunError> {
    let Start { config, config_path, sapi_url, host } = start;
    for key in config.unknown.keys() {
        warn!(key = %key, "key of the configuration is not known");
    }
    let facts = gather(host.as_ref(), &config).await;
    if facts.instance.is_empty() {
        return Err(RunError::NoInstance);
    }
    // The zone's metadata wins over the file, as with the Node agent: a file
    // written at set-up goes stale when SAPI moves.
    let sapi_url = sapi_url
        .or_else(|| facts.sapi_url.clone())
        .or_else(|| config.sapi.url.clone())
        .ok_or(RunError::NoSapi)?;
    let lock = lock(&config.state_dir, patience).await?;
    for name in [
        "config.json",
        "applied.json",
        "found.json",
        "compactor.json",
        data::FILE,
    ] {
        sweep(&config.state_dir.join(name));
    }
    let data_id = data::id(&config.state_dir, lock.is_some());
    if let Err(told) = &data_id {
        warn!(err.message = %told, "the data's id is not known");
    }
    Ok(Prepared { config, config_path, host, facts, sapi_url, data_id, lock })
}

/// Locks the state folder: files are staged under fixed names, so two writers
/// would spoil each other's. A folder that cannot be written is no reason not
/// to answer DNS, and no file gets spoilt there.
async fn lock(
    state: &Path,
    patience: Duration,
) -> Result<Option<File>, RunError> {
    let path = state.join("lock");
    let opened = std::fs::create_dir_all(state).and_then(|()| {
        let mut options = File::options();
        options.create(true).truncate(false).write(true).mode(0o600);
        options.open(&path)
    });
    let begin = tokio::time::Instant::now();
    let error = loop {
        let file = match &opened {
            Ok(file) => file,
            Err(error) => break error.to_string(),
        };
        match file.try_lock() {
            Ok(()) => return Ok(opened.ok()),
            Err(TryLockError::Error(error)) => break error.to_string(),
            Err(TryLockError::WouldBlock) if begin.elapsed() >= patience => {
                return Err(RunError::Locked(path));
            }
            Err(TryLockError::WouldBlock) => {
                tokio::time::sleep(LOCK_PAUSE).await;
            }
        }
    };
    warn!(
        path = %path.display(),
        err.message = %error,
        "could not lock the state folder"
    );
    Ok(None)
}

#[cfg(test)]
mod tests;
