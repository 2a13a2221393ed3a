// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The system of LX zones, made by mmdebstrap of Debian's archive.

use localdc::image::workshop::Workshop;

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
unpinned = "Debian's archive moves"
"#;

/// What `fetch --pin` prints of a Debian made in a folder of its own.
fn made(shell: &str) -> String {
    let shop = Workshop::new(beside(), RECIPE, PINS);
    let fetch = shop.command(&["fetch", "--pin", "debian", "--brand", "lx"]);
    let mut wrapped = command("/bin/sh");
    wrapped
        .args(["-c", &format!("{shell} exec \"$@\""), "sh"])
        .arg(fetch.get_program())
        .args(fetch.get_args())
        .current_dir(shop.path(""))
        .env_remove("CARGO_TARGET_DIR");
    let done = wrapped.output().expect("a shell");
    assert!(done.status.success(), "{done:?}");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(said.contains("sha256 = \""), "{said}");
    said
}

/// Wherever and whenever it is made, by whomever: the digest that pins it can
/// be found again by others.
#[test]
fn two_debians_are_the_same_bytes() {
    let elsewhere = "umask 077; export TZ=Asia/Kathmandu LC_ALL=tr_TR.UTF-8 \
                     HOME=/nonexistent SOURCE_DATE_EPOCH=7;";
    let other = std::thread::spawn(|| made(elsewhere));
    assert_eq!(made(""), other.join().expect("the other is made"));
}
