// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Decides who comes in. A request brings a session, a login with a password,
//! a token, or nothing; what comes out is an identity or one and the same no.
//!
//! What strangers must not learn: whether a login exists, whether it is an
//! operator's, whether a customer's password is right. So the groups are asked
//! before the password, which is judged for members alone; all others cost
//! UFDS the same questions; and a no is told at fixed times.

mod audit;
mod judge;
mod sessions;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ring::hmac;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{error, warn};

use super::account::{Account, Role, Standing, is_email};
use super::attempts::{Attempts, Known, Who};
use super::config::{AuthConfig, Email};
use super::credentials::Credentials;
use super::ended::Ended;
use super::keys::{KeyError, Keys, open_device, random};
use super::metrics::{Metrics, Outcome, Reason};
use super::people::People;
use super::places::Places;
use super::recent::Recent;
use super::ufds::Ufds;

/// How long a right password is believed without asking.
const RIGHT: Duration = Duration::from_secs(45);

/// How long a wrong one is, so that a browser with an old password asks once.
const WRONG: Duration = Duration::from_secs(30);

/// Passwords that are remembered, right or wrong.
const ROOM: usize = 10_000;

/// A no is told at a multiple of this after the question.
const BEAT: Duration = Duration::from_secs(1);

/// Passwords that are judged at a time; more are told to come again.
const AT_ONCE: usize = 32;

/// Passwords that wait for it, or for the same password of somebody else.
const WAITING: usize = 128;

/// What a judgement may take; nginx waits a little longer.
const JUDGED: Duration = Duration::from_secs(10);

/// Until then.
const BUSY: Duration = Duration::from_secs(5);

/// How long the end of a session is not said again.
const TOLD: Duration = Duration::from_secs(3_600);

/// A session's cookie is made anew when it was last so long ago.
const RENEWED: u64 = 60;

/// Who somebody is, for Grafana.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) account: Arc<Account>,
    pub(super) role: Role,
    /// E-mail address, ours or UFDS'.
    pub(super) email: String,
}

/// Where a request comes from, for limits and the log.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) address: IpAddr,
    pub(super) req_id: String,
}

/// What becomes of a password.
#[derive(Clone, Debug)]
pub(super) enum SignIn {
    /// It lets in.
    Right {
        identity: Identity,
        /// UFDS judged it just now.
        judged: bool,
    },
    /// It does not.
    Wrong,
    /// It was not looked at: come again then.
    Later(Duration),
    /// It was not looked at, and waiting does not help: the account's list of
    /// wrong passwords in UFDS is all but full. Known browsers alone are told.
    NearLock,
    /// Nobody can tell.
    Unavailable,
}

/// What becomes of a session.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// It lets in; the cookie to set, when it is to be made anew.
    Open(Identity, Option<String>),
    /// It does not; `None` where it never was one.
    Over(Option<End>),
    /// Nobody can tell.
    Unavailable,
}

/// Why a session is over. Its owner proved who he is, so he is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Expired,
    SignedOut,
    PasswordChanged,
    Gone,
    NoRole,
    Standing(Standing),
}

impl End {
    /// For its owner.
    pub(super) fn notice(self) -> &'static str {
        match self {
            Self::Expired => "Your session has ended.",
            Self::SignedOut => "You have signed out.",
            Self::PasswordChanged => "Your password was changed.",
            Self::Gone | Self::NoRole => {
                "Your account may not use Grafana any more."
            }
            Self::Standing(Standing::Locked) => {
                "Your account is locked after too many wrong passwords."
            }
            Self::Standing(Standing::Expired) => "Your password has expired.",
            Self::Standing(Standing::Misnamed) => {
                "Your login is an e-mail address, and not your own."
            }
            Self::Standing(_) => "Your account is disabled.",
        }
    }
}

/// What was right.
#[derive(Clone, Debug)]
struct Right {
    uuid: String,
    password_changed: u64,
}

/// What one judgement of UFDS comes to.
enum Judged {
    Member(Account),
    No(Reason),
    /// Of a known browser, not judged: so close to a lock.
    NearLock,
}

/// What is kept on the data folder.
pub(super) struct Kept {
    pub(super) keys: Keys,
    pub(super) ended: Ended,
    pub(super) places: Places,
}

