// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The fast way against the general one: whatever the fast one answers, the
//! general one says the same.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use hickory_net::runtime::TokioTime;
use hickory_net::xfer::{BufDnsStreamHandle, Protocol};
use hickory_proto::op::{Edns, Message, OpCode, Query};
use hickory_proto::rr::{Name, Record};
use hickory_server::server::{Request, RequestHandler, ResponseHandle};
use proptest::prelude::*;
use tokio::sync::Semaphore;

use super::*;
use crate::dns::catalog::{ZoneCell, ZoneEntry};
use crate::dns::forward::{ForwardLimits, ForwardPool, Upstreams};
use crate::dns::secondary::fake::{name, record, version, zone_name};
use crate::dns::serve::front::Front;
use crate::dns::serve::resolve::Names;

fn zone() -> ZoneVersion {
    let mut records: Vec<Record> = vec![
        record("cmon", 30, "A 10.0.0.9"),
        record("cmon", 40, "TXT x"),
        record("v1.cmon", 30, "CNAME cmon"),
        record("a.inst.o", 30, "A 10.0.0.1"),
        record("a.inst.o", 30, "A 10.0.0.2"),
        record("a.inst.o", 30, "AAAA fd00::1"),
        record("p", 30, "PTR cmon"),
        record("s.svc.o", 30, "SRV 0 10 9163 a.inst.o"),
        record("*.wild", 30, "A 10.0.0.7"),
        record("x.under.wild", 30, "A 10.0.0.8"),
    ];
    let many = |n| record("many", 30, &format!("A 10.1.{}.{}", n / 99, n % 99));
    records.extend((0..120).map(many));
    let some = |n| record("some", 30, &format!("A 10.2.0.{n}"));
    records.extend((0..40).map(some));
    version(9, &records)
}

fn front() -> Front {
    let cell = ZoneCell::new(zone_name(), Vec::new());
    cell.install(Arc::new(zone()));
    let limits = ForwardLimits::default();
    let turns = Arc::new(Semaphore::new(1));
    let primaries = ForwardPool::new(
        zone_name(),
        Upstreams::Primaries,
        &[],
        None,
        limits,
        turns,
    );
    let apex = cell.apex.clone();
    let entry =
        ZoneEntry { cell: Arc::new(cell), primaries: Arc::new(primaries) };
    let mut catalog = Catalog::default();
    catalog.zones.insert(apex, entry);
    let counters = Arc::new(Counters::default());
    Front::new(Arc::new(Names::new(catalog, counters, Duration::from_secs(1))))
}

/// The general way, without a socket; `None` where it keeps silent.
fn general(front: &Front, query: &[u8], protocol: Protocol) -> Option<Vec<u8>> {
    let from = ([127, 0, 0, 1], 9).into();
    let request = Request::from_bytes(query.to_vec(), from, protocol).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (handle, mut encoded) = BufDnsStreamHandle::new(from);
        let handle = ResponseHandle::new(from, handle, protocol);
        front.handle_request::<_, TokioTime>(&request, handle).await;
        encoded.next().await.map(|message| message.bytes().to_vec())
    })
}

fn fast(front: &Front, query: &[u8], stream: bool) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (catalog, counters) = (front.names.catalog(), &front.names.counters);
    answer(query, stream, &catalog, counters, &mut out).then_some(out)
}

/// What an asker sees, in an order that does not matter; names in their
/// spelling.
fn seen(bytes: &[u8]) -> (String, Vec<String>) {
    let message = Message::from_vec(bytes).unwrap();
    let mut records: Vec<String> = message
        .answers
        .iter()
        .map(|record| format!("an {record}"))
        .chain(message.authorities.iter().map(|r| format!("au {r}")))
        .chain(message.additionals.iter().map(|r| format!("ad {r}")))
        .collect();
    records.sort();
    let head = format!(
        "{:?} {:?} {:?}",
        message.metadata, message.queries, message.edns
    );
    (head, records)
}

fn agree(front: &Front, query: &[u8]) -> bool {
    let mut answered = false;
    for (stream, protocol) in [(false, Protocol::Udp), (true, Protocol::Tcp)] {
        let Some(short) = fast(front, query, stream) else { continue };
        let long = general(front, query, protocol).unwrap();
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
        "a.inst.o",
        "A.iNst.O",
        "inst.o",
        "p",
        "s.svc.o",
        "new.wild",
        "*.wild",
        "y.under.wild",
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
    (owner, rtype, any::<(bool, bool, bool)>(), edns).prop_map(
        |(owner, rtype, flags, edns)| Asked {
            owner: owner.to_owned(),
            rtype,
            flags,
            edns,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn both_ways_say_the_same(asked in asked()) {
        agree(&front(), &query(&asked));
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
        agree(&front(), &bytes);
    }
}

/// What a monitor asks must not slip to the general way unnoticed.
#[test]
fn the_usual_questions_go_the_fast_way() {
    let front = front();
    for (owner, rtype, is_fast) in [
        ("cmon", 1, true),
        ("cmon", 28, true),
        ("cmon", 16, true),
        ("nowhere", 1, true),
        ("inst.o", 1, true),
        ("new.wild", 1, true),
        ("", 6, true),
        ("v1.cmon", 1, false),
        ("s.svc.o", 33, false),
        ("example!", 1, false),
    ] {
        for edns in [None, Some((1232, false)), Some((4096, true))] {
            let asked = Asked {
                owner: owner.to_owned(),
                rtype,
                flags: (true, false, false),
                edns,
            };
            assert_eq!(agree(&front, &query(&asked)), is_fast, "{asked:?}");
        }
    }
    let counters = front.names.counts();
    assert!(counters.from_zone > 0 && counters.nxdomain > 0);
}
