// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Answers of others, kept for as long as their TTL allows, and a while
//! longer for when nobody answers (RFC 8767). Bounded in bytes of memory, all
//! that belongs to an answer counted. When it is full, the clock's hand goes
//! round: who was not asked for since it came by last has to go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::kept::{Kept, Question};
use crate::dns::names::WireName;

/// Memory of an answer besides its own bytes and its key's: its slot and its
/// place in the map, which both may have grown to double, and what the
/// allocator adds to four pieces.
const OVERHEAD: usize = 2 * size_of::<Option<Entry>>()
    + 2 * (size_of::<(Question, u32)>() + 1)
    + 4 * 16
    + 16;
/// The share of the whole that one answer may take.
const LARGEST: usize = 64;
/// A refresh that failed is not tried again for this long (RFC 8767 §5 says
/// up to 30 s; names of a datacenter come back sooner).
const RECHECK: Duration = Duration::from_secs(5);
/// From how many questions on a name is hot, within one TTL.
const HOT: u8 = 3;
/// The last part of a TTL in which a hot name is asked for again.
const LAST: u32 = 10;

/// Bounds of a cache.
#[derive(Clone, Copy, Debug)]
pub struct CacheLimits {
    /// Memory of all answers.
    pub bytes: usize,
    /// Every answer is kept fresh for at least so long.
    pub min_ttl: Duration,
    /// No answer is kept fresh for longer.
    pub max_ttl: Duration,
    /// How long after its TTL an answer may still be given when no upstream
    /// answers; zero: never.
    pub max_stale: Duration,
}

impl Default for CacheLimits {
    /// Binder's TTLs are 30 to 60 s; an hour bounds what public servers say.
    /// Some 10,000 names each forward zone; a day of stale answers, the lower
    /// of what RFC 8767 §5 proposes.
    fn default() -> Self {
        Self {
            bytes: 4 << 20,
            min_ttl: Duration::ZERO,
            max_ttl: Duration::from_secs(3600),
            max_stale: Duration::from_secs(86_400),
        }
    }
}

/// What a cache has done, and what is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Questions answered with a fresh answer.
    pub hits: u64,
    /// Questions that had to be asked of others.
    pub misses: u64,
    /// Questions answered with a stale answer.
    pub stale: u64,
    /// Hot names asked for again before their end.
    pub prefetches: u64,
    /// Answers that had to go before their time.
    pub evictions: u64,
    /// Answers in it, the stale ones included.
    pub entries: usize,
    /// Memory they take.
    pub bytes: usize,
}

/// What the cache has for a question.
pub(crate) enum Found {
    /// A fresh answer; `last` when it is hot and should be asked for again,
    /// said once.
    Fresh {
        kept: Arc<Kept>,
        last: bool,
    },
    /// One whose time is over; `failed` when it was asked for again in vain a
    /// moment ago.
    Stale {
        kept: Arc<Kept>,
        failed: bool,
    },
    Nothing,
}

struct Entry {
    question: Question,
    kept: Arc<Kept>,
    asked: u8,
    /// Since the hand came by.
    touched: bool,
    renewing: bool,
    failed: Option<Instant>,
}

impl Entry {
    fn bytes(&self) -> usize {
        OVERHEAD + self.question.as_bytes().len() + self.kept.bytes()
    }
}

#[derive(Default)]
struct Inner {
    map: HashMap<Question, u32>,
    slots: Vec<Option<Entry>>,
    free: Vec<u32>,
    hand: usize,
    counts: CacheCounts,
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

    pub(crate) fn counts(&self) -> CacheCounts {
        let inner = self.lock();
        CacheCounts { entries: inner.map.len(), ..inner.counts }
    }

    /// Looks a question up, by its bytes, and counts how that went.
    pub(crate) fn find(&self, question: &[u8], now: Instant) -> Found {
        let inner = &mut *self.lock();
        let found = inner
            .entry(question)
            .map_or(Found::Nothing, |entry| entry.find(&self.limits, now));
        let counts = &mut inner.counts;
        match &found {
            Found::Fresh { last, .. } => {
                counts.hits += 1;
                counts.prefetches += u64::from(*last);
            }
            Found::Stale { .. } | Found::Nothing => counts.misses += 1,
        }
        found
    }

    /// Like `find`, for a fresh answer that will do; nothing else is counted,
    /// because the question is going to be asked again, in another way.
    pub(crate) fn find_fresh(
        &self,
        question: &[u8],
        now: Instant,
        will_do: impl Fn(&Kept) -> bool,
    ) -> Option<(Arc<Kept>, bool)> {
        let inner = &mut *self.lock();
        let entry = inner.entry(question)?;
        if !will_do(&entry.kept) {
            return None;
        }
        let found = entry.find(&self.limits, now);
        let Found::Fresh { kept, last } = found else { return None };
        inner.counts.hits += 1;
        inner.counts.prefetches += u64::from(last);
        Some((kept, last))
    }

