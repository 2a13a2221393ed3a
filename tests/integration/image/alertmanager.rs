// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A component as upstream wrote it, from Debian's sources: amtool of
//! Alertmanager, compiled for illumos as the recipes say.
//!
//! Debian's Go knows no modules: what it compiles with is laid into a `vendor`
//! folder here, under the names that are imported.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use localdc::image::workshop::{Member, STAMP, Workshop, sha256, tar_gz};
use serde::Deserialize;
use serde_json::Value;
use zone_image::elf::{self, System};

use super::{beside, command};

const MODULE: &str = "github.com/prometheus/alertmanager";
const ILLUMOS: [(&str, &str); 4] = [
    ("GO111MODULE", "off"),
    ("GOPATH", "/usr/share/gocode"),
    ("GOOS", "illumos"),
    ("CGO_ENABLED", "0"),
];

const RECIPE: &str = r#"
[[joyent-minimal.component]]
name = "alertmanager"
to = "/opt/triton/alertmanager"
"#;

const PINS: &str = pins_with_go!(
    r#"
[alertmanager]
version = "0.25.0"
licence = "Apache-2.0"
homepage = "https://prometheus.io/docs/alerting/latest/alertmanager/"

[alertmanager.joyent-minimal]
kind = "go"
toolchain = "go"
tags = ["netgo"]

[alertmanager.joyent-minimal.build]
"bin/amtool" = "./cmd/amtool"

[alertmanager.joyent-minimal.set]
"github.com/prometheus/common/version.Version" = "0.25.0"

[[alertmanager.joyent-minimal.source]]
strip = 1
source = { path = "alertmanager.tar.gz", sha256 = "DIGEST" }
"#
);

/// Of what `go list -json` says.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Package {
    dir: PathBuf,
    import_path: String,
    #[serde(default)]
    standard: bool,
    #[serde(default)]
    go_files: Vec<String>,
    #[serde(default)]
    s_files: Vec<String>,
    #[serde(default)]
    h_files: Vec<String>,
    #[serde(default)]
    embed_files: Vec<String>,
    /// As it is imported, to what it is.
    #[serde(default)]
    import_map: BTreeMap<String, String>,
}

/// All that amtool is compiled of.
fn packages() -> Vec<Package> {
    let argument = format!("{MODULE}/cmd/amtool");
    let listed = command("go")
        .args(["list", "-deps", "-json", "-tags", "netgo", &argument])
        .envs(ILLUMOS)
        .output()
        .unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let stream = serde_json::Deserializer::from_slice(&listed.stdout);
    let all = stream.into_iter::<Package>().map(Result::unwrap);
    all.filter(|package| !package.standard).collect()
}

/// The module that a package would be of, and a version that it may have.
fn module(package: &str) -> (String, &'static str) {
    let parts: Vec<&str> = package.split('/').collect();
    let own = match parts[0] {
        "github.com" | "golang.org" => 3,
        "gopkg.in" if !parts[1].contains(".v") => 3,
        _ => 2,
    };
    let number = |part: &&str| part.starts_with('v') && part.len() <= 3;
    let versioned = parts.get(own).is_some_and(number);
    let own = own + usize::from(versioned);
    let version = match parts[own - 1] {
        "v2" => "v2.0.0",
        "v4" => "v4.0.0",
        "v22" => "v22.0.0",
        last if last.ends_with(".v2") => "v2.0.0",
        _ => "v0.0.0",
    };
    (parts[..own].join("/"), version)
}

/// The source archive: upstream's module with a folder of all others.
fn source() -> Vec<u8> {
    let packages = packages();
    let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in &packages {
        names.entry(&package.import_path).or_default();
        for (imported, is) in &package.import_map {
            names.entry(is).or_default().insert(imported);
        }
    }
    let mut files = Vec::new();
    let mut modules: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for package in &packages {
        let path = package.import_path.as_str();
        let below = path.strip_prefix(MODULE);
        let mut places: Vec<String> = match below {
            Some(below) => vec![below.trim_start_matches('/').to_owned()],
            // One that is imported by other names alone is not wanted.
            None if path.contains("/vendor/") => Vec::new(),
            None => vec![format!("vendor/{path}")],
        };
        places.extend(names[path].iter().map(|name| format!("vendor/{name}")));
        for place in places {
            if let Some(name) = place.strip_prefix("vendor/") {
                modules.entry(module(name)).or_default().insert(name.into());
            }
            let own = [
                &package.go_files,
                &package.s_files,
                &package.h_files,
                &package.embed_files,
            ];
            for file in own.into_iter().flatten() {
                let bytes = fs::read(package.dir.join(file)).unwrap();
                files.push((format!("am-0.25.0/{place}/{file}"), bytes));
            }
        }
    }
    let (mut go_mod, mut list) =
        (format!("module {MODULE}\n\ngo 1.19\n"), String::new());
    for ((module, version), packages) in &modules {
        go_mod.push_str(&format!("require {module} {version}\n"));
        list.push_str(&format!("# {module} {version}\n## explicit; go 1.19\n"));
        for package in packages {
            list.push_str(&format!("{package}\n"));
        }
    }
    files.push(("am-0.25.0/go.mod".into(), go_mod.into_bytes()));
    files.push(("am-0.25.0/vendor/modules.txt".into(), list.into_bytes()));
    let members = files.iter().map(|(name, bytes)| Member::File(name, bytes));
    tar_gz(&members.collect::<Vec<_>>())
}

#[test]
fn debians_alertmanager_is_compiled_for_illumos() {
    let source = source();
    let pins = PINS.replace("DIGEST", &sha256(&source));
    let shop = Workshop::new(beside(), RECIPE, &pins);
    shop.write("alertmanager.tar.gz", &source);
    shop.build("joyent-minimal", &["--proto"]).well();
    let proto = shop.path(format!("out/tiny-pkg-{STAMP}.tar.gz"));
    let gzip = flate2::read::GzDecoder::new(fs::File::open(proto).unwrap());
    let mut tar = tar::Archive::new(gzip);
    let mut program = Vec::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().ends_with("alertmanager/bin/amtool") {
            std::io::copy(&mut entry, &mut program).unwrap();
        }
    }
    let seen = elf::read(&program).unwrap();
    assert_eq!(seen.system, System::Illumos);
    assert_eq!(seen.linker.as_deref(), Some("/lib/amd64/ld.so.1"));
    for library in ["libc.so", "libsocket.so"] {
        assert!(seen.needed.iter().any(|it| it == library), "{seen:?}");
    }
    // What it is made of is told.
    let sbom = shop.path(format!("out/tiny-{STAMP}.spdx.json"));
    let sbom: Value =
        serde_json::from_str(&fs::read_to_string(sbom).unwrap()).unwrap();
    let packages = sbom["packages"].as_array().unwrap();
    for name in ["alertmanager", "github.com/prometheus/client_golang"] {
        assert!(packages.iter().any(|one| one["name"] == name), "{name}");
    }
}
