// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Entries, and how a password is judged: hashes, expiry, lockout.
//! Source: contract sheet on UFDS, 1.2 to 1.7.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use ring::digest;

use super::dn::{depth, parts, written};
use super::{LOCK_MS, ROOT_DN};

/// Attributes by name in lower case.
pub type Attributes = BTreeMap<String, Vec<String>>;

const USERS: &str = "ou=users, o=smartdc";
const OPERATORS: &str = "cn=operators, ou=groups, o=smartdc";
const POLICY: &str = "cn=pwdpolicy, o=smartdc";

/// Failures that an entry holds at most.
const FAILURES: usize = 6;

/// What a compare of a password comes to: result code and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared(pub i64, pub String);

#[derive(Debug)]
pub(super) struct Store {
    root_password: String,
    entries: BTreeMap<String, Attributes>,
    passed_ms: u64,
}

/// Who is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Nobody,
    Root,
    Account(String),
}

impl Store {
    pub(super) fn new(root_password: &str) -> Self {
        let mut store = Self {
            root_password: root_password.to_owned(),
            entries: BTreeMap::new(),
            passed_ms: 0,
        };
        store.add("o=smartdc", &[("objectclass", "organization")]);
        store.add(USERS, &[("objectclass", "organizationalunit")]);
        let groups = "ou=groups, o=smartdc";
        store.add(groups, &[("objectclass", "organizationalunit")]);
        for group in ["operators", "readers"] {
            let dn = format!("cn={group}, {groups}");
            store.add(&dn, &[("objectclass", "groupofuniquenames")]);
        }
        store.add(
            POLICY,
            &[
                ("objectclass", "pwdpolicy"),
                ("pwdmaxfailure", "6"),
                ("pwdlockoutduration", "1800"),
            ],
        );
        store
    }

    pub(super) fn add(&mut self, dn: &str, attributes: &[(&str, &str)]) {
        let mut entry = Attributes::new();
        for (name, value) in attributes {
            let values = entry.entry((*name).to_owned()).or_default();
            values.push((*value).to_owned());
        }
        self.entries.insert(written(dn).expect("a DN"), entry);
    }

    pub(super) fn add_account(
        &mut self,
        uuid: &str,
        login: &str,
        password: &str,
        more: &[(&str, &str)],
    ) {
        let dn = format!("uuid={uuid}, {USERS}");
        let email = format!("{login}@example.test");
        let mut all = vec![
            ("objectclass", "sdcperson"),
            ("uuid", uuid),
            ("login", login),
            ("approved_for_provisioning", "false"),
        ];
        if !more.iter().any(|(name, _)| *name == "email") {
            all.push(("email", &email));
        }
        all.extend(more);
        self.add(&dn, &all);
        self.set_password(uuid, password);
    }

    pub(super) fn add_member(&mut self, group: &str, dn: &str) {
        let group = format!("cn={group}, ou=groups, o=smartdc");
        let entry = self.entries.entry(group).or_default();
        let members = entry.entry("uniquemember".to_owned()).or_default();
        members.push(dn.to_owned());
    }

    pub(super) fn remove_member(&mut self, group: &str, uuid: &str) {
        let group = format!("cn={group}, ou=groups, o=smartdc");
        if let Some(entry) = self.entries.get_mut(&group)
            && let Some(members) = entry.get_mut("uniquemember")
        {
            members.retain(|dn| !dn.contains(uuid));
        }
    }

    pub(super) fn set(&mut self, dn: &str, name: &str, values: &[&str]) {
        let dn = written(dn).expect("a DN");
        let entry = self.entries.get_mut(&dn).expect("an entry");
        match values {
            [] => entry.remove(name),
            values => {
                let values = values.iter().map(|it| (*it).to_owned());
                entry.insert(name.to_owned(), values.collect())
            }
        };
    }

    pub(super) fn get(&self, dn: &str, name: &str) -> Vec<String> {
        let entry = written(dn).and_then(|dn| self.entries.get(&dn));
        entry.and_then(|entry| entry.get(name)).cloned().unwrap_or_default()
    }

    /// The default hash: SHA-1 over salt and password between dashes; the
    /// salt's bytes are printed without leading zeros. A change clears what
    /// was counted.
    pub(super) fn set_password(&mut self, uuid: &str, password: &str) {
        let dn = format!("uuid={uuid}, {USERS}");
        let salt: String =
            (0..20).map(|_| format!("{:x}", fastrand::u8(..))).collect();
        let now = self.now_ms().to_string();
        let entry = self.entries.get_mut(&dn).expect("an account");
        let hash = hashed(&salt, password);
        for (name, value) in
            [("userpassword", hash), ("_salt", salt), ("pwdchangedtime", now)]
        {
            entry.insert(name.to_owned(), vec![value]);
        }
        entry.remove("pwdfailuretime");
        entry.remove("pwdaccountlockedtime");
    }

    pub(super) fn remove(&mut self, dn: &str) {
        self.entries.remove(&written(dn).expect("a DN"));
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.passed_ms += ms;
    }

