// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Service files as the service managers themselves read them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use localdc::smf;
use monitoring_agent::host::{Exec, run};

use super::lx::image;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(folder: &str, suffix: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(top().join(folder)).unwrap();
    let mut all: Vec<PathBuf> = all
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == suffix))
        .collect();
    all.sort();
    assert!(!all.is_empty(), "{folder}");
    all
}

/// Names of the services that an image has at `root`, each put where set-up
/// and the image link it.
fn link_units(root: &Path) -> Vec<String> {
    let system = root.join("etc/systemd/system");
    let mut units: Vec<String> =
        ["mdata-execute", "mount-zfs"].map(|it| format!("{it}.service")).into();
    for home in fs::read_dir(root.join("opt/triton")).unwrap() {
        let smf = home.unwrap().path().join("smf");
        for unit in fs::read_dir(smf).into_iter().flatten() {
            let unit = unit.unwrap();
            let name = unit.file_name().into_string().unwrap();
            fs::copy(unit.path(), system.join(&name)).unwrap();
            units.push(name);
        }
    }
    units
}

#[tokio::test]
async fn systemd_finds_no_fault_with_the_units_of_any_image() {
    let mut all = BTreeSet::new();
    for role in ["grafana", "prometheus", "thanos"] {
        let root = tempfile::tempdir().unwrap();
        image(role, 0).unpack(root.path()).unwrap();
        // The platform's, which comes with the boot.
        let zfs = root.path().join("native/usr/sbin/zfs");
        fs::create_dir_all(zfs.parent().unwrap()).unwrap();
        fs::write(&zfs, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&zfs, fs::Permissions::from_mode(0o755)).unwrap();
        let units = link_units(root.path());
        let at = format!("--root={}", root.path().display());
        let mut argv =
            vec!["systemd-analyze".to_owned(), at, "verify".to_owned()];
        argv.extend(units.iter().cloned());
        let exec = Exec::new(&argv, Duration::from_secs(60));
        let said = run(&exec).await.unwrap();
        let faults: Vec<&str> = said
            .stderr
            .lines()
            // Known, and as it is in the zones that these are to replace.
            .filter(|it| !it.contains("Special user nobody configured"))
            .collect();
        assert!(said.success() && faults.is_empty(), "{role}: {faults:#?}");
        all.extend(units);
    }
    let mut wanted = files("smf/lx", "service");
    wanted.extend(files("boot/lx", "service"));
    let wanted: BTreeSet<String> = wanted
        .iter()
        .map(|it| it.file_name().unwrap().display().to_string())
        .collect();
    assert_eq!(all, wanted, "in no image, or from nowhere");
}

#[test]
fn smf_takes_every_manifest_and_systemd_has_its_twin() {
    let stems = |files: Vec<PathBuf>| -> BTreeSet<String> {
        let stem = |it: &PathBuf| it.file_stem()?.to_str().map(str::to_owned);
        files.iter().filter_map(stem).collect()
    };
    let manifests = files("smf/smartos", "xml");
    for path in &manifests {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let read = smf::parse(&fs::read_to_string(path).unwrap());
        let read = read.unwrap_or_else(|e| panic!("{name}: {e}"));
        let own = "svc:/triton/application/";
        assert_eq!(read.fmri, format!("{own}{name}:default"));
        assert!(!read.enabled, "{name}: the agent enables it");
        assert_eq!(read.duration, "contract", "{name}");
        let start = &read.methods["start"].exec;
        assert!(start.ends_with('&'), "{name} starts in the foreground");
        // It waits for set-up, which may wait for this one.
        let waits = read.dependencies.iter().flat_map(|it| &it.fmris);
        let waits: Vec<_> =
            waits.filter(|fmri| fmri.contains("mdata")).collect();
        assert!(waits.is_empty(), "{name} depends on {waits:?}");
    }
    assert_eq!(stems(manifests), stems(files("smf/lx", "service")));
}
