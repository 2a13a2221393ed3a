// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Go programs built here for both systems, patched, by Debian's Go.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::fs;
use std::path::Path;

use localdc::image::workshop::{
    Member, STAMP, Workshop, archive, sha256, tar_gz,
};
use serde_json::Value;
use zone_image::elf::{self, System};

use super::{beside, command};

const RECIPE: &str = r#"
[[any.component]]
name = "hello"
to = "/opt/hello"
"#;

const PINS: &str = pins_with_go!(
    r#"
[hello]
version = "3.2.1"
licence = "MIT"
homepage = "https://example.com/hello"

[hello.any]
kind = "go"
toolchain = "go"
tags = ["netgo"]

[hello.any.build]
"bin/hello" = "."

[hello.any.pick]
"dep" = "share/dep"
"go.mod" = "share/go.mod"

[hello.any.set]
"main.version" = "3.2.1"

[hello.any.vendor]

[[hello.any.source]]
strip = 1
source = { path = "hello.tar.gz", sha256 = "DIGEST" }
"#
);

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/image");
    fs::read(folder.join(name)).unwrap()
}

fn shop() -> Workshop {
    let names =
        ["dep/dep.go", "dep/go.mod", "go.mod", "main.go", "platform.go"];
    let files = names.map(|name| {
        (format!("hello-3.2.1/{name}"), fixture(&format!("hello/{name}")))
    });
    let members: Vec<_> =
        files.iter().map(|(name, text)| Member::File(name, text)).collect();
    let bytes = tar_gz(&members);
    let pins = PINS.replace("DIGEST", &sha256(&bytes));
    let shop = Workshop::new(beside(), RECIPE, &pins);
    shop.write("hello.tar.gz", &bytes);
    shop.write("image/patches/hello/0001.patch", fixture("hello.patch"));
    shop
}

/// The program as it is in the proto tar.
fn program(shop: &Workshop, brand: &str) -> Vec<u8> {
    member(shop, brand, "bin/hello")
}

/// A file of the component as it is in the proto tar.
fn member(shop: &Workshop, brand: &str, path: &str) -> Vec<u8> {
    let path = Path::new("root/opt/hello").join(path);
    let name = if brand == "lx" { "tiny-lx" } else { "tiny" };
    let proto = shop.path(format!("out/{name}-pkg-{STAMP}.tar.gz"));
    let gzip = flate2::read::GzDecoder::new(fs::File::open(proto).unwrap());
    let mut tar = tar::Archive::new(gzip);
    let mut bytes = Vec::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap() == path {
            std::io::copy(&mut entry, &mut bytes).unwrap();
        }
    }
    bytes
}

/// Stricter than `go.sum`: a digest of what is vendored.
fn pin_modules(shop: &Workshop) {
    let said = shop.run(&["fetch", "--pin", "hello", "--brand", "lx"]).well();
    let line = said.stdout.lines().find(|line| line.contains(".vendor: "));
    let (_, pin) = line.unwrap().split_once(": ").unwrap();
    let file = "image/recipes/artifacts.toml";
    let pins = fs::read_to_string(shop.path(file)).unwrap();
    let table = "[hello.any.vendor]\n";
    shop.write(file, pins.replace(table, &format!("{table}{pin}\n")));
}

