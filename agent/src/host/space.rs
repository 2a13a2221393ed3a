// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Room on a file system.

use std::path::Path;

/// Room on a file system, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All there is; under a quota, the quota.
    pub size: u64,
    /// What may still be written.
    pub available: u64,
}

/// Bytes that the set-up of a zone and its agent's first pass write, and some
/// to spare: a zone with less free does not come back from a reprovision.
pub const SETUP_LEAST: u64 = 64 << 20;

/// The room where `path` lies; `None` when it cannot be told.
#[expect(
    clippy::useless_conversion,
    reason = "block counts have other types on illumos"
)]
pub fn space(path: &Path) -> Option<Space> {
    let found = nix::sys::statvfs::statvfs(path).ok()?;
    let block = u64::try_from(found.fragment_size()).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(block);
    Some(Space {
        size: bytes(u64::try_from(found.blocks()).ok()?),
        available: bytes(u64::try_from(found.blocks_available()).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_free_than_there_is() {
        let space = space(Path::new("/")).unwrap();
        assert!(space.available <= space.size && space.size > 0);
        assert_eq!(super::space(Path::new("/nowhere/at/all")), None);
    }
}
