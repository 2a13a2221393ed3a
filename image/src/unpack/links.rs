// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Where the links of a tree lead, found as a system finds it: part by part,
//! through every link on the way. A look at each target alone is not enough: a
//! chain of links that all stay inside may lead out.

use anyhow::{Context, Result, bail};

use crate::tree::{Entry, Kind, Tree, TreePath};

/// Most links on the way of one: the limit of Linux.
const LINKS_MAX: usize = 40;

/// Refuses links that lead out of a tree, each followed as a system would,
/// through every link on its way; absolute ones are for a `whole` root alone.
///
/// Errors: the first such link; one that leads through too many.
pub fn check_links(tree: &Tree, whole: bool) -> Result<()> {
    for (path, entry) in tree.iter() {
        if let Kind::Symlink(target) = &entry.kind {
            follow(tree, path, target, whole)
                .with_context(|| path.to_string())?;
        }
    }
    Ok(())
}

fn follow<'a>(
    tree: &'a Tree,
    path: &'a TreePath,
    target: &'a [u8],
    whole: bool,
) -> Result<()> {
    let shown = String::from_utf8_lossy(target);
    let parts = |target: &'a [u8]| target.split(|&byte| byte == b'/').rev();
    let mut here: Vec<&[u8]> =
        path.as_bytes().split(|&byte| byte == b'/').collect();
    here.pop();
    let mut next: Vec<&[u8]> = Vec::new();
    let mut link = Some(target);
    let mut links = 0;
    loop {
        if let Some(target) = link.take() {
            links += 1;
            if links > LINKS_MAX {
                bail!("a link to {shown}, through {LINKS_MAX} links and more");
            }
            if target.first() == Some(&b'/') {
                if !whole {
                    bail!("a link to {shown}, which leads out of the archive");
                }
                here.clear();
            }
            next.extend(parts(target));
        }
        let Some(part) = next.pop() else { return Ok(()) };
        match part {
            b"" | b"." => {}
            b".." => {
                if here.pop().is_none() {
                    bail!("a link to {shown}, which leads out of the archive")
                }
            }
            part => {
                here.push(part);
                // What no tree can have is no link either.
                let found = TreePath::parse(here.join(&b'/'));
                let found = found.ok().and_then(|path| tree.get(&path));
                if let Some(Entry { kind: Kind::Symlink(to), .. }) = found {
                    here.pop();
                    link = Some(to);
                }
            }
        }
    }
}
