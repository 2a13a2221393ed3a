// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! How Knot, NSD and BIND are told to serve the zone: one worker each, the
//! rest as they come, but for NSD's limit of answers a second.

use std::net::SocketAddr;
use std::path::Path;

use crate::servers::{From, Kind};
use crate::zone::ORIGIN;

/// What a configuration is made of.
pub(crate) struct Site<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) at: SocketAddr,
    pub(crate) from: From<'a>,
}

/// Program and arguments, in the foreground; `-c FILE` follows.
pub(crate) fn argv(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Bind => &["named", "-g", "-4", "-n", "1"],
        Kind::Nsd => &["nsd", "-d"],
        Kind::Knot | Kind::Ours => &["knotd"],
    }
}

pub(crate) fn config(kind: Kind, site: &Site<'_>) -> String {
    match kind {
        Kind::Bind => bind(site),
        Kind::Nsd => nsd(site),
        Kind::Knot | Kind::Ours => knot(site),
    }
}

fn knot(site: &Site<'_>) -> String {
    let (dir, ip, port) = (site.dir.display(), site.at.ip(), site.at.port());
    let (remote, zone) = match site.from {
        From::File(file) => (
            String::new(),
            format!(
                "    file: {}\n    zonefile-sync: -1\n    acl: all\n    \
                 journal-content: none\n",
                file.display()
            ),
        ),
        From::Live(file) => (
            String::new(),
            format!(
                "    file: {}\n    zonefile-sync: -1\n    acl: all\n",
                file.display()
            ),
        ),
        From::Primary(at) => (
            format!(
                "remote:\n  - id: primary\n    address: {}@{}\n",
                at.ip(),
                at.port()
            ),
            "    file: zone.db\n    master: primary\n    acl: all\n".to_owned(),
        ),
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
{remote}acl:
  - id: all
    address: 127.0.0.0/8
    action: [transfer, notify, update]
zone:
  - domain: {ORIGIN}
    storage: {dir}
{zone}"
    )
}

fn nsd(site: &Site<'_>) -> String {
    let (dir, ip, port) = (site.dir.display(), site.at.ip(), site.at.port());
    let zone = match site.from {
        From::File(file) | From::Live(file) => {
            format!("    zonefile: {}\n", file.display())
        }
        From::Primary(at) => format!(
            "    zonefile: zone.db\n    request-xfr: {}@{} NOKEY\n",
            at.ip(),
            at.port()
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
    control-enable: no
zone:
    name: {ORIGIN}
{zone}"#
    )
}

fn bind(site: &Site<'_>) -> String {
    let (dir, ip, port) = (site.dir.display(), site.at.ip(), site.at.port());
    let zone = match site.from {
        From::File(file) | From::Live(file) => {
            format!("type primary; file \"{}\";", file.display())
        }
        From::Primary(at) => format!(
            "type secondary; file \"zone.db\"; primaries {{ {} port {}; }};",
            at.ip(),
            at.port()
        ),
    };
    format!(
        r#"options {{
    directory "{dir}";
    pid-file "{dir}/pid";
    session-keyfile "{dir}/session.key";
    lock-file none;
    listen-on port {port} {{ {ip}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnssec-validation no;
    notify no;
}};
controls {{}};
zone "{ORIGIN}" {{ {zone} }};
"#
    )
}
