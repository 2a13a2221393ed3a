// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The loops of a run: started together, ended together.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{GRACE, RunError};
use crate::discovery::Found;

/// The running loops.
pub(super) struct Loops {
    stop: CancellationToken,
    children: CancellationToken,
    set: JoinSet<&'static str>,
    /// Senders whose receivers must not see them go.
    kept: Vec<Box<dyn std::any::Any + Send>>,
}

impl Loops {
    pub(super) fn new(stop: CancellationToken) -> Self {
        let children = stop.child_token();
        Self { stop, children, set: JoinSet::new(), kept: Vec::new() }
    }

    pub(super) fn start<F>(
        &mut self,
        name: &'static str,
        make: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let running = make(self.children.clone());
        self.set.spawn(async move {
            running.await;
            name
        });
    }

    pub(super) fn start_blocking<F>(
        &mut self,
        name: &'static str,
        make: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let running = make(self.children.clone());
        let runtime = tokio::runtime::Handle::current();
        self.set.spawn_blocking(move || {
            runtime.block_on(running);
            name
        });
    }

    pub(super) fn keep(&mut self, found: watch::Sender<Arc<Found>>) {
        self.kept.push(Box::new(found));
    }

    /// Waits for the first to end, then ends the rest.
    pub(super) async fn end(mut self) -> Result<(), RunError> {
        let first = self.set.join_next().await;
        let asked = self.stop.is_cancelled();
        self.children.cancel();
        let rest = async { while self.set.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GRACE, rest).await;
        match first {
            _ if asked => Ok(()),
            Some(Ok(name)) => Err(RunError::Ended(name)),
            _ => Err(RunError::Ended("by a panic")),
        }
    }
}
