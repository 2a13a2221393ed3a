// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Trying again what failed in passing: three tries in all, a second and a
//! quarter of pauses. What passes is said by `ApiError::is_passing`; who
//! creates something must look first whether an earlier try did.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Before the second try, and before the third.
const PAUSES: [Duration; 2] =
    [Duration::from_millis(250), Duration::from_secs(1)];

/// The tries of one call.
pub(crate) struct Tries {
    pauses: std::array::IntoIter<Duration, 2>,
    end: Option<Instant>,
}

impl Tries {
    /// None made yet.
    pub(crate) fn new() -> Self {
        Self { pauses: PAUSES.into_iter(), end: None }
    }

    /// The same, and none is begun after so long.
    pub(super) fn within(limit: Duration) -> Self {
        Self { end: Some(Instant::now() + limit), ..Self::new() }
    }

    /// Waits until it is time for another, after one that failed in passing;
    /// false when there is none.
    pub(crate) async fn another(&mut self) -> bool {
        let Some(pause) = self.pauses.next() else { return false };
        if self.end.is_some_and(|end| Instant::now() + pause >= end) {
            return false;
        }
        sleep(pause).await;
        true
    }
}
