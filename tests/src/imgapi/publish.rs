// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! An IMGAPI as far as publishing asks it: images by uuid, import, file,
//! activation, with the refusals of the real one and answers that get lost.
//! Its images are a datacenter's, where the other one shows them. It reads
//! files of any size, and slowly if told so, hence has a server of its own.
//!
//! Source: sdc-imgapi, lib/images.js and lib/errors.js.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::datacenter::Datacenter;

/// What goes wrong with the next request of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Busy: 503, and nothing done.
    Busy,
    /// Done, and 503 all the same: the answer got lost.
    Lost,
    /// Done, after so long in which nothing of a file is read.
    Slow(Duration),
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Asks for an image.
    Get,
    /// Imports a manifest.
    Import,
    /// Adds a file.
    AddFile,
    /// Activates.
    Activate,
}

struct Server {
    datacenter: Arc<Datacenter>,
    faults: VecDeque<(Call, Fault)>,
    calls: Vec<Call>,
    queries: Vec<BTreeMap<String, String>>,
}

type Shared = Arc<Mutex<Server>>;
type Parameters = Query<BTreeMap<String, String>>;

/// A running stand-in.
pub struct Imgapi {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Shared,
}

impl Imgapi {
    /// Starts one, with no image, on a port of its own.
    pub async fn start() -> std::io::Result<Self> {
        Self::over(Arc::new(Datacenter::new(crate::triton::facts()))).await
    }

    /// Starts one that has the images of `datacenter`.
    pub async fn over(datacenter: Arc<Datacenter>) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Mutex::new(Server {
            datacenter,
            faults: VecDeque::new(),
            calls: Vec::new(),
            queries: Vec::new(),
        }));
        let router = Router::new()
            .route("/images/{uuid}", get(look).post(act))
            .route("/images/{uuid}/file", put(add_file))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, shared })
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next `call` fails so.
    pub fn fault(&self, call: Call, fault: Fault) {
        lock(&self.shared).faults.push_back((call, fault));
    }

    /// What it has of an image.
    pub fn image(&self, uuid: &str) -> Option<Value> {
        lock(&self.shared).image(uuid)
    }

    /// Puts an image there.
    pub fn put(&self, image: Value) {
        lock(&self.shared).put(image);
    }

    /// What it was asked since the last time, in order.
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut lock(&self.shared).calls)
    }

    /// The queries of all requests so far.
    pub fn queries(&self) -> Vec<BTreeMap<String, String>> {
        lock(&self.shared).queries.clone()
    }
}

impl Server {
    fn image(&self, uuid: &str) -> Option<Value> {
        self.datacenter.stock().images.get(uuid).cloned()
    }

    fn put(&self, image: Value) {
        self.datacenter.stock().put_image(image);
    }
}

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, Server> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({ "code": code, "message": message }))).into_response()
}

