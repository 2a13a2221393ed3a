// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A thanos zone as its image and `boot/` would leave it, with a stand-in for
//! Thanos itself: see [`crate::thanos`].

use std::path::Path;

use super::{WorldSpec, core_zone};
use crate::datacenter::{Facts, Vm};
use crate::zone::{Bind, UnitSpec, ZoneSpec};

/// Daemons that the agent may enable, and each one's command.
const DAEMONS: [(&str, &str); 7] = [
    ("query", "query"),
    ("query-global", "query"),
    ("query-frontend", "query-frontend"),
    ("store", "store"),
    ("compact", "compact"),
    ("rule", "rule"),
    ("receive", "receive"),
];

/// The zone of `vm` with Thanos beside the agent; its `/data` is `data`.
pub(super) fn spec(
    world: &WorldSpec,
    all: &Facts,
    data: &Path,
    vm: &Vm,
) -> ZoneSpec {
    let mut spec = core_zone::spec(world, all, data, vm, "thanos");
    let program = "/opt/triton/thanos/bin/thanos";
    spec.binds.push(Bind::read_only(&world.programs.localdc, program));
    let units = DAEMONS.map(|(name, command)| unit(program, name, command));
    spec.units.extend(units);
    spec
}

/// smf/lx/thanos-NAME.service.
fn unit(program: &str, name: &str, command: &str) -> UnitSpec {
    let etc = "/opt/triton/thanos/etc";
    let flags = match name {
        "compact" => "/var/run/config-agent",
        _ => etc,
    };
    let command = [
        program.to_owned(),
        command.to_owned(),
        format!("@{flags}/{name}.flags"),
    ];
    let name = format!("thanos-{name}");
    let environment = format!("{etc}/{name}.env");
    core_zone::daemon(&name, "thanos", &environment, command)
}
