// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! From a request to SAPI's answer, in restify's order: path and method,
//! version, `Accept`, body, then the endpoint. What is refused before routing
//! lacks the headers that routed answers carry.

use axum::body::Body;
use axum::http::header::{
    ALLOW, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH, SERVER,
};
use axum::http::{HeaderValue, Method, Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::State;
use super::config;
use super::etag::etag;
use super::objects::{Object, Refusal, Store, text, truthy};
use super::route::{Action, Kind, Route, Version, route, version};
use super::zones;
use crate::http::{Call, empty_chunked};

/// What an endpoint hands back.
enum Reply {
    Json(Value),
    /// 500, and a body as if it were well: a ping while the store is away.
    Unwell(Value),
    /// 204.
    Nothing,
    /// 404 without a body: DELETE of unknown objects.
    EmptyNotFound,
    Config(Value),
}

/// Answers one request.
pub(super) fn answer(
    call: &Call,
    state: &mut State,
    server_uuid: &str,
) -> Response<Body> {
    let segments = call.segments();
    let action = match route(&call.method, &segments) {
        Route::To(action) => action,
        Route::NoPath => {
            let message = format!("{} does not exist", call.path());
            return error(&Refusal::new(404, "ResourceNotFound", message));
        }
        Route::WrongMethod(allow) => {
            let message = format!("{} is not allowed", call.method);
            let refusal = Refusal::new(405, "MethodNotAllowedError", message);
            let mut response = error(&refusal);
            set(&mut response, ALLOW, &allow);
            return response;
        }
    };
    let Some(version) = version(call.header("accept-version")) else {
        let asked = call.header("accept-version").unwrap_or_default();
        let message = format!(
            "{asked} is not supported by {} {}",
            call.method,
            call.path()
        );
        return error(&Refusal::new(400, "InvalidVersion", message));
    };
    let mut response = match format_wanted(call.header("accept")) {
        None => empty(406),
        Some(format) => {
            let done = bag(call, &segments)
                .and_then(|bag| act(action, &bag, state, server_uuid, version));
            match done {
                Ok(Reply::Config(config)) => conditional(call, config),
                Ok(Reply::Json(value)) => {
                    body(200, shown(action, value, version), format)
                }
                Ok(Reply::Unwell(value)) => body(500, value, format),
                Ok(Reply::Nothing) => empty(204),
                Ok(Reply::EmptyNotFound) => {
                    let mut response = Response::new(empty_chunked());
                    *response.status_mut() = StatusCode::NOT_FOUND;
                    response
                }
                Err(refusal) => error(&refusal),
            }
        }
    };
    let request_id = call
        .header("x-request-id")
        .map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
    set(&mut response, SERVER, "sapi/2.1.3");
    set(&mut response, HeaderName::from_static("x-request-id"), &request_id);
    let server_name = HeaderName::from_static("x-server-name");
    set(&mut response, server_name, "sapi0");
    response
}

/// Path, query and body in one bag; what comes first wins.
///
/// A body that is no JSON object counts for nothing here; the real one is
/// worse (an array replaces the whole bag).
fn bag(call: &Call, segments: &[String]) -> Result<Object, Refusal> {
    let mut bag = Object::new();
    if let Some(uuid) = segments.get(1) {
        bag.insert("uuid".to_owned(), json!(uuid));
    }
    for (key, value) in call.query() {
        bag.entry(key).or_insert(Value::String(value));
    }
    if call.method != Method::GET {
        let body = call.json().map_err(|why| {
            Refusal::new(400, "InvalidContent", format!("Invalid JSON: {why}"))
        })?;
        if let Some(Value::Object(body)) = body {
            for (key, value) in body {
                bag.entry(key).or_insert(value);
            }
        }
    }
    Ok(bag)
}

fn act(
    action: Action,
    bag: &Object,
    state: &mut State,
    server_uuid: &str,
    version: Version,
) -> Result<Reply, Refusal> {
    let uuid = text(bag, "uuid");
    if let Some(remembered) = &state.remembered {
        return act_alone(action, bag, remembered, server_uuid, version);
    }
    let object = |object: &Object| Reply::Json(Value::Object(object.clone()));
    Ok(match action {
        Action::Ping => Reply::Json(json!({
            "mode": state.mode,
            "storType": match state.mode {
                "proto" => "LocalStorage",
                _ => "MorayLocalStorage",
            },
            "storAvailable": true,
        })),
        Action::GetMode => Reply::Json(json!(state.mode)),
        Action::SetMode if text(bag, "mode") == "full" => {
            // Assumed: asking twice is no error.
            state.mode = "full";
            Reply::Nothing
        }
        Action::SetMode => return Err(Refusal::invalid("mode")),
        Action::SyncCache => Reply::Nothing,
        Action::GetLogLevel => Reply::Json(json!({"level": state.log_level})),
        Action::SetLogLevel => {
            // Assumed: the sheet does not say what comes back.
            let level = bag.get("level").and_then(bunyan_level);
            state.log_level = level.ok_or_else(|| Refusal::invalid("level"))?;
            Reply::Nothing
        }
        Action::Create(kind) => {
            let mut created = state.store.create(kind, bag)?;
            if kind == Kind::Instance {
                let job = zones::create(state, &created, asks_async(bag))?;
                // In the answer only; never stored.
                let made_up = asks_async(bag) && state.zones.is_none();
                let made_up = made_up.then(|| Uuid::new_v4().to_string());
                if let Some(job) = job.or(made_up) {
                    created.insert("job_uuid".to_owned(), json!(job));
                }
            }
            Reply::Json(Value::Object(created))
        }
        Action::List(kind) => {
            let found = state.store.list(kind, bag, version);
            Reply::Json(found.into_iter().cloned().map(Value::Object).collect())
        }
        Action::Get(kind) => object(state.store.get(kind, uuid)?),
        Action::Update(kind) => object(&state.store.update(kind, uuid, bag)?),
        Action::Delete(Kind::Instance) => {
            let found = state.store.get(Kind::Instance, uuid)?.clone();
            zones::destroy(state, &found)?;
            state.store.delete(Kind::Instance, uuid);
            Reply::Nothing
        }
        Action::Delete(kind) => match state.store.delete(kind, uuid) {
            true => Reply::Nothing,
            false => Reply::EmptyNotFound,
        },
        Action::Payload => Reply::Json(config::payload(&state.store, uuid)?),
        Action::Upgrade => {
            if !truthy(bag.get("image_uuid")) {
                let message = "missing: image_uuid";
                return Err(Refusal::new(409, "MissingParameter", message));
            }
            // Proto mode does nothing; an unknown one fails like a PUT.
            let found = state.store.get(Kind::Instance, uuid);
            let found = found.map_err(|r| Refusal::plain(r.message))?;
            zones::upgrade(state, found, text(bag, "image_uuid"))?;
            object(found)
        }
        Action::Config => {
            Reply::Config(config::config(&state.store, uuid, server_uuid)?)
        }
    })
}

/// What can be done without the store. The words of refusals are assumed.
fn act_alone(
    action: Action,
    bag: &Object,
    remembered: &Store,
    server_uuid: &str,
    version: Version,
) -> Result<Reply, Refusal> {
    let uuid = text(bag, "uuid");
    let value = |object: &Object| Value::Object(object.clone());
    Ok(match action {
        Action::Ping => Reply::Unwell(json!({
            "mode": "full",
            "storType": "MorayLocalStorage",
            "storAvailable": false,
        })),
        Action::List(kind) => {
            let found = remembered.list(kind, bag, version);
            Reply::Json(found.into_iter().map(value).collect())
        }
        Action::Get(kind) => Reply::Json(value(remembered.get(kind, uuid)?)),
        Action::Config => {
            Reply::Config(config::config(remembered, uuid, server_uuid)?)
        }
        _ => return Err(Refusal::plain("no connection to moray")),
    })
}

fn asks_async(bag: &Object) -> bool {
    matches!(bag.get("async"), Some(v) if v == "true" || v == true)
}

fn bunyan_level(level: &Value) -> Option<Value> {
    let names = ["trace", "debug", "info", "warn", "error", "fatal"];
    match level {
        Value::Number(_) => Some(level.clone()),
        Value::String(name) => {
            let at = names.iter().position(|n| n == name)?;
            Some(json!((at + 1) * 10))
        }
        _ => None,
    }
}

/// Version 1 shows no `type` on services and instances.
fn shown(action: Action, mut value: Value, version: Version) -> Value {
    use Action::{Create, Get, List, Update, Upgrade};
    let typed = match action {
        Create(kind) | Get(kind) | List(kind) | Update(kind) => {
            matches!(kind, Kind::Service | Kind::Instance)
        }
        action => action == Upgrade,
    };
    if typed && version == Version::V1 {
        let strip = |value: &mut Value| {
            if let Value::Object(object) = value {
                object.shift_remove("type");
            }
        };
        match &mut value {
            Value::Array(list) => list.iter_mut().for_each(strip),
            one => strip(one),
        }
    }
    value
}

/// 200 with the config, 304 or 412. `If-Match` is looked at first.
fn conditional(call: &Call, config: Value) -> Response<Body> {
    let etag = etag(&config);
    let matches = |name: HeaderName| {
        call.header(name.as_str()).map(|list| any_matches(list, &etag))
    };
    let mut response = if matches(IF_MATCH) == Some(false) {
        let message = "if-match did not match etag";
        error(&Refusal::new(412, "PreconditionFailed", message))
    } else if matches(IF_NONE_MATCH) == Some(true) {
        empty(304)
    } else {
        body(200, config, Format::Json)
    };
    set(&mut response, ETAG, &etag);
    response
}

/// Bare, quoted, `W/` and lists are all understood, and `*`.
fn any_matches(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|one| {
        let one = one.strip_prefix("W/").unwrap_or(one);
        one == "*" || one.trim_matches('"') == etag
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Text,
}

/// Content negotiation; `None` is a 406. The first range served wins; weights
/// are not looked at, except that 0 rules a range out.
fn format_wanted(accept: Option<&str>) -> Option<Format> {
    let Some(accept) = accept else { return Some(Format::Json) };
    accept.split(',').find_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        if parts.any(|p| p == "q=0" || p == "q=0.0") {
            return None;
        }
        match kind.as_str() {
            ""
            | "*/*"
            | "application/*"
            | "application/json"
            | "application/javascript"
            | "application/octet-stream" => Some(Format::Json),
            "text/plain" | "text/*" => Some(Format::Text),
            _ => None,
        }
    })
}

fn body(status: u16, value: Value, format: Format) -> Response<Body> {
    let (kind, text) = match (format, value) {
        (Format::Text, Value::String(bare)) => ("text/plain", bare),
        (Format::Text, value) => ("text/plain", value.to_string()),
        (Format::Json, value) => ("application/json", value.to_string()),
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() =
        StatusCode::from_u16(status).expect("statuses here are valid");
    set(&mut response, CONTENT_TYPE, kind);
    response
}

fn error(refusal: &Refusal) -> Response<Body> {
    if let Some(passed) = &refusal.body {
        return body(refusal.status, passed.clone(), Format::Json);
    }
    let mut value = json!({"message": refusal.message});
    if let Some(code) = refusal.code {
        value = json!({"code": code, "message": refusal.message});
    }
    body(refusal.status, value, Format::Json)
}

fn empty(status: u16) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() =
        StatusCode::from_u16(status).expect("statuses here are valid");
    response
}

/// Sets a header; a value that no header can hold is left out.
fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
