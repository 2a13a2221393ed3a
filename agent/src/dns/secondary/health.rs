// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! How each primary of a zone has been doing, and in which order they are
//! tried. Decides and remembers; touches no socket.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::dns::store::Serial;
use crate::model::primary::Primary;

/// One primary of a zone, for status and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrimaryStatus {
    /// The primary.
    pub address: SocketAddr,
    /// The serial it showed last. Not comparable with another primary's.
    pub serial: Option<Serial>,
    /// Attempts in a row that failed.
    pub failures: u32,
    /// Why the last one failed.
    pub last_error: Option<String>,
}

#[derive(Debug, Default)]
struct One {
    serial: Option<Serial>,
    failures: u32,
    last_error: Option<String>,
    /// Its last differences were of no use: ask for the whole zone.
    no_differences: bool,
}

/// The primaries of one zone.
#[derive(Debug, Default)]
pub(crate) struct Health(HashMap<SocketAddr, One>);

impl Health {
    /// It showed this serial.
    pub(crate) fn showed(&mut self, primary: SocketAddr, serial: Serial) {
        self.0.entry(primary).or_default().serial = Some(serial);
    }

    pub(crate) fn succeeded(&mut self, primary: SocketAddr) {
        let one = self.0.entry(primary).or_default();
        (one.failures, one.last_error) = (0, None);
    }

    pub(crate) fn failed(&mut self, primary: SocketAddr, why: String) {
        let one = self.0.entry(primary).or_default();
        one.failures = one.failures.saturating_add(1);
        one.last_error = Some(why);
    }

    /// Whether differences may be asked of it.
    pub(crate) fn gives_differences(&self, primary: SocketAddr) -> bool {
        self.0.get(&primary).is_none_or(|one| !one.no_differences)
    }

    /// Differences were of no use (`false`), or a whole zone came (`true`).
    pub(crate) fn trust_differences(
        &mut self,
        primary: SocketAddr,
        trusted: bool,
    ) {
        self.0.entry(primary).or_default().no_differences = !trusted;
    }

    /// Forgets those that are no longer listed.
    pub(crate) fn follow(&mut self, listed: &[Primary]) {
        self.0.retain(|address, _| listed.iter().any(|p| p == address));
    }

    /// Primaries in the order to try them: the one we have the zone from
    /// first, and no other while we `stay` with it; those that fail last.
    pub(crate) fn order(
        &self,
        listed: &[Primary],
        from: Option<SocketAddr>,
        stay: bool,
    ) -> Vec<Primary> {
        let ours = from.and_then(|from| listed.iter().find(|p| **p == from));
        if let Some(ours) = ours
            && stay
        {
            return vec![ours.clone()];
        }
        let mut order = listed.to_vec();
        // Stable: among those that do well, as configured.
        order.sort_by_key(|primary| {
            let failures =
                self.0.get(&primary.address).map_or(0, |one| one.failures);
            (Some(primary) != ours, failures)
        });
        order
    }

    /// All of `listed`, as configured.
    pub(crate) fn status(&self, listed: &[Primary]) -> Vec<PrimaryStatus> {
        listed
            .iter()
            .map(|primary| {
                let one = self.0.get(&primary.address);
                PrimaryStatus {
                    address: primary.address,
                    serial: one.and_then(|one| one.serial),
                    failures: one.map_or(0, |one| one.failures),
                    last_error: one.and_then(|one| one.last_error.clone()),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_healthy_come_first_and_ours_before_all() {
        let address = |n: u8| SocketAddr::from(([127, 0, 0, n], 53));
        let listed: Vec<Primary> = (1..=3).map(|n| address(n).into()).collect();
        let mut health = Health::default();
        let order = |health: &Health, from, stay| -> Vec<u8> {
            let order = health.order(&listed, from, stay);
            let last = |p: &Primary| match p.ip() {
                std::net::IpAddr::V4(ip) => ip.octets()[3],
                std::net::IpAddr::V6(_) => 0,
            };
            order.iter().map(last).collect()
        };
        assert_eq!(order(&health, None, true), [1, 2, 3]);
        assert_eq!(order(&health, Some(address(2)), true), [2]);
        assert_eq!(order(&health, Some(address(2)), false), [2, 1, 3]);
        // One that is no longer listed binds nobody.
        assert_eq!(order(&health, Some(address(9)), true), [1, 2, 3]);
        health.failed(address(1), "silent".to_owned());
        assert_eq!(order(&health, None, true), [2, 3, 1]);
        assert_eq!(order(&health, Some(address(3)), false), [3, 2, 1]);
        assert_eq!(health.status(&listed)[0].failures, 1);
        health.succeeded(address(1));
        assert_eq!(order(&health, None, true), [1, 2, 3]);
        health.trust_differences(address(1), false);
        assert!(!health.gives_differences(address(1)));
        health.follow(&listed[1..]);
        assert!(health.gives_differences(address(1)), "forgotten");
    }
}
