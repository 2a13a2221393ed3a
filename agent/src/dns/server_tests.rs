// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The whole server over loopback sockets: what a stub resolver sees.

use hickory_proto::op::{
    Edns, Message, MessageType, OpCode, Query, ResponseCode,
};
use hickory_proto::rr::{Name, RecordType};

use super::running::{Running, binder, forward, replicate, with_binder, zone};
use super::*;
use crate::dns::secondary::fake::{
    FakePrimary, FakeServer, Mood, Replies, name, record, reply,
};
use crate::model::dns::UpstreamKind;

#[tokio::test]
async fn a_replicated_zone_is_answered_in_full() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _primary, _binder) = with_binder(dir.path()).await;

    let answer = server.ask(name("CMON"), RecordType::A).await;
    assert!(answer.metadata.authoritative);
    assert!(answer.metadata.recursion_available);
    assert!(answer.metadata.recursion_desired);
    assert!(answer.queries[0].name().eq_case(&name("CMON")));
    assert!(answer.answers[0].name.eq_case(&name("CMON")));
    assert_eq!(answer.edns.unwrap().max_payload(), 1232);

    let chased = server.ask(name("v1.cmon"), RecordType::A).await;
    assert_eq!(chased.answers.len(), 2);
    let across = server.ask(name("v2.cmon"), RecordType::A).await;
    assert_eq!(across.answers.len(), 2, "{across:?}");
    let dangling = server.ask(name("v3.cmon"), RecordType::A).await;
    assert_eq!(dangling.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(dangling.answers.len(), 1);
    assert_eq!(dangling.authorities.len(), 1);
    let looping = server.ask(name("loop1"), RecordType::A).await;
    assert_eq!(looping.answers.len(), 2);

    let srv = server.ask(name("s.svc.o"), RecordType::SRV).await;
    assert_eq!((srv.answers.len(), srv.additionals.len()), (1, 1));
    let nodata = server.ask(name("inst.o"), RecordType::A).await;
    assert_eq!(nodata.metadata.response_code, ResponseCode::NoError);
    assert_eq!(nodata.authorities[0].ttl, 30);
    let unknown = server.ask(name("nowhere"), RecordType::A).await;
    assert_eq!(unknown.metadata.response_code, ResponseCode::NXDomain);
    let soa = server.ask(name(""), RecordType::SOA).await;
    assert_eq!(soa.answers.len(), 1);

    assert_eq!(
        server.handle.lookup_ipv4("v1.cmon.dc1.cns.example").await.unwrap(),
        [std::net::Ipv4Addr::new(10, 0, 0, 9)]
    );
    let none = server.handle.lookup_ipv4("nowhere.dc1.cns.example.").await;
    assert!(matches!(none, Err(DnsError::NoAddress { .. })));
    let counts = server.handle.counters();
    assert_eq!((counts.transfers_ok, counts.transfers_failed), (1, 0));
    assert!(counts.from_zone >= 10 && counts.nxdomain == 3, "{counts:?}");
    assert!(server.handle.upstreams().iter().all(|u| u.alive));
    server.end().await;
}

#[tokio::test]
async fn names_answer_from_disk_before_any_primary() {
    let dir = tempfile::tempdir().unwrap();
    let primary = FakePrimary::start(7, &zone()).await;
    let routes = replicate(&[primary.addr]);
    let server = Running::start(dir.path(), routes.clone()).await;
    server.until("transfer", |s| s.serial() == Some(7)).await;
    server
        .until("file", |_| dir.path().join("dc1.cns.example.zone").exists())
        .await;
    server.end().await;

    primary.feel(Mood::Silent);
    let server = Running::start(dir.path(), routes).await;
    let status = server.handle.zones().remove(0);
    assert!(status.loaded_from_disk);
    assert_eq!(server.serial(), Some(7));
    let answer = server.ask(name("cmon"), RecordType::A).await;
    assert_eq!(answer.answers.len(), 1);
    server.until("error", |s| s.handle.zones()[0].last_error.is_some()).await;
    primary.feel(Mood::Good);
    server.until("confirmed", |s| !s.handle.zones()[0].loaded_from_disk).await;
    assert_eq!(primary.transfers(), 1, "confirmed by its SOA alone");
    server.end().await;
}

