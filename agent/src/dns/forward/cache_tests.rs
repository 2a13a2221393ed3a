// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What stays in the cache, for how long, and in how much memory.

use hickory_proto::rr::RecordType;

use super::*;
use crate::dns::secondary::fake::{name, record};
use crate::dns::serve::answer::Answer;

fn question(text: &str) -> Question {
    Question::new(&name(text), RecordType::A)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

struct Bench {
    cache: Cache,
    start: Instant,
}

impl Bench {
    fn new(limits: CacheLimits) -> Self {
        Self { cache: Cache::new(limits), start: Instant::now() }
    }

    fn sized(bytes: usize) -> Self {
        Self::new(CacheLimits { bytes, ..CacheLimits::default() })
    }

    fn put(&self, text: &str, ttl: u64, records: usize, brief: bool) {
        let answers =
            (0..records).map(|_| record(text, 9, "A 10.0.0.1")).collect();
        let answer = Answer { answers, ..Answer::default() };
        let (question, ttl) = (question(text), seconds(ttl));
        let kept = Kept::new(&question, &answer, ttl, brief, self.start);
        self.cache.put(question, Arc::new(kept.unwrap()));
    }

    fn find(&self, text: &str, after: u64) -> Found {
        let now = self.start + seconds(after);
        self.cache.find(question(text).as_bytes(), now)
    }

    fn has(&self, text: &str) -> bool {
        matches!(self.find(text, 0), Found::Fresh { .. })
    }
}

#[test]
fn answers_are_fresh_then_stale_then_gone() {
    let bench = Bench::new(CacheLimits::default());
    bench.put("a", 60, 1, false);
    assert!(matches!(bench.find("a", 59), Found::Fresh { .. }));
    let stale = |after| {
        let found = bench.find("a", after);
        matches!(found, Found::Stale { failed: false, .. })
    };
    assert!(stale(60) && stale(60 + 86_399));
    assert!(matches!(bench.find("a", 60 + 86_400), Found::Nothing));
    assert!(matches!(bench.find("b", 0), Found::Nothing));
    let counts = bench.cache.counts();
    assert_eq!((counts.hits, counts.misses, counts.entries), (1, 4, 1));
}

#[test]
fn our_own_word_is_never_stale() {
    let bench = Bench::new(CacheLimits::default());
    bench.put("a", 5, 0, true);
    assert!(matches!(bench.find("a", 4), Found::Fresh { .. }));
    assert!(matches!(bench.find("a", 5), Found::Nothing));
}

#[test]
fn a_failure_is_remembered_for_a_moment() {
    let bench = Bench::new(CacheLimits::default());
    bench.put("a", 60, 1, false);
    let failed = bench.start + seconds(70);
    assert!(bench.cache.failed(&question("a"), failed));
    let is_failed = |after| {
        let found = bench.find("a", after);
        matches!(found, Found::Stale { failed: true, .. })
    };
    assert!(is_failed(74) && !is_failed(75));
    assert!(!bench.cache.failed(&question("b"), failed));
}

#[test]
fn a_hot_name_is_said_once_near_its_end() {
    let bench = Bench::new(CacheLimits::default());
    let last = |text: &str, after| {
        matches!(bench.find(text, after), Found::Fresh { last: true, .. })
    };
    bench.put("hot", 60, 1, false);
    bench.put("cold", 60, 1, false);
    assert!(!last("hot", 1) && !last("hot", 2) && !last("hot", 53));
    assert!(last("hot", 55));
    assert!(!last("hot", 56), "once");
    assert!(!last("cold", 55), "asked for once only");
    bench.put("hot", 60, 1, false);
    for after in [1, 2, 3] {
        assert!(!last("hot", after));
    }
    assert!(last("hot", 58), "again after it was renewed");
    assert_eq!(bench.cache.counts().prefetches, 2);
}

#[test]
fn memory_is_bounded_and_the_asked_for_stay() {
    let bytes = 64 << 10;
    let bench = Bench::sized(bytes);
    for n in 0..2000 {
        bench.put(&format!("n{n}"), 60, 1 + n % 4, false);
        // Asked for all the time.
        assert!(bench.has("n0"), "{n}");
        assert!(bench.cache.counts().bytes <= bytes);
    }
    assert!(!bench.has("n1") && bench.has("n1999"));
    let counts = bench.cache.counts();
    assert!(counts.entries > 50, "{counts:?}");
    assert_eq!(counts.evictions, 2000 - counts.entries as u64);
    // What is counted is what is there.
    let inner = bench.cache.lock();
    let entries = inner.slots.iter().flatten();
    let sum: usize = entries.clone().map(Entry::bytes).sum();
    assert_eq!((sum, entries.count()), (counts.bytes, inner.map.len()));
    assert!(inner.slots.len() < 2 * counts.entries);
}

#[test]
fn one_answer_takes_no_more_than_its_share() {
    let bench = Bench::sized(64 << 10);
    bench.put("small", 60, 1, false);
    bench.put("large", 60, 100, false);
    assert!(bench.has("small") && !bench.has("large"));
    let none = Bench::sized(0);
    none.put("a", 60, 1, false);
    assert!(!none.has("a"));
}

#[test]
fn the_same_question_is_kept_once() {
    let bench = Bench::new(CacheLimits::default());
    bench.put("a", 60, 1, false);
    let before = bench.cache.counts();
    for _ in 0..100 {
        bench.put("a", 60, 1, false);
    }
    assert_eq!(bench.cache.counts(), before);
}

#[test]
fn no_time_at_all_is_not_kept_unless_the_least_is_more() {
    let bench = Bench::new(CacheLimits::default());
    bench.put("a", 0, 1, false);
    assert!(!bench.has("a"));
    let limits = CacheLimits { min_ttl: seconds(5), ..CacheLimits::default() };
    let cache = Cache::new(limits);
    assert_eq!(cache.clamp(Duration::ZERO), seconds(5));
    assert_eq!(cache.clamp(seconds(9000)), seconds(3600));
    assert_eq!(cache.bounds(), (5, 3600));
}
