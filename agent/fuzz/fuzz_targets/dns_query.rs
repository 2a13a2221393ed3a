// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a client sends to a small zone, by datagram, or by stream where the
//! first byte is odd. That byte from 0 to 127: the rest as it is; above, a query
//! made of the rest, so that chance gets past the header: flags, type, EDNS,
//! labels below the apex.
//!
//! Nothing may panic or hang. An answer carries the question's id, is a
//! response, can be read, and fits its transport; the fast way says what the
//! general way says.

#![no_main]

use std::sync::OnceLock;

use hickory_proto::op::{Message, ResponseCode};
use libfuzzer_sys::fuzz_target;
use monitoring_agent::dns::{Offline, ZoneRecord};
use monitoring_agent::model::dns::ZoneName;

const ZONE: &str = "dc1.cns.example";
/// Labels that occur in the zone; a byte of the input picks one.
const LABELS: [&str; 12] = [
    "cmon", "v1", "A", "inst", "o", "svc", "s", "*", "wild", "many", "loop",
    "zz",
];

thread_local! {
    // A server keeps to the thread it was made on.
    static SERVER: OnceLock<Offline> = const { OnceLock::new() };
}

fuzz_target!(|input: &[u8]| {
    let query = match input.split_first() {
        Some((first, rest)) if *first > 127 => made(rest),
        _ => input.get(1..).unwrap_or_default().to_vec(),
    };
    SERVER.with(|server| {
        let server = server.get_or_init(|| {
            let zone = ZoneName::parse(ZONE).expect("a zone name");
            Offline::new(&zone, &records()).expect("a zone")
        });
        let stream = input.first().is_some_and(|first| first & 1 == 1);
        check(server, &query, stream);
    });
});

fn check(server: &Offline, query: &[u8], stream: bool) {
    let answered = server.answer(query, stream);
    for answer in [&answered.fast, &answered.general].into_iter().flatten() {
        assert_eq!(answer[..2], query[..2], "the id");
        assert!(answer[2] & 0x80 != 0, "a response");
        assert_eq!(answer[2] & 0x78, query[2] & 0x78, "the opcode");
        assert!(query[2] & 0x80 == 0, "a response was answered");
        let limit = if stream { usize::from(u16::MAX) } else { 1232 };
        assert!(answer.len() <= limit, "{} bytes", answer.len());
    }
    let general = answered.general.as_ref().map(|bytes| {
        let message = Message::from_vec(bytes).expect("an answer");
        if !stream && message.edns.is_none() {
            assert!(bytes.len() <= 512, "{} bytes", bytes.len());
        }
        if message.metadata.response_code == ResponseCode::ServFail {
            panic!("nothing here can fail: {query:?}");
        }
        message
    });
    if let Some(fast) = answered.fast.filter(|fast| {
        // Most are the same bytes.
        answered.general.as_ref() != Some(fast)
    }) {
        let fast = Message::from_vec(&fast).expect("an answer");
        let general = general.expect("both ways answer");
        assert_eq!(seen(&fast), seen(&general));
    }
}

/// What an asker sees, in an order that does not matter. The spelling of a
/// SOA's owner may be the question's or the zone's.
fn seen(message: &Message) -> (String, Vec<String>) {
    let sections = [
        ("an", &message.answers),
        ("au", &message.authorities),
        ("ad", &message.additionals),
    ];
    let mut records: Vec<String> = sections
        .into_iter()
        .flat_map(|(section, records)| {
            records.iter().map(move |record| match section {
                "au" => record.to_string().to_lowercase(),
                _ => format!("{section} {record}"),
            })
        })
        .collect();
    records.sort();
    let (head, edns) = (&message.metadata, &message.edns);
    (format!("{head:?} {:?} {edns:?}", message.queries), records)
}

/// A query: two bytes of flags, two of type, one of how EDNS is spoken, then
/// labels, a byte each.
fn made(input: &[u8]) -> Vec<u8> {
    let Some((&[high, low, type_high, type_low, edns], labels)) =
        input.split_first_chunk::<5>()
    else {
        return input.to_vec();
    };
    let speaks = edns & 1;
    let mut query = vec![0x12, 0x34, high, low, 0, 1, 0, 0, 0, 0, 0, speaks];
    for pick in labels.iter().take(20) {
        let label = LABELS[usize::from(*pick) % LABELS.len()];
        query.push(u8::try_from(label.len()).unwrap_or(1));
        query.extend(label.bytes().map(|byte| match pick > &127 {
            true => byte.to_ascii_uppercase(),
            false => byte,
        }));
    }
    if edns & 2 == 0 {
        query.extend_from_slice(b"\x03dc1\x03cns\x07example");
    }
    query.extend_from_slice(&[0, type_high, type_low, 0, 1]);
    if speaks == 1 {
        // Root, OPT; size; code, version, DO; no options.
        let (size, version) = ((edns & 0x70) >> 4, (edns & 0x0c) >> 2);
        let version = u8::from(version == 3);
        query.extend_from_slice(&[0, 0, 41, size, edns, 0, version]);
        query.extend_from_slice(&[edns & 0x80, 0, 0, 0]);
    }
    query
}

fn record(owner: &str, rtype: u16, rdata: &[u8]) -> ZoneRecord {
    let owner = match owner {
        "" => format!("{ZONE}."),
        _ => format!("{owner}.{ZONE}."),
    };
    ZoneRecord { owner, rtype, ttl: 30, rdata: rdata.to_vec() }
}

/// `labels` and the apex, in wire form.
fn name(labels: &[u8]) -> Vec<u8> {
    [labels, b"\x03dc1\x03cns\x07example\0"].concat()
}

fn records() -> Vec<ZoneRecord> {
    let numbers = [1, 30, 60, 2_592_000, 30].map(u32::to_be_bytes).concat();
    let soa = [name(b"\x02ns"), name(b"\x04host"), numbers].concat();
    let srv =
        |target: Vec<u8>| [vec![0, 0, 0, 10, 0x23, 0xcb], target].concat();
    let mut records = vec![
        record("", 6, &soa),
        record("", 2, &name(b"\x02ns")),
        record("cmon", 1, &[10, 0, 0, 9]),
        record("cmon", 16, b"\x04text"),
        record("v1.cmon", 5, &name(b"\x04cmon")),
        record("s.cmon", 5, &name(b"\x02zz")),
        record("o.cmon", 5, b"\x07example\0"),
        record("loop", 5, &name(b"\x01a\x04loop")),
        record("a.loop", 5, &name(b"\x04loop")),
        record("a.inst.o", 1, &[10, 0, 0, 1]),
        record("a.inst.o", 28, &[0xfd; 16]),
        record("s.svc.o", 33, &srv(name(b"\x01a\x04inst\x01o"))),
        record("s.svc.o", 33, &srv(name(b"\x02zz"))),
        record("*.wild", 1, &[10, 0, 0, 7]),
        record("*.s.wild", 5, &name(b"\x01o\x04wild")),
        record("a.v1.wild", 1, &[10, 0, 0, 8]),
        record("zz.many", 65_280, &[1, 2, 3]),
    ];
    let many = (0..90).map(|n| record("many", 1, &[10, 1, 1, n]));
    records.extend(many);
    let text = [&[200][..], &[b't'; 200]].concat();
    records.extend((0..9).map(|n| {
        let text = [&text[..], &[1, n]].concat();
        record("o.many", 16, &text)
    }));
    records
}
