// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A model becomes files in memory.
//!
//! `hogan` renders what others wrote for the Node config-agent: the config
//! manifests kept in SAPI and in `sapi_manifests` folders.

pub mod hogan;
