// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! An image from its recipe: what is in it, and that it is the same bytes
//! wherever and by whomever it is built.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use localdc::image::workshop::{
    EPOCH, Member, STAMP, Workshop, archive, sha256, tar_gz,
};
use serde_json::Value;

use super::beside;

/// A tool with a folder of data, and what its author's machine left on it.
fn tool() -> Vec<u8> {
    let program = fs::read("/bin/true").unwrap();
    tar_gz(&[
        Member::File("tool-1.2.3/data/b", b"second"),
        Member::File("tool-1.2.3/data/a", b"first"),
        Member::Link("tool-1.2.3/data/latest", "a"),
        Member::Program("tool-1.2.3/tool", &program),
        Member::File("tool-1.2.3/junk", b"not picked"),
    ])
}

const RECIPE: &str = r#"
[[lx.component]]
name = "tool"
to = "/opt/tool"

[[any.folder]]
path = "/var/tmp"
mode = "1777"

[[any.text]]
path = "/etc/motd"
text = "{name} {version}\n"

[[any.link]]
path = "/bin"
target = "usr/bin"
"#;

const PICK: &str = r#"
strip = 1

[tool.any.pick]
"tool" = "bin/tool"
"data" = "share/data"
"#;

fn shop() -> Workshop {
    let bytes = tool();
    let pins = archive("tool", "tool.tar.gz", &bytes, PICK);
    let shop = Workshop::new(beside(), RECIPE, &pins);
    shop.write("tool.tar.gz", &bytes);
    shop
}

/// Members of a tar in gzip: name to mode, owner, time, text or target.
fn members(path: &Path) -> BTreeMap<String, (u32, u64, u64, String)> {
    let file = fs::File::open(path).unwrap();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let mut all = BTreeMap::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        let header = entry.header().clone();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let text = match entry.link_name().unwrap() {
            Some(target) => format!("-> {}", target.display()),
            None => String::from_utf8_lossy(&bytes).into_owned(),
        };
        let (mode, uid) = (header.mode().unwrap(), header.uid().unwrap());
        let mtime = header.mtime().unwrap();
        let name = name.trim_end_matches('/').to_owned();
        all.insert(name, (mode, uid, mtime, text));
    }
    all
}

#[test]
fn an_lx_image_holds_what_its_recipe_says_and_verifies() {
    let shop = shop();
    let built = shop.build("lx", &["--json"]).well();
    let report: Value = serde_json::from_str(&built.stdout).unwrap();
    let name = format!("tiny-lx-{STAMP}");
    assert_eq!(
        shop.left(),
        [
            format!("{name}.imgmanifest"),
            format!("{name}.spdx.json"),
            format!("{name}.tar.gz"),
        ]
    );
    let all = members(&shop.path(format!("out/{name}.tar.gz")));
    let of = |name: &str| all.get(name).unwrap_or_else(|| panic!("{name}"));
    let motd = format!("tiny-lx {STAMP}\n");
    assert_eq!(*of("etc/motd"), (0o644, 0, EPOCH, motd));
    // Whoever packed it had uid 1234, a umask, setuid and a later clock.
    let (mode, uid, mtime, _) = of("opt/tool/bin/tool");
    assert_eq!((*mode, *uid, *mtime), (0o755, 0, EPOCH));
    let text = |name| (of(name).0, of(name).3.as_str());
    assert_eq!(text("opt/tool/share/data/a"), (0o644, "first"));
    assert_eq!(text("opt/tool/share/data/latest").1, "-> a");
    assert_eq!(of("var/tmp").0, 0o1777);
    assert_eq!(text("bin").1, "-> usr/bin");
    assert!(!all.contains_key("opt/tool/junk"));
    let templates = "opt/triton/config-agent/templates";
    for set in ["alertmanager", "prometheus", "resolver"] {
        let manifest = format!("{templates}/{set}/manifest.toml");
        assert_eq!(of(&manifest).0, 0o644);
    }
    let sizes = report["sizes"].as_array().unwrap();
    let tool = sizes.iter().find(|size| size["name"] == "tool").unwrap();
    assert_eq!(tool["version"], "1.2.3");
    let manifest = shop.manifest().display().to_string();
    let verdict = shop.run(&["verify", &manifest]).well().stdout;
    assert!(!verdict.contains("REFUSED"), "{verdict}");
    assert!(verdict.contains("every component pinned"), "{verdict}");
    // Shown by list, too.
    let listed = shop.run(&["list", "--out", "out"]).well().stdout;
    assert!(listed.contains(report["uuid"].as_str().unwrap()), "{listed}");
}

