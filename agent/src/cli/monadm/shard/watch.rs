// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb shard watch: a loop for SMF or systemd that gives each new zone its
//! shard. It keeps nothing but what it has said already: the tags are the
//! state, so it may be killed at any time and started again.
//!
//! A round looks, decides, and writes for half a minute at most; the next goes
//! on. A zone whose tag cannot be written waits longer each time and is in no
//! other's way. While an API is away nothing changes, and that is said once.

mod told;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Error, Result};
use tokio::signal::unix::SignalKind;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use self::told::{Retries, Told};
use super::args::{Goal, WatchArgs, WriteArgs};
use super::session::Session;
use super::wanted::Wanted;
use crate::cli::on_signal;
use crate::deploy::shards::lock::{LockError, Writer};
use crate::deploy::shards::{Pace, Write, WriteError, write};
use crate::log::chain;
use crate::shard::Extent;

/// How long a round begins new jobs, and how long it waits for each.
const ROUND: Duration = Duration::from_secs(30);
/// How long the last jobs may take after SIGTERM. VMAPI goes on with them.
const GRACE: Duration = Duration::from_secs(20);
/// Longest pause, whatever fails: a zone is not to wait longer than this for
/// an API that is back.
const PAUSE: Duration = Duration::from_secs(60);
/// How old weights may be: to measure them costs each Prometheus a question
/// over hours.
const WEIGHTS: Duration = Duration::from_secs(600);
/// How long another writer is waited for before the next look.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the verb until SIGTERM.
pub(super) async fn watch(args: WatchArgs) -> Result<bool> {
    let stop = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let stop = stop.clone();
        on_signal(kind, move || stop.cancel());
    }
    let WatchArgs { ask, how, drain, every, write } = args;
    let extent = match drain.is_empty() {
        true => Extent::Assign,
        false => Extent::Drain,
    };
    let goal = Goal { ask, how, extent, drain };
    let every = Duration::from_secs(every);
    info!(prefix = %goal.ask.prefix, every_s = every.as_secs(), "watching");
    let mut watch = Watch {
        goal: &goal,
        write,
        session: None,
        measured: None,
        told: Told::default(),
        retries: Retries::new(every),
    };
    let mut failures = 0_u32;
    while !stop.is_cancelled() {
        failures = match watch.round(&stop).await {
            Ok(()) => {
                if failures > 0 {
                    info!(failures, "the datacenter answers again");
                }
                0
            }
            Err(error) => {
                // And about every hour.
                if failures.is_multiple_of(60) {
                    let why = format!("{error:#}");
                    warn!(
                        err.message = why,
                        "no look at the datacenter; \
                        tags stay as they are"
                    );
                }
                // Whatever moved meanwhile is found anew.
                watch.session = None;
                failures.saturating_add(1)
            }
        };
        let pause = every.saturating_mul(1 << failures.min(6)).min(PAUSE);
        // Both may be dropped at any time.
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(pause) => {}
        }
    }
    info!("ended");
    Ok(true)
}

struct Watch<'a> {
    goal: &'a Goal,
    write: WriteArgs,
    session: Option<Session<'a>>,
    /// When zones were weighed last.
    measured: Option<Instant>,
    told: Told,
    retries: Retries,
}

impl Watch<'_> {
    /// Looks, decides, does.
    async fn round(&mut self, stop: &CancellationToken) -> Result<()> {
        // To look changes nothing and may be cut off anywhere.
        let looked = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            looked = self.look() => looked?,
        };
        let Some((_writer, wanted)) = looked else { return Ok(()) };
        let mut problems = wanted.left_to_apply(&self.goal.ask.same());
        problems.extend_from_slice(&wanted.problems);
        self.told.problems(&problems);
        self.retries.keep(&wanted.writes);
        let writes = self.due(&wanted);
        self.place(&wanted, writes, stop).await;
        Ok(())
    }

    /// What is to be written now.
    fn due(&self, wanted: &Wanted) -> Vec<Write> {
        let now = Instant::now();
        // A pair that is missing from one answer may be back in the next:
        // its zones are moved by `apply`, which somebody looks at.
        let due = wanted.writes.iter().filter(|one| {
            !wanted.orphans.contains_key(&one.uuid)
                && self.retries.is_due(one, now)
        });
        due.cloned().collect()
    }

    /// What is to be written, with the right to write it; `None` while
    /// somebody else does. Nothing to write needs no right.
    async fn look(&mut self) -> Result<Option<(Option<Writer>, Wanted)>> {
        self.weigh().await?;
        let session = self.session.as_ref().expect("weighing opens it");
        let wanted = session.wanted().await?;
        if self.due(&wanted).is_empty() {
            return Ok(Some((None, wanted)));
        }
        match Writer::take(&self.write.lock, PATIENCE).await {
            Ok(writer) => {
                self.told.waits(false);
                // The other may have placed them just now.
                Ok(Some((Some(writer), session.wanted().await?)))
            }
            Err(LockError::Held(_)) => {
                self.told.waits(true);
                Ok(None)
            }
            Err(error) => Err(Error::new(error)),
        }
    }

    /// Opens the session, and weighs zones where that is wanted and long ago.
    async fn weigh(&mut self) -> Result<()> {
        let old = |at: Instant| at.elapsed() >= WEIGHTS;
        if self.session.is_none() {
            self.session = Some(Session::open(self.goal).await?);
            self.measured = None;
        }
        let session = self.session.as_mut().expect("it was just opened");
        if self.measured.is_none_or(old) {
            // A zone that nobody scrapes is worse than one weighed wrong.
            if let Err(error) = session.measure().await {
                let why = format!("{error:#}");
                warn!(
                    err.message = why,
                    "zones keep their old weights, or count as one"
                );
            }
            self.measured = Some(Instant::now());
        }
        Ok(())
    }

    async fn place(
        &mut self,
        wanted: &Wanted,
        writes: Vec<Write>,
        stop: &CancellationToken,
    ) {
        let Some(session) = &self.session else { return };
        let (vmapi, account) = (&session.apis.vmapi, session.account);
        let values: BTreeMap<Uuid, String> = writes
            .iter()
            .map(|one| (one.uuid, one.value.clone().unwrap_or_default()))
            .collect();
        let retries = &mut self.retries;
        let tell = |uuid: Uuid, how: Result<(), WriteError>| {
            let (alias, tag) = (wanted.alias(uuid), &values[&uuid]);
            let failed = retries.tell(uuid, how.is_ok(), Instant::now());
            match how {
                Ok(()) => info!(zone = %uuid, alias, tag, "zone placed"),
                Err(error) if failed == 1 => {
                    let why = chain(&error);
                    warn!(zone = %uuid, alias, tag, err.message = why,
                        "zone not placed; tried again from time to time");
                }
                Err(_) => {}
            }
        };
        let round = stop.child_token();
        let pace = Pace { at_once: self.write.at_once, limit: ROUND };
        let writing = write(vmapi, account, writes, pace, &round, tell);
        let bounded = async {
            sleep(ROUND).await;
            round.cancel();
            std::future::pending::<()>().await;
        };
        let stopped = async {
            stop.cancelled().await;
            sleep(GRACE).await;
        };
        // Only the first writes; its jobs go on without us.
        tokio::select! {
            () = writing => {}
            () = bounded => {}
            () = stopped => warn!("jobs of VMAPI are left to themselves"),
        }
    }
}
