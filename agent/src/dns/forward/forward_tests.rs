// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Forwarding against upstreams of every temper.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::judge::BRIEF;
use super::*;
use crate::dns::secondary::fake::{
    FakeServer, Replies, Transport, name, record, reply, zone_name,
};
use crate::model::dns::ZoneName;

pub(crate) const BINDER: Upstreams = Upstreams::Binder { fallback: false };

/// Patient: a machine that has much else to do is not silent.
pub(crate) fn limits() -> ForwardLimits {
    ForwardLimits {
        each: Duration::from_secs(10),
        whole: Duration::from_secs(30),
        ..ForwardLimits::default()
    }
}

/// Where somebody is silent, and the time is waited out.
pub(crate) fn brief() -> ForwardLimits {
    ForwardLimits {
        each: Duration::from_millis(500),
        whole: Duration::from_millis(2500),
        ..ForwardLimits::default()
    }
}

/// Questions that came, each once: one without an answer is sent again.
#[derive(Clone, Default)]
pub(crate) struct Asked(Arc<Mutex<HashSet<(u16, Name, RecordType)>>>);

impl Asked {
    /// Whether this is the first time.
    pub(crate) fn note(&self, query: &Message) -> bool {
        let question = &query.queries[0];
        let name = question.name().to_lowercase();
        let key = (query.metadata.id, name, question.query_type());
        self.0.lock().unwrap().insert(key)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// One that asks in clear, from `source`.
pub(crate) fn pool_from(
    source: Option<IpAddr>,
    suffix: ZoneName,
    kind: Upstreams,
    addrs: &[SocketAddr],
    limits: ForwardLimits,
) -> ForwardPool {
    let in_flight = Arc::new(Semaphore::new(limits.in_flight));
    let trust = Trust::default();
    ForwardPool::new(suffix, kind, addrs, source, limits, in_flight, &trust)
}

pub(crate) fn pool_with(
    kind: Upstreams,
    addrs: &[SocketAddr],
    limits: ForwardLimits,
) -> ForwardPool {
    pool_from(None, zone_name(), kind, addrs, limits)
}

pub(crate) fn pool(kind: Upstreams, servers: &[&FakeServer]) -> ForwardPool {
    let addrs: Vec<SocketAddr> = servers.iter().map(|s| s.addr).collect();
    pool_with(kind, &addrs, limits())
}

/// Knows `a` only; counts what it is asked.
pub(crate) async fn good() -> (FakeServer, Asked) {
    let asked = Asked::default();
    let seen = asked.clone();
    let server = FakeServer::start(move |query, _| {
        seen.note(query);
        let question = &query.queries[0];
        // As binder does: another case is another name.
        if !question.name().eq_case(&name("a")) {
            return reply(query, ResponseCode::Refused).into();
        }
        let mut answer = reply(query, ResponseCode::NoError);
        answer.add_answer(record("a", 60, "A 10.0.0.1"));
        answer.into()
    })
    .await;
    (server, asked)
}

pub(crate) async fn always(rcode: ResponseCode) -> FakeServer {
    FakeServer::start(move |query, _| reply(query, rcode).into()).await
}

pub(crate) async fn silent() -> FakeServer {
    FakeServer::start(|_, _| Replies::default()).await
}

pub(crate) fn soa_ttl(answer: &Answer) -> Option<u32> {
    match &answer.authorities[..] {
        [soa] if matches!(soa.data, RData::SOA(_)) => Some(soa.ttl),
        _ => None,
    }
}

#[tokio::test]
async fn an_answer_is_cached_and_spelled_as_asked() {
    let (server, asked) = good().await;
    let pool = pool(BINDER, &[&server]);
    for spelling in ["a", "A"] {
        let answer =
            pool.ask(&name(spelling), RecordType::A).await.into_answer();
        assert_eq!(answer.rcode, ResponseCode::NoError);
        assert!(answer.answers[0].name.eq_case(&name(spelling)));
    }
    assert_eq!(asked.count(), 1);
}

#[tokio::test]
async fn binder_is_asked_for_what_it_knows() {
    let (server, asked) = good().await;
    let pool = pool(BINDER, &[&server]);
    for rtype in [RecordType::AAAA, RecordType::TXT, RecordType::HTTPS] {
        let answer = pool.ask(&name("a"), rtype).await.into_answer();
        assert_eq!(answer.rcode, ResponseCode::NoError);
        assert!(answer.answers.is_empty());
        assert_eq!(soa_ttl(&answer), Some(30));
    }
    assert_eq!(asked.count(), 0);
}

#[tokio::test]
async fn refused_by_one_binder_is_asked_of_the_next() {
    let refusing = always(ResponseCode::Refused).await;
    let failing = always(ResponseCode::ServFail).await;
    let (server, _) = good().await;
    let pool = pool(BINDER, &[&refusing, &failing, &server]);
    let answer = pool.ask(&name("a"), RecordType::A).await.into_answer();
    assert_eq!(answer.answers.len(), 1);
    assert!(pool.upstreams().all(|upstream| upstream.alive));
}

#[tokio::test]
async fn refused_by_all_live_binders_is_nxdomain_for_a_moment() {
    let (one, asked) = good().await;
    let two = always(ResponseCode::Refused).await;
    let dead = silent().await;
    let pool = pool(BINDER, &[&one, &dead, &two]);
    for _ in 0..2 {
        let answer =
            pool.ask(&name("unknown"), RecordType::A).await.into_answer();
        assert_eq!(answer.rcode, ResponseCode::NXDomain);
        assert_eq!(soa_ttl(&answer), Some(BRIEF));
    }
    assert_eq!(asked.count(), 1, "kept for a few seconds");
    let started = Instant::now();
    let answer = pool.ask(&name("unknown2"), RecordType::A).await.into_answer();
    assert_eq!(answer.rcode, ResponseCode::NXDomain);
    assert!(
        started.elapsed() < limits().each,
        "the dead one is not waited for"
    );
}

#[tokio::test]
async fn one_failing_binder_makes_unknown_uncertain() {
    let refusing = always(ResponseCode::Refused).await;
    let failing = always(ResponseCode::ServFail).await;
    let pool = pool(BINDER, &[&refusing, &failing]);
    let answer = pool.ask(&name("a"), RecordType::A).await.into_answer();
    assert_eq!(answer.rcode, ResponseCode::ServFail);
}

#[tokio::test]
async fn notimp_of_binder_is_nodata() {
    let server = always(ResponseCode::NotImp).await;
    let pool = pool(BINDER, &[&server]);
    let answer = pool.ask(&name("a"), RecordType::SRV).await.into_answer();
    assert_eq!(answer.rcode, ResponseCode::NoError);
    assert_eq!(soa_ttl(&answer), Some(BRIEF));
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_by_tcp() {
    let server = FakeServer::start(|query, transport| {
        let mut answer = reply(query, ResponseCode::NoError);
        match transport {
            Transport::Udp => answer.metadata.truncation = true,
            Transport::Tcp => {
                answer.add_answers(
                    (0..200).map(|_| record("a", 9, "A 10.0.0.1")),
                );
            }
        }
        answer.into()
    })
    .await;
    let pool = pool(Upstreams::Recursive, &[&server]);
    let answer = pool.ask(&name("a"), RecordType::A).await.into_answer();
    assert_eq!(answer.answers.len(), 200);
}

#[tokio::test]
async fn recursive_rcodes_stay_what_they_are() {
    use ResponseCode::{NXDomain, NoError, NotImp, Refused, ServFail};
    let (one, _) = good().await;
    for (said, meant) in [
        (NXDomain, NXDomain),
        (ServFail, ServFail),
        (Refused, ServFail),
        (NotImp, ServFail),
        // Empty, without AA, RA or SOA: lame.
        (NoError, ServFail),
    ] {
        let server = always(said).await;
        let alone = pool(Upstreams::Recursive, &[&server]);
        let answer = alone.ask(&name("a"), RecordType::A).await.into_answer();
        assert_eq!(answer.rcode, meant, "{said}");
        if meant == ServFail {
            let both = pool(Upstreams::Recursive, &[&server, &one]);
            let answer =
                both.ask(&name("a"), RecordType::A).await.into_answer();
            assert_eq!(answer.answers.len(), 1, "{said}, then an answer");
        }
    }
}

#[tokio::test]
async fn negative_answers_keep_the_soa_and_its_minimum() {
    let server = FakeServer::start(|query, _| {
        let mut answer = reply(query, ResponseCode::NoError);
        answer.metadata.recursion_available = true;
        let mut soa = crate::dns::secondary::fake::soa_record(1);
        soa.ttl = 9000;
        answer.add_authority(soa);
        answer.into()
    })
    .await;
    let pool = pool(Upstreams::Recursive, &[&server]);
    let answer = pool.ask(&name("a"), RecordType::AAAA).await.into_answer();
    assert_eq!(answer.rcode, ResponseCode::NoError);
    assert_eq!(soa_ttl(&answer), Some(30));
}

#[tokio::test]
async fn too_many_questions_are_turned_away() {
    let (server, _) = good().await;
    let limits = ForwardLimits { in_flight: 0, ..limits() };
    let pool = pool_with(BINDER, &[server.addr], limits);
    let answer = pool.ask(&name("a"), RecordType::A).await.into_answer();
    assert_eq!(answer.rcode, ResponseCode::ServFail);
}

#[tokio::test]
async fn what_is_forgotten_is_asked_again() {
    use crate::dns::names::WireName;
    let (server, asked) = good().await;
    let pool = pool(BINDER, &[&server]);
    let key = WireName::from_name(&name("a"));
    let ask = async || pool.ask(&name("a"), RecordType::A).await;
    ask().await;
    assert!(pool.is_cached(&key, RecordType::A));
    assert!(!pool.is_cached(&key, RecordType::SRV));
    let other = WireName::from_name(&name("other"));
    assert_eq!(pool.forget(Some(&other)), 0);
    assert_eq!(pool.forget(Some(&key)), 1);
    assert!(!pool.is_cached(&key, RecordType::A));
    ask().await;
    assert_eq!(pool.forget(None), 1);
    assert_eq!(asked.count(), 2);
    let cache = pool.status().cache;
    assert_eq!((cache.entries, cache.bytes), (0, 0));
}