#[test]
fn the_list_of_contents_names_each_part_with_its_digest() {
    let shop = shop();
    shop.build("lx", &[]).well();
    let path = shop.path(format!("out/tiny-lx-{STAMP}.spdx.json"));
    let sbom: Value =
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(sbom["spdxVersion"], "SPDX-2.3");
    let packages = sbom["packages"].as_array().unwrap();
    let found = packages.iter().find(|one| one["name"] == "tool").unwrap();
    assert_eq!(found["licenseDeclared"], "MIT");
    assert_eq!(found["checksums"][0]["checksumValue"], sha256(&tool()));
    let files = sbom["files"].as_array().unwrap();
    let data = files
        .iter()
        .find(|file| file["fileName"] == "./opt/tool/share/data/a")
        .unwrap();
    assert_eq!(data["checksums"][1]["checksumValue"], sha256(b"first"));
    // Each id is one element's, and each relationship leads to one.
    let mut ids: Vec<_> = packages
        .iter()
        .chain(files)
        .map(|one| one["SPDXID"].as_str().unwrap())
        .collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    for relationship in sbom["relationships"].as_array().unwrap() {
        let to = relationship["relatedSpdxElement"].as_str().unwrap();
        assert!(ids.contains(&to), "{to}");
    }
}

/// Every file that a build left, by name.
fn digests(shop: &Workshop) -> BTreeMap<String, String> {
    let digest = |name: String| {
        let bytes = fs::read(shop.path(format!("out/{name}"))).unwrap();
        (name, sha256(&bytes))
    };
    shop.left().into_iter().map(digest).collect()
}

