// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! zone-image: SmartOS and LX images of the three appliances, built on plain
//! Linux, the same bytes every time.
//!
//! The rooms in reading order: `tree` (what an image holds, in memory),
//! `content` (the bytes of its files), `stream` and `tar` (the tree as a ZFS
//! send stream, or as a tar), `gzip`, `output` (the file that is left).

pub mod content;
pub mod gzip;
pub mod output;
pub mod stream;
pub mod tar;
pub mod tree;
