// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Sessions: who comes with a cookie of ours, and whether it still counts.

use std::time::Instant;

use tracing::{info, warn};

use super::{
    Door, End, Entry, Origin, RENEWED, TOLD, lock, milliseconds_now,
    seconds_now,
};
use crate::auth::account::{Account, Standing};
use crate::auth::keys::{KeyError, Session, seal_device};
use crate::auth::metrics::Outcome;
use crate::log::chain;

impl Door {
    /// Looks at a session's cookie.
    pub(in crate::auth) async fn enter(&self, sealed: &str) -> Entry {
        let now = seconds_now();
        let opened = Session::open(sealed, &lock(&self.keys));
        let Some(session) = opened else { return Entry::Over(None) };
        let over = |end| {
            self.tell_end(&session, end);
            Entry::Over(Some(end))
        };
        let began = session.started.min(session.seen);
        let idle = now >= session.seen + self.config.session_idle_seconds;
        let old = now >= session.started + self.config.session_seconds;
        // A clock that was set back makes no session younger than new.
        if idle || old || began > now + RENEWED {
            return over(End::Expired);
        }
        if lock(&self.ended).has(&session.id) {
            return over(End::SignedOut);
        }
        let account = match self.people.account(&session.uuid).await {
            Ok(Some(account)) => account,
            Ok(None) => return over(End::Gone),
            Err(_) => return self.cannot_tell(),
        };
        let role = match self.people.role(&session.uuid).await {
            Ok(Some(role)) => role,
            Ok(None) => return over(End::NoRole),
            Err(_) => return self.cannot_tell(),
        };
        if account.password_changed != session.password_changed {
            return over(End::PasswordChanged);
        }
        match account.standing(milliseconds_now()) {
            Standing::Good => {}
            other => return over(End::Standing(other)),
        }
        let renewed = (now >= session.seen + RENEWED).then(|| {
            let session = Session { seen: now, ..session };
            session.seal(&lock(&self.keys))
        });
        self.metrics.outcome(Outcome::Session);
        Entry::Open(self.identity(account, role), renewed)
    }

    /// Its page goes on asking; that it is over is said once.
    fn tell_end(&self, session: &Session, end: End) {
        let now = Instant::now();
        let mut told = lock(&self.told);
        if told.get(&session.id, now).is_some() {
            return;
        }
        told.insert(session.id.clone(), (), now + TOLD, now);
        drop(told);
        self.metrics.session_ended();
        info!(uuid = %session.uuid, end = ?end, "session over");
    }

    fn cannot_tell(&self) -> Entry {
        self.metrics.outcome(Outcome::Unavailable);
        Entry::Unavailable
    }

    /// A new session's cookie.
    pub(in crate::auth) fn begin(
        &self,
        account: &Account,
    ) -> Result<String, KeyError> {
        let now = seconds_now();
        let mut keys = lock(&self.keys);
        // Old keys go on signing when there is no room for a new one.
        if let Err(error) = keys.turn(now) {
            warn!(err.message = %chain(&error), "the old key goes on");
        }
        let session =
            Session::new(&account.uuid, account.password_changed, now)?;
        self.metrics.session_began();
        Ok(session.seal(&keys))
    }

    /// What a browser is known by from now on.
    pub(in crate::auth) fn device(
        &self,
        account: &Account,
    ) -> Result<String, KeyError> {
        seal_device(&account.login, &lock(&self.keys), seconds_now())
    }

    /// Ends a session for good.
    pub(in crate::auth) fn end(&self, sealed: &str, origin: &Origin) {
        let Some(session) = Session::open(sealed, &lock(&self.keys)) else {
            return;
        };
        let now = seconds_now();
        let until = session.started + self.config.session_seconds;
        let ended = lock(&self.ended).end(&session.id, until, now);
        let (address, req_id) = (origin.address, &origin.req_id);
        info!(uuid = %session.uuid, %address, %req_id, "signed out");
        self.metrics.session_ended();
        if let Err(error) = ended {
            warn!(err.message = %error, "a restart may forget a sign-out");
        }
    }
}
