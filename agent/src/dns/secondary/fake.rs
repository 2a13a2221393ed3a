// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! For tests: records in short notation, and servers on loopback that say
//! what a test wants them to, with the habits of CNS in transfers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, NULL, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use super::fake_ixfr::{self, Trap};
use super::wire::{WireMessage, WireRecord};
use crate::dns::names::WireName;
use crate::dns::store::build::{BuildError, ZoneBuilder};
use crate::dns::store::{Provenance, ZoneLimits, ZoneVersion};
use crate::model::dns::ZoneName;

const APEX: &str = "dc1.cns.example";

pub(crate) fn zone_name() -> ZoneName {
    ZoneName::parse(APEX).unwrap()
}

pub(crate) fn apex() -> WireName {
    WireName::from_zone(&zone_name())
}

/// A name below the test zone's apex; empty for the apex.
pub(crate) fn name(relative: &str) -> Name {
    let text = match relative {
        "" => format!("{APEX}."),
        _ => format!("{relative}.{APEX}."),
    };
    Name::from_ascii(text).unwrap()
}

/// A record below the apex, `data` as in a zone file; names in it end in a
/// dot or are below the apex.
pub(crate) fn record(owner: &str, ttl: u32, data: &str) -> Record {
    let words: Vec<&str> = data.split(' ').collect();
    let target = |text: &str| match text.ends_with('.') {
        true => Name::from_ascii(text).unwrap(),
        false => name(text),
    };
    let data = match words[..] {
        ["A", addr] => RData::A(A(addr.parse().unwrap())),
        ["AAAA", addr] => RData::AAAA(AAAA(addr.parse().unwrap())),
        ["CNAME", to] => RData::CNAME(CNAME(target(to))),
        ["NS", to] => RData::NS(NS(target(to))),
        ["DNAME", to] => RData::Unknown {
            code: RecordType::DNAME,
            rdata: NULL::with(
                WireName::from_name(&target(to)).as_bytes().to_vec(),
            ),
        },
        ["PTR", to] => RData::PTR(PTR(target(to))),
        ["TXT", text] => RData::TXT(TXT::new(vec![text.to_owned()])),
        ["SRV", priority, weight, port, to] => RData::SRV(SRV::new(
            priority.parse().unwrap(),
            weight.parse().unwrap(),
            port.parse().unwrap(),
            target(to),
        )),
        _ => panic!("no such notation: {data}"),
    };
    Record::from_rdata(name(owner), ttl, data)
}

/// The apex SOA as CNS writes it.
pub(crate) fn soa_record(serial: u32) -> Record {
    let mname = Name::from_ascii("cns.dc1.example.").unwrap();
    let rname = Name::from_ascii("hostmaster.example.").unwrap();
    let soa = SOA::new(mname, rname, serial, 30, 60, 2_592_000, 30);
    Record::from_rdata(name(""), 30, RData::SOA(soa))
}

/// A record as it comes over the wire.
pub(crate) fn wire_record(record: &Record) -> WireRecord {
    let mut message = Message::response(1, OpCode::Query);
    message.add_answer(record.clone());
    let bytes = message.to_vec().unwrap();
    WireMessage::read(&bytes).unwrap().answers.remove(0)
}

pub(crate) fn wire_soa(serial: u32) -> WireRecord {
    wire_record(&soa_record(serial))
}

impl ZoneBuilder {
    /// Adds a record of hickory's.
    pub(crate) fn push(&mut self, record: &Record) -> Result<(), BuildError> {
        let record = wire_record(record);
        let rtype = RecordType::from(record.rtype);
        self.push_raw(record.owner, rtype, record.ttl, &record.rdata)
    }
}

/// A zone with SOA, NS and these records.
pub(crate) fn version(serial: u32, records: &[Record]) -> ZoneVersion {
    let mut builder = ZoneBuilder::new(apex(), ZoneLimits::default());
    builder.push(&soa_record(serial)).unwrap();
    builder.push(&record("", 3600, "NS cns.dc1.example.")).unwrap();
    for record in records {
        builder.push(record).unwrap();
    }
    let provenance = Provenance {
        primary: "127.0.0.1:53".parse().unwrap(),
        changed: SystemTime::UNIX_EPOCH,
    };
    builder.finish(provenance).unwrap()
}

