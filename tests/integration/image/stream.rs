// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Our send streams, received by OpenZFS's own code: what it makes of them is
//! compared with the tree, every name, then sent again by that code and
//! received a second time.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use localdc::image::{folder, zfs};
use tempfile::TempDir;
use zone_image::stream;
use zone_image::tree::{Content, Entry, Kind, Meta, Tree, TreePath};

const META: Meta = Meta { mode: 0o755, uid: 0, gid: 0, mtime: 1_234_567_890 };

/// A tree in the making; `add` panics where a test is wrong.
struct Maker(Tree);

impl Maker {
    fn new() -> Self {
        Self(Tree::new(Meta { mode: 0o700, ..META }))
    }

    fn add(&mut self, path: impl AsRef<[u8]>, kind: Kind) {
        self.add_with(path, kind, META);
    }

    fn add_with(&mut self, path: impl AsRef<[u8]>, kind: Kind, meta: Meta) {
        let path = TreePath::parse(path).unwrap();
        self.0.insert(path, Entry { kind, meta }).unwrap();
    }

    /// Writes, receives, compares.
    fn prove(&self) {
        let dir = TempDir::new().unwrap();
        zfs::prove(&self.0, &dir.path().join("stream")).unwrap();
    }
}

fn bytes(bytes: impl AsRef<[u8]>) -> Kind {
    Kind::File(Content::Bytes(bytes.as_ref().into()))
}

fn link_to(path: &str) -> Kind {
    Kind::HardLink(TreePath::parse(path).unwrap())
}

/// Bytes in which no block repeats.
fn noise(len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(len as u64);
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}

#[test]
fn files_of_every_length_around_a_block() {
    let mut maker = Maker::new();
    for len in [0, 1, 511, 512, 513, 4096, 131_071, 131_072, 131_073, 1_000_000]
    {
        maker.add(format!("noise-{len}"), bytes(noise(len)));
        maker.add(format!("zeros-{len}"), bytes(vec![0; len]));
    }
    let mut gap = noise(500_000);
    gap[131_072..300_000].fill(0);
    maker.add("gap", bytes(gap));
    maker.prove();
}

#[test]
fn ten_thousand_names_in_one_directory() {
    let mut maker = Maker::new();
    maker.add("many", Kind::Directory);
    for number in 0..10_000 {
        maker.add(format!("many/{number}"), bytes(number.to_string()));
    }
    maker.prove();
}

/// So many that names share a hash, and that the table wants larger blocks.
/// Hard links, so that the receiver has one object and not many.
#[test]
fn a_hundred_and_twenty_thousand_names_in_one_directory() {
    let mut maker = Maker::new();
    maker.add("file", bytes("shared"));
    maker.add("many", Kind::Directory);
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..120_000 {
        let name = format!("many/a-name.{:016x}", random.u64(..));
        maker.add(name, link_to("file"));
    }
    maker.prove();
}

/// From the last micro ZAP to the first fat one, by count and by length.
#[test]
fn directories_around_the_change_of_form() {
    let mut maker = Maker::new();
    for count in [0, 1, 7, 8, 2046, 2047, 2048, 2049] {
        maker.add(format!("{count}"), Kind::Directory);
        for number in 0..count {
            maker.add(format!("{count}/{number}"), bytes(""));
        }
    }
    for len in [48, 49, 50, 51, 254, 255] {
        maker.add(format!("long-{len}"), Kind::Directory);
        maker.add(format!("long-{len}/{}", "n".repeat(len)), bytes("x"));
    }
    maker.prove();
}

#[test]
fn names_of_255_bytes_of_utf8_and_of_neither() {
    let mut maker = Maker::new();
    for number in 0..600 {
        let name = format!("{number:0>3}{}", "n".repeat(252));
        maker.add(name, bytes(number.to_string()));
    }
    maker.add("grüße-世界-🦀", bytes("utf-8"));
    maker.add("e\u{301}", bytes("decomposed"));
    maker.add("\u{e9}", bytes("composed"));
    maker.add(b"latin-\xe9\xff\xfe", bytes("no utf-8"));
    maker.add(b"\x01\x02\x7f blank\n\\", bytes("controls"));
    for byte in (1..=255).filter(|byte| !b"./".contains(byte)) {
        maker.add([b'b', byte], bytes([byte]));
    }
    maker.prove();
}

