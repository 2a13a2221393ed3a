// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What is remembered for a while, and never more of it than there is room
//! for: caches and counts that strangers can fill.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

/// A map whose entries end by themselves. When it is full, those that end
/// soonest give way.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    most: usize,
    entries: HashMap<K, (Instant, V)>,
}

impl<K: Hash + Eq + Clone, V> Recent<K, V> {
    /// Room for `most` entries.
    pub(super) fn new(most: usize) -> Self {
        Self { most, entries: HashMap::new() }
    }

    /// Remembers `value` until `until`.
    pub(super) fn insert(
        &mut self,
        key: K,
        value: V,
        until: Instant,
        now: Instant,
    ) {
        if self.entries.len() >= self.most && !self.entries.contains_key(&key) {
            self.make_room(now);
        }
        self.entries.insert(key, (until, value));
    }

    pub(super) fn get(&self, key: &K, now: Instant) -> Option<&V> {
        self.entries
            .get(key)
            .filter(|(until, _)| *until > now)
            .map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: &K, now: Instant) -> Option<&mut V> {
        self.entries
            .get_mut(key)
            .filter(|(until, _)| *until > now)
            .map(|(_, value)| value)
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key).map(|(_, value)| value)
    }

    /// Keeps what `keep` wants of those that have not ended.
    pub(super) fn retain(
        &mut self,
        now: Instant,
        mut keep: impl FnMut(&K, &V) -> bool,
    ) {
        self.entries
            .retain(|key, (until, value)| *until > now && keep(key, value));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, (_, value))| (key, value))
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }

    /// Those that have ended go; if none had, a tenth goes, so that a flood
    /// does not have every insertion look at all.
    fn make_room(&mut self, now: Instant) {
        self.entries.retain(|_, (until, _)| *until > now);
        if self.entries.len() < self.most {
            return;
        }
        let mut ends: Vec<Instant> =
            self.entries.values().map(|(until, _)| *until).collect();
        let cut = self.most / 10;
        let (_, limit, _) = ends.select_nth_unstable(cut);
        let limit = *limit;
        let mut left = cut + 1;
        self.entries.retain(|_, (until, _)| {
            let goes = *until <= limit && left > 0;
            left -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_finds_no_more_room_and_the_old_goes_first() {
        let now = Instant::now();
        let mut recent = Recent::new(100);
        for number in 0..10_000_u32 {
            let until = now + Duration::from_millis(u64::from(number) + 1);
            recent.insert(number, number, until, now);
            assert!(recent.len() <= 100);
        }
        assert_eq!(recent.get(&9_999, now), Some(&9_999));
        assert_eq!(recent.get(&0, now), None);
        let all_equal = now + Duration::from_secs(100);
        for number in 0..1_000_u32 {
            recent.insert(number, number, all_equal, now);
        }
        assert!(recent.len() <= 100);
        assert_eq!(recent.get(&999, now), Some(&999));
    }

    #[test]
    fn an_entry_ends_by_itself() {
        let now = Instant::now();
        let mut recent = Recent::new(10);
        recent.insert("a", 1, now + Duration::from_secs(1), now);
        assert_eq!(recent.get(&"a", now), Some(&1));
        let later = now + Duration::from_secs(1);
        assert_eq!(recent.get(&"a", later), None);
        assert_eq!(recent.get_mut(&"a", later), None);
        recent.retain(later, |_, _| true);
        assert_eq!(recent.len(), 0);
    }
}
