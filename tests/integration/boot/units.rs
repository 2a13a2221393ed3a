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
        let last = start.trim_end_matches('\'');
        assert!(last.ends_with('&'), "{name} starts in the foreground");
        // It waits for set-up, which may wait for this one.
        let waits = read.dependencies.iter().flat_map(|it| &it.fmris);
        let waits: Vec<_> =
            waits.filter(|fmri| fmri.contains("mdata")).collect();
        assert!(waits.is_empty(), "{name} depends on {waits:?}");
    }
    assert_eq!(stems(manifests), stems(files("smf/lx", "service")));
}

/// mdata-execute over a folder, with an mdata-get that ends with the code in
/// file `code`, if there is one.
async fn mdata_execute(root: &Path) -> (Option<i32>, String) {
    let top = root.display().to_string();
    let script = include_str!("../../../boot/lx/mdata-execute");
    let script = script
        .replace("/var/", &format!("{top}/var/"))
        .replace("/root/", &format!("{top}/root/"))
        .replace("export PATH=", &format!("export PATH={top}/bin:"))
        .replace("sleep \"$pause\"", ":");
    let exec = Exec::new(&["bash", "-c", &script], Duration::from_secs(60));
    let ended = run(&exec).await.unwrap();
    (ended.code, ended.stderr)
}

#[tokio::test]
async fn metadata_that_does_not_answer_is_not_taken_for_none() {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    for folder in ["bin", "mdata", "root", "var/svc"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    let top = root.path().display();
    let get = format!(
        "#!/bin/sh\n[ ! -e {top}/code ] || exit $(cat {top}/code)\n\
         cat {top}/mdata/$1 2>/dev/null || exit 1\n"
    );
    fs::write(at("bin/mdata-get"), get).unwrap();
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(at("bin/mdata-get"), executable).unwrap();
    let user_script = format!("#!/bin/sh\necho ran >>{top}/ran; echo said\n");
    fs::write(at("mdata/user-script"), &user_script).unwrap();
    fs::write(at("mdata/user-data"), "kept").unwrap();
    let log = || fs::read_to_string(at("var/log/triton.log")).unwrap();
    let ran = || fs::read_to_string(at("ran")).unwrap_or_default();

    // Before there is anything, nothing is made up.
    fs::write(at("code"), "2").unwrap();
    let (code, said) = mdata_execute(root.path()).await;
    assert_eq!((code, ran().as_str()), (Some(95), ""), "{said}");
    assert!(said.contains("no user-script is known"), "{said}");

    fs::remove_file(at("code")).unwrap();
    assert_eq!(mdata_execute(root.path()).await, (Some(0), String::new()));
    assert_eq!(ran(), "ran\n");

    // What the last boot knew stays, runs, and the unit says that it failed.
    fs::write(at("code"), "2").unwrap();
    let (code, said) = mdata_execute(root.path()).await;
    assert_eq!((code, ran().as_str()), (Some(95), "ran\nran\n"), "{said}");
    assert!(said.contains("mdata-get user-data ended with 2"), "{said}");
    let kept = fs::read_to_string(at("var/db/mdata-user-data")).unwrap();
    assert_eq!(kept, "kept");

    // What is unset goes.
    fs::remove_file(at("code")).unwrap();
    fs::remove_file(at("mdata/user-data")).unwrap();
    assert_eq!(mdata_execute(root.path()).await.0, Some(0));
    assert!(!at("var/db/mdata-user-data").exists());

    // vmadm keeps one file of a zone that it destroys: of all boots, in order.
    let told = log();
    let order =
        ["no user-script is known", "user-script ended with 0", "\nsaid\n"];
    let places = order.map(|words| told.find(words));
    assert!(places.is_sorted() && places[0].is_some(), "{told}");
    assert_eq!(told.matches("\nsaid\n").count(), 3, "{told}");
    // And it does not grow for ever.
    fs::write(at("var/log/triton.log"), "x".repeat(2_000_000)).unwrap();
    fs::write(at("mdata/user-script"), "#!/bin/sh\nexit 3\n").unwrap();
    assert_eq!(mdata_execute(root.path()).await.0, Some(95));
    assert!(log().len() < 600_000 && log().contains("script ended with 3"));
}

/// What the unit asks of the platform before the agent may keep anything: a
/// zfs that fails, or is not there, says no more than one that says no.
#[test]
fn only_a_mounted_dataset_lets_the_agent_start() {
    let unit = top().join("boot/lx/mount-zfs.service");
    let text = fs::read_to_string(unit).unwrap();
    let line = text.lines().find_map(|it| it.strip_prefix("ExecStart=/bin/sh"));
    let script = line.unwrap().trim_start_matches(" -c ").trim_matches('\'');
    let script = script.replace("$$", "$");
    let bin = tempfile::tempdir().unwrap();
    let starts = |zfs: Option<&str>| {
        for (name, body) in [("zonename", Some("echo z")), ("zfs", zfs)] {
            let path = bin.path().join(name);
            fs::remove_file(&path).ok();
            let Some(body) = body else { continue };
            fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
                .unwrap();
        }
        #[expect(clippy::disallowed_methods, reason = "as systemd starts it")]
        let mut shell = std::process::Command::new("/bin/sh");
        shell.args(["-c", &script]).env("PATH", bin.path());
        shell.status().unwrap().success()
    };
    let asked = "[ \"$*\" = \"get -Hpo value mounted zones/z/data\" ] &&";
    assert!(starts(Some(&format!("{asked} echo yes"))));
    for zfs in ["echo no", "exit 1", "echo"] {
        assert!(!starts(Some(zfs)), "{zfs}");
    }
    assert!(!starts(None));
}
