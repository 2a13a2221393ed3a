// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Which writer makes which file of a tree: the image of an LX zone, that of a
//! native one, and what a build host of Triton's own takes.

use std::io::Write;
use std::num::NonZeroUsize;

use anyhow::Result;

use crate::build::Built;
use crate::gzip::Gzip;
use crate::plan::Plan;
use crate::tree::{Content, Entry, Kind, Meta, Tree, TreePath};
use crate::{stream, tar};

/// A tree as tar in gzip.
pub fn tar_gz(tree: &Tree, out: &mut dyn Write) -> Result<()> {
    let mut gzip = Gzip::new(out, threads())?;
    tar::write(tree, &mut gzip)?;
    gzip.finish()?;
    Ok(())
}

fn threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// A zone's files as the send stream of its dataset, in gzip; the guid.
///
/// `site` is where the brand mounts manifests of the site from.
pub fn zfs_gz(plan: &Plan, built: &Built, out: &mut dyn Write) -> Result<u64> {
    let created = plan.stamp.epoch;
    let others = ["site", "local"];
    let dataset = stream::dataset(&built.tree, &others, created)?;
    let guid = stream::guid(&dataset)?;
    let mut gzip = Gzip::new(out, threads())?;
    stream::write(&dataset, &stream::Options { guid, created }, &mut gzip)?;
    gzip.finish()?;
    Ok(guid.get())
}

/// A zone's files below `root/`, and what buildimage wants beside. Without
/// what its origin image has: it would overlay a `/etc/passwd` of that one.
pub fn proto(plan: &Plan, built: &Built, out: &mut dyn Write) -> Result<()> {
    let meta = Meta { mode: 0o755, uid: 0, gid: 0, mtime: plan.stamp.epoch };
    let mut tree = Tree::new(meta);
    for folder in ["root", "site"] {
        let entry = Entry { kind: Kind::Directory, meta };
        tree.insert(TreePath::parse(folder)?, entry)?;
    }
    let root = TreePath::parse("root")?;
    tree.graft(&built.tree, &root, meta, false)?;
    let mut origin = plan.origin.clone();
    origin.sort_unstable();
    // What is deep first: then a folder is empty, or holds something of ours.
    for path in origin.iter().rev() {
        let path = path.below(&root)?;
        if !tree.is_filled(&path) {
            tree.remove(&path, false);
        }
    }
    let keep = Entry {
        kind: Kind::File(Content::Bytes([].into())),
        meta: Meta { mode: 0o644, ..meta },
    };
    tree.insert(TreePath::parse("site/.do-not-delete-me")?, keep)?;
    tar_gz(&tree, out)
}
