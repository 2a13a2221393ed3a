// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Whether a zone that came over is believed. A CNS with a wiped database
//! serves an empty zone under a fresh serial; one that fills again, a part of
//! it. A secondary that obeys takes the names from under its monitors.

use std::net::SocketAddr;
use std::time::Duration;

use super::refresh::RefreshPolicy;
use crate::dns::store::{Serial, ZoneVersion};

/// A zone that waits to be believed, for status and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// Who serves it.
    pub primary: SocketAddr,
    /// Under this serial.
    pub serial: Serial,
    /// With so many records; `ZoneStatus::records` has ours.
    pub records: usize,
    /// Since when we have seen such zones, without a break.
    pub waiting: Duration,
}

/// Whether `next` in place of `held` looks like a loss: nothing but the apex,
/// or less than the share of records that policy lets go at once.
pub(crate) fn is_doubtful(
    held: Option<&ZoneVersion>,
    next: &ZoneVersion,
    policy: &RefreshPolicy,
) -> bool {
    if next.is_apex_only() {
        // Without a version of ours, too: another primary may have names.
        return held.is_none_or(|held| !held.is_apex_only());
    }
    let Some(held) = held else { return false };
    held.records >= policy.shrink_floor
        && next.records.saturating_mul(100)
            < held.records.saturating_mul(policy.shrink_percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::secondary::fake::{record, version};

    fn zone(hosts: usize) -> ZoneVersion {
        let hosts: Vec<_> = (0..hosts)
            .map(|n| record(&format!("h{n}"), 30, "A 10.0.0.1"))
            .collect();
        version(1, &hosts)
    }

    #[test]
    fn losses_are_doubted() {
        let policy = RefreshPolicy {
            shrink_percent: 50,
            shrink_floor: 20,
            ..RefreshPolicy::default()
        };
        // SOA and NS count.
        for (held, next, doubtful) in [
            (Some(98), 0, true),
            (Some(98), 47, true),
            (Some(98), 48, false),
            (Some(98), 500, false),
            (Some(10), 1, false),
            (Some(1), 0, true),
            (Some(0), 0, false),
            (None, 0, true),
            (None, 1, false),
        ] {
            let held = held.map(zone);
            let judged = is_doubtful(held.as_ref(), &zone(next), &policy);
            assert_eq!(judged, doubtful, "{held:?} {next}");
        }
        let off = RefreshPolicy { shrink_percent: 0, ..policy };
        assert!(!is_doubtful(Some(&zone(98)), &zone(1), &off));
        assert!(is_doubtful(Some(&zone(98)), &zone(0), &off));
    }
}
