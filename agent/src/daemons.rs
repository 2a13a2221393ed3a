// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Looks after the daemons between passes: one that died days ago is not
//! visible in files that are all in force.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::apply::DaemonHttp;
use crate::host::{DaemonState, Host};
use crate::render::DaemonSpec;
use crate::status::DaemonPart;

/// Pause between two looks.
const INTERVAL: Duration = Duration::from_secs(15);

/// Looks at the daemons of `specs` until `stop` and says how they fare.
pub async fn watch(
    host: Arc<dyn Host>,
    http: Arc<dyn DaemonHttp>,
    mut specs: watch::Receiver<Vec<DaemonSpec>>,
    parts: watch::Sender<Vec<DaemonPart>>,
    stop: CancellationToken,
) {
    loop {
        let now = specs.borrow_and_update().clone();
        let looked = async {
            let mut found = Vec::new();
            for spec in &now {
                found.push(look(host.as_ref(), http.as_ref(), spec).await);
            }
            found
        };
        let found = tokio::select! {
            // Cancel-safe: looking changes nothing.
            () = stop.cancelled() => return,
            found = looked => found,
        };
        say(&parts.borrow(), &found);
        parts.send_replace(found);
        tokio::select! {
            () = stop.cancelled() => return,
            // Cancel-safe: marked seen above only.
            changed = specs.changed() => if changed.is_err() { return; },
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

async fn look(
    host: &dyn Host,
    http: &dyn DaemonHttp,
    spec: &DaemonSpec,
) -> DaemonPart {
    let state = match host.state(&spec.name).await {
        Ok(DaemonState::Absent) => "absent",
        Ok(DaemonState::Disabled) => "disabled",
        Ok(DaemonState::Offline) => "offline",
        Ok(DaemonState::Online) => "online",
        Ok(DaemonState::Maintenance) => "maintenance",
        Err(_) => "unknown",
    };
    let ready = match &spec.ready_url {
        Some(url) => matches!(http.get(url).await, Ok((200, _))),
        None => state == "online",
    };
    DaemonPart { name: spec.name.clone(), state: state.to_owned(), ready }
}

fn say(before: &[DaemonPart], now: &[DaemonPart]) {
    for daemon in now {
        if before.contains(daemon) {
            continue;
        }
        let DaemonPart { name, state, ready } = daemon;
        if state == "online" {
            info!(daemon = %name, %state, ready, "daemon");
        } else {
            warn!(daemon = %name, %state, ready, "daemon does not run");
        }
    }
}
