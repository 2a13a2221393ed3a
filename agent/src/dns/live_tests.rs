// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The whole server while things change around it: no question is lost, what
//! is on disk is whole, counts add up.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::*;
use crate::dns::running::{
    Running, binder, forward, replicate, with_binder, zone,
};
use crate::dns::secondary::fake::{
    FakePrimary, FakeServer, Mood, name, record, reply, zone_name,
};
use crate::dns::secondary::fake_ixfr::Trap;
use crate::model::dns::{SecondaryZone, UpstreamKind};

const LIMIT: Duration = Duration::from_secs(20);

/// Asks one thing after the other until told to stop; each must be answered
/// at once, and rightly.
async fn hammer(
    server: SocketAddr,
    asked: Vec<(Name, &'static str)>,
    tcp: bool,
    done: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
) {
    let mut at = 0;
    while !done.load(Ordering::Relaxed) {
        let (name, wanted) = &asked[at % asked.len()];
        at += 1;
        let name = name.to_string();
        let reply = client::query(server, &name, "A", tcp, LIMIT)
            .await
            .unwrap_or_else(|error| panic!("{name} lost: {}", error.chain()));
        let last = reply.answer.last().map(|record| record.data.as_str());
        assert_eq!(last, Some(*wanted), "{name}: {reply:?}");
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_question_is_lost_while_everything_changes() {
    let dir = tempfile::tempdir().unwrap();
    let one = FakePrimary::start(7, &zone()).await;
    let two = FakePrimary::start(70, &zone()).await;
    let binder = binder().await;
    let kind = UpstreamKind::Binder;
    let with = |primaries: &[SocketAddr], n: usize| {
        let mut routes = replicate(primaries);
        routes.forwards.push(forward("dc1.example", binder.addr, kind));
        if n.is_multiple_of(2) {
            routes.forwards.push(forward("dc2.example", binder.addr, kind));
        }
        if n.is_multiple_of(3) {
            routes.secondaries.push(SecondaryZone {
                name: ZoneName::parse("other.example").unwrap(),
                primaries: vec![two.addr.into()],
            });
        }
        routes
    };
    let server = Running::start(dir.path(), with(&[one.addr], 0)).await;
    server.until("the zone", |s| s.handle.zones()[0].serial.is_some()).await;
    let done = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let asked = || {
        let host = Name::from_ascii("host.dc1.example.").unwrap();
        vec![
            (name("cmon"), "10.0.0.9"),
            (host, "10.0.0.77"),
            (name("v1.cmon"), "10.0.0.9"),
            (name("v2.cmon"), "10.0.0.77"),
        ]
    };
    let clients: Vec<_> = [false, false, false, true]
        .into_iter()
        .map(|tcp| {
            let (done, answered) = (Arc::clone(&done), Arc::clone(&answered));
            tokio::spawn(hammer(server.addr, asked(), tcp, done, answered))
        })
        .collect();
    for n in 0..60 {
        let primaries = match n % 4 {
            0 => vec![one.addr],
            1 => vec![two.addr, one.addr],
            2 => vec![one.addr, two.addr],
            _ => vec![two.addr],
        };
        one.set(8 + n, &zone());
        let before = answered.load(Ordering::Relaxed);
        let n = usize::try_from(n).unwrap();
        server.routes.send_replace(Arc::new(with(&primaries, n)));
        server
            .until("questions", |_| {
                answered.load(Ordering::Relaxed) >= before + 20
            })
            .await;
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    // Whatever came and went, none was forgotten either.
    let counters = server.handle.counters();
    assert!(counters.noerror >= answered.load(Ordering::Relaxed));
    server.end().await;
}

/// What a zone delegates is for those to find who look further; without any,
/// the referral is all there is to say.
#[tokio::test]
async fn a_delegated_name_is_asked_of_who_looks_further() {
    let dir = tempfile::tempdir().unwrap();
    let mut records = zone();
    records.push(record("child", 30, "NS ns.child"));
    records.push(record("ns.child", 30, "A 10.0.0.5"));
    let primary = FakePrimary::start(7, &records).await;
    let upstream = FakeServer::start(|query, _| {
        let mut answer = reply(query, ResponseCode::NoError);
        let mut record = record("x", 60, "A 10.0.0.88");
        record.name = query.queries[0].name().clone();
        answer.add_answer(record);
        answer.metadata.recursion_available = true;
        answer.into()
    })
    .await;
    let mut routes = replicate(&[primary.addr]);
    let server = Running::start(dir.path(), routes.clone()).await;
    server.until("the zone", |s| s.serial() == Some(7)).await;
    let asked = name("www.child").to_string();
    let ask = || client::query(server.addr, &asked, "A", false, LIMIT);
    let referral = ask().await.unwrap();
    assert_eq!((&*referral.rcode, referral.answer.len()), ("NOERROR", 0));
    assert_eq!(referral.authority[0].rtype, "NS");
    let kind = UpstreamKind::Recursive;
    routes.forwards.push(forward(".", upstream.addr, kind));
    server.routes.send_replace(Arc::new(routes));
    server.until("the upstream", |s| !s.handle.upstreams().is_empty()).await;
    let found = ask().await.unwrap();
    assert_eq!(found.answer[0].data, "10.0.0.88");
    server.end().await;
}

fn addressed(n: u32) -> Vec<Record> {
    let [.., high, low] = n.to_be_bytes();
    let mut records = zone();
    records.push(record("turn", 30, &format!("A 10.9.{high}.{low}")));
    records
}

/// The address of `turn` that goes with a serial.
fn turn(n: u32) -> Ipv4Addr {
    let [.., high, low] = n.to_be_bytes();
    Ipv4Addr::new(10, 9, high, low)
}

/// The files of zones; those being written may go at any time.
fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "zone") {
            let to = to.join(path.file_name().unwrap());
            std::fs::copy(&path, to).unwrap();
        }
    }
}

#[tokio::test]
async fn a_thousand_differences_are_few_writes_and_survive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let primary = FakePrimary::start(1, &addressed(1)).await;
    primary.feel(Mood::Differing(Trap::None));
    let routes = replicate(&[primary.addr]);
    let server = Running::start(dir.path(), routes.clone()).await;
    server.until("the zone", |s| s.serial() == Some(1)).await;
    let zone = zone_name();
    let killed = tempfile::tempdir().unwrap();
    for serial in 2..=1001 {
        primary.set(serial, &addressed(serial));
        let handle = server.handle.clone();
        let refreshed = handle.refresh(&zone, LIMIT).await.unwrap().unwrap();
        assert_eq!(refreshed.serial, Some(Serial(serial)));
        if serial == 1000 {
            // What a kill would leave behind now.
            copy(dir.path(), killed.path());
        }
    }
    let status = server.handle.zones().remove(0);
    assert!(server.handle.counters().transfers_incremental >= 1000);
    assert!(status.writes <= 30, "{} writes", status.writes);
    server.end().await;

    // Orderly: the newest is there.
    primary.feel(Mood::Silent);
    let server = Running::start(dir.path(), routes.clone()).await;
    assert_eq!(server.serial(), Some(1001));
    server.end().await;

    // After the kill: an older one, whole.
    let server = Running::start(killed.path(), routes).await;
    let old = server.serial().unwrap();
    assert!(old < 1001, "{old}");
    let found = server.handle.lookup_ipv4("turn.dc1.cns.example").await;
    assert_eq!(found.unwrap(), [turn(old)]);
    let all = server.handle.records(&zone).unwrap().len();
    assert_eq!(all, addressed(1).len() + 2, "SOA and NS with them");
    let before = primary.transfers();
    primary.feel(Mood::Differing(Trap::None));
    server.until("caught up", |s| s.serial() == Some(1001)).await;
    assert_eq!(primary.transfers(), before, "by differences");
    let found = server.handle.lookup_ipv4("turn.dc1.cns.example").await;
    assert_eq!(found.unwrap(), [turn(1001)]);
    server.end().await;
}

