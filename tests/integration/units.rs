// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The units of `smf/` start daemons with files that the manifests of
//! `templates/` render, to the same places.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn entries(folder: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(top().join(folder)).expect("our own folder");
    all.map(|entry| entry.expect("an entry").path()).collect()
}

/// Every target of every manifest, as it is in a zone.
fn rendered() -> BTreeSet<String> {
    let mut targets = BTreeSet::new();
    for folder in entries("templates") {
        let role = folder.file_name().expect("a role").display();
        let etc = format!("/opt/triton/{role}/etc");
        let text = fs::read_to_string(folder.join("manifest.toml"))
            .expect("each role has a manifest");
        let lines = text.lines().filter_map(|line| {
            line.strip_prefix("target = \"")?.strip_suffix('"')
        });
        targets.extend(lines.map(|target| {
            target
                .replace("{{ paths.run }}", "/var/run/config-agent")
                .replace("{{ paths.etc }}", &etc)
                .replace("{{ alertmanager.etc }}", &etc)
        }));
    }
    targets
}

/// Flag and environment files that a unit reads.
fn read_by(unit: &str) -> Vec<String> {
    unit.split([' ', '"', '\'', '\n', ';', '=', '>'])
        .map(|word| word.trim_start_matches(['@', '-']))
        .filter(|word| {
            word.starts_with('/')
                && (word.ends_with(".flags") || word.ends_with(".env"))
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn units_read_the_files_that_are_rendered() {
    let rendered = rendered();
    let mut read = BTreeSet::new();
    for path in entries("smf/lx").into_iter().chain(entries("smf/smartos")) {
        for file in read_by(&fs::read_to_string(&path).unwrap()) {
            assert!(
                rendered.contains(&file),
                "{} reads {file}, which no manifest renders",
                path.display()
            );
            read.insert(file);
        }
    }
    let started = |target: &&String| {
        target.ends_with(".flags") || target.ends_with(".env")
    };
    let unread: Vec<_> = rendered
        .iter()
        .filter(started)
        .filter(|t| !read.contains(*t))
        .collect();
    assert!(unread.is_empty(), "no unit reads {unread:?}");
}

/// A bucket has one compactor; one that starts at boot by itself could be the
/// second.
#[test]
fn the_compactor_cannot_start_before_the_agent_has_spoken() {
    for unit in ["lx/thanos-compact.service", "smartos/thanos-compact.xml"] {
        let text = fs::read_to_string(top().join("smf").join(unit)).unwrap();
        let flags = "compact @/var/run/config-agent/compact.flags";
        assert!(text.contains(flags), "{unit}");
    }
}
