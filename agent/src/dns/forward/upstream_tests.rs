// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What becomes of one upstream's replies.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hickory_proto::rr::{Record, RecordType};

use super::judge::BRIEF;
use super::tests::{
    Asked, BINDER, brief, good, limits, pool, pool_from, pool_with, soa_ttl,
};
use super::*;
use crate::dns::exchange;
use crate::dns::secondary::fake::{FakeServer, name, record, reply, zone_name};

/// Says the same to everything, with these sections, as a resolver would.
async fn recursor(
    rcode: ResponseCode,
    answers: Vec<Record>,
    authorities: Vec<Record>,
) -> (FakeServer, Asked) {
    let asked = Asked::default();
    let seen = asked.clone();
    let server = FakeServer::start(move |query, _| {
        seen.note(query);
        let edns = query.edns.as_ref().unwrap();
        assert_eq!(edns.max_payload(), exchange::UDP_PAYLOAD);
        assert!(query.metadata.recursion_desired);
        let mut answer = reply(query, rcode);
        answer.metadata.recursion_available = true;
        answer.add_answers(answers.iter().cloned());
        answer.add_authorities(authorities.iter().cloned());
        answer.into()
    })
    .await;
    (server, asked)
}

#[tokio::test]
async fn aliases_of_a_resolver_are_passed_on_whole() {
    use ResponseCode::{NXDomain, NoError};
    let alias = record("a", 60, "CNAME b");
    let soa = crate::dns::secondary::fake::soa_record(1);
    for (rcode, ends) in [(NoError, true), (NoError, false), (NXDomain, false)]
    {
        let mut answers = vec![alias.clone()];
        answers.extend(ends.then(|| record("b", 60, "A 10.0.0.1")));
        let authorities = if ends { vec![] } else { vec![soa.clone()] };
        let (server, asked) =
            recursor(rcode, answers.clone(), authorities).await;
        let pool = pool(Upstreams::Recursive, &[&server]);
        let answer = pool.ask(&name("a"), RecordType::A).await.into_answer();
        assert_eq!((answer.rcode, &answer.answers), (rcode, &answers));
        assert_eq!(soa_ttl(&answer), (!ends).then_some(30));
        assert_eq!(asked.count(), 1, "one question, no chase");
    }
}

#[tokio::test]
async fn nothing_from_a_resolver_is_nodata_even_without_a_soa() {
    let (server, _) = recursor(ResponseCode::NoError, vec![], vec![]).await;
    let pool = pool(Upstreams::Recursive, &[&server]);
    let answer = pool.ask(&name("a"), RecordType::AAAA).await.into_answer();
    assert_eq!(answer.rcode, ResponseCode::NoError);
    assert_eq!(soa_ttl(&answer), Some(BRIEF));
}

#[tokio::test]
async fn a_referral_is_lame() {
    let referring = FakeServer::start(|query, _| {
        let mut answer = reply(query, ResponseCode::NoError);
        answer.add_authority(record("", 60, "NS ns"));
        answer.into()
    })
    .await;
    let (server, _) = good().await;
    let pool = pool(Upstreams::Recursive, &[&referring, &server]);
    let answer = pool.ask(&name("a"), RecordType::A).await.into_answer();
    assert_eq!(answer.answers.len(), 1);
    assert!(pool.upstreams().all(|upstream| upstream.alive));
}

#[tokio::test]
async fn who_takes_edns_for_an_error_is_asked_without_from_then_on() {
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let server = FakeServer::start(move |query, _| {
        let has_edns = query.edns.is_some();
        // The same question again, for want of an answer, counts once.
        let this = (query.metadata.id, has_edns);
        let mut seen = seen.lock().unwrap();
        if !seen.contains(&this) {
            seen.push(this);
        }
        let mut answer = match has_edns {
            true => reply(query, ResponseCode::FormErr),
            false => reply(query, ResponseCode::NoError),
        };
        answer.edns = None;
        answer.metadata.recursion_available = true;
        let owner = query.queries[0].name().clone();
        let mut record = record("a", 60, "A 10.0.0.1");
        record.name = owner;
        answer.add_answers((!has_edns).then_some(record));
        answer.into()
    })
    .await;
    let pool = pool(Upstreams::Recursive, &[&server]);
    for owner in ["a", "b", "c"] {
        let answer = pool.ask(&name(owner), RecordType::A).await.into_answer();
        assert_eq!(answer.answers.len(), 1, "{owner}");
    }
    let asked = asked.lock().unwrap();
    let edns: Vec<bool> = asked.iter().map(|(_, edns)| *edns).collect();
    assert_eq!(edns, [true, false, false, false]);
}

#[tokio::test]
async fn a_closed_port_is_not_waited_for() {
    for kind in [BINDER, Upstreams::Recursive] {
        // Nobody is given it who asks for any port.
        let closed = SocketAddr::from(([127, 0, 0, 1], 1));
        let (server, _) = good().await;
        let mut limits = limits();
        limits.each = Duration::from_secs(60);
        limits.whole = Duration::from_secs(60);
        let pool = pool_with(kind, &[closed, server.addr], limits);
        let asked = name("a");
        let asking = pool.ask(&asked, RecordType::A);
        let answer = tokio::time::timeout(Duration::from_secs(40), asking)
            .await
            .unwrap_or_else(|_| panic!("{kind:?} waits"))
            .into_answer();
        assert_eq!(answer.answers.len(), 1);
        let status = pool.upstreams().next().unwrap();
        let error = status.last_error.unwrap();
        assert!(error.contains("could not talk to"), "{error}");
    }
}

#[tokio::test]
async fn questions_come_from_the_source_address() {
    for kind in [BINDER, Upstreams::Recursive] {
        let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = server.local_addr().unwrap();
        let source: IpAddr = "127.0.0.2".parse().unwrap();
        let (from, suffix) = (Some(source), zone_name());
        let pool = pool_from(from, suffix, kind, &[addr], brief());
        let asked = name("a");
        let mut buffer = [0; 512];
        let (_, received) = tokio::join!(
            pool.ask(&asked, RecordType::A),
            server.recv_from(&mut buffer)
        );
        assert_eq!(received.unwrap().1.ip(), source);
    }
}