fn invalid(field: &str, code: &str) -> Response {
    let body = json!({
        "code": "InvalidParameter",
        "message": "Invalid parameter",
        "errors": [{ "field": field, "code": code, "message": "no good" }],
    });
    (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
}

/// Does `call` under the fault that waits for it.
fn under_fault(
    shared: &Shared,
    call: Call,
    query: &BTreeMap<String, String>,
    act: impl FnOnce(&mut Server) -> Response,
) -> Response {
    let busy = || {
        let code = "ServiceUnavailableError";
        refuse(StatusCode::SERVICE_UNAVAILABLE, code, "try later")
    };
    let mut server = lock(shared);
    server.calls.push(call);
    server.queries.push(query.clone());
    let fault = server.faults.front().copied();
    match fault.filter(|(of, _)| *of == call) {
        None => act(&mut server),
        Some((_, fault)) => {
            server.faults.pop_front();
            match fault {
                Fault::Busy => busy(),
                Fault::Slow(_) => act(&mut server),
                Fault::Lost => {
                    act(&mut server);
                    busy()
                }
            }
        }
    }
}

async fn look(
    State(shared): State<Shared>,
    Path(uuid): Path<String>,
    Query(query): Parameters,
) -> Response {
    under_fault(&shared, Call::Get, &query, |server| {
        match server.image(&uuid) {
            Some(image) => Json(image).into_response(),
            None => {
                let message = "image not found";
                refuse(StatusCode::NOT_FOUND, "ResourceNotFound", message)
            }
        }
    })
}

async fn act(
    State(shared): State<Shared>,
    Path(uuid): Path<String>,
    Query(query): Parameters,
    body: Bytes,
) -> Response {
    match query.get("action").map(String::as_str) {
        Some("import") => {
            under_fault(&shared, Call::Import, &query, |server| {
                import(server, &uuid, &query, &body)
            })
        }
        Some("activate") => {
            under_fault(&shared, Call::Activate, &query, |server| {
                activate(server, &uuid)
            })
        }
        _ => invalid("action", "Invalid"),
    }
}

fn import(
    server: &mut Server,
    uuid: &str,
    query: &BTreeMap<String, String>,
    body: &[u8],
) -> Response {
    let Ok(mut image) = serde_json::from_slice::<Value>(body) else {
        return invalid("body", "Invalid");
    };
    if query.contains_key("account") {
        return refuse(StatusCode::FORBIDDEN, "OperatorOnly", "no account");
    }
    if image["uuid"] != uuid {
        return invalid("uuid", "Invalid");
    }
    if server.image(uuid).is_some() {
        let code = "ImageUuidAlreadyExists";
        return refuse(StatusCode::CONFLICT, code, "uuid is taken");
    }
    if let Some(origin) = image["origin"].as_str()
        && server.image(origin).is_none()
    {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return refuse(status, "OriginDoesNotExist", origin);
    }
    image["state"] = "unactivated".into();
    image["files"] = json!([]);
    server.put(image.clone());
    Json(image).into_response()
}

fn activate(server: &mut Server, uuid: &str) -> Response {
    let Some(mut image) = server.image(uuid) else {
        return refuse(StatusCode::NOT_FOUND, "ResourceNotFound", "no image");
    };
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    if image["state"] == "active" {
        return refuse(status, "ImageAlreadyActivated", "it is active");
    }
    if image["files"][0].is_null() {
        return refuse(status, "NoActivationNoFile", "it has no file");
    }
    image["state"] = "active".into();
    server.put(image.clone());
    Json(image).into_response()
}

async fn add_file(
    State(shared): State<Shared>,
    Path(uuid): Path<String>,
    Query(query): Parameters,
    body: Body,
) -> Response {
    let fault = lock(&shared).faults.front().copied();
    if let Some((Call::AddFile, Fault::Slow(pause))) = fault {
        tokio::time::sleep(pause).await;
    }
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return refuse(StatusCode::BAD_REQUEST, "UploadError", "cut off");
    };
    under_fault(&shared, Call::AddFile, &query, |server| {
        let Some(mut image) = server.image(&uuid) else {
            let message = "no image";
            return refuse(StatusCode::NOT_FOUND, "ResourceNotFound", message);
        };
        if image["state"] == "active" {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return refuse(status, "ImageFilesImmutable", "it is active");
        }
        let Some(compression) = query.get("compression") else {
            return invalid("compression", "MissingParameter");
        };
        let sum = digest(&SHA1_FOR_LEGACY_USE_ONLY, &body);
        let sha1: String =
            sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        if query.get("sha1").is_some_and(|wanted| *wanted != sha1) {
            let message = "sha1 of the upload differs";
            return refuse(StatusCode::BAD_REQUEST, "UploadError", message);
        }
        image["files"] = json!([{
            "sha1": sha1, "size": body.len(), "compression": compression,
        }]);
        server.put(image.clone());
        Json(image).into_response()
    })
}
