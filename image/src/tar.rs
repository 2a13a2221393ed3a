// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A tree as a tar, the same bytes every time: sorted, owners by number only,
//! times from the tree. For images of type `docker`, which imgadm unpacks by
//! GNU tar, and for the tarball from which SmartOS makes a native image.
//!
//! GNU's format: any bytes as names and targets, any length. Whoever unpacks
//! has made the root directory, so it is not among the names. Crate `tar` was
//! considered: it rewrites the targets of links (`a/./b` becomes `a/b`) and
//! takes long names for text. What is left to it would be the header below.
//!
//! Source: GNU tar manual, "Basic Tar Format"; POSIX.1-2024, pax, "ustar
//! Interchange Format".

use std::collections::HashMap;
use std::io::{self, Write};

use crate::content::{Blocks, ContentError};
use crate::tree::{Content, Entry, Kind, Tree, TreePath};

/// Header and unit of padding, bytes.
const BLOCK: usize = 512;
/// A tar is a multiple of this, bytes: GNU tar's record.
const RECORD: u64 = 20 * 512;
/// Longest name and target in a header, bytes.
const NAME_MAX: usize = 100;
/// Bytes of a file read at once.
const PIECE: usize = 1 << 17;

/// Types of members.
const FILE: u8 = b'0';
const HARD_LINK: u8 = b'1';
const SYMLINK: u8 = b'2';
const DIRECTORY: u8 = b'5';
/// Before a member whose name, or target, is too long for its header.
const LONG_NAME: u8 = b'L';
const LONG_TARGET: u8 = b'K';

/// Why no tar came of a tree.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The bytes of a file.
    #[error("could not write {path}")]
    Content {
        /// In the image.
        path: TreePath,
        /// Why.
        source: ContentError,
    },
    /// Where the tar goes to.
    #[error("could not write the tar")]
    Sink(#[source] io::Error),
}

/// Writes a tree as a tar; returns its length in bytes.
///
/// The first name of a file in the order of the tree is the file, its other
/// names are links to that: a link can only lead to what is unpacked already.
/// Errors: `TarError`; the sink then holds the first part of a tar.
pub fn write<W: Write>(tree: &Tree, sink: W) -> Result<u64, TarError> {
    let mut archive = Archive { sink, written: 0 };
    let mut first: HashMap<&TreePath, &TreePath> = HashMap::new();
    for (path, entry) in tree.iter().skip(1) {
        let (file, entry) = match &entry.kind {
            Kind::HardLink(target) => {
                (target, tree.get(target).unwrap_or(entry))
            }
            _ => (path, entry),
        };
        match (&entry.kind, first.get(file)) {
            (Kind::File(_), Some(earlier)) => archive
                .member(path, entry, HARD_LINK, earlier.as_bytes(), 0)
                .map_err(TarError::Sink)?,
            (Kind::File(content), None) => {
                first.insert(file, path);
                archive.file(path, entry, content)?;
            }
            (Kind::Symlink(target), _) => archive
                .member(path, entry, SYMLINK, target, 0)
                .map_err(TarError::Sink)?,
            (Kind::Directory, _) => archive
                .member(path, entry, DIRECTORY, b"", 0)
                .map_err(TarError::Sink)?,
            (Kind::HardLink(_), _) => {
                unreachable!("a tree's hard links lead to files")
            }
        }
    }
    archive.end().map_err(TarError::Sink)
}

struct Archive<W> {
    sink: W,
    written: u64,
}

impl<W: Write> Archive<W> {
    fn file(
        &mut self,
        path: &TreePath,
        entry: &Entry,
        content: &Content,
    ) -> Result<(), TarError> {
        let failed = |source| TarError::Content { path: path.clone(), source };
        let mut bytes = Blocks::open(content, PIECE).map_err(failed)?;
        self.member(path, entry, FILE, b"", content.len())
            .map_err(TarError::Sink)?;
        loop {
            let piece = bytes.next_bytes().map_err(failed)?;
            if piece.is_empty() {
                break;
            }
            self.put(piece).map_err(TarError::Sink)?;
        }
        self.pad(BLOCK as u64).map_err(TarError::Sink)
    }

    /// The header of a member, after those of what is too long for it.
    fn member(
        &mut self,
        path: &TreePath,
        entry: &Entry,
        kind: u8,
        target: &[u8],
        size: u64,
    ) -> io::Result<()> {
        let mut name = path.as_bytes().to_vec();
        if kind == DIRECTORY {
            name.push(b'/');
        }
        self.long(LONG_TARGET, target)?;
        self.long(LONG_NAME, &name)?;
        // What a link is shows in its type; its mode is everybody's.
        let mode = if kind == SYMLINK { 0o777 } else { entry.meta.mode };
        let header = Header::new(&name, kind, size)
            .number(100, 8, mode.into())
            .number(108, 8, entry.meta.uid.into())
            .number(116, 8, entry.meta.gid.into())
            .number(136, 12, entry.meta.mtime)
            .text(157, target);
        self.put(&header.finish())
    }

