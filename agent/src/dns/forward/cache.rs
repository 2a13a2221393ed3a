// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Answers of others, kept for as long as their TTL allows, and a while
//! longer for when nobody answers (RFC 8767). Bounded in entries; large
//! answers are not kept, so bounded in bytes as well.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_proto::rr::RecordType;
use tokio::time::Instant;

use crate::dns::names::WireName;
use crate::dns::serve::answer::Answer;

/// Answers of more bytes than this are not kept, so the whole cache holds
/// 32 MiB at the very most.
const MAX_BYTES: usize = 8192;
/// TTL given with a stale answer (RFC 8767 §4).
const STALE_TTL: u32 = 30;

/// What is asked: a name and a type; the class is always IN.
pub(crate) type Key = (WireName, RecordType);

/// Bounds of a cache.
#[derive(Clone, Copy, Debug)]
pub struct CacheLimits {
    /// Number of answers.
    pub entries: usize,
    /// No answer is kept fresh for longer.
    pub max_ttl: Duration,
    /// How long after its TTL an answer may still be given when no upstream
    /// answers.
    pub max_stale: Duration,
}

impl Default for CacheLimits {
    /// Binder's TTLs are 30 to 60 s; an hour bounds what public servers say.
    fn default() -> Self {
        Self {
            entries: 4096,
            max_ttl: Duration::from_secs(3600),
            max_stale: Duration::from_secs(86_400),
        }
    }
}

struct Entry {
    answer: Answer,
    stored: Instant,
    ttl: Duration,
    /// Tells this entry from an older one of the same key in `order`.
    age: u64,
}

#[derive(Default)]
struct Inner {
    map: HashMap<Key, Entry>,
    order: VecDeque<(Key, u64)>,
    next: u64,
}

/// One forward zone's answers.
pub(crate) struct Cache {
    limits: CacheLimits,
    inner: Mutex<Inner>,
}

impl Cache {
    pub(crate) fn new(limits: CacheLimits) -> Self {
        Self { limits, inner: Mutex::default() }
    }

    /// A fresh answer, its TTLs counted down.
    pub(crate) fn get(&self, key: &Key, now: Instant) -> Option<Answer> {
        let inner = self.lock();
        let entry = inner.map.get(key)?;
        let elapsed = now.saturating_duration_since(entry.stored);
        if elapsed >= entry.ttl {
            return None;
        }
        let secs = u32::try_from(elapsed.as_secs()).unwrap_or(u32::MAX);
        let mut answer = entry.answer.clone();
        for record in answer.records_mut() {
            record.ttl = record.ttl.saturating_sub(secs);
        }
        Some(answer)
    }

    /// An answer whose TTL ran out not too long ago.
    pub(crate) fn get_stale(&self, key: &Key, now: Instant) -> Option<Answer> {
        let inner = self.lock();
        let entry = inner.map.get(key)?;
        let age = now.saturating_duration_since(entry.stored);
        if age >= entry.ttl + self.limits.max_stale {
            return None;
        }
        let mut answer = entry.answer.clone();
        for record in answer.records_mut() {
            record.ttl = STALE_TTL;
        }
        Some(answer)
    }

    /// Keeps an answer of `size` bytes on the wire for `ttl`.
    pub(crate) fn put(
        &self,
        key: Key,
        answer: Answer,
        ttl: Duration,
        size: usize,
        now: Instant,
    ) {
        let ttl = ttl.min(self.limits.max_ttl);
        if ttl.is_zero() || size > MAX_BYTES {
            return;
        }
        let mut inner = self.lock();
        let age = inner.next;
        inner.next += 1;
        inner.order.push_back((key.clone(), age));
        let entry = Entry { answer, stored: now, ttl, age };
        inner.map.insert(key, entry);
        // Oldest first; a place in the queue whose entry was replaced since
        // is skipped, but counted, so the queue is bounded too.
        while inner.map.len() > self.limits.entries
            || inner.order.len() > 2 * self.limits.entries
        {
            let Some((key, age)) = inner.order.pop_front() else { break };
            if inner.map.get(&key).is_some_and(|entry| entry.age == age) {
                inner.map.remove(&key);
            }
        }
    }

    /// Forgets the answers at and below a name, or all; says how many.
    pub(crate) fn forget(&self, below: Option<&WireName>) -> usize {
        let mut inner = self.lock();
        let before = inner.map.len();
        inner.map.retain(|(name, _), _| {
            below.is_some_and(|below| !name.is_within(below))
        });
        // Places whose entry is gone are skipped as those of older ones are.
        before - inner.map.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while holding it; if it did, the map is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::secondary::fake::record;

    fn key(text: &str) -> Key {
        let name = record(text, 0, "A 0.0.0.0").name;
        (WireName::from_name(&name), RecordType::A)
    }

    fn answer(ttl: u32) -> Answer {
        Answer {
            answers: vec![record("a", ttl, "A 10.0.0.1")],
            ..Answer::default()
        }
    }

    #[test]
    fn ttls_count_down_then_turn_stale() {
        let cache = Cache::new(CacheLimits::default());
        let start = Instant::now();
        let after = |secs| start + Duration::from_secs(secs);
        cache.put(key("a"), answer(60), Duration::from_secs(60), 99, start);
        let ttl = |answer: Option<Answer>| answer.map(|a| a.answers[0].ttl);
        assert_eq!(ttl(cache.get(&key("a"), after(20))), Some(40));
        assert_eq!(ttl(cache.get(&key("a"), after(60))), None);
        assert_eq!(ttl(cache.get_stale(&key("a"), after(60))), Some(30));
        assert_eq!(ttl(cache.get_stale(&key("a"), after(86_460))), None);
        assert_eq!(ttl(cache.get(&key("b"), start)), None);
    }

    #[test]
    fn the_oldest_goes_first() {
        let limits = CacheLimits { entries: 2, ..CacheLimits::default() };
        let cache = Cache::new(limits);
        let now = Instant::now();
        let put = |text| {
            let ttl = Duration::from_secs(9);
            cache.put(key(text), answer(9), ttl, 99, now);
        };
        let has = |text| cache.get(&key(text), now).is_some();
        for text in ["a", "b", "a", "c"] {
            put(text);
        }
        assert!(has("a") && !has("b") && has("c"));
        for _ in 0..100 {
            put("a");
        }
        assert!(has("a"));
        let inner = cache.lock();
        assert!(inner.map.len() <= 2 && inner.order.len() <= 4);
    }

    #[test]
    fn a_name_is_forgotten_with_all_below_it() {
        let cache = Cache::new(CacheLimits::default());
        let (ttl, now) = (Duration::from_secs(9), Instant::now());
        for text in ["a", "b.a", "ba"] {
            cache.put(key(text), answer(9), ttl, 99, now);
        }
        assert_eq!(cache.forget(Some(&key("a").0)), 2);
        assert!(cache.get_stale(&key("b.a"), now).is_none());
        assert!(cache.get(&key("ba"), now).is_some());
        assert_eq!(cache.forget(None), 1);
    }

    #[test]
    fn large_answers_are_not_kept() {
        let cache = Cache::new(CacheLimits::default());
        let (ttl, now) = (Duration::from_secs(9), Instant::now());
        cache.put(key("a"), answer(9), ttl, MAX_BYTES + 1, now);
        assert!(cache.get(&key("a"), now).is_none());
    }
}
