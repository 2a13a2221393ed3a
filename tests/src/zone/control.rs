// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the supervisor is asked and answers: one JSON line each way on a
//! unix socket, one request per connection. Used by the zone's own commands
//! and by the harness outside.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// The socket, seen from inside a zone.
pub(crate) const SOCKET: &str = "/run/zone/control";
/// Longest request or answer, in bytes.
pub(crate) const MAX_LINE: u64 = 1 << 20;

/// What is to happen to a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verb {
    Start,
    Stop,
    Restart,
    TryRestart,
    Reload,
    ReloadOrRestart,
    ResetFailed,
    Enable,
    Disable,
}

/// A request. All but `Show`, `List`, `Zonename` are for root only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Unit { verb: Verb, unit: String },
    Kill { unit: String, signal: i32 },
    Show { unit: String },
    List,
    Zonename,
    Metadata { key: String },
    SetMetadata { key: String, value: Option<String> },
    RewriteResolvConf { text: String },
    Exec(ExecRequest),
    Shutdown,
}

/// A command to run once. Its stdin, stdout and stderr are the files
/// `<id>.in` (may be absent), `<id>.out` and `<id>.err` in the exec folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ExecRequest {
    pub(crate) id: String,
    pub(crate) argv: Vec<String>,
    pub(crate) user: Option<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) limit: Duration,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done,
    Unit(UnitView),
    Units(Vec<UnitView>),
    Value(Option<String>),
    Exited { code: Option<i32>, signal: Option<i32>, too_late: bool },
    Refused(Refusal),
}

/// Why not.
#[derive(
    Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error,
)]
pub(crate) enum Refusal {
    #[error("no such unit")]
    NoSuchUnit,
    #[error("the unit is not active")]
    NotActive,
    #[error("the unit cannot reload")]
    NotReloadable,
    #[error("the unit failed to start")]
    StartFailed,
    #[error("the unit was started too often")]
    StartedTooOften,
    #[error("not allowed for uid {0}")]
    NotAllowed(u32),
    #[error("{0}")]
    Failed(String),
}

/// A unit as `systemctl show` sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitView {
    /// Name without `.service`.
    pub name: String,
    /// `loaded` or `not-found`.
    pub load_state: String,
    /// `active`, `activating`, `deactivating`, `inactive`, `failed`.
    pub active_state: String,
    /// `running`, `auto-restart`, `stop-sigterm`, `dead`, ...
    pub sub_state: String,
    /// Pid inside the zone; 0 when there is none.
    pub main_pid: i32,
    /// `success`, `exit-code`, `signal`, `timeout`, `start-limit-hit`.
    pub result: String,
    /// Exit code or signal number of the last run that ended.
    pub exec_main_status: i32,
    /// Automatic restarts since the last start by request.
    pub restarts: u32,
    /// Whether a boot starts it.
    pub enabled: bool,
    /// Whether it reloads.
    pub can_reload: bool,
}

impl UnitView {
    /// What systemd says of a unit it does not know.
    pub(crate) fn missing(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            load_state: "not-found".into(),
            active_state: "inactive".into(),
            sub_state: "dead".into(),
            main_pid: 0,
            result: "success".into(),
            exec_main_status: 0,
            restarts: 0,
            enabled: false,
            can_reload: false,
        }
    }

    /// Whether systemd would have it in its books.
    pub fn is_known(&self) -> bool {
        self.load_state == "loaded"
    }
}

/// Asks the supervisor at `socket` within `limit`.
pub(crate) async fn ask(
    socket: &Path,
    request: &Request,
    limit: Duration,
) -> io::Result<Reply> {
    let line = serde_json::to_vec(request).map_err(io::Error::other)?;
    let answer = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(&line).await?;
        stream.write_all(b"\n").await?;
        let text = read_line(&mut stream).await?;
        serde_json::from_str(&text).map_err(io::Error::other)
    };
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Reads one bounded line.
pub(crate) async fn read_line(stream: &mut UnixStream) -> io::Result<String> {
    let mut text = String::new();
    let mut reader = BufReader::new(stream.take(MAX_LINE));
    reader.read_line(&mut text).await?;
    if !text.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text)
}
