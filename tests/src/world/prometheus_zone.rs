// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A prometheus zone as its image and `boot/` would leave it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use serde_json::json;

use super::{WorldError, WorldSpec, facts};
use crate::datacenter::Facts;
use crate::zone::{Bind, Restart, UnitSpec, ZoneSpec};

/// `nobody` on illumos and Debian alike.
const NOBODY: u32 = 65534;

/// Short name and alias of the zone with this number.
pub(super) fn name(number: usize) -> String {
    format!("prometheus{number}")
}

/// The zone with the agent, Prometheus and Alertmanager; its `/data` is
/// `data`.
pub(super) fn spec(
    world: &WorldSpec,
    all: &Facts,
    data: &Path,
    number: usize,
) -> ZoneSpec {
    let programs = &world.programs;
    let uuid = &facts::prometheus_uuid(number);
    let ip = facts::prometheus_ip(number);
    let mut spec = ZoneSpec::new(&name(number), uuid, ip);
    spec.dns_domain = all.dns_domain.clone();
    // Mixed, as the platform hands them out.
    spec.resolvers = vec![facts::BINDER.into(), facts::PUBLIC.into()];
    spec.data = Some(data.to_owned());
    let vm = all.vm(uuid).expect("the zone is a VM of the datacenter");
    let mut mdata = |key: &str, value: &str| {
        spec.mdata.insert(key.to_owned(), value.to_owned());
    };
    mdata("sdc:owner_uuid", &vm.owner_uuid);
    mdata("sdc:server_uuid", &vm.server_uuid);
    mdata("sdc:datacenter_name", &all.datacenter_name);
    mdata("sdc:tags.smartdc_role", "prometheus");
    mdata("sdc:tags.smartdc_type", "core");
    mdata("sapi-url", &sapi_url(all));
    // MiB, and hundredths of a processor.
    mdata("sdc:max_physical_memory", "2048");
    mdata("sdc:cpu_cap", "200");
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
    let nics: Vec<_> = nics.collect();
    mdata("sdc:nics", &json!(nics).to_string());
    let agent = "/opt/triton/config-agent";
    let daemon = "/opt/triton/prometheus";
    spec.binds = vec![
        Bind::read_only(
            &programs.config_agent,
            &format!("{agent}/bin/config-agent"),
        ),
        Bind::read_only(&programs.templates, &format!("{agent}/templates")),
        Bind::read_only(
            &programs.prometheus,
            &format!("{daemon}/bin/prometheus"),
        ),
        Bind::read_only(&programs.promtool, &format!("{daemon}/bin/promtool")),
    ];
    if let Some((alertmanager, amtool)) = &programs.alertmanager {
        let bin = |name: &str| format!("/opt/triton/alertmanager/bin/{name}");
        spec.binds.extend([
            Bind::read_only(alertmanager, &bin("alertmanager")),
            Bind::read_only(amtool, &bin("amtool")),
        ]);
    }
    spec.limits = world.limits.clone();
    let poll = world.pace.poll.as_millis() as u64;
    let config = json!({
        "logLevel": "info",
        "pollInterval": poll,
        "fullPollInterval": poll * 5,
        "requestTimeout": 5_000,
        "sapi": {"url": sapi_url(all)},
    });
    spec.files.insert(
        format!("{agent}/etc/config.json").into(),
        format!("{config:#}\n"),
    );
    spec.units =
        vec![config_agent(agent), reader("prometheus"), reader("alertmanager")];
    spec
}

/// smf/lx/config-agent.service; started by boot/configure.sh.
fn config_agent(home: &str) -> UnitSpec {
    UnitSpec::new(
        "config-agent",
        [
            format!("{home}/bin/config-agent"),
            "run".to_owned(),
            "--config".to_owned(),
            format!("{home}/etc/config.json"),
        ],
    )
}

/// smf/lx/prometheus.service and alertmanager.service, which differ in the
/// name only; the agent enables them. Started again sooner than in life.
fn reader(name: &str) -> UnitSpec {
    let home = format!("/opt/triton/{name}");
    let flags = format!("@{home}/etc/{name}.flags");
    let program = format!("{home}/bin/{name}");
    let mut unit = UnitSpec::new(name, [program, flags]);
    unit.user = Some("nobody".to_owned());
    unit.directory = Some(format!("/data/{name}").into());
    unit.environment_files = vec![format!("{home}/etc/{name}.env").into()];
    unit.restart = Restart::Always;
    unit.enabled = false;
    unit
}

/// SAPI's base URL, by its binder name.
pub(super) fn sapi_url(all: &Facts) -> String {
    format!("http://sapi.{}.{}", all.datacenter_name, all.dns_domain)
}

/// The folders that boot/setup.sh makes on the delegate dataset.
pub(super) fn prepare_data(data: &Path) -> Result<(), WorldError> {
    for (name, owner) in
        [("config-agent", 0), ("prometheus", NOBODY), ("alertmanager", NOBODY)]
    {
        let path = data.join(name);
        let make = || {
            fs::create_dir_all(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o750))?;
            chown(&path, Some(owner), None)
        };
        make().map_err(|source| WorldError::Data {
            path: path.clone(),
            source,
        })?;
    }
    Ok(())
}
