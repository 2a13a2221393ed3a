// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Which object each name of a tree becomes: numbers, links, directories.
//!
//! Numbers go by sorted path, so that the same tree has the same numbers in
//! every image.

use std::collections::HashMap;

use super::StreamError;
use super::attributes::{Attributes, DIRECTORY, FILE, SYMLINK};
use super::zap::{Name, Value};
use crate::tree::{Content, Entry, Kind, Tree, TreePath};

/// The objects before those of the tree. MASTER must be 1.
pub(super) const MASTER: u64 = 1;
pub(super) const SA_MASTER: u64 = 2;
pub(super) const DELETE_QUEUE: u64 = 3;
pub(super) const SA_REGISTRY: u64 = 4;
pub(super) const SA_LAYOUTS: u64 = 5;
pub(super) const ROOT: u64 = 6;

/// Larger owners mean identities of Windows, by a table that we do not write.
const ID_MAX: u32 = 0x7fff_ffff;
const MODE_MAX: u16 = 0o7777;

/// An object of the tree.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) path: &'a TreePath,
    pub(super) number: u64,
    entry: &'a Entry,
    parent: u64,
    links: u64,
    pub(super) body: Body<'a>,
}

/// What an object holds beside its attributes.
#[derive(Debug)]
pub(super) enum Body<'a> {
    Directory(Vec<Name<'a>>),
    File(&'a Content),
    Link(&'a [u8]),
}

/// All objects of a tree, by rising number, the root first.
///
/// Errors: `OwnerTooLarge`, `BadMode`.
pub(super) fn number(tree: &Tree) -> Result<Vec<Node<'_>>, StreamError> {
    let mut nodes: Vec<Node> = Vec::with_capacity(tree.len());
    let mut known: HashMap<&TreePath, usize> = HashMap::new();
    for (path, entry) in tree.iter() {
        let Some(body) = body(&entry.kind) else { continue };
        check(path, entry)?;
        let parent = path.parent().map_or(0, |parent| known[&parent]);
        let links = if matches!(body, Body::Directory(_)) { 2 } else { 1 };
        let (number, parent) =
            (ROOT + nodes.len() as u64, ROOT + parent as u64);
        known.insert(path, nodes.len());
        nodes.push(Node { path, number, entry, parent, links, body });
    }
    link(tree, &known, &mut nodes);
    Ok(nodes)
}

/// Puts every name into its directory, and counts.
fn link<'a>(
    tree: &'a Tree,
    known: &HashMap<&TreePath, usize>,
    nodes: &mut [Node<'a>],
) {
    for (path, entry) in tree.iter() {
        let Some(parent) = path.parent() else { continue };
        let parent = known[&parent];
        let at = match &entry.kind {
            Kind::HardLink(target) => {
                nodes[known[target]].links += 1;
                known[target]
            }
            _ => known[path],
        };
        let kind = nodes[at].kind();
        let value = Value::Number(nodes[at].number | (kind >> 12) << 60);
        if kind == DIRECTORY {
            nodes[parent].links += 1;
        }
        let Body::Directory(names) = &mut nodes[parent].body else {
            unreachable!("a tree's parents are directories")
        };
        names.push(Name { name: path.name().into(), value });
    }
}

fn body(kind: &Kind) -> Option<Body<'_>> {
    match kind {
        Kind::Directory => Some(Body::Directory(Vec::new())),
        Kind::File(content) => Some(Body::File(content)),
        Kind::Symlink(target) => Some(Body::Link(target)),
        Kind::HardLink(_) => None,
    }
}

fn check(path: &TreePath, entry: &Entry) -> Result<(), StreamError> {
    let meta = &entry.meta;
    for id in [meta.uid, meta.gid] {
        if id > ID_MAX {
            return Err(StreamError::OwnerTooLarge { path: path.clone(), id });
        }
    }
    if meta.mode > MODE_MAX {
        let (path, mode) = (path.clone(), meta.mode);
        return Err(StreamError::BadMode { path, mode });
    }
    Ok(())
}

impl Node<'_> {
    /// Its file type, as in a mode.
    fn kind(&self) -> u64 {
        match self.body {
            Body::Directory(_) => DIRECTORY,
            Body::File(_) => FILE,
            Body::Link(_) => SYMLINK,
        }
    }

    pub(super) fn attributes(&self) -> Attributes<'_> {
        let meta = &self.entry.meta;
        let (size, target) = match &self.body {
            Body::Directory(names) => (names.len() as u64 + 2, None),
            Body::File(content) => (content.len(), None),
            Body::Link(target) => (target.len() as u64, Some(*target)),
        };
        // A link's own mode decides nothing; everywhere it shows as 0777.
        let mode = if target.is_some() { 0o777 } else { meta.mode.into() };
        Attributes {
            mode: self.kind() | mode,
            size,
            uid: meta.uid,
            gid: meta.gid,
            parent: self.parent,
            links: self.links,
            mtime: meta.mtime,
            target,
        }
    }
}
