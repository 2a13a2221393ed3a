// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Reads the contents of a tree's files, block by block, for every writer.
//! Holes are passed over, and a file that is not what the tree says, or that
//! changes while it is read, is an error: half of an old and half of a new
//! version must never become an image.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use crate::tree::Content;

/// Why the bytes of a file could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// It does not open, or cannot be looked at.
    #[error("could not open {path}")]
    Open {
        /// On the build host.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It opens, and then does not read.
    #[error("could not read {path}")]
    Read {
        /// On the build host.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another length than the tree's, or a time that moved meanwhile.
    #[error("{path} has changed since it was looked at: {what}")]
    Changed {
        /// On the build host.
        path: PathBuf,
        /// What is different.
        what: String,
    },
}

/// One file's bytes, read once from start to end.
pub(crate) struct Blocks<'a> {
    from: Place<'a>,
    len: u64,
    at: u64,
    block: Vec<u8>,
}

enum Place<'a> {
    Memory(&'a [u8]),
    Disk { path: &'a Path, file: File, opened: Stamp, start: u64 },
}

/// What gives a change away.
#[derive(PartialEq, Eq)]
struct Stamp {
    len: u64,
    mtime: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let mtime = (metadata.mtime(), metadata.mtime_nsec());
        Self { len: metadata.len(), mtime }
    }
}

impl<'a> Blocks<'a> {
    /// Opens a file for reading in blocks of `size` bytes.
    ///
    /// Errors: `Open`; `Changed`, when its length is not the tree's.
    pub(crate) fn open(
        content: &'a Content,
        size: usize,
    ) -> Result<Self, ContentError> {
        let from = match content {
            Content::Bytes(bytes) => Place::Memory(bytes),
            Content::OnDisk { path, offset, len } => {
                let (file, opened) = open(path)?;
                let there = opened.len.saturating_sub(*offset);
                // A part of an archive ends before the archive does.
                if there < *len || (*offset == 0 && there != *len) {
                    let what = format!("{len} bytes became {there}");
                    return Err(changed(path, what));
                }
                Place::Disk { path, file, opened, start: *offset }
            }
        };
        Ok(Self { from, len: content.len(), at: 0, block: vec![0; size] })
    }

    /// The next block that is not all zeros, and its offset; the last is
    /// filled up with zeros. None at the end.
    ///
    /// Errors: `Read`; `Changed`.
    pub(crate) fn next_data(
        &mut self,
    ) -> Result<Option<(u64, &[u8])>, ContentError> {
        let size = self.block.len() as u64;
        while let Some(data) = self.skip_hole()? {
            self.at = data / size * size;
            let offset = self.at;
            self.read_block()?;
            if !is_zero(&self.block) {
                return Ok(Some((offset, &self.block)));
            }
        }
        Ok(None)
    }

    /// The next bytes, at most a block, zeros and all. Empty at the end.
    ///
    /// Errors: `Read`; `Changed`.
    pub(crate) fn next_bytes(&mut self) -> Result<&[u8], ContentError> {
        if self.at >= self.len {
            self.check()?;
            return Ok(&[]);
        }
        let count = self.read_block()?;
        Ok(&self.block[..count])
    }

    /// Where data may be next; none after the last.
    fn skip_hole(&self) -> Result<Option<u64>, ContentError> {
        let beyond = self.at >= self.len;
        let next = match &self.from {
            _ if beyond => None,
            Place::Memory(_) => Some(self.at),
            Place::Disk { path, file, start, .. } => {
                let next = seek_data(file, start + self.at)
                    .map_err(|errno| read_failed(path, errno.into()))?;
                next.map(|next| next - start)
            }
        };
        let next = next.filter(|&next| next < self.len);
        if next.is_none() {
            self.check()?;
        }
        Ok(next)
    }

    /// Fills the block from where we are; says how many bytes are the file's.
    fn read_block(&mut self) -> Result<usize, ContentError> {
        let left = self.len.saturating_sub(self.at);
        let count =
            usize::try_from(left).unwrap_or(usize::MAX).min(self.block.len());
        let (bytes, rest) = self.block.split_at_mut(count);
        match &self.from {
            Place::Memory(all) => {
                let start = usize::try_from(self.at)
                    .expect("in memory, so it fits an address");
                bytes.copy_from_slice(&all[start..start + count]);
            }
            Place::Disk { path, file, start, .. } => {
                file.read_exact_at(bytes, start + self.at).map_err(
                    |source| match source.kind() {
                        io::ErrorKind::UnexpectedEof => {
                            changed(path, "it became shorter".to_owned())
                        }
                        _ => read_failed(path, source),
                    },
                )?;
            }
        }
        rest.fill(0);
        self.at += count as u64;
        Ok(count)
    }

