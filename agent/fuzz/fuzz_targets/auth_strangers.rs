// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What strangers send to the sign-in proxy, and what UFDS could hold: no
//! crash, no way out of a filter, a header, a host or a DN.

#![no_main]

use libfuzzer_sys::fuzz_target;
use monitoring_agent::auth::credentials::{
    Authorization, authorization, cookie, local_path,
};
use monitoring_agent::auth::dn::Dn;
use monitoring_agent::auth::header::encoded;
use monitoring_agent::auth::login_filter;

fuzz_target!(|data: &[u8]| {
    if let Authorization::Basic(read) = authorization(&[data]) {
        assert!(!read.login.is_empty());
        assert!(!read.password.expose().is_empty());
        assert!(!read.login.chars().any(char::is_control));
        in_its_place(&read.login);
    }
    let halves = data.split_at(data.len() / 2);
    if let Some(value) = cookie(&[halves.0, halves.1], "s") {
        assert!(!value.contains(';'));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    in_its_place(text);
    let to = local_path(text);
    assert!(to.starts_with('/') && !to.starts_with("//"));
    assert!(!to.contains('\\') && to.is_ascii());
    let value = encoded(text, 100);
    assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    if let Some(uuid) = Dn::parse(text).and_then(|dn| {
        dn.account().map(str::to_owned)
    }) {
        // Of all that stands there, this is the value of its first part.
        assert!(!uuid.is_empty() && uuid.len() <= text.len());
    }
});

/// A login is a value in the filter, whatever it holds.
fn in_its_place(login: &str) {
    let filter = login_filter(login);
    let value = filter
        .strip_prefix("(&(objectclass=sdcperson)(login=")
        .and_then(|rest| rest.strip_suffix("))"))
        .expect("the filter begins and ends as it does");
    assert!(!value.contains(['(', ')', '*', '\0']));
}
