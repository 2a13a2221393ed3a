// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a SOA record says about its zone: its serial, which orders versions,
//! and its timers.

use std::fmt;
use std::time::Duration;

use hickory_proto::rr::rdata::SOA;
use serde::Serialize;

/// A zone's serial; newer and older by RFC 1982, so there is no `Ord`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Serial(pub u32);

impl Serial {
    /// Whether `self` comes after `other`. False for equal serials and for
    /// two that are exactly 2^31 apart, which RFC 1982 §3.2 leaves undefined.
    pub fn is_newer_than(self, other: Serial) -> bool {
        (1..1 << 31).contains(&self.0.wrapping_sub(other.0))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The timers of a SOA record as its primary wrote them (RFC 1035 §3.3.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoaTimers {
    /// Ask the primary again after this.
    pub refresh: Duration,
    /// ... or after this, if it did not answer.
    pub retry: Duration,
    /// Without an answer for this long the data is called expired.
    pub expire: Duration,
    /// Upper bound of negative TTLs, in seconds (RFC 2308 §4).
    pub minimum: u32,
}

impl SoaTimers {
    pub(super) fn from_soa(soa: &SOA) -> Self {
        // hickory's fields are signed, the wire's are not.
        let secs = |n: i32| Duration::from_secs(u64::from(n.cast_unsigned()));
        Self {
            refresh: secs(soa.refresh),
            retry: secs(soa.retry),
            expire: secs(soa.expire),
            minimum: soa.minimum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_follow_rfc_1982() {
        let newer = |a: u32, b: u32| Serial(a).is_newer_than(Serial(b));
        assert!(newer(1, 0));
        assert!(newer(0, u32::MAX));
        assert!(newer(100, u32::MAX - 100));
        assert!(!newer(5, 5));
        assert!(!newer(0, 1));
        assert!(!newer(1 << 31, 0) && !newer(0, 1 << 31));
        assert!(newer((1 << 31) - 1, 0));
    }
}
