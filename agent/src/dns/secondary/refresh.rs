// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! When a secondary asks which primary, and what a serial means: decisions
//! without a socket or a clock. `transfer.rs` acts on them.

use std::net::SocketAddr;
use std::time::Duration;

use crate::dns::store::{Serial, SoaTimers, ZoneVersion};

/// When to ask primaries, and how far to trust them.
#[derive(Clone, Copy, Debug)]
pub struct RefreshPolicy {
    /// Bounds of the SOA's refresh and retry.
    pub interval_min: Duration,
    /// See `interval_min`.
    pub interval_max: Duration,
    /// Bounds of the SOA's expire.
    pub expire_min: Duration,
    /// See `expire_min`.
    pub expire_max: Duration,
    /// Whether a zone past its expire is served all the same.
    pub serve_expired: bool,
    /// A SOA query, TCP included.
    pub probe_limit: Duration,
    /// The shortest time between two rounds that NOTIFY asked for.
    pub notify_gap: Duration,
    /// Bad rounds in a row after which another primary is taken.
    pub failover_after: u32,
    /// Whether differences are asked for (IXFR).
    pub incremental: bool,
    /// Whether differences that remove what is absent, or add what is there,
    /// are thrown away for a full transfer; otherwise they are only counted.
    pub strict_differences: bool,
    /// How long a zone that lost everything or much must stay so to replace
    /// the one in force.
    pub hold_back: Duration,
    /// "Much": fewer records left than this share, percent; 0 turns it off,
    /// not for an empty zone.
    pub shrink_percent: usize,
    /// Zones of fewer records may shrink as they like.
    pub shrink_floor: usize,
    /// A full transfer at least this often, even at an equal serial: after a
    /// restart CNS can show two contents under one, and its differences can
    /// lack records.
    pub full_every: Duration,
}

impl Default for RefreshPolicy {
    /// CNS writes refresh 30 s, retry 60 s, expire 30 days.
    fn default() -> Self {
        Self {
            interval_min: Duration::from_secs(1),
            interval_max: Duration::from_secs(3600),
            expire_min: Duration::from_secs(3600),
            expire_max: Duration::from_secs(30 * 86_400),
            // Stale names beat none for a monitor.
            serve_expired: true,
            probe_limit: Duration::from_secs(5),
            notify_gap: Duration::from_secs(1),
            failover_after: 2,
            incremental: true,
            // CNS's full transfer is no snapshot: what does not fit says that
            // ours was spoilt. NSD 4.6 adds what is there as a habit.
            strict_differences: true,
            hold_back: Duration::from_secs(15 * 60),
            shrink_percent: 50,
            shrink_floor: 20,
            // A CNS zone is small: hourly is cheap.
            full_every: Duration::from_secs(3600),
        }
    }
}

/// First wait of a zone that has no data yet; doubles up to the second.
const EAGER: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// Whether a primary's serial asks for a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    /// What has changed since our version.
    Changes,
    Full(&'static str),
}

/// The reason for a full transfer that nothing else asks for.
pub(crate) const SCHEDULED: &str = "scheduled comparison";

/// What is known when a primary has shown its serial.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    pub(crate) primary: SocketAddr,
    pub(crate) serial: Serial,
    /// It showed a doubtful zone in place of ours last time.
    pub(crate) suspect: bool,
    /// It is time for a full transfer.
    pub(crate) full_due: bool,
    /// Differences may be asked of it.
    pub(crate) gives_differences: bool,
}

/// Whether an offer asks for a transfer. Serials are compared with those of
/// the same primary only; differences never cross from one to another.
pub(crate) fn need(current: Option<&ZoneVersion>, offer: Offer) -> Need {
    let Some(current) = current else {
        return Need::Full("no version yet");
    };
    if current.provenance.primary != offer.primary {
        return Need::Full("another primary");
    }
    if offer.suspect {
        // One that was empty a moment ago may pass by our own serial.
        return Need::Full("doubtful so far");
    }
    if current.is_apex_only() {
        // A CNS whose database was wiped fills again under a serial that it
        // may have shown while empty. An empty zone costs nothing to fetch.
        return Need::Full("empty so far");
    }
    if offer.serial == current.serial {
        return match offer.full_due {
            true => Need::Full(SCHEDULED),
            false => Need::Nothing,
        };
    }
    if !offer.serial.is_newer_than(current.serial) {
        return Need::Full("serial went back");
    }
    match offer.gives_differences {
        true => Need::Changes,
        false => Need::Full("newer serial"),
    }
}

