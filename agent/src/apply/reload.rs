// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Makes a daemon take files that are already in place, once, and tells a
//! refusal (the daemon judged and said no) from a daemon that could not be
//! asked just now.

use std::time::Duration;

use tokio::time::Instant;

use crate::host::{Action, DaemonState, Host, HostError, HostFuture};
use crate::log::chain;
use crate::render::DaemonSpec;

/// How long a daemon may take to come up before we stop watching it.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Pause between two looks at a daemon that is coming up.
const READY_PAUSE: Duration = Duration::from_millis(200);

/// Talks HTTP to a daemon on loopback; given by whoever starts us.
pub trait DaemonHttp: Send + Sync {
    /// `POST url` without a body: status and the start of the answer's text.
    fn post<'a>(&'a self, url: &'a str) -> HttpFuture<'a>;
    /// `GET url`, likewise.
    fn get<'a>(&'a self, url: &'a str) -> HttpFuture<'a>;
}

/// Status and text, or why there is none.
pub type HttpFuture<'a> = std::pin::Pin<
    Box<dyn Future<Output = Result<(u16, String), String>> + Send + 'a>,
>;

/// Why a daemon did not take its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Declined {
    /// It judged them and said no: the last good ones go back.
    Refused(String),
    /// It does not even start with them.
    WouldNotStart(String),
    /// It could not be asked; the same files are tried again later.
    Unavailable(String),
}

/// What a daemon needs to take its files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    /// Flags changed: it must start anew.
    pub(super) restart: bool,
    /// It was never started on this root file system. Otherwise one that is
    /// disabled was disabled, or stopped, by an operator, and stays so.
    pub(super) enable: bool,
}

/// Reloads, restarts or starts the daemon, whichever it needs.
pub(super) async fn take(
    host: &dyn Host,
    http: &dyn DaemonHttp,
    daemon: &DaemonSpec,
    needs: Needs,
) -> Result<(), Declined> {
    let name = daemon.name.as_str();
    let unavailable = |error: HostError| Declined::Unavailable(chain(&error));
    let state = host.state(name).await.map_err(unavailable)?;
    match state {
        DaemonState::Absent => Err(Declined::Unavailable(format!(
            "the service manager knows no {name}"
        ))),
        DaemonState::Online if !needs.restart => {
            reload(host, http, daemon).await
        }
        DaemonState::Online => {
            host.control(name, Action::Restart).await.map_err(unavailable)?;
            come_up(host, http, daemon).await
        }
        DaemonState::Disabled if !needs.enable => {
            Err(Declined::Unavailable(format!(
                "{name} was disabled or stopped by an operator; it stays so"
            )))
        }
        DaemonState::Disabled | DaemonState::Offline => {
            host.control(name, Action::Enable).await.map_err(unavailable)?;
            come_up(host, http, daemon).await
        }
        DaemonState::Maintenance => {
            host.control(name, Action::Clear).await.map_err(unavailable)?;
            // SMF starts a cleared service by itself; systemd does not.
            let state = host.state(name).await.map_err(unavailable)?;
            if state != DaemonState::Online {
                let enable: HostFuture<'_, ()> =
                    host.control(name, Action::Enable);
                enable.await.map_err(unavailable)?;
            }
            come_up(host, http, daemon).await
        }
    }
}

async fn reload(
    host: &dyn Host,
    http: &dyn DaemonHttp,
    daemon: &DaemonSpec,
) -> Result<(), Declined> {
    if let Some(url) = &daemon.ready_url
        && let Ok((503, _)) = http.get(url).await
    {
        // A reload would only queue up behind the write-ahead log.
        return Err(Declined::Unavailable("it is still starting".to_owned()));
    }
    let Some(url) = &daemon.reload_url else {
        let refresh = host.control(&daemon.name, Action::Refresh);
        return refresh.await.map_err(|e| Declined::Unavailable(chain(&e)));
    };
    match http.post(url).await {
        Ok((200, _)) => Ok(()),
        // Not there yet, or a front that cannot reach it.
        Ok((status @ (502..=504), text)) => {
            Err(Declined::Unavailable(format!("{url}: {status} {text}")))
        }
        Ok((status, text)) => {
            Err(Declined::Refused(format!("{status}: {}", one_line(&text))))
        }
        Err(reason) => Err(Declined::Unavailable(format!("{url}: {reason}"))),
    }
}

/// Waits until the daemon answers. One that keeps falling over refuses its
/// files; one that merely takes long (a write-ahead log to replay) has taken
/// them.
async fn come_up(
    host: &dyn Host,
    http: &dyn DaemonHttp,
    daemon: &DaemonSpec,
) -> Result<(), Declined> {
    let deadline = Instant::now() + READY_TIMEOUT;
    let mut was_online = false;
    let mut falls = 0;
    loop {
        if let Some(url) = &daemon.ready_url
            && let Ok((200, _)) = http.get(url).await
        {
            return Ok(());
        }
        let state = host.state(&daemon.name).await;
        match state {
            Ok(DaemonState::Maintenance) => {
                return Err(Declined::WouldNotStart(format!(
                    "{} does not start; its log says why",
                    daemon.name
                )));
            }
            Ok(DaemonState::Online) => {
                if daemon.ready_url.is_none() {
                    return Ok(());
                }
                was_online = true;
            }
            Ok(_) if was_online => {
                was_online = false;
                falls += 1;
            }
            _ => {}
        }
        if falls >= 2 {
            return Err(Declined::WouldNotStart(format!(
                "{} starts and falls over; its log says why",
                daemon.name
            )));
        }
        if Instant::now() >= deadline {
            return match state {
                Ok(DaemonState::Online) => {
                    tracing::warn!(
                        daemon = %daemon.name,
                        "daemon runs but is not ready yet"
                    );
                    Ok(())
                }
                _ => Err(Declined::WouldNotStart(format!(
                    "{} did not come up within {} s",
                    daemon.name,
                    READY_TIMEOUT.as_secs()
                ))),
            };
        }
        tokio::time::sleep(READY_PAUSE).await;
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
