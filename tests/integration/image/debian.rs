// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The system of LX zones, made by mmdebstrap of the packages of a lock.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::fs;
use std::path::Path;

use localdc::image::workshop::{EPOCH, Ended, STAMP, Workshop, sha256};
use serde_json::Value;
use zone_image::debian::lock::{Deb, Lock};

use super::{beside, command};

const RECIPE: &str = r#"
[[lx.component]]
name = "debian"
to = "/"
"#;

const PINS: &str = r#"
[debian]
version = "12"
licence = "NOASSERTION"
homepage = "https://www.debian.org/"

[debian.lx]
kind = "debian-root"
suite = "bookworm"
epoch = 1760000000
packages = ["procps"]
lock = "debian.lock"
"#;
const LOCK: &str = "image/recipes/debian.lock";
const FETCH: &[&str] = &["fetch", "tiny", "--brand", "lx"];
const BUILD: &[&str] =
    &["build", "tiny", "--brand", "lx", "--stamp", STAMP, "--out", "out"];

/// A workspace whose Debian is asked for at these mirrors alone.
fn shop(mirrors: &[&Path]) -> Workshop {
    let at = |mirror: &&Path| format!("file://{}", mirror.display());
    let mirrors: Vec<_> = mirrors.iter().map(at).collect();
    let pins = match mirrors.is_empty() {
        true => PINS.to_owned(),
        false => format!("{PINS}mirrors = {mirrors:?}\n"),
    };
    Workshop::new(beside(), RECIPE, &pins)
}

/// Runs zone-image in a shell's surroundings.
fn run_in(shop: &Workshop, surroundings: &str, words: &[&str]) -> Ended {
    let zone_image = shop.command(words);
    let script = format!("{surroundings} exec unshare --net \"$@\"");
    let mut wrapped = command("/bin/sh");
    wrapped
        .args(["-c", &script, "sh"])
        .arg(zone_image.get_program())
        .args(zone_image.get_args())
        .current_dir(shop.path(""))
        .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
        .env_remove("CARGO_TARGET_DIR");
    wrapped.output().expect("a shell").into()
}

fn image(shop: &Workshop) -> String {
    let file = shop.path(format!("out/tiny-lx-{STAMP}.tar.gz"));
    sha256(&fs::read(file).unwrap())
}

fn lay(mirror: &Path, deb: &Deb, bytes: &[u8]) {
    let file = mirror.join(&deb.path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, bytes).unwrap();
}

