// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Questions on their way: equal ones become one (RFC 5452 §5 asks for it,
//! because each more would be another chance for a forger), which goes on when
//! those who wait for it give up.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::kept::{Kept, Question};

/// What came of a question; `None` inside: nothing.
type Outcome = Option<Option<Arc<Kept>>>;

/// Someone who waits.
pub(crate) type Waiting = watch::Receiver<Outcome>;

/// All that are on their way; as many as there are permits.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<Question, Waiting>>);

impl Flights {
    /// Joins the one on its way, or starts what `start` returns as a task;
    /// `None` if that may not be.
    pub(crate) fn join<F>(
        self: &Arc<Self>,
        question: &Question,
        start: impl FnOnce() -> Option<F>,
    ) -> Option<Waiting>
    where
        F: Future<Output = Option<Arc<Kept>>> + Send + 'static,
    {
        let mut flights = self.lock();
        if let Some(waiting) = flights.get(question) {
            return Some(waiting.clone());
        }
        let flight = start()?;
        let (outcome, waiting) = watch::channel(None);
        flights.insert(question.clone(), waiting.clone());
        // A runtime that is closing drops the task at once, and with it the
        // landing, which wants the lock.
        drop(flights);
        let landing =
            Landing { flights: Arc::clone(self), question: question.clone() };
        // Ends within the time limit of a question.
        tokio::spawn(async move {
            let kept = flight.await;
            drop(landing);
            // Nobody may be waiting any more.
            let _ = outcome.send(Some(kept));
        });
        Some(waiting)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Question, Waiting>> {
        // Only whole entries come and go.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the end.
pub(crate) async fn land(mut waiting: Waiting) -> Option<Arc<Kept>> {
    // An error: the task was torn down.
    let outcome = waiting.wait_for(Option::is_some).await.ok()?;
    outcome.clone().flatten()
}

/// Takes the question off the list, however its task ends.
struct Landing {
    flights: Arc<Flights>,
    question: Question,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.question);
    }
}
