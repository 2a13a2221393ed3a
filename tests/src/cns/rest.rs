// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The REST API of CNS: plain HTTP, no authentication.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Cns;
use super::peers::{Peer, parse_ip};
use super::zone::{label, names_of};

/// How long connections may take to end after stop or crash.
const CLOSING: Duration = Duration::from_millis(500);

impl Cns {
    /// Serves the REST API until `stop` or a crash.
    pub async fn serve_rest(
        self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let app = Router::new()
            .route("/ping", get(async || StatusCode::OK))
            .route("/zones", get(zones))
            .route("/allowed-peers", get(allowed_peers))
            .route("/peers", get(peers))
            .route("/peer/{ip}", get(peer).delete(forget_peer))
            .route("/vm/{uuid}", get(vm))
            .route("/suffixes-for-vm", post(suffixes))
            .with_state(self.clone());
        let cns = self.clone();
        let ending = async move {
            tokio::select! {
                () = cns.wait_crash() => (),
                () = stop.cancelled() => (),
            }
        };
        // Open connections are told to end, and left alone if they do not.
        let ended = CancellationToken::new();
        let signal = ended.clone();
        let server =
            axum::serve(listener, app).with_graceful_shutdown(async move {
                ending.await;
                signal.cancel();
            });
        let overdue = async {
            ended.cancelled().await;
            tokio::time::sleep(CLOSING).await;
        };
        // Either future is dropped when the other one is done.
        tokio::select! {
            done = server.into_future() => done,
            () = overdue => Ok(()),
        }
    }
}

/// The body of `POST /suffixes-for-vm`; both are required.
#[derive(Deserialize)]
struct SuffixesFor {
    owner_uuid: String,
    networks: Vec<String>,
}

fn error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let body = Json(json!({"code": code, "message": message}));
    (status, body).into_response()
}

fn not_found() -> Response<Body> {
    error(StatusCode::NOT_FOUND, "NotFoundError", "")
}

async fn zones(State(cns): State<Cns>) -> Json<Value> {
    let zones = cns.zones().into_iter();
    let list =
        zones.map(|(name, serial)| json!({"name": name, "serial": serial}));
    Json(list.collect())
}

async fn allowed_peers(State(cns): State<Cns>) -> Json<Value> {
    let state = cns.state();
    let allowed = state.config.allow_transfer.iter();
    Json(
        allowed
            .map(|net| json!({"address": net.address, "mask": net.mask}))
            .collect(),
    )
}

/// The shape beyond the field names is assumed: an array, each with its
/// `address`, and `serials` as an object by zone.
fn describe(ip: IpAddr, peer: &Peer) -> Value {
    json!({
        "address": ip,
        "serials": peer.serials,
        "version": peer.version,
        "using_notify": peer.using_notify,
        "using_ixfr": peer.using_ixfr,
        "counters": {
            "soa": peer.counters.soa,
            "ixfr": peer.counters.ixfr,
            "axfr": peer.counters.axfr,
            "goodxfer": peer.counters.goodxfer,
        },
    })
}

async fn peers(State(cns): State<Cns>) -> Json<Value> {
    let state = cns.state();
    Json(state.peers.0.iter().map(|(ip, peer)| describe(*ip, peer)).collect())
}

async fn peer(
    State(cns): State<Cns>,
    Path(ip): Path<String>,
) -> Response<Body> {
    let state = cns.state();
    let found =
        parse_ip(&ip).and_then(|ip| Some((ip, state.peers.0.get(&ip)?)));
    match found {
        Some((ip, peer)) => Json(describe(ip, peer)).into_response(),
        None => not_found(),
    }
}

async fn forget_peer(
    State(cns): State<Cns>,
    Path(ip): Path<String>,
) -> Response<Body> {
    let mut state = cns.state();
    match parse_ip(&ip).and_then(|ip| state.peers.0.remove(&ip)) {
        Some(_) => StatusCode::OK.into_response(),
        None => not_found(),
    }
}

async fn vm(
    State(cns): State<Cns>,
    Path(uuid): Path<String>,
) -> Response<Body> {
    let naming = cns.state().config.naming.clone();
    let names = cns
        .shared
        .datacenter
        .read(|facts| facts.vm(&uuid).map(|vm| names_of(facts, &naming, vm)));
    let visited = cns.state().last_visit.unix_timestamp_nanos() / 1_000_000;
    match names {
        Some(names) if !names.is_empty() => {
            let visited = i64::try_from(visited).unwrap_or(0);
            let body = json!(
                {"uuid": uuid, "names": names, "last_visit": visited}
            );
            Json(body).into_response()
        }
        _ => not_found(),
    }
}

async fn suffixes(State(cns): State<Cns>, body: String) -> Response<Body> {
    let Ok(asked) = serde_json::from_str::<SuffixesFor>(&body) else {
        // The assertion that a missing field trips ends the process; the
        // client sees its connection cut.
        cns.crash();
        let cut = stream::iter([Err::<Vec<u8>, _>(io::Error::other("cut"))]);
        let mut response = Response::new(Body::from_stream(cut));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return response;
    };
    let naming = cns.state().config.naming.clone();
    let login = cns.shared.datacenter.read(|facts| {
        let mut accounts = facts.accounts.iter();
        let owner = accounts.find(|a| a.uuid == asked.owner_uuid);
        owner.map(|owner| owner.login.clone())
    });
    let Some(login) = login else {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        return error(status, "InternalError", "owner not found");
    };
    let owner = if naming.use_login { label(&login) } else { asked.owner_uuid };
    // A map: a zone once, whatever the number of networks.
    let zones: BTreeMap<_, _> = asked
        .networks
        .iter()
        .flat_map(|network| naming.zones_of(network))
        .map(|zone| (zone.name.as_str(), ()))
        .collect();
    let suffixes: Vec<String> = zones
        .keys()
        .flat_map(|zone| {
            ["svc", "inst"].map(|kind| format!("{kind}.{owner}.{zone}"))
        })
        .collect();
    Json(json!({"suffixes": suffixes})).into_response()
}
