// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! CMON: discovery and the metrics of every VM and compute node behind one
//! TLS listener, routed by the first label of `Host`. Requests pass the steps
//! in CMON's own order; the certificate is judged in `cmon_judge`.
//!
//! Not imitated: compression, the second listener with CMON's own metrics, a
//! node that drops out of the cache because its agent is down.

mod discover;
mod limit;
mod metrics;
#[cfg(test)]
mod tests;
mod tls;

use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName, SERVER};
use axum::http::{HeaderValue, Method, Response, StatusCode};
use serde_json::json;
use time::{Duration, OffsetDateTime};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use uuid::Uuid;

use crate::cmon_judge::{Administrator, judge_with};
use crate::datacenter::{Account, Datacenter, Facts};
use crate::http::{self, Call, Front, Handler};
use crate::tags::check_groups;

pub use tls::{ServerIdentity, TlsError};

/// A handle to one CMON; clones share everything.
#[derive(Clone)]
pub struct Cmon {
    inner: Arc<Inner>,
}

struct Inner {
    datacenter: Arc<Datacenter>,
    front: Front,
    limit: Mutex<limit::Limit>,
    settings: Mutex<Settings>,
}

/// What can be changed while it runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Login that no rate limit binds: SAPI's `ufds_admin_login`.
    pub admin_login: String,
    /// SAPI's `discover_include_stopped`.
    pub include_stopped: bool,
    /// Fault: every certificate is refused (401).
    pub refuse_certificates: bool,
    /// Fault: discovery finds nothing (200).
    pub empty_discovery: bool,
    /// How far CMON's clock is ahead of ours; negative when behind.
    pub clock_ahead: Duration,
    /// Subusers with the role `administrator`.
    pub administrators: Vec<Administrator>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            admin_login: "admin".to_owned(),
            include_stopped: false,
            refuse_certificates: false,
            empty_discovery: false,
            clock_ahead: Duration::ZERO,
            administrators: Vec::new(),
        }
    }
}

/// An error answer: status, restify's code, message.
struct Refusal(u16, &'static str, String);

impl Refusal {
    fn not_found() -> Self {
        Self(404, "NotFoundError", String::new())
    }
}

/// A good answer.
enum Reply {
    Text(String),
    Json(serde_json::Value),
}

impl Cmon {
    /// A CMON over `datacenter`.
    pub fn new(datacenter: Arc<Datacenter>) -> Self {
        Self {
            inner: Arc::new(Inner {
                datacenter,
                front: Front::default(),
                limit: Mutex::default(),
                settings: Mutex::default(),
            }),
        }
    }

    /// Answers HTTPS on `listener` until `stop`, with the server certificate
    /// of `identity`.
    pub async fn serve(
        self,
        listener: TcpListener,
        identity: ServerIdentity,
        stop: CancellationToken,
    ) -> Result<(), TlsError> {
        let acceptor = identity.acceptor()?;
        http::serve(self, listener, Some(acceptor), stop).await;
        Ok(())
    }

    /// Request log and faults.
    pub fn front(&self) -> &Front {
        &self.inner.front
    }

    /// Changes the settings from the next request on.
    pub fn configure(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings());
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.inner.settings.lock().expect("no holder panics")
    }

    fn respond(&self, call: &Call, facts: &Facts) -> Result<Reply, Refusal> {
        let settings = self.settings().clone();
        let host = call.header("host").unwrap_or_default();
        let label = host.split(['.', ':']).next().unwrap_or_default();
        let is_cmon = label.eq_ignore_ascii_case("cmon");
        if !is_cmon && !is_uuid(label) {
            return Err(Refusal::not_found());
        }
        if matches!(call.path(), "/_ping" | "/v1/_ping") {
            return Ok(Reply::Text("OK".to_owned()));
        }
        let now = OffsetDateTime::now_utc() + settings.clock_ahead;
        let login = self.login(call, facts, &settings, now)?;
        let account = facts.account(&login).ok_or_else(Refusal::not_found)?;
        if !is_cmon && !may_see(facts, account, label) {
            return Err(Refusal::not_found());
        }
        self.spend(&login, &settings)?;
        if call.method != Method::GET {
            return Err(no_route(call));
        }
        let now_ms = (now.unix_timestamp_nanos() / 1_000_000).max(0) as u64;
        match (call.path(), is_cmon) {
            ("/v1/discover", true) => {
                discover(call, facts, account, &settings, now_ms)
            }
            ("/v1/gz/discover", true) if settings.empty_discovery => {
                Ok(Reply::Json(json!({"cns": []})))
            }
            ("/v1/gz/discover", true) => {
                Ok(Reply::Json(discover::compute_nodes(facts)))
            }
            ("/metrics", false) => metrics_of(facts, label, now_ms),
            _ => Err(no_route(call)),
        }
    }

    /// Judges the certificate; every refusal looks the same from outside.
    fn login(
        &self,
        call: &Call,
        facts: &Facts,
        settings: &Settings,
        now: OffsetDateTime,
    ) -> Result<String, Refusal> {
        let refused = || Refusal(401, "UnauthorizedError", String::new());
        if settings.refuse_certificates {
            return Err(refused());
        }
        let leaf = call.certificate.as_deref();
        judge_with(leaf, facts, &settings.administrators, now).map_err(|why| {
            debug!(%why, "client certificate refused");
            refused()
        })
    }

    fn spend(&self, login: &str, settings: &Settings) -> Result<(), Refusal> {
        let mut limit = self.inner.limit.lock().expect("no holder panics");
        let free = login == settings.admin_login;
        if free || limit.take(login, Instant::now()) {
            return Ok(());
        }
        let rate = limit::REFILL_PER_SECOND;
        let message = format!("more than {rate} r/s for {login}");
        Err(Refusal(429, "TooManyRequestsError", message))
    }
}

