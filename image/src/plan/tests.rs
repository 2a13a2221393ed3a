// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Both plans of one recipe, line by line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

const RECIPE: &str = r#"
[image]
role = "prometheus"
name = "tiny"
description = "An image for tests"
homepage = "https://example.com/"

[[any.component]]
name = "tool"
to = "/opt/tool"

[[any.text]]
path = "/etc/motd"
text = "{name} {version}"

[[lx.file]]
from = "smf"
to = "/opt/triton/all/smf"

[[joyent-minimal.file]]
from = "smf"
to = "/opt/triton/all/smf"
"#;

/// Other bytes for each brand.
const PINS: &str = r#"
[tool]
version = "1.2.3"
licence = "MIT"
homepage = "https://example.com/tool"

[tool.lx]
kind = "archive"
source = { path = "lx.tar", sha256 = "LX" }

[tool.joyent-minimal]
kind = "file"
name = "tool"
source = { path = "native", sha256 = "NATIVE" }
"#;

fn planned(brand: Brand) -> Plan {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("tiny.toml"), RECIPE).unwrap();
    let pins = PINS.replace("LX", &"1".repeat(64));
    let pins = pins.replace("NATIVE", &"2".repeat(64));
    let file = folder.path().join("artifacts.toml");
    std::fs::write(&file, pins).unwrap();
    let recipe = recipe::load(folder.path(), "tiny", brand).unwrap();
    let artifacts = crate::artifacts::load(&[file]).unwrap();
    let service = format!("config-agent.{}", brand.service_ending());
    let files = vec![(service, PathBuf::from("/smf"))];
    let facts = Facts {
        stamp: Stamp { version: "v1".into(), epoch: 0 },
        files: [("smf".into(), files)].into(),
        programs: BTreeMap::new(),
        crates: BTreeMap::new(),
        patches: BTreeMap::new(),
        daemons: BTreeSet::new(),
        problems: Problems::default(),
    };
    plan(&recipe, brand, &artifacts, &facts).unwrap()
}

fn lines(plan: &Plan) -> String {
    let lines = plan.steps.iter().map(|step| {
        let Line { action, what, to, detail } = step.line(plan.brand);
        format!("{action} | {what} | {to} | {detail}\n")
    });
    format!("{} {}\n{}", plan.image.name, plan.brand, lines.collect::<String>())
}

#[test]
fn each_brand_shows_its_own_bytes_and_name() {
    insta::assert_snapshot!(lines(&planned(Brand::Lx)), @r"
    tiny-lx lx
    text |  | /etc/motd | 0644
    files | smf | /opt/triton/all/smf/config-agent.service | 0644
    component | tool 1.2.3 | /opt/tool | release archive sha256:111111111111
    ");
    insta::assert_snapshot!(lines(&planned(Brand::JoyentMinimal)), @r"
    tiny joyent-minimal
    text |  | /etc/motd | 0644
    files | smf | /opt/triton/all/smf/config-agent.xml | 0644
    component | tool 1.2.3 | /opt/tool | file sha256:222222222222
    ");
}
