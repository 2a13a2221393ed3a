// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The end of an alert's way: a server that Alertmanager's webhook receiver
//! posts to, and that writes down what it was told.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::http::{self, Call, Front, Handler};

/// How many notifications are remembered; later ones are refused.
const LIMIT: usize = 10_000;

/// A handle to one server; clones share everything.
#[derive(Clone, Default)]
pub struct Webhook {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    front: Front,
    told: Mutex<Vec<Value>>,
}

impl Webhook {
    /// A server that was told nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers HTTP on `listener` until `stop`.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        http::serve(self, listener, None, stop).await;
    }

    /// Request log and faults.
    pub fn front(&self) -> &Front {
        &self.inner.front
    }

    /// The notifications so far, as Alertmanager wrote them.
    pub fn told(&self) -> Vec<Value> {
        self.inner.told.lock().expect("no holder panics").clone()
    }

    /// How often an alert of this name was said to be `firing` or `resolved`.
    pub fn times_told(&self, alert: &str, status: &str) -> usize {
        let told = self.told();
        told.iter()
            .filter_map(|notification| notification["alerts"].as_array())
            .flatten()
            .filter(|one| {
                one["labels"]["alertname"] == alert && one["status"] == status
            })
            .count()
    }
}

impl Handler for Webhook {
    fn front(&self) -> &Front {
        &self.inner.front
    }

    fn answer(&self, call: &Call) -> Response<Body> {
        let status = match call.json() {
            _ if call.method != Method::POST => StatusCode::METHOD_NOT_ALLOWED,
            Ok(Some(notification)) => {
                let mut told =
                    self.inner.told.lock().expect("no holder panics");
                if told.len() < LIMIT {
                    told.push(notification);
                    StatusCode::OK
                } else {
                    StatusCode::INSUFFICIENT_STORAGE
                }
            }
            _ => StatusCode::BAD_REQUEST,
        };
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = status;
        answer
    }
}
