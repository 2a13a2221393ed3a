// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! CMON's rate limit: a token bucket per account login.

use std::collections::HashMap;

use tokio::time::Instant;

/// Requests at once.
const CAPACITY: f64 = 1000.0;
/// Requests a second in the long run.
pub(super) const REFILL_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// The buckets of all accounts.
#[derive(Debug, Default)]
pub(super) struct Limit {
    buckets: HashMap<String, Bucket>,
}

impl Limit {
    /// Takes one token of `login`'s bucket; false when it is empty.
    pub(super) fn take(&mut self, login: &str, now: Instant) -> bool {
        let full = || Bucket { tokens: CAPACITY, at: now };
        let bucket = self.buckets.entry(login.to_owned()).or_insert_with(full);
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.tokens =
            (bucket.tokens + since * REFILL_PER_SECOND).min(CAPACITY);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn empties_and_refills_per_login() {
        let mut limit = Limit::default();
        let start = Instant::now();
        assert!((0..1000).all(|_| limit.take("alice", start)));
        assert!(!limit.take("alice", start));
        assert!(limit.take("bob", start));
        let later = start + Duration::from_millis(100);
        assert_eq!((0..99).filter(|_| limit.take("alice", later)).count(), 10);
        let hour = start + Duration::from_secs(3600);
        assert_eq!(
            (0..2000).filter(|_| limit.take("alice", hour)).count(),
            1000
        );
    }
}
