// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Our send stream in a kernel with the ZFS module: received, mounted, read,
//! scrubbed, sent and received again, changed, cloned, rolled back.
//! `make test-zfs` runs it: it takes minutes.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use localdc::image::folder;
use localdc::image::zfs::{Received, compare, escape};
use tempfile::TempDir;
use zone_image::stream::{self, Options};
use zone_image::tree::{Content, Entry, Kind, Meta, Tree, TreePath};

const META: Meta = Meta { mode: 0o755, uid: 0, gid: 0, mtime: 1_234_567_890 };

fn add(tree: &mut Tree, path: impl AsRef<[u8]>, kind: Kind) {
    add_with(tree, path, kind, META);
}

fn add_with(tree: &mut Tree, path: impl AsRef<[u8]>, kind: Kind, meta: Meta) {
    let path = TreePath::parse(path).unwrap();
    tree.insert(path, Entry { kind, meta }).unwrap();
}

fn bytes(bytes: impl AsRef<[u8]>) -> Kind {
    Kind::File(Content::Bytes(bytes.as_ref().into()))
}

/// All that differs in the stream, and a folder of this machine.
fn tree() -> Tree {
    let mut tree = Tree::new(Meta { mode: 0o700, ..META });
    for (directory, count, len) in
        [("micro", 2047, 1), ("fat", 6000, 1), ("long", 300, 255)]
    {
        add(&mut tree, directory, Kind::Directory);
        for number in 0..count {
            let name = format!("{directory}/{number:n>len$}");
            add(&mut tree, name, bytes(number.to_string()));
        }
    }
    add(&mut tree, "links", Kind::Directory);
    for len in [1, 143, 144, 145, 1023] {
        let target = "t".repeat(len).into_bytes();
        add(&mut tree, format!("links/to-{len}"), Kind::Symlink(target));
    }
    add(&mut tree, "modes", Kind::Directory);
    for mode in (0..0o1000).chain([0o4755, 0o2755, 0o1777, 0o7777]) {
        let meta = Meta { mode, uid: 7, gid: 8, ..META };
        add_with(&mut tree, format!("modes/{mode:o}"), bytes("x"), meta);
    }
    let large: Vec<u8> = (0..700_001_u32).map(|n| n.to_le_bytes()[1]).collect();
    add(&mut tree, "large", bytes(large));
    let file = TreePath::parse("large").unwrap();
    add(&mut tree, "links/large", Kind::HardLink(file));
    add(&mut tree, "zeros", bytes(vec![0; 3_000_000]));
    add(&mut tree, "empty", bytes(""));
    add(&mut tree, "grüße", bytes("utf-8"));
    let real = folder::tree(Path::new("/etc")).unwrap();
    let base = TreePath::parse("etc").unwrap();
    for (path, entry) in real.iter() {
        tree.insert(path.below(&base).unwrap(), entry.clone()).unwrap();
    }
    tree
}

#[expect(clippy::disallowed_methods, reason = "the machine starts here")]
fn run(job: &Path, out: &Path) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    Command::new(root.join("tests/tools/zfs-vm.sh"))
        .arg("run")
        .args([job, out])
        .status()
        .unwrap()
        .success()
}

/// What the job listed of a dataset.
fn listed(out: &Path, dataset: &str) -> BTreeMap<String, Received> {
    let read = |name: &str| {
        fs::read_to_string(out.join(format!("{dataset}.{name}"))).unwrap()
    };
    let mut bodies: BTreeMap<String, String> = BTreeMap::new();
    for line in read("digests").lines() {
        let (digest, path) = line.split_once("  ").unwrap();
        bodies.insert(path.to_owned(), digest.to_owned());
    }
    for line in read("links").lines() {
        let (path, target) = line.split_once(" -> ").unwrap();
        let target = escape(target.trim_matches('\'').as_bytes());
        bodies.insert(path.trim_matches('\'').to_owned(), target);
    }
    let names = read("names");
    let lines: Vec<Vec<&str>> =
        names.lines().map(|line| line.splitn(8, ' ').collect()).collect();
    let objects: BTreeMap<&str, u64> =
        lines.iter().map(|line| (line[7], line[6].parse().unwrap())).collect();
    let received = |line: &Vec<&str>| {
        let path = line[7];
        let mode = u32::from_str_radix(line[0], 16).unwrap();
        let parent = path.rsplit_once('/').map_or(".", |(parent, _)| parent);
        let facts = format!("{mode:06o} {} ", line[1..5].join(" "));
        let received = Received {
            facts: format!("{facts}{}.000000000", line[5]),
            object: objects[path],
            parent: objects[parent],
            body: bodies.get(path).cloned().unwrap_or("-".to_owned()),
        };
        let name = path.strip_prefix('.').unwrap();
        let name = if name.is_empty() { "/" } else { name };
        (escape(name.as_bytes()), received)
    };
    lines.iter().map(received).collect()
}

#[test]
#[ignore = "needs a virtual machine, minutes to make: make test-zfs runs it"]
fn the_kernel_module_takes_our_stream() {
    let dir = TempDir::new().unwrap();
    let (job, out) = (dir.path().join("job"), dir.path().join("out"));
    fs::create_dir(&job).unwrap();
    let tree = tree();
    let guid = stream::guid(&tree).unwrap();
    let options = Options { guid, created: 1_700_000_000 };
    let mut image = Vec::new();
    stream::write(&tree, &options, &mut image).unwrap();
    fs::write(job.join("image.zfs"), &image).unwrap();
    fs::write(job.join("cut.zfs"), &image[..image.len() - 312]).unwrap();
    let middle = image.len() / 2;
    image[middle] ^= 1;
    fs::write(job.join("flipped.zfs"), &image).unwrap();
    fs::write(job.join("job.sh"), include_str!("machine.sh")).unwrap();

    let succeeded = run(&job, &out);
    let log = fs::read_to_string(out.join("log")).unwrap();
    println!("{log}");
    assert!(succeeded);
    assert!(log.contains(&guid.to_string()), "the snapshot has our guid");
    assert!(log.contains("stream: checksum mismatch"), "flipped.zfs");
    assert!(log.contains("stream: incomplete stream"), "cut.zfs");
    for dataset in ["first", "second", "clone"] {
        compare(&tree, &listed(&out, dataset))
            .unwrap_or_else(|error| panic!("{dataset}: {error}"));
    }
}
