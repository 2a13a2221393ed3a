// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The Unix socket that nginx asks at: who may connect, how many at a time,
//! and how long each may take.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nix::unistd::User;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::AuthError;

/// Connections at a time: nginx' own bound is for all that it does.
const MOST: usize = 1_024;

/// Most a request's head may be, bytes: what nginx lets through, and what it
/// adds.
const HEAD: usize = 64 << 10;

/// What a head may take, and how long nginx may keep a connection idle.
const IDLE: Duration = Duration::from_secs(90);

/// What is under way when we are to end may take so long.
const GRACE: Duration = Duration::from_secs(5);

/// Pause after a connection that could not be taken: descriptors are short.
const SHORT: Duration = Duration::from_millis(100);

/// Makes the socket, for us and our group, which is that of nginx' workers.
/// One that an earlier run left is in the way.
pub(super) fn bind(path: &Path) -> Result<UnixListener, AuthError> {
    let failed =
        |source: io::Error| AuthError::Listen { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Ok(known) if known.file_type().is_socket() => {
            fs::remove_file(path).map_err(failed)?;
        }
        // Somebody else's, whatever it is.
        Ok(_) => return Err(failed(io::ErrorKind::AlreadyExists.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    let mode = fs::Permissions::from_mode(0o660);
    fs::set_permissions(path, mode).map_err(failed)?;
    Ok(listener)
}

/// The users who may connect, as numbers.
pub(super) fn peers(names: &[String]) -> Result<Vec<u32>, AuthError> {
    let numbers = names.iter().map(|name| match User::from_name(name) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        _ => Err(AuthError::Peer { name: name.clone() }),
    });
    numbers.collect()
}

/// Answers until `stop`.
pub(super) async fn serve(
    listener: UnixListener,
    peers: Vec<u32>,
    routes: Router,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(MOST));
    let open = TaskTracker::new();
    loop {
        // Cancel-safe: a slot or a connection that was not taken waits on.
        let taken = tokio::select! {
            () = stop.cancelled() => break,
            taken = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (slot, listener.accept().await)
            } => taken,
        };
        let (Ok(slot), Ok((stream, _))) = taken else {
            tokio::time::sleep(SHORT).await;
            continue;
        };
        if !is_peer(&stream, &peers) {
            continue;
        }
        let answered = answer(stream, routes.clone(), stop.clone());
        open.spawn(async move {
            answered.await;
            drop(slot);
        });
    }
    open.close();
    let _ = tokio::time::timeout(GRACE, open.wait()).await;
}

/// The socket's mode says the same; this holds where it lies open.
fn is_peer(stream: &UnixStream, peers: &[u32]) -> bool {
    if peers.is_empty() {
        return true;
    }
    let own = nix::unistd::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(from) if from.uid() == own || peers.contains(&from.uid()) => true,
        Ok(from) => {
            warn!(uid = from.uid(), "somebody else than nginx was sent away");
            false
        }
        Err(_) => false,
    }
}

async fn answer(stream: UnixStream, routes: Router, stop: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(HEAD)
        .serve_connection(
            TokioIo::new(stream),
            TowerToHyperService::new(routes),
        );
    let mut connection = std::pin::pin!(connection);
    // What goes wrong here is the other side's to notice.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
