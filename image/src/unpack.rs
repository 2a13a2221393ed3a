// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Archives become entries of a tree; nothing of them is laid out on a disk.
//! What an archive must not do is refused, with its name: paths that leave the
//! tree, links that lead out of it, devices, a name twice.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ::tar::{Archive, EntryType};
use anyhow::{Context, Result, anyhow, bail};

use crate::tree::{Content, Entry, Kind, Meta, Tree, TreePath};

mod links;
mod zip;

pub use links::check_links;

/// Most that an archive may unpack to, bytes: well above any root.
pub const UNPACKED_MAX: u64 = 8 << 30;
/// Most names an archive may have: likewise.
const NAMES_MAX: usize = 1 << 20;
/// Longest header that is about another entry, bytes: names have 1,023.
const AHEAD_MAX: u64 = 64 << 10;

/// How an archive is read.
#[derive(Clone, Debug)]
pub struct How {
    /// What it is, for messages.
    pub name: String,
    /// Leading components to leave out; a name with no more is left out whole.
    pub strip: usize,
    /// Times later than this, seconds since 1970, become this.
    pub epoch: u64,
    /// Owners as the archive has them; else root.
    pub owners: bool,
    /// Whether links may be absolute: in an archive of a whole root.
    pub whole: bool,
    /// Names at the top of the archive that are left out, with all below.
    pub without: &'static [&'static str],
}

/// A tar in `work`, whatever archive it was in: gzip is unpacked there, of a
/// signed pkgsrc package (ar) the inner archive; a zip is made one.
///
/// Errors: no archive we know, damage, no space.
pub fn plain_tar(archive: &Path, work: &Path) -> Result<PathBuf> {
    let unreadable = || format!("could not read {}", archive.display());
    let mut file = File::open(archive).with_context(unreadable)?;
    let mut magic = [0; 8];
    let got = read_full(&mut file, &mut magic).with_context(unreadable)?;
    file.seek(SeekFrom::Start(0))?;
    match &magic[..got] {
        [0x1f, 0x8b, ..] => gunzip(BufReader::new(file), archive, work),
        b"!<arch>\n" => {
            let inner = ar_member(file, ".tgz")
                .with_context(|| archive.display().to_string())?;
            gunzip(BufReader::new(inner), archive, work)
        }
        [b'P', b'K', ..] => zip::to_tar(archive, work),
        [0xfd, b'7', b'z', ..] | [0x28, 0xb5, 0x2f, ..] => {
            bail!("{}: not tar, tar in gzip, or zip", archive.display())
        }
        _ => Ok(archive.to_owned()),
    }
}

fn read_full(
    reader: &mut impl Read,
    buffer: &mut [u8],
) -> std::io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match reader.read(&mut buffer[got..])? {
            0 => break,
            n => got += n,
        }
    }
    Ok(got)
}

fn gunzip(
    from: impl std::io::BufRead,
    archive: &Path,
    work: &Path,
) -> Result<PathBuf> {
    let mut out = tempfile::Builder::new()
        .suffix(".tar")
        .tempfile_in(work)
        .with_context(|| format!("could not write in {}", work.display()))?;
    let damaged = || format!("could not unpack {}", archive.display());
    let reader = flate2::bufread::MultiGzDecoder::new(from);
    let mut limited = reader.take(UNPACKED_MAX);
    let length = std::io::copy(&mut limited, &mut out).with_context(damaged)?;
    if length == UNPACKED_MAX {
        bail!("{}: more than {UNPACKED_MAX} bytes", archive.display());
    }
    out.flush().with_context(damaged)?;
    // Goes with the work folder.
    let (_, path) = out.keep().with_context(damaged)?;
    Ok(path)
}

