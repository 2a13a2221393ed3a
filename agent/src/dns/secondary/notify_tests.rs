// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Who is answered at the door, and with what.

use std::time::{Duration, SystemTime};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RData;

use super::*;
use crate::dns::catalog::ZoneCell;
use crate::dns::counters::Counters;
use crate::dns::forward::tests::pool_with;
use crate::dns::forward::{ForwardLimits, Upstreams};
use crate::dns::secondary::fake::{apex, name, record, version, zone_name};
use crate::dns::secondary::wire::query;
use crate::dns::store::persist;
use crate::model::primary::TsigKey;

const PRIMARY: &str = "10.9.0.5";

fn key() -> TsigKey {
    TsigKey::parse(
        "key k { algorithm hmac-sha256; \
         secret \"MDEyMzQ1Njc4OWFiY2RlZg==\"; };",
    )
    .unwrap()
}

fn door(with_key: bool) -> Door {
    let mut primary = Primary::from(
        format!("{PRIMARY}:53").parse::<std::net::SocketAddr>().unwrap(),
    );
    primary.key = with_key.then(|| Arc::new(key()));
    let cell = Arc::new(ZoneCell::new(zone_name(), vec![primary]));
    cell.restore(persist::Loaded {
        version: version(42, &[record("a", 30, "A 10.0.0.1")]),
        confirmed: SystemTime::now(),
    });
    let limits = ForwardLimits::default();
    let primaries = Arc::new(pool_with(Upstreams::Primaries, &[], limits));
    let mut catalog = Catalog::default();
    catalog.zones.insert(apex(), ZoneEntry { cell, primaries });
    let counters = Arc::new(Counters::default());
    let limit = Duration::from_secs(1);
    Door::new(Arc::new(Names::new(catalog, counters, limit)))
}

fn ask(door: &Door, bytes: &[u8], from: &str) -> Message {
    let answer = door.answer(bytes, from.parse().unwrap()).unwrap();
    let answer = Message::from_vec(&answer).unwrap();
    assert_eq!(answer.queries.len(), 1);
    answer
}

fn rcode(door: &Door, bytes: &[u8], from: &str) -> ResponseCode {
    ask(door, bytes, from).metadata.response_code
}

/// Whether the zone was woken since the last look.
fn woken(door: &Door) -> bool {
    use futures_util::FutureExt;
    let catalog = door.names.catalog();
    let cell = Arc::clone(&catalog.zones[&apex()].cell);
    cell.wake.notified().now_or_never().is_some()
}

#[tokio::test]
async fn a_primary_is_answered_its_soa_and_who_we_are() {
    let door = door(false);
    let soa = query(9, QUERY, &apex(), RecordType::SOA, None);
    let answer = ask(&door, &soa, PRIMARY);
    assert!(answer.metadata.authoritative && answer.metadata.id == 9);
    assert_eq!(answer.answers[0].name, name(""));
    let RData::SOA(soa) = &answer.answers[0].data else { panic!() };
    assert_eq!(soa.serial, 42);
    let text = |n: &str| {
        let bytes = [&[n.len() as u8], n.as_bytes(), b"\x06server\0"].concat();
        let name = WireName::read(&bytes).unwrap();
        let mut bytes = query(9, QUERY, &name, RecordType::TXT, None);
        let at = bytes.len() - 1;
        bytes[at] = 3;
        bytes
    };
    let answer = ask(&door, &text("version"), PRIMARY);
    assert!(answer.answers[0].data.to_string().contains("config-agent"));
    assert_eq!(rcode(&door, &text("other"), PRIMARY), ResponseCode::Refused);
}

#[tokio::test]
async fn notify_wakes_the_zone_once_however_often_it_comes() {
    let door = door(false);
    let notify = query(9, NOTIFY, &apex(), RecordType::SOA, None);
    assert!(!woken(&door));
    for _ in 0..3 {
        let answer = ask(&door, &notify, PRIMARY);
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert!(answer.metadata.authoritative);
        assert_eq!(u8::from(answer.metadata.op_code), NOTIFY);
    }
    assert!(woken(&door) && !woken(&door));
    assert_eq!(door.names.counters.snapshot().notifies, 3);
}

#[tokio::test]
async fn strangers_and_other_questions_are_refused() {
    let door = door(false);
    let notify = query(9, NOTIFY, &apex(), RecordType::SOA, None);
    let soa = query(9, QUERY, &apex(), RecordType::SOA, None);
    for bytes in [&notify, &soa] {
        assert_eq!(rcode(&door, bytes, "10.9.0.6"), ResponseCode::Refused);
    }
    assert_eq!(door.names.counters.snapshot().notifies_refused, 2);
    assert!(!door.knows("10.9.0.6".parse().unwrap()));
    let other = WireName::child(b"x", apex().as_bytes());
    for (bytes, expected) in [
        (query(9, QUERY, &apex(), RecordType::A, None), ResponseCode::Refused),
        (
            query(9, QUERY, &apex(), RecordType::AXFR, None),
            ResponseCode::Refused,
        ),
        (query(9, QUERY, &other, RecordType::SOA, None), ResponseCode::Refused),
        (
            query(9, NOTIFY, &other, RecordType::SOA, None),
            ResponseCode::NotAuth,
        ),
        (query(9, 5, &apex(), RecordType::SOA, None), ResponseCode::NotImp),
    ] {
        assert_eq!(rcode(&door, &bytes, PRIMARY), expected);
    }
    assert!(!woken(&door));
    let from = PRIMARY.parse().unwrap();
    let mut response = soa.clone();
    response[2] |= 0x80;
    for bytes in [&response[..], &[], &soa[..20], &[0; 12]] {
        assert_eq!(door.answer(bytes, from), None);
    }
}

#[tokio::test]
async fn a_signed_notify_must_be_signed_well() {
    let door = door(true);
    let unsigned = query(9, NOTIFY, &apex(), RecordType::SOA, None);
    assert_eq!(rcode(&door, &unsigned, PRIMARY), ResponseCode::NoError);
    assert!(woken(&door));
    let mut signed = unsigned.clone();
    let now = unix_time();
    let mut verifier = tsig::sign(&key(), &mut signed, now).unwrap();
    let answer = door.answer(&signed, PRIMARY.parse().unwrap()).unwrap();
    assert_eq!(verifier.take(&answer, now), Ok(()));
    assert!(woken(&door));
    let at = signed.len() - 20;
    signed[at] ^= 1;
    assert_eq!(rcode(&door, &signed, PRIMARY), ResponseCode::NotAuth);
    assert!(!woken(&door));
}
