// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A question put to a server as any program would, and what came back, in
//! words: for an operator who wants to see it.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::{
    BinEncodable, BinEncoder, NameEncoding,
};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::control::{parse, record_type};
use super::error::DnsError;
use super::names::WireName;
use super::{exchange, text};

/// A reply.
#[derive(Clone, Debug, Serialize)]
pub struct Reply {
    /// Response code: `NOERROR`, `NXDOMAIN` and so on.
    pub rcode: String,
    /// `aa`, `tc`, `rd`, `ra`, `ad`, `cd`: those that are set.
    pub flags: Vec<&'static str>,
    /// `udp` or `tcp`.
    pub over: &'static str,
    /// Microseconds it took.
    pub took_us: u64,
    /// Size of the message.
    pub bytes: usize,
    /// Answer section.
    pub answer: Vec<ReplyRecord>,
    /// Authority section.
    pub authority: Vec<ReplyRecord>,
    /// Additional section, without OPT.
    pub additional: Vec<ReplyRecord>,
}

/// A record as zone files spell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplyRecord {
    /// Owner, absolute.
    pub name: String,
    /// Seconds.
    pub ttl: u32,
    /// Type.
    #[serde(rename = "type")]
    pub rtype: String,
    /// Rdata.
    pub data: String,
}

/// Asks `server`: over UDP and, when that was cut short, over TCP; over TCP
/// alone if `tcp`. All within `limit`.
///
/// Errors: `BadName`, `BadType`, `Network`, `Silent`, `Message`.
pub async fn query(
    server: SocketAddr,
    name: &str,
    rtype: &str,
    tcp: bool,
    limit: Duration,
) -> Result<Reply, DnsError> {
    let question = exchange::query(parse(name)?, record_type(rtype)?);
    let message = |source| DnsError::Message { server, source };
    let bytes = question.to_vec().map_err(|error| message(error.into()))?;
    let id = question.metadata.id;
    let asking = async {
        if !tcp {
            let began = Instant::now();
            let (reply, size) = over_udp(server, &bytes, id).await?;
            if !reply.metadata.truncation {
                return Ok(put("udp", began, &reply, size));
            }
        }
        let began = Instant::now();
        let mut stream: TcpStream = exchange::connect(server, None).await?;
        exchange::send_bytes(server, &mut stream, &bytes).await?;
        let mut buffer = Vec::new();
        exchange::receive_bytes(server, &mut stream, &mut buffer).await?;
        let reply = Message::from_vec(&buffer)
            .map_err(|error| message(error.into()))?;
        Ok(put("tcp", began, &reply, buffer.len()))
    };
    timeout(limit, asking)
        .await
        .unwrap_or(Err(DnsError::Silent { server, limit }))
}

async fn over_udp(
    server: SocketAddr,
    question: &[u8],
    id: u16,
) -> Result<(Message, usize), DnsError> {
    let network = |source| DnsError::Network { server, source };
    let socket = exchange::connect_udp(server, None).await?;
    socket.send(question).await.map_err(network)?;
    let mut buffer = vec![0; 4096];
    loop {
        let size = socket.recv(&mut buffer).await.map_err(network)?;
        if let Ok(reply) = Message::from_vec(&buffer[..size])
            && reply.metadata.id == id
        {
            return Ok((reply, size));
        }
    }
}

fn put(
    over: &'static str,
    began: Instant,
    reply: &Message,
    bytes: usize,
) -> Reply {
    let head = &reply.metadata;
    let flags = [
        ("aa", head.authoritative),
        ("tc", head.truncation),
        ("rd", head.recursion_desired),
        ("ra", head.recursion_available),
        ("ad", head.authentic_data),
        ("cd", head.checking_disabled),
    ];
    let took = began.elapsed().as_micros();
    Reply {
        rcode: rcode(head.response_code.into()),
        flags: flags.iter().filter(|f| f.1).map(|f| f.0).collect(),
        over,
        took_us: u64::try_from(took).unwrap_or(u64::MAX),
        bytes,
        answer: reply.answers.iter().map(spell).collect(),
        authority: reply.authorities.iter().map(spell).collect(),
        additional: reply.additionals.iter().map(spell).collect(),
    }
}

/// A response code as dig spells it.
fn rcode(code: u16) -> String {
    match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        9 => "NOTAUTH",
        16 => "BADVERS",
        _ => return format!("RCODE{code}"),
    }
    .to_owned()
}

fn spell(record: &Record) -> ReplyRecord {
    let mut name = String::new();
    text::name(WireName::from_name(&record.name).as_bytes(), &mut name);
    let number = u16::from(record.record_type());
    let mut wire = Vec::new();
    let mut encoder = BinEncoder::new(&mut wire);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    let mut data = String::new();
    match record.data.emit(&mut encoder) {
        Ok(()) => text::rdata(number, &wire, &mut data),
        // What was read can be written; if not, its own words will do.
        Err(_) => data = record.data.to_string(),
    }
    ReplyRecord {
        name,
        ttl: record.ttl,
        rtype: text::rtype(number).into_owned(),
        data,
    }
}
