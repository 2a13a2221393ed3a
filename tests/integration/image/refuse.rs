// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Bad input: each is told with file, key, value seen and wanted, and leaves
//! no image behind.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::fs;

use localdc::image::workshop::{
    EPOCH, Member, STAMP, Workshop, archive, sha256, tar, tar_gz,
};

use super::{beside, command};

const RECIPE: &str = r#"
[[any.component]]
name = "tool"
to = "/opt/tool"
"#;

/// A workspace whose one component is this archive.
fn shop_with(bytes: &[u8], more: &str) -> Workshop {
    let pins = archive("tool", "tool.tar", bytes, more);
    let shop = Workshop::new(beside(), RECIPE, &pins);
    shop.write("tool.tar", bytes);
    shop
}

fn refused(shop: &Workshop, words: &[&str]) {
    shop.build("lx", &[]).refused(words);
    assert!(shop.left().is_empty(), "{:?}", shop.left());
}

#[test]
fn a_wrong_checksum() {
    let shop = shop_with(b"what was pinned", "");
    shop.write("tool.tar", "what came");
    let (seen, wanted) = (sha256(b"what came"), sha256(b"what was pinned"));
    let seen = format!("tool.tar: sha256 {seen}; wanted {wanted}");
    refused(&shop, &[&seen]);
    let cached = shop.path("target/image/cache/sha256");
    assert_eq!(fs::read_dir(cached).unwrap().count(), 0);
}

#[test]
fn a_cache_that_rotted() {
    let bytes = tar_gz(&[Member::File("a", b"text")]);
    let shop = shop_with(&bytes, "");
    shop.run(&["fetch", "tiny", "--brand", "lx"]).well();
    let cached =
        shop.path(format!("target/image/cache/sha256/{}", sha256(&bytes)));
    fs::write(&cached, "rot").unwrap();
    let words =
        ["build", "tiny", "--brand", "lx", "--stamp", STAMP, "--out", "out"];
    shop.run(&words).refused(&["damaged, and removed", &sha256(b"rot")]);
    assert!(!cached.exists() && shop.left().is_empty());
    // And is mended by bringing it again.
    shop.build("lx", &[]).well();
}

