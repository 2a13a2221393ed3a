// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Who may use Grafana now: what UFDS said of accounts and groups a moment
//! ago, looked at again on a clock of its own. So a session costs UFDS
//! nothing, and who is an operator no more is out within a minute.
//!
//! While UFDS is out of order, what it said last stands: those who are signed
//! in go on. Their sessions end by themselves.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::account::{Account, Groups, Role, Roles};
use super::recent::Recent;
use super::ufds::{Ufds, UfdsError};
use crate::log::chain;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(10);

/// What is older is not believed while UFDS answers.
const FRESH: Duration = Duration::from_secs(40);

/// Who was not here for so long is not looked after.
const ACTIVE: Duration = Duration::from_secs(120);

/// How long what UFDS said last may stand in for what it would say.
const STALE: Duration = Duration::from_secs(24 * 3_600);

/// Accounts that are remembered.
const ROOM: usize = 5_000;

/// How long a password policy is believed, and how many are.
const POLICY: Duration = Duration::from_secs(60);
const POLICIES: usize = 100;

/// Accounts that are looked at side by side.
const AT_ONCE: usize = 4;

/// What UFDS said, and when.
pub(super) struct People {
    ufds: Arc<Ufds>,
    roles: Roles,
    state: Mutex<State>,
    /// Held while groups are asked for: one asks, the others wait.
    asking: tokio::sync::Mutex<()>,
}

struct State {
    groups: Option<(Arc<Groups>, Instant)>,
    accounts: Recent<String, Known>,
    /// By DN; the empty one is everybody's.
    policies: Recent<String, Option<u64>>,
}

#[derive(Clone)]
struct Known {
    account: Arc<Account>,
    read: Instant,
    used: Instant,
}

impl People {
    pub(super) fn new(ufds: Arc<Ufds>, roles: Roles) -> Self {
        let accounts = Recent::new(ROOM);
        let policies = Recent::new(POLICIES);
        Self {
            ufds,
            roles,
            state: Mutex::new(State { groups: None, accounts, policies }),
            asking: tokio::sync::Mutex::new(()),
        }
    }

    /// Looks at all who are here, until `stop`.
    pub(super) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        loop {
            // A task of its own: the LDAP library panics at some kinds of
            // nonsense, and that must not be the last look.
            let looked = tokio::spawn(Arc::clone(&self).look());
            tokio::select! {
                // Cancel-safe: a look that is under way ends by itself.
                () = stop.cancelled() => return,
                _ = looked => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn look(self: Arc<Self>) {
        match self.ufds.groups().await {
            Ok(groups) => {
                self.take_groups(groups);
            }
            // The pool has said what is wrong with the connection.
            Err(UfdsError::Resting { .. } | UfdsError::Connect { .. }) => {
                return;
            }
            Err(error) => {
                warn!(err.message = %chain(&error), "groups not known");
                return;
            }
        }
        let now = Instant::now();
        let here: Vec<String> = {
            let mut state = self.state();
            state.accounts.retain(now, |_, _| true);
            let all = state.accounts.iter();
            all.filter(|(_, known)| now - known.used < ACTIVE)
                .map(|(uuid, _)| uuid.clone())
                .collect()
        };
        stream::iter(here)
            .for_each_concurrent(AT_ONCE, async |uuid| {
                if self.ufds.is_well()
                    && let Err(error) = self.read(&uuid).await
                {
                    let error = chain(&error);
                    warn!(%uuid, err.message = %error, "account not known");
                }
            })
            .await;
    }

    /// The groups, a moment old at most while UFDS answers.
    pub(super) async fn groups(&self) -> Result<Arc<Groups>, UfdsError> {
        if let Some(groups) = self.known_groups() {
            return Ok(groups);
        }
        let _asking = self.asking.lock().await;
        if let Some(groups) = self.known_groups() {
            return Ok(groups);
        }
        match self.ufds.groups().await {
            Ok(groups) => Ok(self.take_groups(groups)),
            Err(error) if error.is_outage() => {
                let state = self.state();
                let known = state.groups.as_ref();
                let known = known.filter(|(_, read)| read.elapsed() < STALE);
                known.map(|(groups, _)| Arc::clone(groups)).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    fn known_groups(&self) -> Option<Arc<Groups>> {
        let state = self.state();
        let (groups, read) = state.groups.as_ref()?;
        self.stands(*read).then(|| Arc::clone(groups))
    }

    /// Whether what was read then is believed without asking.
    fn stands(&self, read: Instant) -> bool {
        let age = read.elapsed();
        age < FRESH || (age < STALE && !self.ufds.is_well())
    }

    fn take_groups(&self, groups: Groups) -> Arc<Groups> {
        let mut state = self.state();
        let before = state.groups.as_ref().map(|(groups, _)| groups);
        if before.is_some_and(|before| **before != groups) {
            let operators = groups.operators.len();
            let readers = groups.readers.len();
            info!(operators, readers, "members of UFDS' groups changed");
        }
        let groups = Arc::new(groups);
        state.groups = Some((Arc::clone(&groups), Instant::now()));
        groups
    }

    /// An account, a moment old at most while UFDS answers.
    pub(super) async fn account(
        &self,
        uuid: &str,
    ) -> Result<Option<Arc<Account>>, UfdsError> {
        let now = Instant::now();
        let known = {
            let mut state = self.state();
            let known = state.accounts.get_mut(&uuid.to_owned(), now);
            known.map(|known| {
                known.used = now;
                known.clone()
            })
        };
        if let Some(known) = &known
            && self.stands(known.read)
        {
            return Ok(Some(Arc::clone(&known.account)));
        }
        match (self.read(uuid).await, known) {
            (Ok(account), _) => Ok(account),
            (Err(error), Some(known)) if error.is_outage() => {
                Ok(Some(known.account))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Asks UFDS for an account.
    async fn read(
        &self,
        uuid: &str,
    ) -> Result<Option<Arc<Account>>, UfdsError> {
        match self.ufds.by_uuid(uuid).await? {
            Some(account) => Ok(Some(self.remember(account, false))),
            None => {
                self.state().accounts.remove(&uuid.to_owned());
                Ok(None)
            }
        }
    }

    /// Takes an account that was read just now; `used`: its owner is here.
    pub(super) fn remember(
        &self,
        account: Account,
        used: bool,
    ) -> Arc<Account> {
        let now = Instant::now();
        let account = Arc::new(account);
        let mut state = self.state();
        let uuid = account.uuid.clone();
        let before = state.accounts.get(&uuid, now).map(|known| known.used);
        let used = match (used, before) {
            (false, Some(before)) => before,
            _ => now,
        };
        let known = Known { account: Arc::clone(&account), read: now, used };
        // Who comes again is remembered anew.
        state.accounts.insert(uuid, known, now + STALE, now);
        account
    }

    /// The wrong password that locks an account under its `policy`, or under
    /// everybody's. That changes seldom, and is looked at seldom.
    pub(super) async fn failures_that_lock(
        &self,
        policy: Option<&str>,
    ) -> Result<Option<u64>, UfdsError> {
        let key = policy.unwrap_or_default().to_owned();
        let now = Instant::now();
        if let Some(most) = self.state().policies.get(&key, now) {
            return Ok(*most);
        }
        let most = self.ufds.failures_that_lock(policy).await?;
        self.state().policies.insert(key, most, now + POLICY, now);
        Ok(most)
    }

    /// What an account is to Grafana.
    pub(super) async fn role(
        &self,
        uuid: &str,
    ) -> Result<Option<Role>, UfdsError> {
        Ok(self.groups().await?.role(uuid, &self.roles))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
