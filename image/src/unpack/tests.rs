// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Archives that mean ill, one by one and by the thousand.

use ::tar::{Builder, EntryType, Header};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A member: its kind, its name, its target or its bytes.
type Member<'a> = (EntryType, &'a str, &'a [u8]);

/// By hand: the crate would refuse what is to be refused by us.
fn tar(members: &[Member<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for &(kind, name, more) in members {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        let link = matches!(kind, EntryType::Symlink | EntryType::Link);
        let body = if link { &[] } else { more };
        if link {
            header.as_mut_bytes()[157..157 + more.len()].copy_from_slice(more);
        }
        header.set_size(body.len() as u64);
        header.set_cksum();
        builder.append(&header, body).unwrap();
    }
    builder.into_inner().unwrap()
}

fn how(whole: bool) -> How {
    let name = "evil".into();
    How { name, strip: 0, epoch: 0, owners: false, whole, without: &[] }
}

/// On disk and as a stream: both judge alike.
fn both(bytes: &[u8], whole: bool) -> Result<Tree> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("evil.tar");
    std::fs::write(&file, bytes).unwrap();
    let read = read(&file, &how(whole));
    let judged = judge(bytes, &how(whole));
    if let Ok(tree) = &read {
        let said = format!("{judged:?}");
        assert_eq!(judged.expect(&said).0, tree.len() - 1);
    } else {
        judged.unwrap_err();
    }
    read
}

fn refused(members: &[Member<'_>], words: &str) {
    let error = both(&tar(members), false).unwrap_err();
    let said = format!("{error:#}");
    assert!(said.contains(words), "{said}");
}

const LINK: EntryType = EntryType::Symlink;
const FILE: EntryType = EntryType::Regular;

#[test]
fn a_chain_of_links_that_leads_out() {
    let chain = [
        (LINK, "p/q/x", &b"../.."[..]),
        (LINK, "l", b"p/q/x/../../etc/passwd"),
    ];
    refused(&chain, "/l: a link to p/q/x/../../etc/passwd, which leads out");
    let late = [(LINK, "l", &b"d/.."[..]), (LINK, "d", b"l")];
    refused(&late, "links and more");
    let fine = [(LINK, "p/q/x", &b"../.."[..]), (LINK, "l", b"p/q/x/p")];
    both(&tar(&fine), false).unwrap();
}

#[test]
fn names_and_hard_links_that_lead_out_or_nowhere() {
    refused(&[(FILE, "/a", b"")], "an absolute path");
    let absolute = tar(&[(FILE, "/a", b"")]);
    both(&absolute, true).unwrap_err();
    refused(&[(FILE, "a", b""), (FILE, "a", b"")], "is there already");
    refused(&[(EntryType::Link, "a", b"b")], "hard link to /b");
    refused(&[(EntryType::Link, "a", b"../b")], "a component . or ..");
    refused(&[(EntryType::Link, "a", b"/b")], "an absolute path");
    refused(&[(LINK, "d", b"e"), (FILE, "d/a", b"")], "not a directory");
}

#[test]
fn long_headers_and_two_sizes() {
    let long = vec![b'n'; (AHEAD_MAX + 1) as usize];
    for kind in
        [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader]
    {
        let members = [(kind, "head", &long[..]), (FILE, "a", b"")];
        refused(&members, "wanted 65536 at most");
    }
    let pax = [
        (EntryType::XHeader, "head", &b"10 size=9\n"[..]),
        (FILE, "a", b"four"),
    ];
    refused(&pax, "two sizes");
    let name = "n".repeat(200);
    let pax = format!("210 path={name}\n");
    for (kind, body) in [
        (EntryType::GNULongName, name.as_bytes()),
        (EntryType::XHeader, pax.as_bytes()),
    ] {
        let bytes = tar(&[(kind, "head", body), (FILE, "a", b"text")]);
        let tree = both(&bytes, false).unwrap();
        let entry = tree.get(&TreePath::parse(&name).unwrap());
        assert!(entry.is_some(), "{tree:?}");
    }
}

#[test]
fn a_file_that_says_to_be_larger_than_any() {
    let mut bytes = tar(&[(FILE, "a", b"")]);
    let mut header = Header::new_gnu();
    header.as_mut_bytes().copy_from_slice(&bytes[..512]);
    header.set_size(UNPACKED_MAX + 1);
    header.set_cksum();
    bytes[..512].copy_from_slice(header.as_bytes());
    let said = format!("{:#}", both(&bytes, false).unwrap_err());
    assert!(said.contains("at most"), "{said}");
}

/// Where a name leads on a disk, which knows nothing of our rules.
fn stays_inside(tree: &Tree) {
    let folder = TempDir::new().unwrap();
    let top = folder.path().canonicalize().unwrap().join("a/b/c/top");
    std::fs::create_dir_all(&top).unwrap();
    lay_out(tree, &top).unwrap();
    for (path, _) in tree.iter() {
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(path.as_bytes());
        if let Ok(real) = top.join(name).canonicalize() {
            assert!(real.starts_with(&top), "{path} is {}", real.display());
        }
    }
}

proptest! {
    /// Whatever links an archive has, those that pass stay inside.
    #[test]
    fn no_link_that_passes_leads_out(
        links in prop::collection::vec(
            ("[ab](/[ab]){0,2}", "(\\.\\.|[ab])(/(\\.\\.|[ab])){0,4}"), 1..6,
        ),
    ) {
        let members: Vec<Member<'_>> = links
            .iter()
            .map(|(name, to)| (LINK, name.as_str(), to.as_bytes()))
            .collect();
        if let Ok(tree) = both(&tar(&members), false) {
            stays_inside(&tree);
        }
    }

    /// Damage is an error, or makes another archive; it never panics.
    #[test]
    fn a_damaged_tar_never_panics(
        damage in prop::collection::vec((0_usize..4096, any::<u8>()), 1..8),
    ) {
        let mut bytes = tar(&[
            (EntryType::XHeader, "head", b"11 path=aa\n"),
            (FILE, "a", b"text"),
            (EntryType::GNULongLink, "head", b"b"),
            (LINK, "l", b"x"),
            (EntryType::Link, "h", b"aa"),
        ]);
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let _ = both_ways(&bytes);
    }

    /// Likewise the members of a package of pkgsrc.
    #[test]
    fn a_damaged_package_never_panics(
        damage in prop::collection::vec((0_usize..200, any::<u8>()), 0..8),
        digits in "[0-9]{1,10}",
    ) {
        let mut bytes = b"!<arch>\n".to_vec();
        for name in ["+PKG_HASH", "#1/8", "a.tgz"] {
            let line = format!("{name:16}{:32}{digits:10}`\n", "");
            bytes.extend_from_slice(line.as_bytes());
        }
        for (at, byte) in damage {
            if let Some(there) = bytes.get_mut(at) {
                *there = byte;
            }
        }
        let found = ar_member(std::io::Cursor::new(bytes), ".tgz");
        if let Ok(mut reader) = found {
            let _ = std::io::copy(&mut reader, &mut std::io::sink());
        }
    }
}

fn both_ways(bytes: &[u8]) -> (Result<Tree>, Result<(usize, u64)>) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("evil.tar");
    std::fs::write(&file, bytes).unwrap();
    (read(&file, &how(false)), judge(bytes, &how(false)))
}
