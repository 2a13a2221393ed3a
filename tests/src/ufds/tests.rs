// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The sheet's statements, one by one, about the store.

use super::store::{Bound, Compared, Store};
use super::*;

const BOSS: &str = "3f000000-0000-4000-8000-000000000001";

fn directory() -> (Store, String) {
    let mut store = Store::new("root");
    store.add_account(BOSS, "boss", "right1", &[]);
    (store, format!("uuid={BOSS}, ou=users, o=smartdc"))
}

fn said(rc: i64, text: &str) -> Compared {
    Compared(rc, text.to_owned())
}

#[test]
fn the_sixth_wrong_password_locks_for_half_an_hour() {
    let (mut store, dn) = directory();
    let compare = |store: &mut Store, password: &str| {
        store.compare(&dn, "userPassword", password.as_bytes())
    };
    for _ in 0..6 {
        assert_eq!(compare(&mut store, "no"), said(5, "invalidPassword"));
        // Failures never age out.
        store.pass(LOCK_MS * 10);
    }
    store.pass(0);
    let (mut store, _) = directory();
    for _ in 0..6 {
        compare(&mut store, "no");
    }
    // Locked: any password, and nothing is counted or prolonged.
    let dn = format!("uuid={BOSS}, ou=users, o=smartdc");
    let until = store.get(&dn, "pwdaccountlockedtime");
    store.pass(1_000);
    assert_eq!(compare(&mut store, "right1"), said(5, "accountLocked"));
    assert_eq!(store.get(&dn, "pwdaccountlockedtime"), until);
    // The list is still full when it ends: one more locks again.
    store.pass(LOCK_MS);
    assert_eq!(compare(&mut store, "no"), said(5, "invalidPassword"));
    assert_eq!(compare(&mut store, "right1"), said(5, "accountLocked"));
    store.pass(LOCK_MS);
    assert_eq!(compare(&mut store, "right1"), said(6, ""));
    assert_eq!(store.get(&dn, "pwdfailuretime"), [""; 0]);
}

#[test]
fn compare_tells_what_the_sheet_lists() {
    let (mut store, dn) = directory();
    assert_eq!(store.compare(&dn, "userpassword", b""), {
        said(5, "invalidPassword")
    });
    store.set(&dn, "disabled", &["true"]);
    assert_eq!(store.compare(&dn, "userpassword", b"right1"), said(6, ""));
    store.set(&dn, "pwdendtime", &["1"]);
    assert_eq!(store.compare(&dn, "userpassword", b"right1"), {
        said(5, "passwordExpired")
    });
    store.set(&dn, "pwdendtime", &[]);
    store.set(&dn, "_salt", &[]);
    assert_eq!(store.compare(&dn, "userpassword", b"x"), said(16, "salt"));
    assert_eq!(store.compare(&dn, "nothing", b"x"), said(16, "nothing"));
    let nobody = "uuid=none,ou=users,o=smartdc";
    assert_eq!(store.compare(nobody, "userpassword", b"x"), {
        said(32, "uuid=none, ou=users, o=smartdc")
    });
    let upper = dn.replace("3f", "3F");
    assert_eq!(store.compare(&upper, "userpassword", b"x").0, 32);
}

#[test]
fn a_bind_voids_the_lock() {
    let (mut store, dn) = directory();
    for _ in 0..6 {
        store.compare(&dn, "userpassword", b"no");
    }
    assert_eq!(store.bind(&dn, "no"), Err(said(49, "")));
    assert_eq!(store.bind(&dn, ""), Err(said(49, "")));
    assert_eq!(store.bind(&dn, "right1"), Ok(Bound::Account(dn.clone())));
    assert_eq!(store.compare(&dn, "userpassword", b"right1"), said(6, ""));
    assert_eq!(store.bind("cn=root", "no"), Err(said(49, "")));
    assert_eq!(store.bind("cn=root", "root"), Ok(Bound::Root));
    assert_eq!(store.bind("", ""), Ok(Bound::Nobody));
    assert!(!store.may(&Bound::Nobody, &dn));
    let own = Bound::Account(dn.clone());
    assert!(store.may(&own, &dn) && !store.may(&own, "ou=users, o=smartdc"));
    // An operator, if his name is written as UFDS writes it.
    store.add_member("operators", &dn.replace(", ", ","));
    assert!(!store.may(&own, "ou=users, o=smartdc"));
    store.add_member("operators", &dn);
    assert!(store.may(&own, "ou=users, o=smartdc"));
}
