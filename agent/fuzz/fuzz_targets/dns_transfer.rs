// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What primaries send: messages of a full transfer and of differences on top
//! of it, through the parser, the state machine and the build; the same bytes
//! as signed messages. First byte: 0 to 127 as they are, above with the
//! question and one id put before each, so that chance gets past the header.
//!
//! Nothing may panic, hang or grow without bound; what is taken is within the
//! limits and the same twice.

#![no_main]

use libfuzzer_sys::fuzz_target;
use monitoring_agent::dns::{ZoneLimits, replay, replay_signed};
use monitoring_agent::model::dns::ZoneName;
use monitoring_agent::model::primary::TsigKey;

const LIMITS: ZoneLimits = ZoneLimits { max_records: 1000, max_bytes: 1 << 20 };

fuzz_target!(|input: &[u8]| {
    let zone = ZoneName::parse("dc1.cns.example").expect("a zone name");
    let bytes = match input.split_first() {
        Some((first, rest)) if *first > 127 => headed(rest),
        _ => input.to_vec(),
    };
    let replayed = replay(&zone, &bytes, LIMITS);
    assert!(replayed.records <= LIMITS.max_records);
    assert_eq!(replayed, replay(&zone, &bytes, LIMITS));
    let key = TsigKey::parse(
        "key k { algorithm hmac-sha256; secret \"MDEyMzQ1Njc4OWFiY2RlZg==\"; };",
    )
    .expect("a key");
    // Nobody signs by chance.
    assert_eq!(replay_signed(&key, &bytes, 1_800_000_000), 0);
});

/// Frames whose header and question are right: what chance is given is the
/// number of records and their bytes.
fn headed(mut rest: &[u8]) -> Vec<u8> {
    let mut framed = Vec::new();
    while let Some((&[len, count], tail)) = rest.split_first_chunk::<2>() {
        let (body, tail) = tail.split_at(usize::from(len).min(tail.len()));
        rest = tail;
        let (qtype, count) = (251 + (count >> 7), count & 0x7f);
        let mut message = vec![0, 7, 0x80, 0, 0, 1, 0, count, 0, 0, 0, 0];
        message.extend_from_slice(b"\x03dc1\x03cns\x07example\0");
        message.extend_from_slice(&[0, qtype]);
        message.extend_from_slice(&[0, 1]);
        message.extend_from_slice(body);
        let len = u16::try_from(message.len()).unwrap_or(u16::MAX);
        framed.extend_from_slice(&len.to_be_bytes());
        framed.extend_from_slice(&message);
    }
    framed
}
