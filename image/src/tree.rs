// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What an image holds, in memory: every name with its mode, owner, time and
//! where its bytes are. Nothing is laid out on a disk to be packed: a build
//! makes a `Tree`, and the writers (ZFS stream, tar) write it out. So owners
//! and modes need no root, and no umask or locale can change a byte.
//!
//! Bytes of files stay where they are (a cache, the workspace) until a writer
//! reads them; a tree of a whole Debian is a few MiB.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

/// Longest component, bytes: ZFS's and Linux's own limit.
pub const NAME_MAX: usize = 255;
/// Longest path and longest target of a link, bytes: below PATH_MAX (1,024)
/// of illumos with its NUL.
pub const PATH_MAX: usize = 1023;

/// A path below the root of an image, as bytes: `etc/passwd`. Empty is the
/// root itself. Never absolute, no `.`, `..`, empty component or NUL.
///
/// Order is by component, so that a folder comes right before what it holds:
/// the order in which every writer goes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TreePath(Vec<u8>);

/// Why something cannot be in a tree.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TreeError {
    /// Not a path below the root of an image.
    #[error("bad path {path:?}: {why}")]
    BadPath {
        /// As it came, invalid UTF-8 replaced.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two things want one name.
    #[error("{path} is there already, as {there}; cannot also be {new}")]
    Taken {
        /// The name.
        path: TreePath,
        /// What has it.
        there: &'static str,
        /// What wants it.
        new: &'static str,
    },
    /// A component of the path is no directory.
    #[error("{path}: {parent} is {there}, not a directory")]
    NotADirectory {
        /// The name wanted.
        path: TreePath,
        /// The component.
        parent: TreePath,
        /// What it is.
        there: &'static str,
    },
    /// A symbolic link to what no system takes.
    #[error("{path}: bad target of a symbolic link: {why}")]
    BadTarget {
        /// The link.
        path: TreePath,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A hard link to nothing, or to what is no file.
    #[error("{path}: hard link to {target}, which is {there}")]
    BadHardLink {
        /// The link.
        path: TreePath,
        /// Where it leads.
        target: TreePath,
        /// What is there.
        there: &'static str,
    },
}

impl TreePath {
    /// The root of the image.
    pub fn root() -> Self {
        Self(Vec::new())
    }

    /// Checks `path`; leading slashes are left out (`/etc` is `etc`).
    ///
    /// Errors: `TreeError::BadPath`.
    pub fn parse(path: impl AsRef<[u8]>) -> Result<Self, TreeError> {
        let given = path.as_ref();
        let bad = |why| TreeError::BadPath {
            path: String::from_utf8_lossy(given).into_owned(),
            why,
        };
        let start = given.iter().take_while(|&&byte| byte == b'/').count();
        let path = &given[start..];
        if path.is_empty() {
            return Ok(Self::root());
        }
        if path.len() > PATH_MAX {
            return Err(bad("longer than 1,023 bytes"));
        }
        for component in path.split(|&byte| byte == b'/') {
            match component {
                b"" => return Err(bad("an empty component")),
                b"." | b".." => return Err(bad("a component . or ..")),
                _ if component.len() > NAME_MAX => {
                    return Err(bad("a component longer than 255 bytes"));
                }
                _ if component.contains(&0) => return Err(bad("a NUL")),
                _ => {}
            }
        }
        Ok(Self(path.to_vec()))
    }

    /// The bytes, without a leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => &self.0[slash + 1..],
            None => &self.0,
        }
    }

    /// The directory that holds it; none for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => Self(self.0[..slash].to_vec()),
            None => Self::root(),
        })
    }

    /// Whether this is `top` or lies below it.
    pub fn is_at_or_below(&self, top: &Self) -> bool {
        let rest = self.0.strip_prefix(&top.0[..]);
        top.is_root()
            || rest.is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
    }

    /// This path below `base`.
    ///
    /// Errors: `TreeError::BadPath`, when the whole is too long.
    pub fn below(&self, base: &Self) -> Result<Self, TreeError> {
        match (base.is_root(), self.is_root()) {
            (true, _) => Ok(self.clone()),
            (_, true) => Ok(base.clone()),
            _ => Self::parse([&base.0[..], b"/", &self.0].concat()),
        }
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // `/` sorts below every other byte, so that a/b comes before a-b.
        let key = |byte: &u8| if *byte == b'/' { 0u8 } else { *byte };
        self.0.iter().map(key).cmp(other.0.iter().map(key))
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Owner and permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky: 0 to 0o7777.
    pub mode: u16,
    /// Owner, a plain number.
    pub uid: u32,
    /// Group, a plain number.
    pub gid: u32,
    /// Modification time, seconds since 1970 UTC; stands for all times.
    pub mtime: u64,
}

