// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! DNSSEC (RFC 4035 §5) for what public resolvers say: off unless asked for.
//! The names that matter here, CNS's and binder's, are unsigned; validation
//! costs several questions for one; and a zone whose clock is wrong, as after
//! a boot, loses every signed name.
//!
//! hickory's validator follows the chain of trust. It is given the reply that
//! is there already, asks the rest (DS, DNSKEY, NS) of the same server, and we
//! remember those. What it calls bogus becomes SERVFAIL from that server, so
//! that the next one is asked.
//!
//! Only names that fall to the forward zone `.` are validated. A domain with
//! resolvers of its own is private: nothing above it vouches for it. The flag
//! AD is never set, as there is nobody behind loopback to believe it.
//!
//! hickory-net 0.26 still calls some good answers bogus (hickory-dns issue
//! 3834); `expansion.rs` looks again at one kind of them. Another reason for
//! off.

use std::collections::HashMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use hickory_net::dnssec::DnssecDnsHandle;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::xfer::{DnsHandle, FirstAnswer};
use hickory_net::{DnsError as Said, NetError};
use hickory_proto::dnssec::{Proof, TrustAnchors};
use hickory_proto::op::{DnsRequest, DnsRequestOptions, DnsResponse};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::Record;
use tokio::time::Instant;
use tracing::warn;

use super::expansion::is_proven;
use super::kept::Question;
use super::upstream::{Server, Tried};
use crate::dns::error::DnsError;
use crate::dns::exchange;
use crate::dns::seldom::Seldom;

/// Links of chains that are remembered, 2 KiB or so each.
const REMEMBERED: usize = 2048;
/// Bounds of the time they are remembered.
const AT_LEAST: Duration = Duration::from_secs(1);
const AT_MOST: Duration = Duration::from_secs(3600);
/// Questions that one answer may cause: names have a dozen labels at most,
/// with two links each.
const MOST_LINKS: usize = 32;
/// Signatures that one answer may have us check and still need remembering;
/// the answers themselves are kept by the cache.
const VERDICTS: usize = 64;

/// Judges replies by the chain of trust.
pub(crate) struct Validator {
    anchors: Arc<TrustAnchors>,
    links: Mutex<HashMap<Question, (Message, Instant)>>,
    told: Seldom,
}

impl Validator {
    /// Trusts the keys of the root that are known to all, or those in a file
    /// of DNSKEY records.
    ///
    /// Errors: `Anchors`: a file that cannot be read or has no key.
    pub(crate) fn new(anchors: Option<&Path>) -> Result<Self, DnsError> {
        let anchors = match anchors {
            None => TrustAnchors::default(),
            Some(path) => {
                let failed = |source| DnsError::Anchors {
                    path: path.to_owned(),
                    source,
                };
                let anchors = TrustAnchors::from_file(path)
                    .map_err(|error| failed(error.into()))?;
                if anchors.is_empty() {
                    return Err(failed("no DNSKEY of the root in it".into()));
                }
                anchors
            }
        };
        Ok(Self {
            anchors: Arc::new(anchors),
            links: Mutex::default(),
            told: Seldom::default(),
        })
    }

    /// A reply as it was tried, less what is not to be believed.
    pub(crate) async fn judge(
        self: &Arc<Self>,
        server: &Arc<Server>,
        question: &Question,
        limit: Duration,
        tried: Tried,
    ) -> Tried {
        let Tried::Reply { message, time } = tried else { return tried };
        if !is_answer(&message) {
            return Tried::Reply { message, time };
        }
        let id = message.metadata.id;
        let asker = Asker {
            server: Arc::clone(server),
            validator: Arc::clone(self),
            limit,
            state: Arc::new(Mutex::new(State {
                reply: Some(*message),
                links: 0,
            })),
        };
        let handle = DnssecDnsHandle::with_trust_anchor(
            asker,
            Arc::clone(&self.anchors),
        )
        .validation_cache_size(VERDICTS);
        let query = exchange::query(question.name(), question.rtype());
        let request = DnsRequest::new(query, DnsRequestOptions::default());
        let message = match handle.send(request).first_answer().await {
            Ok(response) => believed(response.into_message()),
            Err(NetError::Dns(Said::Nsec { response, proof, .. }))
                if proof.is_insecure()
                    || is_proven(&response, question.rtype()) =>
            {
                believed(response.into_message())
            }
            Err(error) => Err(error.to_string()),
        };
        let message = message.unwrap_or_else(|why| {
            server.health().was_bogus();
            if let Some(more) = self.told.pass(Instant::now()) {
                let (name, upstream) = (question.name(), server.addr);
                warn!(%name, %upstream, why, more, "signature does not hold");
            }
            let mut refused = Message::error_msg(
                id,
                hickory_proto::op::OpCode::Query,
                ResponseCode::ServFail,
            );
            refused.metadata.recursion_available = true;
            refused
        });
        Tried::Reply { message: Box::new(message), time }
    }