/// Random records of a small zone: few labels, so that names meet, lie below
/// each other and leave empty non-terminals.
pub(crate) fn any_records() -> impl Strategy<Value = Vec<Record>> {
    let label = prop::sample::select(vec!["a", "B", "c", "*", "x1"]);
    let owner = prop::collection::vec(label, 1..5);
    let data = prop::sample::select(vec![
        "A 10.0.0.1",
        "A 10.0.0.2",
        "AAAA fd00::1",
        "TXT hello",
        "SRV 0 10 80 a.a",
        "PTR c.b.a",
    ]);
    let one = (owner, 0..100_u32, data)
        .prop_map(|(owner, ttl, data)| record(&owner.join("."), ttl, data));
    prop::collection::vec(one, 0..12)
}

/// What a server sends to one query.
#[derive(Default)]
pub(crate) struct Replies {
    pub(crate) messages: Vec<Message>,
    /// Close the TCP connection afterwards.
    pub(crate) then_close: bool,
}

impl From<Vec<Message>> for Replies {
    fn from(messages: Vec<Message>) -> Self {
        Self { messages, then_close: false }
    }
}

impl From<Message> for Replies {
    fn from(message: Message) -> Self {
        Self { messages: vec![message], then_close: false }
    }
}

type Handler = dyn Fn(&Message, Transport) -> Replies + Send + Sync;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// A server on loopback, UDP and TCP; ends when dropped.
pub(crate) struct FakeServer {
    pub(crate) addr: SocketAddr,
    _tasks: JoinSet<()>,
}

impl FakeServer {
    pub(crate) async fn start(
        handler: impl Fn(&Message, Transport) -> Replies + Send + Sync + 'static,
    ) -> Self {
        let handler: Arc<Handler> = Arc::new(handler);
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let (udp, tcp, addr) = crate::dns::bind(any).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(udp, Arc::clone(&handler)));
        tasks.spawn(serve_tcp(tcp, handler));
        Self { addr, _tasks: tasks }
    }
}

async fn serve_udp(socket: UdpSocket, handler: Arc<Handler>) {
    let mut buffer = [0; 4096];
    loop {
        let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
        let query = Message::from_vec(&buffer[..len]).unwrap();
        for reply in handler(&query, Transport::Udp).messages {
            socket.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
        }
    }
}

async fn serve_tcp(listener: TcpListener, handler: Arc<Handler>) {
    let mut connections = JoinSet::new();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let handler = Arc::clone(&handler);
        connections.spawn(async move {
            while let Ok(len) = stream.read_u16().await {
                let mut bytes = vec![0; usize::from(len)];
                stream.read_exact(&mut bytes).await.unwrap();
                let query = Message::from_vec(&bytes).unwrap();
                let replies = handler(&query, Transport::Tcp);
                for reply in replies.messages {
                    let bytes = reply.to_vec().unwrap();
                    let len = u16::try_from(bytes.len()).unwrap();
                    stream.write_u16(len).await.unwrap();
                    stream.write_all(&bytes).await.unwrap();
                }
                if replies.then_close {
                    return;
                }
            }
        });
    }
}

/// A response to `query` with its question echoed, no AA, no RA.
pub(crate) fn reply(query: &Message, rcode: ResponseCode) -> Message {
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    reply.metadata.response_code = rcode;
    reply.add_queries(query.queries.iter().cloned());
    reply
}

/// How a primary behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    /// Not in `allow_transfer`: SOA is answered, AXFR is not.
    Refusing,
    /// The zone does not exist (yet).
    Failing,
    /// The connection ends within the transfer.
    Cutting,
    /// The transfer stops without an end.
    Stalling,
    /// No reply to anything.
    Silent,
    /// Records of another zone are mixed in.
    Babbling,
    /// As many records in a message as go in.
    Bulky,
    /// Differences are answered, with something wrong in them or nothing.
    Differing(Trap),
}

struct Script {
    mood: Mood,
    serial: u32,
    records: Vec<Record>,
    /// What was before, by serial.
    past: Vec<(u32, Vec<Record>)>,
}

/// A primary with CNS's habits: no AA, question in the first message only,
/// a record twice, connection left open, two records a message.
#[derive(Clone)]
pub(crate) struct FakePrimary {
    pub(crate) addr: SocketAddr,
    script: Arc<Mutex<Script>>,
    transfers: Arc<AtomicUsize>,
    _server: Arc<FakeServer>,
}

