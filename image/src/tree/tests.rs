// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Trees stay whole, and in order.

use super::*;

const META: Meta = Meta { mode: 0o755, uid: 0, gid: 0, mtime: 0 };

fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

fn file(text: &str) -> Entry {
    let bytes = Content::Bytes(text.as_bytes().into());
    Entry { kind: Kind::File(bytes), meta: META }
}

fn directory() -> Entry {
    Entry { kind: Kind::Directory, meta: META }
}

#[test]
fn paths_that_leave_the_tree_are_refused() {
    for bad in ["..", "a/../b", "./a", "a//b", "a/", "a\0b"] {
        assert!(TreePath::parse(bad).is_err(), "{bad:?}");
    }
    assert!(TreePath::parse("n".repeat(256)).is_err());
    assert!(TreePath::parse("n/".repeat(600) + "n").is_err());
    assert_eq!(path("/etc/passwd"), path("etc/passwd"));
    assert_eq!(path("/"), TreePath::root());
}

#[test]
fn a_directory_comes_right_before_what_it_holds() {
    let mut tree = Tree::new(META);
    for name in ["a-b", "a", "a/z", "a.c", "a/b"] {
        tree.insert(
            path(name),
            if name == "a" { directory() } else { file("") },
        )
        .or_else(|_| tree.insert(path("a"), directory()))
        .unwrap();
    }
    let names: Vec<_> = tree.iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(names, ["/", "/a", "/a/b", "/a/z", "/a-b", "/a.c"]);
}

#[test]
fn a_name_goes_with_all_below_and_a_hard_link_inherits() {
    let mut tree = Tree::new(META);
    let above = |tree: &mut Tree, name, entry| {
        tree.insert_deep(path(name), entry, META).unwrap();
    };
    above(&mut tree, "a/b/c", file("text"));
    above(&mut tree, "a-b", file("stays"));
    let link = Entry { kind: Kind::HardLink(path("a/b/c")), meta: META };
    above(&mut tree, "x/one", link.clone());
    above(&mut tree, "x/two", link);
    assert_eq!(tree.remove(&path("a"), true), 2);
    assert!(tree.get(&path("a")).is_some());
    assert!(tree.get(&path("a-b")).is_some());
    assert_eq!(tree.get(&path("x/one")), Some(&file("text")));
    let two = &tree.get(&path("x/two")).unwrap().kind;
    assert_eq!(*two, Kind::HardLink(path("x/one")));
}

#[test]
fn a_name_is_taken_once_and_a_parent_is_a_directory() {
    let mut tree = Tree::new(META);
    tree.insert(path("f"), file("one")).unwrap();
    let before = tree.clone();
    let taken = tree.insert(path("f"), file("two")).unwrap_err();
    assert_eq!(
        taken.to_string(),
        "/f is there already, as a file; cannot also be a file"
    );
    tree.insert(path("f/x"), file("")).unwrap_err();
    tree.insert(path("none/x"), file("")).unwrap_err();
    for target in [&b""[..], b"a\0", &[b't'; 1024]] {
        let link = Kind::Symlink(target.to_vec());
        tree.insert(path("l"), Entry { kind: link, meta: META }).unwrap_err();
    }
    let link = Kind::HardLink(path("none"));
    tree.insert(path("l"), Entry { kind: link, meta: META }).unwrap_err();
    assert_eq!(tree, before);
}