#[test]
fn a_missing_file() {
    let shop = shop_with(b"", "");
    let recipe = "[[any.file]]\nfrom = \"boot/none.sh\"\nto = \"/none.sh\"\n";
    let path = shop.path("image/recipes/tiny.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text + recipe).unwrap();
    refused(&shop, &["tiny.toml: any.file.from: \"boot/none.sh\"", "wanted"]);
    fs::remove_file(shop.path("tool.tar")).unwrap();
    fs::remove_dir_all(shop.path("target")).unwrap();
    let fetched = shop.run(&["fetch", "tiny", "--brand", "lx"]);
    fetched.refused(&["could not read", "tool.tar"]);
}

#[test]
fn an_archive_that_leaves_its_place() {
    let evil = [
        (Member::File("../../etc/passwd", b"x"), "a component . or .."),
        (Member::File("/etc/passwd", b"x"), "an absolute path"),
        (Member::Link("bin/sh", "../../../bin/sh"), "leads out of"),
        (Member::Link("sh", "/bin/sh"), "a link to /bin/sh, which leads out"),
        (Member::Device("null"), "a device node"),
    ];
    for (member, words) in evil {
        let bytes = tar(&[Member::File("good", b"text"), member]);
        refused(&shop_with(&bytes, ""), &["tool.tar", words]);
    }
    // By a link that stays inside, and a file through it.
    let bytes = tar(&[Member::Link("a", "b"), Member::File("a/passwd", b"x")]);
    refused(&shop_with(&bytes, ""), &["a symbolic link, not a directory"]);
    let twice = tar(&[Member::File("a", b"1"), Member::File("a", b"2")]);
    refused(&shop_with(&twice, ""), &["/a is there already"]);
    let cut = &tar(&[Member::File("a", &[1; 9000])])[..4000];
    refused(&shop_with(cut, ""), &["tool.tar: a: cut off"]);
}

#[test]
fn a_pick_that_is_not_there() {
    let bytes = tar(&[Member::File("a", b"text")]);
    let more = "[tool.any.pick]\n\"b\" = \"bin/b\"\n";
    refused(&shop_with(&bytes, more), &["tool: pick of tool.tar: no /b"]);
}

#[test]
fn an_unknown_key_and_a_path_with_dots() {
    for (recipe, words) in [
        ("[[any.file]]\nform = \"x\"\nto = \"/x\"\n", "unknown field `form`"),
        ("[[any.folder]]\npath = \"/a/../b\"\n", "wanted an absolute path"),
        ("[[any.folder]]\npath = \"a\"\n", "not absolute"),
        ("[[any.folder]]\npath = \"/a\"\nmode = \"75\"\n", "four octal"),
        ("[any]\nfeatures = []\n", "unknown field `features`"),
    ] {
        let shop = Workshop::new(beside(), recipe, "");
        refused(&shop, &["tiny.toml", words]);
    }
    let pins = "[tool]\nversion = \"1\"\nlicense = \"MIT\"\n";
    let shop = Workshop::new(beside(), RECIPE, pins);
    refused(&shop, &["artifacts.toml", "unknown field `license`"]);
    let from = "[[any.file]]\nfrom = \"../x\"\nto = \"/x\"\n";
    refused(&Workshop::new(beside(), from, ""), &["a component . or .."]);
}

#[test]
fn a_component_that_nobody_pinned_or_knows() {
    let bytes = tar(&[Member::File("a", b"text")]);
    let pins = archive("tool", "tool.tar", &bytes, "");
    let pins = pins.replace(&format!(", sha256 = \"{}\"", sha256(&bytes)), "");
    let shop = Workshop::new(beside(), RECIPE, &pins);
    shop.write("tool.tar", &bytes);
    refused(&shop, &["sha256 absent", "fetch --pin"]);
    let words = ["build", "tiny", "--brand", "lx", "--stamp", STAMP];
    let built = shop.run(&words);
    built.refused(&["tool.source.sha256: absent", "fetch --pin tool"]);
    // What it tells to write is what is wanted.
    let pinned = shop.run(&["fetch", "--pin", "tool", "--brand", "lx"]).well();
    let line = format!("tool.lx.source: sha256 = \"{}\"", sha256(&bytes));
    assert!(pinned.stdout.contains(&line), "{pinned:?}");
    let shop = Workshop::new(beside(), RECIPE, "");
    shop.run(&words).refused(&["any.component.tool: unknown"]);
}

#[test]
fn a_program_of_another_system() {
    let linux = fs::read("/bin/true").unwrap();
    let bytes = tar(&[Member::Program("tool", &linux)]);
    let shop = shop_with(&bytes, "");
    let words = ["/opt/tool/tool does not fit joyent-minimal", "for Linux"];
    shop.build("joyent-minimal", &[]).refused(&words);
    assert!(shop.left().is_empty());
    // Ours, by the name that the operator gave.
    let recipe = "[[any.program]]\nname = \"agent\"\nto = \"/agent\"\n";
    let shop = Workshop::new(beside(), recipe, "");
    let words = ["--program", "agent=/bin/true"];
    let built = shop.build("joyent-minimal", &words);
    built.refused(&["/bin/true does not fit joyent-minimal"]);
    shop.build("lx", &[]).refused(&["any.program.agent: no file"]);
    shop.build("lx", &words).well();
}

#[test]
fn a_role_without_a_service_file_of_its_daemon() {
    let shop = Workshop::new(beside(), "", "");
    fs::remove_file(shop.path("smf/lx/thanos-sidecar.service")).unwrap();
    refused(&shop, &["no service file of daemon thanos-sidecar"]);
    let manifest = shop.path("templates/prometheus/manifest.toml");
    fs::write(manifest, "file = 3").unwrap();
    refused(&shop, &["templates/prometheus/manifest.toml"]);
}

/// A disk of one megabyte for the image: it does not fit.
#[test]
fn a_full_disk() {
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = (0..4_000_000).map(|_| random.u8(..)).collect();
    let bytes = tar(&[Member::File("noise", &noise)]);
    let shop = shop_with(&bytes, "");
    shop.run(&["fetch", "tiny", "--brand", "lx"]).well();
    fs::create_dir(shop.path("out")).unwrap();
    let build = shop.command(&[
        "build", "tiny", "--brand", "lx", "--stamp", STAMP, "--out", "out",
    ]);
    let script = "mount -t tmpfs -o size=1m tmpfs out && \"$@\"; code=$?; \
        ls -A out; exit $code";
    let done = command("unshare")
        .args(["--mount", "/bin/sh", "-c", script, "sh"])
        .arg(build.get_program())
        .args(build.get_args())
        .current_dir(shop.path(""))
        .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("could not write out/tiny-"), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "", "left behind");
}

