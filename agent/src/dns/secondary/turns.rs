// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Whose turn it is: transfers wait for each other at a primary.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One transfer at a time from each primary: CNS has few connections to its
/// database and buffers its output without limit.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<SocketAddr, Arc<Semaphore>>>);

impl Turns {
    /// Waits for our turn, which lasts as long as the permit.
    pub(crate) async fn take(
        &self,
        primary: SocketAddr,
    ) -> Option<OwnedSemaphorePermit> {
        let turn = {
            let mut turns =
                self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Primaries that are gone leave no trace.
            turns.retain(|addr, turn| {
                *addr == primary || Arc::strong_count(turn) > 1
            });
            let fresh = || Arc::new(Semaphore::new(1));
            Arc::clone(turns.entry(primary).or_insert_with(fresh))
        };
        turn.acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn one_transfer_at_a_time_from_a_primary() {
        let turns = Turns::default();
        let primary: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let held = turns.take(primary).await;
        let wait = Duration::from_millis(20);
        let blocked = tokio::time::timeout(wait, turns.take(primary));
        assert!(blocked.await.is_err());
        drop(held);
        assert!(turns.take(primary).await.is_some());
    }
}