/// Another folder, umask, locale, zone of time and home.
fn build_elsewhere(shop: &Workshop, brand: &str) {
    shop.run(&["fetch", "tiny", "--brand", brand]).well();
    let words = [
        "build", "tiny", "--brand", brand, "--stamp", STAMP, "--out", "out",
        "--proto",
    ];
    let build = shop.command(&words);
    let mut wrapped = super::command("/bin/sh");
    wrapped
        .args(["-c", "umask 077; exec \"$@\"", "sh"])
        .arg(build.get_program())
        .args(build.get_args())
        .current_dir(shop.path(""))
        .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
        .env("TZ", "Asia/Kathmandu")
        .env("LC_ALL", "tr_TR.UTF-8")
        .env("HOME", "/nonexistent")
        .env_remove("CARGO_TARGET_DIR");
    let done = wrapped.output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn the_same_inputs_give_the_same_bytes_for_both_brands() {
    for brand in ["lx", "joyent-minimal"] {
        let (here, there) = (shop(), shop());
        here.build(brand, &["--proto"]).well();
        build_elsewhere(&there, brand);
        let all = digests(&here);
        assert_eq!(all.len(), 5, "{all:?}");
        assert_eq!(all, digests(&there), "{brand}");
    }
}

#[test]
fn a_native_image_is_a_stream_and_a_proto_tar_has_root_and_site() {
    let shop = shop();
    shop.build("joyent-minimal", &["--proto"]).well();
    let name = format!("tiny-{STAMP}");
    let manifest: Value =
        serde_json::from_str(&fs::read_to_string(shop.manifest()).unwrap())
            .unwrap();
    assert_eq!(manifest["type"], "zone-dataset");
    assert_eq!(manifest["os"], "smartos");
    assert!(manifest["files"][0]["dataset_guid"].is_string());
    let path = shop.manifest().display().to_string();
    let verdict = shop.run(&["verify", &path]).well().stdout;
    assert!(verdict.contains("ZFS stream of"), "{verdict}");
    let proto = shop.path(format!("out/tiny-pkg-{STAMP}.tar.gz"));
    let all = members(&proto);
    assert!(all.contains_key("root/etc/motd"));
    assert!(all.contains_key("site/.do-not-delete-me"));
    let template = shop.path(format!("out/tiny-pkg-{STAMP}.json"));
    let template: Value =
        serde_json::from_str(&fs::read_to_string(template).unwrap()).unwrap();
    assert_eq!(template["version"], STAMP);
    assert!(shop.left().contains(&format!("{name}.zfs.gz")));
}

const BARE: &str = r#"
origin = true

[[any.folder]]
path = "/etc/default"
[[any.folder]]
path = "/var/log"
[[any.folder]]
path = "/var/adm"
[[any.text]]
path = "/etc/passwd"
text = "root:x:0:0::/root:/usr/bin/bash"
[[any.text]]
path = "/var/log/ours"
text = ""
"#;

/// On a build host the zone's files are laid on an image that has accounts of
/// its own already.
#[test]
fn a_proto_tar_leaves_the_origins_own_files_alone() {
    let shop = shop();
    let recipe = "image/recipes/tiny.toml";
    let tiny = fs::read_to_string(shop.path(recipe)).unwrap();
    let tiny = format!("include = [\"bare\"]\n{tiny}")
        + "[[any.text]]\npath = \"/var/adm/messages\"\ntext = \"\"\n";
    shop.write(recipe, &tiny);
    shop.write("image/recipes/bare.toml", BARE);
    shop.build("lx", &["--proto"]).well();
    let whole = members(&shop.path(format!("out/tiny-lx-{STAMP}.tar.gz")));
    let proto = members(&shop.path(format!("out/tiny-lx-pkg-{STAMP}.tar.gz")));
    for name in ["etc/passwd", "etc/default", "var/log", "var/log/ours"] {
        assert!(whole.contains_key(name), "{name}");
        assert!(!proto.contains_key(&format!("root/{name}")), "{name}");
    }
    for name in ["etc/motd", "var/adm", "var/adm/messages", "var/tmp"] {
        assert!(proto.contains_key(&format!("root/{name}")), "{name}");
    }
    let file = "[[any.file]]\nfrom = \"smf/lx\"\nto = \"/opt/x\"\n";
    shop.write("image/recipes/bare.toml", BARE.to_owned() + file);
    let words = ["plan", "tiny", "--brand", "lx", "--stamp", STAMP];
    shop.run(&words).refused(&["any.file: 1; wanted folders, texts"]);
}

#[test]
fn a_plan_is_printed_and_a_dry_run_touches_nothing() {
    let shop = shop();
    let words = ["--brand", "lx", "--stamp", STAMP];
    let planned = shop.run(&[&["plan", "tiny", "--json"], &words[..]].concat());
    let plan: Value = serde_json::from_str(&planned.well().stdout).unwrap();
    assert_eq!(plan["version"], STAMP);
    let steps = plan["steps"].as_array().unwrap();
    let tool = steps.iter().find(|step| step["action"] == "component");
    assert_eq!(tool.unwrap()["what"], "tool 1.2.3");
    let words =
        ["build", "tiny", "--dry-run", "--brand", "lx", "--stamp", STAMP];
    let table = shop.run(&words).well().stdout;
    assert!(table.contains("/opt/tool"), "{table}");
    assert!(!shop.path("target").exists());
    assert!(shop.left().is_empty());
    shop.run(&["completion", "bash"]).well();
    let usage = shop.run(&["build", "tiny", "--brand", "bhyve"]);
    assert_eq!(usage.code, Some(64), "{usage:?}");
}

#[test]
fn a_full_cache_needs_no_source() {
    let shop = shop();
    shop.run(&["fetch", "tiny", "--brand", "lx"]).well();
    fs::remove_file(shop.path("tool.tar.gz")).unwrap();
    let words =
        ["build", "tiny", "--brand", "lx", "--stamp", STAMP, "--out", "out"];
    shop.run(&words).well();
    let cached: PathBuf = shop.path("target/image/cache/sha256");
    assert_eq!(fs::read_dir(cached).unwrap().count(), 1);
    // Nothing that it worked with is left.
    let names = fs::read_dir(shop.path("target/image/cache")).unwrap();
    let mut names: Vec<_> =
        names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["last", "sha256"]);
}

