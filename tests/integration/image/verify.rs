// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Whatever is changed about an image is noticed, and who signed it counts.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use localdc::image::workshop::{STAMP, Workshop};
use serde_json::{Value, json};

use super::{beside, command};

const RECIPE: &str = "[[any.text]]\npath = \"/etc/motd\"\ntext = \"hi\"\n";

fn built(brand: &str, more: &[&str]) -> Workshop {
    let shop = Workshop::new(beside(), RECIPE, "");
    shop.build(brand, more).well();
    shop
}

/// The verdicts that are not ok.
fn faults(shop: &Workshop, more: &[&str]) -> Vec<(String, String)> {
    let manifest = shop.manifest().display().to_string();
    let words = [&["verify", "--json", &manifest], more].concat();
    let ended = shop.run(&words);
    let verdicts: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    let bad: Vec<_> = verdicts
        .iter()
        .filter(|verdict| verdict["ok"] == false)
        .map(|verdict| {
            let text = |key: &str| verdict[key].as_str().unwrap().to_owned();
            (text("what"), text("found"))
        })
        .collect();
    assert_eq!(ended.code, Some(i32::from(!bad.is_empty())), "{bad:?}");
    bad
}

fn change(path: &Path, act: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    act(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn change_manifest(shop: &Workshop, act: impl FnOnce(&mut Value)) {
    let text = fs::read_to_string(shop.manifest()).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    act(&mut value);
    fs::write(shop.manifest(), value.to_string()).unwrap();
}

#[test]
fn a_changed_file_is_told_by_digest_and_framing() {
    for (brand, ending) in [("lx", "tar.gz"), ("joyent-minimal", "zfs.gz")] {
        let shop = built(brand, &[]);
        assert_eq!(faults(&shop, &[]), []);
        let file = shop.manifest().with_extension(ending);
        change(&file, |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x55;
        });
        let bad = faults(&shop, &[]);
        let whats: Vec<_> = bad.iter().map(|bad| bad.0.as_str()).collect();
        assert_eq!(whats, ["file", "contents"], "{bad:?}");
        assert!(bad[0].1.contains("sha1"), "{bad:?}");
        change(&file, |bytes| bytes.truncate(bytes.len() / 2));
        assert!(faults(&shop, &[])[0].1.contains("bytes; wanted"));
        fs::remove_file(&file).unwrap();
        assert!(faults(&shop, &[])[0].1.contains("no image file beside"));
    }
}

/// SHA-1 alone would let another file by.
#[test]
fn a_file_of_another_sha256_is_told() {
    let shop = built("lx", &[]);
    change_manifest(&shop, |manifest| {
        manifest["tags"]["triton.file.sha256"] = json!("0".repeat(64));
    });
    let bad = faults(&shop, &[]);
    assert_eq!(bad[0].0, "file");
    assert!(bad[0].1.contains("triton.file.sha256: wanted 000"), "{bad:?}");
    change_manifest(&shop, |manifest| {
        manifest["tags"]["triton.unpinned"] = json!("tool");
    });
    assert_eq!(faults(&shop, &[])[1].0, "pins");
    assert_eq!(faults(&shop, &["--allow-unpinned"]).len(), 1);
}

#[test]
fn a_changed_list_of_contents_is_told() {
    let shop = built("lx", &[]);
    let sbom = shop.path(format!("out/tiny-lx-{STAMP}.spdx.json"));
    change(&sbom, |bytes| bytes.push(b'\n'));
    let bad = faults(&shop, &[]);
    assert_eq!(bad[0].0, "sbom");
    assert!(bad[0].1.contains("sha256"), "{bad:?}");
}

#[test]
fn a_manifest_that_a_server_would_refuse_is_told_in_full() {
    let shop = built("lx", &[]);
    change_manifest(&shop, |manifest| {
        manifest["provenance"] = json!("ours");
        manifest["uuid"] = json!("5E1C7A52-0C1B-4C55-9A6E-3D2F6F0B7A11");
        manifest["requirements"]["ram"] = json!(1024);
        manifest["files"][0]["compression"] = json!("zstd");
        manifest["nic_driver"] = json!("virtio");
        manifest["tags"]["list"] = json!([1]);
    });
    let bad = faults(&shop, &[]);
    let found = &bad[0].1;
    for words in [
        "provenance: \"ours\"; wanted no such field",
        "uuid: \"5E1C7A52",
        "requirements.ram: 1024; wanted",
        "files[0].compression: \"zstd\"; wanted one of gzip",
        "nic_driver: \"virtio\"; wanted none: of a zvol alone",
        "tags.list: [1]; wanted a string, number or boolean",
    ] {
        assert!(found.contains(words), "no {words:?} in {found}");
    }
}

fn key(shop: &Workshop, name: &str) -> PathBuf {
    let path = shop.path(name);
    let made = command("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    path
}

fn signers(shop: &Workshop, key: &Path) -> PathBuf {
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    let list = shop.path("signers");
    fs::write(&list, format!("ops@example.com {public}")).unwrap();
    list
}

#[test]
fn a_signature_is_by_someone_who_may_sign_or_the_image_is_refused() {
    let shop = Workshop::new(beside(), RECIPE, "");
    let ours = key(&shop, "ours");
    let shown = ours.display().to_string();
    shop.build("lx", &["--sign", &shown]).well();
    let list = signers(&shop, &ours).display().to_string();
    let by = ["--signers", list.as_str()];
    assert_eq!(faults(&shop, &by), []);
    let manifest = shop.manifest().display().to_string();
    let told = shop.run(&["verify", &manifest, by[0], by[1]]).well().stdout;
    assert!(told.contains("by ops@example.com"), "{told}");
    // Another manifest under the same signature.
    change_manifest(&shop, |manifest| {
        manifest["description"] = json!("changed");
    });
    assert_eq!(faults(&shop, &by)[0].0, "signature");
    // A stranger's.
    let shop = Workshop::new(beside(), RECIPE, "");
    let stranger = key(&shop, "stranger").display().to_string();
    shop.build("lx", &["--sign", &stranger]).well();
    let bad = faults(&shop, &by);
    assert_eq!(bad[0].0, "signature", "{bad:?}");
    assert!(bad[0].1.contains("wanted a signature of one in"), "{bad:?}");
    // None.
    fs::remove_file(shop.manifest().with_extension("imgmanifest.sig")).unwrap();
    assert_eq!(faults(&shop, &by)[0].0, "signature");
    assert_eq!(faults(&shop, &[]), []);
}

#[test]
fn a_key_that_cannot_sign_leaves_no_image() {
    let shop = Workshop::new(beside(), RECIPE, "");
    let bad = shop.path("bad");
    fs::write(&bad, "no key").unwrap();
    fs::set_permissions(&bad, fs::Permissions::from_mode(0o600)).unwrap();
    let bad = bad.display().to_string();
    shop.build("lx", &["--sign", &bad]).refused(&["could not sign"]);
    assert!(shop.left().is_empty(), "{:?}", shop.left());
}

/// Nobody is there to be asked: told at once, before anything is built.
#[test]
fn a_key_with_a_passphrase_does_not_hang_a_build() {
    let shop = Workshop::new(beside(), RECIPE, "");
    let path = shop.path("locked");
    let made = command("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "secret", "-f"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let begun = std::time::Instant::now();
    let words = ["--sign", &path.display().to_string()];
    let ended = shop.build("lx", &words).refused(&["could not sign"]);
    assert!(begun.elapsed().as_secs() < 30, "{ended:?}");
    assert!(!ended.stderr.contains("/etc/motd"), "{ended:?}");
    assert!(shop.left().is_empty(), "{:?}", shop.left());
}
