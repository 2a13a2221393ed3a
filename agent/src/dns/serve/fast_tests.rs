// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The fast way against the general one: whatever the fast one answers, the
//! general one says the same.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_net::xfer::Protocol;
use hickory_proto::op::{Edns, Message, OpCode, Query};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, Record};
use proptest::prelude::*;

use super::*;
use crate::dns::catalog::{ZoneCell, ZoneEntry};
use crate::dns::counters::Counters;
use crate::dns::forward::tests::pool_from;
use crate::dns::forward::{ForwardLimits, Upstreams};
use crate::dns::secondary::fake::{name, record, version, zone_name};
use crate::dns::serve::front::Front;
use crate::dns::serve::general::{self, Read};
use crate::model::dns::ZoneName;

fn zone() -> ZoneVersion {
    let mut records: Vec<Record> = vec![
        record("cmon", 30, "A 10.0.0.9"),
        record("cmon", 40, "TXT x"),
        record("v1.cmon", 30, "CNAME cmon"),
        record("v2.cmon", 20, "CNAME V1.cmon"),
        record("*.alias", 30, "CNAME a.inst.o"),
        record("gone", 30, "CNAME x.y.nowhere"),
        record("away", 30, "CNAME www.example."),
        record("home", 30, "CNAME localhost."),
        record("loop1", 30, "CNAME loop2"),
        record("loop2", 30, "CNAME loop1"),
        record("a.inst.o", 30, "A 10.0.0.1"),
        record("a.inst.o", 30, "A 10.0.0.2"),
        record("a.inst.o", 30, "AAAA fd00::1"),
        record("p", 30, "PTR cmon"),
        record("s.svc.o", 30, "SRV 0 10 9163 a.inst.o"),
        record("s2.svc.o", 30, "SRV 0 10 9163 a.inst.o"),
        record("s2.svc.o", 30, "SRV 0 10 9164 A.inst.o"),
        record("s2.svc.o", 30, "SRV 0 10 9164 cmon"),
        record("s2.svc.o", 30, "SRV 0 10 9164 nowhere"),
        record("s2.svc.o", 30, "SRV 0 10 9164 www.example."),
        record("s2.svc.o", 30, "SRV 0 10 9164 new.wild"),
        record("s3.svc.o", 30, "CNAME s2.svc.o"),
        record("*.wild", 30, "A 10.0.0.7"),
        record("x.under.wild", 30, "A 10.0.0.8"),
        record("cut", 30, "NS ns.cut"),
        record("ns.cut", 30, "A 10.0.0.5"),
        record("moved", 30, "DNAME wild"),
    ];
    let many = |n| record("many", 30, &format!("A 10.1.{}.{}", n / 99, n % 99));
    records.extend((0..120).map(many));
    let some = |n| record("some", 30, &format!("A 10.2.0.{n}"));
    records.extend((0..40).map(some));
    for (owner, count) in [("srv10", 10), ("srv14", 14), ("srv40", 40)] {
        let one = |n| record(owner, 30, &format!("SRV 0 1 {n} h{n}.inst"));
        records.extend((0..count).map(one));
    }
    let host = |n| record(&format!("h{n}.inst"), 30, "A 10.3.0.1");
    records.extend((0..14).map(host));
    let link = |n| record(&format!("c{n}"), 9, &format!("CNAME c{}", n + 1));
    records.extend((0..8).map(link));
    records.push(record("c8", 9, "A 10.4.0.1"));
    version(9, &records)
}

/// Answers of `zone`, and of a zone named slow.example whose primaries, of
/// which we hold nothing, are at `slow`.
pub(crate) fn front(slow: &[SocketAddr]) -> Front {
    let cell = ZoneCell::new(zone_name(), Vec::new());
    cell.install(Arc::new(zone()));
    let empty =
        ZoneCell::new(ZoneName::parse("slow.example").unwrap(), Vec::new());
    let mut catalog = Catalog::default();
    for (cell, upstreams) in [(cell, &[][..]), (empty, slow)] {
        let (suffix, limits) = (cell.name.clone(), ForwardLimits::default());
        let kind = Upstreams::Primaries;
        let primaries = pool_from(None, suffix, kind, upstreams, limits);
        let apex = cell.apex.clone();
        let entry =
            ZoneEntry { cell: Arc::new(cell), primaries: Arc::new(primaries) };
        catalog.zones.insert(apex, entry);
    }
    let counters = Arc::new(Counters::default());
    Front::new(Arc::new(Names::new(catalog, counters, Duration::from_secs(1))))
}

