// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What verb dns asks of the running agent, on loopback beside the page:
//!
//! | request | what |
//! |---|---|
//! | `GET /dns/zone/NAME[?form=json]` | the zone, record by record |
//! | `GET /dns/ways?name=N&type=T` | who would answer |
//! | `POST /dns/refresh?zone=NAME` | ask the primary now |
//! | `POST /dns/flush[?name=N]` | forget what is cached |
//!
//! A page in somebody's browser must not reach these, be it by a form, by a
//! script, or by a name of its own that leads to loopback: `Host` has to name
//! loopback, and a change wants a header that no page may set without our
//! leave, which nobody gets.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::zones::ZonePart;
use crate::dns::{DumpForm, NamesHandle, ZoneDump};
use crate::log::chain;
use crate::model::dns::ZoneName;

/// Header that a request for a change bears; its value says nothing.
pub const CHANGE_HEADER: &str = "x-config-agent";
/// A refresh may wait for the round before it and for a silent primary.
pub const REFRESH_LIMIT: Duration = Duration::from_secs(20);
/// Dumps at a time; each has a thread and one version of a zone.
const DUMPS: usize = 2;
/// A dump whose reader takes nothing for so long is given up.
const STALLED: Duration = Duration::from_secs(30);
/// Chunks that wait for a reader.
const BACKLOG: usize = 2;

#[derive(Clone)]
struct Control {
    names: NamesHandle,
    dumps: Arc<Semaphore>,
}

/// What a request is told that cannot be done: status, and why.
type Refusal = (StatusCode, String);

/// The routes; none when no name server runs.
pub(super) fn routes(names: Option<NamesHandle>) -> Router {
    let Some(names) = names else { return Router::new() };
    Router::new()
        .route("/dns/zone/{name}", get(dump))
        .route("/dns/ways", get(ways))
        .route("/dns/refresh", post(refresh))
        .route("/dns/flush", post(flush))
        .layer(middleware::from_fn(guard))
        .with_state(Control { names, dumps: Arc::new(Semaphore::new(DUMPS)) })
}

async fn guard(request: Request, next: Next) -> Response {
    let change = request.method() == Method::POST;
    match refuse(request.headers(), change) {
        Some(why) => {
            (StatusCode::FORBIDDEN, format!("{why}\n")).into_response()
        }
        None => next.run(request).await,
    }
}

fn refuse(headers: &HeaderMap, change: bool) -> Option<&'static str> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(is_loopback) {
        return Some("Host must be an address of loopback, or localhost");
    }
    if change && !headers.contains_key(CHANGE_HEADER) {
        return Some("header x-config-agent is missing");
    }
    if change && headers.contains_key(header::ORIGIN) {
        return Some("pages may change nothing");
    }
    None
}

fn is_loopback(host: &str) -> bool {
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let name = without_port.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn not_found(zone: &ZoneName) -> Refusal {
    (StatusCode::NOT_FOUND, format!("no copy of a zone {zone}\n"))
}

fn bad(error: &dyn std::error::Error) -> Refusal {
    (StatusCode::BAD_REQUEST, format!("{}\n", chain(error)))
}

#[derive(Deserialize)]
struct DumpQuery {
    form: Option<String>,
}

async fn dump(
    State(control): State<Control>,
    Path(name): Path<String>,
    Query(query): Query<DumpQuery>,
) -> Result<Response, Refusal> {
    let zone = ZoneName::parse(&name).map_err(|error| bad(&error))?;
    let (form, kind) = match query.form.as_deref() {
        Some("json") => (DumpForm::JsonLines, "application/jsonl"),
        _ => (DumpForm::ZoneFile, "text/dns; charset=utf-8"),
    };
    let dump = control.names.dump(&zone).ok_or_else(|| not_found(&zone))?;
    let permit = control.dumps.try_acquire_owned().map_err(|_| {
        let why = format!("{DUMPS} dumps are under way\n");
        (StatusCode::SERVICE_UNAVAILABLE, why)
    })?;
    Ok(([(header::CONTENT_TYPE, kind)], stream(dump, form, permit))
        .into_response())
}

/// The dump as it is written, by a thread of its own.
fn stream(
    dump: ZoneDump,
    form: DumpForm,
    permit: OwnedSemaphorePermit,
) -> Body {
    // `None` is the end; a stream without it was cut short, and the reader
    // must know.
    let (sender, receiver) = mpsc::channel::<Option<String>>(BACKLOG);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let send = |chunk| {
            let sending = timeout(STALLED, sender.send(chunk));
            matches!(runtime.block_on(sending), Ok(Ok(())))
        };
        let mut whole = true;
        dump.write(form, |chunk| {
            whole = send(Some(chunk));
            whole
        });
        if whole {
            send(None);
        }
    });
    let chunks =
        futures_util::stream::unfold(Some(receiver), |receiver| async {
            let mut receiver = receiver?;
            match receiver.recv().await {
                Some(Some(chunk)) => {
                    Some((Ok(Bytes::from(chunk)), Some(receiver)))
                }
                Some(None) => None,
                None => Some((Err(io::Error::other("cut short")), None)),
            }
        });
    Body::from_stream(chunks)
}

#[derive(Deserialize)]
struct WaysQuery {
    name: String,
    #[serde(rename = "type")]
    rtype: String,
}

async fn ways(
    State(control): State<Control>,
    Query(query): Query<WaysQuery>,
) -> Result<impl IntoResponse, Refusal> {
    let ways = control.names.ways(&query.name, &query.rtype);
    ways.map(Json).map_err(|error| bad(&error))
}

#[derive(Deserialize)]
struct RefreshQuery {
    zone: String,
}

async fn refresh(
    State(control): State<Control>,
    Query(query): Query<RefreshQuery>,
) -> Result<Json<ZonePart>, Refusal> {
    let zone = ZoneName::parse(&query.zone).map_err(|error| bad(&error))?;
    match control.names.refresh(&zone, REFRESH_LIMIT).await {
        None => Err(not_found(&zone)),
        Some(Ok(status)) => Ok(Json(status.into())),
        Some(Err(error)) => Err((
            StatusCode::GATEWAY_TIMEOUT,
            format!("zone {zone}: {}\n", chain(&error)),
        )),
    }
}

#[derive(Deserialize)]
struct FlushQuery {
    name: Option<String>,
}

async fn flush(
    State(control): State<Control>,
    Query(query): Query<FlushQuery>,
) -> Result<impl IntoResponse, Refusal> {
    let forgotten = control.names.flush(query.name.as_deref());
    let forgotten = forgotten.map_err(|error| bad(&error))?;
    Ok(Json(serde_json::json!({ "forgotten": forgotten })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(headers: &[(&'static str, &str)], change: bool) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        refuse(&map, change).is_none()
    }

    #[test]
    fn pages_of_others_change_nothing() {
        let here = ("host", "127.0.0.1:9165");
        let sign = (CHANGE_HEADER, "1");
        assert!(verdict(&[here, sign], true));
        assert!(!verdict(&[here], true), "a form");
        let script = ("origin", "http://evil.example");
        assert!(!verdict(&[here, sign, script], true));
        // A name of somebody's that leads to 127.0.0.1.
        assert!(!verdict(&[("host", "evil.example"), sign], true));
        assert!(!verdict(&[("host", "evil.example:9165")], false));
        assert!(!verdict(&[sign], true), "no Host at all");
        for host in
            ["localhost", "LOCALHOST:9165", "127.1.2.3", "[::1]:9165", "[::1]"]
        {
            assert!(verdict(&[("host", host)], false), "{host}");
        }
    }
}
