// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A ZFS send stream, written without ZFS: a tree becomes one full stream of
//! one file system with one snapshot, `@final`, as `zfs receive` takes it on
//! SmartOS. ZPL 5, no properties, no compression, no feature but spill blocks
//! for long links: what every age of SmartOS receives.
//!
//! A stream holds objects, not paths: `objects` numbers them, `attributes`
//! packs modes, owners and times, `zap` lays directories out, `record` frames
//! all of it and keeps the checksum (`fletcher`). Objects go out by rising
//! number, each at once with its data, so that memory holds the tree's names
//! and one directory or block, never its files.
//!
//! The same tree gives the same bytes: object numbers come from sorted paths,
//! times from the tree, the guid of the snapshot from the contents (`guid`).
//! A file system is not told apart from its copy by anything else, and pools
//! find the origin of an increment by that guid; two images of different
//! contents must never share it. It stands in the first record, before any
//! file has been read, so it costs a pass of its own over the data (from the
//! page cache as a rule). A digest of the finished stream would spare that,
//! and would have to be written into what it is a digest of.
//!
//! Refused: devices, fifos, sockets, extended attributes. A device's number
//! is laid out differently by illumos and Linux, and no image of ours needs
//! one; a `Tree` cannot even say them.

mod attributes;
mod fletcher;
mod guid;
mod objects;
mod record;
mod verify;
mod zap;

use std::io::{self, Write};
use std::num::NonZeroU64;

use self::attributes::{LAYOUTS, REGISTRY};
use self::objects::{
    Body, DELETE_QUEUE, MASTER, Node, ROOT, SA_LAYOUTS, SA_MASTER, SA_REGISTRY,
};
use self::record::{BLOCK_MAX, ObjectRecord, Records};
use self::zap::{Name, TooManyNames, Value, Zap};
use crate::content::{Blocks, ContentError};
use crate::tree::{Content, Entry, Kind, Meta, Tree, TreeError, TreePath};

pub use self::guid::guid;
pub use self::verify::{Verified, VerifyError, verify};

/// What the received file system and snapshot are called, when `zfs receive`
/// is not told otherwise. imgadm wants the second part.
const TO_NAME: &str = "image@final";

/// Types of objects (DMU_OT_*).
const FILE_CONTENTS: u32 = 19;
const DIRECTORY_CONTENTS: u32 = 20;
const MASTER_NODE: u32 = 21;
const UNLINKED_SET: u32 = 22;
const SA: u32 = 44;
const SA_MASTER_NODE: u32 = 45;
const SA_ATTRIBUTES: u32 = 46;
const SA_ATTRIBUTE_LAYOUTS: u32 = 47;

/// Why no stream came of a tree.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Owner or group of 2^31 and above.
    #[error("{path}: owner {id} is too large: below 2,147,483,648")]
    OwnerTooLarge {
        /// Whose.
        path: TreePath,
        /// The number.
        id: u32,
    },
    /// More than permissions.
    #[error("{path}: mode {mode:o} is no mode: 0 to 7777")]
    BadMode {
        /// Whose.
        path: TreePath,
        /// The number.
        mode: u16,
    },
    /// Millions of names in one directory.
    #[error("{path}: {names} names are too many for one directory")]
    DirectoryTooLarge {
        /// Which.
        path: TreePath,
        /// How many.
        names: usize,
    },
    /// The bytes of a file.
    #[error("could not write {path}")]
    Content {
        /// In the image.
        path: TreePath,
        /// Why.
        source: ContentError,
    },
    /// Where the stream goes to.
    #[error("could not write the stream")]
    Sink(#[source] io::Error),
}

/// What is the image's and not the tree's.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Of the snapshot; see [`guid`]. No two snapshots of a pool share it.
    pub guid: NonZeroU64,
    /// When the snapshot was made, seconds since 1970: SOURCE_DATE_EPOCH.
    pub created: u64,
}

/// Writes a tree as a full stream; returns the stream's length in bytes.
///
/// The root of the tree is the root of the dataset: see [`dataset`].
/// Writes are of a block (128 KiB) and of a header (312 bytes) in turn: give
/// a sink that buffers, when each costs something.
/// Errors: `StreamError`; the sink then holds the first part of a stream.
/// Source: OpenZFS as `record`, `attributes` and `zap` name it.
pub fn write<W: Write>(
    tree: &Tree,
    options: &Options,
    sink: W,
) -> Result<u64, StreamError> {
    let nodes = objects::number(tree)?;
    let mut records =
        Records::begin(sink, options.guid, options.created, TO_NAME)
            .map_err(StreamError::Sink)?;
    write_masters(&mut records).map_err(StreamError::Sink)?;
    for node in &nodes {
        write_node(&mut records, node)?;
    }
    records.end().map_err(StreamError::Sink)
}

