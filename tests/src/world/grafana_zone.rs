// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A grafana zone as its image and `boot/` would leave it, with a stand-in for
//! Grafana itself behind a real nginx: see [`crate::grafana`].

use std::path::Path;

use super::{WorldSpec, core_zone};
use crate::datacenter::{Facts, Vm};
use crate::zone::{Bind, User, ZoneSpec};

/// Debian's, as the image has it.
const NGINX: &str = "/usr/sbin/nginx";

/// The zone of `vm` with nginx and Grafana beside the agent; its `/data` is
/// `data`.
pub(super) fn spec(
    world: &WorldSpec,
    all: &Facts,
    data: &Path,
    vm: &Vm,
) -> ZoneSpec {
    let mut spec = core_zone::spec(world, all, data, vm, "grafana");
    let home = "/opt/triton/grafana";
    let (grafana, nginx) =
        (format!("{home}/bin/grafana"), format!("{home}/bin/nginx"));
    spec.binds.extend([
        Bind::read_only(&world.programs.localdc, &grafana),
        Bind::read_only(Path::new(NGINX), &nginx),
    ]);
    // Whose workers nginx' are, on both systems; and setup's own.
    for (name, uid, home) in [("daemon", 1, "/usr/sbin"), ("auth", 611, "/var")]
    {
        let (name, home) = (name.to_owned(), home.into());
        spec.users.push(User { name, uid, home });
    }
    // Debian's package brings the folder, which nginx wants for what is not
    // used.
    spec.files.insert("/var/lib/nginx/README".into(), String::new());
    // smf/lx/grafana.service, auth.service and nginx.service.
    let etc = format!("{home}/etc");
    let ini = format!("{etc}/grafana.ini");
    let command = [&grafana, "server", "--homepath", home, "--config", &ini];
    let command = command.map(str::to_owned);
    let environment = format!("{etc}/grafana.env");
    let mut unit =
        core_zone::daemon("grafana", "grafana", &environment, command);
    unit.group = Some("daemon".to_owned());
    unit.directory = Some("/data/grafana/data".into());
    unit.reloads = false;
    spec.units.push(unit);
    let agent = "/opt/triton/config-agent/bin/config-agent";
    let json = format!("{etc}/auth.json");
    let command = [agent, "auth", "--config", &json].map(str::to_owned);
    let mut unit = core_zone::daemon("auth", "grafana", "", command);
    unit.user = Some("auth".to_owned());
    unit.group = Some("daemon".to_owned());
    unit.environment_files.clear();
    unit.directory = Some("/data/grafana/sign-in".into());
    unit.reloads = false;
    spec.units.push(unit);
    let conf = format!("{etc}/nginx.conf");
    let command = [&nginx, "-e", "stderr", "-c", &conf].map(str::to_owned);
    let mut unit = core_zone::daemon("nginx", "grafana", "", command);
    unit.user = None;
    unit.environment_files.clear();
    unit.directory = None;
    spec.units.push(unit);
    spec
}