    fn check(&self) -> Result<(), ContentError> {
        let Place::Disk { path, file, opened, .. } = &self.from else {
            return Ok(());
        };
        let now = file.metadata().map_err(|error| read_failed(path, error))?;
        if Stamp::of(&now) == *opened {
            return Ok(());
        }
        Err(changed(path, "its length or time is another".to_owned()))
    }
}

fn open(path: &Path) -> Result<(File, Stamp), ContentError> {
    let failed = |source| ContentError::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(changed(path, "it is no plain file".to_owned()));
    }
    Ok((file, Stamp::of(&metadata)))
}

fn changed(path: &Path, what: String) -> ContentError {
    ContentError::Changed { path: path.to_owned(), what }
}

fn read_failed(path: &Path, source: io::Error) -> ContentError {
    ContentError::Read { path: path.to_owned(), source }
}

/// Where data may be next at or after `at`. A file system that knows no holes
/// says that all is data.
fn seek_data(file: &File, at: u64) -> Result<Option<u64>, Errno> {
    let Ok(offset) = i64::try_from(at) else { return Err(Errno::EOVERFLOW) };
    match lseek(file, offset, Whence::SeekData) {
        Ok(next) => Ok(Some(next.unsigned_abs())),
        Err(Errno::ENXIO) => Ok(None),
        Err(Errno::EINVAL | Errno::ENOTSUP) => Ok(Some(at)),
        Err(errno) => Err(errno),
    }
}

fn is_zero(block: &[u8]) -> bool {
    // Pieces that a compiler can look at at once; most blocks end at the
    // first.
    block.chunks(64).all(|piece| piece.iter().fold(0, |or, b| or | b) == 0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn on_disk(path: &Path, len: u64) -> Content {
        Content::OnDisk { path: path.to_owned(), offset: 0, len }
    }

    fn data(content: &Content) -> Vec<(u64, Vec<u8>)> {
        let mut blocks = Blocks::open(content, 512).unwrap();
        let mut all = Vec::new();
        while let Some((offset, block)) = blocks.next_data().unwrap() {
            all.push((offset, block.to_vec()));
        }
        all
    }

    #[test]
    fn blocks_of_zeros_are_passed_over_in_memory_and_on_disk() {
        let mut bytes = vec![0; 3000];
        bytes[600] = 1;
        bytes[2555] = 1;
        bytes[2999] = 2;
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, &bytes).unwrap();
        let memory = data(&Content::Bytes(bytes.as_slice().into()));
        let offsets: Vec<u64> = memory.iter().map(|data| data.0).collect();
        assert_eq!(offsets, [512, 2048, 2560]);
        assert!(memory.iter().all(|data| data.1.len() == 512));
        assert_eq!(memory[2].1[439], 2);
        assert_eq!(memory[2].1[440..], [0; 72], "nothing of the last");
        assert_eq!(data(&on_disk(&path, 3000)), memory);
    }

    #[test]
    fn a_part_of_a_file_is_read_as_if_it_were_one() {
        let mut bytes = vec![9; 4000];
        bytes[700..1300].fill(0);
        bytes[1300] = 7;
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("archive");
        fs::write(&path, &bytes).unwrap();
        let part = Content::OnDisk { path, offset: 700, len: 900 };
        let memory = Content::Bytes(bytes[700..1600].into());
        assert_eq!(data(&part), data(&memory));
    }

    #[test]
    fn a_hole_costs_no_reading() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("sparse");
        let file = File::create(&path).unwrap();
        file.set_len(1 << 40).unwrap();
        file.write_all_at(b"x", (1 << 40) - 700).unwrap();
        let all = data(&on_disk(&path, 1 << 40));
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].0, (1 << 40) - 1024);
    }

    #[test]
    fn a_file_that_changes_is_refused() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, [1; 1024]).unwrap();
        let content = on_disk(&path, 1000);
        let error = Blocks::open(&content, 512).err().unwrap();
        assert!(error.to_string().contains("1000 bytes became 1024"));

        let content = on_disk(&path, 1024);
        let mut blocks = Blocks::open(&content, 512).unwrap();
        blocks.next_data().unwrap();
        File::options().write(true).open(&path).unwrap().set_len(600).unwrap();
        let error = blocks.next_data().unwrap_err();
        assert!(error.to_string().contains("shorter"), "{error}");

        fs::write(&path, [1; 1024]).unwrap();
        let mut blocks = Blocks::open(&content, 2048).unwrap();
        blocks.next_data().unwrap();
        let past = std::time::UNIX_EPOCH;
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(past)
            .unwrap();
        let error = blocks.next_data().unwrap_err();
        assert!(error.to_string().contains("time"), "{error}");
    }

    #[test]
    fn a_file_that_is_gone_names_its_path() {
        let content = on_disk(Path::new("/nowhere/file"), 1);
        let error = Blocks::open(&content, 512).err().unwrap();
        assert_eq!(error.to_string(), "could not open /nowhere/file");
    }
}