/// Built of one commit into one folder: neither takes anything of the other's,
/// and SAPI is offered the native one alone.
#[test]
fn both_brands_in_one_folder() {
    let shop = shop();
    for brand in ["joyent-minimal", "lx"] {
        shop.build(brand, &["--proto"]).well();
    }
    assert_eq!(shop.left().len(), 10, "{:?}", shop.left());
    for (brand, kind) in [("joyent-minimal", "zone-dataset"), ("lx", "docker")]
    {
        let manifest = shop.manifest_of(brand);
        let text = fs::read_to_string(&manifest).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["type"], kind);
        let service = &value["tags"]["smartdc_service"];
        assert_eq!(*service == true, brand == "joyent-minimal");
        let manifest = manifest.display().to_string();
        let verdict = shop.run(&["verify", &manifest]).well().stdout;
        assert!(!verdict.contains("REFUSED"), "{verdict}");
    }
    // The other's file under this one's name is not taken for it.
    let native = shop.manifest_of("joyent-minimal");
    let zfs = native.with_extension("zfs.gz");
    fs::rename(zfs, native.with_extension("tar.gz")).unwrap();
    let native = native.display().to_string();
    let verdict = shop.run(&["verify", &native]).stdout;
    assert!(verdict.contains("no image file beside"), "{verdict}");
}

/// Of our own program, too, what it is made of: the crates of `Cargo.lock`.
#[test]
fn the_list_of_contents_names_the_crates_of_config_agent() {
    let recipe = "[[any.program]]\nname = \"config-agent\"\nto = \"/agent\"\n";
    let shop = Workshop::new(beside(), recipe, "");
    let words = ["--program", "config-agent=/bin/true"];
    let told = ["Cargo.lock: package: could not read", "wanted the crates"];
    shop.build("lx", &words).refused(&told);
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for file in ["Cargo.lock", "agent/Cargo.toml"] {
        shop.write(file, fs::read(ours.join(file)).unwrap());
    }
    shop.build("lx", &words).well();
    let path = shop.path(format!("out/tiny-lx-{STAMP}.spdx.json"));
    let sbom: Value =
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let packages = sbom["packages"].as_array().unwrap();
    let found = packages.iter().find(|one| one["name"] == "tokio").unwrap();
    let version = found["versionInfo"].as_str().unwrap();
    let purl = &found["externalRefs"][0]["referenceLocator"];
    assert_eq!(purl, &format!("pkg:cargo/tokio@{version}"));
    let sum = found["checksums"][0]["checksumValue"].as_str().unwrap();
    let lock = fs::read_to_string(ours.join("Cargo.lock")).unwrap();
    assert!(lock.contains(&format!("checksum = \"{sum}\"")), "{sum}");
    let relations = sbom["relationships"].as_array().unwrap();
    assert!(relations.iter().any(|one| {
        one["spdxElementId"] == "SPDXRef-config-agent"
            && one["relatedSpdxElement"] == found["SPDXID"]
    }));
}
