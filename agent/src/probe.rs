// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Asks CMON for targets the way Prometheus does, because Prometheus takes a
//! refused certificate for an empty datacenter and counts no failure.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::model::Model;
use crate::model::prometheus::Cmon;
use crate::status::ProbeStatus;
use crate::triton::Lookup;
use crate::triton::cmon::{Endpoint, discover};

/// Pause between two questions; each costs CMON one request.
const INTERVAL: Duration = Duration::from_secs(60);

/// Pause after the first failure: at a start the names are on their way.
const RETRY: Duration = Duration::from_secs(1);

/// Pause after the failures that follow, doubled up to here.
const RETRY_MAX: Duration = Duration::from_secs(8);

/// The loop.
pub struct Probe {
    lookup: Option<Lookup>,
    status: watch::Sender<ProbeStatus>,
}

impl Probe {
    /// A probe that finds hosts by `lookup`.
    pub fn new(lookup: Option<Lookup>) -> Self {
        Self { lookup, status: watch::Sender::new(ProbeStatus::default()) }
    }

    /// What CMON said last.
    pub fn status(&self) -> watch::Receiver<ProbeStatus> {
        self.status.subscribe()
    }

    /// Asks until `stop`, and at once when the model changes.
    pub async fn run(
        self,
        mut model: watch::Receiver<Option<Arc<Model>>>,
        stop: CancellationToken,
    ) {
        let mut retry = RETRY;
        loop {
            let now = model.borrow_and_update().clone();
            let mut pause = INTERVAL;
            if let Some(model) = now
                && let Some(prometheus) = &model.prometheus
            {
                let answer = tokio::select! {
                    // Cancel-safe: nothing is said before an answer.
                    () = stop.cancelled() => return,
                    answer = self.ask(&model, &prometheus.cmon) => answer,
                };
                if answer.error.is_some() {
                    pause = retry;
                    retry = (retry * 2).min(RETRY_MAX);
                } else {
                    retry = RETRY;
                }
                self.say(answer);
            }
            tokio::select! {
                () = stop.cancelled() => return,
                // Cancel-safe: marked seen above only.
                changed = model.changed() => if changed.is_err() { return; },
                () = tokio::time::sleep(pause.mul_f64(
                    0.75 + fastrand::f64() / 2.0,
                )) => {}
            }
        }
    }

    async fn ask(&self, model: &Model, cmon: &Cmon) -> ProbeStatus {
        let endpoint = Endpoint {
            host: &cmon.endpoint,
            port: cmon.port,
            verify: cmon.verify,
            groups: &cmon.groups,
        };
        let answer = discover(
            endpoint,
            &model.paths.tls.join("cmon.key"),
            &model.paths.tls.join("cmon.crt"),
            self.lookup.clone(),
        )
        .await;
        let (targets, error) = match answer {
            Ok(targets) => (Some(targets), None),
            Err(error) => (None, Some(crate::log::chain(&error))),
        };
        ProbeStatus {
            endpoint: cmon.endpoint.clone(),
            at: Some(SystemTime::now()),
            targets,
            error,
        }
    }

    fn say(&self, answer: ProbeStatus) {
        let before = self.status.borrow().clone();
        match &answer.error {
            Some(error) if before.error != answer.error => {
                warn!(err.message = %error, "CMON refuses discovery");
            }
            None if before.error.is_some() => {
                info!(targets = answer.targets, "CMON answers discovery again");
            }
            _ => {}
        }
        self.status.send_replace(answer);
    }
}
