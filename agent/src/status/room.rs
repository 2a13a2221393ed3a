// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the zone may use and what room it has left.

use serde::{Deserialize, Serialize};

use crate::walk::WalkStatus;

/// The zone's caps and the room it has; what is not known is absent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RoomPart {
    /// Physical memory.
    pub memory_cap_bytes: Option<u64>,
    /// CPU, in processors.
    pub cpu_cap_cores: Option<f64>,
    /// Quota of the zone's datasets.
    pub quota_bytes: Option<u64>,
    /// Size of the file system that holds the daemons' data.
    pub data_size_bytes: Option<u64>,
    /// Room left there.
    pub data_available_bytes: Option<u64>,
    /// Random, made once and kept with the data: of other data another.
    #[serde(default)]
    pub data_id: Option<String>,
}

impl RoomPart {
    pub(super) fn new(walk: &WalkStatus, data_id: Option<&String>) -> Self {
        let space = walk.data.as_deref().and_then(crate::host::space);
        Self {
            memory_cap_bytes: walk.caps.memory_bytes,
            cpu_cap_cores: walk.caps.cpu_percent.map(|p| f64::from(p) / 100.0),
            quota_bytes: walk.caps.quota_bytes,
            data_size_bytes: space.map(|space| space.size),
            data_available_bytes: space.map(|space| space.available),
            data_id: data_id.cloned(),
        }
    }
}
