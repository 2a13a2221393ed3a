// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One question, asked until it is answered, and the messages by which a
//! primary's zone changes: as bytes, so that nothing but the servers takes
//! time.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::servers::LIMIT;
use crate::zone::ORIGIN;

/// Bytes of a message's header (RFC 1035 §4.1.1).
const HEAD: usize = 12;
/// First byte of flags, and opcodes in place.
const NO_FLAGS: u8 = 0;
pub(crate) const RECURSION: u8 = 1;
const NOTIFY: u8 = 4 << 3;
const UPDATE: u8 = 5 << 3;
/// Types A and SOA, classes IN and ANY.
pub(crate) const A: [u8; 2] = [0, 1];
const SOA: [u8; 2] = [0, 6];
const IN: [u8; 2] = [0, 1];
const ANY: [u8; 2] = [0, 255];

/// Asks one name's address.
pub(crate) struct Probe {
    socket: UdpSocket,
    query: Vec<u8>,
}

impl Probe {
    pub(crate) fn new(to: SocketAddr, owner: &str) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(Duration::from_millis(2)))?;
        let name = format!("{owner}.{ORIGIN}");
        let query = question(0x5aa5, NO_FLAGS, &name, A);
        Ok(Self { socket, query })
    }

    /// Asks once; the first address, if one came.
    pub(crate) fn address(&self) -> Option<Ipv4Addr> {
        let mut reply = [0; 512];
        let asked = self.socket.send(&self.query);
        let length = match asked.and_then(|_| self.socket.recv(&mut reply)) {
            Ok(length) => length,
            Err(error) => {
                if error.kind() == ErrorKind::ConnectionRefused {
                    std::thread::sleep(Duration::from_micros(200));
                }
                return None;
            }
        };
        // NOERROR and an answer, whose owner is a pointer; type, class, TTL
        // and length stand before the address.
        let is_good = reply[..2] == self.query[..2]
            && reply[3] & 0x0f == 0
            && reply[6..8] != [0, 0];
        let at = self.query.len() + 12;
        let address: [u8; 4] =
            reply[..length].get(at..at + 4)?.try_into().ok()?;
        is_good.then(|| address.into())
    }
}

/// A message with one question of class IN.
pub(crate) fn question(
    id: u16,
    flags: u8,
    name: &str,
    rtype: [u8; 2],
) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let mut query = vec![high, low, flags, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    write_name(name, &mut query);
    query.extend_from_slice(&rtype);
    query.extend_from_slice(&IN);
    query
}

fn write_name(name: &str, out: &mut Vec<u8>) {
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
}

/// Tells a secondary that the zone changed (RFC 1996); what it says to that
/// does not matter.
pub(crate) fn notify(secondary: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.send_to(&question(0x1996, NOTIFY, ORIGIN, SOA), secondary)?;
    Ok(())
}

/// Gives a name of the primary's zone one other address (RFC 2136 §2.5.2,
/// §2.5.1).
///
/// Errors: it did not say that it is done.
pub(crate) fn update(
    primary: SocketAddr,
    owner: &str,
    address: Ipv4Addr,
) -> Result<()> {
    let mut message = question(0x2136, UPDATE, ORIGIN, SOA);
    // Two updates.
    message[9] = 2;
    let name = format!("{owner}.{ORIGIN}");
    write_name(&name, &mut message);
    message.extend_from_slice(&[&A[..], &ANY, &[0; 6]].concat());
    write_name(&name, &mut message);
    message.extend_from_slice(&[&A[..], &IN, &[0, 0, 0, 30, 0, 4]].concat());
    message.extend_from_slice(&address.octets());
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(LIMIT))?;
    socket.send_to(&message, primary)?;
    let mut reply = [0; 512];
    let length = socket.recv(&mut reply)?;
    let rcode = reply[3] & 0x0f;
    ensure!(length >= HEAD && rcode == 0, "update refused: {rcode}");
    Ok(())
}
