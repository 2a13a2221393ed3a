// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Sizes of caches: what keys may say, and what follows from memory.

use super::super::super::grammar::size_bytes;

const MIB: u64 = 1 << 20;

/// The least that is of any use.
const LEAST: u64 = 8 * MIB;

/// Thanos' own ceiling of what its index cache keeps as one item; a cache
/// below it refuses to start unless told a smaller one.
/// Source: contract sheet, section 4.
const INDEX_ITEM: u64 = 125 * MIB;

/// What is accepted, in words that follow "wanted".
pub(super) const WANTED: &str =
    "8MB or more, with a unit (MB, GB, TB), such as 250MB";

/// Whether a text is the size of a cache.
pub(super) fn is_cache(text: &str) -> bool {
    size_bytes(text).is_some_and(|bytes| (LEAST..1 << 43).contains(&bytes))
}

/// A quotient of `memory`, or `otherwise` MiB without one; as a text.
pub(super) fn share(memory: Option<u64>, of: u64, otherwise: u64) -> String {
    let bytes = memory.map_or(otherwise * MIB, |memory| memory / of);
    format!("{}MB", bytes.max(LEAST) / MIB)
}

/// The largest item of an index cache of `size`: a quarter of it, so that
/// one item does not push out all others.
pub(super) fn index_item(size: &str) -> String {
    let bytes = size_bytes(size).unwrap_or(LEAST);
    format!("{}MB", (bytes / 4).clamp(MIB, INDEX_ITEM) / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Below 125 MiB Thanos would not start; the item must fit the cache.
    #[test]
    fn an_item_fits_its_cache_whatever_its_size() {
        for size in ["8MB", "100MB", "124MB", "250MB", "4GB", "1TB"] {
            assert!(is_cache(size), "{size}");
            let item = size_bytes(&index_item(size)).unwrap();
            assert!((MIB..=INDEX_ITEM).contains(&item), "{size}");
            assert!(item < size_bytes(size).unwrap(), "{size}");
        }
        for bad in ["", "7MB", "250", "9TiB", "99999999TB", "-1GB"] {
            assert!(!is_cache(bad), "{bad}");
        }
        assert_eq!(share(None, 4, 250), "250MB");
        assert_eq!(share(Some(4 << 30), 4, 250), "1024MB");
        assert_eq!(share(Some(1), 4, 250), "8MB");
    }
}