/// The wait after a round, before jitter.
pub(crate) fn next_round(
    timers: Option<SoaTimers>,
    failures: u32,
    policy: &RefreshPolicy,
) -> Duration {
    let [first, last] = EAGER;
    let eager =
        first.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(last);
    let wanted = match timers {
        None => eager.min(policy.interval_max).max(
            // A test's short bounds hold for this, too.
            policy.interval_min.min(first),
        ),
        Some(timers) if failures == 0 => timers.refresh,
        // CNS's retry is longer than its refresh: asking less often because
        // something is wrong helps nobody.
        Some(timers) => timers.retry.min(timers.refresh),
    };
    wanted.clamp(
        policy.interval_min,
        policy.interval_max.max(policy.interval_min),
    )
}

/// Up to a tenth more or less, so that zones and instances drift apart.
pub(crate) fn jitter(delay: Duration) -> Duration {
    delay.mul_f64(0.9 + 0.2 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::secondary::fake::{record, version};

    #[test]
    fn waits_follow_the_soa_within_bounds() {
        let policy = RefreshPolicy::default();
        let secs = Duration::from_secs;
        let cns = version(1, &[]).timers;
        let wait = |timers, failures| next_round(timers, failures, &policy);
        assert_eq!(wait(Some(cns), 0), secs(30));
        assert_eq!(
            wait(Some(cns), 3),
            secs(30),
            "retry is longer than refresh"
        );
        let slow = SoaTimers { refresh: secs(86_400), retry: secs(600), ..cns };
        assert_eq!(wait(Some(slow), 0), secs(3600));
        assert_eq!(wait(Some(slow), 1), secs(600));
        let hasty = SoaTimers { refresh: secs(0), ..cns };
        assert_eq!(wait(Some(hasty), 0), secs(1));
        assert_eq!(wait(None, 1), secs(1));
        assert_eq!(wait(None, 3), secs(4));
        assert_eq!(wait(None, 99), secs(30));
        for _ in 0..100 {
            let wait = jitter(secs(10));
            assert!((secs(9)..=secs(11)).contains(&wait));
        }
    }

    #[test]
    fn serials_are_compared_with_their_own_primary_only() {
        let current = version(100, &[record("a", 1, "A 10.0.0.1")]);
        let own = current.provenance.primary;
        let offer = Offer {
            primary: own,
            serial: Serial(100),
            suspect: false,
            full_due: false,
            gives_differences: true,
        };
        let says = |offer| need(Some(&current), offer);
        let at = |serial| Offer { serial: Serial(serial), ..offer };
        assert_eq!(says(at(100)), Need::Nothing);
        assert_eq!(says(at(101)), Need::Changes);
        assert_eq!(says(at(99)), Need::Full("serial went back"));
        assert_eq!(says(at(100 + (1 << 31))), Need::Full("serial went back"));
        let other = "127.0.0.2:53".parse().unwrap();
        for serial in [99, 100, 101] {
            let other = Offer { primary: other, ..at(serial) };
            assert_eq!(says(other), Need::Full("another primary"));
            let suspect = Offer { suspect: true, ..at(serial) };
            assert_eq!(says(suspect), Need::Full("doubtful so far"));
        }
        let due = Offer { full_due: true, ..offer };
        assert_eq!(says(due), Need::Full(SCHEDULED));
        let whole = Offer { gives_differences: false, ..at(101) };
        assert_eq!(says(whole), Need::Full("newer serial"));
        assert_eq!(need(None, offer), Need::Full("no version yet"));
        let empty = version(100, &[]);
        assert_eq!(need(Some(&empty), offer), Need::Full("empty so far"));
    }
}
