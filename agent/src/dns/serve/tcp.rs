// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The stream side of a listener (RFC 7766): accepts connections and keeps
//! their number bounded. What happens on one of them is `connection.rs`.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::connection::Connection;
use super::front::Front;
use crate::dns::seldom::Seldom;

/// Connections at once; above that a new one is closed. A resolver asks again
/// elsewhere or later, and idle ones go within seconds.
pub(super) const MAX_CONNECTIONS: usize = 256;
/// Until the listener is tried again after a fault: no descriptors left, say.
const PAUSE: Duration = Duration::from_millis(50);

/// A listener and who answers behind it.
pub(crate) struct Streams {
    listener: TcpListener,
    front: Arc<Front>,
    patience: Duration,
    crowded: Seldom,
    faulty: Seldom,
}

impl Streams {
    /// `patience`: how long a connection may be idle, a message be on its way,
    /// an answer not be taken.
    pub(crate) fn new(
        listener: TcpListener,
        front: Arc<Front>,
        patience: Duration,
    ) -> Self {
        Self {
            listener,
            front,
            patience,
            crowded: Seldom::default(),
            faulty: Seldom::default(),
        }
    }

    /// Answers until `stop`; then takes no question any more, and ends when
    /// what is owed has been answered.
    pub(crate) async fn run(self, stop: CancellationToken) {
        // Aborted when dropped.
        let mut connections = JoinSet::new();
        loop {
            // Cancel-safe: nothing is accepted or reaped unless its arm runs.
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if let Some(more) = self.faulty.pass(Instant::now()) {
                        warn!(more, err.message = %error, "could not accept");
                    }
                    sleep(PAUSE).await;
                    continue;
                }
            };
            if !self.front.names.admits(from.ip()) {
                debug!(%from, "connection from outside this zone closed");
                continue;
            }
            if connections.len() >= MAX_CONNECTIONS {
                if let Some(more) = self.crowded.pass(Instant::now()) {
                    warn!(%from, more, "too many connections; one closed");
                }
                continue;
            }
            // Answers are written in batches: no use in waiting for more.
            if let Err(error) = stream.set_nodelay(true) {
                debug!(%from, err.message = %error, "connection gone at once");
                continue;
            }
            let front = Arc::clone(&self.front);
            let connection =
                Connection::new(stream, from, front, self.patience);
            connections.spawn(connection.run(stop.clone()));
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }
}
