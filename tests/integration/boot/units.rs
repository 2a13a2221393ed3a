// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Service files as the service managers themselves read them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use localdc::lx::base_folder;
use localdc::smf;
use monitoring_agent::host::{Exec, run};

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

/// A zone's root as far as units name it: systemd's own units and all that
/// is started, which need not do anything.
fn root(units: &[PathBuf]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let below = |path: &str| root.path().join(path.trim_start_matches('/'));
    let write_as = |mode: u32, path: &Path, text: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let write = |path: &Path, text: &str| write_as(0o644, path, text);
    let base = base_folder();
    let system = "usr/lib/systemd/system";
    for unit in fs::read_dir(base.join(system)).expect("tests/setup.sh test") {
        let unit = unit.unwrap();
        if let Ok(text) = fs::read_to_string(unit.path()) {
            write(&below(system).join(unit.file_name()), &text);
        }
    }
    for file in ["etc/passwd", "etc/group"] {
        write(&below(file), &fs::read_to_string(base.join(file)).unwrap());
    }
    for unit in units {
        let text = fs::read_to_string(unit).unwrap();
        let name = unit.file_name().unwrap();
        write(&below("etc/systemd/system").join(name), &text);
        let started = text.lines().filter_map(|line| {
            line.strip_prefix("Exec")?.split_once('=')?.1.split(' ').next()
        });
        for program in started.map(|it| it.trim_start_matches('-')) {
            // What is the base's own must be there.
            if program.starts_with("/bin/") {
                let own = base.join(program.trim_start_matches('/'));
                assert!(own.exists(), "the base has no {program}");
            }
            write_as(0o755, &below(program), "#!/bin/sh\n");
        }
    }
    root
}

#[tokio::test]
async fn systemd_finds_no_fault_with_the_units() {
    let mut units = files("smf/lx", "service");
    units.extend(files("boot/lx", "service"));
    let root = root(&units);
    let at = format!("--root={}", root.path().display());
    let mut argv = vec!["systemd-analyze".to_owned(), at, "verify".to_owned()];
    argv.extend(units.iter().map(|unit| {
        format!("/etc/systemd/system/{}", unit.file_name().unwrap().display())
    }));
    let exec = Exec::new(&argv, Duration::from_secs(60));
    let said = run(&exec).await.unwrap();
    let faults: Vec<&str> = said
        .stderr
        .lines()
        // Known, and as it is in the zones that these are to replace.
        .filter(|line| !line.contains("Special user nobody configured"))
        .collect();
    assert!(said.success() && faults.is_empty(), "{faults:#?}");
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
    let user_script = format!("#!/bin/sh\necho ran >>{top}/ran\n");
    fs::write(at("mdata/user-script"), &user_script).unwrap();
    fs::write(at("mdata/user-data"), "kept").unwrap();
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
}
