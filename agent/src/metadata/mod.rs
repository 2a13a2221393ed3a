// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What SAPI tells us, and what this zone adds to it.
//!
//! `config` reads the body of `GET /configs/:uuid`, `local` the manifest
//! folders on disk, `auto` makes the `auto.*` variables, and `resolve` decides
//! which manifests win and builds the one context that all their templates
//! share. Only `local` touches the disk; the rest is plain functions over
//! plain data.

pub mod auto;
pub mod config;
pub mod local;
pub mod resolve;
