// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What every monitoring zone of a world has, as its image and `boot/` would
//! leave it: the platform's metadata, the agent, and Alertmanager, which the
//! agent may enable.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use serde_json::json;

use super::{WorldError, WorldSpec, facts};
use crate::datacenter::{Facts, Vm};
use crate::zone::{Bind, Restart, UnitSpec, ZoneSpec};

/// `nobody` on illumos and Debian alike.
const NOBODY: u32 = 65534;

/// The zone of `vm` with the agent and Alertmanager; its `/data` is `data`.
pub(super) fn spec(
    world: &WorldSpec,
    all: &Facts,
    data: &Path,
    vm: &Vm,
    role: &str,
) -> ZoneSpec {
    let admin = vm.nics.iter().find(|nic| nic.nic_tag == "admin");
    let ip = admin.expect("a core zone is on the admin network").ip;
    let mut spec = ZoneSpec::new(&vm.alias, &vm.uuid, ip);
    spec.dns_domain = all.dns_domain.clone();
    // Mixed, as the platform hands them out.
    spec.resolvers = vec![facts::BINDER.into(), facts::PUBLIC.into()];
    spec.data = Some(data.to_owned());
    let mut mdata = |key: &str, value: &str| {
        spec.mdata.insert(key.to_owned(), value.to_owned());
    };
    mdata("sdc:owner_uuid", &vm.owner_uuid);
    mdata("sdc:server_uuid", &vm.server_uuid);
    mdata("sdc:datacenter_name", &all.datacenter_name);
    mdata("sdc:tags.smartdc_role", role);
    mdata("sdc:tags.smartdc_type", "core");
    mdata("sapi-url", &sapi_url(all));
    // MiB, and hundredths of a processor.
    mdata("sdc:max_physical_memory", "2048");
    mdata("sdc:cpu_cap", "200");
    mdata("sdc:nics", &nics(vm));
    agent(&mut spec, world, all);
    if let Some((alertmanager, amtool)) = &world.programs.alertmanager {
        let bin = |name: &str| format!("/opt/triton/alertmanager/bin/{name}");
        spec.binds.extend([
            Bind::read_only(alertmanager, &bin("alertmanager")),
            Bind::read_only(amtool, &bin("amtool")),
        ]);
    }
    spec.units.push(reader("alertmanager"));
    spec
}

fn nics(vm: &Vm) -> String {
    let nics = vm.nics.iter().enumerate().map(|(at, nic)| {
        json!({
            "interface": format!("eth{at}"),
            "ip": nic.ip,
            "ips": [format!("{}/24", nic.ip)],
            "netmask": "255.255.255.0",
            "network_uuid": nic.network_uuid,
            "nic_tag": nic.nic_tag,
            "primary": nic.nic_tag == "external",
        })
    });
    json!(nics.collect::<Vec<_>>()).to_string()
}

/// smf/lx/config-agent.service; started by boot/configure.sh.
fn agent(spec: &mut ZoneSpec, world: &WorldSpec, all: &Facts) {
    let home = "/opt/triton/config-agent";
    let programs = &world.programs;
    let program = format!("{home}/bin/config-agent");
    spec.binds.extend([
        Bind::read_only(&programs.config_agent, &program),
        Bind::read_only(&programs.templates, &format!("{home}/templates")),
    ]);
    let poll = world.pace.poll.as_millis() as u64;
    let config = json!({
        "logLevel": "info",
        "pollInterval": poll,
        "fullPollInterval": poll * 5,
        "requestTimeout": 5_000,
        "sapi": {"url": sapi_url(all)},
    });
    let path = format!("{home}/etc/config.json");
    let args = [&program, "run", "--config", &path].map(str::to_owned);
    spec.units.push(UnitSpec::new("config-agent", args));
    spec.files.insert(path.into(), format!("{config:#}\n"));
}

/// smf/lx/prometheus.service and alertmanager.service, which differ in the
/// name only; the agent enables them. Started again sooner than in life.
pub(super) fn reader(name: &str) -> UnitSpec {
    let home = format!("/opt/triton/{name}");
    let flags = format!("@{home}/etc/{name}.flags");
    let program = format!("{home}/bin/{name}");
    let environment = format!("{home}/etc/{name}.env");
    daemon(name, name, &environment, [program, flags])
}

/// A daemon as all of them are: nobody's, in its folder of `/data`.
pub(super) fn daemon<const N: usize>(
    name: &str,
    folder: &str,
    environment: &str,
    command: [String; N],
) -> UnitSpec {
    let mut unit = UnitSpec::new(name, command);
    unit.user = Some("nobody".to_owned());
    unit.directory = Some(format!("/data/{folder}").into());
    unit.environment_files = vec![environment.into()];
    unit.restart = Restart::Always;
    unit.enabled = false;
    unit
}

/// SAPI's base URL, by its binder name.
pub(super) fn sapi_url(all: &Facts) -> String {
    format!("http://sapi.{}.{}", all.datacenter_name, all.dns_domain)
}

/// The folders that boot/setup.sh makes on the delegate dataset; `role` has
/// one of its own.
pub(super) fn prepare_data(data: &Path, role: &str) -> Result<(), WorldError> {
    for (name, owner, mode) in [
        ("config-agent", 0, 0o700),
        (role, NOBODY, 0o755),
        ("alertmanager", NOBODY, 0o755),
    ] {
        let path = data.join(name);
        let make = || {
            fs::create_dir_all(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            chown(&path, Some(owner), None)
        };
        make().map_err(|source| WorldError::Data {
            path: path.clone(),
            source,
        })?;
    }
    Ok(())
}
