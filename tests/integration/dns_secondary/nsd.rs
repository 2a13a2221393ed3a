// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! NSD as a primary. It knows no dynamic updates: a new zone file makes the
//! differences.

use super::real::{SECRET, Site, ZONE};

pub(super) fn config(site: &Site) -> String {
    let (dir, to) = (site.dir.display(), site.notify);
    let (ip, port) = (site.at.ip(), site.at.port());
    let (key, who) = match site.algorithm {
        None => (String::new(), "NOKEY"),
        Some(algorithm) => (
            format!(
                "key:\n    name: k.test\n    algorithm: {algorithm}\n    \
                 secret: \"{SECRET}\"\n"
            ),
            "k.test",
        ),
    };
    let (to_ip, to_port) = (to.ip(), to.port());
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
    verbosity: 2
remote-control:
    control-enable: yes
    control-interface: {dir}/control
{key}zone:
    name: {ZONE}
    zonefile: zone.db
    provide-xfr: 127.0.0.0/8 {who}
    notify: {to_ip}@{to_port} {who}
    outgoing-interface: {ip}
    store-ixfr: yes
    create-ixfr: yes
"#
    )
}
