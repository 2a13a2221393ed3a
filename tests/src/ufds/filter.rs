// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Search filters over entries: values compare as they are, classes in any
//! case.

use ldap3_proto::proto::LdapFilter;

use super::store::Attributes;

pub(super) fn matches(filter: &LdapFilter, entry: &Attributes) -> bool {
    let values = |name: &str| {
        let name = name.to_ascii_lowercase();
        entry.get(&name).map(Vec::as_slice).unwrap_or_default()
    };
    match filter {
        LdapFilter::And(all) => all.iter().all(|it| matches(it, entry)),
        LdapFilter::Or(any) => any.iter().any(|it| matches(it, entry)),
        LdapFilter::Not(it) => !matches(it, entry),
        LdapFilter::Present(name) => !values(name).is_empty(),
        LdapFilter::Equality(name, wanted) => {
            let any_case = name.eq_ignore_ascii_case("objectclass");
            values(name).iter().any(|value| match any_case {
                true => value.eq_ignore_ascii_case(wanted),
                false => value == wanted,
            })
        }
        LdapFilter::Substring(name, wanted) => {
            values(name).iter().any(|value| {
                let initial = wanted.initial.as_deref().unwrap_or_default();
                let last = wanted.final_.as_deref().unwrap_or_default();
                value.starts_with(initial) && value.ends_with(last)
            })
        }
        _ => false,
    }
}
