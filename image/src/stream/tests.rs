// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Streams against our own reader. That ZFS reads them alike is proven in
//! `tests/integration/image`, by OpenZFS's own code.

use proptest::prelude::*;

use super::*;

const META: Meta = Meta { mode: 0o644, uid: 0, gid: 0, mtime: 5 };

fn file(bytes: &[u8]) -> Kind {
    Kind::File(Content::Bytes(bytes.into()))
}

fn tree(names: &[(&str, Kind)]) -> Tree {
    let mut tree = Tree::new(Meta { mode: 0o700, ..META });
    for (path, kind) in names {
        let entry = Entry { kind: kind.clone(), meta: META };
        tree.insert(TreePath::parse(path).unwrap(), entry).unwrap();
    }
    tree
}

fn written(tree: &Tree) -> Vec<u8> {
    let options = Options { guid: guid(tree).unwrap(), created: 77 };
    let mut stream = Vec::new();
    let len = write(tree, &options, &mut stream).unwrap();
    assert_eq!(len, stream.len() as u64);
    stream
}

fn small() -> Tree {
    tree(&[
        ("d", Kind::Directory),
        ("d/file", file(&[1; 600])),
        ("empty", file(b"")),
        ("hole", file(&[0; 200_000])),
        ("large", file(&[2; 200_000])),
        ("link", Kind::Symlink(vec![b't'; 300])),
        ("same", Kind::HardLink(TreePath::parse("d/file").unwrap())),
    ])
}

#[test]
fn a_stream_passes_its_own_check() {
    let tree = small();
    let stream = written(&tree);
    let verified = verify(&stream[..]).unwrap();
    assert_eq!(
        verified,
        Verified {
            guid: guid(&tree).unwrap().get(),
            from_guid: None,
            created: 77,
            name: "image@final".to_owned(),
            // Five masters, the root, one each but for the further name.
            objects: 5 + 1 + 6,
            // Their ZAPs and two directories, 1,024 of 600, two blocks, a spill.
            data_bytes: verified.data_bytes,
            len: stream.len() as u64,
        }
    );
    assert!(verified.data_bytes < 1024 + 2 * 131_072 + 40_000);
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    assert!(written(&small()) == written(&small()));
}

#[test]
fn the_guid_follows_every_byte_and_every_fact() {
    let one = tree(&[("a", file(b"x"))]);
    let mut others = vec![
        tree(&[("a", file(b"y"))]),
        tree(&[("b", file(b"x"))]),
        tree(&[("a", file(b"x\0"))]),
        tree(&[("a", Kind::Symlink(b"x".to_vec()))]),
        Tree::new(META),
    ];
    for meta in [
        Meta { mode: 0o600, ..META },
        Meta { uid: 1, ..META },
        Meta { gid: 1, ..META },
        Meta { mtime: 1, ..META },
    ] {
        let mut tree = Tree::new(Meta { mode: 0o700, ..META });
        let entry = Entry { kind: file(b"x"), meta };
        tree.insert(TreePath::parse("a").unwrap(), entry).unwrap();
        others.push(tree);
    }
    let first = guid(&one).unwrap();
    let same = tree(&[("a", file(b"x"))]);
    assert_eq!(guid(&same).unwrap(), first);
    for other in others {
        assert_ne!(guid(&other).unwrap(), first, "{other:?}");
    }
}

#[test]
fn what_no_stream_can_say_is_refused_with_its_path() {
    let mut tree = Tree::new(META);
    let meta = Meta { gid: 1 << 31, ..META };
    let entry = Entry { kind: file(b""), meta };
    tree.insert(TreePath::parse("f").unwrap(), entry).unwrap();
    let options = Options { guid: NonZeroU64::MIN, created: 0 };
    let error = write(&tree, &options, io::sink()).unwrap_err();
    assert!(error.to_string().starts_with("/f: owner 2147483648"), "{error}");

    let tree = Tree::new(Meta { mode: 0o40755, ..META });
    let error = write(&tree, &options, io::sink()).unwrap_err();
    assert!(matches!(error, StreamError::BadMode { .. }), "{error}");
}