#[test]
fn every_mode_and_owners_up_to_the_last() {
    let mut maker = Maker::new();
    maker.add("files", Kind::Directory);
    maker.add("directories", Kind::Directory);
    for mode in 0..0o1000 {
        let meta = Meta { mode, ..META };
        maker.add_with(format!("files/{mode:o}"), bytes("x"), meta);
        let directory = format!("directories/{mode:o}");
        maker.add_with(directory, Kind::Directory, meta);
    }
    for (name, mode) in [
        ("setuid", 0o4755),
        ("setgid", 0o2755),
        ("sticky", 0o1777),
        ("all", 0o7777),
    ] {
        let meta = Meta { mode, ..META };
        maker.add_with(name, bytes("x"), meta);
        maker.add_with(format!("{name}.d"), Kind::Directory, meta);
    }
    for (name, id) in [("daemon", 1), ("nobody", 60001), ("last", i32::MAX)] {
        let id = id.unsigned_abs();
        let meta = Meta { uid: id, gid: id / 2, ..META };
        maker.add_with(name, bytes("x"), meta);
    }
    for (name, mtime) in [("epoch", 0), ("far", 1 << 33)] {
        maker.add_with(name, bytes("x"), Meta { mtime, ..META });
    }
    maker.prove();
}

#[test]
fn links_around_the_limit_of_the_bonus() {
    let mut maker = Maker::new();
    for len in [1, 7, 8, 9, 112, 113, 143, 144, 145, 200, 504, 505, 1023] {
        let target = "t".repeat(len);
        maker.add(format!("to-{len}"), Kind::Symlink(target.into_bytes()));
    }
    maker.add("raw", Kind::Symlink(b"../\xff/..".to_vec()));
    maker.prove();
}

#[test]
fn hard_links_across_directories() {
    let mut maker = Maker::new();
    for directory in ["a", "b", "b/c"] {
        maker.add(directory, Kind::Directory);
    }
    maker.add("b/file", bytes("linked"));
    maker.add("a/before", link_to("b/file"));
    maker.add("b/beside", link_to("b/file"));
    maker.add("b/c/below", link_to("b/file"));
    maker.add("other", bytes("linked"));
    maker.prove();
}

#[test]
fn a_deep_tree() {
    let mut maker = Maker::new();
    let mut path = String::new();
    while path.len() < 1020 {
        path.push_str("d/");
        maker.add(path.trim_end_matches('/'), Kind::Directory);
    }
    maker.add(format!("{path}f"), bytes("deep"));
    maker.prove();
}

#[test]
fn a_sparse_file_of_four_gib() {
    const LEN: u64 = 4 << 30;
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("sparse");
    let file = File::create(&path).unwrap();
    file.set_len(LEN).unwrap();
    for at in [1, 3 << 30, LEN - 3] {
        file.write_all_at(b"abc", at).unwrap();
    }
    let mut maker = Maker::new();
    let content = Content::OnDisk { path, offset: 0, len: LEN };
    maker.add("sparse", Kind::File(content));
    let stream = dir.path().join("stream");
    zfs::prove(&maker.0, &stream).unwrap();
    let len = fs::metadata(&stream).unwrap().len();
    assert!(len < 1 << 20, "the holes were written: {len} bytes");
}

#[test]
fn a_real_tree_as_the_dataset_of_an_image() {
    let guest = folder::tree(Path::new("/usr/share/doc")).unwrap();
    assert!(guest.len() > 100, "{} names", guest.len());
    let tree = stream::dataset(&guest, &["site"], 0).unwrap();
    let dir = TempDir::new().unwrap();
    zfs::prove(&tree, &dir.path().join("stream")).unwrap();
}

#[test]
fn a_damaged_stream_and_a_cut_one_are_refused() {
    let mut maker = Maker::new();
    maker.add("file", bytes(noise(300_000)));
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("stream");
    zfs::prove(&maker.0, &path).unwrap();
    let good = fs::read(&path).unwrap();

    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    fs::write(&path, flipped).unwrap();
    let error = zfs::receive(&path).unwrap_err().to_string();
    assert!(error.contains("receive stream"), "{error}");

    fs::write(&path, &good[..good.len() - 312]).unwrap();
    let error = zfs::receive(&path).unwrap_err().to_string();
    assert!(error.contains("receive stream"), "{error}");
}
