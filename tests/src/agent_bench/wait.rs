// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Waiting for something to become so, with a limit and never for luck.

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up on it: for a machine
/// that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again until `look` finds something; panics after [`PATIENCE`].
pub async fn eventually<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let found = within(PATIENCE, &mut look).await;
    found.unwrap_or_else(|| panic!("in vain: {what}"))
}

/// Asks again until `look` finds something or `limit` is over.
pub(super) async fn within<T>(
    limit: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        let found = look().await;
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