#[tokio::test]
async fn a_zone_without_data_is_asked_of_its_primaries() {
    let dir = tempfile::tempdir().unwrap();
    let primary = FakePrimary::start(7, &zone()).await;
    primary.feel(Mood::Refusing);
    let server = Running::start(dir.path(), replicate(&[primary.addr])).await;
    let answer = server.ask(name("cmon"), RecordType::A).await;
    assert_eq!(answer.answers.len(), 1);
    assert!(!answer.metadata.authoritative);
    assert_eq!(server.serial(), None);
    primary.feel(Mood::Silent);
    let answer = server.ask(name("a.inst.o"), RecordType::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    // The ACL is mended: the zone comes by itself.
    primary.feel(Mood::Good);
    server.until("transfer", |s| s.serial() == Some(7)).await;
    server.end().await;
}

#[tokio::test]
async fn routes_change_while_running() {
    let dir = tempfile::tempdir().unwrap();
    let one = FakePrimary::start(7, &zone()).await;
    let two = FakePrimary::start(3, &[record("two", 30, "A 10.0.0.2")]).await;
    let binder = binder().await;
    let host = || Name::from_ascii("host.dc1.example.").unwrap();
    let server = Running::start(dir.path(), Routes::default()).await;
    let answer = server.ask(host(), RecordType::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);

    let mut routes = replicate(&[one.addr]);
    routes.forwards =
        vec![forward("dc1.example", binder.addr, UpstreamKind::Binder)];
    server.routes.send_replace(Arc::new(routes.clone()));
    server.until("zone added", |s| s.serial() == Some(7)).await;
    assert_eq!(server.ask(host(), RecordType::A).await.answers.len(), 1);

    routes.secondaries[0].primaries = vec![two.addr.into()];
    server.routes.send_replace(Arc::new(routes.clone()));
    server.until("other primary", |s| s.serial() == Some(3)).await;
    assert_eq!(server.ask(name("two"), RecordType::A).await.answers.len(), 1);

    server.routes.send_replace(Arc::new(Routes::default()));
    server.until("zone removed", |s| s.handle.zones().is_empty()).await;
    let answer = server.ask(name("two"), RecordType::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    let file = dir.path().join("dc1.cns.example.zone");
    server.until("its file", |_| file.exists()).await;

    server.routes.send_replace(Arc::new(replicate(&[])));
    server.until("back from disk", |s| s.serial() == Some(3)).await;
    server.end().await;
}

#[tokio::test]
async fn the_longest_suffix_answers_and_special_names_stay() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = |addr: &'static str| {
        FakeServer::start(move |query, _| -> Replies {
            let mut answer = reply(query, ResponseCode::NoError);
            let mut record = record("x", 60, &format!("A {addr}"));
            record.name = query.queries[0].name().clone();
            answer.add_answer(record);
            answer.into()
        })
    };
    let (root, inner) =
        (upstream("10.0.0.1").await, upstream("10.0.0.2").await);
    let reverse = upstream("10.0.0.3").await;
    let routes = Routes {
        secondaries: Vec::new(),
        forwards: vec![
            forward(".", root.addr, UpstreamKind::Recursive),
            forward("dc1.example", inner.addr, UpstreamKind::Recursive),
            forward("9.10.in-addr.arpa", reverse.addr, UpstreamKind::Recursive),
        ],
    };
    let server = Running::start(dir.path(), routes).await;
    let ask = async |text: &str| {
        let found = server.handle.lookup_ipv4(text).await;
        found.ok().map(|addrs| addrs[0].octets()[3])
    };
    assert_eq!(ask("www.example.net").await, Some(1));
    assert_eq!(ask("xdc1.example").await, Some(1));
    assert_eq!(ask("x.DC1.example").await, Some(2));
    assert_eq!(ask("dc1.example").await, Some(2));
    assert_eq!(ask("1.0.9.10.in-addr.arpa").await, Some(3));
    assert_eq!(ask("1.0.8.10.in-addr.arpa").await, None);
    assert_eq!(ask("localhost").await, Some(1));
    assert_eq!(ask("127.0.0.5").await, Some(5));
    assert!(matches!(
        server.handle.lookup_ipv4("a..b").await,
        Err(DnsError::BadName { .. })
    ));
    let counts = server.handle.counters();
    assert_eq!((counts.from_forward, counts.from_local), (5, 2));
    server.end().await;
}

