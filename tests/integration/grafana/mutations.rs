// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Whatever metadata says: either it is refused, or each file of a Grafana
//! zone passes its checker, which for nginx.conf is nginx itself.

use std::cell::Cell;
use std::path::Path;
use std::process::Command;

use monitoring_agent::certgen::{ServerPaths, ensure_server};
use monitoring_agent::lint::{self, Kind};
use monitoring_agent::metadata::meaning::{Site, model, settings};
use monitoring_agent::model::{Caps, Flavor, Paths, Peers, Role};
use monitoring_agent::render::{Rendered, TemplateSet};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use time::OffsetDateTime;

/// A word that someone might type, or that would like to break out.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}(\\.[a-z]{1,8}){0,2}(:[0-9]{1,5})?",
        "https?://[a-z]{1,5}(:[0-9]{1,4})?/?",
        // Of all addresses the machine has only these.
        "127(\\.[1-9][0-9]?){3}(:[1-9][0-9]{2,3})?",
        "[\\x20-\\x7e]{0,30}",
        "[ \\n\\r\\t\"'\\\\#;$%{}:=\u{e9}\u{2028}a]{1,12}",
        Just("-----BEGIN CERTIFICATE-----\n#;: -\n".to_owned()),
        Just("$__file{/etc/passwd}".to_owned()),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let source = (word(), word(), word(), proptest::option::of(word()), 0..3);
    let source =
        source.prop_map(|(name, url, ca, server_name, which)| match which {
            0 => json!({"name": name, "thanos": url}),
            1 => json!({"name": name, "url": url}),
            _ => json!({"name": name, "url": url, "ca": ca,
                        "server_name": server_name}),
        });
    prop_oneof![
        4 => word().prop_map(Value::from),
        2 => (0_u32..100_000).prop_map(Value::from),
        2 => proptest::collection::vec(source, 0..4).prop_map(Value::from),
        1 => proptest::collection::vec(word(), 0..3).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
    ]
}

/// The templates without the dashboards, which no metadata reaches.
fn bare_templates(folder: &Path) -> TemplateSet {
    let from = localdc::sites::templates().join("grafana");
    let to = folder.join("grafana");
    std::fs::create_dir_all(to.join("dashboards")).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
    TemplateSet::load(&to).unwrap()
}

/// What nginx wants to be there before it looks at its file.
fn surroundings(site: &Site) {
    let paths = Paths::new(&site.root, Role::Grafana);
    let names = ["a.test".to_owned()];
    let now = OffsetDateTime::now_utc();
    ensure_server(&ServerPaths::new(&paths.tls), &names, now).unwrap();
    for folder in ["etc", "run/tmp"] {
        let folder = site.root.join("opt/triton/grafana").join(folder);
        std::fs::create_dir_all(folder).unwrap();
    }
}

/// Its checker's verdict; none where it has none.
fn judge(file: &Rendered) -> Result<(), TestCaseError> {
    match file.check.as_slice() {
        [program, ..] if program == "nginx" => nginx(file),
        [_, _, kind, ..] => {
            let text = String::from_utf8_lossy(&file.bytes);
            let judged = lint::lint(Kind::parse(kind).unwrap(), &text);
            prop_assert!(judged.is_ok(), "{}: {:?}", file.name, judged);
            Ok(())
        }
        _ => Ok(()),
    }
}

#[expect(clippy::disallowed_methods, reason = "the checker starts here")]
fn nginx(file: &Rendered) -> Result<(), TestCaseError> {
    std::fs::write(&file.target, &file.bytes).unwrap();
    let path = file.target.to_string_lossy();
    let words = file.check.iter().map(|w| w.replace("{staged}", &path));
    let words: Vec<String> = words.collect();
    let done = Command::new(&words[0]).args(&words[1..]).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    prop_assert!(done.status.success(), "{}", said);
    Ok(())
}

/// Nothing gets past the keys' own grammar.
#[test]
fn no_metadata_gives_files_that_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let set = bare_templates(folder.path());
    let site = Site {
        compaction: true,
        root: folder.path().to_owned(),
        role: Role::Grafana,
        flavor: Flavor::Triton,
        instance: "c0000000-0000-4000-8000-000000000001".to_owned(),
        cmon_domain: None,
        peers: Peers::default(),
        agent_address: ([127, 0, 0, 1], 9165).into(),
        caps: Caps::default(),
    };
    surroundings(&site);
    let settings: Vec<_> = settings(Role::Grafana)
        .into_iter()
        .filter(|setting| {
            let key = setting.about().key;
            key.starts_with("grafana_") || key == "region_name"
        })
        .collect();
    let metadata = prop::collection::vec((0..settings.len(), value()), 1..60);
    let taken = Cell::new(0);
    let config =
        Config { cases: 1_000, max_shrink_iters: 200, ..Config::default() };
    let ended = TestRunner::new(config).run(&metadata, |pairs| {
        let mut map = json!({"datacenter_name": "dc", "dns_domain": "t.test"});
        // Each alone was accepted, or nearly all would be refused.
        for (at, value) in pairs {
            if settings[at].judge(&value).is_ok() {
                map[settings[at].about().key] = value;
            }
        }
        let Ok(model) = model(map.as_object().unwrap(), &site) else {
            return Ok(());
        };
        taken.set(taken.get() + 1);
        let output = set.render(&model);
        prop_assert_eq!(&output.failed, &[]);
        output.files.iter().try_for_each(judge)
    });
    ended.unwrap();
    assert!(taken.get() > 300, "{taken:?} taken: this shows nothing");
}
