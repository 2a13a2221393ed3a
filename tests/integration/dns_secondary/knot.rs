// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Knot as a primary.

use super::real::{SECRET, Site, ZONE};

pub(super) fn config(site: &Site) -> String {
    let (dir, to) = (site.dir.display(), site.notify);
    let (ip, port) = (site.at.ip(), site.at.port());
    let (key, with_key) = match site.algorithm {
        None => (String::new(), ""),
        Some(algorithm) => (
            format!(
                "key:\n  - id: k.test\n    algorithm: {algorithm}\n    \
                 secret: {SECRET}\n"
            ),
            "    key: k.test\n",
        ),
    };
    let (to_ip, to_port) = (to.ip(), to.port());
    format!(
        r"server:
    rundir: {dir}
    listen: {ip}@{port}
    udp-workers: 1
    tcp-workers: 2
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: {dir}
{key}remote:
  - id: ours
    address: {to_ip}@{to_port}
    via: {ip}
{with_key}acl:
  - id: all
    address: 127.0.0.0/8
    action: [transfer, update]
{with_key}zone:
  - domain: {ZONE}
    storage: {dir}
    file: zone.db
    notify: ours
    acl: all
    zonefile-sync: -1
    journal-content: changes
"
    )
}
