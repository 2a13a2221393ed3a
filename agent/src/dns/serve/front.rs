// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What faces the network: hickory's server reads and writes the messages,
//! this handler decides what an opcode, class or EDNS version means and makes
//! answers fit their transport.
//!
//! Handled here: QUERY, and NOTIFY from a zone's primaries (RFC 1996). Any
//! other opcode is NOTIMP.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hickory_proto::op::{
    Edns, Header, HeaderCounts, LowerQuery, Message, Metadata, OpCode,
    ResponseCode,
};
use hickory_proto::rr::{DNSClass, RecordType};
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{
    Request, RequestHandler, ResponseHandler, ResponseInfo,
};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::time::Instant;
use tracing::{debug, info};

use super::answer::Answer;
use super::local;
use super::resolve::Names;
use crate::dns::exchange::{UDP_PAYLOAD, udp_limit};
use crate::dns::names::WireName;
use crate::dns::seldom::Seldom;

/// The request handler of every listener.
pub(crate) struct Front {
    pub(crate) names: Arc<Names>,
    strangers: Seldom,
}

impl Front {
    pub(crate) fn new(names: Arc<Names>) -> Self {
        Self { names, strangers: Seldom::default() }
    }

    async fn respond<R: ResponseHandler>(
        &self,
        request: &Request,
        mut handle: R,
    ) -> ResponseInfo {
        let mut answer = self.decide(request).await;
        let mut head = Metadata::response_from_request(&request.metadata);
        head.response_code = answer.rcode;
        head.authoritative = answer.authoritative;
        // Stubs take an answer without AA and RA for a lame one.
        head.recursion_available = true;
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_PAYLOAD);
            edns.set_dnssec_ok(asked.flags().dnssec_ok);
            edns
        });
        if request.protocol() == Protocol::Udp {
            let size = request.edns.as_ref().map(Edns::max_payload);
            let limit = udp_limit(size.map(usize::from));
            head.truncation =
                fit(&mut answer, &head, request, edns.as_ref(), limit);
        }
        let builder =
            MessageResponseBuilder::new(&request.queries, edns.as_ref());
        let response = builder.build(
            head,
            &answer.answers,
            &answer.authorities,
            &[],
            &answer.additionals,
        );
        handle.send_response(response).await.unwrap_or_else(|error| {
            // The asker went away; nobody is left to be told.
            debug!(err.message = error.to_string(), "response not sent");
            ResponseInfo::from(Header {
                metadata: head,
                counts: HeaderCounts::default(),
            })
        })
    }

    async fn decide(&self, request: &Request) -> Answer {
        if !self.names.admits(request.src().ip()) {
            return Answer::failure(ResponseCode::Refused);
        }
        let [query] = request.queries.queries() else {
            return self.rule(Answer::failure(ResponseCode::FormErr));
        };
        if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return self.rule(Answer::failure(ResponseCode::BADVERS));
        }
        match request.metadata.op_code {
            OpCode::Query => self.query(request, query).await,
            OpCode::Notify => self.rule(self.notify(request, query)),
            _ => self.rule(Answer::failure(ResponseCode::NotImp)),
        }
    }

    async fn query(&self, request: &Request, query: &LowerQuery) -> Answer {
        let name = query.original().name();
        let rtype = query.query_type();
        match (query.query_class(), rtype) {
            (DNSClass::CH, RecordType::TXT) => self.rule(local::chaos(name)),
            (DNSClass::IN, RecordType::AXFR | RecordType::IXFR)
            | (DNSClass::CH, _) => {
                self.rule(Answer::failure(ResponseCode::Refused))
            }
            (DNSClass::IN, RecordType::OPT) => {
                self.rule(Answer::failure(ResponseCode::FormErr))
            }
            (DNSClass::IN, _) => {
                let recursion = request.metadata.recursion_desired;
                self.names.resolve(name, rtype, recursion).await
            }
            _ => self.rule(Answer::failure(ResponseCode::NotImp)),
        }
    }

    /// Wakes the zone if one of its primaries says so. Its SOA, if any, is a
    /// hint that we do not need.
    fn notify(&self, request: &Request, query: &LowerQuery) -> Answer {
        let key = WireName::from_name(query.original().name());
        let catalog = self.names.catalog();
        let Some(zone) = catalog.zones.get(&key) else {
            return Answer::failure(ResponseCode::NotAuth);
        };
        let from: IpAddr = request.src().ip().to_canonical();
        let known = zone.cell.primaries.borrow();
        if !known.iter().any(|primary| primary.ip() == from) {
            if let Some(more) = self.strangers.pass(Instant::now()) {
                let zone = &zone.cell.name;
                info!(%zone, %from, more, "NOTIFY from a stranger");
            }
            return Answer::failure(ResponseCode::Refused);
        }
        debug!(zone = %zone.cell.name, %from, "NOTIFY");
        self.names.counters.notifies.fetch_add(1, Ordering::Relaxed);
        zone.cell.wake.notify_one();
        Answer { authoritative: true, ..Answer::default() }
    }

    /// An answer that no name was looked up for.
    fn rule(&self, answer: Answer) -> Answer {
        let tally = &self.names.counters.no_name;
        tally.count(RecordType::ZERO, answer.rcode);
        answer
    }
}

/// Makes the answer fit: without its additional records if that is enough,
/// otherwise a part of it. True when that is so and TC must be set.
fn fit(
    answer: &mut Answer,
    head: &Metadata,
    request: &Request,
    edns: Option<&Edns>,
    limit: usize,
) -> bool {
    if size(answer, head, request, edns) <= limit {
        return false;
    }
    answer.additionals.clear();
    if size(answer, head, request, edns) <= limit {
        return false;
    }
    // Whoever knows TCP throws it away (RFC 2181 §9); musl before 1.2.4 does
    // not, and lives on what there is.
    answer.authorities.clear();
    while size(answer, head, request, edns) > limit
        && !answer.answers.is_empty()
    {
        answer.answers.truncate(answer.answers.len() / 2);
    }
    true
}

fn size(
    answer: &Answer,
    head: &Metadata,
    request: &Request,
    edns: Option<&Edns>,
) -> usize {
    let mut message = Message::response(head.id, head.op_code);
    message.metadata = *head;
    for query in request.queries.queries() {
        message.add_query(query.original().clone());
    }
    message.insert_answers(answer.answers.clone());
    message.insert_authorities(answer.authorities.clone());
    message.insert_additionals(answer.additionals.clone());
    message.edns = edns.cloned();
    message.to_vec().map_or(usize::MAX, |bytes| bytes.len())
}

impl RequestHandler for Front {
    // The trait is written with async-trait; this is its plain form.
    fn handle_request<'a, 'b, 'f, R, T>(
        &'a self,
        request: &'b Request,
        response_handle: R,
    ) -> Pin<Box<dyn Future<Output = ResponseInfo> + Send + 'f>>
    where
        R: ResponseHandler + 'f,
        T: Time + 'f,
        'a: 'f,
        'b: 'f,
        Self: 'f,
    {
        Box::pin(self.respond(request, response_handle))
    }
}
