// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Metrics and health for the Prometheus of other zones, at this zone's
//! addresses on the admin network. Nothing else is answered there: the page
//! and the report are loopback's.
//!
//! Whoever is on that network may ask, as with every daemon of Triton's core
//! zones; so connections are few and short, and health is a number here, not
//! the faults' text.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use super::{Reporter, page};
use crate::metadata::auto::addresses;

/// Connections at a time, at each address.
const MOST: usize = 32;

/// What a connection may take: one request, by somebody near.
const LIMIT: Duration = Duration::from_secs(10);

/// Until an address that could not be had is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// Pause after a connection that could not be taken: descriptors are short.
const SHORT: Duration = Duration::from_millis(200);

/// Most a request's head may be, bytes.
const HEAD: usize = 16 << 10;

/// The networks that core zones share, those of racks among them.
const NETWORKS: [&str; 2] = ["ADMIN", "MANTA"];

/// Where other zones find us.
#[derive(Clone, Debug)]
pub enum Reach {
    /// As the configuration says.
    Given(Vec<SocketAddr>),
    /// On this port of every admin and manta address in the metadata.
    Own(u16),
}

impl Reach {
    fn addresses(
        &self,
        metadata: Option<&Map<String, Value>>,
    ) -> Vec<SocketAddr> {
        match self {
            Self::Given(addresses) => addresses.clone(),
            Self::Own(port) => NETWORKS
                .iter()
                .flat_map(|tag| metadata.map(|known| addresses(known, tag)))
                .flatten()
                .map(|ip| SocketAddr::new(ip, *port))
                .collect(),
        }
    }
}

/// Answers until `stop`, at the addresses that `metadata` has by then. One
/// that cannot be had is tried again; nothing else waits for it.
pub async fn serve_others(
    reach: Reach,
    mut metadata: watch::Receiver<Option<Arc<Map<String, Value>>>>,
    reporter: Reporter,
    stop: CancellationToken,
) {
    let mut open: BTreeMap<SocketAddr, DropGuard> = BTreeMap::new();
    let mut told: Vec<SocketAddr> = Vec::new();
    loop {
        let now = metadata.borrow_and_update().clone();
        let wanted = reach.addresses(now.as_deref());
        open.retain(|address, _| wanted.contains(address));
        for address in wanted {
            if open.contains_key(&address) {
                continue;
            }
            match TcpListener::bind(address).await {
                Ok(listener) => {
                    let stop = stop.child_token();
                    let served =
                        accept(listener, Arc::clone(&reporter), stop.clone());
                    tokio::spawn(served);
                    open.insert(address, stop.drop_guard());
                    told.retain(|known| *known != address);
                    info!(%address, "metrics are answered");
                }
                Err(error) if !told.contains(&address) => {
                    told.push(address);
                    warn!(
                        %address,
                        err.message = %error,
                        "could not listen for the metrics"
                    );
                }
                Err(_) => {}
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            // Cancel-safe: a change is marked seen above only.
            changed = metadata.changed() => if changed.is_err() {
                stop.cancelled().await;
                return;
            },
            () = tokio::time::sleep(RETRY), if !told.is_empty() => {}
        }
    }
}

async fn accept(
    listener: TcpListener,
    reporter: Reporter,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(MOST));
    loop {
        // Cancel-safe: a slot or a connection that was not taken waits on.
        let taken = tokio::select! {
            () = stop.cancelled() => return,
            taken = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (slot, listener.accept().await)
            } => taken,
        };
        match taken {
            (Ok(slot), Ok((stream, _))) => {
                let answered = answer_one(stream, Arc::clone(&reporter));
                let stop = stop.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        _ = tokio::time::timeout(LIMIT, answered) => {}
                    }
                    drop(slot);
                });
            }
            _ => tokio::time::sleep(SHORT).await,
        }
    }
}

/// One request, then the end: who scrapes comes seldom.
async fn answer_one(stream: TcpStream, reporter: Reporter) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(&reporter, request.method(), request.uri().path());
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    // What goes wrong here is the other side's to notice.
    let _ = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn answer(reporter: &Reporter, method: &Method, path: &str) -> Response {
    match path {
        "/metrics" | "/healthz" if method != Method::GET => {
            StatusCode::METHOD_NOT_ALLOWED.into_response()
        }
        "/metrics" => page::exposition(&reporter()).into_response(),
        "/healthz" => {
            let report = reporter();
            if report.healthy {
                return "ok\n".into_response();
            }
            let faults = format!("faults: {}\n", report.faults.len());
            (StatusCode::SERVICE_UNAVAILABLE, faults).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_addresses_are_those_of_the_inner_networks() {
        let metadata = json!({"auto": {
            "ADMIN_IP": "10.9.0.9", "ADMIN_IPS": ["10.9.0.8", "10.9.0.9"],
            "EXTERNAL_IPS": ["192.0.2.9"], "PRIMARY_IP": "192.0.2.9",
            "MANTA_IPS": ["fd00::9", "0.0.0.0", "x", 7],
        }});
        let metadata = metadata.as_object();
        let found = Reach::Own(9165).addresses(metadata);
        let found: Vec<String> =
            found.iter().map(ToString::to_string).collect();
        let wanted = ["10.9.0.8:9165", "10.9.0.9:9165", "[fd00::9]:9165"];
        assert_eq!(found, wanted);
        assert_eq!(Reach::Own(9165).addresses(None), []);
        let given = vec![SocketAddr::from(([10, 9, 0, 7], 1))];
        assert_eq!(Reach::Given(given.clone()).addresses(metadata), given);
    }
}