/// Told to end while it writes: nothing is left, neither image nor folder.
/// One that ended by itself before it was told is tried again.
#[test]
fn a_build_that_is_told_to_end() {
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = (0..60_000_000).map(|_| random.u8(..)).collect();
    let bytes = tar(&[Member::File("noise", &noise)]);
    let shop = shop_with(&bytes, "");
    shop.run(&["fetch", "tiny", "--brand", "lx"]).well();
    for signal in ["TERM", "HUP"] {
        let mut tries = 0..20;
        assert!(tries.any(|_| ended_by(&shop, signal)), "never while it wrote");
    }
}

/// Whether it was told while it wrote.
fn ended_by(shop: &Workshop, signal: &str) -> bool {
    let mut build = shop.command(&[
        "build", "tiny", "--brand", "lx", "--stamp", STAMP, "--out", "out",
    ]);
    let mut child = build.spawn().unwrap();
    // As soon as it has begun to write.
    while shop.left().is_empty() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    if child.try_wait().unwrap().is_none() {
        let pid = child.id().to_string();
        command("kill").args(["-s", signal, &pid]).status().unwrap();
    }
    let ended = child.wait().unwrap();
    let left = shop.left();
    let cache = fs::read_dir(shop.path("target/image/cache")).unwrap();
    assert_eq!(cache.count(), 2);
    match ended.code() {
        Some(1) => assert!(left.is_empty(), "{left:?}"),
        Some(0) => {
            assert_eq!(left.len(), 3, "{left:?}");
            fs::remove_dir_all(shop.path("out")).unwrap();
        }
        other => panic!("{other:?}, {left:?}"),
    }
    ended.code() == Some(1)
}

/// Words that make no sense: exit code 64, as config-agent's.
#[test]
fn a_role_nobody_knows_and_a_stamp_without_a_time() {
    let shop = Workshop::new(beside(), "", "");
    for words in [
        &["plan", "tyni", "--brand", "lx"][..],
        &["build", "tyni", "--brand", "lx"],
        &["fetch", "tyni"],
    ] {
        let ended = shop.run(words);
        assert_eq!(ended.code, Some(64), "{ended:?}");
        assert!(ended.stderr.contains("\"tyni\""), "{ended:?}");
    }
    let words = ["plan", "tiny", "--brand", "lx", "--stamp", "v"];
    let mut command = shop.command(&words);
    let ended = command.env_remove("SOURCE_DATE_EPOCH").output().unwrap();
    assert_eq!(ended.status.code(), Some(64), "{ended:?}");
}

/// Told by the plan, before anything is fetched or built.
#[test]
fn a_stamp_that_is_no_name_a_program_too_many_and_unreadable_patches() {
    let bytes = tar(&[Member::File("a", b"text")]);
    let shop = shop_with(&bytes, "");
    let plan = ["plan", "tiny", "--brand", "lx", "--stamp"];
    let run = |more: &[&str]| shop.run(&[&plan[..], more].concat());
    run(&["../x"]).refused(&["version: \"../x\"; wanted letters"]);
    let long = "v".repeat(129);
    run(&[&long]).refused(&["wanted letters, digits and . _ -, 128 at most"]);
    let words = ["v", "--program", "agnet=/bin/true"];
    run(&words).refused(&["/bin/true: --program agnet: in no step"]);
    shop.write("image/patches/tool", "no folder");
    run(&["v"]).refused(&["patches/tool: patches: could not read"]);
}

#[test]
fn a_program_older_than_its_source() {
    let recipe = "[[any.program]]\nname = \"agent\"\nto = \"/agent\"\n";
    let shop = Workshop::new(beside(), recipe, "");
    let program = shop.path("target/release/agent");
    shop.write("target/release/agent", fs::read("/bin/true").unwrap());
    shop.write("agent.rs", "");
    let source = shop.path("agent.rs");
    let (source, shown) = (source.display(), program.display());
    shop.write("target/release/agent.d", format!("{shown}: {source}\n"));
    let built = fs::File::open(&program).unwrap();
    let long_ago = std::time::UNIX_EPOCH;
    built.set_modified(long_ago).unwrap();
    let seen = format!("agent is older than {source}; wanted a release build");
    refused(&shop, &["any.program.agent: ", &seen, "--program agent=FILE"]);
    // Whoever gives one knows which.
    let given = format!("agent={shown}");
    shop.build("lx", &["--program", &given]).well();
}
