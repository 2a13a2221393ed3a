// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A prometheus zone as its image and `boot/` would leave it.

use std::path::Path;

use super::{WorldSpec, core_zone};
use crate::datacenter::{Facts, Vm};
use crate::zone::{Bind, ZoneSpec};

/// The zone of `vm` with Prometheus beside the agent; its `/data` is `data`.
pub(super) fn spec(
    world: &WorldSpec,
    all: &Facts,
    data: &Path,
    vm: &Vm,
) -> ZoneSpec {
    let mut spec = core_zone::spec(world, all, data, vm, "prometheus");
    let programs = &world.programs;
    let bin = |name: &str| format!("/opt/triton/prometheus/bin/{name}");
    spec.binds.extend([
        Bind::read_only(&programs.prometheus, &bin("prometheus")),
        Bind::read_only(&programs.promtool, &bin("promtool")),
        // A stand-in: see `crate::thanos`.
        Bind::read_only(&programs.localdc, &bin("thanos")),
    ]);
    spec.limits = world.limits.clone();
    spec.units.push(core_zone::reader("prometheus"));
    // smf/lx/thanos-sidecar.service.
    let etc = "/opt/triton/prometheus/etc";
    let flags = format!("@{etc}/thanos-sidecar.flags");
    let environment = format!("{etc}/thanos-sidecar.env");
    let command = [bin("thanos"), "sidecar".to_owned(), flags];
    let sidecar = "thanos-sidecar";
    let unit = core_zone::daemon(sidecar, "prometheus", &environment, command);
    spec.units.push(unit);
    spec
}
