// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Transfers out of a string of bytes, as a connection would bring them: a
//! whole zone, then chains of differences on top of it. For the fuzz target,
//! and for a capture from the field.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::SystemTime;

use super::incoming::{Ask, Incoming, Progress, Receiver};
use super::tsig;
use super::wire::{self, Header, WireMessage};
use crate::dns::names::WireName;
use crate::dns::store::changes::{apply, differing};
use crate::dns::store::{Provenance, ZoneLimits, ZoneVersion};
use crate::model::dns::ZoneName;
use crate::model::primary::TsigKey;

/// What a replay came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Whole zones taken.
    pub full: usize,
    /// Chains of differences taken.
    pub incremental: usize,
    /// Records of the last version.
    pub records: usize,
    /// Its serial.
    pub serial: u32,
}

/// Reads `bytes`, messages with two bytes of length before each, as transfers
/// of `zone` one after the other. Ends at the first that is refused.
pub fn replay(zone: &ZoneName, bytes: &[u8], limits: ZoneLimits) -> Replayed {
    let apex = WireName::from_zone(zone);
    let mut frames = frames(bytes).peekable();
    let mut replayed = Replayed::default();
    let mut held: Option<ZoneVersion> = None;
    while let Some(first) = frames.peek() {
        let id = Header::read(first).map_or(0, |head| head.id);
        let ask = match &held {
            None => Ask::Full,
            Some(held) => Ask::Since(held.serial),
        };
        let mut receiver = Receiver::new(apex.clone(), id, ask, limits);
        let came = loop {
            let Some(frame) = frames.next() else { return replayed };
            let Ok(message) = WireMessage::read(frame) else {
                return replayed;
            };
            match receiver.take(message) {
                Ok(Progress::More) => {}
                Ok(Progress::Complete) => break receiver.finish(),
                Err(_) => return replayed,
            }
        };
        let next = match (came, held.take()) {
            (Ok(Incoming::Full(builder)), _) => {
                replayed.full += 1;
                builder.finish(provenance()).ok()
            }
            (Ok(Incoming::Changes(changes)), Some(held)) => {
                replayed.incremental += 1;
                apply(&held, &changes, limits, provenance())
                    .ok()
                    .map(|applied| applied.version)
            }
            (Ok(Incoming::Current), held) => held,
            _ => None,
        };
        let Some(next) = next else { return replayed };
        debug_assert_eq!(differing(&next, &next), 0);
        replayed.records = next.records;
        replayed.serial = next.serial.0;
        held = Some(next);
    }
    replayed
}

/// Reads `bytes`, framed the same, as the signed answer to a question of
/// ours, and each message as a signed NOTIFY; says how many were signed well.
pub fn replay_signed(key: &TsigKey, bytes: &[u8], now: u64) -> usize {
    let mut query = vec![0; wire::HEADER_LEN];
    let Ok(mut verifier) = tsig::sign(key, &mut query, now) else { return 0 };
    let mut good = 0;
    for frame in frames(bytes) {
        let request = tsig::verify_request(key, frame, now);
        good += usize::from(matches!(request, Ok(Some(_))));
        let _ = wire::one_question(frame);
        if verifier.take(frame, now).is_err() {
            return good;
        }
        good += usize::from(verifier.finish().is_ok());
    }
    good
}

fn frames(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, tail) = rest.split_first_chunk::<2>()?;
        let len = usize::from(u16::from_be_bytes(*len));
        let (frame, tail) = tail.split_at_checked(len)?;
        rest = tail;
        Some(frame)
    })
}

fn provenance() -> Provenance {
    Provenance {
        primary: SocketAddr::from((Ipv4Addr::LOCALHOST, 53)),
        changed: SystemTime::UNIX_EPOCH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::secondary::fake::zone_name;

    /// The fuzz target's seed is one that reaches everything.
    #[test]
    fn the_seed_is_a_zone_and_a_chain() {
        let seed = include_bytes!("../../../fuzz/seeds/dns_transfer/chain");
        let replayed = replay(&zone_name(), seed, ZoneLimits::default());
        let expected =
            Replayed { full: 1, incremental: 1, records: 7, serial: 3 };
        assert_eq!(replayed, expected);
        let cut = &seed[..seed.len() - 1];
        let replayed = replay(&zone_name(), cut, ZoneLimits::default());
        assert_eq!((replayed.full, replayed.incremental), (1, 0));
    }
}