/// The general way, without a socket; `None` where it keeps silent.
fn long_way(
    front: &Front,
    query: &[u8],
    protocol: Protocol,
) -> Option<Vec<u8>> {
    let from = ([127, 0, 0, 1], 9).into();
    let request = match general::read(query, from, protocol) {
        Read::Question(request) => request,
        Read::Malformed(_) | Read::Silence => return None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(general::answer(front, &request))
}

fn short_way(front: &Front, query: &[u8], stream: bool) -> Option<Vec<u8>> {
    const BEFORE: &[u8] = b"what was there before";
    let mut out = BEFORE.to_vec();
    let fast = Fast::new(Arc::clone(&front.names));
    let answered = fast.answer(query, stream, &mut out);
    let reply = out.strip_prefix(BEFORE).unwrap().to_vec();
    assert_eq!(answered, !reply.is_empty());
    answered.then_some(reply)
}

/// What an asker sees, in order. Where the two may differ: the short way
/// refers to the question's name where hickory spells it out once more, so
/// its messages are shorter, and a little more fits into a datagram; and it
/// spells the owner of a SOA as the question does.
fn seen(bytes: &[u8]) -> (String, Vec<String>) {
    let message = Message::from_vec(bytes).unwrap();
    let records: Vec<String> = message
        .answers
        .iter()
        .map(|record| format!("an {record}"))
        .chain(message.authorities.iter().map(|record| {
            let owner = record.name.to_lowercase();
            format!("au {owner} {} {}", record.ttl, record.data)
        }))
        .chain(message.additionals.iter().map(|r| format!("ad {r}")))
        .collect();
    let head = format!(
        "{:?} {:?} {:?}",
        message.metadata, message.queries, message.edns
    );
    (head, records)
}

/// Whether the short way answered, which must be as the general way does.
fn agree(front: &Front, query: &[u8]) -> bool {
    let mut answered = false;
    for (stream, protocol) in [(false, Protocol::Udp), (true, Protocol::Tcp)] {
        let Some(short) = short_way(front, query, stream) else { continue };
        let long = long_way(front, query, protocol).unwrap();
        assert_eq!(seen(&short), seen(&long), "{query:?}");
        answered = true;
    }
    answered
}

#[derive(Clone, Debug)]
struct Asked {
    owner: String,
    rtype: u16,
    flags: (bool, bool, bool),
    edns: Option<(u16, bool)>,
    options: Vec<(u16, Vec<u8>)>,
}

fn query(asked: &Asked) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = 0x1234;
    message.metadata.op_code = OpCode::Query;
    (
        message.metadata.recursion_desired,
        message.metadata.authentic_data,
        message.metadata.checking_disabled,
    ) = asked.flags;
    let owner: Name = match asked.owner.strip_suffix('!') {
        Some(outside) => Name::from_ascii(format!("{outside}.")).unwrap(),
        None => name(&asked.owner),
    };
    message.add_query(Query::query(owner, asked.rtype.into()));
    message.edns = asked.edns.map(|(size, dnssec_ok)| {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        edns.set_dnssec_ok(dnssec_ok);
        for (code, data) in &asked.options {
            let option = EdnsOption::Unknown(*code, data.clone());
            edns.options_mut().insert(option);
        }
        edns
    });
    message.to_vec().unwrap()
}

fn asked() -> impl Strategy<Value = Asked> {
    let owner = prop::sample::select(vec![
        "",
        "cmon",
        "CMon",
        "v1.cmon",
        "V2.cmon",
        "x.alias",
        "gone",
        "away",
        "home",
        "loop1",
        "c0",
        "c3",
        "c4",
        "a.inst.o",
        "A.iNst.O",
        "inst.o",
        "p",
        "s.svc.o",
        "s2.svc.O",
        "s3.svc.o",
        "srv10",
        "srv14",
        "srv40",
        "cmon.DC1.cns.Example!",
        "nowhere.DC1.cns.Example!",
        "new.wild",
        "*.wild",
        "y.under.wild",
        "cut",
        "ns.cut",
        "x.cut",
        "x.moved",
        "nowhere",
        "x.cmon",
        "many",
        "some",
        "localhost!",
        "example!",
        "1.0.0.127.in-addr.arpa!",
        "cns.example!",
    ]);
    let rtype = prop_oneof![
        4 => prop::sample::select(vec![
            1_u16, 28, 16, 5, 2, 6, 12, 33, 255, 252, 251, 41, 0, 64, 99,
        ]),
        1 => any::<u16>(),
    ];
    let sizes = prop::sample::select(vec![0_u16, 512, 1232, 4096, 65_535]);
    let edns = prop::option::of((sizes, any::<bool>()));
    let codes = prop::sample::select(vec![3_u16, 8, 10, 11, 12, 65_001]);
    let data = prop::collection::vec(any::<u8>(), 0..20);
    let options = prop::collection::vec((codes, data), 0..3);
    (owner, rtype, any::<(bool, bool, bool)>(), edns, options).prop_map(
        |(owner, rtype, flags, edns, options)| Asked {
            owner: owner.to_owned(),
            rtype,
            flags,
            edns,
            options,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn both_ways_say_the_same(asked in asked()) {
        agree(&front(&[]), &query(&asked));
    }

    /// Bytes that are nearly a query.
    #[test]
    fn neither_way_minds_damage(
        asked in asked(),
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = query(&asked);
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        agree(&front(&[]), &bytes);
    }
}

/// What a monitor asks must not slip to the general way unnoticed.
#[test]
fn the_usual_questions_go_the_fast_way() {
    let front = front(&[]);
    for (owner, rtype, is_fast) in [
        ("cmon", 1, true),
        ("cmon", 28, true),
        ("cmon", 16, true),
        ("nowhere", 1, true),
        ("inst.o", 1, true),
        ("new.wild", 1, true),
        ("", 6, true),
        ("v1.cmon", 1, true),
        ("v2.cmon", 28, true),
        ("gone", 1, true),
        ("away", 1, false),
        ("home", 1, false),
        ("loop1", 1, false),
        ("c4", 1, true),
        ("c3", 1, false),
        ("s.svc.o", 33, true),
        ("s2.svc.o", 33, true),
        ("s3.svc.o", 33, true),
        ("srv40", 33, false),
        ("example!", 1, false),
        ("x.slow.example!", 1, false),
    ] {
        let cookie = vec![(10, vec![7; 8])];
        for (edns, options) in [
            (None, Vec::new()),
            (Some((1232, false)), Vec::new()),
            (Some((4096, true)), cookie),
        ] {
            let asked = Asked {
                owner: owner.to_owned(),
                rtype,
                flags: (true, false, false),
                edns,
                options,
            };
            assert_eq!(agree(&front, &query(&asked)), is_fast, "{asked:?}");
        }
    }
    let counters = front.names.counts();
    assert!(counters.from_zone > 0 && counters.nxdomain > 0);
}