/// The door.
pub(super) struct Door {
    config: AuthConfig,
    pub(super) ufds: Arc<Ufds>,
    pub(super) people: Arc<People>,
    pub(super) metrics: Arc<Metrics>,
    keys: Mutex<Keys>,
    ended: Mutex<Ended>,
    attempts: Mutex<Attempts>,
    right: Mutex<Recent<[u8; 32], Right>>,
    /// What is not to be tried again, by whoever is known no better than that.
    wrong: Mutex<Recent<[u8; 32], Known>>,
    /// Sessions whose end was said.
    told: Mutex<Recent<String, ()>>,
    /// What the log said a moment ago.
    said: Mutex<Recent<[u8; 32], ()>>,
    /// One judgement at a time of a password, and of a login.
    flights: Mutex<HashMap<[u8; 32], Weak<tokio::sync::Mutex<()>>>>,
    slots: Arc<Semaphore>,
    waiting: Semaphore,
    places: Mutex<Places>,
    /// Passwords are remembered by digests under this key of our own, which
    /// nobody has and which ends with us.
    digests: hmac::Key,
}

impl Door {
    pub(super) fn new(
        config: AuthConfig,
        ufds: Arc<Ufds>,
        people: Arc<People>,
        metrics: Arc<Metrics>,
        kept: Kept,
    ) -> Result<Arc<Self>, KeyError> {
        let digests = hmac::Key::new(hmac::HMAC_SHA256, &random::<32>()?);
        Ok(Arc::new(Self {
            config,
            ufds,
            people,
            metrics,
            keys: Mutex::new(kept.keys),
            ended: Mutex::new(kept.ended),
            attempts: Mutex::new(Attempts::new()),
            right: Mutex::new(Recent::new(ROOM)),
            wrong: Mutex::new(Recent::new(ROOM)),
            told: Mutex::new(Recent::new(ROOM)),
            said: Mutex::new(Recent::new(ROOM)),
            flights: Mutex::new(HashMap::new()),
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Semaphore::new(WAITING),
            places: Mutex::new(kept.places),
            digests,
        }))
    }

    pub(super) fn config(&self) -> &AuthConfig {
        &self.config
    }

