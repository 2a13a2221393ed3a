// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What is asked of UFDS: accounts, groups, whether a password is right.
//!
//! A password is judged by compare, never by bind: a bind passes over a lock,
//! and clears it. All of it goes to the master, since a wrong password writes.
//! Source: contract sheet on UFDS, "Verifying a password: compare, not bind".

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ldap3::{Ldap, LdapError, Scope, SearchEntry, SearchOptions, ldap_escape};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::account::{
    ATTRIBUTES, Account, Attributes, BadAttribute, Groups, members,
};
use super::metrics::Metrics;
use super::pool::{Pool, Target};
use super::trust::Judge;
use crate::model::Secret;

/// What a question may take. Who asks waits for it, and for a second try.
const LIMIT: Duration = Duration::from_secs(4);

/// Questions at a time.
const AT_ONCE: usize = 32;

const USERS: &str = "ou=users, o=smartdc";
const OPERATORS: &str = "cn=operators, ou=groups, o=smartdc";
const READERS: &str = "cn=readers, ou=groups, o=smartdc";
const POLICY: &str = "cn=pwdpolicy, o=smartdc";

/// Nobody: asked about where nobody else is to be asked about.
const DECOY: &str =
    "uuid=00000000-0000-4000-8000-000000000000, ou=users, o=smartdc";

/// What judges a password is called.
pub(super) const COMPARE: &str = "compare";

/// Until a question is put to a fresh connection: the pool rests a while.
const AGAIN: Duration = Duration::from_millis(600);

/// Result codes; those out of order are operationsError, busy, unavailable.
const SUCCESS: u32 = 0;
const SIZE_LIMIT: u32 = 4;
const OUT_OF_ORDER: [u32; 3] = [1, 51, 52];
const COMPARE_FALSE: u32 = 5;
const COMPARE_TRUE: u32 = 6;
const NO_SUCH_ATTRIBUTE: u32 = 16;
const NO_SUCH_OBJECT: u32 = 32;

/// Why UFDS told nothing.
#[derive(Debug, thiserror::Error)]
pub enum UfdsError {
    /// Its name has no address.
    #[error("no address of {names}")]
    Resolve {
        /// What was looked up.
        names: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// No connection to the address tried last.
    #[error("could not connect to {address}")]
    Connect {
        /// That address.
        address: SocketAddr,
        /// Cause.
        #[source]
        source: Box<UfdsError>,
    },
    /// The connection broke.
    #[error("{what} failed")]
    Lost {
        /// The step.
        what: &'static str,
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("{what} took too long")]
    Timeout {
        /// The step.
        what: &'static str,
    },
    /// It answered that it would not.
    #[error("{what}: result {rc} {text:?}")]
    Refused {
        /// The step.
        what: &'static str,
        /// LDAP result code.
        rc: u32,
        /// What it said.
        text: String,
    },
    /// It failed a moment ago.
    #[error("UFDS failed a moment ago; asked again in {} ms", left.as_millis())]
    Resting {
        /// Until it is asked again.
        left: Duration,
    },
    /// An entry cannot be understood.
    #[error("an account cannot be understood")]
    Account(#[from] BadAttribute),
    /// More than one account of a login.
    #[error("UFDS has several accounts {login:?}")]
    Ambiguous {
        /// The login.
        login: String,
    },
    /// There is no group of operators.
    #[error("UFDS has no {OPERATORS}")]
    NoOperators,
}

impl UfdsError {
    /// Whether it could not say anything: what it said before stands. All
    /// else is an answer, and no good one.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::Lost { .. }
            | Self::Timeout { .. }
            | Self::Resting { .. } => true,
            Self::Refused { rc, .. } => OUT_OF_ORDER.contains(rc),
            Self::Account(_) | Self::Ambiguous { .. } | Self::NoOperators => {
                false
            }
        }
    }

    /// Whether a password was under way: UFDS may have counted it.
    pub(super) fn may_have_counted(&self) -> bool {
        matches!(
            self,
            Self::Lost { what: COMPARE, .. }
                | Self::Timeout { what: COMPARE }
                | Self::Refused { what: COMPARE, .. }
        )
    }
}

/// What UFDS says of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the right one.
    Right,
    /// It is not, and may have been counted.
    Wrong,
    /// Not judged: the account is locked.
    Locked,
    /// Not judged: the account's password has expired.
    Expired,
    /// No such account, or one that has no password.
    Nobody,
}

/// UFDS.
pub(super) struct Ufds {
    pool: Pool,
    slots: Semaphore,
    metrics: std::sync::Arc<Metrics>,
}

impl Ufds {
    pub(super) fn new(
        target: Target,
        judge: std::sync::Arc<Judge>,
        metrics: std::sync::Arc<Metrics>,
    ) -> Self {
        Self {
            pool: Pool::new(target, judge),
            slots: Semaphore::new(AT_ONCE),
            metrics,
        }
    }

    /// Whether the last question was answered.
    pub(super) fn is_well(&self) -> bool {
        self.pool.is_well()
    }

