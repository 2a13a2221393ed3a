// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Addresses and ports of loopback that no other test on this machine has.
//! Tests are processes or threads, hence the process id and a count.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, UnixListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many addresses and ports a test takes as a rule, before it meets those
/// of the process with the next number, and must pass over them.
const EACH: u32 = 41;

/// How often somebody else's are passed over.
const TRIES: u32 = 1000;

/// What is ours until we end, by names of the abstract kind: gone with us,
/// whatever happens.
static OURS: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// An address that nobody else has: none of 127.0.x.y, where everybody else
/// is, nor of 127.255.x.y, where the network ends.
#[must_use]
pub fn own_address() -> Ipv4Addr {
    own_addresses(1)[0]
}

/// So many of them that follow each other; ours until we end.
///
/// Panics when there are none.
#[must_use]
pub fn own_addresses(count: u32) -> Vec<Ipv4Addr> {
    for _ in 0..TRIES {
        let first = own_numbers(count);
        let all: Vec<Ipv4Addr> =
            (0..count).map(|nth| address(first.wrapping_add(nth))).collect();
        // Not so where numbers begin anew.
        let follow =
            all.windows(2).all(|two| two[0].to_bits() + 1 == two[1].to_bits());
        let names = all.iter().map(|one| format!("localdc-address-{one}"));
        let claims: io::Result<Vec<_>> = names.map(claim).collect();
        if let (true, Ok(claims)) = (follow, claims) {
            keep(claims);
            return all;
        }
    }
    panic!("no {count} addresses in a row that nobody has");
}

fn claim(name: String) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&net::SocketAddr::from_abstract_name(name)?)
}

fn keep(claims: Vec<UnixListener>) {
    let mut ours = OURS.lock().unwrap_or_else(PoisonError::into_inner);
    ours.extend(claims);
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x7f01_0000 + number % (254 << 16))
}

/// A port of 127.0.0.1, free for UDP and TCP, for a server that takes it
/// itself, later: one below those that the kernel gives to clients and to
/// whoever asks for any port, so that it stays free until then.
///
/// It is ours until we end, also while that server does not run.
///
/// Errors: that of the last of many tries.
pub fn own_port() -> io::Result<SocketAddr> {
    let mut tries = TRIES;
    loop {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port(own_numbers(1))));
        let name = format!("localdc-port-{}", at.port());
        let claimed = claim(name).and_then(|claim| {
            UdpSocket::bind(at)?;
            TcpListener::bind(at).map(|_| claim)
        });
        match claimed {
            Ok(claim) => {
                keep(vec![claim]);
                return Ok(at);
            }
            Err(error) if tries == 0 => return Err(error),
            Err(_) => tries -= 1,
        }
    }
}

fn port(number: u32) -> u16 {
    10_000 + u16::try_from(number % 20_000).expect("less than 20,000")
}

/// The first of so many.
fn own_numbers(count: u32) -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let first = COUNT.fetch_add(count, Ordering::Relaxed);
    std::process::id().wrapping_mul(EACH).wrapping_add(first)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_somebody_has_is_passed_over() {
        let next = own_numbers(1).wrapping_add(2);
        let taken = address(next);
        let _taken = claim(format!("localdc-address-{taken}")).unwrap();
        let all = own_addresses(5);
        assert!(!all.contains(&taken), "{all:?}");
        assert_eq!(all[4].to_bits() - all[0].to_bits(), 4);
    }

    /// Forty tests beside each other, each with all it may take.
    #[test]
    fn neighbours_never_meet() {
        for first in [0, 1, 5_000, 32_700, 4_194_000] {
            let numbers = first * EACH..(first + 40) * EACH;
            let count = numbers.len();
            let addresses: BTreeSet<_> = numbers.clone().map(address).collect();
            assert_eq!(addresses.len(), count);
            let ports: BTreeSet<_> = numbers.map(port).collect();
            assert_eq!(ports.len(), count);
            let ours = |ip: &Ipv4Addr| {
                ip.is_loopback() && !matches!(ip.octets()[1], 0 | 255)
            };
            assert!(addresses.iter().all(ours));
        }
    }
}
