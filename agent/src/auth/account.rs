// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Accounts and groups as UFDS describes them, and what follows: who may use
//! Grafana, as what. Plain functions over plain data.
//! Source: contract sheet on UFDS, `sdcperson`, "Operators".

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::dn::Dn;

/// What is asked of an account. No password, nor what is hidden.
pub(super) const ATTRIBUTES: [&str; 12] = [
    "uuid",
    "login",
    "email",
    "givenname",
    "sn",
    "cn",
    "disabled",
    "pwdaccountlockedtime",
    "pwdendtime",
    "pwdchangedtime",
    "pwdfailuretime",
    "pwdpolicysubentry",
];

/// Attributes by name in lower case.
pub(super) type Attributes = HashMap<String, Vec<String>>;

/// An account of UFDS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// Never changes.
    pub uuid: String,
    /// As it is stored.
    pub login: String,
    /// The first one.
    pub email: Option<String>,
    /// What people are called.
    pub name: Option<String>,
    /// Set by operators; UFDS itself lets such an account pass.
    pub disabled: bool,
    /// Until when it is locked, milliseconds since the epoch; 0 is never.
    pub locked_until_ms: u64,
    /// When its password ends, milliseconds since the epoch; 0 is never.
    pub expires_ms: u64,
    /// When its password was changed, as UFDS says it.
    pub password_changed: u64,
    /// When a wrong password was tried, milliseconds since the epoch. UFDS
    /// forgets none of them before the right one comes.
    pub failures_ms: Vec<u64>,
    /// DN of a password policy of its own.
    pub policy: Option<String>,
}

/// Whether an account may sign in anywhere at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It may.
    Good,
    /// An operator switched it off.
    Disabled,
    /// Too many wrong passwords.
    Locked,
    /// Its password is too old.
    Expired,
    /// Its login could be taken for somebody else's e-mail address.
    Misnamed,
}

/// An attribute that cannot be what it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("attribute {attribute} is {seen:?}, wanted {wanted}")]
pub struct BadAttribute {
    /// Its name.
    pub attribute: &'static str,
    /// Its value.
    pub seen: String,
    /// What would do.
    pub wanted: &'static str,
}

impl Account {
    pub(super) fn read(from: &Attributes) -> Result<Self, BadAttribute> {
        let first = |name: &str| from.get(name).and_then(|all| all.first());
        let text = |name: &str| {
            let value = first(name).map(|value| value.trim().to_owned());
            value.filter(|value| !value.is_empty())
        };
        let named = |attribute: &'static str, wanted| {
            text(attribute).ok_or(BadAttribute {
                attribute,
                seen: String::new(),
                wanted,
            })
        };
        let uuid = named("uuid", "a uuid")?;
        // It becomes part of cookies and of DNs.
        if uuid.len() > 64
            || !uuid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        {
            let attribute = "uuid";
            return Err(BadAttribute {
                attribute,
                seen: uuid,
                wanted: "a uuid",
            });
        }
        let time = |name: &'static str| match first(name) {
            None => Ok(0),
            Some(value) => milliseconds(name, value),
        };
        let failures = from.get("pwdfailuretime");
        let failures = failures.into_iter().flatten();
        let full = [text("givenname"), text("sn")];
        let full: Vec<String> = full.into_iter().flatten().collect();
        Ok(Self {
            login: named("login", "a login")?,
            email: text("email"),
            name: text("cn")
                .or_else(|| (!full.is_empty()).then(|| full.join(" "))),
            // What is neither yes nor no is no reason to let somebody in.
            disabled: first("disabled")
                .is_some_and(|value| !value.eq_ignore_ascii_case("false")),
            locked_until_ms: time("pwdaccountlockedtime")?,
            expires_ms: time("pwdendtime")?,
            password_changed: time("pwdchangedtime")?,
            failures_ms: failures
                .map(|value| milliseconds("pwdfailuretime", value))
                .collect::<Result<_, _>>()?,
            policy: text("pwdpolicysubentry"),
            uuid,
        })
    }

    /// Its standing at `now_ms`, milliseconds since the epoch.
    pub(super) fn standing(&self, now_ms: u64) -> Standing {
        if self.disabled {
            Standing::Disabled
        } else if self.expires_ms != 0 && self.expires_ms <= now_ms {
            Standing::Expired
        } else if self.locked_until_ms > now_ms {
            Standing::Locked
        } else if self.is_misnamed() {
            Standing::Misnamed
        } else {
            Standing::Good
        }
    }
}

impl Account {
    /// Grafana looks a login up among e-mail addresses as well, and UFDS
    /// allows `@` in logins: who is called as another's address would be that
    /// person there. One's own address is nobody else's.
    fn is_misnamed(&self) -> bool {
        let own = self.email.as_deref().unwrap_or_default();
        let is_own = is_email(own) && own.eq_ignore_ascii_case(&self.login);
        self.login.contains('@') && !is_own
    }
}

/// One that Grafana may look people up by: none of its own built-in account.
pub(super) fn is_email(text: &str) -> bool {
    let Some((name, domain)) = text.split_once('@') else { return false };
    let plain = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_graphic() && b != b'@')
    };
    let domain = domain.to_ascii_lowercase();
    plain(name)
        && plain(&domain)
        && text.len() <= 190
        && domain != "localhost"
        && !domain.ends_with(".localhost")
        && !domain.ends_with("ufds.invalid")
}

