// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! zone-image: SmartOS and LX images of the three appliances, built on plain
//! Linux, the same bytes every time.
//!
//! ```text
//! recipe, artifacts ──▶ look ──▶ plan ──▶ build ──▶ tree ──▶ deliver
//! ```
//!
//! The rooms in reading order. What is asked for: `recipe` (what an image is
//! made of), `artifacts` (which bytes a component is). What will be done:
//! `look` (facts of this machine) with `built` (what is wrong with a program of
//! ours), `stamp` (version and time), `plan` (ordered steps, or all that stands
//! in the way). What is done: `fetch` and `cache`
//! (inputs by their digest), `build` with `unpack`, `debian`, `golang` and
//! `elf` (steps become a tree), `tree` (what an image holds, in memory). What
//! comes out: `deliver` with `writers` (`stream`, a ZFS send stream; `tar`;
//! `gzip`; `content`, the bytes of files; `output`, a file whole or not
//! there), `manifest`, `sbom` and `sign`. What happens to it: `verify`,
//! `publish`. `cli` is the way in, `digest`, `problem` and `scratch` serve
//! all.

pub mod artifacts;
pub mod build;
pub mod built;
pub mod cache;
pub mod cli;
pub mod content;
pub mod crates;
pub mod debian;
pub mod deliver;
pub mod digest;
pub mod elf;
pub mod fetch;
pub mod golang;
pub mod gzip;
pub mod linker;
pub mod look;
pub mod manifest;
pub mod output;
pub mod plan;
pub mod problem;
pub mod publish;
pub mod recipe;
pub mod sbom;
pub mod scratch;
pub mod sign;
pub mod stamp;
pub mod stream;
pub mod tar;
pub mod tree;
pub mod unpack;
pub mod verify;
pub mod writers;
