// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.
//! Whatever metadata says, no file is ever in force that its checker refuses.

use std::cell::RefCell;
use std::process::Command;
use std::time::Duration;

use monitoring_agent::apply::{Applier, DaemonHttp, HttpFuture};
use monitoring_agent::host::fake::Fake;
use monitoring_agent::metadata::meaning::settings;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::told;

/// Values of all kinds; most keys take some of them, none takes all. Some
/// pass our own judgement and not the checkers'.
const POOL: &[&str] = &[
    "1",
    "15",
    "300",
    "7d",
    "-2d",
    "1GB",
    "true",
    "debug",
    "shard-1",
    "am.t.test",
    "cmon.x.cns.t.test",
    "http://a.test:1",
    "/data/prometheus/x.yml",
    "a\"b\\c",
    "a\n--web.enable-admin-api",
    "{{ x }}",
    "\u{e9}\u{2028}",
    r#"{"a": "b", "c": "\"d\""}"#,
    r#"[{"name": "g", "rules": []}]"#,
    r#"[{"name": "g", "rules": [{"record": "a:b", "expr": "sum("}]}]"#,
    r#"[{"name": "g", "rules": [{"alert": "A", "expr": "up == 0"}]}]"#,
    r#"[{"job_name": "j", "files": ["/data/sd/*.json"]}]"#,
    r#"[{"job_name": "j"}]"#,
    r#"[{"job_name": "k", "scrape_interval": "1s", "scrape_timeout": "9s"}]"#,
    r#"[{"job_name": "l", "nonsense": 1}]"#,
    r#"[{"targets": ["a:1"], "match": ["up"]}]"#,
    r#"[{"url": "http://a.test/write"}]"#,
    r#"[{"url": "http://a.test/write", "remote_timeout": "soon"}]"#,
    r#"{"type": "S3", "config": {"bucket": "b", "endpoint": "e"}}"#,
    r#"{"route": {"receiver": "x"}, "receivers": [{"name": "x"}]}"#,
    r#"{"route": {"receiver": "x"}, "receivers": [{"name": "y"}]}"#,
];

fn entry() -> impl Strategy<Value = (&'static str, Value)> {
    // Where the zone stands is another room's.
    let settings = settings(Role::Prometheus).into_iter().filter(|setting| {
        let key = setting.about().key;
        key == key.to_lowercase()
            && !key.contains("dns")
            && key != "region_datacenters"
            && key != "datacenter_name"
    });
    told::entry(settings, POOL)
}

/// A daemon that takes everything: what it would refuse is for its checker.
struct Willing;

impl DaemonHttp for Willing {
    fn post<'a>(&'a self, _: &'a str) -> HttpFuture<'a> {
        Box::pin(async { Ok((200, String::new())) })
    }
    fn get<'a>(&'a self, _: &'a str) -> HttpFuture<'a> {
        Box::pin(async { Ok((200, String::new())) })
    }
}

/// How the run went.
#[derive(Debug, Default)]
struct Count {
    applied: u32,
    refused: u32,
}

#[test]
fn no_metadata_puts_a_file_in_force_that_its_checker_refuses() {
    let root = tempfile::tempdir().unwrap();
    surroundings(root.path());
    // The image's own rules have a test of their own, and cost the most.
    let folder = root.path().join("templates");
    copy_without_rules(&folder);
    let site = site(root.path(), vec![own()]);
    let applier =
        Applier::load(&root.path().join("state"), Duration::from_secs(10));
    let state = RefCell::new((applier, Count::default()));
    let host = Fake::default();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap();
    let told = prop::collection::vec(entry(), 0..6).prop_map(|list| {
        let map: std::collections::BTreeMap<_, _> = list.into_iter().collect();
        json!(map)
    });
    let config =
        Config { cases: 1_000, max_shrink_iters: 50, ..Config::default() };
    TestRunner::new(config)
        .run(&told, |told| {
            let Ok(model) = read(told, &site) else { return Ok(()) };
            let output = render(&folder, &model);
            prop_assert_eq!(&output.failed, &[]);
            let (applier, count) = &mut *state.borrow_mut();
            let before = digest(&output);
            let pass = applier.pass(&output, &host, &Willing);
            let report = runtime.block_on(pass);
            applier.forget_pauses();
            if report.is_clean() {
                count.applied += 1;
            } else {
                count.refused += 1;
            }
            // What is there now, ours or the last good one, is approved.
            if digest(&output) != before {
                for file in &output.files {
                    approved(file)?;
                }
            }
            Ok(())
        })
        .unwrap();
    // Or it would say little.
    let (_, count) = state.into_inner();
    assert!(count.applied > 200 && count.refused > 100, "{count:?}");
}

/// All that stands at the targets.
fn digest(output: &Output) -> Vec<Option<Vec<u8>>> {
    output.files.iter().map(|f| std::fs::read(&f.target).ok()).collect()
}

#[expect(clippy::disallowed_methods, reason = "checkers start here")]
fn approved(
    file: &monitoring_agent::render::Rendered,
) -> Result<(), TestCaseError> {
    // The flags' checkers start a whole daemon; each flag was judged by the
    // table when it was rendered.
    let cheap = ["promtool", "amtool"];
    let Some(program) = file.check.first() else { return Ok(()) };
    if !cheap.contains(&program.as_str()) || !file.target.exists() {
        return Ok(());
    }
    let target = file.target.to_string_lossy();
    let argv: Vec<_> =
        file.check.iter().map(|w| w.replace("{staged}", &target)).collect();
    let done = Command::new(&argv[0]).args(&argv[1..]).output();
    let done = done.expect("the checker starts");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    prop_assert!(done.status.success(), "{}: {said}", file.name);
    Ok(())
}

fn copy_without_rules(to: &Path) {
    for set in Role::Prometheus.template_sets() {
        let (from, to) = (templates().join(set), to.join(set));
        std::fs::create_dir_all(to.join("rules")).expect("it can be written");
        for entry in std::fs::read_dir(from).expect("it is there") {
            let path = entry.expect("it can be read").path();
            let Ok(mut text) = std::fs::read_to_string(&path) else {
                continue;
            };
            if path.ends_with("manifest.toml") {
                // A start of each daemon for its flags would cost minutes.
                for daemon in ["prometheus", "alertmanager"] {
                    let check = format!(
                        "[\"{daemon}\", \"@{{staged}}\", \"--version\"]"
                    );
                    text = text.replace(&check, "[]");
                }
            }
            let name = path.file_name().expect("a file has a name");
            std::fs::write(to.join(name), text).expect("it can be written");
        }
    }
}