    /// What is wrong with it, if anything is.
    pub(super) fn trouble(&self) -> Option<String> {
        self.pool.trouble()
    }

    /// The account of a login, spelled exactly so.
    pub(super) async fn by_login(
        &self,
        login: &str,
    ) -> Result<Option<Account>, UfdsError> {
        let filter = login_filter(login);
        let found = self
            .search(USERS, Scope::OneLevel, &filter, &ATTRIBUTES)
            .await?
            .unwrap_or_default();
        let [entry] = found.as_slice() else {
            let login = login.to_owned();
            return match found.len() {
                0 => Ok(None),
                _ => Err(UfdsError::Ambiguous { login }),
            };
        };
        let account = Account::read(entry)?;
        Ok((account.login == login).then_some(account))
    }

    /// The account of a uuid.
    pub(super) async fn by_uuid(
        &self,
        uuid: &str,
    ) -> Result<Option<Account>, UfdsError> {
        let dn = dn(uuid);
        let filter = "(objectclass=sdcperson)";
        let found = self.search(&dn, Scope::Base, filter, &ATTRIBUTES).await?;
        let entry = found.as_deref().and_then(<[_]>::first);
        Ok(entry.map(Account::read).transpose()?)
    }

    /// Who is an operator, who a reader. The entry is read, and not searched
    /// by member: that has no index.
    pub(super) async fn groups(&self) -> Result<Groups, UfdsError> {
        let operators = self.members(OPERATORS).await?;
        let readers = self.members(READERS).await?;
        Ok(Groups {
            operators: operators.ok_or(UfdsError::NoOperators)?,
            readers: readers.unwrap_or_default(),
        })
    }

    async fn members(
        &self,
        dn: &str,
    ) -> Result<Option<std::collections::HashSet<String>>, UfdsError> {
        let filter = "(objectclass=groupofuniquenames)";
        let found =
            self.search(dn, Scope::Base, filter, &["uniquemember"]).await?;
        let Some(entry) = found.as_deref().and_then(<[_]>::first) else {
            return Ok(None);
        };
        let values = entry.get("uniquemember");
        Ok(Some(members(values.map(Vec::as_slice).unwrap_or_default())))
    }

    /// The wrong password that locks, by the policy at `dn` or everybody's;
    /// `None` where none is counted.
    pub(super) async fn failures_that_lock(
        &self,
        dn: Option<&str>,
    ) -> Result<Option<u64>, UfdsError> {
        let filter = "(objectclass=pwdpolicy)";
        let dn = dn.unwrap_or(POLICY);
        let found =
            self.search(dn, Scope::Base, filter, &["pwdmaxfailure"]).await?;
        let most = found.as_deref().and_then(<[_]>::first).and_then(|entry| {
            entry.get("pwdmaxfailure")?.first()?.parse().ok()
        });
        // 0 counts none, as with other servers.
        Ok(most.filter(|most| *most > 0))
    }

    /// Judges a password of an account.
    pub(super) async fn verify(
        &self,
        uuid: &str,
        password: &Secret<String>,
    ) -> Result<Verdict, UfdsError> {
        self.compare(&dn(uuid), password).await
    }

    /// The work of a judgement, where there is nobody to be judged.
    pub(super) async fn pretend(
        &self,
        password: &Secret<String>,
    ) -> Result<(), UfdsError> {
        self.compare(DECOY, password).await.map(|_| ())
    }

    async fn compare(
        &self,
        dn: &str,
        password: &Secret<String>,
    ) -> Result<Verdict, UfdsError> {
        // Exposed to UFDS, which judges it.
        let clear = password.expose().as_bytes();
        let answer = self.ask(Question::Compare { dn, clear }).await?;
        verdict(answer.rc, &answer.text).ok_or(UfdsError::Refused {
            what: COMPARE,
            rc: answer.rc,
            text: answer.text,
        })
    }

    /// Entries, or `None` where the base is not there.
    async fn search(
        &self,
        base: &str,
        scope: Scope,
        filter: &str,
        attributes: &[&str],
    ) -> Result<Option<Vec<Attributes>>, UfdsError> {
        let question = Question::Search { base, scope, filter, attributes };
        let answer = self.ask(question).await?;
        match answer.rc {
            SUCCESS | SIZE_LIMIT => Ok(Some(answer.entries)),
            NO_SUCH_OBJECT => Ok(None),
            rc => Err(UfdsError::Refused {
                what: "search",
                rc,
                text: answer.text,
            }),
        }
    }

