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

/// How many addresses and ports a test takes at most, before it meets those
/// of the process with the next number.
const EACH: u32 = 41;

/// An address that nobody else has: none of 127.0.x.y, where everybody else
/// is, nor of 127.255.x.y, where the network ends.
#[must_use]
pub fn own_address() -> Ipv4Addr {
    address(own_number())
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
    static OURS: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let mut tries = 100;
    loop {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port(own_number())));
        // An abstract name: it is gone with us, whatever happens.
        let name = format!("localdc-port-{}", at.port());
        let name = net::SocketAddr::from_abstract_name(name)?;
        let claimed = UnixListener::bind_addr(&name).and_then(|claim| {
            UdpSocket::bind(at)?;
            TcpListener::bind(at).map(|_| claim)
        });
        match claimed {
            Ok(claim) => {
                let mut ours =
                    OURS.lock().unwrap_or_else(PoisonError::into_inner);
                ours.push(claim);
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

fn own_number() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    std::process::id().wrapping_mul(EACH).wrapping_add(count)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

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
