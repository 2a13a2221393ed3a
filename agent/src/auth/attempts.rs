// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! How often a password may be tried. UFDS locks an account at the sixth
//! wrong one and forgets none before the right one comes, so strangers are
//! stopped here, long before that.
//!
//! Who has signed in from a browser before has a cookie that says so, and is
//! counted apart from strangers: these can neither lock an account nor keep
//! its owner out. (The idea is OWASP's "device cookies".) Programs keep no
//! cookies: the network that a login signed in from stands for one.
//!
//! Each try is counted before it is made, and taken back when the password
//! was right or nobody could tell: who goes away in between gains nothing.
//! Logins that do not exist are counted like those that do.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::recent::Recent;

/// How long a wrong password counts here.
pub(super) const WINDOW: Duration = Duration::from_secs(30 * 60);

/// Wrong passwords for one login, of strangers, in that time.
pub(super) const LOGIN_MOST: usize = 3;

/// Wrong passwords from one address, for any logins.
pub(super) const ADDRESS_MOST: usize = 10;

/// Wrong passwords for one login from a known browser, or a known place.
pub(super) const DEVICE_MOST: usize = 4;

/// Logins, addresses and browsers that are remembered, of each.
const ROOM: usize = 20_000;

/// Who tries; logins and browsers by digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    /// Digest of the login.
    pub(super) login: [u8; 32],
    /// Where the request came from.
    pub(super) address: IpAddr,
    /// A browser that this login signed in from before.
    pub(super) device: Option<String>,
    /// Whether it signed in from that network before.
    pub(super) place: bool,
}

/// What speaks for whoever tries; the most comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Known {
    /// Nothing.
    No,
    /// The login signed in from there of late.
    Place,
    /// The login signed in from that browser.
    Device,
}

impl Who {
    pub(super) fn known(&self) -> Known {
        match self.device {
            Some(_) => Known::Device,
            None if self.place => Known::Place,
            None => Known::No,
        }
    }

    /// A login at a network.
    fn at(&self) -> ([u8; 32], IpAddr) {
        (self.login, network(self.address))
    }
}

/// The tries of late.
#[derive(Debug)]
pub(super) struct Attempts {
    logins: Recent<[u8; 32], Tries>,
    addresses: Recent<IpAddr, Tries>,
    devices: Recent<String, Tries>,
    places: Recent<([u8; 32], IpAddr), Tries>,
}

type Tries = VecDeque<Instant>;

impl Attempts {
    pub(super) fn new() -> Self {
        Self {
            logins: Recent::new(ROOM),
            addresses: Recent::new(ROOM),
            devices: Recent::new(ROOM),
            places: Recent::new(ROOM),
        }
    }

    /// Counts a try.
    ///
    /// Errors: how long to wait, when there were too many.
    pub(super) fn begin(
        &mut self,
        who: &Who,
        now: Instant,
    ) -> Result<(), Duration> {
        if let Some(device) = &who.device {
            return count(&mut self.devices, device.clone(), DEVICE_MOST, now);
        }
        if who.place {
            return count(&mut self.places, who.at(), DEVICE_MOST, now);
        }
        let address = network(who.address);
        count(&mut self.addresses, address, ADDRESS_MOST, now)?;
        count(&mut self.logins, who.login, LOGIN_MOST, now).inspect_err(|_| {
            take_back(&mut self.addresses, &address, now);
        })
    }

    /// Takes the latest try back: it was right, or nobody could tell.
    pub(super) fn forgive(&mut self, who: &Who, now: Instant) {
        if let Some(device) = &who.device {
            take_back(&mut self.devices, device, now);
            return;
        }
        if who.place {
            take_back(&mut self.places, &who.at(), now);
            return;
        }
        take_back(&mut self.addresses, &network(who.address), now);
        take_back(&mut self.logins, &who.login, now);
    }

    /// The right password: what was wrong before from this very browser is
    /// nothing any more. All others stay counted: strangers would see that the
    /// login exists, and have new tries with each sign-in of its owner; and an
    /// address could be reset with an account of one's own.
    pub(super) fn succeeded(&mut self, who: &Who, now: Instant) {
        self.forgive(who, now);
        if let Some(device) = &who.device {
            self.devices.remove(device);
        }
    }
}

fn count<K: std::hash::Hash + Eq + Clone>(
    recent: &mut Recent<K, Tries>,
    key: K,
    most: usize,
    now: Instant,
) -> Result<(), Duration> {
    let mut tries = recent.remove(&key).unwrap_or_default();
    while tries.front().is_some_and(|at| *at + WINDOW <= now) {
        tries.pop_front();
    }
    let full = tries.len() >= most;
    let wait = match tries.front() {
        Some(oldest) if full => (*oldest + WINDOW).duration_since(now),
        _ => Duration::ZERO,
    };
    if !full {
        tries.push_back(now);
    }
    let until = tries.back().map_or(now, |latest| *latest + WINDOW);
    recent.insert(key, tries, until, now);
    if full { Err(wait) } else { Ok(()) }
}

fn take_back<K: std::hash::Hash + Eq + Clone>(
    recent: &mut Recent<K, Tries>,
    key: &K,
    now: Instant,
) {
    if let Some(tries) = recent.get_mut(key, now) {
        tries.pop_back();
    }
}

/// One customer has many IPv6 addresses.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => {
            let bits = ip.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
        other => other,
    }
}

