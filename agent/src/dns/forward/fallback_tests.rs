// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Names that binder refuses, and who is asked then.

use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};

use super::judge::binder_knows;
use super::tests::{
    Asked, always, brief, limits, pool, pool_with, silent, soa_ttl,
};
use super::{Told, Upstreams};
use crate::dns::names::WireName;
use crate::dns::running::{Running, binder, forward, replicate, zone};
use crate::dns::secondary::fake::{
    FakePrimary, FakeServer, name, record, reply,
};
use crate::model::dns::{Routes, UpstreamKind};

/// Knows `host` with an address and `idle` without, refuses the rest; counts
/// what it is asked.
async fn refusing() -> (FakeServer, Asked) {
    let asked = Asked::default();
    let seen = asked.clone();
    let server = FakeServer::start(move |query, _| {
        seen.note(query);
        let question = &query.queries[0];
        assert!(binder_knows(question.query_type()));
        let is = |text| *question.name() == name(text);
        if !is("host") && !is("idle") {
            return reply(query, ResponseCode::Refused).into();
        }
        let mut answer = reply(query, ResponseCode::NoError);
        if is("host") {
            answer.add_answer(record("host", 60, "A 10.0.0.1"));
        }
        answer.into()
    })
    .await;
    (server, asked)
}

#[tokio::test]
async fn with_fallback_the_address_tells_whose_name_it_is() {
    use RecordType::{A, AAAA, SRV, TXT};
    let (server, asked) = refusing().await;
    let kind = Upstreams::Binder { fallback: true };
    let pool = pool(kind, &[&server]);
    for rtype in [AAAA, A, TXT] {
        let told = pool.ask(&name("host"), rtype).await;
        let Told::Answer(answer) = told else { panic!("{rtype}") };
        assert_eq!(answer.rcode, ResponseCode::NoError);
        assert_eq!(answer.answers.is_empty(), rtype != A);
        assert_eq!(soa_ttl(&answer), (rtype != A).then_some(30));
    }
    assert_eq!(asked.count(), 1, "the address is kept");
    let told = pool.ask(&name("idle"), AAAA).await;
    assert!(matches!(told, Told::Answer(a) if a.answers.is_empty()));
    for rtype in [AAAA, A, TXT] {
        let told = pool.ask(&name("www"), rtype).await;
        let Told::Unknown(answer) = told else { panic!("{rtype}") };
        assert_eq!(answer.rcode, ResponseCode::NXDomain);
    }
    assert_eq!(asked.count(), 3, "so is the refusal");
    // As verb dns tells: what is kept of a refusal answers nobody.
    let cached =
        |text, rtype| pool.is_cached(&WireName::from_name(&name(text)), rtype);
    assert!(cached("host", A) && cached("host", AAAA));
    assert!(!cached("www", A) && !cached("www", AAAA));
    assert!(matches!(pool.ask(&name("_s._t"), SRV).await, Told::Unknown(_)));
}

#[tokio::test]
async fn a_silent_or_failing_binder_does_not_give_a_name_up() {
    let failing = always(ResponseCode::ServFail).await;
    let (refusing, _) = refusing().await;
    let dead = silent().await;
    let kind = Upstreams::Binder { fallback: true };
    for servers in [&[&failing, &refusing][..], &[&dead]] {
        let addrs: Vec<_> = servers.iter().map(|s| s.addr).collect();
        let limits = match servers.len() {
            1 => brief(),
            _ => limits(),
        };
        let pool = pool_with(kind, &addrs, limits);
        for rtype in [RecordType::A, RecordType::AAAA] {
            let Told::Answer(answer) = pool.ask(&name("www"), rtype).await
            else {
                panic!("{rtype}: given up");
            };
            assert_eq!(answer.rcode, ResponseCode::ServFail);
        }
    }
}

