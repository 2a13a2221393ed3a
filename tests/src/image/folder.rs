// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A folder of this machine as a `Tree`: real names in real numbers.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Result;
use zone_image::tree::{Content, Entry, Kind, Meta, Tree, TreePath};

/// Everything below `folder` that a tree can hold; what cannot be read, and
/// devices, fifos and sockets are left out. Further names of a file become
/// files of their own.
///
/// Errors: a name that no tree takes.
pub fn tree(folder: &Path) -> Result<Tree> {
    let mut tree = Tree::new(meta(&fs::metadata(folder)?));
    fill(&mut tree, folder, folder)?;
    Ok(tree)
}

fn fill(tree: &mut Tree, top: &Path, folder: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        let Some((kind, meta)) = look(&path)? else { continue };
        let name = path.strip_prefix(top)?.as_os_str().as_bytes();
        let is_directory = kind == Kind::Directory;
        tree.insert(TreePath::parse(name)?, Entry { kind, meta })?;
        if is_directory {
            fill(tree, top, &path)?;
        }
    }
    Ok(())
}

fn look(path: &Path) -> io::Result<Option<(Kind, Meta)>> {
    let metadata = fs::symlink_metadata(path)?;
    let kind = metadata.file_type();
    let kind = if kind.is_dir() {
        Kind::Directory
    } else if kind.is_symlink() {
        Kind::Symlink(fs::read_link(path)?.as_os_str().as_bytes().to_vec())
    } else if kind.is_file() && fs::File::open(path).is_ok() {
        let len = metadata.len();
        Kind::File(Content::OnDisk { path: path.to_owned(), offset: 0, len })
    } else {
        return Ok(None);
    };
    Ok(Some((kind, meta(&metadata))))
}

fn meta(metadata: &fs::Metadata) -> Meta {
    let mode = metadata.mode() & 0o7777;
    Meta {
        mode: u16::try_from(mode).unwrap_or_default(),
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: metadata.mtime().try_into().unwrap_or_default(),
    }
}