/// Whether UFDS' own list of wrong passwords leaves room for a try, of a
/// stranger or of a known browser. `most` is the wrong password that locks:
/// nobody has that one.
///
/// A stranger may use up half of them, and later one in a while, but never the
/// last but one: the last that can be wrong without a lock is for the owner.
pub(super) fn leaves_room(
    failures_ms: &[u64],
    most: u64,
    known: Known,
    now_ms: u64,
) -> bool {
    let count = failures_ms.len() as u64;
    let latest = failures_ms.iter().copied().max().unwrap_or(0);
    let window = u64::try_from(WINDOW.as_millis()).unwrap_or(u64::MAX);
    let rested = now_ms.saturating_sub(latest) >= window;
    if known != Known::No {
        return count < most.saturating_sub(1);
    }
    let last = most.saturating_sub(2);
    count < (most / 2).min(last) || (rested && count < last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(login: u8, address: &str, device: Option<&str>) -> Who {
        Who {
            login: [login; 32],
            address: address.parse().unwrap(),
            device: device.map(str::to_owned),
            place: false,
        }
    }

    #[test]
    fn strangers_are_stopped_before_the_owner_is() {
        let now = Instant::now();
        let mut attempts = Attempts::new();
        for number in 0..LOGIN_MOST {
            let stranger = who(1, &format!("192.0.2.{number}"), None);
            assert_eq!(attempts.begin(&stranger, now), Ok(()));
        }
        let stranger = who(1, "192.0.2.99", None);
        assert_eq!(attempts.begin(&stranger, now), Err(WINDOW));
        let owner = who(1, "192.0.2.99", Some("d"));
        assert_eq!(attempts.begin(&owner, now), Ok(()));
        let program = Who { place: true, ..who(1, "192.0.2.99", None) };
        for _ in 0..DEVICE_MOST {
            assert_eq!(attempts.begin(&program, now), Ok(()));
        }
        assert_eq!(attempts.begin(&program, now), Err(WINDOW));
        let later = now + WINDOW;
        assert_eq!(attempts.begin(&stranger, later), Ok(()));
    }

    #[test]
    fn an_address_has_few_tries_for_all_logins_together() {
        let now = Instant::now();
        let mut attempts = Attempts::new();
        for number in 0..ADDRESS_MOST {
            let login = u8::try_from(number).unwrap();
            let from = format!("2001:db8::{number}");
            assert_eq!(attempts.begin(&who(login, &from, None), now), Ok(()));
        }
        let other = who(99, "2001:db8::ffff", None);
        assert!(attempts.begin(&other, now).is_err(), "the same network");
        let mapped = who(99, "::ffff:192.0.2.1", None);
        assert_eq!(attempts.begin(&mapped, now), Ok(()));
        // Right ones do not count, and do not wipe the wrong ones out.
        attempts.succeeded(&mapped, now);
        assert!(attempts.begin(&other, now).is_err());
    }

    /// Or they would see that the login exists, and guess on.
    #[test]
    fn a_sign_in_gives_strangers_no_new_tries() {
        let now = Instant::now();
        let mut attempts = Attempts::new();
        let stranger = who(1, "192.0.2.1", None);
        let near = Who { place: true, ..who(1, "192.0.2.2", None) };
        for (one, most) in [(&stranger, LOGIN_MOST), (&near, DEVICE_MOST)] {
            for _ in 0..most {
                assert_eq!(attempts.begin(one, now), Ok(()));
            }
        }
        let owner = who(1, "192.0.2.2", Some("d"));
        for _ in 0..10 {
            assert_eq!(attempts.begin(&owner, now), Ok(()));
            attempts.succeeded(&owner, now);
            assert_eq!(attempts.begin(&stranger, now), Err(WINDOW));
            assert_eq!(attempts.begin(&near, now), Err(WINDOW));
        }
        // What was wrong from his own browser is forgotten.
        for _ in 1..DEVICE_MOST {
            assert_eq!(attempts.begin(&owner, now), Ok(()));
        }
        assert_eq!(attempts.begin(&owner, now), Ok(()));
        attempts.succeeded(&owner, now);
        for _ in 0..DEVICE_MOST {
            assert_eq!(attempts.begin(&owner, now), Ok(()));
        }
    }

    #[test]
    fn what_was_right_is_taken_back() {
        let now = Instant::now();
        let mut attempts = Attempts::new();
        let operator = who(1, "192.0.2.1", None);
        for _ in 0..1_000 {
            assert_eq!(attempts.begin(&operator, now), Ok(()));
            attempts.succeeded(&operator, now);
            assert_eq!(attempts.begin(&operator, now), Ok(()));
            attempts.forgive(&operator, now);
        }
    }

    /// However strangers time their tries, and whatever a browser with an old
    /// password does, the sixth wrong one does not come from here.
    #[test]
    fn strangers_never_reach_the_lock() {
        let window = u64::try_from(WINDOW.as_millis()).unwrap();
        for step in [1, window / 2, window, 10 * window] {
            let mut failures = Vec::new();
            let mut now = 10 * window;
            for _ in 0..1_000 {
                if leaves_room(&failures, 6, Known::No, now) {
                    failures.push(now);
                    for owner in [Known::Place, Known::Device] {
                        let room = leaves_room(&failures, 6, owner, now);
                        assert!(room, "{step}: {owner:?} after {failures:?}");
                    }
                }
                now += step;
            }
            assert!(failures.len() <= 4, "{step}: {}", failures.len());
        }
        // A known browser or place does not either, in a hurry or not.
        for known in [Known::Place, Known::Device] {
            for step in [1, window, 10 * window] {
                let mut failures = Vec::new();
                for now in (0..1_000).map(|at| at * step) {
                    if leaves_room(&failures, 6, known, now) {
                        failures.push(now);
                    }
                }
                assert_eq!(failures.len(), 5, "{known:?} each {step}");
            }
        }
        // A policy that locks early leaves nothing to strangers.
        for most in [1, 2] {
            assert!(!leaves_room(&[], most, Known::No, 5 * window));
        }
    }
}
