// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! When a secondary asks which primary, and what a serial means: decisions
//! without a socket or a clock. `transfer.rs` acts on them.

use std::net::SocketAddr;
use std::time::Duration;

use super::store::{Serial, SoaTimers, ZoneVersion};

/// When to ask primaries, and how far to trust them.
#[derive(Clone, Copy, Debug)]
pub struct RefreshPolicy {
    /// Bounds of the SOA's refresh and retry.
    pub interval_min: Duration,
    /// See `interval_min`.
    pub interval_max: Duration,
    /// A SOA query, TCP included.
    pub probe_limit: Duration,
    /// The shortest time between two rounds that NOTIFY asked for.
    pub notify_gap: Duration,
    /// Bad rounds in a row after which another primary is taken.
    pub failover_after: u32,
    /// How long an empty zone must stay empty to replace a populated one.
    pub empty_zone_wait: Duration,
    /// A full transfer at least this often, even at an equal serial: after a
    /// restart CNS can show two contents under one.
    pub full_every: Duration,
}

impl Default for RefreshPolicy {
    /// CNS writes refresh 30 s and retry 60 s.
    fn default() -> Self {
        Self {
            interval_min: Duration::from_secs(1),
            interval_max: Duration::from_secs(3600),
            probe_limit: Duration::from_secs(5),
            notify_gap: Duration::from_secs(1),
            failover_after: 2,
            empty_zone_wait: Duration::from_secs(15 * 60),
            full_every: Duration::from_secs(3600),
        }
    }
}

/// First wait of a zone that has no data yet; doubles up to the second.
const EAGER: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// Whether a primary's serial asks for a transfer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    Full(&'static str),
}

/// Primaries in the order to try them: the one we have the zone from first,
/// and no other while we `stay` with it.
pub(crate) fn order(
    primaries: &[SocketAddr],
    from: Option<SocketAddr>,
    stay: bool,
) -> Vec<SocketAddr> {
    let Some(from) = from.filter(|from| primaries.contains(from)) else {
        return primaries.to_vec();
    };
    let others = primaries.iter().copied().filter(|p| *p != from && !stay);
    std::iter::once(from).chain(others).collect()
}

/// Whether what `primary` offers asks for a transfer. Serials are compared
/// with those of the same primary only. `suspect`: it showed an empty zone in
/// place of ours last time.
pub(crate) fn need(
    current: Option<&ZoneVersion>,
    primary: SocketAddr,
    offered: Serial,
    suspect: bool,
    since_full: Duration,
    policy: &RefreshPolicy,
) -> Need {
    let Some(current) = current else {
        return Need::Full("no version yet");
    };
    if current.provenance.primary != primary {
        return Need::Full("another primary");
    }
    if offered == current.serial {
        // A CNS whose database was wiped fills again under a serial that it
        // may have shown while empty. An empty zone costs nothing to fetch.
        // And one that was empty a moment ago may pass by our own serial.
        if suspect || current.is_apex_only() {
            return Need::Full("empty so far");
        }
        return match since_full >= policy.full_every {
            true => Need::Full("scheduled comparison"),
            false => Need::Nothing,
        };
    }
    if offered.is_newer_than(current.serial) {
        Need::Full("newer serial")
    } else {
        Need::Full("serial went back")
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
    use crate::dns::fake::{record, version};

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
        let policy = RefreshPolicy::default();
        let empty = version(100, &[]);
        let current = version(100, &[record("a", 1, "A 10.0.0.1")]);
        let own = current.provenance.primary;
        let other = "127.0.0.2:53".parse().unwrap();
        let says = |primary, serial| {
            need(
                Some(&current),
                primary,
                Serial(serial),
                false,
                Duration::ZERO,
                &policy,
            )
        };
        assert_eq!(says(own, 100), Need::Nothing);
        assert_eq!(says(own, 101), Need::Full("newer serial"));
        assert_eq!(says(own, 99), Need::Full("serial went back"));
        for serial in [99, 100, 101] {
            assert_eq!(says(other, serial), Need::Full("another primary"));
        }
        let hour = policy.full_every;
        let due = need(Some(&current), own, Serial(100), false, hour, &policy);
        assert_eq!(due, Need::Full("scheduled comparison"));
        let again = need(
            Some(&empty),
            own,
            Serial(100),
            false,
            Duration::ZERO,
            &policy,
        );
        assert_eq!(again, Need::Full("empty so far"));
    }
}