#[tokio::test]
async fn datagrams_stay_within_their_size() {
    let dir = tempfile::tempdir().unwrap();
    let mut records = zone();
    let text = "t".repeat(200);
    records
        .extend((0..5).map(|n| record("big", 30, &format!("TXT {n}{text}"))));
    records.extend(
        (0..15).map(|n| record("huge", 30, &format!("TXT {n:02}{text}"))),
    );
    let target = "t".repeat(60);
    records.extend(
        (0..10).map(|n| record(&format!("{target}{n}"), 30, "AAAA fd00::1")),
    );
    records.extend(
        (0..10)
            .map(|n| record("srv", 30, &format!("SRV 0 10 {n} {target}{n}"))),
    );
    let primary = FakePrimary::start(7, &records).await;
    let server = Running::start(dir.path(), replicate(&[primary.addr])).await;
    server.until("transfer", |s| s.serial() == Some(7)).await;
    let query = |owner: &str, rtype, payload: Option<u16>| {
        let mut query = exchange::query(name(owner), rtype);
        query.edns = payload.map(|payload| {
            let mut edns = Edns::new();
            edns.set_max_payload(payload);
            edns
        });
        query
    };
    for (owner, payload, limit, fits) in [
        ("big", None, 512, false),
        ("big", Some(512), 512, false),
        ("big", Some(1232), 1232, true),
        ("big", Some(4096), 1232, true),
        ("huge", Some(4096), 1232, false),
    ] {
        let asked = query(owner, RecordType::TXT, payload);
        let (answer, len) = server.send_udp(&asked).await;
        assert!(len <= limit, "{owner} {payload:?}: {len}");
        assert_eq!(answer.metadata.truncation, !fits, "{owner} {payload:?}");
        assert!(!answer.answers.is_empty(), "what fits goes along");
        assert_eq!(answer.edns.is_some(), payload.is_some());
        assert_eq!(answer.queries.len(), 1);
    }
    // Additional records are left out before anything is cut.
    let asked = query("srv", RecordType::SRV, Some(1232));
    let (answer, _) = server.send_udp(&asked).await;
    assert!(!answer.metadata.truncation);
    assert_eq!((answer.answers.len(), answer.additionals.len()), (10, 0));
    // By TCP all of it comes.
    let whole = server.ask(name("huge"), RecordType::TXT).await;
    assert_eq!(whole.answers.len(), 15);
    server.end().await;
}