    fn long(&mut self, kind: u8, text: &[u8]) -> io::Result<()> {
        if text.len() <= NAME_MAX {
            return Ok(());
        }
        let size = text.len() as u64 + 1;
        let header = Header::new(b"././@LongLink", kind, size)
            .number(100, 8, 0o644)
            .number(108, 8, 0)
            .number(116, 8, 0)
            .number(136, 12, 0);
        self.put(&header.finish())?;
        self.put(text)?;
        self.put(b"\0")?;
        self.pad(BLOCK as u64)
    }

    /// Two empty headers, and zeros up to a whole record.
    fn end(mut self) -> io::Result<u64> {
        self.put(&[0; 2 * BLOCK])?;
        self.pad(RECORD)?;
        self.sink.flush()?;
        Ok(self.written)
    }

    fn pad(&mut self, unit: u64) -> io::Result<()> {
        let missing = self.written.next_multiple_of(unit) - self.written;
        let zeros = [0; RECORD as usize];
        let missing = usize::try_from(missing).expect("less than a record");
        self.put(&zeros[..missing])
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.sink.write_all(bytes)
    }
}

struct Header([u8; BLOCK]);

impl Header {
    fn new(name: &[u8], kind: u8, size: u64) -> Self {
        let mut header = Self([0; BLOCK]);
        header.0[156] = kind;
        header.0[257..265].copy_from_slice(b"ustar  \0");
        header.text(0, name).number(124, 12, size)
    }

    /// What fits of a name.
    fn text(mut self, at: usize, text: &[u8]) -> Self {
        let len = text.len().min(NAME_MAX);
        self.0[at..at + len].copy_from_slice(&text[..len]);
        self
    }

    /// Octal digits and a NUL; a number too large for those as binary, big
    /// end first, after a first byte 0x80.
    fn number(mut self, at: usize, len: usize, number: u64) -> Self {
        let field = &mut self.0[at..at + len];
        let digits = format!("{number:0width$o}", width = len - 1);
        if digits.len() < len {
            field[..len - 1].copy_from_slice(digits.as_bytes());
            return self;
        }
        field[0] = 0x80;
        let bytes = number.to_be_bytes();
        let count = bytes.len().min(len - 1);
        field[len - count..].copy_from_slice(&bytes[bytes.len() - count..]);
        self
    }

    /// With the sum of its bytes, the field of the sum taken for blanks.
    fn finish(mut self) -> [u8; BLOCK] {
        self.0[148..156].fill(b' ');
        let sum: u32 = self.0.iter().map(|&byte| u32::from(byte)).sum();
        let digits = format!("{sum:06o}\0");
        self.0[148..155].copy_from_slice(digits.as_bytes());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Meta;

    const META: Meta = Meta { mode: 0o640, uid: 7, gid: 8, mtime: 9 };

    fn tree(names: &[(&str, Kind)]) -> Tree {
        let mut tree = Tree::new(META);
        for (path, kind) in names {
            let entry = Entry { kind: kind.clone(), meta: META };
            tree.insert(TreePath::parse(path).unwrap(), entry).unwrap();
        }
        tree
    }

    fn file(bytes: &[u8]) -> Kind {
        Kind::File(Content::Bytes(bytes.into()))
    }

    fn written(tree: &Tree) -> Vec<u8> {
        let mut tar = Vec::new();
        let len = write(tree, &mut tar).unwrap();
        assert_eq!(len, tar.len() as u64);
        tar
    }

    #[test]
    fn a_header_is_as_the_manual_says() {
        let tar = written(&tree(&[("f", file(b"hello"))]));
        assert_eq!(tar.len(), 10_240);
        assert_eq!(&tar[..2], b"f\0");
        assert_eq!(&tar[100..108], b"0000640\0");
        assert_eq!(&tar[108..116], b"0000007\0");
        assert_eq!(&tar[116..124], b"0000010\0");
        assert_eq!(&tar[124..136], b"00000000005\0");
        assert_eq!(&tar[136..148], b"00000000011\0");
        assert_eq!(&tar[156..158], b"0\0");
        assert_eq!(&tar[257..265], b"ustar  \0");
        assert_eq!(&tar[512..518], b"hello\0");
        assert!(tar[1024..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn large_numbers_are_binary() {
        let header = Header::new(b"x", FILE, 1 << 33).number(108, 8, 1 << 21);
        assert_eq!(header.0[124..128], [0x80, 0, 0, 0]);
        assert_eq!(header.0[128..136], (1_u64 << 33).to_be_bytes());
        assert_eq!(header.0[108..116], [0x80, 0, 0, 0, 0, 0x20, 0, 0]);
    }

    #[test]
    fn a_link_before_its_file_becomes_the_file() {
        let tar = written(&tree(&[
            ("z", file(b"hello")),
            ("a", Kind::HardLink(TreePath::parse("z").unwrap())),
        ]));
        assert_eq!(
            (tar[0], tar[156], &tar[512..517]),
            (b'a', FILE, &b"hello"[..])
        );
        let second = &tar[1024..];
        assert_eq!(
            (second[0], second[156], second[157]),
            (b'z', HARD_LINK, b'a')
        );
    }
}
