// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A small workspace to build images in: our templates and service files, a
//! recipe and components that a test makes up. Runs zone-image as an operator
//! does.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ring::digest::{SHA256, digest};
use tempfile::TempDir;

/// Everything in these images is from then: 2 January 2030, 03:04:05.
pub const EPOCH: u64 = 1_893_553_445;
/// The version of these images.
pub const STAMP: &str = "main-20300102T030405Z-g0a1b2c3";
/// Their name.
pub const NAME: &str = "tiny";

/// What all tiny images have: the recipe's head and every service file.
const HEAD: &str = r#"
[image]
role = "prometheus"
name = "tiny"
description = "An image for tests"
homepage = "https://example.com/"

[[lx.file]]
from = "smf/lx"
to = "/opt/triton/all/smf"

[[joyent-minimal.file]]
from = "smf/smartos"
to = "/opt/triton/all/smf"
"#;

/// The workspace; gone when dropped.
pub struct Workshop {
    folder: TempDir,
    program: PathBuf,
}

/// How zone-image ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A member of a tar that a test makes up.
pub enum Member<'a> {
    /// A file with its text.
    File(&'a str, &'a [u8]),
    /// A program with its bytes.
    Program(&'a str, &'a [u8]),
    /// A symbolic link and its target.
    Link(&'a str, &'a str),
    /// A character device.
    Device(&'a str),
}

impl Workshop {
    /// A workspace whose recipe `tiny` has `recipe` after its head, with the
    /// components of `artifacts`. `beside` is a program that lies beside
    /// zone-image.
    pub fn new(beside: &Path, recipe: &str, artifacts: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let program = beside.with_file_name("zone-image");
        assert!(program.is_file(), "no zone-image: cargo build --workspace");
        let shop = Self { folder, program };
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for below in ["smf", "templates"] {
            copy(&ours.join(below), &shop.path(below));
        }
        shop.write("image/recipes/tiny.toml", &(HEAD.to_owned() + recipe));
        shop.write("image/recipes/artifacts.toml", artifacts);
        shop
    }

    /// A path in the workspace.
    pub fn path(&self, below: impl AsRef<OsStr>) -> PathBuf {
        self.folder.path().join(Path::new(below.as_ref()))
    }

    /// Writes a file of the workspace.
    pub fn write(&self, below: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(below);
        let folder = path.parent().expect("it is below the workspace");
        fs::create_dir_all(folder).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }

    /// A command of zone-image in this workspace.
    #[expect(clippy::disallowed_methods, reason = "the program under test")]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(words)
            .current_dir(self.folder.path())
            .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
            .env_remove("CARGO_TARGET_DIR")
            .stdin(Stdio::null());
        command
    }

    /// Runs zone-image to its end.
    pub fn run(&self, words: &[&str]) -> Ended {
        self.command(words).output().expect("zone-image starts").into()
    }

    /// Brings all components, then builds recipe tiny into `out`.
    pub fn build(&self, brand: &str, more: &[&str]) -> Ended {
        let fetched = self.run(&["fetch", "tiny", "--brand", brand]);
        if fetched.code != Some(0) {
            return fetched;
        }
        let words = [
            "build", "tiny", "--brand", brand, "--stamp", STAMP, "--out", "out",
        ];
        self.run(&[&words[..], more].concat())
    }

    /// The manifest of the one image that was built.
    pub fn manifest(&self) -> PathBuf {
        let names = self.left();
        let mut found = names.iter().filter(|n| n.ends_with(".imgmanifest"));
        let (first, more) = (found.next(), found.next());
        let first = first.expect("an image was built");
        assert_eq!(more, None, "two images");
        self.path(format!("out/{first}"))
    }

    /// The manifest of an image that was built for a brand.
    pub fn manifest_of(&self, brand: &str) -> PathBuf {
        let ending = if brand == "lx" { "-lx" } else { "" };
        self.path(format!("out/{NAME}{ending}-{STAMP}.imgmanifest"))
    }

    /// What the folder of images holds, sorted; nothing, if there is none.
    pub fn left(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("out")) else {
            return Vec::new();
        };
        let name = |entry: fs::DirEntry| {
            entry.file_name().to_string_lossy().into_owned()
        };
        let mut names: Vec<_> = entries.flatten().map(name).collect();
        names.sort();
        names
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

impl Ended {
    /// Wants success.
    pub fn well(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// Wants failure with exit code 1, and each of `words` told.
    pub fn refused(self, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(1), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {self:#?}");
        }
        self
    }
}

/// A tar with these members, whatever they do.
pub fn tar(members: &[Member<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(EPOCH + 1_000_000);
        header.set_uid(1234);
        let (name, bytes): (&str, &[u8]) = match member {
            Member::File(name, bytes) => {
                header.set_mode(0o640);
                (name, bytes)
            }
            Member::Program(name, bytes) => {
                header.set_mode(0o4711);
                (name, bytes)
            }
            Member::Link(name, target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                header.as_mut_bytes()[157..157 + target.len()]
                    .copy_from_slice(target.as_bytes());
                (name, b"")
            }
            Member::Device(name) => {
                header.set_entry_type(tar::EntryType::Char);
                header.set_mode(0o666);
                (name, b"")
            }
        };
        header.set_size(bytes.len() as u64);
        if name.len() > 100 {
            builder.append_data(&mut header, name, bytes).expect("memory");
            continue;
        }
        // By hand: the crate would refuse what a test wants refused by us.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, bytes).expect("memory");
    }
    builder.into_inner().expect("memory")
}

/// The same, in gzip.
pub fn tar_gz(members: &[Member<'_>]) -> Vec<u8> {
    let level = flate2::Compression::fast();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), level);
    gzip.write_all(&tar(members)).expect("memory");
    gzip.finish().expect("memory")
}

/// SHA-256 in hex digits.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = digest(&SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A component of kind archive for every brand, at `path`, pinned.
pub fn archive(name: &str, path: &str, bytes: &[u8], more: &str) -> String {
    format!(
        r#"
[{name}]
version = "1.2.3"
licence = "MIT"
homepage = "https://example.com/{name}"

[{name}.any]
kind = "archive"
source = {{ path = "{path}", sha256 = "{}" }}
{more}
"#,
        sha256(bytes)
    )
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder of ours") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("a copy");
            // As another checkout might have it.
            let mode = fs::Permissions::from_mode(0o600);
            fs::set_permissions(&to, mode).expect("a mode");
        }
    }
}
