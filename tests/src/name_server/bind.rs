// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! BIND: one zone, nothing of the system's.

use super::{From, KEY, SECRET, Setup};

pub(super) fn config(setup: &Setup<'_>) -> String {
    let (dir, zone) = (setup.dir.display(), setup.zone);
    let (ip, port) = (setup.at.ip(), setup.at.port());
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
    let (notify, changing) = match setup.changing {
        None => ("notify no;".to_owned(), String::new()),
        Some(changing) => (
            format!(
                "notify explicit; notify-delay 0; notify-rate 1000; \
                 startup-notify-rate 1000; notify-source {ip};"
            ),
            format!(
                "allow-update {{ {who}; }}; \
                 also-notify {{ {} port {}{with_key}; }};",
                changing.notify.ip(),
                changing.notify.port()
            ),
        ),
    };
    format!(
        r#"{key}
options {{
    directory "{dir}";
    pid-file "{dir}/pid";
    session-keyfile "{dir}/session.key";
    lock-file none;
    listen-on port {port} {{ {ip}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnssec-validation no;
    check-names primary ignore;
    allow-transfer {{ {who}; }};
    {notify}
}};
controls {{}};
zone "{zone}" {{ {from} {changing} }};
"#
    )
}