/// The member of an ar archive whose name ends so.
///
/// Source: pkg_install(1), signed binary packages: `+PKG_HASH`,
/// `+PKG_GPG_SIGNATURE`, and the package itself.
fn ar_member<F: Read + Seek>(
    mut file: F,
    ending: &str,
) -> Result<impl Read + use<F>> {
    let mut at = 8;
    loop {
        file.seek(SeekFrom::Start(at))?;
        let mut header = [0; 60];
        if read_full(&mut file, &mut header)? < header.len() {
            bail!("no member *{ending} in the package");
        }
        let text = |range: std::ops::Range<usize>| {
            String::from_utf8_lossy(&header[range]).trim().to_owned()
        };
        let length: u64 = text(48..58).parse().context("a damaged member")?;
        let mut name = text(0..16);
        let mut skip = 0;
        // BSD's way with long names: the name stands before the content.
        if let Some(bytes) = name.strip_prefix("#1/") {
            skip = bytes.parse().context("a damaged member")?;
            let mut long = vec![0; usize::try_from(skip)?.min(1024)];
            file.read_exact(&mut long)?;
            name = String::from_utf8_lossy(&long).into_owned();
        }
        let name = name.trim_end_matches(['\0', '/']);
        if name.ends_with(ending) {
            let start = (at + 60).checked_add(skip);
            let start = start.context("a damaged member")?;
            file.seek(SeekFrom::Start(start))?;
            return Ok(file.take(length.saturating_sub(skip)));
        }
        let step = length.checked_add(60 + length % 2);
        let next = step.and_then(|step| step.checked_add(at));
        at = next.context("a damaged member")?;
    }
}

/// Reads a tar on disk; the bytes of files stay where they are.
///
/// Errors: anything named at the head of this file; the first one found.
pub fn read(tar: &Path, how: &How) -> Result<Tree> {
    let file = File::open(tar)
        .with_context(|| format!("could not read {}", how.name))?;
    let end = file.metadata()?.len();
    let mut archive = Archive::new(BufReader::new(file));
    let entries = archive
        .entries_with_seek()
        .with_context(|| format!("{} is damaged", how.name))?;
    let place = |offset: u64, len: u64| {
        // Read over rather than read: an end that is missing shows nowhere.
        if offset.saturating_add(len) > end {
            bail!("cut off");
        }
        Ok(Content::OnDisk { path: tar.to_owned(), offset, len })
    };
    Ok(fill(entries, how, &place)?.0)
}

/// Judges a tar by the same rules as it comes by, to its very end. Returns how
/// many names it has and how many bytes its files.
///
/// Errors: as of `read`.
pub fn judge(reader: impl Read, how: &How) -> Result<(usize, u64)> {
    // What stands between the files is a fraction of them in any archive.
    let mut archive = Archive::new(reader.take(UNPACKED_MAX * 2));
    let none = |_, _| Ok(Content::Bytes([].into()));
    let entries = archive.entries().context("no tar")?;
    let (tree, bytes) = fill(entries, how, &none)?;
    let mut rest = archive.into_inner();
    std::io::copy(&mut rest, &mut std::io::sink())?;
    if rest.limit() == 0 {
        bail!("{}: more than {UNPACKED_MAX} bytes", how.name);
    }
    Ok((tree.len() - 1, bytes))
}

/// What stands before an entry and is about it.
#[derive(Default)]
struct Ahead {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
}

impl Ahead {
    /// Takes a header that is about the next entry; says whether it was one.
    /// The reader of tars would take them by itself, of whatever length.
    fn take<R: Read>(
        &mut self,
        entry: &mut ::tar::Entry<'_, R>,
    ) -> Result<bool> {
        let kind = entry.header().entry_type();
        let known = kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions();
        if !known {
            return Ok(false);
        }
        let size = entry.size();
        if size > AHEAD_MAX {
            bail!("a header of {size} bytes; wanted {AHEAD_MAX} at most");
        }
        let mut body = Vec::new();
        entry.read_to_end(&mut body)?;
        if body.len() as u64 != size {
            bail!("cut off");
        }
        if kind.is_pax_local_extensions() {
            self.pax(&body)?;
            return Ok(true);
        }
        while body.last() == Some(&0) {
            body.pop();
        }
        match kind.is_gnu_longname() {
            true => self.name = Some(body),
            false => self.link = Some(body),
        }
        Ok(true)
    }

