// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Locks as they are written, and as someone may have bent them.

use proptest::collection::btree_map;
use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Lock> {
    Lock::parse(text, Path::new("debian.lock"))
}

fn one() -> Lock {
    let deb = Deb {
        name: "libacl1".into(),
        version: "1:2.3.1-3+b1~deb12".into(),
        architecture: "amd64".into(),
        path: "debian/pool/main/a/acl/libacl1_2.3.1-3_amd64.deb".into(),
        size: 31488,
        sha256: Sha256::parse(&"8".repeat(64)).unwrap(),
    };
    Lock { snapshot: "20260131T235959Z".into(), root: None, deb: vec![deb] }
}

fn any_deb() -> impl Strategy<Value = Deb> {
    let archive = prop_oneof![Just("debian"), Just("debian-security")];
    let version = "[0-9a-zA-Z][0-9a-zA-Z.+~:-]{0,12}";
    let below = "[a-zA-Z0-9][a-zA-Z0-9.+~_-]{0,9}(/[a-zA-Z0-9]{1,5}){0,3}";
    (
        archive,
        version,
        "[a-z][a-z0-9-]{0,5}",
        below,
        1..=SIZE_MAX,
        "[0-9a-f]{64}",
    )
        .prop_map(|(archive, version, architecture, below, size, hex)| {
            Deb {
                name: String::new(),
                version,
                architecture,
                path: format!("{archive}/pool/{below}.deb"),
                size,
                sha256: Sha256::parse(&hex).unwrap(),
            }
        })
}

fn any_lock() -> impl Strategy<Value = Lock> {
    let debs = btree_map("[a-z0-9][a-z0-9+.-]{1,10}", any_deb(), 1..20);
    let root = proptest::option::of("[0-9a-f]{64}");
    ("[0-9]{8}T[0-9]{6}Z", root, debs).prop_map(|(snapshot, root, debs)| {
        let named = debs.into_iter().map(|(name, deb)| Deb { name, ..deb });
        let root = root.map(|hex| Sha256::parse(&hex).unwrap());
        Lock { snapshot, root, deb: named.collect() }
    })
}

proptest! {
    /// What is written is read as it was.
    #[test]
    fn what_is_written_is_read_again(lock in any_lock()) {
        prop_assert_eq!(parse(&lock.to_string()).unwrap(), lock);
    }

    /// Whatever stands in it, no word of a lock that is taken leaves its
    /// place: not the pool, not a line of apt's.
    #[test]
    fn what_is_taken_is_harmless(
        lock in any_lock(),
        at in any::<prop::sample::Index>(),
        put in "\\PC{0,3}|\\.\\./|[\"' \n#%]",
    ) {
        let text = lock.to_string();
        let cuts: Vec<_> = text.char_indices().map(|(at, _)| at).collect();
        let at = cuts[at.index(cuts.len())];
        let bent = format!("{}{put}{}", &text[..at], &text[at..]);
        let Ok(lock) = parse(&bent) else { return Ok(()) };
        for deb in &lock.deb {
            let words = [&deb.name, &deb.version, &deb.architecture];
            for word in words.into_iter().chain([&deb.path]) {
                let fits = |c: char| {
                    c.is_ascii_alphanumeric() || "+.-~:_/".contains(c)
                };
                prop_assert!(word.chars().all(fits), "{}", word);
            }
            prop_assert!(!deb.path.split('/').any(|part| part == ".."));
            prop_assert!(deb.path.starts_with("debian"));
        }
        // And it is written as it was read.
        prop_assert_eq!(parse(&lock.to_string()).unwrap(), lock);
    }
}

#[test]
fn all_that_is_wrong_is_told_with_its_key() {
    let bend = |bend: fn(&mut Lock)| {
        let mut lock = one();
        bend(&mut lock);
        parse(&lock.to_string()).unwrap_err().to_string()
    };
    for (told, words) in [
        (
            bend(|lock| lock.snapshot = "today".into()),
            "snapshot: today; wanted",
        ),
        (bend(|lock| lock.deb.clear()), "deb: no package"),
        (bend(|lock| lock.deb.push(lock.deb[0].clone())), "after libacl1"),
        (bend(|lock| lock.deb[0].name = "A".into()), "deb.A.name: A"),
        (bend(|lock| lock.deb[0].version = "".into()), "libacl1.version"),
        (bend(|lock| lock.deb[0].architecture = " ".into()), "architecture"),
        (bend(|lock| lock.deb[0].size = 0), "libacl1.size: 0; wanted"),
        (bend(|lock| lock.deb[0].path = "debian/pool".into()), "path: debian"),
        (
            bend(|lock| lock.deb[0].path = "debian/pool/../x.deb".into()),
            "path: debian/pool/../x.deb; wanted",
        ),
        (bend(|lock| lock.deb[0].path = "other/pool/x.deb".into()), "path"),
    ] {
        assert!(told.starts_with("debian.lock: "), "{told}");
        assert!(told.contains(words), "no {words:?} in {told}");
    }
    let text = one().to_string();
    for (from, to) in [("size", "length"), ("8888", "888"), ("deb =", "debs =")]
    {
        let told = parse(&text.replacen(from, to, 1)).unwrap_err();
        assert!(told.to_string().contains("debian.lock is no lock"), "{told}");
    }
    assert_eq!(parse(&text).unwrap(), one());
    assert!(Lock::load(Path::new("/nowhere/debian.lock")).unwrap().is_none());
}
