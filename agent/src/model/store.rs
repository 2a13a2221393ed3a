// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The object store that blocks are shipped to.

use serde::Serialize;
use serde_json::Value;

use super::Secret;

/// Where Thanos keeps blocks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ObjectStore {
    /// The file that Thanos reads: ours, or one that the operator put on the
    /// data folder.
    pub path: String,
    /// Content of ours: `type`, `config` and `prefix` as Thanos has them,
    /// keys included. For the daemon's user alone.
    pub content: Option<Secret<Value>>,
}
