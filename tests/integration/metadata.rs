// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Metadata fixtures: each of `accept/` renders into what promtool accepts,
//! each of `reject/` is refused with the lines beside it, all at once.

use std::path::{Path, PathBuf};
use std::process::Command;

use monitoring_agent::metadata::meaning::{Site, model, resolver};
use monitoring_agent::model::{Caps, Flavor, Peers, Role};
use monitoring_agent::render::TemplateSet;
use serde_json::{Map, Value};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn fixtures(folder: &str) -> Vec<(String, Map<String, Value>)> {
    let dir = workspace().join("tests/fixtures/metadata").join(folder);
    let mut found: Vec<_> = std::fs::read_dir(&dir)
        .expect("the fixture can be read")
        .map(|entry| entry.expect("the fixture can be read").path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|path| {
            let name = path
                .file_stem()
                .expect("the fixture can be read")
                .to_str()
                .expect("the fixture can be read")
                .to_owned();
            let text = std::fs::read(&path).expect("the fixture can be read");
            (
                name,
                serde_json::from_slice(&text).expect("the fixture can be read"),
            )
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!found.is_empty(), "{} holds fixtures", dir.display());
    found
}

fn site() -> Site {
    Site {
        compaction: true,
        root: PathBuf::from("/"),
        role: Role::Prometheus,
        flavor: Flavor::Triton,
        instance: "c0000000-0000-4000-8000-000000000001".to_owned(),
        cmon_domain: None,
        caps: Caps::default(),
        peers: Peers::default(),
        agent_address: "127.0.0.1:9165".parse().expect("an address"),
    }
}

#[expect(clippy::disallowed_methods, reason = "promtool, in a test")]
fn promtool(args: &[&str], path: &Path) {
    let output = Command::new("promtool")
        .args(args)
        .arg(path)
        .output()
        .expect("promtool runs");
    assert!(
        output.status.success(),
        "{}: {}{}",
        path.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn accepted_metadata_renders_what_promtool_accepts() {
    let scratch = tempfile::tempdir().unwrap();
    let templates = workspace().join("templates");
    for (name, metadata) in fixtures("accept") {
        let model = model(&metadata, &site())
            .unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
        let set = TemplateSet::load(&templates.join("prometheus")).unwrap();
        let output = set.render(&model);
        assert_eq!(output.failed, [], "{name}");
        for file in output.files {
            let path = scratch.path().join(file.name.replace('/', "-"));
            std::fs::write(&path, &file.bytes).unwrap();
            if file.name == "prometheus/prometheus.yml" {
                promtool(&["check", "config", "--syntax-only"], &path);
            } else if file.target.to_string_lossy().contains("/rules/") {
                promtool(&["check", "rules"], &path);
            }
        }
        let names = resolver(&metadata, &site()).unwrap();
        let set = TemplateSet::load(&templates.join("resolver")).unwrap();
        assert_eq!(set.render(&names).failed, [], "{name}");
    }
}

#[test]
fn rejected_metadata_names_every_fault() {
    for (name, metadata) in fixtures("reject") {
        let problems = model(&metadata, &site()).unwrap_err();
        let lines: Vec<String> =
            problems.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(name, lines.join("\n"));
    }
}
