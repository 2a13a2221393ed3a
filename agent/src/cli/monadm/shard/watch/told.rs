// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What watch remembers from round to round: what it has said, and which
//! zones wait.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};
use uuid::Uuid;

use crate::deploy::shards::Write;

/// Longest wait of a zone whose tag could not be written.
const LONGEST: Duration = Duration::from_secs(1800);

/// Faults that were told and last.
#[derive(Default)]
pub(super) struct Told {
    problems: BTreeSet<String>,
    waits: bool,
}

impl Told {
    /// Tells of faults that are new, and of those that are gone.
    pub(super) fn problems(&mut self, all: &[String]) {
        let (came, went) = self.news(all);
        for problem in came {
            warn!(problem, "fault");
        }
        for problem in went {
            info!(problem, "fault is gone");
        }
    }

    fn news(&mut self, all: &[String]) -> (Vec<String>, Vec<String>) {
        // What was seen changes with every zone; what is at fault does not.
        let subject = |problem: &str| {
            problem.split(": saw ").next().unwrap_or_default().to_owned()
        };
        let mut now = BTreeSet::new();
        let mut came = Vec::new();
        for problem in all {
            let subject = subject(problem);
            if now.insert(subject.clone()) && !self.problems.contains(&subject)
            {
                came.push(problem.clone());
            }
        }
        let went = self.problems.difference(&now).cloned().collect();
        self.problems = now;
        (came, went)
    }

    /// Tells once when another writer is waited for.
    pub(super) fn waits(&mut self, waits: bool) {
        if waits && !self.waits {
            info!("another monadm writes tags; waiting for it");
        }
        self.waits = waits;
    }
}

/// Zones whose tag could not be written, with when they are tried again.
pub(super) struct Retries {
    first: Duration,
    all: BTreeMap<Uuid, (u32, Instant)>,
}

impl Retries {
    /// A zone waits `first` so long, then twice that.
    pub(super) fn new(first: Duration) -> Self {
        Self { first, all: BTreeMap::new() }
    }

    /// Forgets all but those that are still to be written.
    pub(super) fn keep(&mut self, writes: &[Write]) {
        let wanted: BTreeSet<Uuid> =
            writes.iter().map(|one| one.uuid).collect();
        self.all.retain(|uuid, _| wanted.contains(uuid));
    }

    /// Whether it is to be tried now.
    pub(super) fn is_due(&self, write: &Write, now: Instant) -> bool {
        self.all.get(&write.uuid).is_none_or(|&(_, at)| at <= now)
    }

    /// How it went; how often it has failed in a row.
    pub(super) fn tell(&mut self, uuid: Uuid, done: bool, now: Instant) -> u32 {
        if done {
            self.all.remove(&uuid);
            return 0;
        }
        let (failed, at) = self.all.entry(uuid).or_insert((0, now));
        *failed += 1;
        let factor = 1 << (*failed - 1).min(16);
        *at = now + self.first.saturating_mul(factor).min(LONGEST);
        *failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_once_whatever_its_figures() {
        let mut told = Told::default();
        let texts = |all: &[&str]| -> Vec<String> {
            all.iter().map(|&text| text.to_owned()).collect()
        };
        let news = told.news(&texts(&["shard a: saw 5", "zone b: saw c"]));
        assert_eq!(news.0.len(), 2);
        let news = told.news(&texts(&["shard a: saw 6", "zone b: saw c"]));
        assert_eq!(news, (vec![], vec![]));
        let news = told.news(&texts(&["shard a: saw 7"]));
        assert_eq!(news, (vec![], texts(&["zone b"])));
        let news = told.news(&texts(&["shard a: saw 7", "zone b: saw c"]));
        assert_eq!(news, (texts(&["zone b: saw c"]), vec![]));
    }

    #[test]
    fn a_zone_waits_longer_each_time_but_not_for_ever() {
        let first = Duration::from_secs(20);
        let (mut retries, mut now) = (Retries::new(first), Instant::now());
        let uuid = Uuid::from_u128(1);
        let write = Write { uuid, seen: None, value: None };
        let mut waits = Vec::new();
        for failed in 1..=40 {
            assert!(retries.is_due(&write, now));
            assert_eq!(retries.tell(uuid, false, now), failed);
            let begin = now;
            while !retries.is_due(&write, now) {
                now += Duration::from_secs(10);
            }
            waits.push((now - begin).as_secs());
        }
        assert_eq!(waits[..3], [20, 40, 80]);
        assert_eq!(waits[39], LONGEST.as_secs());
        retries.keep(&[]);
        assert!(retries.all.is_empty());
        retries.tell(uuid, false, now);
        assert_eq!(retries.tell(uuid, true, now), 0);
        assert!(retries.is_due(&write, now));
    }
}