/// Own cached VMs; compute nodes for an operator who owns a cached VM.
fn may_see(facts: &Facts, account: &Account, uuid: &str) -> bool {
    let mut own = discover::cached_vms(facts, account);
    if facts.servers.iter().any(|server| server.uuid == uuid) {
        return account.operator && own.next().is_some();
    }
    own.any(|vm| vm.uuid == uuid)
}

fn discover(
    call: &Call,
    facts: &Facts,
    account: &Account,
    settings: &Settings,
    now_ms: u64,
) -> Result<Reply, Refusal> {
    let query = call.query();
    let groups = query.iter().find(|(key, _)| key == "groups");
    // Assumed: an empty list is as bad as an empty element.
    let groups = groups
        .map(|(_, groups)| check_groups(groups))
        .transpose()
        .map_err(|why| Refusal(400, "BadRequestError", why))?;
    if settings.empty_discovery {
        return Ok(Reply::Json(json!({"containers": []})));
    }
    Ok(Reply::Json(discover::containers(
        facts,
        account,
        groups.as_deref(),
        settings.include_stopped,
        now_ms,
    )))
}

fn metrics_of(
    facts: &Facts,
    uuid: &str,
    now_ms: u64,
) -> Result<Reply, Refusal> {
    let servers = || facts.servers.iter();
    if let Some(server) = servers().find(|server| server.uuid == uuid) {
        return Ok(Reply::Text(metrics::of_server(server, now_ms)));
    }
    facts
        .vm(uuid)
        .filter(|vm| vm.state == "running")
        .filter(|vm| servers().any(|server| server.uuid == vm.server_uuid))
        .map(|vm| Reply::Text(metrics::of_vm(vm, now_ms)))
        .ok_or_else(Refusal::not_found)
}

fn no_route(call: &Call) -> Refusal {
    let message = format!("{} does not exist", call.path());
    Refusal(404, "ResourceNotFound", message)
}

/// 8-4-4-4-12 hex digits in either case.
fn is_uuid(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok()
}

impl Handler for Cmon {
    fn front(&self) -> &Front {
        &self.inner.front
    }

    fn answer(&self, call: &Call) -> Response<Body> {
        let started = Instant::now();
        let done =
            self.inner.datacenter.read(|facts| self.respond(call, facts));
        let (status, kind, body) = match done {
            // No version parameter, and none of the charset either.
            Ok(Reply::Text(text)) => (200, "text/plain", text),
            Ok(Reply::Json(value)) => {
                (200, "application/json", value.to_string())
            }
            Err(Refusal(status, code, message)) => {
                let body = json!({"code": code, "message": message});
                (status, "application/json", body.to_string())
            }
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() =
            StatusCode::from_u16(status).expect("statuses here are valid");
        let took_ms = started.elapsed().as_millis().to_string();
        for (name, value) in [
            (CONTENT_TYPE, kind),
            (SERVER, "cmon"),
            (HeaderName::from_static("x-server-name"), "cmon0"),
            (HeaderName::from_static("x-response-time"), &took_ms),
            (
                HeaderName::from_static("x-request-id"),
                &Uuid::new_v4().to_string(),
            ),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