/// Takes a few bytes, then no more.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        match taken {
            0 => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_an_error_wherever_it_comes() {
    let tree = small();
    let len = written(&tree).len();
    let options = Options { guid: NonZeroU64::MIN, created: 0 };
    for room in (0..len).step_by(4099) {
        let error = write(&tree, &options, Full(room)).unwrap_err();
        assert!(matches!(error, StreamError::Sink(_)), "{room}: {error}");
    }
}

#[test]
fn a_dataset_holds_the_guest_below_root() {
    let guest = tree(&[
        ("etc", Kind::Directory),
        ("etc/z", file(b"x")),
        ("a", Kind::HardLink(TreePath::parse("etc/z").unwrap())),
    ]);
    let tree = dataset(&guest, &["site"], 9).unwrap();
    let names: Vec<String> = tree
        .iter()
        .map(|(path, entry)| format!("{path} {:o}", entry.meta.mode))
        .collect();
    assert_eq!(
        names,
        [
            "/ 700",
            "/cores 755",
            "/root 700",
            "/root/a 644",
            "/root/etc 644",
            "/root/etc/z 644",
            "/site 755",
        ]
    );
}

#[test]
fn a_stream_of_others_kind_is_told_from_ours() {
    let good = written(&small());
    // BEGIN carries no checksum, so the fields below are judged by value.
    for (at, byte, what) in [
        (8, 0, "does not begin"),
        (16, 0x12, "-R or -p"),
        (18, 0x40, "features 0x100004"),
        (32, 3, "no file system"),
        (62, b'x', "not @final"),
    ] {
        let mut bad = good.clone();
        bad[at] = byte;
        let error = verify(&bad[..]).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    let mut bad = good.clone();
    bad.push(0);
    let error = verify(&bad[..]).unwrap_err().to_string();
    assert!(error.contains("more follows"), "{error}");
}

#[test]
fn a_flipped_bit_is_found_where_it_is() {
    let good = written(&small());
    let mut bad = good.clone();
    bad[312 + 100] ^= 1;
    let error = verify(&bad[..]).unwrap_err();
    assert!(matches!(error, VerifyError::Checksum { at: 312 }), "{error}");
}

/// A stream of BEGIN and records with good sums: type, then number and bytes
/// of each field that is not zero, by its offset.
fn forge(records: &[(u32, &[(usize, u64)])]) -> String {
    let mut sums = fletcher::Fletcher4::default();
    let mut stream = written(&small());
    stream.truncate(312);
    sums.update(&stream);
    for (kind, fields) in records {
        let mut header = vec![0; record::CHECKSUM_AT];
        header[..4].copy_from_slice(&kind.to_le_bytes());
        for (offset, value) in *fields {
            let at = record::FIELDS_AT + offset;
            header[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        sums.update(&header);
        let checksum = sums.to_bytes();
        sums.update(&checksum);
        stream.extend([&header[..], &checksum].concat());
    }
    verify(&stream[..]).unwrap_err().to_string()
}

#[test]
fn forged_lengths_and_places_are_refused() {
    let guid = guid(&small()).unwrap().get();
    // Object 1 with blocks of 512 bytes and a spill block.
    let object = (1, &[(0, 1), (16, 512), (24, 4 << 24), (32, guid)][..]);
    for len in [0, 1, 511, 1 << 18, 1 << 40, u64::MAX] {
        let spill = (7, &[(0, 1), (8, len), (16, guid)][..]);
        let error = forge(&[object, spill]);
        assert!(error.contains(&format!("block of {len} bytes")), "{error}");
        let write = (3, &[(0, 1), (24, len), (32, guid)][..]);
        let error = forge(&[object, write]);
        assert!(error.contains("not a plain block"), "{error}");
    }
    for offset in [1, 511, u64::MAX - 511] {
        let write = (3, &[(0, 1), (16, offset), (24, 512), (32, guid)][..]);
        let error = forge(&[object, write]);
        assert!(error.contains("no block begins"), "{error}");
    }
    for (field, what) in [
        ((16, 513), "blocks of 513"),
        ((16, 1 << 20), "blocks of 1048576"),
        ((16, 512 | 321 << 32), "bonus of 321"),
    ] {
        let error = forge(&[(1, &[(0, 1), field, (32, guid)])]);
        assert!(error.contains(what), "{error}");
    }
    for kind in [3, 7] {
        let error = forge(&[object, (kind, &[(0, 2), (8, 512), (24, 512)])]);
        assert!(error.contains("out of turn"), "{error}");
    }
}

/// Bytes of a file: runs of zeros and of others, some longer than a block.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let run = (prop_oneof![Just(0), any::<u8>()], 0_usize..150_000);
    prop::collection::vec(run, 0..4).prop_map(|runs| {
        let run = |(byte, len)| std::iter::repeat_n(byte, len);
        runs.into_iter().flat_map(run).collect()
    })
}

/// A name of a tree: of any bytes, and what it stands for.
fn name() -> impl Strategy<Value = (Vec<u8>, Kind)> {
    let byte = (1_u8..).prop_filter("of one name", |byte| *byte != b'/');
    let name = prop::collection::vec(byte, 1..256);
    let kind = prop_oneof![
        content().prop_map(|bytes| file(&bytes)),
        prop::collection::vec(1_u8.., 1..1024).prop_map(Kind::Symlink),
        Just(Kind::Directory),
    ];
    (name, kind)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_tree_becomes_a_good_stream(
        names in prop::collection::vec(name(), 0..12),
        (uid, gid) in (0_u32..1 << 31, 0_u32..1 << 31),
        (mode, mtime) in (0_u16..0o10000, any::<u64>()),
    ) {
        let meta = Meta { mode, uid, gid, mtime };
        let mut tree = Tree::new(meta);
        let mut folder = TreePath::root();
        for (name, kind) in names {
            let path = TreePath::parse(name).and_then(|path| path.below(&folder));
            let Ok(path) = path else { continue };
            let is_directory = kind == Kind::Directory;
            let added = tree.insert(path.clone(), Entry { kind, meta });
            if added.is_ok() && is_directory {
                folder = path;
            }
        }
        let verified = verify(&written(&tree)[..]);
        prop_assert_eq!(verified.unwrap().objects, 5 + tree.len() as u64);
    }

    #[test]
    fn a_changed_bit_is_found(at in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let good = written(&small());
        let mut bad = good.clone();
        let at = at.index(good.len());
        bad[at] ^= 1_u8 << bit;
        let verified = verify(&bad[..]);
        prop_assert!(verified.is_err(), "byte {at}");
    }

    #[test]
    fn a_cut_stream_is_found(at in any::<prop::sample::Index>()) {
        let good = written(&small());
        let cut = verify(&good[..at.index(good.len())]);
        prop_assert!(matches!(cut, Err(VerifyError::Cut { .. })), "{cut:?}");
    }

    #[test]
    fn noise_after_a_good_begin_never_panics(
        noise in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let mut stream = written(&small());
        stream.truncate(312);
        stream.extend_from_slice(&noise);
        prop_assert!(verify(&stream[..]).is_err());
    }

    /// Headers with good sums and any fields: past the checksum, where the
    /// lengths are.
    #[test]
    fn forged_records_never_panic(
        forged in prop::collection::vec(forged(), 0..20),
    ) {
        let mut sums = fletcher::Fletcher4::default();
        let mut stream = written(&small());
        stream.truncate(312);
        sums.update(&stream);
        for (mut fields, payload) in forged {
            fields.resize(record::CHECKSUM_AT, 0);
            sums.update(&fields);
            let checksum = sums.to_bytes();
            sums.update(&checksum);
            sums.update(&payload);
            stream.extend([&fields[..], &checksum, &payload].concat());
        }
        prop_assert!(verify(&stream[..]).is_err());
    }
}

/// A header and a payload: of any kind, with lengths that often agree.
fn forged() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let len = prop_oneof![Just(0_u32), Just(512), any::<u32>()];
    (0_u32..12, len, any::<[u8; 32]>(), 0_usize..2).prop_map(
        |(kind, len, noise, blocks)| {
            let mut header = vec![0; 8];
            header[..4].copy_from_slice(&kind.to_le_bytes());
            header.extend_from_slice(&noise[..16]);
            header.extend_from_slice(&len.to_le_bytes());
            header.extend_from_slice(&noise[16..]);
            (header, vec![0; 512 * blocks])
        },
    )
}
