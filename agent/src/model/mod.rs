// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What we mean: typed facts that templates and loops work from. Imports no
//! other room.

pub mod dns;
mod secret;

use serde::{Deserialize, Serialize};

pub use secret::Secret;

/// Whose zones are monitored: Triton's own (account admin) or Manta's
/// (account poseidon).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavor {
    /// Triton's core services; SAPI application `sdc`.
    Triton,
    /// Manta's services; SAPI application `manta`.
    Manta,
}
