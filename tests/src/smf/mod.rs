// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! SMF for a zone on Linux: `svccfg`, `svcadm`, `svcs` and the restarter
//! behind them, as strict as the DTD and smf_method(7) where `smf/smartos/`
//! and `boot/` could break them; and the platform's other tools that a set-up
//! of a SmartOS zone calls. What it does not know it refuses.
//!
//! | SMF has | here is |
//! |---|---|
//! | the repository | `/etc/svc/repository.json`, a lock beside it |
//! | the platform's seed | a few services that are online, `mdata:execute` |
//! | a contract | the session of the start method |
//! | credentials, privileges | setpriv; names of privileges are checked |
//! | who is privileged to configd | a list is never all that the zone has |
//! | manifest-import | nothing, as in a joyent-minimal zone |
//!
//! Source: contract sheet on images, "SMF manifests" and "joyent-minimal
//! details".

mod manifest;
mod repository;
mod startd;
mod tools;

use std::path::Path;

use crate::zone::{Bind, Restart, UnitSpec, ZoneSpec};

pub use manifest::{Manifest, parse};
pub(crate) use tools::run;

/// Names by which localdc plays a tool of the platform.
const TOOLS: [&str; 10] = [
    "svccfg",
    "svcadm",
    "svcs",
    "svc.startd",
    "logadm",
    "crontab",
    "zfs",
    "groupadd",
    "useradd",
    "uname",
];

/// Where the zone's files say what its tools have to do.
const PATHS: Paths = Paths {
    repository: "/etc/svc/repository.json",
    lock: "/etc/svc/lock",
    calls: "/var/calls",
    kill_at: "/var/kill-at",
};

/// What a method's privileges are, if they are listed.
const PRIVILEGES: &str = "LOCALDC_PRIVILEGES";

struct Paths {
    repository: &'static str,
    lock: &'static str,
    /// Each call of a tool that changes something, a line each.
    calls: &'static str,
    /// The number of the call before which the caller is killed.
    kill_at: &'static str,
}

/// Makes a SmartOS zone of `spec`: the tools, and the restarter for its
/// daemon; `localdc` is this crate's program.
pub fn smartos(spec: &mut ZoneSpec, localdc: &Path) {
    for tool in TOOLS {
        let target = format!("/native/usr/sbin/{tool}");
        spec.binds.push(Bind::read_only(localdc, &target));
    }
    spec.mdata.insert("sdc:brand".into(), "joyent-minimal".into());
    let mut startd = UnitSpec::new("svc.startd", ["svc.startd"]);
    startd.restart = Restart::No;
    spec.units = vec![startd];
}
