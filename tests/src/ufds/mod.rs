// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Stand-in for UFDS: LDAP over TLS, with the answers, texts and faults that
//! the contract sheet on UFDS describes (1.1 to 1.7), lockout above all.
//!
//! `store` keeps entries and judges passwords, `filter` searches, `server`
//! speaks LDAP. The store outlives a server, as Moray outlives UFDS.

mod dn;
mod filter;
mod server;
mod store;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use server::{Certificate, Server};
pub use store::{Attributes, Compared};

use store::Store;

/// The root account, which has no entry.
pub const ROOT_DN: &str = "cn=root";

/// Milliseconds that a lock lasts, as shipped.
pub const LOCK_MS: u64 = 1_800_000;

/// How an answer goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// It does not.
    #[default]
    None,
    /// Every answer comes so late.
    Slow(Duration),
    /// No answer comes at all.
    Silent,
    /// Moray is down: 52 to everything but binds.
    Unavailable,
    /// Connections are closed instead.
    Close,
    /// A password is judged, and counted; instead of the verdict the
    /// connection is closed.
    Lost,
}

/// How often each was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Binds.
    pub binds: u64,
    /// Searches.
    pub searches: u64,
    /// DN of every compare of a password.
    pub compares: Vec<String>,
}

impl Asked {
    /// Compares that were about this account.
    pub fn of(&self, uuid: &str) -> usize {
        self.compares.iter().filter(|dn| dn.contains(uuid)).count()
    }
}

/// The directory. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Ufds(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    store: Store,
    fault: Fault,
    asked: Asked,
}

impl Ufds {
    /// An empty directory with the shipped policy, whose root has `password`.
    pub fn new(password: &str) -> Self {
        Self(Arc::new(Mutex::new(State {
            store: Store::new(password),
            fault: Fault::None,
            asked: Asked::default(),
        })))
    }

    /// Adds an account; attributes beside those that every one has.
    pub fn account(
        &self,
        uuid: &str,
        login: &str,
        password: &str,
        more: &[(&str, &str)],
    ) {
        self.state().store.add_account(uuid, login, password, more);
    }

    /// Makes an account an operator, its DN written as UFDS writes it.
    pub fn operator(&self, uuid: &str) {
        self.member("operators", &format!("uuid={uuid}, ou=users, o=smartdc"));
    }

    /// Adds a value to a group, as it is.
    pub fn member(&self, group: &str, dn: &str) {
        self.state().store.add_member(group, dn);
    }

    /// Takes an account out of a group, however it was written.
    pub fn remove_member(&self, group: &str, uuid: &str) {
        self.state().store.remove_member(group, uuid);
    }

    /// Sets an attribute of the entry at `dn`; no values remove it.
    pub fn set(&self, dn: &str, name: &str, values: &[&str]) {
        self.state().store.set(dn, name, values);
    }

    /// The same for an account.
    pub fn set_of(&self, uuid: &str, name: &str, values: &[&str]) {
        self.set(&format!("uuid={uuid}, ou=users, o=smartdc"), name, values);
    }

    /// Values of an account's attribute.
    pub fn get(&self, uuid: &str, name: &str) -> Vec<String> {
        let dn = format!("uuid={uuid}, ou=users, o=smartdc");
        self.state().store.get(&dn, name)
    }

    /// A new password, as UFDS changes it.
    pub fn set_password(&self, uuid: &str, password: &str) {
        self.state().store.set_password(uuid, password);
    }

    /// Removes an entry.
    pub fn remove(&self, dn: &str) {
        self.state().store.remove(dn);
    }

    /// Lets time pass for locks and expiry.
    pub fn pass(&self, ms: u64) {
        self.state().store.pass(ms);
    }

    /// What time the directory has, milliseconds since the epoch.
    pub fn now_ms(&self) -> u64 {
        self.state().store.now_ms()
    }

    /// From now on.
    pub fn set_fault(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// What was asked since this was called last.
    pub fn asked(&self) -> Asked {
        std::mem::take(&mut self.state().asked)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
