// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! BIND: one zone, nothing of the system's.

use std::net::SocketAddr;
use std::path::Path;

use super::{Changing, From, KEY, SECRET, Setup};

/// Options of any named with all of its files in `dir`, which listens at `at`
/// alone.
pub fn options(dir: &Path, at: SocketAddr) -> String {
    let (dir, ip, port) = (dir.display(), at.ip(), at.port());
    format!(
        r#"    directory "{dir}";
    pid-file "{dir}/pid";
    session-keyfile "{dir}/session.key";
    lock-file none;
    listen-on port {port} {{ {ip}; }};
    listen-on-v6 {{ none; }};
    dnssec-validation no;
"#
    )
}

pub(super) fn config(setup: &Setup<'_>) -> String {
    let (zone, options) = (setup.zone, options(setup.dir, setup.at));
    let from = match setup.from {
        From::File(file) => {
            format!("type primary; file \"{}\";", file.display())
        }
        From::Primary(at) => format!(
            "type secondary; file \"zone.db\"; primaries {{ {} port {}; }};",
            at.ip(),
            at.port()
        ),
    };
    let algorithm = setup.changing.and_then(|changing| changing.algorithm);
    let (key, with_key, who) = match algorithm {
        None => (String::new(), String::new(), "any".to_owned()),
        Some(algorithm) => (
            format!(
                "key \"{KEY}\" {{ algorithm {algorithm}; \
                 secret \"{SECRET}\"; }};\n"
            ),
            format!(" key \"{KEY}\""),
            format!("key \"{KEY}\""),
        ),
    };
    let (notify, also_notify) = match setup.changing {
        None | Some(Changing { notify: None, .. }) => {
            ("notify no;".to_owned(), String::new())
        }
        Some(Changing { notify: Some(told), .. }) => (
            format!(
                "notify explicit; notify-delay 0; notify-rate 1000; \
                 startup-notify-rate 1000; notify-source {};",
                setup.at.ip()
            ),
            format!(
                "also-notify {{ {} port {}{with_key}; }};",
                told.ip(),
                told.port()
            ),
        ),
    };
    let update = match setup.changing {
        None => String::new(),
        Some(_) => format!("allow-update {{ {who}; }};"),
    };
    format!(
        r#"{key}
options {{
{options}    recursion no;
    check-names primary ignore;
    allow-transfer {{ {who}; }};
    {notify}
}};
controls {{}};
zone "{zone}" {{ {from} {update} {also_notify} }};
"#
    )
}