/// Answers every name with the address and counts; as a public wildcard.
async fn public() -> (FakeServer, Asked) {
    let asked = Asked::default();
    let seen = asked.clone();
    let server = FakeServer::start(move |query, _| {
        seen.note(query);
        let question = &query.queries[0];
        let data = match question.query_type() {
            RecordType::AAAA => "AAAA 2001:db8::1",
            _ => "A 192.0.2.1",
        };
        let mut record = record("x", 60, data);
        record.name = question.name().clone();
        let mut answer = reply(query, ResponseCode::NoError);
        answer.metadata.recursion_available = true;
        answer.add_answer(record);
        answer.into()
    })
    .await;
    (server, asked)
}

#[tokio::test]
async fn what_binder_refuses_is_asked_further_up_only_with_fallback() {
    use RecordType::{A, AAAA, SRV};
    let dir = tempfile::tempdir().unwrap();
    let (binder, (public, asked)) = (binder().await, public().await);
    let mut wide = forward("example", binder.addr, UpstreamKind::Binder);
    wide.fallback = true;
    let mut routes = Routes {
        secondaries: Vec::new(),
        forwards: vec![
            forward("dc2.example", binder.addr, UpstreamKind::Binder),
            wide,
            forward(".", public.addr, UpstreamKind::Recursive),
        ],
    };
    let server = Running::start(dir.path(), routes.clone()).await;
    let ask = async |text: &str, rtype| {
        let answer = server.ask(Name::from_ascii(text).unwrap(), rtype).await;
        (answer.metadata.response_code, answer.answers.len())
    };
    use ResponseCode::{NXDomain, NoError};
    // Binder knows it: nobody else is asked, whatever the type.
    assert_eq!(ask("host.dc1.example.", A).await, (NoError, 1));
    assert_eq!(ask("host.dc1.example.", AAAA).await, (NoError, 0));
    // Of the datacenter: binder's word is the last.
    assert_eq!(ask("sapi.dc2.example.", A).await, (NXDomain, 0));
    assert_eq!(ask("sapi.dc2.example.", AAAA).await, (NoError, 0));
    assert_eq!(ask("_s._tcp.dc2.example.", SRV).await, (NXDomain, 0));
    assert_eq!(asked.count(), 0, "nothing leaks");
    // Below the same domain, but public.
    assert_eq!(ask("www.example.", A).await, (NoError, 1));
    assert_eq!(ask("www.example.", AAAA).await, (NoError, 1));
    assert_eq!(asked.count(), 2);
    assert_eq!(
        server.handle.lookup_ipv4("cmon.example").await.unwrap(),
        ["192.0.2.1".parse::<std::net::Ipv4Addr>().unwrap()]
    );

    // Nothing above: as if without fallback.
    routes.forwards.truncate(2);
    server.routes.send_replace(Arc::new(routes.clone()));
    server.until("no root", |s| s.handle.upstreams().len() == 2).await;
    assert_eq!(ask("www.example.", A).await, (NXDomain, 0));

    // A change of the flag alone is noticed. The third zone shows when.
    routes.forwards[1].fallback = false;
    routes.forwards.push(forward(".", public.addr, UpstreamKind::Recursive));
    server.routes.send_replace(Arc::new(routes));
    server.until("root again", |s| s.handle.upstreams().len() == 3).await;
    let before = asked.count();
    assert_eq!(ask("www.example.", A).await, (NXDomain, 0));
    assert_eq!(asked.count(), before);
    server.end().await;
}

#[tokio::test]
async fn an_alias_into_a_public_name_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let primary = FakePrimary::start(7, &zone()).await;
    let (refusing, (public, _)) = (binder().await, public().await);
    let mut routes = replicate(&[primary.addr]);
    let mut wide = forward("dc1.example", refusing.addr, UpstreamKind::Binder);
    wide.fallback = true;
    routes.forwards =
        vec![wide, forward(".", public.addr, UpstreamKind::Recursive)];
    primary.set(7, &[record("out", 30, "CNAME www.dc1.example.")]);
    let server = Running::start(dir.path(), routes).await;
    server.until("transfer", |s| s.serial() == Some(7)).await;
    for rtype in [RecordType::A, RecordType::AAAA] {
        let answer = server.ask(name("out"), rtype).await;
        assert_eq!(answer.answers.len(), 2, "{answer:?}");
    }
    server.end().await;
}