impl FakePrimary {
    pub(crate) async fn start(serial: u32, records: &[Record]) -> Self {
        let script = Arc::new(Mutex::new(Script {
            mood: Mood::Good,
            serial,
            records: records.to_vec(),
            past: Vec::new(),
        }));
        let transfers = Arc::new(AtomicUsize::new(0));
        let (theirs, count) = (Arc::clone(&script), Arc::clone(&transfers));
        let server = FakeServer::start(move |query, transport| {
            answer_as_cns(&theirs.lock().unwrap(), &count, query, transport)
        })
        .await;
        Self { addr: server.addr, script, transfers, _server: Arc::new(server) }
    }

    pub(crate) fn set(&self, serial: u32, records: &[Record]) {
        let mut script = self.script.lock().unwrap();
        let before = (script.serial, script.records.clone());
        script.past.push(before);
        script.serial = serial;
        script.records = records.to_vec();
    }

    pub(crate) fn feel(&self, mood: Mood) {
        self.script.lock().unwrap().mood = mood;
    }

    /// Transfers asked for so far.
    pub(crate) fn transfers(&self) -> usize {
        self.transfers.load(Ordering::SeqCst)
    }
}

fn answer_as_cns(
    script: &Script,
    transfers: &AtomicUsize,
    query: &Message,
    transport: Transport,
) -> Replies {
    let asked = &query.queries[0];
    if script.mood == Mood::Silent {
        return Replies::default();
    }
    if script.mood == Mood::Failing {
        return reply(query, ResponseCode::ServFail).into();
    }
    match (asked.query_type(), transport) {
        (RecordType::AXFR, Transport::Tcp) => {
            transfers.fetch_add(1, Ordering::SeqCst);
            transfer(script, query)
        }
        (RecordType::IXFR, Transport::Tcp) => match script.mood {
            Mood::Differing(trap) => {
                let now = (script.serial, script.records.clone());
                let versions = [&script.past[..], &[now]].concat();
                match fake_ixfr::differences(query, &versions, trap) {
                    Some(records) => in_messages(query, &records, 2).into(),
                    None => reply(query, ResponseCode::NotImp).into(),
                }
            }
            _ => transfer(script, query),
        },
        (RecordType::SOA, _) => {
            let mut answer = reply(query, ResponseCode::NoError);
            answer.add_answer(soa_record(script.serial));
            answer.into()
        }
        (rtype, _) => {
            let found: Vec<Record> = script
                .records
                .iter()
                .filter(|r| r.name == *asked.name() && r.record_type() == rtype)
                .cloned()
                .collect();
            let rcode = match found.is_empty() {
                true => ResponseCode::NXDomain,
                false => ResponseCode::NoError,
            };
            let mut answer = reply(query, rcode);
            answer.metadata.authoritative = true;
            answer.add_answers(found);
            answer.into()
        }
    }
}

fn transfer(script: &Script, query: &Message) -> Replies {
    if script.mood == Mood::Refusing {
        return reply(query, ResponseCode::Refused).into();
    }
    let mut records = vec![
        soa_record(script.serial),
        record("", 3600, "NS cns.dc1.example."),
    ];
    records.extend(script.records.iter().cloned());
    records.extend(script.records.first().cloned());
    if script.mood == Mood::Babbling {
        let mut stranger = record("x", 30, "A 10.6.6.6");
        stranger.name = Name::from_ascii("www.example.net.").unwrap();
        records.push(stranger);
    }
    records.push(soa_record(script.serial));
    let per_message = if script.mood == Mood::Bulky { 280 } else { 2 };
    let mut messages = in_messages(query, &records, per_message);
    let then_close = script.mood == Mood::Cutting;
    if then_close || script.mood == Mood::Stalling {
        messages.pop();
    }
    Replies { messages, then_close }
}

/// Records in messages, the question in the first.
fn in_messages(
    query: &Message,
    records: &[Record],
    per_message: usize,
) -> Vec<Message> {
    let mut messages: Vec<Message> = records
        .chunks(per_message)
        .map(|chunk| {
            let mut message = reply(query, ResponseCode::NoError);
            message.queries.clear();
            message.add_answers(chunk.iter().cloned());
            message
        })
        .collect();
    messages[0].add_queries(query.queries.iter().cloned());
    messages
}
