// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The root of an LX zone as the image will have it: the one place that says
//! where the image puts things. To be replaced by the image itself.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::make;
use crate::world::Programs;

/// Where `tests/setup.sh` unpacks the Debian that roots are copies of.
pub fn base_folder() -> PathBuf {
    repository().join("target/lx-base")
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Copies the Debian to `root` and lays the image of role prometheus over it.
pub(super) fn lay_out(
    root: &Path,
    programs: &Programs,
    version: &str,
) -> io::Result<()> {
    copy_tree(&base_folder(), root)?;
    let top = repository();
    let copy = |from: &str, to: &str, mode: u32| {
        let to = root.join(to);
        make(to.parent().unwrap_or(root))?;
        fs::copy(top.join(from), &to)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(mode))
    };
    for script in ["setup.sh", "configure.sh"] {
        let to = format!("opt/smartdc/boot/{script}");
        copy(&format!("boot/{script}"), &to, 0o755)?;
    }
    let home = "opt/triton";
    for daemon in ["config-agent", "prometheus", "alertmanager"] {
        make(&root.join(format!("{home}/{daemon}/bin")))?;
        let unit = format!("{daemon}.service");
        let to = format!("{home}/{daemon}/smf/{unit}");
        copy(&format!("smf/lx/{unit}"), &to, 0o644)?;
    }
    copy("boot/lx/mdata-execute", "lib/smartdc/mdata-execute", 0o755)?;
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    make(&wants)?;
    for unit in ["mdata-execute.service", "mount-zfs.service"] {
        let system = format!("lib/systemd/system/{unit}");
        copy(&format!("boot/lx/{unit}"), &system, 0o644)?;
        symlink(format!("/{system}"), wants.join(unit))?;
    }
    let journald = "etc/systemd/journald.conf.d/triton.conf";
    copy("boot/lx/journald.conf", journald, 0o644)?;
    for tool in ["get", "put", "delete", "list"] {
        let name = format!("usr/sbin/mdata-{tool}");
        symlink(format!("/native/{name}"), root.join(name))?;
    }
    make(&root.join("native"))?;
    make(&root.join("var/svc"))?;
    make(&root.join(format!("{home}/config-agent/templates")))?;
    for (_, target) in binds(programs) {
        let path = root.join(target.trim_start_matches('/'));
        if !path.exists() {
            fs::write(path, "")?;
        }
    }
    fs::write(root.join("etc/product"), format!("Image: {version}\n"))
}

/// Programs and templates of the image that are shown rather than copied.
pub(super) fn binds(programs: &Programs) -> Vec<(PathBuf, String)> {
    let home = "/opt/triton";
    let agent = &programs.config_agent;
    let mut binds = vec![
        (agent, format!("{home}/config-agent/bin/config-agent")),
        (&programs.templates, format!("{home}/config-agent/templates")),
        (&programs.prometheus, format!("{home}/prometheus/bin/prometheus")),
        (&programs.promtool, format!("{home}/prometheus/bin/promtool")),
    ];
    if let Some((alertmanager, amtool)) = &programs.alertmanager {
        let bin = format!("{home}/alertmanager/bin");
        binds.push((alertmanager, format!("{bin}/alertmanager")));
        binds.push((amtool, format!("{bin}/amtool")));
    }
    binds.into_iter().map(|(host, zone)| (host.clone(), zone)).collect()
}

#[expect(clippy::disallowed_methods, reason = "cp knows every kind of file")]
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let status = Command::new("cp")
        .args(["-a", "--reflink=auto", "--"])
        .args([from, to])
        .stdin(Stdio::null())
        .status()?;
    if status.success() {
        return Ok(());
    }
    let advice =
        format!("could not copy {}: run tests/setup.sh test", from.display());
    Err(io::Error::other(advice))
}