/// A guest's tree as the dataset of a zone image: the guest's `/` becomes
/// `root/`, beside it `cores/`, and the empty directories `others`
/// (`site` for a native zone) that brands mount from.
///
/// All but `root/`, which keeps what the guest's root has, are root's: 0755,
/// and 0700 for the dataset itself, so that nobody else in the global zone
/// sees into a zone. `mtime` is in seconds since 1970.
/// Errors: `TreeError`, for a path that is now too long.
pub fn dataset(
    guest: &Tree,
    others: &[&str],
    mtime: u64,
) -> Result<Tree, TreeError> {
    let meta = |mode| Meta { mode, uid: 0, gid: 0, mtime };
    let mut tree = Tree::new(meta(0o700));
    for name in ["cores"].iter().chain(others) {
        let entry = Entry { kind: Kind::Directory, meta: meta(0o755) };
        tree.insert(TreePath::parse(name)?, entry)?;
    }
    let base = TreePath::parse("root")?;
    let mut links = Vec::new();
    for (path, entry) in guest.iter() {
        let path = path.below(&base)?;
        match &entry.kind {
            Kind::HardLink(target) => {
                let kind = Kind::HardLink(target.below(&base)?);
                links.push((path, Entry { kind, meta: entry.meta }));
            }
            _ => tree.insert(path, entry.clone())?,
        }
    }
    // What they lead to may come later by name.
    for (path, link) in links {
        tree.insert(path, link)?;
    }
    Ok(tree)
}

/// The objects that make a file system of the others.
fn write_masters<W: Write>(records: &mut Records<W>) -> io::Result<()> {
    let number = |name: &'static str, value| Name {
        name: name.as_bytes().into(),
        value: Value::Number(value),
    };
    let master = vec![
        number("DELETE_QUEUE", DELETE_QUEUE),
        number("ROOT", ROOT),
        number("SA_ATTRS", SA_MASTER),
        number("VERSION", 5),
        number("casesensitivity", 0),
        number("normalization", 0),
        number("utf8only", 0),
    ];
    let sa_master =
        vec![number("LAYOUTS", SA_LAYOUTS), number("REGISTRY", SA_REGISTRY)];
    let registry = REGISTRY.iter().map(|&(name, attribute, len, order)| {
        number(name, len << 24 | order << 16 | u64::from(attribute))
    });
    let layouts = LAYOUTS.iter().map(|&(layout, attributes)| Name {
        name: layout.to_string().into_bytes().into(),
        value: Value::Words(attributes.to_vec()),
    });
    for (object, kind, names) in [
        (MASTER, MASTER_NODE, master),
        (SA_MASTER, SA_MASTER_NODE, sa_master),
        (DELETE_QUEUE, UNLINKED_SET, vec![]),
        (SA_REGISTRY, SA_ATTRIBUTES, registry.collect()),
        (SA_LAYOUTS, SA_ATTRIBUTE_LAYOUTS, layouts.collect()),
    ] {
        let zap = Zap::new(names).expect("a few names fit one leaf");
        write_object(records, (object, kind), zap.block_size(), None)?;
        write_zap(records, object, kind, &zap)?;
    }
    Ok(())
}

fn write_node<W: Write>(
    records: &mut Records<W>,
    node: &Node,
) -> Result<(), StreamError> {
    match &node.body {
        Body::Directory(names) => write_directory(records, node, names),
        Body::File(content) => write_file(records, node, content),
        Body::Link(_) => {
            let object = (node.number, FILE_CONTENTS);
            write_object(records, object, 512, Some(node))
                .map_err(StreamError::Sink)
        }
    }
}

fn write_directory<W: Write>(
    records: &mut Records<W>,
    node: &Node,
    names: &[Name],
) -> Result<(), StreamError> {
    let (object, kind) = (node.number, DIRECTORY_CONTENTS);
    let zap = Zap::new(names.to_vec()).map_err(|TooManyNames| {
        let (path, names) = (node.path.clone(), names.len());
        StreamError::DirectoryTooLarge { path, names }
    })?;
    write_object(records, (object, kind), zap.block_size(), Some(node))
        .and_then(|()| write_zap(records, object, kind, &zap))
        .map_err(StreamError::Sink)
}

fn write_file<W: Write>(
    records: &mut Records<W>,
    node: &Node,
    content: &Content,
) -> Result<(), StreamError> {
    let failed =
        |source| StreamError::Content { path: node.path.clone(), source };
    let block_size = block_size(content.len());
    let object = (node.number, FILE_CONTENTS);
    write_object(records, object, block_size, Some(node))
        .map_err(StreamError::Sink)?;
    let mut blocks =
        Blocks::open(content, block_size as usize).map_err(failed)?;
    while let Some((offset, block)) = blocks.next_data().map_err(failed)? {
        records
            .write(node.number, FILE_CONTENTS, offset, block)
            .map_err(StreamError::Sink)?;
    }
    Ok(())
}

/// A file of up to 128 KiB is one block, a larger one many of 128 KiB.
fn block_size(len: u64) -> u32 {
    let len = len.clamp(1, BLOCK_MAX as u64);
    u32::try_from(len.next_multiple_of(512)).expect("clamped just above")
}

/// `object` is number and type; `node` has the attributes, if there are any.
fn write_object<W: Write>(
    records: &mut Records<W>,
    object: (u64, u32),
    block_size: u32,
    node: Option<&Node>,
) -> io::Result<()> {
    let (number, kind) = object;
    let packed = node.map(|node| node.attributes().pack());
    let bonus = packed.as_ref().map_or((0, &[][..]), |all| (SA, &all.bonus));
    let spill = packed.as_ref().and_then(|all| all.spill.as_deref());
    let has_spill = spill.is_some();
    records.object(&ObjectRecord {
        number,
        kind,
        block_size,
        bonus,
        has_spill,
    })?;
    spill.map_or(Ok(()), |block| records.spill(number, block))
}

fn write_zap<W: Write>(
    records: &mut Records<W>,
    object: u64,
    kind: u32,
    zap: &Zap,
) -> io::Result<()> {
    let size = u64::from(zap.block_size());
    for (block, number) in zap.blocks().zip(0..) {
        records.write(object, kind, number * size, &block)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
