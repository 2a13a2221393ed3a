// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The prometheus zone as its image and `boot/` would leave it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use serde_json::json;

use super::{WorldError, WorldSpec, facts};
use crate::datacenter::Facts;
use crate::zone::{Bind, UnitSpec, ZoneSpec};

/// Short name and alias.
pub(super) const NAME: &str = "prometheus0";
/// `nobody` on illumos and Debian alike.
const NOBODY: u32 = 65534;

/// The zone with the agent and Prometheus; its `/data` is `data`.
pub(super) fn spec(world: &WorldSpec, all: &Facts, data: &Path) -> ZoneSpec {
    let programs = &world.programs;
    let uuid = facts::PROMETHEUS_UUID;
    let mut spec = ZoneSpec::new(NAME, uuid, facts::PROMETHEUS);
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
    spec.units = vec![config_agent(agent), prometheus(daemon)];
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

/// smf/lx/prometheus.service; the agent enables it.
fn prometheus(home: &str) -> UnitSpec {
    let mut unit = UnitSpec::new(
        "prometheus",
        [
            format!("{home}/bin/prometheus"),
            format!("@{home}/etc/prometheus.flags"),
        ],
    );
    unit.user = Some("nobody".to_owned());
    unit.directory = Some("/data/prometheus".into());
    unit.enabled = false;
    unit
}

/// SAPI's base URL, by its binder name.
pub(super) fn sapi_url(all: &Facts) -> String {
    format!("http://sapi.{}.{}", all.datacenter_name, all.dns_domain)
}

/// The folders that boot/setup.sh makes on the delegate dataset.
pub(super) fn prepare_data(data: &Path) -> Result<(), WorldError> {
    for (name, owner) in [("config-agent", 0), ("prometheus", NOBODY)] {
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
