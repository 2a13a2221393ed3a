// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

use std::fs;

use serde_json::json;

use super::*;

fn set(manifest: &str, templates: &[(&str, &str)]) -> TemplateSet {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("role");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("manifest.toml"), manifest).unwrap();
    for (name, text) in templates {
        fs::write(folder.join(name), text).unwrap();
    }
    TemplateSet::load(&folder).unwrap()
}

const MANIFEST: &str = r#"
[[file]]
template = "a.yml.tera"
target = "{{ etc }}/a.yml"
mode = "0640"
daemon = "d"
[[file]]
template = "b.yml.tera"
target = "/b.yml"
mode = "0644"
[[daemon]]
name = "d"
reads = ["{{ etc }}/key"]
"#;

#[test]
fn strings_cannot_break_out_of_their_place() {
    let set = set(
        MANIFEST,
        &[("a.yml.tera", "v: {{ v | yaml }}\n"), ("b.yml.tera", "x")],
    );
    let evil = "a\"\n  job: \"evil # é\u{2028}";
    let output = set.render(&json!({"etc": "/e", "v": evil}));
    assert_eq!(output.files[0].target, PathBuf::from("/e/a.yml"));
    assert_eq!(output.daemons[0].reads, ["/e/key"]);
    let back: serde_json::Value =
        serde_yaml::from_slice(&output.files[0].bytes).unwrap();
    assert_eq!(back, json!({"v": evil}));
}

/// metadata_to_model: what YAML alone minds.
#[test]
fn what_only_yaml_minds_is_escaped() {
    let set = set(
        MANIFEST,
        &[("a.yml.tera", "v: {{ v | yaml }}\n"), ("b.yml.tera", "x")],
    );
    let odd =
        "\u{7f}\u{80}\u{85}\u{9f} \u{2028} \u{2029}\u{feff}\u{ffff}\u{1f600}";
    let output = set.render(&json!({"etc": "/e", "v": odd}));
    let text = std::str::from_utf8(&output.files[0].bytes).unwrap();
    assert!(text.contains(r"\u007f\u0080\u0085"), "{text}");
    let back: serde_json::Value = serde_yaml::from_str(text).unwrap();
    assert_eq!(back, json!({"v": odd}));
}

#[test]
fn a_bad_template_costs_its_own_file_and_names_line_and_variable() {
    let set = set(
        MANIFEST,
        &[("a.yml.tera", "x: 1\ny: {{ nothing }}\n"), ("b.yml.tera", "x")],
    );
    let output = set.render(&json!({"etc": "/e"}));
    assert_eq!(output.files.len(), 1);
    assert_eq!(output.failed[0].name, "role/a.yml");
    assert_eq!(output.failed[0].daemon.as_deref(), Some("d"));
    let reason = &output.failed[0].reason;
    assert!(
        reason.contains("line 2") && reason.contains("nothing"),
        "{reason}"
    );
}

#[test]
fn what_is_no_yaml_is_not_handed_on() {
    let set = set(
        MANIFEST,
        &[("a.yml.tera", "x: [1\ny: {{ etc }}\n"), ("b.yml.tera", "x")],
    );
    let output = set.render(&json!({"etc": "/e"}));
    let reason = &output.failed[0].reason;
    assert!(reason.contains("not YAML") && reason.contains("line"), "{reason}");
}

#[test]
fn a_missing_template_costs_its_own_file() {
    let set = set(MANIFEST, &[("b.yml.tera", "x")]);
    let output = set.render(&json!({"etc": "/e"}));
    assert_eq!(output.files.len(), 1);
    assert!(output.failed[0].reason.contains("could not read"));
}

#[test]
fn rendering_twice_changes_nothing() {
    let set = set(MANIFEST, &[("a.yml.tera", "{{ v }}"), ("b.yml.tera", "")]);
    let model = json!({"etc": "/e", "v": {"b": 1, "a": [1, 2]}});
    assert_eq!(set.render(&model).files, set.render(&model).files);
}

#[test]
fn manifests_are_strict() {
    for (bad, why) in [
        ("[[file]]\ntemplate='a'\ntarget='/a'\nmode='0644'\nmoed=1", "moed"),
        ("[[file]]\ntemplate='a'\ntarget='/a'\nmode='rw'", "octal"),
        ("[[file]]\ntemplate='../a'\ntarget='/a'\nmode='0644'", "beside"),
        (
            "[[file]]\ntemplate='a'\ntarget='/a'\nmode='0644'\ndaemon='x'",
            "no [[daemon]]",
        ),
        (
            "[[file]]\ntemplate='a'\ntarget='/a'\nmode='0644'\ncheck=['true']",
            "{staged}",
        ),
    ] {
        let error = manifest::parse(bad, Path::new("m.toml")).unwrap_err();
        let text = format!("{error}: {:?}", std::error::Error::source(&error));
        assert!(text.contains(why), "{text}");
    }
}

/// The shipped templates over the defaults, both flavors.
#[test]
fn shipped_templates_render() {
    use crate::metadata::meaning::{Site, model};
    use crate::model::{Flavor, Peers, Role};

    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates");
    let triton = json!({
        "datacenter_name": "dc1", "dns_domain": "triton.test",
        "region_name": "region1", "replica": "a",
    });
    let manta = json!({
        "is_manta_service": true, "DATACENTER": "dc1",
        "DNS_DOMAIN": "manta.test", "DOMAIN_NAME": "r1.manta.test",
        "REGION": "r1", "replica": "a", "shard": "2",
        "groups": ["shard-2"], "alertmanagers": ["am0.manta.test"],
        "cmon_domain": "cmon.dc1.cns.triton.test",
        "cmon_enforce_certificate": true, "scrape_interval": "30",
        "scrape_timeout": 20, "retention_size": "25GB",
        "rule_files": ["/data/prometheus/rules/*.yml"],
    });
    for (name, metadata) in [("triton", triton), ("manta", manta)] {
        let site = Site {
            compaction: true,
            root: PathBuf::from("/"),
            role: Role::Prometheus,
            flavor: Flavor::Triton,
            instance: "c0000000-0000-4000-8000-000000000001".to_owned(),
            cmon_domain: None,
            peers: Peers::default(),
            agent_address: ([127, 0, 0, 1], 9165).into(),
            caps: crate::model::Caps::default(),
        };
        let model = model(metadata.as_object().unwrap(), &site).unwrap();
        for role in ["prometheus", "resolver"] {
            let output = TemplateSet::load(&templates.join(role))
                .unwrap()
                .render(&model);
            assert_eq!(output.failed, []);
            let copied = |name: &str| name.contains("/rules/");
            for file in output.files.into_iter().filter(|f| !copied(&f.name)) {
                let text = String::from_utf8(file.bytes).unwrap();
                insta::assert_snapshot!(
                    format!("{name}-{}", file.name.replace('/', "-")),
                    text
                );
            }
        }
    }
}
