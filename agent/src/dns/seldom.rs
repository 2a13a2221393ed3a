// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Log lines that outsiders can cause, at a bearable rate.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// At most one line in this time.
const EVERY: Duration = Duration::from_secs(30);

/// Lets one event through in a while, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Option<(Instant, u64)>>);

impl Seldom {
    /// `Some` when this event may be logged: with the number of those held
    /// back since the last one.
    pub(crate) fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.as_mut() {
            Some((last, held))
                if now.saturating_duration_since(*last) < EVERY =>
            {
                *held += 1;
                None
            }
            _ => {
                let held = state.map_or(0, |(_, held)| held);
                *state = Some((now, 0));
                Some(held)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_while_passes() {
        let seldom = Seldom::default();
        let start = Instant::now();
        assert_eq!(seldom.pass(start), Some(0));
        assert_eq!(seldom.pass(start), None);
        assert_eq!(seldom.pass(start + EVERY / 2), None);
        assert_eq!(seldom.pass(start + EVERY), Some(2));
        assert_eq!(seldom.pass(start + EVERY), None);
    }
}
