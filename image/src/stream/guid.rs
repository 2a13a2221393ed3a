// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The guid of a snapshot, from what is in it.

use std::num::NonZeroU64;

use ring::digest::{Context, SHA256};

use super::StreamError;
use super::record::BLOCK_MAX;
use crate::content::Blocks;
use crate::tree::{Content, Kind, Tree, TreePath};

/// The first 64 bits of a SHA-256 over every name, what it is, its mode,
/// owner and time, and every byte of the files. All-zero blocks count as the
/// gap they leave, so a hole and its zeros give the same guid.
///
/// Reads every file once.
/// Errors: `StreamError::Content`.
pub fn guid(tree: &Tree) -> Result<NonZeroU64, StreamError> {
    let mut sum = Sum(Context::new(&SHA256));
    for (path, entry) in tree.iter() {
        sum.bytes(path.as_bytes());
        let meta = &entry.meta;
        sum.number(meta.mode.into());
        sum.number(meta.uid.into());
        sum.number(meta.gid.into());
        sum.number(meta.mtime);
        match &entry.kind {
            Kind::Directory => sum.number(0),
            Kind::File(content) => {
                sum.number(1);
                sum.content(path, content)?;
            }
            Kind::HardLink(target) => {
                sum.number(2);
                sum.bytes(target.as_bytes());
            }
            Kind::Symlink(target) => {
                sum.number(3);
                sum.bytes(target);
            }
        }
    }
    let digest = sum.0.finish();
    let first = digest.as_ref().first_chunk::<8>().expect("32 bytes");
    Ok(NonZeroU64::new(u64::from_le_bytes(*first)).unwrap_or(NonZeroU64::MIN))
}

/// Everything goes in with its length, so that no two trees read the same.
struct Sum(Context);

impl Sum {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn content(
        &mut self,
        path: &TreePath,
        content: &Content,
    ) -> Result<(), StreamError> {
        let failed =
            |source| StreamError::Content { path: path.clone(), source };
        self.number(content.len());
        let mut blocks = Blocks::open(content, BLOCK_MAX).map_err(failed)?;
        while let Some((offset, block)) = blocks.next_data().map_err(failed)? {
            self.number(offset);
            self.0.update(block);
        }
        self.number(u64::MAX);
        Ok(())
    }
}