    fn recall(&self, question: &Question) -> Option<Message> {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let (message, until) = links.get(question)?;
        (Instant::now() < *until).then(|| message.clone())
    }

    fn remember(&self, question: Question, message: &Message) {
        let ttl = message.all_sections().map(|record| record.ttl).min();
        let ttl = Duration::from_secs(ttl.unwrap_or(0).into());
        let until = Instant::now() + ttl.clamp(AT_LEAST, AT_MOST);
        let mut links =
            self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if links.len() >= REMEMBERED {
            let now = Instant::now();
            links.retain(|_, (_, until)| now < *until);
            if links.len() >= REMEMBERED {
                links.clear();
            }
        }
        links.insert(question, (message.clone(), until));
    }
}

fn is_answer(reply: &Message) -> bool {
    matches!(
        reply.metadata.response_code,
        ResponseCode::NoError | ResponseCode::NXDomain
    )
}

/// The message without what nobody asked for and nobody vouches for.
///
/// Errors: why the rest is not to be believed.
fn believed(mut message: Message) -> Result<Message, String> {
    let holds = |record: &Record| {
        matches!(record.proof, Proof::Secure | Proof::Insecure)
            || record.record_type().is_rrsig()
    };
    let negative = message.answers.is_empty()
        || message.metadata.response_code == ResponseCode::NXDomain;
    let authorities: &[Record] =
        if negative { &message.authorities } else { &[] };
    let bad = message.answers.iter().chain(authorities).find(|r| !holds(r));
    if let Some(bad) = bad {
        let (name, rtype, proof) = (&bad.name, bad.record_type(), bad.proof);
        return Err(format!("{name} {rtype} is {proof}"));
    }
    message.additionals.retain(holds);
    Ok(message)
}

/// Asks for the links of one chain, of one server.
#[derive(Clone)]
struct Asker {
    server: Arc<Server>,
    validator: Arc<Validator>,
    limit: Duration,
    state: Arc<Mutex<State>>,
}

struct State {
    /// What the first question is answered with.
    reply: Option<Message>,
    /// Asked so far.
    links: usize,
}

impl DnsHandle for Asker {
    type Response =
        Pin<Box<dyn Stream<Item = Result<DnsResponse, NetError>> + Send>>;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> Self::Response {
        let asker = self.clone();
        let answer = async move {
            let message = asker.answer(&request).await?;
            DnsResponse::from_message(message).map_err(NetError::from)
        };
        Box::pin(stream::once(answer))
    }
}

impl Asker {
    async fn answer(&self, request: &Message) -> Result<Message, NetError> {
        {
            let mut state =
                self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(reply) = state.reply.take() {
                return Ok(reply);
            }
            state.links += 1;
            if state.links > MOST_LINKS {
                return Err("the chain of trust is too long".into());
            }
        }
        let Some(query) = request.queries.first() else {
            return Err("no question".into());
        };
        let question = Question::new(query.name(), query.query_type());
        if let Some(message) = self.validator.recall(&question) {
            return Ok(message);
        }
        match self.server.ask(&question, self.limit).await {
            Tried::Reply { message, .. } if is_answer(&message) => {
                self.validator.remember(question, &message);
                Ok(*message)
            }
            Tried::Reply { message, .. } => {
                let rcode = message.metadata.response_code;
                Err(format!("{}: {rcode}", query.name()).into())
            }
            Tried::Silent(error) | Tried::Broken(error) => {
                Err(error.chain().into())
            }
        }
    }
}
