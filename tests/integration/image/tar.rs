// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Our tars, gzipped by us, unpacked by gzip and GNU tar as imgadm does it.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use localdc::image::folder;
use tempfile::TempDir;
use zone_image::gzip::Gzip;
use zone_image::output::Output;
use zone_image::tar;
use zone_image::tree::{Content, Entry, Kind, Meta, Tree, TreePath};

const META: Meta = Meta { mode: 0o755, uid: 0, gid: 0, mtime: 1_234_567_890 };

fn add(tree: &mut Tree, path: impl AsRef<[u8]>, kind: Kind, meta: Meta) {
    let path = TreePath::parse(path).unwrap();
    tree.insert(path, Entry { kind, meta }).unwrap();
}

fn bytes(bytes: &[u8]) -> Kind {
    Kind::File(Content::Bytes(bytes.into()))
}

#[expect(clippy::disallowed_methods, reason = "GNU tar is the judge")]
fn gnu_tar(archive: &Path, arguments: &[&str]) -> String {
    let output = Command::new("tar")
        .args(["--gzip", "--numeric-owner", "--quoting-style=escape"])
        .args(["--full-time", "--warning=no-timestamp", "--file"])
        .arg(archive)
        .args(arguments)
        .env("TZ", "UTC")
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn write(tree: &Tree, archive: &Path) {
    let output = Output::create(archive).unwrap();
    let mut gzip = Gzip::new(output, NonZeroUsize::new(3).unwrap()).unwrap();
    tar::write(tree, &mut gzip).unwrap();
    let facts = gzip.finish().unwrap().commit().unwrap();
    assert_eq!(facts.size, fs::metadata(archive).unwrap().len());
}

/// Names with everything that a format can get wrong.
fn hard() -> Tree {
    let mut tree = Tree::new(META);
    for len in [98, 99, 100, 101, 155, 255] {
        let name = "n".repeat(len);
        add(&mut tree, &name, Kind::Directory, META);
        add(&mut tree, format!("{name}/{name}"), bytes(b"long"), META);
        let link = Kind::Symlink("t/".repeat(len / 2).into_bytes());
        add(&mut tree, format!("{name}/link"), link, META);
        let file = TreePath::parse(format!("{name}/{name}")).unwrap();
        add(&mut tree, format!("h-{len}"), Kind::HardLink(file), META);
    }
    add(&mut tree, "grüße", bytes(b"utf-8"), META);
    add(&mut tree, b"latin-\xe9", bytes(b"no utf-8"), META);
    add(&mut tree, "odd", Kind::Symlink(b"a//b/./c/".to_vec()), META);
    let setuid = Meta { mode: 0o4711, ..META };
    add(&mut tree, "setuid", bytes(&[7; 100_000]), setuid);
    let far = Meta { uid: 3_000_000, gid: 4_000_000, mtime: 1 << 33, ..META };
    add(&mut tree, "far", bytes(b""), far);
    tree
}

#[test]
fn gnu_tar_unpacks_what_the_tree_says() {
    let dir = TempDir::new().unwrap();
    let (archive, out) = (dir.path().join("tar.gz"), dir.path().join("out"));
    fs::create_dir(&out).unwrap();
    let tree = hard();
    write(&tree, &archive);
    let out_text = out.to_str().unwrap();
    gnu_tar(
        &archive,
        &[
            "--extract",
            "--same-permissions",
            "--no-same-owner",
            "--directory",
            out_text,
        ],
    );
    let unpacked = folder::tree(&out).unwrap();
    assert_eq!(unpacked.len(), tree.len());
    for (path, entry) in tree.iter().skip(1) {
        let seen = unpacked.get(path).unwrap();
        let mode = match entry.kind {
            Kind::Symlink(_) => 0o777,
            _ => entry.meta.mode,
        };
        assert_eq!(seen.meta.mode, mode, "{path}");
        assert_eq!(seen.meta.mtime, entry.meta.mtime, "{path}");
        check_kind(path, entry, seen);
    }
    let names = |name: &str| fs::metadata(out.join(name)).unwrap();
    assert_eq!(names("h-100").nlink(), 2);
    let long = "n".repeat(100);
    assert_eq!(names("h-100").ino(), names(&format!("{long}/{long}")).ino());
}

fn check_kind(path: &TreePath, wanted: &Entry, seen: &Entry) {
    match (&wanted.kind, &seen.kind) {
        (Kind::File(content), Kind::File(Content::OnDisk { path, .. })) => {
            let Content::Bytes(bytes) = content else { unreachable!() };
            assert!(fs::read(path).unwrap() == bytes[..], "{path:?}");
        }
        (Kind::HardLink(_), Kind::File(_)) => {}
        (wanted, seen) => assert_eq!(seen, wanted, "{path}"),
    }
}

#[test]
fn gnu_tar_lists_owners_by_number_and_names_sorted() {
    let dir = TempDir::new().unwrap();
    let archive = dir.path().join("tar.gz");
    let tree = hard();
    write(&tree, &archive);
    let list = gnu_tar(&archive, &["--list", "--verbose"]);
    let far = list.lines().find(|line| line.ends_with(" far")).unwrap();
    assert!(far.starts_with("-rwxr-xr-x 3000000/4000000"), "{far}");
    assert!(far.contains("2242-03-16 12:56:32"), "{far}");
    let names = gnu_tar(&archive, &["--list"]);
    let first: Vec<&str> = names.lines().take(3).collect();
    assert_eq!(first, ["far", "gr\\303\\274\\303\\237e", "h-100"]);
}
