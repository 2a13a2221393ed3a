// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! BIND as a primary.

use super::real::{SECRET, Site, ZONE};

pub(super) fn config(site: &Site) -> String {
    let (dir, to) = (site.dir.display(), site.notify);
    let (ip, port) = (site.at.ip(), site.at.port());
    let (key, with_key, who) = match site.algorithm {
        None => (String::new(), "", "any;"),
        Some(algorithm) => (
            format!(
                "key \"k.test\" {{ algorithm {algorithm}; \
                 secret \"{SECRET}\"; }};\n"
            ),
            " key \"k.test\"",
            "key \"k.test\";",
        ),
    };
    let (to_ip, to_port) = (to.ip(), to.port());
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
    notify explicit;
    notify-delay 0;
    notify-rate 1000;
    startup-notify-rate 1000;
    notify-source {ip};
}};
controls {{}};
zone "{ZONE}" {{
    type primary;
    file "zone.db";
    allow-transfer {{ {who} }};
    allow-update {{ {who} }};
    also-notify {{ {to_ip} port {to_port}{with_key}; }};
}};
"#
    )
}