#[tokio::test]
async fn counts_are_by_zone_type_and_code_and_never_fall() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _primary, _binder) = with_binder(dir.path()).await;
    let host = Name::from_ascii("host.dc1.example.").unwrap();
    for (asked, rtype) in [
        (name("cmon"), RecordType::A),
        (name("cmon"), RecordType::A),
        (name("gone"), RecordType::AAAA),
        (host, RecordType::A),
        (name("v2.cmon"), RecordType::A),
        (Name::from_ascii("localhost.").unwrap(), RecordType::A),
        (Name::from_ascii("x.org.").unwrap(), RecordType::CAA),
    ] {
        server.ask(asked, rtype).await;
    }
    let counts: Vec<_> = server
        .handle
        .queries()
        .into_iter()
        .map(|q| (q.by, q.zone, q.rtype, q.rcode, q.count))
        .collect();
    let at = |zone: &str| zone.to_owned();
    let own = || at("dc1.cns.example");
    for wanted in [
        (Some(Answerer::Zone), own(), "A", "NOERROR", 3),
        (Some(Answerer::Zone), own(), "AAAA", "NXDOMAIN", 1),
        (Some(Answerer::Binder), at("dc1.example"), "A", "NOERROR", 1),
        (Some(Answerer::Local), at(""), "A", "NOERROR", 1),
        (Some(Answerer::Nobody), at(""), "other", "REFUSED", 1),
    ] {
        assert!(counts.contains(&wanted), "{wanted:?} in {counts:?}");
    }
    let all = server.handle.counters();
    assert_eq!((all.queries, all.from_zone, all.from_forward), (7, 4, 1));
    let [_, forwarded] = server.handle.latencies();
    assert_eq!(forwarded.count, 1);

    server.routes.send_replace(Arc::new(Routes::default()));
    server.until("no zone", |s| s.handle.zones().is_empty()).await;
    assert_eq!(server.handle.counters().queries, all.queries);
    server.end().await;
}

