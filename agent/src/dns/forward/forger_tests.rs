// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Replies that are not from the server asked, or not to the question.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::net::UdpSocket;

use super::tests::{BINDER, pool, pool_with};
use super::{ForwardPool, Upstreams};
use crate::dns::secondary::fake::{FakeServer, Replies, name, record, reply};

fn right(query: &Message) -> Message {
    let mut right = reply(query, ResponseCode::NoError);
    right.metadata.recursion_available = true;
    right.add_answer(record("a", 9, "A 10.0.0.1"));
    right
}

async fn addresses(pool: &ForwardPool) -> usize {
    let asked = name("a");
    pool.ask(&asked, RecordType::A).await.into_answer().answers.len()
}

#[tokio::test]
async fn forged_replies_are_passed_over() {
    let server = FakeServer::start(|query, _| {
        let mut wrong_id = reply(query, ResponseCode::NXDomain);
        wrong_id.metadata.id ^= 1;
        let mut wrong_name = reply(query, ResponseCode::NXDomain);
        wrong_name.queries[0].set_name(name("other"));
        let mut wrong_type = reply(query, ResponseCode::NXDomain);
        wrong_type.queries[0].set_query_type(RecordType::TXT);
        let mut no_question = reply(query, ResponseCode::NXDomain);
        no_question.queries.clear();
        let mut no_reply = reply(query, ResponseCode::NXDomain);
        no_reply.metadata.message_type = MessageType::Query;
        let mut wrong_opcode = reply(query, ResponseCode::NXDomain);
        wrong_opcode.metadata.op_code = OpCode::Notify;
        Replies {
            messages: vec![
                wrong_id,
                wrong_name,
                wrong_type,
                no_question,
                no_reply,
                wrong_opcode,
                right(query),
            ],
            then_close: false,
        }
    })
    .await;
    for kind in [BINDER, Upstreams::Recursive] {
        assert_eq!(addresses(&pool(kind, &[&server])).await, 1);
    }
}

#[tokio::test]
async fn another_address_is_not_listened_to() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let forger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let pool = pool_with(
        BINDER,
        &[server.local_addr().unwrap()],
        super::tests::limits(),
    );
    let answering = async {
        let mut buffer = [0; 512];
        let (len, from) = server.recv_from(&mut buffer).await.unwrap();
        let query = Message::from_vec(&buffer[..len]).unwrap();
        let forged = reply(&query, ResponseCode::NXDomain).to_vec().unwrap();
        forger.send_to(&forged, from).await.unwrap();
        let right = right(&query).to_vec().unwrap();
        server.send_to(&right, from).await.unwrap();
    };
    let (found, ()) = tokio::join!(addresses(&pool), answering);
    assert_eq!(found, 1);
}

#[tokio::test]
async fn ids_and_ports_are_drawn_anew() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let pool = pool_with(
        BINDER,
        &[server.local_addr().unwrap()],
        super::tests::limits(),
    );
    let (mut ids, mut ports, mut steps) =
        (HashSet::new(), HashSet::new(), HashSet::new());
    let mut last = 0;
    for n in 0..64 {
        let asked = name(&format!("n{n}"));
        let answering = async {
            let mut buffer = [0; 512];
            // One before may have been sent twice.
            let (query, from) = loop {
                let (len, from) = server.recv_from(&mut buffer).await.unwrap();
                let query = Message::from_vec(&buffer[..len]).unwrap();
                if *query.queries[0].name() == asked {
                    break (query, from);
                }
            };
            let reply = reply(&query, ResponseCode::Refused);
            let bytes = reply.to_vec().unwrap();
            server.send_to(&bytes, from).await.unwrap();
            (query.metadata.id, from.port())
        };
        let (_, (id, port)) =
            tokio::join!(pool.ask(&asked, RecordType::A), answering);
        ids.insert(id);
        ports.insert(port);
        steps.insert(id.wrapping_sub(last));
        last = id;
    }
    assert!(ids.len() > 60 && steps.len() > 60, "ids: {}", ids.len());
    assert!(ports.len() > 32, "ports: {}", ports.len());
}

