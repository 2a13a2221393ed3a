// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What stands behind nginx in a Grafana zone: a Grafana that tells what it
//! was asked, and a sign-in proxy for four people. Both on Unix sockets, as
//! in the zone.
//!
//! As a program it is what an image has in the place of Grafana: it serves
//! the socket that its configuration names.
//!
//! Its people, by HTTP Basic and any password: `operator` may come in,
//! `customer` may not, `busy` tried too often, `broken` makes it fail.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Largest body read.
const BODY_LIMIT: usize = 64 << 20;

/// Runs with the arguments after the program's name; returns the exit code.
pub(crate) fn run(args: &[String]) -> u8 {
    let done = match args {
        [verb, .., option, ini] if verb == "server" && option == "--config" => {
            stay(Path::new(ini))
        }
        _ => Err(format!("grafana stand-in: unknown arguments {args:?}")),
    };
    match done {
        Ok(()) => 0,
        Err(reason) => {
            eprintln!("{reason}");
            1
        }
    }
}

fn stay(ini: &Path) -> Result<(), String> {
    let shown = ini.display();
    let text =
        fs::read_to_string(ini).map_err(|error| format!("{shown}: {error}"))?;
    let socket = text
        .lines()
        .find_map(|line| line.strip_prefix("socket = "))
        .ok_or_else(|| format!("{shown} has no socket"))?;
    let serve = async {
        let _socket = Socket::grafana(Path::new(socket))?;
        std::future::pending().await
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(serve))
        .map_err(|error| format!("{socket}: {error}"))
}

/// One request that arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    /// GET, POST, ...
    pub method: String,
    /// Path and query as they came.
    pub uri: String,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    /// Length of the body.
    pub body: usize,
}

impl Asked {
    /// Every value of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let headers = self.headers.iter();
        headers.filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }
}

/// A stand-in on a Unix socket; dropping it closes its door.
#[derive(Debug)]
pub struct Socket {
    log: Log,
    _stop: DropGuard,
}

#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<Asked>>>);

impl Log {
    fn add(&self, asked: Asked) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    }
}

impl Socket {
    /// A Grafana at `path`, which it makes as Grafana does: for its user and
    /// its group, which is that of nginx' workers.
    pub fn grafana(path: &Path) -> io::Result<Self> {
        Self::serve(path, |log| Router::new().fallback(grafana).with_state(log))
    }

    /// A sign-in proxy at `path`.
    pub fn sign_in(path: &Path) -> io::Result<Self> {
        Self::serve(path, |log| Router::new().fallback(sign_in).with_state(log))
    }

    fn serve(
        path: &Path,
        router: impl FnOnce(Log) -> Router,
    ) -> io::Result<Self> {
        let _ = fs::remove_file(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
        // Others have it for their own group, and may have no other.
        if nix::unistd::Uid::effective().is_root() {
            let group = nix::unistd::Group::from_name("daemon")?;
            nix::unistd::chown(path, None, group.map(|group| group.gid))?;
        }
        let log = Log::default();
        let app = router(log.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let path = path.to_owned();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                _ = axum::serve(listener, app) => {}
            }
            let _ = fs::remove_file(path);
        });
        Ok(Self { log, _stop: stop.drop_guard() })
    }

    /// What arrived since this was called last, beside the agent's own
    /// questions after Grafana's health, which come when they come.
    pub fn asked(&self) -> Vec<Asked> {
        let mut log = self.log.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut asked = std::mem::take(&mut *log);
        asked.retain(|asked| {
            let agents = asked.all("user-agent");
            !agents.iter().any(|name| name.starts_with("triton-monitoring/"))
        });
        asked
    }
}

async fn note(log: &Log, request: Request) {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, BODY_LIMIT).await.map_or(0, |b| b.len());
    let headers = head.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    log.add(Asked {
        method: head.method.to_string(),
        uri: head.uri.to_string(),
        headers: headers.collect(),
        body,
    });
}

async fn grafana(State(log): State<Log>, mut request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let upgrade = request.headers().get(header::UPGRADE).cloned();
    let socket = (path == "/api/live/ws" && upgrade.is_some())
        .then(|| hyper::upgrade::on(&mut request));
    let user = user(request.headers());
    note(&log, request).await;
    if let Some(socket) = socket {
        tokio::spawn(async move {
            if let Ok(socket) = socket.await {
                let (mut read, mut write) =
                    tokio::io::split(TokioIo::new(socket));
                let _ = tokio::io::copy(&mut read, &mut write).await;
            }
        });
        return (
            StatusCode::SWITCHING_PROTOCOLS,
            [(header::UPGRADE, "websocket"), (header::CONNECTION, "upgrade")],
        )
            .into_response();
    }
    let body = match path.as_str() {
        "/api/health" => "{\"database\": \"ok\"}",
        "/api/user" => user.as_str(),
        "/metrics" => "grafana_build_info 1\n",
        _ => "grafana\n",
    };
    ([("x-frame-options", "deny")], body.to_owned()).into_response()
}

/// Who the headers say that asks, whatever the names end with.
fn user(headers: &HeaderMap) -> String {
    let mut user = serde_json::Map::new();
    for (key, stem) in [("login", "username"), ("role", "role")] {
        let stem = format!("x-grafana-{stem}");
        let mut headers = headers.iter();
        let value = headers.find(|(name, _)| name.as_str().starts_with(&stem));
        let value = value.and_then(|(_, value)| value.to_str().ok());
        user.insert(key.to_owned(), value.into());
    }
    serde_json::Value::Object(user).to_string()
}

async fn sign_in(State(log): State<Log>, request: Request) -> Response {
    let who = login(request.headers());
    // What people see instead has no challenge of its own.
    let seen = request.uri().path() == "/refused";
    note(&log, request).await;
    if seen {
        return (StatusCode::UNAUTHORIZED, "sign in\n").into_response();
    }
    match who.as_deref() {
        Some("operator") => (
            [
                ("x-grafana-username", "operator"),
                ("x-grafana-name", "Zo=C3=AB"),
                ("x-grafana-email", "operator@example.com"),
                ("x-grafana-role", "Admin"),
                ("set-cookie", "session=1; Secure; HttpOnly"),
            ],
            "",
        )
            .into_response(),
        Some("customer") => StatusCode::FORBIDDEN.into_response(),
        Some("busy") => {
            (StatusCode::FORBIDDEN, [("retry-after", "30")]).into_response()
        }
        Some("broken") => Response::builder()
            .status(StatusCode::INTERNAL_SERVER_ERROR)
            .body(Body::empty())
            .unwrap_or_default(),
        _ => (
            StatusCode::UNAUTHORIZED,
            [("www-authenticate", "Basic realm=\"Grafana\"")],
        )
            .into_response(),
    }
}

/// The login of HTTP Basic.
fn login(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let pair = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    Some(pair.split_once(':')?.0.to_owned())
}