/// Wherever, whenever and by whomever, from whichever mirror, without a
/// network: one lock is one Debian, and the list of contents has its packages.
#[test]
fn a_lock_is_the_same_debian_everywhere() {
    let here = shop(&[]);
    let plan = ["plan", "tiny", "--brand", "lx", "--stamp", STAMP];
    here.run(&plan).refused(&["debian.lock: no debian.lock", "fetch --pin"]);
    here.run(FETCH).refused(&["Debian bookworm has no lock; wanted a file"]);
    here.run(&["fetch", "--pin", "debian", "--brand", "lx"]).well();
    let text = fs::read_to_string(here.path(LOCK)).unwrap();
    let lock = Lock::parse(&text, Path::new(LOCK)).unwrap();
    assert!(lock.has("procps") && lock.has("apt"));
    here.run(&plan).well();
    let again = here.run(FETCH).well();
    assert!(again.stderr.contains(", 0 of them brought"), "{again:?}");
    here.run(BUILD).well();

    // Two other mirrors: of the first nothing but one package came over, and
    // that one with other bytes.
    let mirrors = tempfile::tempdir().unwrap();
    let (bad, good) = (mirrors.path().join("bad"), mirrors.path().join("good"));
    for deb in &lock.deb {
        let kept = format!("target/image/cache/sha256/{}", deb.sha256);
        lay(&good, deb, &fs::read(here.path(kept)).unwrap());
    }
    lay(&bad, &lock.deb[0], b"other bytes");
    let there = shop(&[&bad, &good]);
    there.write(LOCK, &text);
    let surroundings = "umask 077; export TZ=Asia/Kathmandu \
        LC_ALL=tr_TR.UTF-8 HOME=/nonexistent;";
    let cache = ["--cache", "a cache"];
    run_in(&there, surroundings, &[FETCH, &cache].concat()).well();
    fs::remove_dir_all(&good).unwrap();
    run_in(&there, surroundings, &[BUILD, &cache].concat()).well();
    assert_eq!(image(&here), image(&there));

    // Made once: the next build takes what that one kept, and nothing else. A
    // root that this machine makes and the lock does not mean is refused.
    let root = lock.root.as_ref().expect("fetch --pin says which it makes");
    let kept = there.path("a cache/sha256");
    for entry in fs::read_dir(&kept).unwrap().flatten() {
        if entry.file_name() != root.as_str() {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let first = image(&there);
    fs::remove_dir_all(there.path("out")).unwrap();
    run_in(&there, surroundings, &[BUILD, &cache].concat()).well();
    assert_eq!(image(&there), first);
    let other = "0".repeat(64);
    here.write(LOCK, text.replace(root.as_str(), &other));
    let wanted = format!("; wanted {other}");
    here.run(BUILD).refused(&["mmdebstrap makes of its lock", &wanted]);
    assert_eq!(image(&here), first, "the good one is gone");
    here.write(LOCK, &text);

    let sbom = here.path(format!("out/tiny-lx-{STAMP}.spdx.json"));
    let sbom: Value =
        serde_json::from_str(&fs::read_to_string(sbom).unwrap()).unwrap();
    let packages = sbom["packages"].as_array().unwrap();
    for deb in &lock.deb {
        let named = packages.iter().find(|one| one["name"] == *deb.name);
        let named = named.unwrap_or_else(|| panic!("no {}", deb.name));
        let sum = &named["checksums"][0]["checksumValue"];
        assert_eq!(sum, deb.sha256.as_str(), "{}", deb.name);
        assert_eq!(named["versionInfo"], *deb.version);
    }
    // A package that the lock does not have wants another lock.
    let pins = PINS.replace("\"procps\"", "\"procps\", \"nginx-light\"");
    here.write("image/recipes/artifacts.toml", pins);
    here.run(&plan).refused(&["debian.packages: nginx-light; wanted"]);
}

/// A package that is not to be had, or is another, is told by its name; what
/// came stays.
#[test]
fn a_package_that_is_missing_or_another() {
    let mirror = tempfile::tempdir().unwrap();
    let deb = |name: &str, bytes: &[u8]| Deb {
        name: name.into(),
        version: "1.0".into(),
        architecture: "amd64".into(),
        path: format!("debian/pool/main/{name}_1.0_amd64.deb"),
        size: bytes.len() as u64,
        sha256: zone_image::digest::sha256(bytes),
    };
    let debs = ["one", "procps", "two"].map(|name| deb(name, name.as_bytes()));
    let [one, procps, two] = &debs;
    let snapshot = "20260131T235959Z".into();
    let lock = Lock { snapshot, root: None, deb: debs.to_vec() }.to_string();
    lay(mirror.path(), one, b"one");
    lay(mirror.path(), procps, b"pro");
    let shop = shop(&[mirror.path()]);
    shop.write(LOCK, &lock);
    let cached = |deb: &Deb| {
        shop.path(format!("target/image/cache/sha256/{}", deb.sha256))
    };
    let fetch = |words: &[&str]| run_in(&shop, "", FETCH).refused(words);
    let wanted = format!("wanted {}", procps.sha256);
    let told = ["Debian's procps 1.0 is not to be had", &wanted, "snapshot."];
    fetch(&told);
    assert!(cached(one).exists() && !cached(procps).exists());
    lay(mirror.path(), procps, b"procps");
    fetch(&["Debian's two 1.0 is not to be had", "two_1.0_amd64.deb"]);
    assert!(cached(procps).exists());
    run_in(&shop, "", BUILD)
        .refused(&["Debian's two 1.0 is not in the cache; `zone-image fetch`"]);
    lay(mirror.path(), two, b"two");
    run_in(&shop, "", FETCH).well();
    // Rot in the cache is seen when it is used, not only when it comes.
    fs::write(cached(one), "rot").unwrap();
    run_in(&shop, "", BUILD).refused(&["damaged, and removed", "fetch it"]);
    assert!(!cached(one).exists() && shop.left().is_empty());
    // A line of the lock that was bent.
    shop.write(LOCK, lock.replace("size = 3", "size = 4"));
    run_in(&shop, "", FETCH).well();
    run_in(&shop, "", BUILD).refused(&["one 1.0: 3 bytes; wanted 4"]);
    shop.write(LOCK, lock.replace("debian/pool", "../pool"));
    let told = ["debian.lock: deb.one.path: ../pool", "deb.two.path", "wanted"];
    run_in(&shop, "", BUILD).refused(&told);
}