    /// Whether there is a fresh answer that will do; nobody is counted as
    /// having asked.
    pub(crate) fn has(
        &self,
        question: &[u8],
        now: Instant,
        will_do: impl Fn(&Kept) -> bool,
    ) -> bool {
        let mut inner = self.lock();
        inner.entry(question).is_some_and(|entry| {
            now.saturating_duration_since(entry.kept.stored) < entry.kept.ttl
                && will_do(&entry.kept)
        })
    }

    /// Takes note that a stale answer was given.
    pub(crate) fn gave_stale(&self) {
        self.lock().counts.stale += 1;
    }

    /// Takes note that the answer could not be had again; false when there is
    /// none that is of use still.
    pub(crate) fn failed(&self, question: &Question, now: Instant) -> bool {
        let mut inner = self.lock();
        let Some(entry) = inner.entry(question.as_bytes()) else {
            return false;
        };
        entry.failed = Some(now);
        !entry.is_useless(&self.limits, now)
    }

    /// Bounds what an answer says about its own time.
    pub(crate) fn clamp(&self, ttl: Duration) -> Duration {
        ttl.max(self.limits.min_ttl).min(self.limits.max_ttl)
    }

    /// The same bounds in seconds, for TTLs that are given on.
    pub(crate) fn bounds(&self) -> (u32, u32) {
        let seconds =
            |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        (seconds(self.limits.min_ttl), seconds(self.limits.max_ttl))
    }

    /// Keeps an answer; one that is over at once is not kept.
    pub(crate) fn put(&self, question: Question, kept: Arc<Kept>) {
        let now = kept.stored;
        if kept.ttl.is_zero() {
            return;
        }
        let entry = Entry {
            question: question.clone(),
            kept,
            asked: 0,
            touched: false,
            renewing: false,
            failed: None,
        };
        let bytes = entry.bytes();
        if bytes > self.limits.bytes / LARGEST {
            return;
        }
        let mut inner = self.lock();
        inner.remove(question.as_bytes());
        while inner.counts.bytes + bytes > self.limits.bytes {
            inner.evict(&self.limits, now);
        }
        inner.insert(entry);
    }

    /// Forgets the answers at and below a name, or all; says how many.
    pub(crate) fn forget(&self, below: Option<&WireName>) -> usize {
        let mut inner = self.lock();
        let gone: Vec<Question> = inner
            .map
            .keys()
            .filter(|question| {
                below.is_none_or(|below| question.is_within(below))
            })
            .cloned()
            .collect();
        for question in &gone {
            inner.remove(question.as_bytes());
        }
        gone.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while holding it; if it did, it is a cache.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn find(&mut self, limits: &CacheLimits, now: Instant) -> Found {
        let age = now.saturating_duration_since(self.kept.stored);
        let kept = Arc::clone(&self.kept);
        let Some(left) =
            self.kept.ttl.checked_sub(age).filter(|l| !l.is_zero())
        else {
            if self.is_useless(limits, now) {
                return Found::Nothing;
            }
            self.touched = true;
            let failed = self.failed.is_some_and(|failed| {
                now.saturating_duration_since(failed) < RECHECK
            });
            return Found::Stale { kept, failed };
        };
        self.touched = true;
        self.asked = self.asked.saturating_add(1);
        let last = !self.renewing
            && !kept.brief
            && self.asked >= HOT
            && left * LAST < kept.ttl;
        self.renewing |= last;
        Found::Fresh { kept, last }
    }

    /// Neither fresh nor of use when stale.
    fn is_useless(&self, limits: &CacheLimits, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.kept.stored);
        let stale =
            if self.kept.brief { Duration::ZERO } else { limits.max_stale };
        age >= self.kept.ttl + stale
    }
}

impl Inner {
    fn entry(&mut self, question: &[u8]) -> Option<&mut Entry> {
        let at = *self.map.get(question)?;
        self.slots.get_mut(at as usize)?.as_mut()
    }

    fn insert(&mut self, entry: Entry) {
        self.counts.bytes += entry.bytes();
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            // Each takes more than a byte of a budget in memory.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.map.insert(entry.question.clone(), at);
        if let Some(slot) = self.slots.get_mut(at as usize) {
            *slot = Some(entry);
        }
    }

    fn remove(&mut self, question: &[u8]) {
        let Some(at) = self.map.remove(question) else { return };
        let slot = self.slots.get_mut(at as usize);
        if let Some(entry) = slot.and_then(Option::take) {
            self.counts.bytes -= entry.bytes();
            self.free.push(at);
        }
    }

    /// One step of the hand. Ends up removing one: each was touched once at
    /// most when it comes by again.
    fn evict(&mut self, limits: &CacheLimits, now: Instant) {
        if self.map.is_empty() {
            self.counts.bytes = 0;
            return;
        }
        self.hand = (self.hand + 1) % self.slots.len().max(1);
        let Some(entry) = self.slots.get_mut(self.hand) else { return };
        let Some(entry) = entry else { return };
        let useless = entry.is_useless(limits, now);
        if std::mem::take(&mut entry.touched) && !useless {
            return;
        }
        let question = entry.question.clone();
        self.remove(question.as_bytes());
        self.counts.evictions += u64::from(!useless);
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