fn milliseconds(
    attribute: &'static str,
    value: &str,
) -> Result<u64, BadAttribute> {
    value.trim().parse().map_err(|_| BadAttribute {
        attribute,
        seen: value.to_owned(),
        wanted: "milliseconds since 1970",
    })
}

/// What somebody is to Grafana.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Role {
    /// Sees dashboards.
    Viewer,
    /// Changes them too.
    Editor,
    /// Manages the organisation too.
    Admin,
}

impl Role {
    /// Grafana's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "Viewer",
            Self::Editor => "Editor",
            Self::Admin => "Admin",
        }
    }
}

/// What the members of a group are; `None` lets them not in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// Of `cn=operators`.
    pub operators: Option<Role>,
    /// Of `cn=readers`.
    pub readers: Option<Role>,
}

/// Uuids of the members of UFDS' groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Groups {
    /// Administrators of the datacenter.
    pub operators: HashSet<String>,
    /// People who may look.
    pub readers: HashSet<String>,
}

impl Groups {
    /// What `uuid` is to Grafana: the most that one of its groups may be.
    pub(super) fn role(&self, uuid: &str, roles: &Roles) -> Option<Role> {
        let operator =
            roles.operators.filter(|_| self.operators.contains(uuid));
        let reader = roles.readers.filter(|_| self.readers.contains(uuid));
        operator.max(reader)
    }
}

/// Uuids of the accounts that `uniquemember` values name.
pub(super) fn members(values: &[String]) -> HashSet<String> {
    let names = values.iter().filter_map(|value| Dn::parse(value));
    names.filter_map(|dn| dn.account().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(list: &[(&str, &[&str])]) -> Attributes {
        let owned = |values: &[&str]| {
            values.iter().map(|value| (*value).to_owned()).collect()
        };
        let all = list.iter();
        all.map(|(name, values)| ((*name).to_owned(), owned(values))).collect()
    }

    #[test]
    fn several_emails_are_one_and_nobody_needs_a_name() {
        let account = Account::read(&attributes(&[
            ("uuid", &["u-1"]),
            ("login", &["boss"]),
            ("email", &["a@x.test", "b@x.test"]),
            ("pwdfailuretime", &["1", "2"]),
        ]))
        .unwrap();
        assert_eq!(account.email.as_deref(), Some("a@x.test"));
        assert_eq!(account.name, None);
        assert_eq!(account.failures_ms, [1, 2]);
        assert_eq!(account.standing(5), Standing::Good);
    }

    #[test]
    fn what_is_unclear_lets_nobody_in() {
        let with = |name, value| {
            let mut all = attributes(&[("uuid", &["u"]), ("login", &["l"])]);
            all.extend(attributes(&[(name, &[value])]));
            Account::read(&all)
        };
        assert!(with("disabled", "TRUE").unwrap().disabled);
        assert!(with("disabled", "perhaps").unwrap().disabled);
        assert!(!with("disabled", "false").unwrap().disabled);
        for name in ["pwdaccountlockedtime", "pwdendtime", "pwdfailuretime"] {
            let error = with(name, "20260101000000Z").unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        assert!(with("uuid", "u,ou=x").is_err());
        assert!(Account::read(&attributes(&[("uuid", &["u"])])).is_err());
    }

    #[test]
    fn times_are_milliseconds_and_a_lock_has_an_end() {
        let account = Account {
            locked_until_ms: 10,
            expires_ms: 20,
            ..Default::default()
        };
        assert_eq!(account.standing(9), Standing::Locked);
        assert_eq!(account.standing(10), Standing::Good);
        assert_eq!(account.standing(20), Standing::Expired);
    }

    #[test]
    fn the_greatest_role_counts() {
        let set = |uuids: &[&str]| {
            uuids.iter().map(|uuid| (*uuid).to_owned()).collect()
        };
        let groups =
            Groups { operators: set(&["a", "b"]), readers: set(&["b", "c"]) };
        let roles =
            Roles { operators: Some(Role::Admin), readers: Some(Role::Viewer) };
        assert_eq!(groups.role("a", &roles), Some(Role::Admin));
        assert_eq!(groups.role("b", &roles), Some(Role::Admin));
        assert_eq!(groups.role("c", &roles), Some(Role::Viewer));
        assert_eq!(groups.role("d", &roles), None);
        let none = Roles { operators: None, readers: None };
        assert_eq!(groups.role("a", &none), None);
    }

    #[test]
    fn an_address_of_grafanas_own_is_nobodys() {
        assert!(is_email("boss@example.com"));
        for bad in [
            "",
            "boss",
            "@x",
            "a@",
            "admin@localhost",
            "admin@LOCALHOST",
            "a@b@c",
            "a b@c.d",
            "x@ufds.invalid",
            "zo\u{eb}@x.test",
        ] {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn a_login_is_no_address_but_its_owners() {
        let with = |login: &str, email: &str| {
            let all = [("uuid", &["u"][..]), ("login", &[login])];
            let mut all = attributes(&all);
            all.extend(attributes(&[("email", &[email])]));
            Account::read(&all).unwrap().standing(5)
        };
        assert_eq!(with("boss", "a@x.test"), Standing::Good);
        assert_eq!(with("a@x.test", "A@x.test"), Standing::Good);
        for (login, email) in [
            ("b@x.test", "a@x.test"),
            ("b@x.test", ""),
            ("admin@localhost", "admin@localhost"),
            ("u-2@ufds.invalid", "u-2@ufds.invalid"),
            ("a@x.test@", "a@x.test"),
        ] {
            assert_eq!(with(login, email), Standing::Misnamed, "{login}");
        }
    }
}
