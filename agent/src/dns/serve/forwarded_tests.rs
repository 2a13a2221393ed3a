// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Kept answers the short way and the general way: both must say the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::{Name, Record, RecordType};

use crate::dns::exchange;
use crate::dns::running::{Running, forward};
use crate::dns::secondary::fake::{FakeServer, name, record, reply};
use crate::dns::serve::fast::Fast;
use crate::model::dns::{Routes, UpstreamKind};

/// The same in another spelling.
fn shouted(name: &Name) -> Name {
    Name::from_ascii(name.to_ascii().to_uppercase()).unwrap()
}

/// A resolver that knows some shapes of answers.
async fn resolver() -> FakeServer {
    FakeServer::start(|query, _| {
        let code = hickory_proto::op::ResponseCode::NoError;
        let mut answer = reply(query, code);
        answer.metadata.recursion_available = true;
        let asked = query.queries[0].name();
        if *asked == name("host") {
            answer.add_answer(record("host", 60, "A 10.0.0.1"));
            answer.add_answer(record("host", 60, "A 10.0.0.2"));
        } else if *asked == name("alias") {
            answer.add_answer(record("alias", 70, "CNAME host"));
            answer.add_answer(record("host", 60, "A 10.0.0.1"));
        } else if *asked == name("large") {
            answer.add_answers(
                (0..90).map(|n| record("large", 60, &format!("A 10.0.0.{n}"))),
            );
        } else {
            answer.metadata.response_code =
                hickory_proto::op::ResponseCode::NXDomain;
            answer.add_authority(crate::dns::secondary::fake::soa_record(1));
        }
        answer.into()
    })
    .await
}

/// The same records; a second may have passed between two looks.
fn alike(mut quick: Vec<Record>, general: Vec<Record>) {
    assert_eq!(quick.len(), general.len());
    for (one, other) in quick.iter_mut().zip(&general) {
        assert!(one.ttl.abs_diff(other.ttl) <= 1);
        one.ttl = other.ttl;
    }
    assert_eq!(quick, general);
}

#[tokio::test]
async fn kept_answers_are_given_alike_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = resolver().await;
    let routes = Routes {
        secondaries: Vec::new(),
        forwards: vec![forward(".", upstream.addr, UpstreamKind::Recursive)],
    };
    let server = Running::start(dir.path(), routes).await;
    let quick = Fast::new(Arc::clone(&server.handle.names));
    let short = |query: &Message, out: &mut Vec<u8>| {
        let bytes = query.to_vec().unwrap();
        quick.answer(&bytes, false, out)
    };
    for owner in ["host", "alias", "nowhere", "large"] {
        for asked in [name(owner), shouted(&name(owner))] {
            let mut query = exchange::query(asked.clone(), RecordType::A);
            let mut out = Vec::new();
            if asked == name(owner) && asked.eq_case(&name(owner)) {
                assert!(!short(&query, &mut out), "{owner}: not kept yet");
            }
            let names = &server.handle.names;
            let general = names.resolve(&asked, RecordType::A, true).await;
            let before = server.handle.counters();
            let fits = general.answers.len() < 50;
            out.clear();
            assert_eq!(short(&query, &mut out), fits, "{asked}");
            if !fits {
                continue;
            }
            let quick = Message::from_vec(&out).unwrap();
            assert_eq!(quick.metadata.id, query.metadata.id);
            assert_eq!(quick.metadata.response_code, general.rcode);
            let head = quick.metadata;
            assert!(head.recursion_available && head.recursion_desired);
            assert!(!head.authoritative && !head.truncation);
            alike(quick.answers.clone(), general.answers);
            alike(quick.authorities.clone(), general.authorities);
            alike(quick.additionals.clone(), general.additionals);
            assert!(quick.queries[0].name().eq_case(&asked));
            if let Some(first) = quick.answers.first() {
                assert!(first.name.eq_case(&asked));
            }
            let after = server.handle.counters();
            assert_eq!(after.from_forward, before.from_forward + 1);
            assert_eq!(after.queries, before.queries + 1);

            // Without EDNS, and for nobody who does not want it looked for.
            query.edns = None;
            out.clear();
            assert!(short(&query, &mut out));
            assert!(Message::from_vec(&out).unwrap().edns.is_none());
            query.metadata.recursion_desired = false;
            assert!(!short(&query, &mut out));
        }
    }
    let mut query = exchange::query(name("host"), RecordType::A);
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true);
    query.set_edns(edns);
    let mut out = Vec::new();
    assert!(short(&query, &mut out));
    let quick = Message::from_vec(&out).unwrap();
    assert!(quick.edns.unwrap().flags().dnssec_ok);
    server.end().await;
}

#[tokio::test]
async fn a_name_of_ours_is_not_looked_for_among_kept_answers() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = resolver().await;
    let mut routes = Routes {
        secondaries: Vec::new(),
        forwards: vec![forward(".", upstream.addr, UpstreamKind::Recursive)],
    };
    let server = Running::start(dir.path(), routes.clone()).await;
    server.ask(name("host"), RecordType::A).await;
    let zone = crate::dns::secondary::fake::zone_name();
    routes.secondaries = vec![crate::model::dns::SecondaryZone {
        name: zone,
        primaries: Vec::new(),
    }];
    server.routes.send_replace(Arc::new(routes));
    server.until("zone", |s| !s.handle.zones().is_empty()).await;
    let query = exchange::query(name("host"), RecordType::A);
    let fast = Fast::new(Arc::clone(&server.handle.names));
    let mut out = Vec::new();
    let quick = fast.answer(&query.to_vec().unwrap(), false, &mut out);
    assert!(!quick, "the zone has no copy yet");
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, server.end()).await.unwrap();
}

/// Every time that a kept answer is about to age, a question goes out.
#[tokio::test]
async fn a_hot_name_is_renewed_by_who_asks_the_short_way() {
    let dir = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let upstream = FakeServer::start(move |query, _| {
        count.fetch_add(1, Ordering::SeqCst);
        let mut answer = reply(query, ResponseCode::NoError);
        answer.metadata.recursion_available = true;
        answer.add_answer(record("host", 1, "A 10.0.0.1"));
        answer.into()
    })
    .await;
    let routes = Routes {
        secondaries: Vec::new(),
        forwards: vec![forward(".", upstream.addr, UpstreamKind::Recursive)],
    };
    let server = Running::start(dir.path(), routes).await;
    let cache = || server.handle.forwards()[0].cache;
    let mut before = 0;
    let renewing = async {
        while cache().prefetches == 0 {
            before = asked.load(Ordering::SeqCst);
            server.ask(name("host"), RecordType::A).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), renewing).await.unwrap();
    server.until("renewed", |_| asked.load(Ordering::SeqCst) > before).await;
    server.end().await;
}
