// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the REST stand-ins share beyond the front: an answer is a status and
//! JSON, an error a status and restify's body, or none at all.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName, SERVER};
use axum::http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Call, empty_chunked};

/// One of Triton's APIs over a datacenter: what each has beside its routes.
macro_rules! stand_in {
    ($(#[$doc:meta])* $name:ident, $api:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            datacenter: std::sync::Arc<$crate::datacenter::Datacenter>,
            front: std::sync::Arc<$crate::http::Front>,
        }

        impl $name {
            /// Over `datacenter`, behind its gate.
            pub fn new(
                datacenter: std::sync::Arc<$crate::datacenter::Datacenter>,
            ) -> Self {
                let front = std::sync::Arc::<$crate::http::Front>::default();
                front.stand_behind(datacenter.gate(), $api);
                Self { datacenter, front }
            }

            /// Answers HTTP on `listener` until `stop`.
            pub async fn serve(
                self,
                listener: tokio::net::TcpListener,
                stop: tokio_util::sync::CancellationToken,
            ) {
                $crate::http::serve(self, listener, None, stop).await;
            }

            /// Request log and faults.
            pub fn front(&self) -> &$crate::http::Front {
                &self.front
            }
        }
    };
}
pub(crate) use stand_in;

/// An error answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// `None` is an empty body, as `res.send(404)` writes it.
    pub(crate) body: Option<Value>,
}

impl Refusal {
    pub(crate) fn new(
        status: u16,
        code: &str,
        message: impl Into<String>,
    ) -> Self {
        let body = json!({"code": code, "message": message.into()});
        Self { status, body: Some(body) }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "ResourceNotFound", message)
    }

    /// Says which field is wrong, and how.
    pub(crate) fn of_field(
        mut self,
        field: &str,
        code: &str,
        message: impl Into<String>,
    ) -> Self {
        if let Some(body) = &mut self.body {
            let error = json!({"field": field, "code": code, "message": message.into()});
            body["errors"] = json!([error]);
        }
        self
    }
}

/// What an endpoint hands back: 204 has no body, whatever the value.
pub(crate) type Answer = Result<(u16, Value), Refusal>;

/// Who answers: `Server` header.
pub(crate) fn respond(
    server: &'static str,
    call: &Call,
    answer: Answer,
) -> Response<Body> {
    let (status, body) = match answer {
        Ok((204, _)) => (204, Body::empty()),
        Ok((status, value)) => (status, Body::from(value.to_string())),
        Err(Refusal { status, body: Some(body) }) => {
            (status, Body::from(body.to_string()))
        }
        Err(Refusal { status, body: None }) => (status, empty_chunked()),
    };
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).expect("statuses here are valid");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(SERVER, HeaderValue::from_static(server));
    let id = call
        .header("x-request-id")
        .map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    response
}

/// The body as an object; an empty one where it is not JSON's content type.
pub(crate) fn read_object(call: &Call) -> Result<Map<String, Value>, Refusal> {
    match call.json() {
        Ok(Some(Value::Object(object))) => Ok(object),
        Ok(None) => Ok(Map::new()),
        Ok(Some(_)) => {
            Err(Refusal::new(400, "InvalidContent", "not a JSON object"))
        }
        Err(why) => {
            let why = format!("Invalid JSON: {why}");
            Err(Refusal::new(400, "InvalidContent", why))
        }
    }
}

/// A page of `found`, by `offset` and `limit`, at most a thousand.
pub(crate) fn paged(call: &Call, found: Vec<Value>) -> Vec<Value> {
    let number = |key| call.parameter(key)?.parse::<usize>().ok();
    let offset = number("offset").unwrap_or(0);
    let limit = number("limit").unwrap_or(1000).min(1000);
    found.into_iter().skip(offset).take(limit).collect()
}
