// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Looks at an upstream that is late or silent, until it answers again: at
//! once, then after one second, two, four... One task an upstream at most,
//! which ends with it.

use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::{Name, RecordType};

use super::Upstreams;
use super::health::UpstreamState;
use super::kept::Question;
use super::upstream::{Server, Tried};
use crate::dns::names::WireName;

/// The longest time between two looks, before jitter.
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// Starts to look, unless somebody does. `limit`: of one look.
pub(crate) fn look_at(server: &Arc<Server>, kind: Upstreams, limit: Duration) {
    if std::mem::replace(&mut server.health().probed, true) {
        return;
    }
    let question = question(server, kind);
    // One that has just said no needs no second question at once.
    let refuses = server.state() == UpstreamState::Open;
    let server = Arc::downgrade(server);
    tokio::spawn(async move {
        let mut backoff = Duration::from_secs(1);
        if refuses {
            pause(&mut backoff).await;
        }
        while let Some(server) = server.upgrade() {
            if is_good(&server) || look(&server, &question, limit).await {
                return;
            }
            drop(server);
            pause(&mut backoff).await;
        }
    });
}

async fn pause(backoff: &mut Duration) {
    // Several agents are not to knock in step.
    let jitter = 0.75 + fastrand::f64() / 2.0;
    tokio::time::sleep(backoff.mul_f64(jitter)).await;
    *backoff = (*backoff * 2).min(MAX_BACKOFF);
}

/// What any server of its kind can say something to: of binder, whether it
/// replies at all matters, not what.
fn question(server: &Server, kind: Upstreams) -> Question {
    let suffix = || WireName::from_zone(&server.suffix).to_name();
    match kind {
        Upstreams::Recursive => Question::new(&Name::root(), RecordType::NS),
        Upstreams::Binder { .. } => Question::new(&suffix(), RecordType::A),
        Upstreams::Primaries => Question::new(&suffix(), RecordType::SOA),
    }
}

/// Whether it answers; then the task is over. If not, the circuit opens.
async fn look(server: &Server, question: &Question, limit: Duration) -> bool {
    if let Tried::Reply { .. } = server.ask(question, limit).await {
        server.health().probed = false;
        return true;
    }
    let (opened, error) = {
        let mut health = server.health();
        let opened = health.state != UpstreamState::Open;
        health.open();
        (opened, health.last_error.clone().unwrap_or_default())
    };
    if opened {
        server.tell(UpstreamState::Open, &error);
    }
    false
}

/// A question of others was answered meanwhile.
fn is_good(server: &Server) -> bool {
    let mut health = server.health();
    let good = health.state == UpstreamState::Good;
    health.probed = !good;
    good
}