#[test]
fn a_program_is_built_for_both_systems_the_same_each_time() {
    let (shop, again) = (shop(), shop());
    pin_modules(&shop);
    for brand in ["joyent-minimal", "lx"] {
        shop.build(brand, &["--proto"]).well();
        let bytes = program(&shop, brand);
        // Twice for one of them: each compiles Go's library anew.
        if brand == "joyent-minimal" {
            again.build(brand, &["--proto"]).well();
            assert_eq!(sha256(&bytes), sha256(&program(&again, brand)));
        }
        let seen = elf::read(&bytes).unwrap();
        if brand == "joyent-minimal" {
            assert_eq!(seen.system, System::Illumos);
            assert_eq!(seen.linker.as_deref(), Some("/lib/amd64/ld.so.1"));
            assert!(seen.needed.iter().any(|one| one == "libc.so"));
            assert_eq!(seen.run_path, None);
        } else {
            assert_eq!(seen.system, System::Linux);
            let path = shop.path("hello");
            shop.write("hello", &bytes);
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(&path, mode).unwrap();
            let path = path.to_string_lossy().into_owned();
            let said = command(&path).output().unwrap();
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            assert_eq!(said, "hello 3.2.1 patched by hand, with a module\n");
        }
        // Nothing of this machine.
        let folder = shop.path("").to_string_lossy().into_owned();
        let found =
            bytes.windows(folder.len()).any(|part| part == folder.as_bytes());
        assert!(!found, "{folder} in the program");
    }
    // A pick may be a folder.
    let picked = member(&shop, "lx", "share/dep/dep.go");
    assert_eq!(picked, fixture("hello/dep/dep.go"));
    // Debian's Go is pinned by nobody, and the image says so.
    let manifest = fs::read_to_string(shop.manifest_of("lx")).unwrap();
    assert!(manifest.contains("\"triton.unpinned\": \"hello\""), "{manifest}");
    let sbom = shop.path(format!("out/tiny-{STAMP}.spdx.json"));
    let sbom: Value =
        serde_json::from_str(&fs::read_to_string(sbom).unwrap()).unwrap();
    let packages = sbom["packages"].as_array().unwrap();
    let hello = packages.iter().find(|one| one["name"] == "hello").unwrap();
    let how = hello["sourceInfo"].as_str().unwrap();
    assert!(how.contains("patch 0001.patch (SHA-256"), "{how}");
    for name in ["stdlib", "example.com/dep"] {
        assert!(packages.iter().any(|one| one["name"] == name), "{name}");
    }
}

#[test]
fn a_patch_that_no_longer_applies_or_has_no_head() {
    let shop = shop();
    let patch = String::from_utf8(fixture("hello.patch")).unwrap();
    let name = "image/patches/hello/0001.patch";
    shop.write(name, patch.replace("unpatched", "something else"));
    let built = shop.build("lx", &[]);
    built.refused(&["0001.patch no longer applies", "platform.go", "FAILED"]);
    assert!(shop.left().is_empty());
    let bytes = fs::read(shop.path("hello.tar.gz")).unwrap();
    let pins = PINS.replace("DIGEST", &sha256(&bytes));
    let pins = pins.replace("\"go.mod\" =", "\"platform.go\" =");
    shop.write("image/recipes/artifacts.toml", pins);
    shop.write(name, &patch);
    let built = shop.build("lx", &[]);
    built.refused(&["pick \"platform.go\"", "0001.patch changes /platform.go"]);
    shop.write(name, patch.replace("https://", ""));
    let built = shop.build("lx", &[]);
    built.refused(&["0001.patch: head: no https:// link"]);
}

#[test]
fn a_program_that_does_not_compile_and_a_wrong_compiler() {
    let shop = shop();
    let patch = String::from_utf8(fixture("hello.patch")).unwrap();
    let broken = patch.replace("+\treturn \"patched by hand\"", "+\treturn 3");
    shop.write("image/patches/hello/0001.patch", broken);
    let built = shop.build("joyent-minimal", &[]);
    built.refused(&["could not build bin/hello of hello", "platform.go:4"]);
    let bytes = fs::read(shop.path("hello.tar.gz")).unwrap();
    let pins = PINS.replace("DIGEST", &sha256(&bytes));
    let pins = pins.replace("host = \"go1.19\"", "host = \"go1.18\"");
    shop.write("image/recipes/artifacts.toml", pins);
    shop.build("lx", &[]).refused(&["go1.19", "wanted go1.18"]);
    // A component that wants a compiler which is none.
    let other = archive("go", "hello.tar.gz", &bytes, "");
    let pins = PINS.replace("DIGEST", &sha256(&bytes));
    let at = pins.find("[hello]").unwrap();
    shop.write("image/recipes/artifacts.toml", other + &pins[at..]);
    shop.build("lx", &[]).refused(&["hello for lx: go: no toolchain"]);
    let planned = shop.run(&["plan", "tiny", "--brand", "lx", "--stamp", "v"]);
    planned.refused(&["hello.toolchain: go; wanted"]);
}