/// Where the bytes of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// In memory: small files that a build makes.
    Bytes(Arc<[u8]>),
    /// In a file of the build host, read when written: the whole of it, or
    /// the part that an archive holds there.
    OnDisk {
        /// Which.
        path: PathBuf,
        /// Where in it the bytes start.
        offset: u64,
        /// How many bytes; a writer that finds fewer fails.
        len: u64,
    },
}

impl Content {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::OnDisk { len, .. } => *len,
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, from the first to the last.
    ///
    /// Errors: the file is gone. A reader that ends before `len` bytes means
    /// that it has been cut since.
    pub fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(match self {
            Self::Bytes(bytes) => Box::new(&bytes[..]),
            Self::OnDisk { path, offset, len } => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(*offset))?;
                Box::new(file.take(*len))
            }
        })
    }
}

/// What a name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file of its own.
    File(Content),
    /// A further name of the file at the path.
    HardLink(TreePath),
    /// A symbolic link; any target, as bytes.
    Symlink(Vec<u8>),
}

impl Kind {
    /// For messages.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Directory => "a directory",
            Self::File(_) => "a file",
            Self::HardLink(_) => "a hard link",
            Self::Symlink(_) => "a symbolic link",
        }
    }
}

/// One name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Owner and permissions; of a hard link those of its file count.
    pub meta: Meta,
}

/// Every name below the root, and the root itself.
///
/// Always whole: each parent is there and a directory, each hard link leads
/// to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<TreePath, Entry>,
}

impl Tree {
    /// Nothing but the root directory.
    pub fn new(root: Meta) -> Self {
        let entry = Entry { kind: Kind::Directory, meta: root };
        Self { entries: BTreeMap::from([(TreePath::root(), entry)]) }
    }

    /// Adds a name; a directory that is there takes the new owner and mode.
    ///
    /// Errors: `Taken`, `NotADirectory` (also when the parent is missing),
    /// `BadTarget`, `BadHardLink`. Nothing has changed then.
    pub fn insert(
        &mut self,
        path: TreePath,
        entry: Entry,
    ) -> Result<(), TreeError> {
        self.check_parent(&path)?;
        if let Kind::Symlink(target) = &entry.kind
            && let Err(why) = check_target(target)
        {
            return Err(TreeError::BadTarget { path, why });
        }
        if let Kind::HardLink(target) = &entry.kind {
            let there = self.noun_at(target);
            if !matches!(self.kind_at(target), Some(Kind::File(_))) {
                let target = target.clone();
                return Err(TreeError::BadHardLink { path, target, there });
            }
        }
        if let Some(there) = self.entries.get(&path) {
            let both = (&there.kind, &entry.kind);
            if !matches!(both, (Kind::Directory, Kind::Directory)) {
                let (there, new) = (there.kind.noun(), entry.kind.noun());
                return Err(TreeError::Taken { path, there, new });
            }
        }
        self.entries.insert(path, entry);
        Ok(())
    }

    /// Adds a name and the directories above it that are missing, which take
    /// `above`.
    ///
    /// Errors: as `insert`; directories made stay then.
    pub fn insert_deep(
        &mut self,
        path: TreePath,
        entry: Entry,
        above: Meta,
    ) -> Result<(), TreeError> {
        let mut missing = Vec::new();
        let mut parent = path.parent();
        while let Some(there) = parent {
            if self.entries.contains_key(&there) {
                break;
            }
            parent = there.parent();
            missing.push(there);
        }
        for directory in missing.into_iter().rev() {
            let entry = Entry { kind: Kind::Directory, meta: above };
            self.insert(directory, entry)?;
        }
        self.insert(path, entry)
    }

