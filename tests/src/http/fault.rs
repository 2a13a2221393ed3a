// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Ways in which a stand-in can misbehave instead of answering.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, StatusCode};
use futures_util::{Stream, StreamExt, stream};
use serde_json::Value;

use super::empty_chunked;

/// Size of one piece of a huge body.
const PIECE: u64 = 64 * 1024;

/// What happens instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is read and never answered.
    Hang,
    /// 200, headers and one byte of JSON, then silence.
    HangBody,
    /// This status, with an error body as the API would write it. An
    /// impossible number becomes 500.
    Status(u16),
    /// This status with this body: a documented refusal. `None` is an empty
    /// body of unknown length.
    Refusal(u16, Option<Value>),
    /// 200 and `application/json`, but the bytes are neither JSON nor UTF-8.
    Garbage,
    /// The connection is closed without an answer.
    Close,
    /// The proper answer, and the connection's last: what a client meets
    /// that asks more seldom than connections are kept.
    Last,
    /// The proper answer, this much later.
    Slow(Duration),
    /// The proper answer at once, then one byte of its body per pause.
    Trickle(Duration),
    /// 200 and a valid JSON object of about this many bytes.
    HugeBody(u64),
}

/// What is to become of a request.
pub(super) enum Effect {
    Respond(Response<Body>),
    Hang,
    Close,
    /// Answer properly, then end the connection.
    Last,
    /// Answer properly after this long.
    Delay(Duration),
    /// Answer properly with this pause before each byte of the body.
    Trickle(Duration),
}

impl Fault {
    pub(super) fn effect(self) -> Effect {
        Effect::Respond(match self {
            Fault::Hang => return Effect::Hang,
            Fault::Close => return Effect::Close,
            Fault::Last => return Effect::Last,
            Fault::Slow(pause) => return Effect::Delay(pause),
            Fault::Trickle(pause) => return Effect::Trickle(pause),
            Fault::HangBody => {
                let first = stream::iter([ok(Bytes::from_static(b"{"))]);
                json(200, Body::from_stream(first.chain(stream::pending())))
            }
            Fault::Status(code) => {
                let body = serde_json::json!({
                    "code": if code < 500 { "Refused" } else { "InternalError" },
                    "message": format!("fault: status {code}"),
                });
                json(code, Body::from(body.to_string()))
            }
            Fault::Refusal(code, Some(body)) => {
                json(code, Body::from(body.to_string()))
            }
            Fault::Refusal(code, None) => json(code, empty_chunked()),
            Fault::Garbage => {
                json(200, Body::from(&b"\xff\xfe{\"manifests\":[tru"[..]))
            }
            Fault::HugeBody(size) => json(200, Body::from_stream(huge(size))),
        })
    }
}

/// Sends `body` one byte at a time.
pub(super) fn trickle(body: Bytes, pause: Duration) -> Body {
    Body::from_stream(stream::unfold(body, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        Some((ok(rest.split_to(1)), rest))
    }))
}

/// An endless-looking config: `{"manifests":[],"metadata":{"x":"aaa..."}}`.
fn huge(size: u64) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let piece = Bytes::from(vec![b'a'; PIECE as usize]);
    let head = br#"{"manifests":[],"metadata":{"x":""#;
    let middle = stream::unfold(size, move |left| {
        let now = left.min(PIECE);
        let piece = piece.slice(..now as usize);
        async move { (now > 0).then(|| (ok(piece), left - now)) }
    });
    stream::iter([ok(Bytes::from_static(head))])
        .chain(middle)
        .chain(stream::iter([ok(Bytes::from_static(b"\"}}"))]))
}

fn ok(bytes: Bytes) -> Result<Bytes, Infallible> {
    Ok(bytes)
}

fn json(status: u16, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status)
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // The length is the body's affair, whoever set one before.
    response.headers_mut().remove(CONTENT_LENGTH);
    response
}
