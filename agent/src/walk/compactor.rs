// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! When the zone that is first in order for a bucket may compact it. Two at
//! work on one bucket spoil it, and the bucket has no lock; none for a while
//! costs space.
//!
//! The rule. A zone is elected while the lists of every SAPI of the region
//! say that it is first, the oldest of them no older than `STALE`. It
//! compacts once it has been elected for `HOLD_OFF` without a break, and
//! stops as soon as it is not elected any more. So it also stops when it
//! cannot see the others, a quarter of an hour later; an operator takes a
//! datacenter that is gone for good out of `region_datacenters`.
//!
//! Why that is enough. Say that SAPI lists a zone before ours at time t. That
//! one starts at t + `HOLD_OFF` at the earliest. By t + `STALE` we have a list
//! from after t, and are not first in it, or only older ones, and are not
//! elected. In both cases we stop, and have the rest of the hold-off for it: a
//! quarter of an hour for a pass and for the daemon's sixty seconds. An
//! election outlives a restart of the agent if the lists before and after it
//! are no further apart than `STALE`: whoever came and went in between was
//! there for less than its own hold-off.
//!
//! Assumed: SAPI lists what it has stored, not what it remembers (a list of
//! that kind does not count), the zones' clocks run at the same pace, and all
//! zones of a bucket have the same `region_datacenters`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::apply::commit::{self, Present, write_atomic};

/// Oldest list that counts, seconds. Lists are asked for every five minutes.
const STALE: u64 = 15 * 60;

/// How long a zone is elected before it compacts, seconds.
const HOLD_OFF: u64 = 30 * 60;

/// How far a clock may be set back without harm, seconds.
const SLACK: u64 = 60;

/// An election under way; kept on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Election {
    /// The bucket.
    bucket: String,
    /// Elected without a break since then, Unix seconds.
    since: u64,
    /// Age of the newest proof: the oldest of its lists, Unix seconds.
    listed: u64,
}

/// What follows from the lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    /// What is to be kept.
    election: Option<Election>,
    /// Compacts now.
    pub(super) compacts: bool,
    /// When to look again though nothing changed.
    pub(super) again: Option<Duration>,
}

/// Decides for the zone that is first for `bucket`. `listed` is when the
/// oldest of the lists that say so was asked for, Unix seconds as `now`;
/// `None` while one is missing.
pub(super) fn decide(
    before: Option<&Election>,
    bucket: &str,
    listed: Option<u64>,
    now: u64,
) -> Decision {
    let fresh = listed.filter(|listed| {
        *listed <= now + SLACK && now.saturating_sub(*listed) <= STALE
    });
    let Some(listed) = fresh else { return Decision::default() };
    let unbroken = before.filter(|before| {
        before.bucket == bucket
            && before.since <= now + SLACK
            && before.listed.abs_diff(listed) <= STALE
    });
    let since = unbroken.map_or(now, |before| before.since);
    let newest = unbroken.map_or(listed, |b| b.listed.max(listed));
    let elected = now.saturating_sub(since);
    let compacts = elected >= HOLD_OFF;
    let until_stale = STALE - now.saturating_sub(listed) + 1;
    let wait = match compacts {
        true => until_stale,
        false => until_stale.min(HOLD_OFF - elected),
    };
    Decision {
        election: Some(Election {
            bucket: bucket.to_owned(),
            since,
            listed: newest,
        }),
        compacts,
        again: Some(Duration::from_secs(wait)),
    }
}

/// When the oldest list was asked for; `None` while a datacenter has none.
pub(super) fn oldest(
    region: &[String],
    listed: &BTreeMap<String, u64>,
) -> Option<u64> {
    let all = region.iter().map(|datacenter| listed.get(datacenter).copied());
    all.collect::<Option<Vec<u64>>>()?.into_iter().min()
}

/// The election of this zone, on disk.
#[derive(Debug)]
pub(super) struct Guard {
    path: PathBuf,
    election: Option<Election>,
    compacts: bool,
    /// The election ended while metadata was bad.
    lapsed: bool,
    pub(super) again: Option<Duration>,
}

impl Guard {
    /// Goes on from what an earlier run kept. What cannot be read is no
    /// election: the hold-off begins anew.
    pub(super) fn load(path: PathBuf) -> Self {
        let election = match commit::look(&path) {
            Ok(Present::File { bytes, .. }) => {
                serde_json::from_slice(&bytes).ok()
            }
            _ => None,
        };
        Self { path, election, compacts: false, lapsed: false, again: None }
    }

    /// Nobody elected this zone, or it needs no election.
    pub(super) fn stand_down(&mut self) {
        self.take(Decision::default());
    }

    /// Whether the zone, first for `bucket`, compacts it now.
    pub(super) fn ask(&mut self, bucket: &str, listed: Option<u64>) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        let decision = decide(self.election.as_ref(), bucket, listed, now);
        if decision.election.is_some() && self.election.is_none() {
            info!(bucket, hold_off_s = HOLD_OFF, "elected to compact");
        }
        self.take(decision);
        self.compacts
    }

    /// Bad metadata hides who is first: the last proof counts for as long as
    /// a list would. Says whether a compactor must stop.
    pub(super) fn blind(&mut self) -> bool {
        if let Some(last) = self.election.clone() {
            self.ask(&last.bucket, Some(last.listed));
            self.lapsed = self.election.is_none();
        }
        self.lapsed
    }

    fn take(&mut self, decision: Decision) {
        if self.compacts != decision.compacts {
            let compacts = decision.compacts;
            info!(compacts, "compactor of a shared bucket starts or stops");
        }
        self.compacts = decision.compacts;
        self.lapsed = false;
        self.again = decision.again;
        if self.election == decision.election {
            return;
        }
        self.election = decision.election;
        let bytes = serde_json::to_vec(&self.election).unwrap_or_default();
        // Lost, it begins anew with the next run.
        if let Err(error) = write_atomic(&self.path, &bytes, 0o600) {
            warn!(
                path = %self.path.display(),
                err.message = %error,
                "could not keep the compactor's election"
            );
        }
    }
}

#[cfg(test)]
#[path = "compactor_tests.rs"]
mod tests;
