// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! NSD: one zone, no limit of answers a second. It knows no dynamic updates: a
//! new zone file and `nsd-control reload` make the differences.

use std::net::SocketAddr;

use super::{From, KEY, SECRET, Setup};

pub(super) fn config(setup: &Setup<'_>) -> String {
    let (dir, zone) = (setup.dir.display(), setup.zone);
    let (ip, port) = (setup.at.ip(), setup.at.port());
    let algorithm = setup.changing.and_then(|changing| changing.algorithm);
    let (key, who) = match algorithm {
        None => (String::new(), "NOKEY"),
        Some(algorithm) => (
            format!(
                "key:\n    name: {KEY}\n    algorithm: {algorithm}\n    \
                 secret: \"{SECRET}\"\n"
            ),
            KEY,
        ),
    };
    let from = match setup.from {
        From::File(file) => format!("    zonefile: {}\n", file.display()),
        From::Primary(at) => format!(
            "    zonefile: zone.db\n    request-xfr: {}@{} NOKEY\n",
            at.ip(),
            at.port()
        ),
    };
    let told = |at: SocketAddr| {
        format!("    notify: {}@{} {who}\n", at.ip(), at.port())
    };
    let (control, changing) = match setup.changing {
        None => ("    control-enable: no\n".to_owned(), String::new()),
        Some(changing) => (
            format!(
                "    control-enable: yes\n    \
                 control-interface: {dir}/control\n"
            ),
            format!(
                "{}    outgoing-interface: {ip}\n    store-ixfr: yes\n    \
                 create-ixfr: yes\n",
                changing.notify.map(told).unwrap_or_default()
            ),
        ),
    };
    format!(
        r#"server:
    ip-address: {ip}@{port}
    username: ""
    chroot: ""
    zonesdir: "{dir}"
    database: ""
    pidfile: "{dir}/pid"
    xfrdir: "{dir}"
    xfrdfile: "{dir}/xfrd.state"
    zonelistfile: "{dir}/zone.list"
    server-count: 1
    rrl-ratelimit: 0
remote-control:
{control}{key}zone:
    name: {zone}
    provide-xfr: 127.0.0.0/8 {who}
{from}{changing}"#
    )
}
