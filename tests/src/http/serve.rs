// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Accepts connections, plain or TLS, and hands whole requests to a handler.
//! hyper is used directly because only so can a request end without any
//! answer.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{CONNECTION, CONTENT_LENGTH};
use axum::http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::fault::{Effect, trickle};
use super::gate::{Passage, When};
use super::{Call, Handler};

/// Largest request body read.
const BODY_LIMIT: usize = 64 * 1024 * 1024;
/// A TLS handshake takes no longer than this.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Pause after a failed accept, which most often means no free descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The request gets no answer and the connection ends.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped on purpose")]
struct Dropped;

/// Serves until `stop`; open connections end with it.
pub(crate) async fn serve<H: Handler>(
    handler: H,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        // All three arms only wait; none loses anything when dropped.
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let handler = handler.clone();
                    let tls = tls.clone();
                    connections.spawn(connection(handler, stream, tls));
                }
                Err(error) => {
                    debug!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    connections.shutdown().await;
}

async fn connection<H: Handler>(
    handler: H,
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
) {
    // Answers are small; without this they wait for acknowledgements.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return requests(handler, stream, None).await;
    };
    match tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let certificates = stream.get_ref().1.peer_certificates();
            let leaf = certificates.and_then(|c| c.first()).map(|c| c.to_vec());
            requests(handler, stream, leaf).await;
        }
        Ok(Err(error)) => debug!(%error, "TLS handshake failed"),
        Err(_) => debug!("TLS handshake took too long"),
    }
}

async fn requests<H, S>(handler: H, stream: S, certificate: Option<Vec<u8>>)
where
    H: Handler,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        respond(handler.clone(), certificate.clone(), request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "connection ended early");
    }
}

async fn respond<H: Handler>(
    handler: H,
    certificate: Option<Vec<u8>>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Dropped> {
    let (head, body) = request.into_parts();
    let body =
        to_bytes(Body::new(body), BODY_LIMIT).await.map_err(|_| Dropped)?;
    let call = Call {
        method: head.method,
        uri: head.uri,
        headers: head.headers,
        body,
        certificate,
    };
    let front = handler.front();
    let number = front.record(&call);
    let fault = match front.pass(&call) {
        Passage::Closed => return Err(Dropped),
        Passage::Free => front.fault_for(call.path()),
        Passage::Fault(When::Before, fault) => Some(fault),
        Passage::Fault(When::After, fault) => {
            handler.answer(&call);
            Some(fault)
        }
    };
    let response = match fault.map(|f| f.effect()) {
        None => handler.answer(&call),
        Some(Effect::Respond(response)) => response,
        Some(Effect::Hang) => pending().await,
        Some(Effect::Close) => return Err(Dropped),
        Some(Effect::Last) => {
            let mut response = handler.answer(&call);
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
            response
        }
        Some(Effect::Delay(pause)) => {
            tokio::time::sleep(pause).await;
            handler.answer(&call)
        }
        Some(Effect::Trickle(pause)) => {
            let (mut head, body) = handler.answer(&call).into_parts();
            head.headers.remove(CONTENT_LENGTH);
            let whole = to_bytes(body, usize::MAX).await;
            let whole: Bytes = whole.map_err(|_| Dropped)?;
            Response::from_parts(head, trickle(whole, pause))
        }
    };
    front.set_status(number, response.status().as_u16());
    Ok(response)
}

/// An empty body of unknown length: sent chunked, as Node does where a
/// handler ends an answer without a length.
pub(crate) fn empty_chunked() -> Body {
    Body::from_stream(futures_util::stream::empty::<Result<Bytes, Infallible>>())
}
