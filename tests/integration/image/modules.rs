// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The modules of a Go program, from a module proxy in a folder: the `go.sum`
//! of the source decides which they are, when they come and whenever they are
//! used.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::fs;
use std::path::Path;
use std::process::Command;

use localdc::image::workshop::{
    Ended, Member, STAMP, Workshop, sha256, tar_gz,
};
use zone_image::elf::{self, System};

use super::{beside, command};

const RECIPE: &str = r#"
[[lx.component]]
name = "says"
to = "/opt/says"
"#;

const PINS: &str = pins_with_go!(
    r#"
[says]
version = "1.0.0"
licence = "MIT"
homepage = "https://example.com/says"

[says.any]
kind = "go"
toolchain = "go"
vendor = {}

[says.any.build]
"bin/says" = "."

[[says.any.source]]
source = { path = "says.tar.gz", sha256 = "DIGEST" }
"#
);

const GO_MOD: &str =
    "module example.com/says\n\ngo 1.19\n\nrequire example.com/word v1.0.0\n";
const MAIN: &str = "package main\n\nimport \"example.com/word\"\n\n\
    func main() { println(word.Word) }\n";
const FETCH: &[&str] = &["fetch", "tiny", "--brand", "lx"];
const BUILD: &[&str] = &[
    "build", "tiny", "--brand", "lx", "--stamp", STAMP, "--out", "out",
    "--proto",
];
/// Go takes a module as a zip alone, without entries for folders.
const ZIP: &str = "import sys, zipfile\n\
    with zipfile.ZipFile(sys.argv[1], 'w') as it:\n\
    \tfor name, text in zip(sys.argv[2::2], sys.argv[3::2]):\n\
    \t\tit.writestr('example.com/word@v1.0.0/' + name, text)\n";

/// A module proxy whose one module says `word`.
fn proxy(folder: &Path, word: &str) {
    let at = folder.join("example.com/word/@v");
    fs::create_dir_all(&at).unwrap();
    let go_mod = "module example.com/word\n\ngo 1.19\n";
    let source = format!("package word\n\nconst Word = \"{word}\"\n");
    fs::write(at.join("v1.0.0.mod"), go_mod).unwrap();
    fs::write(at.join("v1.0.0.info"), r#"{"Version":"v1.0.0"}"#).unwrap();
    let zipped = command("python3")
        .args(["-c", ZIP])
        .arg(at.join("v1.0.0.zip"))
        .args(["go.mod", go_mod, "word.go", &source])
        .status();
    assert!(zipped.unwrap().success());
}

fn asked(command: &mut Command, proxy: &Path) -> Ended {
    let proxy = format!("file://{}", proxy.display());
    command.env("GOPROXY", proxy).output().unwrap().into()
}

/// What Go writes into `go.sum` of the modules of a proxy.
fn go_sum(proxy: &Path) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("go.mod"), GO_MOD).unwrap();
    fs::write(folder.path().join("main.go"), MAIN).unwrap();
    let mut go = command("go");
    go.args(["mod", "tidy"])
        .current_dir(folder.path())
        .env("GOSUMDB", "off")
        .env("GOFLAGS", "-modcacherw")
        .env("GOPATH", folder.path().join("path"));
    asked(&mut go, proxy).well();
    fs::read_to_string(folder.path().join("go.sum")).unwrap()
}

/// A workspace whose program has this `go.sum`.
fn shop(go_sum: &str) -> Workshop {
    let bytes = tar_gz(&[
        Member::File("go.mod", GO_MOD.as_bytes()),
        Member::File("go.sum", go_sum.as_bytes()),
        Member::File("main.go", MAIN.as_bytes()),
    ]);
    let pins = PINS.replace("DIGEST", &sha256(&bytes));
    let shop = Workshop::new(beside(), RECIPE, &pins);
    shop.write("says.tar.gz", &bytes);
    shop
}

/// What the built program says on Linux.
fn said(shop: &Workshop) -> String {
    let proto = shop.path(format!("out/tiny-lx-pkg-{STAMP}.tar.gz"));
    let gzip = flate2::read::GzDecoder::new(fs::File::open(proto).unwrap());
    tar::Archive::new(gzip).unpack(shop.path("proto")).unwrap();
    let program = shop.path("proto/root/opt/says/bin/says");
    let seen = elf::read(&fs::read(&program).unwrap()).unwrap();
    assert_eq!((seen.system, seen.linker), (System::Linux, None));
    let said = command(&program.to_string_lossy()).output().unwrap();
    String::from_utf8(said.stderr).unwrap()
}

/// The one thing the cache remembers.
fn remembered(shop: &Workshop) -> std::path::PathBuf {
    let last = fs::read_dir(shop.path("target/image/cache/last")).unwrap();
    let [one] = last.collect::<Vec<_>>().try_into().unwrap();
    one.unwrap().path()
}

#[test]
fn a_program_is_made_of_the_modules_of_its_go_sum_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let (proxy_of, good) =
        (|name: &str| folder.path().join(name), folder.path().join("good"));
    proxy(&good, "good");
    let evil = proxy_of("evil");
    proxy(&evil, "evil");
    let sum = go_sum(&good);

    // Pinned without a digest of their own, and here once they came.
    let ours = shop(&sum);
    let plan = ["plan", "tiny", "--brand", "lx", "--stamp", STAMP];
    ours.run(&plan).well();
    ours.run(BUILD).refused(&["says.tar.gz is not in the cache"]);
    asked(&mut ours.command(FETCH), &good).well();
    let nowhere = proxy_of("nowhere");
    let again = asked(&mut ours.command(FETCH), &nowhere).well();
    assert!(again.stderr.contains("says: modules: here"), "{again:?}");
    asked(&mut ours.command(BUILD), &nowhere).well();
    assert_eq!(said(&ours), "good\n");

    // Other bytes under the name and version, from a proxy.
    let other = shop(&sum);
    let told = ["could not bring the modules of says", "checksum mismatch"];
    asked(&mut other.command(FETCH), &evil).refused(&told);
    // And in a cache that someone wrote to, digests and all.
    let theirs = shop(&go_sum(&evil));
    asked(&mut theirs.command(FETCH), &evil).well();
    let forged = fs::read_to_string(remembered(&theirs)).unwrap();
    let name = format!("target/image/cache/sha256/{}", forged.trim());
    fs::copy(theirs.path(&name), ours.path(&name)).unwrap();
    fs::write(remembered(&ours), forged).unwrap();
    fs::remove_dir_all(ours.path("out")).unwrap();
    let told = ["the modules of says do not fit its go.sum", "mismatch"];
    ours.run(BUILD).refused(&told);
    assert!(ours.left().is_empty());

    // A module that go.sum does not know.
    let bare = shop("");
    let told = ["could not bring the modules", "missing go.sum entry"];
    asked(&mut bare.command(FETCH), &good).refused(&told);
    // Stricter: a digest beside.
    let pins = fs::read_to_string(ours.path("image/recipes/artifacts.toml"));
    let strict = format!("vendor = {{ sha256 = \"{}\" }}", "0".repeat(64));
    let pins = pins.unwrap().replace("vendor = {}", &strict);
    let strict = shop(&sum);
    strict.write("image/recipes/artifacts.toml", pins);
    let told = ["the modules of says: sha256", "wanted 0000"];
    asked(&mut strict.command(FETCH), &good).refused(&told);
}