/// What names a server was asked for, in their spelling.
type Asked = Arc<Mutex<Vec<Name>>>;

async fn watched(
    answer: impl Fn(&Message) -> Message + Send + Sync + 'static,
) -> (FakeServer, Asked) {
    let asked = Asked::default();
    let (names, first) = (Arc::clone(&asked), super::tests::Asked::default());
    let server = FakeServer::start(move |query, _| {
        if first.note(query) {
            names.lock().unwrap().push(query.queries[0].name().clone());
        }
        answer(query).into()
    })
    .await;
    (server, asked)
}

fn is_lower(name: &Name) -> bool {
    name.eq_case(&name.to_lowercase())
}

const LONG: &str = "a.quite.long.name.with.many.letters";

async fn ask_long(pool: &ForwardPool, n: usize) -> ResponseCode {
    let asked = name(&format!("n{n}.{LONG}"));
    pool.ask(&asked, RecordType::A).await.into_answer().rcode
}

#[tokio::test]
async fn a_resolver_that_keeps_capitals_is_held_to_them() {
    let (server, asked) = watched(|query| {
        let mut reply = reply(query, ResponseCode::NXDomain);
        reply.metadata.recursion_available = true;
        reply
    })
    .await;
    let pool = pool(Upstreams::Recursive, &[&server]);
    for n in 0..4 {
        assert_eq!(ask_long(&pool, n).await, ResponseCode::NXDomain);
    }
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 4, "each once");
    assert!(!asked.iter().any(is_lower));
    let tails: HashSet<String> =
        asked.iter().map(|name| name.to_ascii().split_off(3)).collect();
    assert_eq!(tails.len(), 4, "each in a mix of its own");
}

#[tokio::test]
async fn a_forger_who_does_not_know_the_capitals_is_passed_over() {
    let server = FakeServer::start(|query, _| {
        let asked = query.queries[0].name();
        let mut forged = reply(query, ResponseCode::NXDomain);
        forged.queries[0].set_name(asked.to_lowercase());
        let mut right = right(query);
        right.answers[0].name = asked.clone();
        // First met as one that keeps them.
        let learning = *asked == name(&format!("n0.{LONG}"));
        let messages = if learning { vec![right] } else { vec![forged, right] };
        Replies { messages, then_close: false }
    })
    .await;
    let pool = pool(Upstreams::Recursive, &[&server]);
    for n in 0..4 {
        assert_eq!(ask_long(&pool, n).await, ResponseCode::NoError);
    }
}

#[tokio::test]
async fn who_does_not_bear_capitals_is_asked_in_lower_case() {
    // One gives the question back in lower case, one refuses capitals.
    let lowering = watched(|query| {
        let mut reply = right(query);
        let lower = query.queries[0].name().to_lowercase();
        reply.answers[0].name = lower.clone();
        reply.queries[0].set_name(lower);
        reply
    })
    .await;
    let refusing = watched(|query| {
        if !is_lower(query.queries[0].name()) {
            return reply(query, ResponseCode::Refused);
        }
        let mut reply = right(query);
        reply.answers[0].name = query.queries[0].name().clone();
        reply
    })
    .await;
    for (server, asked) in [lowering, refusing] {
        let pool = pool(Upstreams::Recursive, &[&server]);
        for n in 0..4 {
            assert_eq!(ask_long(&pool, n).await, ResponseCode::NoError);
        }
        let asked = asked.lock().unwrap();
        let mixed = asked.iter().filter(|name| !is_lower(name)).count();
        assert_eq!(mixed, 1, "learned by the first");
    }
}

#[tokio::test]
async fn binder_never_sees_capitals() {
    let (server, asked) =
        watched(|query| reply(query, ResponseCode::Refused)).await;
    let pool = pool(BINDER, &[&server]);
    for n in 0..4 {
        let asked = name(&format!("N{n}.{LONG}").to_uppercase());
        pool.ask(&asked, RecordType::A).await;
    }
    let asked = asked.lock().unwrap();
    assert!(asked.len() == 4 && asked.iter().all(is_lower));
}
