// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Knot: one zone; transfers and updates for loopback.

use super::{From, KEY, SECRET, Setup};

pub(super) fn config(setup: &Setup<'_>) -> String {
    let (dir, zone) = (setup.dir.display(), setup.zone);
    let (ip, port) = (setup.at.ip(), setup.at.port());
    let algorithm = setup.changing.and_then(|changing| changing.algorithm);
    let (key, with_key) = match algorithm {
        None => (String::new(), String::new()),
        Some(algorithm) => (
            format!(
                "key:\n  - id: {KEY}\n    algorithm: {algorithm}\n    \
                 secret: {SECRET}\n"
            ),
            format!("    key: {KEY}\n"),
        ),
    };
    let remote = |id: &str, at: std::net::SocketAddr| {
        format!(
            "remote:\n  - id: {id}\n    address: {}@{}\n    via: {ip}\n\
             {with_key}",
            at.ip(),
            at.port()
        )
    };
    let (remotes, from, actions) = match (setup.from, setup.changing) {
        (From::File(file), None) => (
            String::new(),
            format!(
                "    file: {}\n    journal-content: none\n",
                file.display()
            ),
            "transfer",
        ),
        (From::File(file), Some(changing)) => (
            changing.notify.map(|at| remote("told", at)).unwrap_or_default(),
            format!(
                "    file: {}\n{}    journal-content: changes\n",
                file.display(),
                changing.notify.map_or("", |_| "    notify: told\n")
            ),
            "[transfer, update]",
        ),
        (From::Primary(at), _) => (
            remote("primary", at),
            "    file: zone.db\n    master: primary\n".to_owned(),
            // Without it every NOTIFY is refused.
            "[transfer, notify]",
        ),
    };
    let sync = match setup.from {
        From::File(_) => "    zonefile-sync: -1\n",
        From::Primary(_) => "",
    };
    format!(
        r"server:
    rundir: {dir}
    listen: {ip}@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: warning
database:
    storage: {dir}
{key}{remotes}acl:
  - id: all
    address: 127.0.0.0/8
    action: {actions}
{with_key}zone:
  - domain: {zone}
    storage: {dir}
    acl: all
{from}{sync}"
    )
}
