// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Which writer makes which file of a tree: the image of an LX zone, that of a
//! native one, and what a build host of Triton's own takes.

use std::io::Write;

use anyhow::Result;

use crate::build::Built;
use crate::plan::Plan;
use crate::stream;
use crate::tree::{Entry, Kind, Tree, TreePath};

/// A tree as tar in gzip.
pub fn tar_gz(tree: &Tree, out: &mut dyn Write) -> Result<()> {
    let gzip = flate2::GzBuilder::new().mtime(0);
    let gzip = gzip.write(out, flate2::Compression::new(6));
    let mut tar = tar::Builder::new(gzip);
    let is_link = |entry: &Entry| matches!(entry.kind, Kind::HardLink(_));
    let (links, others): (Vec<_>, Vec<_>) =
        tree.iter().skip(1).partition(|(_, entry)| is_link(entry));
    for (path, entry) in others.into_iter().chain(links) {
        append(&mut tar, path, entry)?;
    }
    tar.into_inner()?.finish()?;
    Ok(())
}

fn append(
    tar: &mut tar::Builder<impl Write>,
    path: &TreePath,
    entry: &Entry,
) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let name = |path: &TreePath| {
        std::path::PathBuf::from(std::ffi::OsStr::from_bytes(path.as_bytes()))
    };
    let mut header = tar::Header::new_gnu();
    header.set_mode(u32::from(entry.meta.mode));
    header.set_uid(entry.meta.uid.into());
    header.set_gid(entry.meta.gid.into());
    header.set_mtime(entry.meta.mtime);
    header.set_size(0);
    match &entry.kind {
        Kind::Directory => {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, name(path), std::io::empty())?;
        }
        Kind::File(content) => {
            header.set_size(content.len());
            tar.append_data(&mut header, name(path), content.open()?)?;
        }
        Kind::HardLink(to) => {
            header.set_entry_type(tar::EntryType::Link);
            tar.append_link(&mut header, name(path), name(to))?;
        }
        Kind::Symlink(to) => {
            header.set_entry_type(tar::EntryType::Symlink);
            let to = std::ffi::OsStr::from_bytes(to);
            tar.append_link(&mut header, name(path), to)?;
        }
    }
    Ok(())
}

/// A zone's files as the send stream of its dataset, in gzip; the guid.
///
/// `site` is where the brand mounts manifests of the site from.
pub fn zfs_gz(plan: &Plan, built: &Built, out: &mut dyn Write) -> Result<u64> {
    let created = plan.stamp.epoch;
    let others = ["site", "local", "ccs"];
    let dataset = stream::dataset(&built.tree, &others, created)?;
    let guid = stream::guid(&dataset)?;
    let gzip = flate2::GzBuilder::new().mtime(0);
    let mut gzip = gzip.write(out, flate2::Compression::new(6));
    stream::write(&dataset, &stream::Options { guid, created }, &mut gzip)?;
    gzip.finish()?;
    Ok(guid.get())
}

/// A zone's files below `root/`, and what buildimage wants beside.
pub fn proto(plan: &Plan, built: &Built, out: &mut dyn Write) -> Result<()> {
    let meta = crate::tree::Meta {
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: plan.stamp.epoch,
    };
    let mut tree = Tree::new(meta);
    for folder in ["root", "site"] {
        let entry = Entry { kind: Kind::Directory, meta };
        tree.insert(TreePath::parse(folder)?, entry)?;
    }
    tree.graft(&built.tree, &TreePath::parse("root")?, meta, false)?;
    let keep = Entry {
        kind: Kind::File(crate::tree::Content::Bytes([].into())),
        meta: crate::tree::Meta { mode: 0o644, ..meta },
    };
    tree.insert(TreePath::parse("site/.do-not-delete-me")?, keep)?;
    tar_gz(&tree, out)
}