    /// Asks, with a limit, over a connection that works.
    async fn ask(&self, question: Question<'_>) -> Result<Answer, UfdsError> {
        let slot = timeout(LIMIT, self.slots.acquire()).await;
        let _slot = slot
            .map_err(|_| UfdsError::Timeout { what: "waiting for a turn" })?
            .expect("the semaphore is never closed");
        let what = question.name();
        let mut left = question.tries();
        loop {
            left -= 1;
            let mut lease = self.pool.lease().await?;
            let begin = Instant::now();
            let answer = timeout(LIMIT, question.put(&mut lease.ldap)).await;
            self.metrics.ufds_took(what, begin.elapsed());
            let error = match answer {
                Ok(Ok(answer)) if OUT_OF_ORDER.contains(&answer.rc) => {
                    let Answer { rc, text, .. } = answer;
                    UfdsError::Refused { what, rc, text }
                }
                Ok(Ok(answer)) => {
                    self.pool.worked();
                    return Ok(answer);
                }
                Ok(Err(source)) => {
                    UfdsError::Lost { what, source: Box::new(source) }
                }
                Err(_) => UfdsError::Timeout { what },
            };
            self.metrics.ufds_failed();
            let lost = matches!(error, UfdsError::Lost { .. });
            self.pool.broken(lease, &crate::log::chain(&error)).await;
            // One that UFDS closed while it was idle: a fresh one may do.
            if !lost || left == 0 {
                return Err(error);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// What is asked.
enum Question<'a> {
    Compare {
        dn: &'a str,
        clear: &'a [u8],
    },
    Search {
        base: &'a str,
        scope: Scope,
        filter: &'a str,
        attributes: &'a [&'a str],
    },
}

/// What comes back.
struct Answer {
    rc: u32,
    text: String,
    entries: Vec<Attributes>,
}

impl Question<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Compare { .. } => COMPARE,
            Self::Search { .. } => "search",
        }
    }

    /// A wrong password that was asked twice would be counted twice.
    fn tries(&self) -> u32 {
        match self {
            Self::Compare { .. } => 1,
            Self::Search { .. } => 2,
        }
    }

    async fn put(&self, ldap: &mut Ldap) -> Result<Answer, LdapError> {
        let (result, entries) = match self {
            Self::Compare { dn, clear } => {
                let compared = ldap.compare(dn, "userpassword", clear).await?;
                (compared.0, Vec::new())
            }
            Self::Search { base, scope, filter, attributes } => {
                // Two tell one from several.
                let options = SearchOptions::new().sizelimit(2);
                ldap.with_search_options(options);
                let found =
                    ldap.search(base, *scope, filter, *attributes).await?;
                let entries = found.0.into_iter().map(attributes_of);
                (found.1, entries.collect())
            }
        };
        Ok(Answer { rc: result.rc, text: result.text, entries })
    }
}

fn dn(uuid: &str) -> String {
    // A uuid holds nothing that could be escaped; see Account::read.
    format!("uuid={uuid}, {USERS}")
}

/// The filter that finds a login.
pub fn login_filter(login: &str) -> String {
    format!("(&(objectclass=sdcperson)(login={}))", ldap_escape(login))
}

fn verdict(rc: u32, text: &str) -> Option<Verdict> {
    match (rc, text) {
        (COMPARE_TRUE, _) => Some(Verdict::Right),
        (COMPARE_FALSE, "accountLocked") => Some(Verdict::Locked),
        (COMPARE_FALSE, "passwordExpired") => Some(Verdict::Expired),
        (COMPARE_FALSE, _) => Some(Verdict::Wrong),
        (NO_SUCH_OBJECT | NO_SUCH_ATTRIBUTE, _) => Some(Verdict::Nobody),
        _ => None,
    }
}

fn attributes_of(entry: ldap3::ResultEntry) -> Attributes {
    let entry = SearchEntry::construct(entry);
    let mut all: HashMap<String, Vec<String>> = HashMap::new();
    for (name, values) in entry.attrs {
        all.entry(name.to_ascii_lowercase()).or_default().extend(values);
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn results_mean_what_the_sheet_says() {
        assert_eq!(verdict(6, ""), Some(Verdict::Right));
        assert_eq!(verdict(5, ""), Some(Verdict::Wrong));
        assert_eq!(verdict(5, "invalidPassword"), Some(Verdict::Wrong));
        assert_eq!(verdict(5, "accountLocked"), Some(Verdict::Locked));
        assert_eq!(verdict(5, "passwordExpired"), Some(Verdict::Expired));
        assert_eq!(verdict(32, "uuid=x"), Some(Verdict::Nobody));
        assert_eq!(verdict(16, "salt"), Some(Verdict::Nobody));
        for rc in [0, 1, 50, 52] {
            assert_eq!(verdict(rc, ""), None);
        }
    }

    proptest! {
        /// However a login is spelled, the filter has two terms and no
        /// wildcard: nothing a person types becomes a filter of his own.
        #[test]
        fn a_login_stays_a_value(login in "\\PC{1,40}|[()*\\\\&|=!a\\x00]{1,40}") {
            let filter = login_filter(&login);
            prop_assert!(ldap3::parse_filter(&filter).is_ok(), "{}", filter);
            let inner = filter
                .strip_prefix("(&(objectclass=sdcperson)(login=")
                .and_then(|rest| rest.strip_suffix("))"))
                .unwrap();
            let special = ['(', ')', '*', '\0'];
            prop_assert!(!inner.contains(special), "{}", inner);
        }
    }
}