#[tokio::test]
async fn other_opcodes_classes_and_versions() {
    let dir = tempfile::tempdir().unwrap();
    let primary = FakePrimary::start(7, &zone()).await;
    let server = Running::start(dir.path(), replicate(&[primary.addr])).await;
    server.until("transfer", |s| s.serial() == Some(7)).await;
    let rcode = async |message: &Message| {
        server.send_udp(message).await.0.metadata.response_code
    };
    let query = || exchange::query(name("cmon"), RecordType::A);

    let mut update = query();
    update.metadata.op_code = OpCode::Update;
    assert_eq!(rcode(&update).await, ResponseCode::NotImp);
    let mut none = query();
    none.queries.clear();
    assert_eq!(rcode(&none).await, ResponseCode::FormErr);
    let mut two = query();
    two.add_query(Query::query(name("a"), RecordType::A));
    assert_eq!(rcode(&two).await, ResponseCode::FormErr);
    let mut version = query();
    version.edns.as_mut().unwrap().set_version(1);
    // 16 has two names; hickory reads it as the other one.
    assert_eq!(u16::from(rcode(&version).await), 16);
    let axfr = exchange::query(name(""), RecordType::AXFR);
    assert_eq!(rcode(&axfr).await, ResponseCode::Refused);
    let odd = exchange::query(name("cmon"), RecordType::Unknown(65_300));
    assert_eq!(rcode(&odd).await, ResponseCode::NoError);

    let mut chaos = exchange::query(
        Name::from_ascii("version.server.").unwrap(),
        RecordType::TXT,
    );
    chaos.queries[0].set_query_class(hickory_proto::rr::DNSClass::CH);
    let (answer, _) = server.send_udp(&chaos).await;
    assert_eq!(answer.answers.len(), 1);
    let mut iterative = query();
    iterative.metadata.recursion_desired = false;
    assert_eq!(rcode(&iterative).await, ResponseCode::NoError);
    server.end().await;
}

#[tokio::test]
async fn notify_of_a_primary_wakes_the_zone() {
    let dir = tempfile::tempdir().unwrap();
    let primary = FakePrimary::start(7, &zone()).await;
    let any = "127.0.0.1:0".parse().unwrap();
    // Refresh as CNS has it, 30 s: only NOTIFY can be this quick.
    let mut config = DnsConfig::new(vec![any], dir.path().to_owned());
    config.refresh.notify_gap = Duration::from_millis(1);
    let server = Running::start_with(config, replicate(&[primary.addr])).await;
    server.until("transfer", |s| s.serial() == Some(7)).await;
    primary.set(8, &zone());
    let mut notify = Message::new(9, MessageType::Query, OpCode::Notify);
    notify.add_query(Query::query(name(""), RecordType::SOA));
    let (reply, _) = server.send_udp(&notify).await;
    assert_eq!(reply.metadata.op_code, OpCode::Notify);
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
    server.until("refresh", |s| s.serial() == Some(8)).await;
    assert_eq!(server.handle.counters().notifies, 1);

    let other = "192.0.2.1:53".parse().unwrap();
    server.routes.send_replace(Arc::new(replicate(&[other])));
    server
        .until("primary gone", |s| {
            let catalog = s.handle.names.catalog();
            catalog
                .zones
                .values()
                .all(|zone| *zone.cell.primaries.borrow() == [other])
        })
        .await;
    let (reply, _) = server.send_udp(&notify).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
    notify.queries[0].set_name(name("cmon"));
    let (reply, _) = server.send_udp(&notify).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::NotAuth);
    server.end().await;
}

#[tokio::test]
async fn a_taken_address_is_an_error_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = taken.local_addr().unwrap();
    let config = DnsConfig::new(vec![addr], dir.path().to_owned());
    let (_sender, receiver) = watch::channel(Arc::default());
    let failed = NameServer::start(config, receiver).await;
    assert!(matches!(failed, Err(DnsError::Bind { .. })));
}

#[tokio::test]
async fn garbage_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    let server = Running::start(dir.path(), Routes::default()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server.addr).await.unwrap();
    let good =
        exchange::query(Name::from_ascii("localhost.").unwrap(), RecordType::A);
    let bytes = good.to_vec().unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..2000 {
        let mut datagram = bytes.clone();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..datagram.len());
            datagram[at] = random.u8(..);
        }
        datagram.truncate(random.usize(..=datagram.len()));
        socket.send(&datagram).await.unwrap();
        if round % 100 == 0 {
            assert_eq!(server.send(&good).await.answers.len(), 1);
        }
    }
    assert_eq!(server.send(&good).await.answers.len(), 1);
    server.end().await;
}
