// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A host in memory, for tests: the same trait, and it remembers what it was
//! asked. Commands (checkers, post commands) run for real unless scripted.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::{
    Action, DaemonState, Exec, Finished, Host, HostError, HostFuture, run,
};

/// The host in memory.
#[derive(Debug, Default)]
pub struct Fake {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    asked: Vec<String>,
    states: BTreeMap<String, DaemonState>,
    mdata: BTreeMap<String, String>,
    refuse: Option<Action>,
    falls_over: Option<String>,
    scripts: Vec<(String, Finished)>,
    mdata_fails: u32,
    zonename_fails: u32,
}

impl Fake {
    /// What was asked since the last call, in order: `restart prometheus`.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().asked)
    }

    /// Sets a daemon's state; an unknown one is disabled.
    pub fn set_state(&self, daemon: &str, state: DaemonState) {
        self.lock().states.insert(daemon.to_owned(), state);
    }

    /// Sets a key of the instance's metadata.
    pub fn set_mdata(&self, key: &str, value: &str) {
        self.lock().mdata.insert(key.to_owned(), value.to_owned());
    }

    /// Makes the next `count` questions for metadata fail.
    pub fn mdata_fails(&self, count: u32) {
        self.lock().mdata_fails = count;
    }

    /// Makes the next `count` questions for the zone's name fail.
    pub fn zonename_fails(&self, count: u32) {
        self.lock().zonename_fails = count;
    }

    /// Makes `action` fail from now on; `None` ends that.
    pub fn refuse(&self, action: Option<Action>) {
        self.lock().refuse = action;
    }

    /// Makes `daemon` end in maintenance when it is started next.
    pub fn falls_over_next(&self, daemon: &str) {
        self.lock().falls_over = Some(daemon.to_owned());
    }

    /// Has commands that begin so end so; the longest beginning that fits
    /// counts, and of equal ones the latest.
    pub fn script(&self, begins: &str, ends: Finished) {
        let mut inner = self.lock();
        inner.scripts.retain(|(known, _)| known != begins);
        inner.scripts.push((begins.to_owned(), ends));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder panics")
    }
}

fn slow(program: &str) -> HostError {
    HostError::Timeout { program: program.to_owned(), seconds: 5 }
}

impl Host for Fake {
    fn control<'a>(
        &'a self,
        daemon: &'a str,
        action: Action,
    ) -> HostFuture<'a, ()> {
        Box::pin(async move {
            let mut inner = self.lock();
            inner.asked.push(format!("{action} {daemon}"));
            if inner.refuse == Some(action) {
                return Err(HostError::Failed {
                    program: "fake".to_owned(),
                    status: "exit status: 1".to_owned(),
                    output: format!("{action} refused"),
                });
            }
            let falls = inner.falls_over.as_deref() == Some(daemon);
            let state = match action {
                Action::Restart | Action::Enable if falls => {
                    inner.falls_over = None;
                    DaemonState::Maintenance
                }
                Action::Clear | Action::Disable => DaemonState::Disabled,
                _ => DaemonState::Online,
            };
            inner.states.insert(daemon.to_owned(), state);
            Ok(())
        })
    }

    fn state<'a>(&'a self, daemon: &'a str) -> HostFuture<'a, DaemonState> {
        Box::pin(async move {
            let state = self.lock().states.get(daemon).copied();
            Ok(state.unwrap_or(DaemonState::Disabled))
        })
    }

    fn mdata<'a>(&'a self, key: &'a str) -> HostFuture<'a, Option<String>> {
        Box::pin(async move {
            let mut inner = self.lock();
            if inner.mdata_fails > 0 {
                inner.mdata_fails -= 1;
                return Err(slow("mdata-get"));
            }
            Ok(inner.mdata.get(key).cloned())
        })
    }

    fn zonename(&self) -> HostFuture<'_, String> {
        Box::pin(async {
            let mut inner = self.lock();
            if inner.zonename_fails > 0 {
                inner.zonename_fails -= 1;
                return Err(slow("zonename"));
            }
            Ok(inner.mdata.get("sdc:uuid").cloned().unwrap_or_default())
        })
    }

    fn run<'a>(&'a self, exec: &'a Exec) -> HostFuture<'a, Finished> {
        Box::pin(async move {
            let line = exec.argv.join(" ");
            let scripted = {
                let mut inner = self.lock();
                let fits = inner.scripts.iter();
                let fits = fits.filter(|it| line.starts_with(&it.0));
                let longest = fits.max_by_key(|it| it.0.len());
                let ends = longest.map(|(_, ends)| ends.clone());
                inner.asked.push(line);
                ends
            };
            match scripted {
                Some(ends) => Ok(ends),
                None => run(exec).await,
            }
        })
    }

    fn is_linux(&self) -> bool {
        true
    }
}
