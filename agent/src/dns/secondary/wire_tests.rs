// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Bytes that are messages, and bytes that are none.

use hickory_proto::op::{Message, OpCode, Query};
use hickory_proto::rr::RData;
use proptest::prelude::*;

use super::*;
use crate::dns::secondary::fake::{
    any_records, apex, name, record, soa_record,
};

fn message(records: &[hickory_proto::rr::Record]) -> Message {
    let mut message = Message::response(7, OpCode::Query);
    message.add_query(Query::query(name(""), RecordType::AXFR));
    message.add_answers(records.iter().cloned());
    message
}

#[test]
fn what_hickory_writes_is_read() {
    let records = [
        soa_record(9),
        record("A.inst", 30, "SRV 0 10 80 B.inst"),
        record("B.inst", 30, "A 10.0.0.1"),
        record("b.inst", 30, "TXT hello"),
        record("", 30, "NS b.inst"),
    ];
    let bytes = message(&records).to_vec().unwrap();
    let read = WireMessage::read(&bytes).unwrap();
    assert_eq!(read.header.id, 7);
    assert!(read.header.is_response() && !read.header.is_truncated());
    assert_eq!(read.questions[0].name, apex());
    assert_eq!(read.answers.len(), 5);
    assert!(read.answers[0].is_soa_of(&apex()));
    assert_eq!(read.answers[0].soa_serial(), Some(9));
    assert_eq!(read.answers[1].owner.to_string(), "a.inst.dc1.cns.example.");
    let target = name("B.inst");
    let RData::SRV(srv) = &records[1].data else { panic!() };
    assert_eq!(srv.target, target);
    assert!(read.answers[1].rdata.windows(2).any(|w| w == b"\x01B"));
    assert_eq!(last_additional(&bytes), Ok(None));
}

#[test]
fn a_query_is_what_hickory_reads() {
    for since in [None, Some(77)] {
        let bytes = query(5, 0, &apex(), RecordType::IXFR, since);
        let read = Message::from_vec(&bytes).unwrap();
        assert_eq!(read.queries[0].name(), &name(""));
        let serial = read.authorities.first().map(|soa| match &soa.data {
            RData::SOA(soa) => soa.serial,
            other => panic!("{other}"),
        });
        assert_eq!(serial, since);
    }
}

fn with_answer(owner: &[u8], rtype: u16, rdata: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 7, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    bytes.extend_from_slice(owner);
    bytes.extend_from_slice(&rtype.to_be_bytes());
    bytes.extend_from_slice(&[0, 1, 0, 0, 0, 30]);
    bytes.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
    bytes.extend_from_slice(rdata);
    bytes
}

#[test]
fn broken_bytes_are_refused() {
    let a = [10, 0, 0, 1];
    let long = [&[63][..], &[b'a'; 63]].concat().repeat(4);
    for (what, bytes) in [
        ("empty", Vec::new()),
        (
            "header alone, records promised",
            vec![0, 7, 0x80, 0, 0, 0, 0, 9, 0, 0, 0, 0],
        ),
        ("pointer to itself", with_answer(&[0xc0, 12], 1, &a)),
        ("pointer forward", with_answer(&[0xc0, 60], 1, &a)),
        ("loop over a label", with_answer(&[1, b'a', 0xc0, 12], 1, &a)),
        ("label type", with_answer(&[0x41, 0], 1, &a)),
        ("name too long", with_answer(&[long, vec![0]].concat(), 1, &a)),
        ("A of three bytes", with_answer(&[0], 1, &a[..3])),
        ("AAAA of four", with_answer(&[0], 28, &a)),
        ("TXT past its end", with_answer(&[0], 16, &[9, b'x'])),
        ("TXT without a string", with_answer(&[0], 16, &[])),
        ("SOA without numbers", with_answer(&[0], 6, &[0, 0, 0])),
        ("NS with more behind", with_answer(&[0], 2, &[0, 1, 2])),
        ("MX past its end", with_answer(&[0], 15, &[0])),
    ] {
        assert!(WireMessage::read(&bytes).is_err(), "{what}");
    }
    // The same form, right.
    assert!(WireMessage::read(&with_answer(&[0], 1, &a)).is_ok());
    // A type nobody knows passes as it is.
    let unknown =
        WireMessage::read(&with_answer(&[0], 65280, &[1, 2])).unwrap();
    assert_eq!(unknown.answers[0].rdata, [1, 2]);
}

proptest! {
    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = WireMessage::read(&bytes);
        let _ = last_additional(&bytes);
    }

    #[test]
    fn data_is_what_hickory_makes_of_it(records in any_records()) {
        use hickory_proto::serialize::binary::{
            BinEncodable, BinEncoder, NameEncoding,
        };
        let bytes = message(&records).to_vec().unwrap();
        let read = WireMessage::read(&bytes).unwrap();
        for (ours, theirs) in read.answers.iter().zip(&records) {
            let mut rdata = Vec::new();
            let mut encoder = BinEncoder::new(&mut rdata);
            encoder.set_name_encoding(NameEncoding::Uncompressed);
            theirs.data.emit(&mut encoder).unwrap();
            prop_assert_eq!(&ours.rdata, &rdata);
            prop_assert_eq!(&ours.owner, &WireName::from_name(&theirs.name));
        }
    }
}