#[tokio::test]
async fn addresses_take_turns_where_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let mut records = zone();
    records.extend((1..=3).map(|n| record("m", 30, &format!("A 10.0.1.{n}"))));
    records.push(record("vm", 30, "CNAME m"));
    let primary = FakePrimary::start(7, &records).await;
    let mut config = DnsConfig::new(
        vec!["127.0.0.1:0".parse().unwrap()],
        dir.path().to_owned(),
    );
    config.round_robin = true;
    config.synthetic = Some(Synthetic {
        suffix: ZoneName::parse("vm.cmon").unwrap(),
        target: ZoneName::parse("m.dc1.cns.example").unwrap(),
    });
    let server = Running::start_with(config, replicate(&[primary.addr])).await;
    server.until("the zone", |s| s.serial() == Some(7)).await;
    let first = |reply: &Message| {
        let mut found = reply.answers.iter().filter_map(|r| match &r.data {
            RData::A(addr) => Some(addr.0.octets()[3]),
            _ => None,
        });
        (found.next(), found.count())
    };
    for asked in ["m", "vm"] {
        let mut seen = Vec::new();
        for _ in 0..3 {
            let (one, more) =
                first(&server.ask(name(asked), RecordType::A).await);
            assert_eq!(more, 2, "{asked}");
            seen.extend(one);
        }
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3], "{asked}");
    }
    // A name of our own making leads there, too.
    let uuid = "8d1f0c1e-0000-4000-8000-00000000c001.vm.cmon.";
    let asked = Name::from_ascii(uuid).unwrap();
    let reply = server.ask(asked, RecordType::A).await;
    assert_eq!((reply.answers.len(), first(&reply).1), (4, 2));
    server.end().await;
}

#[tokio::test]
async fn a_wide_listener_answers_this_zone_alone() {
    let addr = |text: &str| text.parse::<IpAddr>().unwrap();
    let names = Names::new(Catalog::default(), Arc::default(), LIMIT)
        .admitting(vec![addr("192.0.2.7")]);
    for own in
        ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "192.0.2.7"]
    {
        assert!(names.admits(addr(own)), "{own}");
    }
    for other in ["192.0.2.8", "::", "2001:db8::1", "::ffff:192.0.2.8"] {
        assert!(!names.admits(addr(other)), "{other}");
    }
    assert_eq!(names.counts().strangers, 4);
}

/// An address of this machine besides loopback's, if it has one.
async fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").await.ok()?;
    // Sends nothing.
    socket.connect("198.51.100.1:9").await.ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback()).then_some(ip)
}

#[tokio::test]
async fn from_outside_there_is_no_answer() {
    let Some(outer) = outer_address().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let ask = async |at: SocketAddr, tcp| {
        let limit = Duration::from_secs(20);
        client::query(at, "localhost", "A", tcp, limit).await
    };
    let listen = async |at: IpAddr| {
        let at = SocketAddr::new(at, 0);
        let config = DnsConfig::new(vec![at], dir.path().to_owned());
        Running::start_with(config, Routes::default()).await
    };
    let wide = listen(Ipv4Addr::UNSPECIFIED.into()).await;
    let at = |ip: IpAddr| SocketAddr::new(ip, wide.addr.port());
    let here = ask(at(Ipv4Addr::LOCALHOST.into()), false).await.unwrap();
    assert_eq!(here.rcode, "NOERROR");
    let brief = Duration::from_millis(500);
    let silent = client::query(at(outer), "localhost", "A", false, brief).await;
    assert!(matches!(silent, Err(DnsError::Silent { .. })), "{silent:?}");
    assert!(ask(at(outer), true).await.is_err());
    assert_eq!(wide.handle.counters().strangers, 2);
    wide.end().await;

    // From itself, an address of the zone's is no stranger.
    let own = listen(outer).await;
    assert_eq!(ask(own.addr, false).await.unwrap().rcode, "NOERROR");
    own.end().await;
}

#[tokio::test]
async fn an_address_of_ipv6_that_is_missing_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let listen = ["127.0.0.1:0", "[2001:db8::1]:0"];
    let listen = listen.map(|addr| addr.parse().unwrap()).to_vec();
    let config = DnsConfig::new(listen, dir.path().to_owned());
    let (_routes, receiver) = watch::channel(Arc::default());
    let server = NameServer::start(config, receiver).await.unwrap();
    assert_eq!(server.local_addrs().len(), 1);
    let missing = vec!["192.0.2.1:0".parse().unwrap()];
    let config = DnsConfig::new(missing, dir.path().to_owned());
    let (_routes, receiver) = watch::channel(Arc::default());
    let failed = NameServer::start(config, receiver).await.err();
    assert!(matches!(failed, Some(DnsError::Bind { .. })), "{failed:?}");
}