    pub(super) fn now_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_millis();
        u64::try_from(now).unwrap_or(u64::MAX) + self.passed_ms
    }

    /// Who may read or compare at `dn`.
    pub(super) fn may(&self, who: &Bound, dn: &str) -> bool {
        match who {
            Bound::Nobody => false,
            Bound::Root => true,
            Bound::Account(own) => {
                depth(dn, own).is_some()
                    // Compared as text: written otherwise, it does not count.
                    || self.get(OPERATORS, "uniquemember").contains(own)
            }
        }
    }

    /// A bind passes over a lock and clears it; that is why nobody should
    /// judge a password by it.
    pub(super) fn bind(
        &mut self,
        dn: &str,
        password: &str,
    ) -> Result<Bound, Compared> {
        let wrong = |text: &str| Err(Compared(49, text.to_owned()));
        let Some(dn) = written(dn) else { return wrong("") };
        if dn.is_empty() {
            return Ok(Bound::Nobody);
        }
        if dn == ROOT_DN {
            return match password == self.root_password {
                true => Ok(Bound::Root),
                false => wrong(""),
            };
        }
        let now = self.now_ms();
        let Some(entry) = self.entries.get_mut(&dn) else { return wrong("") };
        if time(entry, "pwdendtime").is_some_and(|end| end <= now) {
            return wrong("passwordExpired");
        }
        if !is_right(entry, password).unwrap_or(false) {
            return wrong("");
        }
        entry.remove("pwdfailuretime");
        entry.remove("pwdaccountlockedtime");
        Ok(Bound::Account(dn))
    }

    /// Compares an attribute; a password by its hash, and counted.
    pub(super) fn compare(
        &mut self,
        dn: &str,
        name: &str,
        value: &[u8],
    ) -> Compared {
        let said = |rc, text: &str| Compared(rc, text.to_owned());
        let Some(at) = written(dn) else { return said(34, dn) };
        let name = name.to_ascii_lowercase();
        let now = self.now_ms();
        let policy = self.policy(&at);
        let Some(entry) = self.entries.get_mut(&at) else {
            return said(32, &at);
        };
        if !entry.contains_key(&name) {
            return said(16, &name);
        }
        let value = String::from_utf8_lossy(value);
        if name != "userpassword" {
            let same = entry[&name].iter().any(|it| *it == value);
            return said(if same { 6 } else { 5 }, "");
        }
        if time(entry, "pwdendtime").is_some_and(|end| end <= now) {
            return said(5, "passwordExpired");
        }
        if time(entry, "pwdaccountlockedtime").is_some_and(|end| now < end) {
            return said(5, "accountLocked");
        }
        match is_right(entry, &value) {
            None => said(16, "salt"),
            Some(true) => {
                entry.remove("pwdfailuretime");
                entry.remove("pwdaccountlockedtime");
                said(6, "")
            }
            Some(false) => {
                let Some(most) = policy else { return said(5, "") };
                let failures =
                    entry.entry("pwdfailuretime".to_owned()).or_default();
                failures.push(now.to_string());
                // No window: the list stays full when a lock has ended.
                if failures.len() >= most {
                    let until = vec![(now + LOCK_MS).to_string()];
                    entry.insert("pwdaccountlockedtime".to_owned(), until);
                }
                let failures = entry.get_mut("pwdfailuretime");
                if let Some(failures) = failures
                    && failures.len() > FAILURES
                {
                    failures.drain(..failures.len() - FAILURES);
                }
                said(5, "invalidPassword")
            }
        }
    }

    /// The wrong password that locks; `None` where none is counted.
    fn policy(&self, dn: &str) -> Option<usize> {
        let own = self.get(dn, "pwdpolicysubentry");
        let dn = own.first().map_or(POLICY, String::as_str);
        self.get(dn, "pwdmaxfailure").first()?.parse().ok()
    }

    /// Entries within `scope` levels of `base`, DNs as answers have them;
    /// `None` where there is no base.
    pub(super) fn below(
        &self,
        base: &str,
        within: impl Fn(usize) -> bool,
    ) -> Option<Vec<(&String, &Attributes)>> {
        let base = written(base)?;
        if !base.is_empty() && !self.entries.contains_key(&base) {
            return None;
        }
        let all = self.entries.iter();
        let found = all.filter(|(dn, _)| depth(dn, &base).is_some_and(&within));
        Some(found.collect())
    }

    /// An entry's attributes as they are handed out: no password, nothing
    /// hidden, a sub-user's login without its account.
    pub(super) fn shown(&self, dn: &str, entry: &Attributes) -> Attributes {
        let mut shown = entry.clone();
        shown
            .retain(|name, _| name != "userpassword" && !name.starts_with('_'));
        let is_sub_user = parts(dn).is_some_and(|parts| {
            parts.iter().filter(|(kind, _)| kind == "uuid").count() == 2
        });
        if is_sub_user && let Some(logins) = shown.get_mut("login") {
            for login in logins {
                if let Some((_, own)) = login.split_once('/') {
                    *login = own.to_owned();
                }
            }
        }
        shown
    }

    /// Changes one attribute, as a modify does; a password is hashed.
    pub(super) fn modify(
        &mut self,
        dn: &str,
        replace: bool,
        name: &str,
        values: Vec<String>,
    ) -> Compared {
        let said = |rc, text: &str| Compared(rc, text.to_owned());
        let Some(at) = written(dn) else { return said(34, dn) };
        let name = name.to_ascii_lowercase();
        let Some(entry) = self.entries.get_mut(&at) else {
            return said(32, &at);
        };
        if replace && !values.is_empty() {
            entry.insert(name, values);
        } else if entry.remove(&name).is_none() && !replace {
            return said(16, &name);
        }
        said(0, "")
    }
}

fn time(entry: &Attributes, name: &str) -> Option<u64> {
    entry.get(name)?.first()?.parse().ok()
}

/// `None` for an entry without a salt.
fn is_right(entry: &Attributes, password: &str) -> Option<bool> {
    let salt = entry.get("_salt")?.first()?;
    let hash = hashed(salt, password);
    Some(entry.get("userpassword")?.first() == Some(&hash))
}

fn hashed(salt: &str, password: &str) -> String {
    let text = format!("--{salt}--{password}--");
    let sha1 = &digest::SHA1_FOR_LEGACY_USE_ONLY;
    let digest = digest::digest(sha1, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