    /// Source: pax(1p), "pax Header Block"; GNU tar's own keys for sparse
    /// files are refused.
    fn pax(&mut self, body: &[u8]) -> Result<()> {
        for record in ::tar::PaxExtensions::new(body) {
            let record = record.context("a damaged pax header")?;
            let value = record.value_bytes().to_vec();
            let number = || -> Result<u64> {
                let text = std::str::from_utf8(record.value_bytes())?;
                text.parse()
                    .with_context(|| format!("{text:?} in a pax header"))
            };
            match record.key_bytes() {
                b"path" => self.name = Some(value),
                b"linkpath" => self.link = Some(value),
                b"size" => self.size = Some(number()?),
                b"uid" => self.uid = Some(number()?),
                b"gid" => self.gid = Some(number()?),
                key if key.starts_with(b"GNU.sparse") => bail!("a sparse file"),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Every entry becomes one of a tree; `place` tells where `len` bytes at an
/// offset will be. Returns the bytes of all files, too.
fn fill<R: Read>(
    entries: ::tar::Entries<'_, R>,
    how: &How,
    place: &dyn Fn(u64, u64) -> Result<Content>,
) -> Result<(Tree, u64)> {
    let root = Meta { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
    let mut tree = Tree::new(root);
    let (mut bytes, mut names) = (0_u64, 0_usize);
    let mut ahead = Ahead::default();
    let damaged = || format!("{} is damaged", how.name);
    for entry in entries.raw(true) {
        let mut entry = entry.with_context(damaged)?;
        if ahead.take(&mut entry).with_context(damaged)? {
            continue;
        }
        let about = std::mem::take(&mut ahead);
        let name = match about.name {
            Some(ref name) => name.clone(),
            None => entry.path_bytes().into_owned(),
        };
        let shown = String::from_utf8_lossy(&name).into_owned();
        let inside = || format!("{}: {shown}", how.name);
        if about.size.is_some_and(|size| size != entry.size()) {
            return Err(anyhow!("two sizes")).with_context(inside);
        }
        names += 1;
        bytes = bytes.saturating_add(entry.size());
        if bytes > UNPACKED_MAX || names > NAMES_MAX {
            bail!(
                "{}: wanted {UNPACKED_MAX} bytes and {NAMES_MAX} names at most",
                how.name
            );
        }
        let Some(path) = inner_path(&name, how).with_context(inside)? else {
            continue;
        };
        let kind = kind(&entry, about.link.as_deref(), place, how);
        let Some(kind) = kind.with_context(inside)? else { continue };
        let meta = meta(entry.header(), &about, how).with_context(inside)?;
        tree.insert_deep(path, Entry { kind, meta }, root)
            .with_context(inside)?;
    }
    check_links(&tree, how.whole).with_context(|| how.name.clone())?;
    Ok((tree, bytes))
}

/// A name as it will be in the tree; `None` when it is left out.
fn inner_path(name: &[u8], how: &How) -> Result<Option<TreePath>> {
    if name.starts_with(b"/") {
        bail!("an absolute path; wanted one below the archive's top");
    }
    let name = name.strip_prefix(b"./").unwrap_or(name);
    let name = name.strip_suffix(b"/").unwrap_or(name);
    if name.is_empty() || name == b"." {
        return Ok(None);
    }
    let path = TreePath::parse(name)?;
    let top = path.as_bytes().split(|&byte| byte == b'/').next();
    if how.without.iter().any(|out| top == Some(out.as_bytes())) {
        return Ok(None);
    }
    let parts: Vec<_> = path.as_bytes().split(|&b| b == b'/').collect();
    match parts.get(how.strip..) {
        Some(rest @ [_, ..]) => Ok(Some(TreePath::parse(rest.join(&b'/'))?)),
        _ => Ok(None),
    }
}

fn meta(header: &::tar::Header, about: &Ahead, how: &How) -> Result<Meta> {
    let id = |id: u64| u32::try_from(id).context("an owner beyond 32 bits");
    let (uid, gid) = match how.owners {
        true => (
            id(about.uid.map_or_else(|| header.uid(), Ok)?)?,
            id(about.gid.map_or_else(|| header.gid(), Ok)?)?,
        ),
        false => (0, 0),
    };
    let mode = u16::try_from(header.mode()? & 0o7777).expect("12 bits");
    // Whoever packed a release had an umask; setuid is nobody's to bring.
    let mode = match (how.owners, mode & 0o111) {
        (true, _) => mode,
        (false, 0) => 0o644,
        (false, _) => 0o755,
    };
    Ok(Meta { mode, uid, gid, mtime: header.mtime()?.min(how.epoch) })
}

fn kind<R: Read>(
    entry: &::tar::Entry<'_, R>,
    link: Option<&[u8]>,
    place: &dyn Fn(u64, u64) -> Result<Content>,
    how: &How,
) -> Result<Option<Kind>> {
    let target = || {
        let own = || entry.link_name_bytes().map(|name| name.into_owned());
        let target = link.map(<[u8]>::to_vec).or_else(own);
        target.context("a link to nothing")
    };
    Ok(Some(match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous => {
            Kind::File(place(entry.raw_file_position(), entry.size())?)
        }
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink(target()?),
        EntryType::Link => match inner_path(&target()?, how)? {
            Some(target) => Kind::HardLink(target),
            None => bail!("a hard link to what is left out"),
        },
        // A comment of git archive and others; says nothing of a file.
        EntryType::XGlobalHeader => return Ok(None),
        EntryType::Char | EntryType::Block => {
            bail!("a device node; wanted files, directories and links")
        }
        other => bail!(
            "an entry of kind {other:?}; wanted files, directories and links"
        ),
    }))
}

/// What `picks` name of `tree`, a file or a folder each, laid where they say in
/// `into`; folders above take `above`.
///
/// Errors: a pick that is not there, a hard link without its file.
pub fn choose(
    tree: &Tree,
    picks: &BTreeMap<String, String>,
    into: &mut Tree,
    above: Meta,
) -> Result<()> {
    for (from, to) in picks {
        let (from, to) = (TreePath::parse(from)?, TreePath::parse(to)?);
        let found = pick(tree, &from);
        if found.is_empty() {
            bail!("no {from}");
        }
        for (below, entry) in found {
            if let Kind::HardLink(other) = &entry.kind {
                bail!("{from} is a hard link to {other}; pick that");
            }
            let path = below.below(&to)?;
            into.insert_deep(path, entry.clone(), above)?;
        }
    }
    Ok(())
}

/// The part of `tree` at `from`, a file or a folder with all below, as pairs
/// of path below `from` and entry.
pub fn pick<'a>(tree: &'a Tree, from: &TreePath) -> Vec<(TreePath, &'a Entry)> {
    let below = |path: &TreePath| {
        let rest = &path.as_bytes()[from.as_bytes().len()..];
        TreePath::parse(rest).expect("a part of a path is a path")
    };
    tree.iter()
        .filter(|(path, _)| path.is_at_or_below(from))
        .map(|(path, entry)| (below(path), entry))
        .collect()
}

/// Lays a tree out on disk, for programs that need files: compilers.
///
/// `folder` is empty or absent. Links may stay inside it only.
pub fn lay_out(tree: &Tree, folder: &Path) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};
    let is_link = |entry: &Entry| matches!(entry.kind, Kind::HardLink(_));
    // A hard link may come before its file by name: links last.
    let (links, others): (Vec<_>, Vec<_>) =
        tree.iter().partition(|(_, entry)| is_link(entry));
    for (path, entry) in others.into_iter().chain(links) {
        let name = std::ffi::OsStr::from_bytes(path.as_bytes());
        let at = folder.join(name);
        let made = (|| match &entry.kind {
            Kind::Directory => std::fs::create_dir_all(&at),
            Kind::Symlink(target) => {
                symlink(std::ffi::OsStr::from_bytes(target), &at)
            }
            Kind::HardLink(to) => {
                let to = std::ffi::OsStr::from_bytes(to.as_bytes());
                std::fs::hard_link(folder.join(to), &at)
            }
            Kind::File(content) => {
                let mut file = File::create_new(&at)?;
                std::io::copy(&mut content.open()?, &mut file)?;
                let mode = u32::from(entry.meta.mode) & 0o777;
                file.set_permissions(PermissionsExt::from_mode(mode | 0o600))
            }
        })();
        made.with_context(|| format!("could not lay out {}", at.display()))?;
    }
    Ok(())
}

/// A folder as a tree: files and folders, owned by root, 0644, or 0755 where
/// the owner may run them; `root` is what its top becomes.
///
/// Errors: anything else in it.
pub fn take_in(folder: &Path, root: Meta) -> Result<Tree> {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    let mut tree = Tree::new(root);
    let mut left = vec![folder.to_owned()];
    while let Some(next) = left.pop() {
        let unreadable = || format!("could not read {}", next.display());
        for entry in std::fs::read_dir(&next).with_context(unreadable)? {
            let path = entry?.path();
            let known = std::fs::symlink_metadata(&path)?;
            let below = path.strip_prefix(folder).expect("it was found there");
            let name = TreePath::parse(below.as_os_str().as_bytes())?;
            let run = known.permissions().mode() & 0o100 != 0;
            let mode = if run { 0o755 } else { 0o644 };
            let kind = if known.is_dir() {
                left.push(path);
                Kind::Directory
            } else if known.is_file() {
                Kind::File(Content::OnDisk {
                    path,
                    offset: 0,
                    len: known.len(),
                })
            } else {
                bail!("{} is neither file nor folder", path.display());
            };
            let meta = Meta { mode, ..root };
            tree.insert_deep(name, Entry { kind, meta }, root)?;
        }
    }
    Ok(tree)
}

#[cfg(test)]
mod tests;
