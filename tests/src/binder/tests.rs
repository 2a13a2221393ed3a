// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Binder over real sockets, row by row of its table of answers.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use hickory_proto::op::{Edns, OpCode, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Binder;
use crate::bind_both;
use crate::dns_test_client::{ask, ask_tcp, is_silent, query};

const CNS: &str = "cns.dc1.triton.test";

async fn start() -> (Binder, SocketAddr, DropGuard) {
    let (udp, tcp) = bind_both(Ipv4Addr::LOCALHOST.into()).await.unwrap();
    let at = udp.local_addr().unwrap();
    let binder = Binder::new("triton.test");
    binder.set(CNS, (1..=8).map(|n| Ipv4Addr::new(10, 0, 0, n)).collect());
    binder.set_instances(
        "ufds.dc1.triton.test",
        vec![("zone-a".into(), Ipv4Addr::new(10, 0, 0, 20))],
    );
    binder.set_srv("ufds.dc1.triton.test", "_ldap._tcp", 389);
    binder.set("empty.dc1.triton.test", Vec::new());
    binder.set_ptr(Ipv4Addr::new(10, 0, 0, 20), "zone-a.ufds.dc1.triton.test");
    let stop = CancellationToken::new();
    tokio::spawn(binder.clone().serve(udp, tcp, stop.clone()));
    (binder, at, stop.drop_guard())
}

#[tokio::test]
async fn every_turned_away_query_gets_its_code() {
    use RecordType as T;
    use ResponseCode::{NXDomain, NoError, NotImp, Refused};
    let (_binder, at, _stop) = start().await;
    let doubled = "cns.dc1.triton.test.dc1.triton.test";
    for (name, record_type, code) in [
        (CNS, T::A, NoError),
        ("CNS.Dc1.triton.test", T::A, NoError),
        (CNS, T::AAAA, NotImp),
        (CNS, T::TXT, NotImp),
        (CNS, T::SOA, NotImp),
        (CNS, T::ANY, NotImp),
        (CNS, T::HTTPS, NotImp),
        ("example.org", T::AAAA, NotImp),
        ("example.org", T::A, Refused),
        ("xtriton.test", T::A, Refused),
        ("triton.test", T::A, Refused),
        ("nothere.dc1.triton.test", T::A, Refused),
        ("cns.dc1.Triton.test", T::A, Refused),
        ("*.dc1.triton.test", T::A, Refused),
        (doubled, T::A, Refused),
        ("cmon.dc1.cns.triton.test", T::A, Refused),
        ("ufds.dc2.triton.test", T::A, Refused),
        ("9.0.0.10.in-addr.arpa", T::PTR, Refused),
        ("_ldap._udp.ufds.dc1.triton.test", T::SRV, NXDomain),
        ("_ldap._tcp.nope.dc1.triton.test", T::SRV, Refused),
        ("empty.dc1.triton.test", T::A, NoError),
    ] {
        let reply = ask(at, &query(name, record_type)).await;
        let what = format!("{name} {record_type}");
        assert_eq!(reply.metadata.response_code, code, "{what}");
        assert!(!reply.metadata.authoritative, "{what}");
        assert!(!reply.metadata.recursion_available, "{what}");
        if code != NoError {
            assert!(reply.answers.is_empty(), "{what}");
        }
        if code == Refused {
            assert!(reply.authorities.is_empty(), "{what}");
        }
    }
}

#[tokio::test]
async fn a_service_without_instances_is_empty_and_has_no_soa() {
    let (_binder, at, _stop) = start().await;
    let empty = query("empty.dc1.triton.test", RecordType::A);
    let reply = ask(at, &empty).await;
    assert!(reply.answers.is_empty() && reply.authorities.is_empty());
}

#[tokio::test]
async fn addresses_are_shuffled_with_the_ttl_of_core_services() {
    let (_binder, at, _stop) = start().await;
    let mut orders = BTreeSet::new();
    for _ in 0..20 {
        let reply = ask(at, &query(CNS, RecordType::A)).await;
        assert_eq!(reply.answers.len(), 8);
        assert!(reply.answers.iter().all(|record| record.ttl == 60));
        let order: Vec<_> =
            reply.answers.iter().map(|r| r.data.to_string()).collect();
        orders.insert(order);
    }
    assert!(orders.len() > 1, "never shuffled");
}

#[tokio::test]
async fn srv_and_ptr_name_the_instances() {
    let (_binder, at, _stop) = start().await;
    let srv = query("_ldap._tcp.ufds.dc1.triton.test", RecordType::SRV);
    let reply = ask_tcp(at, &srv).await.unwrap();
    let RData::SRV(data) = &reply.answers[0].data else { panic!("no SRV") };
    assert_eq!((data.priority, data.weight, data.port), (0, 10, 389));
    let host = "zone-a.ufds.dc1.triton.test";
    assert_eq!(data.target.to_ascii(), format!("{host}."));
    assert_eq!(reply.additionals[0].data.to_string(), "10.0.0.20");
    let reply = ask(at, &query(host, RecordType::SRV)).await;
    assert!(reply.answers.is_empty());
    assert_eq!(reply.authorities[0].record_type(), RecordType::SOA);
    let reply = ask(at, &query(host, RecordType::A)).await;
    assert_eq!(reply.answers[0].ttl, 30);
    let ptr = query("20.0.0.10.in-addr.arpa", RecordType::PTR);
    let reply = ask(at, &ptr).await;
    assert_eq!(reply.answers[0].data.to_string(), format!("{host}."));
}

#[tokio::test]
async fn large_answers_are_cut_empty_over_udp() {
    let (binder, at, _stop) = start().await;
    binder.set(CNS, (0..60).map(|n| Ipv4Addr::new(10, 0, 1, n)).collect());
    let mut asked = query(CNS, RecordType::A);
    let reply = ask(at, &asked).await;
    assert!(reply.metadata.truncation && reply.answers.is_empty());
    assert_eq!(ask_tcp(at, &asked).await.unwrap().answers.len(), 60);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    asked.set_edns(edns);
    let reply = ask(at, &asked).await;
    assert_eq!(reply.answers.len(), 60);
    assert_eq!(reply.edns.unwrap().max_payload(), 1470);
}

#[tokio::test]
async fn faults_and_other_opcodes_and_counts() {
    let (binder, at, _stop) = start().await;
    let asked = query(CNS, RecordType::A);
    binder.update_faults(|faults| faults.zookeeper_down = true);
    let reply = ask(at, &asked).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    let reply = ask(at, &query(CNS, RecordType::AAAA)).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::NotImp);
    binder.update_faults(|faults| faults.silent = true);
    assert!(is_silent(at, &asked).await);
    binder.update_faults(|faults| *faults = Default::default());
    let mut notify = query(CNS, RecordType::SOA);
    notify.metadata.op_code = OpCode::Notify;
    assert!(is_silent(at, &notify).await, "dropped");
    assert_eq!(binder.count("CNS.dc1.triton.test.", "A"), 2);
    assert_eq!(binder.count(CNS, "AAAA"), 1);
    assert_eq!(binder.total(), 3);
    binder.remove(CNS);
    let reply = ask(at, &asked).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
}
