// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Judges one password: what UFDS says of it, and what follows. Whose turn it
//! is, and what the answer looks like, is the door's.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::time::timeout;
use tracing::{info, warn};

use super::{
    Door, JUDGED, Judged, Origin, RIGHT, Right, SignIn, WRONG, lock,
    milliseconds_now, seconds_now,
};
use crate::auth::account::{Account, Standing};
use crate::auth::attempts::{Known, Who, leaves_room};
use crate::auth::credentials::Credentials;
use crate::auth::metrics::Reason;
use crate::auth::ufds::{COMPARE, UfdsError, Verdict};
use crate::log::chain;

impl Door {
    pub(super) async fn judge(
        self: &Arc<Self>,
        credentials: &Credentials,
        key: [u8; 32],
        who: &Who,
        origin: &Origin,
    ) -> SignIn {
        // One password of a login at a time: what UFDS counts is read before
        // each.
        let put = AtomicBool::new(false);
        let asked = async {
            let flight = self.flight(who.login);
            let _flight = flight.lock().await;
            self.ask(credentials, who, &put).await
        };
        let late = |_| UfdsError::Timeout {
            what: match put.load(Ordering::Relaxed) {
                true => COMPARE,
                false => "all of it",
            },
        };
        let judged = timeout(JUDGED, asked).await.map_err(late);
        let judged = judged.and_then(|judged| judged);
        let now = Instant::now();
        match judged {
            Ok(Judged::Member(account)) => {
                self.let_in(account, credentials, who, origin).await
            }
            Ok(Judged::NearLock) => {
                lock(&self.attempts).forgive(who, now);
                self.refused(Reason::NearLock, credentials, origin);
                SignIn::NearLock
            }
            Ok(Judged::No(reason)) => {
                // It was not judged, and may be right for who is known better.
                // All others see no difference.
                let whom = match reason {
                    Reason::NearLock => who.known(),
                    _ => Known::Device,
                };
                lock(&self.wrong).insert(key, whom, now + WRONG, now);
                self.refused(reason, credentials, origin);
                SignIn::Wrong
            }
            Err(error) => {
                if !error.may_have_counted() {
                    lock(&self.attempts).forgive(who, now);
                }
                let (address, req_id) = (origin.address, &origin.req_id);
                warn!(
                    %address, %req_id, err.message = %chain(&error),
                    "nobody can sign in"
                );
                SignIn::Unavailable
            }
        }
    }

    /// What UFDS says. Whatever the answer, it costs two questions; what is
    /// to be known beside them is asked before, for everybody. `put`: that the
    /// password was on its way.
    async fn ask(
        &self,
        credentials: &Credentials,
        who: &Who,
        put: &AtomicBool,
    ) -> Result<Judged, UfdsError> {
        let password = &credentials.password;
        self.people.groups().await?;
        self.people.failures_that_lock(None).await?;
        let found = match self.ufds.by_login(&credentials.login).await {
            // To strangers one like any other that does not let in.
            Err(
                error @ (UfdsError::Account(_) | UfdsError::Ambiguous { .. }),
            ) => {
                warn!(err.message = %chain(&error), "a login is no good");
                None
            }
            found => found?,
        };
        let no = match &found {
            None => Some(Reason::UnknownLogin),
            Some(account) => self.obstacle(account).await?,
        };
        let Some(account) = found.filter(|_| no.is_none()) else {
            put.store(true, Ordering::Relaxed);
            self.ufds.pretend(password).await?;
            return Ok(Judged::No(no.unwrap_or(Reason::UnknownLogin)));
        };
        let policy = account.policy.as_deref();
        if let Some(most) = self.people.failures_that_lock(policy).await? {
            let known = who.known();
            let failures = &account.failures_ms;
            if !leaves_room(failures, most, known, milliseconds_now()) {
                if known == Known::Device {
                    return Ok(Judged::NearLock);
                }
                put.store(true, Ordering::Relaxed);
                self.ufds.pretend(password).await?;
                return Ok(Judged::No(Reason::NearLock));
            }
        }
        put.store(true, Ordering::Relaxed);
        Ok(match self.ufds.verify(&account.uuid, password).await? {
            Verdict::Right => Judged::Member(account),
            Verdict::Wrong => Judged::No(Reason::WrongPassword),
            Verdict::Locked => Judged::No(Reason::Locked),
            Verdict::Expired => Judged::No(Reason::Expired),
            Verdict::Nobody => Judged::No(Reason::UnknownLogin),
        })
    }

    /// Why an account is not even asked for its password.
    async fn obstacle(
        &self,
        account: &Account,
    ) -> Result<Option<Reason>, UfdsError> {
        if self.people.role(&account.uuid).await?.is_none() {
            return Ok(Some(Reason::NoRole));
        }
        Ok(match account.standing(milliseconds_now()) {
            Standing::Good => None,
            Standing::Disabled => Some(Reason::Disabled),
            Standing::Locked => Some(Reason::Locked),
            Standing::Expired => Some(Reason::Expired),
            Standing::Misnamed => Some(Reason::Misnamed),
        })
    }

    async fn let_in(
        self: &Arc<Self>,
        account: Account,
        credentials: &Credentials,
        who: &Who,
        origin: &Origin,
    ) -> SignIn {
        let now = Instant::now();
        lock(&self.attempts).succeeded(who, now);
        self.remember_place(&account.login, who.address).await;
        let uuid = account.uuid.clone();
        let password_changed = account.password_changed;
        let right = Right { uuid: uuid.clone(), password_changed };
        let key = self.digest(credentials);
        lock(&self.right).insert(key, right, now + RIGHT, now);
        let account = self.people.remember(account, true);
        let Ok(Some(role)) = self.people.role(&uuid).await else {
            return SignIn::Unavailable;
        };
        let (address, req_id) = (origin.address, &origin.req_id);
        let login = &account.login;
        let login_digest = self.login_digest(credentials);
        info!(
            %login, %login_digest, %uuid, %address, %req_id,
            role = role.as_str(), outcome = "right", "password judged"
        );
        let identity = self.identity(account, role);
        SignIn::Right { identity, judged: true }
    }

    async fn remember_place(self: &Arc<Self>, login: &str, address: IpAddr) {
        let (door, login) = (Arc::clone(self), login.to_owned());
        // It is written to disk.
        let kept = tokio::task::spawn_blocking(move || {
            lock(&door.places).remember(&login, address, seconds_now())
        });
        if let Ok(Err(error)) = kept.await {
            warn!(err.message = %error, "a restart may forget a place");
        }
    }

    /// The audit of a no. People type passwords where the login goes, so a
    /// login that UFDS does not know is told by a digest.
    fn refused(&self, why: Reason, from: &Credentials, origin: &Origin) {
        self.metrics.reason(why);
        let (address, req_id) = (origin.address, &origin.req_id);
        let login_digest = self.login_digest(from);
        let login = match why {
            Reason::UnknownLogin => format!("unknown:{login_digest}"),
            _ => from.login.clone(),
        };
        let reason = why.as_str();
        warn!(
            %login, %login_digest, %address, %req_id, reason,
            outcome = "wrong", "password judged"
        );
    }
}
