// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A full transfer over TCP (RFC 5936), as strict as safety asks and as
//! lenient as CNS needs: no AA bit, the question in the first message only,
//! records twice and in any order, the connection left open afterwards.
//!
//! Bounded in records, bytes and time. Whether to transfer, and what to do
//! with the result, is decided in `transfer.rs`. An incremental transfer
//! would be a second function with the same signature plus a base version.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::time::timeout;
use tracing::warn;

use super::build::ZoneBuilder;
use super::error::DnsError;
use super::exchange;
use super::names::WireName;
use super::store::{Provenance, ZoneLimits, ZoneVersion};

/// Time limits of a transfer.
#[derive(Clone, Copy, Debug)]
pub struct TransferLimits {
    /// From connect to the closing SOA.
    pub whole: Duration,
    /// To connect, and between two messages.
    pub idle: Duration,
}

impl Default for TransferLimits {
    /// CNS sends 15,000 records in 0.4 s; a million over a slow link fits.
    fn default() -> Self {
        Self { whole: Duration::from_secs(300), idle: Duration::from_secs(15) }
    }
}

/// Fetches the whole zone `apex` from `server`.
///
/// Errors: `Network`, `Silent`, `Message`, `Rcode`, `Transfer`.
pub(crate) async fn fetch(
    server: SocketAddr,
    source: Option<IpAddr>,
    apex: &WireName,
    limits: ZoneLimits,
    times: TransferLimits,
) -> Result<ZoneVersion, DnsError> {
    let silent = |limit| move |_| DnsError::Silent { server, limit };
    let fetching = async {
        let zone = apex.to_name();
        let mut query = Message::query();
        query.add_query(Query::query(zone.clone(), RecordType::AXFR));
        let mut stream = timeout(times.idle, exchange::connect(server, source))
            .await
            .map_err(silent(times.idle))??;
        timeout(times.idle, exchange::send(server, &mut stream, &query))
            .await
            .map_err(silent(times.idle))??;
        let mut transfer = Incoming {
            server,
            zone,
            id: query.metadata.id,
            question: query.queries,
            first: None,
            builder: ZoneBuilder::new(apex.clone(), limits),
        };
        loop {
            let receiving = exchange::receive(server, &mut stream);
            let message = timeout(times.idle, receiving)
                .await
                .map_err(silent(times.idle))??;
            if transfer.take(message)? == Progress::Complete {
                return Ok(transfer.builder);
            }
        }
    };
    let builder =
        timeout(times.whole, fetching).await.map_err(silent(times.whole))??;
    if let Some(owner) = &builder.first_ignored {
        warn!(
            zone = %apex,
            primary = %server,
            records = builder.ignored,
            first = %owner,
            "records outside the zone left out"
        );
    }
    // Sorting a large zone takes a while: not on an async thread.
    let provenance = Provenance { primary: server, changed: SystemTime::now() };
    let refused = |reason: String| DnsError::Transfer { server, reason };
    tokio::task::spawn_blocking(move || builder.finish(provenance))
        .await
        .map_err(|error| refused(error.to_string()))?
        .map_err(|error| refused(error.to_string()))
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    More,
    Complete,
}

/// A transfer so far: decides, touches no socket.
struct Incoming {
    server: SocketAddr,
    zone: Name,
    id: u16,
    question: Vec<Query>,
    /// The opening SOA; the closing one must equal it.
    first: Option<Record>,
    builder: ZoneBuilder,
}

impl Incoming {
    fn take(&mut self, message: Message) -> Result<Progress, DnsError> {
        let head = &message.metadata;
        if head.id != self.id
            || head.message_type != MessageType::Response
            || head.op_code != OpCode::Query
        {
            return Err(self.refuse("a message of another exchange"));
        }
        if head.response_code == ResponseCode::Refused {
            return Err(DnsError::NotAllowed { server: self.server });
        }
        if head.response_code != ResponseCode::NoError {
            return Err(DnsError::Rcode {
                server: self.server,
                rcode: head.response_code.to_string(),
            });
        }
        if head.truncation {
            return Err(self.refuse("a message is cut short"));
        }
        if !message.queries.is_empty() && message.queries != self.question {
            return Err(self.refuse("another question is echoed"));
        }
        if message.answers.is_empty() {
            return Err(self.refuse("a message without records"));
        }
        let mut records = message.answers.into_iter();
        while let Some(record) = records.next() {
            if self.take_record(record)? == Progress::Complete {
                return match records.next() {
                    None => Ok(Progress::Complete),
                    Some(_) => {
                        Err(self.refuse("records after the closing SOA"))
                    }
                };
            }
        }
        Ok(Progress::More)
    }

    fn take_record(&mut self, record: Record) -> Result<Progress, DnsError> {
        let is_soa =
            matches!(record.data, RData::SOA(_)) && record.name == self.zone;
        match (&self.first, is_soa) {
            (None, false) => {
                return Err(self.refuse("does not begin with the zone's SOA"));
            }
            (None, true) => self.first = Some(record.clone()),
            (Some(first), true) if first.data == record.data => {
                return Ok(Progress::Complete);
            }
            (Some(_), true) => {
                return Err(self.refuse("first and last SOA differ"));
            }
            (Some(_), false) => {}
        }
        self.builder
            .push(&record)
            .map_err(|error| self.refuse(&error.to_string()))?;
        Ok(Progress::More)
    }

    fn refuse(&self, reason: &str) -> DnsError {
        DnsError::Transfer { server: self.server, reason: reason.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::fake::{apex, record, soa_record};

    fn incoming() -> Incoming {
        let zone = apex().to_name();
        Incoming {
            server: "127.0.0.1:53".parse().unwrap(),
            id: 7,
            question: vec![Query::query(zone.clone(), RecordType::AXFR)],
            zone,
            first: None,
            builder: ZoneBuilder::new(apex(), ZoneLimits::default()),
        }
    }

    fn message(records: &[Record]) -> Message {
        let mut message = Message::response(7, OpCode::Query);
        message.add_answers(records.iter().cloned());
        message
    }

    #[test]
    fn one_record_a_message_is_fine() {
        let mut transfer = incoming();
        for record in [soa_record(1), record("a", 1, "A 10.0.0.1")] {
            let took = transfer.take(message(&[record])).unwrap();
            assert_eq!(took, Progress::More);
        }
        let took = transfer.take(message(&[soa_record(1)])).unwrap();
        assert_eq!(took, Progress::Complete);
    }

    #[test]
    fn broken_rules_are_refused() {
        let a = record("a", 1, "A 10.0.0.1");
        let soa = soa_record(1);
        let mut other_id = message(std::slice::from_ref(&soa));
        other_id.metadata.id = 8;
        let mut other_question = message(std::slice::from_ref(&soa));
        other_question.add_query(Query::query(Name::root(), RecordType::AXFR));
        let mut cut = message(&[soa.clone(), a.clone(), soa.clone()]);
        cut.metadata.truncation = true;
        let mut refused = message(&[]);
        refused.metadata.response_code = ResponseCode::Refused;
        for (what, message) in [
            ("no SOA first", message(std::slice::from_ref(&a))),
            ("SOAs differ", message(&[soa.clone(), a.clone(), soa_record(2)])),
            ("trailing", message(&[soa.clone(), soa.clone(), a])),
            ("empty", message(&[])),
            ("id", other_id),
            ("question", other_question),
            ("rcode", refused),
            ("TC", cut),
        ] {
            assert!(incoming().take(message).is_err(), "{what}");
        }
    }
}
