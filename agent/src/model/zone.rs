// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the zone may use, and how its daemons share it.

use serde::Serialize;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Kept for config-agent, the shell and the kernel's own needs, bytes.
const RESERVE: u64 = 128 * MIB;

/// What the image and logs take of the quota, bytes.
const ROOT: u64 = 2 * GIB;

/// The zone's caps, from its package; a cap that is not known binds nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Caps {
    /// Physical memory, bytes.
    pub memory_bytes: Option<u64>,
    /// CPU, percent of one processor.
    pub cpu_percent: Option<u32>,
    /// Quota of the zone's datasets, the delegate dataset's share included,
    /// bytes.
    pub quota_bytes: Option<u64>,
}

/// What one Go program is told about its share of the zone. On illumos it
/// sees neither the memory cap nor the CPU cap by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GoLimits {
    /// `GOMEMLIMIT`, bytes: beyond it the collector works harder.
    pub memory_bytes: Option<u64>,
    /// `GOMAXPROCS`.
    pub processors: Option<u32>,
}

impl Caps {
    /// The limits of a daemon that may have `part` of `whole` shares of the
    /// zone's memory. A tenth is left free: the limit is a soft one.
    pub fn go_limits(&self, part: u64, whole: u64) -> GoLimits {
        GoLimits {
            memory_bytes: self.memory_bytes.map(|bytes| {
                let share = bytes.saturating_sub(RESERVE) / whole.max(1) * part;
                (share / 10 * 9).max(32 * MIB)
            }),
            processors: self.processors(),
        }
    }

    /// Processors that the CPU cap amounts to, rounded up.
    pub fn processors(&self) -> Option<u32> {
        self.cpu_percent.map(|percent| percent.div_ceil(100).max(1))
    }

    /// Bytes a store on the delegate dataset may keep: seven tenths of what
    /// image and logs leave. The rest is for what is being written and merged
    /// and for the time it takes someone to answer a warning.
    pub fn store_bytes(&self) -> Option<u64> {
        let quota = self.quota_bytes?;
        Some(quota.saturating_sub(ROOT) / 10 * 7)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_leave_room_and_never_vanish() {
        let caps = Caps {
            memory_bytes: Some(1024 * MIB),
            cpu_percent: Some(150),
            quota_bytes: Some(25 * GIB),
        };
        let limits = caps.go_limits(3, 4);
        let memory = limits.memory_bytes.unwrap();
        assert!((600 * MIB..620 * MIB).contains(&memory), "{memory}");
        assert_eq!(limits.processors, Some(2));
        assert_eq!(caps.store_bytes().unwrap() / GIB, 16);
        let tiny = Caps { memory_bytes: Some(1), ..Caps::default() };
        assert_eq!(tiny.go_limits(1, 4).memory_bytes, Some(32 * MIB));
        assert_eq!(Caps::default().go_limits(1, 1), GoLimits::default());
    }
}
