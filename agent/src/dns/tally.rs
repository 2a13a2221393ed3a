// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Counts by label, with label sets that nobody outside can make grow: a few
//! types and response codes, and "other". One atomic addition a question, so
//! that the short way stays short; times are sampled there.

use std::array::from_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

/// Types counted by themselves.
const TYPES: [&str; 10] =
    ["A", "AAAA", "CNAME", "NS", "PTR", "SOA", "SRV", "TXT", "ANY", "other"];
/// Response codes counted by themselves.
const RCODES: [&str; 5] =
    ["NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED", "other"];
const CELLS: usize = TYPES.len() * RCODES.len();

/// Questions of one zone or forward zone, or answered by one rule.
#[derive(Debug)]
pub(crate) struct Tally([AtomicU64; CELLS]);

impl Default for Tally {
    fn default() -> Self {
        Self(from_fn(|_| AtomicU64::new(0)))
    }
}

impl Tally {
    /// Counts one question and its answer.
    pub(crate) fn count(&self, rtype: RecordType, rcode: ResponseCode) {
        let rtype = match rtype {
            RecordType::A => 0,
            RecordType::AAAA => 1,
            RecordType::CNAME => 2,
            RecordType::NS => 3,
            RecordType::PTR => 4,
            RecordType::SOA => 5,
            RecordType::SRV => 6,
            RecordType::TXT => 7,
            RecordType::ANY => 8,
            _ => TYPES.len() - 1,
        };
        let rcode = match rcode {
            ResponseCode::NoError => 0,
            ResponseCode::NXDomain => 1,
            ResponseCode::ServFail => 2,
            ResponseCode::Refused => 3,
            _ => RCODES.len() - 1,
        };
        let cell = &self.0[rtype * RCODES.len() + rcode];
        cell.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds what another one has: its zone is served no more.
    pub(crate) fn add(&self, other: &Tally) {
        for (ours, theirs) in self.0.iter().zip(&other.0) {
            ours.fetch_add(theirs.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Type, response code and number; zeros are left out.
    pub(crate) fn counts(
        &self,
    ) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.0.iter().enumerate().filter_map(|(at, cell)| {
            let count = cell.load(Ordering::Relaxed);
            let (rtype, rcode) = (at / RCODES.len(), at % RCODES.len());
            (count > 0).then(|| (TYPES[rtype], RCODES[rcode], count))
        })
    }
}

/// Upper bounds of the buckets of times, microseconds. Answers from memory
/// take a few, those of others up to the seconds that a question may take.
const BOUNDS_US: [u32; 17] = [
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000,
    100_000, 500_000, 1_000_000, 5_000_000,
];
/// On the short way one question in so many is timed, and counts for all.
const SAMPLE: u64 = 256;

/// Times of answers.
#[derive(Debug)]
pub(crate) struct Times {
    /// One more than there are bounds: what took longer.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_ns: AtomicU64,
}

impl Default for Times {
    fn default() -> Self {
        let buckets = from_fn(|_| AtomicU64::new(0));
        Self { buckets, sum_ns: AtomicU64::new(0) }
    }
}

/// When a question was begun with, if it is one to be timed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Began(Option<(Instant, u64)>);

impl Began {
    /// For each question that takes long enough for a look at the clock.
    pub(crate) fn always() -> Self {
        Self(Some((Instant::now(), 1)))
    }

    /// For a question in wire form on the short way: its id decides, which
    /// clients draw at random.
    pub(crate) fn seldom(query: &[u8]) -> Self {
        let sampled = query.get(1) == Some(&0);
        Self(sampled.then(|| (Instant::now(), SAMPLE)))
    }
}

impl Times {
    /// Counts a question that is answered now.
    pub(crate) fn ended(&self, began: Began) {
        if let Some((at, weight)) = began.0 {
            self.count(at.elapsed(), weight);
        }
    }

    fn count(&self, took: Duration, weight: u64) {
        let us = took.as_micros();
        let at = BOUNDS_US.partition_point(|bound| u128::from(*bound) < us);
        self.buckets[at].fetch_add(weight, Ordering::Relaxed);
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(ns.saturating_mul(weight), Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Latency {
        let mut below = 0;
        let mut buckets = Vec::with_capacity(BOUNDS_US.len());
        for (bound, bucket) in BOUNDS_US.iter().zip(&self.buckets) {
            below += bucket.load(Ordering::Relaxed);
            buckets.push((f64::from(*bound) / 1e6, below));
        }
        let above = self.buckets[BOUNDS_US.len()].load(Ordering::Relaxed);
        let sum = Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed));
        Latency { buckets, count: below + above, sum }
    }
}

/// How long answers took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latency {
    /// Upper bound in seconds, and answers up to it.
    pub buckets: Vec<(f64, u64)>,
    /// All answers.
    pub count: u64,
    /// All their times.
    pub sum: Duration,
}

/// What came of asking a primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The whole zone came.
    Axfr,
    /// Differences came.
    Ixfr,
    /// It had nothing new.
    UpToDate,
    /// It lets others transfer, not us.
    Refused,
    /// It kept silent.
    Silent,
    /// A socket failed.
    Network,
    /// It answered with another response code, or no DNS at all.
    Answer,
    /// What it sent breaks the rules, or our limits.
    Invalid,
    /// Not signed as agreed.
    Signature,
    /// What came is not believed yet.
    HeldBack,
}

const OUTCOMES: [&str; 10] = [
    "axfr",
    "ixfr",
    "uptodate",
    "refused",
    "failed_silent",
    "failed_network",
    "failed_answer",
    "failed_invalid",
    "failed_signature",
    "held_back",
];

/// Outcomes of one zone.
#[derive(Debug)]
pub(crate) struct Outcomes([AtomicU64; OUTCOMES.len()]);

impl Default for Outcomes {
    fn default() -> Self {
        Self(from_fn(|_| AtomicU64::new(0)))
    }
}

impl Outcomes {
    pub(crate) fn count(&self, outcome: Outcome) {
        self.0[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// All kinds, those that never were among them.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let count = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        OUTCOMES.into_iter().zip(self.0.iter().map(count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_question_has_its_cell() {
        let tally = Tally::default();
        tally.count(RecordType::A, ResponseCode::NoError);
        tally.count(RecordType::A, ResponseCode::NoError);
        tally.count(RecordType::ANY, ResponseCode::ServFail);
        // However many types there are, they are one.
        for n in 1000..2000 {
            tally.count(RecordType::from(n), ResponseCode::BADVERS);
        }
        let counts: Vec<_> = tally.counts().collect();
        let wanted = [
            ("A", "NOERROR", 2),
            ("ANY", "SERVFAIL", 1),
            ("other", "other", 1000),
        ];
        assert_eq!(counts, wanted);
        let all = Tally::default();
        all.add(&tally);
        all.add(&tally);
        assert_eq!(all.counts().next(), Some(("A", "NOERROR", 4)));
    }

    #[test]
    fn times_fall_into_buckets_by_weight() {
        let times = Times::default();
        times.count(Duration::from_micros(5), 1);
        times.count(Duration::from_micros(6), 256);
        times.count(Duration::from_secs(60), 1);
        let latency = times.snapshot();
        assert_eq!(latency.buckets[..2], [(5e-6, 1), (1e-5, 257)]);
        assert_eq!(latency.buckets.last(), Some(&(5.0, 257)));
        assert_eq!(latency.count, 258);
        assert_eq!(latency.sum.as_secs(), 60);
        assert!(latency.buckets.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn one_question_in_many_is_timed_on_the_short_way() {
        let timed = |id: u16| Began::seldom(&id.to_be_bytes()).0.is_some();
        let all = (0..=u16::MAX).filter(|id| timed(*id)).count();
        assert_eq!(all as u64 * SAMPLE, 1 << 16);
        assert!(Began::seldom(&[]).0.is_none());
    }

    #[test]
    fn outcomes_have_their_names() {
        let outcomes = Outcomes::default();
        outcomes.count(Outcome::Axfr);
        outcomes.count(Outcome::HeldBack);
        let counts = outcomes.counts();
        assert_eq!(counts.first(), Some(&("axfr", 1)));
        assert_eq!(counts.last(), Some(&("held_back", 1)));
        assert_eq!(counts.len(), 10);
    }
}
