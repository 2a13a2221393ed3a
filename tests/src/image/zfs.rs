// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Receives streams by OpenZFS's own code in user space, and compares what
//! came of them with the tree.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use ring::digest;
use tempfile::TempDir;
use zone_image::stream;
use zone_image::tree::{Entry, Kind, Tree, TreePath};

/// Bytes of the file that a pool is made in; it is sparse.
const POOL_BYTES: u64 = 16 << 30;

/// One name of a received snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// `mode uid gid links size mtime`, as the checker prints it.
    pub facts: String,
    /// Number of the object; the names of one file share it.
    pub object: u64,
    /// Of the directory.
    pub parent: u64,
    /// SHA-256, target, or `-`.
    pub body: String,
}

/// The checker; `tests/setup.sh test` builds it.
pub fn checker() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(1);
    root.unwrap_or(Path::new("/")).join("target/zfs/zfs-receive")
}

/// Receives a stream, sends the snapshot again, receives that, and returns
/// what is there then, by path.
///
/// Errors: the stream was refused; what the checker said.
pub fn receive(stream: &Path) -> Result<BTreeMap<String, Received>> {
    let dir = TempDir::with_prefix("zfs-receive-")?;
    let pool = dir.path().join("pool");
    File::create(&pool)?.set_len(POOL_BYTES)?;
    let output = run(&pool, stream, &dir.path().join("again"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}", output.status, why.trim());
    }
    String::from_utf8(output.stdout)?.lines().map(parse).collect()
}

#[expect(clippy::disallowed_methods, reason = "the checker starts here")]
fn run(pool: &Path, stream: &Path, again: &Path) -> Result<Output> {
    let checker = checker();
    Command::new(&checker)
        .args([pool, stream, again])
        .output()
        .with_context(|| format!("{}: make setup", checker.display()))
}

fn parse(line: &str) -> Result<(String, Received)> {
    let bad = || format!("bad line {line:?}");
    let fields: Vec<&str> = line.split(' ').collect();
    ensure!(fields.len() == 10, bad());
    let received = Received {
        facts: fields[..6].join(" "),
        object: fields[6].parse().with_context(bad)?,
        parent: fields[7].parse().with_context(bad)?,
        body: fields[9].to_owned(),
    };
    Ok((fields[8].to_owned(), received))
}

/// Writes a tree as a stream to `file`, receives it, and compares every name.
///
/// Errors: no stream, a stream refused, or a difference, the first few named.
pub fn prove(tree: &Tree, file: &Path) -> Result<()> {
    let options =
        stream::Options { guid: stream::guid(tree)?, created: 1_700_000_000 };
    let sink = io::BufWriter::new(File::create(file)?);
    stream::write(tree, &options, sink)?;
    compare(tree, &receive(file)?)
}

/// Compares what was received with the tree.
///
/// Errors: the differences, the first few by name.
pub fn compare(
    tree: &Tree,
    received: &BTreeMap<String, Received>,
) -> Result<()> {
    let mut wrong = Vec::new();
    let links = links(tree);
    for (path, entry) in tree.iter() {
        let name = escape(&[b"/", path.as_bytes()].concat());
        let Some(seen) = received.get(&name) else {
            wrong.push(format!("{name} is missing"));
            continue;
        };
        let (file, entry) = resolve(tree, path, entry);
        let wanted = facts(tree, &links, file, entry);
        let got = (seen.facts.clone(), seen.body.clone());
        let wanted = (wanted, body(&entry.kind)?);
        if got != wanted {
            wrong.push(format!("{name}: {got:?}, not {wanted:?}"));
        }
        let same = &received[&escape(&[b"/", file.as_bytes()].concat())];
        if seen.object != same.object {
            wrong.push(format!("{name} is no name of {file}"));
        }
    }
    wrong.extend(objects(tree, received));
    if received.len() != tree.len() {
        let (got, wanted) = (received.len(), tree.len());
        wrong.push(format!("{got} names, not {wanted}"));
    }
    let shown = wrong.len().min(5);
    ensure!(wrong.is_empty(), "{}", wrong[..shown].join("\n"));
    Ok(())
}

/// Two files never share an object, and the parent of a file holds it.
fn objects(
    tree: &Tree,
    received: &BTreeMap<String, Received>,
) -> Option<String> {
    let files = tree.iter().filter(|(_, entry)| !is_hard_link(entry)).count();
    let mut objects: Vec<u64> =
        received.values().map(|name| name.object).collect();
    objects.sort_unstable();
    objects.dedup();
    if objects.len() != files {
        return Some(format!("{} objects, not {files}", objects.len()));
    }
    tree.iter().filter(|(_, entry)| !is_hard_link(entry)).find_map(
        |(path, _)| {
            let parent = path.parent()?;
            let at = |path: &TreePath| {
                received.get(&escape(&[b"/", path.as_bytes()].concat()))
            };
            (at(path)?.parent != at(&parent)?.object)
                .then(|| format!("{path} has another parent"))
        },
    )
}

fn is_hard_link(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::HardLink(_))
}

/// The file behind a hard link; else the entry itself.
fn resolve<'a>(
    tree: &'a Tree,
    path: &'a TreePath,
    entry: &'a Entry,
) -> (&'a TreePath, &'a Entry) {
    match &entry.kind {
        Kind::HardLink(target) => match tree.get(target) {
            Some(file) => (target, file),
            None => (path, entry),
        },
        _ => (path, entry),
    }
}

/// Names of each file, and names in each directory with how many of those are
/// directories.
fn links(tree: &Tree) -> HashMap<TreePath, (u64, u64)> {
    let mut links: HashMap<TreePath, (u64, u64)> = HashMap::new();
    for (path, entry) in tree.iter() {
        let (file, _) = resolve(tree, path, entry);
        links.entry(file.clone()).or_default().0 += 1;
        if let Some(parent) = path.parent() {
            let directory = links.entry(parent).or_default();
            directory.1 += 1;
            directory.0 += u64::from(entry.kind == Kind::Directory);
        }
    }
    links
}

fn facts(
    tree: &Tree,
    links: &HashMap<TreePath, (u64, u64)>,
    path: &TreePath,
    entry: &Entry,
) -> String {
    debug_assert!(tree.get(path).is_some());
    let (names, held) = links.get(path).copied().unwrap_or_default();
    let meta = &entry.meta;
    let mode = u32::from(meta.mode);
    let (mode, links, size) = match &entry.kind {
        Kind::Directory => (0o040_000 | mode, names + 1, held + 2),
        Kind::File(content) => (0o100_000 | mode, names, content.len()),
        Kind::Symlink(target) => (0o120_777, names, target.len() as u64),
        Kind::HardLink(_) => (0, 0, 0),
    };
    let (uid, gid, mtime) = (meta.uid, meta.gid, meta.mtime);
    format!("{mode:06o} {uid} {gid} {links} {size} {mtime}.000000000")
}

fn body(kind: &Kind) -> Result<String> {
    Ok(match kind {
        Kind::Symlink(target) => escape(target),
        Kind::File(content) => {
            sha256(BufReader::with_capacity(1 << 20, content.open()?))?
        }
        _ => "-".to_owned(),
    })
}

fn sha256(mut from: impl Read) -> Result<String> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut piece = vec![0; 1 << 20];
    loop {
        let count = from.read(&mut piece)?;
        if count == 0 {
            break;
        }
        context.update(&piece[..count]);
    }
    let digest = context.finish();
    Ok(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// As the checker writes bytes.
pub fn escape(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|&byte| match byte {
            b'!'..=b'~' if byte != b'\\' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        })
        .collect()
}