    /// A login and a password. `device`: the cookie of a browser that was
    /// signed in from.
    pub(super) async fn sign_in(
        self: &Arc<Self>,
        credentials: &Credentials,
        device: Option<&str>,
        origin: &Origin,
    ) -> SignIn {
        let begin = Instant::now();
        let key = self.digest(credentials);
        let who = self.who(credentials, device, origin);
        if let Some(known) = self.known(&key, &who).await {
            return self.recalled(known, credentials, origin);
        }
        let Ok(_waits) = self.waiting.try_acquire() else {
            return self.busy(credentials, origin);
        };
        // One asks, all who bring the same wait for it.
        let turn = self.flight(key).lock_owned();
        let Ok(turn) = timeout(JUDGED, turn).await else {
            self.metrics.outcome(Outcome::Unavailable);
            return SignIn::Unavailable;
        };
        // Who was a stranger when this began may be known by now.
        let who = self.who(credentials, device, origin);
        if let Some(known) = self.known(&key, &who).await {
            return self.recalled(known, credentials, origin);
        }
        if let Err(wait) = lock(&self.attempts).begin(&who, begin) {
            self.metrics.outcome(Outcome::Limited);
            let (address, req_id) = (origin.address, &origin.req_id);
            let login_digest = self.login_digest(credentials);
            warn!(
                %login_digest, %address, %req_id, "too many wrong passwords"
            );
            return SignIn::Later(wait);
        }
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            lock(&self.attempts).forgive(&who, Instant::now());
            return self.busy(credentials, origin);
        };
        // A task of its own: who goes away meanwhile has tried all the same,
        // and keeps the turn until it is known what of; a panic over nonsense
        // from UFDS ends nothing else.
        let door = Arc::clone(self);
        let (credentials, origin) = (credentials.clone(), origin.clone());
        let judged = tokio::spawn(async move {
            let _turn = turn;
            let answer = door.judge(&credentials, key, &who, &origin).await;
            drop(slot);
            if matches!(answer, SignIn::Wrong) {
                let told = beat(begin, Instant::now());
                tokio::time::sleep_until(told.into()).await;
            }
            answer
        });
        let answer = judged.await.unwrap_or_else(|error| {
            error!(err.message = %error, "a sign-in came to a bad end");
            SignIn::Unavailable
        });
        self.count(&answer);
        answer
    }

    /// What was known without asking.
    fn recalled(
        &self,
        answer: SignIn,
        credentials: &Credentials,
        origin: &Origin,
    ) -> SignIn {
        if matches!(answer, SignIn::Wrong) {
            let why = "the same wrong password again";
            self.tell_unjudged(why, credentials, origin);
        }
        self.count(&answer);
        answer
    }

    fn busy(&self, credentials: &Credentials, origin: &Origin) -> SignIn {
        let why = "too many sign-ins at a time";
        self.tell_unjudged(why, credentials, origin);
        self.metrics.outcome(Outcome::Limited);
        SignIn::Later(BUSY)
    }

    fn who(
        &self,
        credentials: &Credentials,
        device: Option<&str>,
        origin: &Origin,
    ) -> Who {
        let device = device.and_then(|sealed| {
            let keys = lock(&self.keys);
            open_device(sealed, &credentials.login, &keys, seconds_now())
        });
        let login = self.digest_of(&[credentials.login.as_bytes()]);
        let (name, address) = (&credentials.login, origin.address);
        let place = lock(&self.places).has(name, address, seconds_now());
        Who { login, address, device, place }
    }

    fn count(&self, answer: &SignIn) {
        self.metrics.outcome(match answer {
            SignIn::Right { judged: true, .. } => Outcome::Password,
            SignIn::Right { .. } => Outcome::Cached,
            SignIn::Wrong => Outcome::Refused,
            SignIn::Later(_) | SignIn::NearLock => Outcome::Limited,
            SignIn::Unavailable => Outcome::Unavailable,
        });
    }

    /// What is known of a password without asking.
    async fn known(&self, key: &[u8; 32], who: &Who) -> Option<SignIn> {
        let now = Instant::now();
        let wrong = lock(&self.wrong).get(key, now).copied();
        if wrong.is_some_and(|most| who.known() <= most) {
            self.metrics.reason(Reason::WrongAgain);
            return Some(SignIn::Wrong);
        }
        let right = lock(&self.right).get(key, now).cloned()?;
        // What changed since is judged anew, by UFDS.
        let account = self.people.account(&right.uuid).await.ok()??;
        let stands = account.password_changed == right.password_changed
            && account.standing(milliseconds_now()) == Standing::Good;
        let role = self.people.role(&right.uuid).await.ok()??;
        if !stands {
            lock(&self.right).remove(key);
            return None;
        }
        let identity = self.identity(account, role);
        Some(SignIn::Right { identity, judged: false })
    }

    fn identity(&self, account: Arc<Account>, role: Role) -> Identity {
        let synthetic = || format!("{}@ufds.invalid", account.uuid);
        let email = match (&account.email, self.config.email) {
            (Some(email), Email::Ufds) if is_email(email) => email.clone(),
            _ => synthetic(),
        };
        Identity { account, role, email }
    }

    fn flight(&self, login: [u8; 32]) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = lock(&self.flights);
        flights.retain(|_, flight| flight.strong_count() > 0);
        if let Some(flight) = flights.get(&login).and_then(Weak::upgrade) {
            return flight;
        }
        let flight = Arc::new(tokio::sync::Mutex::new(()));
        flights.insert(login, Arc::downgrade(&flight));
        flight
    }

    fn digest(&self, credentials: &Credentials) -> [u8; 32] {
        // Exposed to a digest that cannot be turned back.
        let password = credentials.password.expose().as_bytes();
        self.digest_of(&[credentials.login.as_bytes(), password])
    }

    /// Lengths go in, so that no two lists are told as one.
    fn digest_of(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.digests);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }
}

/// The first beat after `now`, counted from `begin`.
fn beat(begin: Instant, now: Instant) -> Instant {
    let beats = (now - begin).as_millis() / BEAT.as_millis() + 1;
    begin + BEAT * u32::try_from(beats).unwrap_or(u32::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

pub(super) fn seconds_now() -> u64 {
    since_epoch().as_secs()
}

fn milliseconds_now() -> u64 {
    u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_is_told_on_the_beat() {
        let begin = Instant::now();
        for (took, wanted) in [(0, 1), (999, 1), (1_000, 2), (5_050, 6)] {
            let now = begin + Duration::from_millis(took);
            assert_eq!(beat(begin, now), begin + BEAT * wanted, "{took}");
        }
    }
}