    /// Lays all of `other` but its root below `at`; directories above that are
    /// missing take `above`. With `replace`, files and links of `other` take
    /// the place of what has their names.
    ///
    /// Errors: as `insert`; what was laid stays then.
    pub fn graft(
        &mut self,
        other: &Self,
        at: &TreePath,
        above: Meta,
        replace: bool,
    ) -> Result<(), TreeError> {
        // A link may come before its file by name: links last.
        let is_link = |entry: &Entry| matches!(entry.kind, Kind::HardLink(_));
        for links in [false, true] {
            let names = other.iter().filter(|(path, entry)| {
                !path.is_root() && is_link(entry) == links
            });
            for (path, entry) in names {
                let mut entry = entry.clone();
                if let Kind::HardLink(target) = &mut entry.kind {
                    *target = target.below(at)?;
                }
                let path = path.below(at)?;
                if replace && !matches!(entry.kind, Kind::Directory) {
                    self.remove(&path, false);
                }
                self.insert_deep(path, entry, above)?;
            }
        }
        Ok(())
    }

    /// Takes a name away, with all below; with `content`, only what is below.
    /// Returns how many names. A file that hard links outside still name
    /// lives on under the first of them.
    pub fn remove(&mut self, path: &TreePath, content: bool) -> usize {
        let goes = |name: &TreePath| {
            name.is_at_or_below(path) && !(content && name == path)
        };
        let names = self.entries.range(path.clone()..);
        let names: Vec<_> = names
            .map(|(name, _)| name)
            .take_while(|name| name.is_at_or_below(path))
            .filter(|name| goes(name) && !name.is_root())
            .cloned()
            .collect();
        for name in &names {
            let gone = self.entries.remove(name);
            if let Some(gone @ Entry { kind: Kind::File(_), .. }) = gone {
                self.bequeath(name, gone, &goes);
            }
        }
        names.len()
    }

    /// Hands a file to the first of its other names, and the rest to that one.
    fn bequeath(
        &mut self,
        from: &TreePath,
        file: Entry,
        goes: &impl Fn(&TreePath) -> bool,
    ) {
        let links = self.entries.iter().filter(|(name, entry)| {
            !goes(name)
                && matches!(&entry.kind, Kind::HardLink(to) if to == from)
        });
        let heirs: Vec<_> = links.map(|(name, _)| name.clone()).collect();
        let Some((first, others)) = heirs.split_first() else { return };
        self.entries.insert(first.clone(), file);
        for other in others {
            if let Some(entry) = self.entries.get_mut(other) {
                entry.kind = Kind::HardLink(first.clone());
            }
        }
    }

    fn check_parent(&self, path: &TreePath) -> Result<(), TreeError> {
        let Some(parent) = path.parent() else { return Ok(()) };
        if matches!(self.kind_at(&parent), Some(Kind::Directory)) {
            return Ok(());
        }
        let there = self.noun_at(&parent);
        Err(TreeError::NotADirectory { path: path.clone(), parent, there })
    }

    fn kind_at(&self, path: &TreePath) -> Option<&Kind> {
        self.entries.get(path).map(|entry| &entry.kind)
    }

    fn noun_at(&self, path: &TreePath) -> &'static str {
        self.kind_at(path).map_or("missing", Kind::noun)
    }

    /// The entry at a path.
    pub fn get(&self, path: &TreePath) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Whether it is a folder that holds something.
    #[must_use]
    pub fn is_filled(&self, path: &TreePath) -> bool {
        let below = self.entries.range(path.clone()..).nth(1);
        below.is_some_and(|(name, _)| name.is_at_or_below(path))
    }

    /// All names in the order of writing: each directory right before what it
    /// holds, the root first.
    pub fn iter(&self) -> impl Iterator<Item = (&TreePath, &Entry)> {
        self.entries.iter()
    }

    /// How many names, the root among them.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Never: the root is always there.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn check_target(target: &[u8]) -> Result<(), &'static str> {
    match target {
        [] => Err("empty"),
        _ if target.len() > PATH_MAX => Err("longer than 1,023 bytes"),
        _ if target.contains(&0) => Err("a NUL"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
