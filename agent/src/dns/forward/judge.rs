// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a reply means: plain functions from a message to a verdict. A rcode
//! says different things from binder and from a recursive resolver, and of
//! the records only those are believed that the question leads to.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::Upstreams;
use crate::dns::names::WireName;
use crate::dns::serve::answer::{Answer, synthetic_soa};
use crate::model::dns::ZoneName;

/// Negative TTL where the upstream gave none, seconds: binder's REFUSED
/// carries no SOA and may be over in a moment.
pub(crate) const BRIEF: u32 = 5;
/// No negative answer is kept for longer, seconds.
const MAX_NEGATIVE: u32 = 300;
/// Negative TTL of types that binder does not know, seconds; binder's records
/// live as long.
pub(crate) const NODATA_TTL: u32 = 30;
/// Aliases followed within one reply.
const MAX_ALIASES: usize = 16;

/// What one reply means for the question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This is it.
    Take(Taken),
    /// Ask the next; if all say so, the name does not exist here.
    Unknown,
    /// Ask the next; if none does better, SERVFAIL.
    Failed,
}

/// An answer worth giving.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) answer: Answer,
    /// Seconds for which it is fresh.
    pub(crate) ttl: u32,
    /// The time is ours, not the upstream's.
    pub(crate) brief: bool,
}

impl Taken {
    /// NODATA or NXDOMAIN of our own making, for so many seconds.
    pub(crate) fn empty(
        suffix: &ZoneName,
        rcode: ResponseCode,
        ttl: u32,
    ) -> Self {
        let owner = WireName::from_zone(suffix).to_name();
        let answer = Answer::negative(rcode, synthetic_soa(owner, ttl));
        Self { answer, ttl, brief: true }
    }
}

/// Binder's whole repertoire; everything else is NOTIMP there.
pub(crate) fn binder_knows(rtype: RecordType) -> bool {
    matches!(rtype, RecordType::A | RecordType::SRV | RecordType::PTR)
}

/// Reads a reply to the question as its sender meant it.
pub(crate) fn judge(
    kind: Upstreams,
    suffix: &ZoneName,
    name: &Name,
    rtype: RecordType,
    reply: Message,
) -> Verdict {
    use ResponseCode::{NXDomain, NoError, NotImp, Refused};
    match (reply.metadata.response_code, kind) {
        (NoError, Upstreams::Recursive) if is_lame(&reply) => Verdict::Failed,
        (NoError | NXDomain, _) => take(suffix, name, rtype, reply),
        (NotImp, Upstreams::Binder { .. }) => {
            Verdict::Take(Taken::empty(suffix, NoError, BRIEF))
        }
        (Refused, Upstreams::Binder { .. }) => Verdict::Unknown,
        _ => Verdict::Failed,
    }
}

/// A server that neither knows nor looks further: a referral, or nothing.
fn is_lame(reply: &Message) -> bool {
    let head = &reply.metadata;
    let has_soa =
        || reply.authorities.iter().any(|r| matches!(r.data, RData::SOA(_)));
    reply.answers.is_empty()
        && !head.authoritative
        && !head.recursion_available
        && !has_soa()
}

/// The parts of a reply worth passing on, and for how many seconds.
fn take(
    suffix: &ZoneName,
    name: &Name,
    rtype: RecordType,
    reply: Message,
) -> Verdict {
    let rcode = reply.metadata.response_code;
    let Some(chain) = Chain::follow(name, rtype, reply.answers) else {
        return Verdict::Failed;
    };
    // Aliases may lead to nothing of that type, or to nothing at all.
    let negative = rcode == ResponseCode::NXDomain || !chain.ends;
    let authorities: Vec<Record> = reply
        .authorities
        .into_iter()
        .filter(|_| negative)
        .filter_map(|record| negative_soa(record, &chain.end))
        .take(1)
        .collect();
    if chain.records.is_empty() && authorities.is_empty() {
        return Verdict::Take(Taken::empty(suffix, rcode, BRIEF));
    }
    let additionals = glue(suffix, &chain.records, reply.additionals);
    // An alias whose end does not exist, without a SOA to say for how long.
    let brief = negative && authorities.is_empty();
    let ttl = chain
        .records
        .iter()
        .chain(&authorities)
        .map(|record| record.ttl)
        .chain(brief.then_some(BRIEF))
        .min()
        .unwrap_or(BRIEF);
    let answer = Answer {
        rcode,
        authoritative: false,
        answers: chain.records,
        authorities,
        additionals,
    };
    Verdict::Take(Taken { answer, ttl, brief })
}

/// From the question's name through its aliases.
struct Chain {
    records: Vec<Record>,
    /// The last name.
    end: Name,
    /// Whether that has what was asked for.
    ends: bool,
}

impl Chain {
    /// `None` for a chain that goes round, or on and on.
    fn follow(
        name: &Name,
        rtype: RecordType,
        mut answers: Vec<Record>,
    ) -> Option<Self> {
        answers.retain(|record| record.dns_class == DNSClass::IN);
        let wanted = |record: &Record| {
            rtype == RecordType::ANY || record.record_type() == rtype
        };
        let (mut records, mut end) = (Vec::new(), name.clone());
        for _ in 0..=MAX_ALIASES {
            let here = |record: &Record| record.name == end;
            let (found, rest): (Vec<Record>, Vec<Record>) = answers
                .into_iter()
                .partition(|record| here(record) && wanted(record));
            if !found.is_empty() {
                records.extend(found);
                return Some(Self { records, end, ends: true });
            }
            answers = rest;
            let alias = answers.iter().position(|record| {
                here(record) && matches!(record.data, RData::CNAME(_))
            });
            let Some(at) = alias else {
                return Some(Self { records, end, ends: false });
            };
            let record = answers.swap_remove(at);
            if let RData::CNAME(target) = &record.data {
                end = target.0.clone();
            }
            records.push(record);
            if records.iter().any(|record| record.name == end) {
                return None;
            }
        }
        None
    }
}

/// The SOA of a zone that the name is in, its TTL as of negative answers
/// (RFC 2308 §5).
fn negative_soa(mut record: Record, name: &Name) -> Option<Record> {
    let RData::SOA(soa) = &record.data else { return None };
    if record.dns_class != DNSClass::IN || !record.name.zone_of(name) {
        return None;
    }
    record.ttl = record.ttl.min(soa.minimum).min(MAX_NEGATIVE);
    Some(record)
}

/// Addresses of the targets that services in the answer have, if they are
/// from where the upstream answers for.
fn glue(
    suffix: &ZoneName,
    answers: &[Record],
    additionals: Vec<Record>,
) -> Vec<Record> {
    let zone = WireName::from_zone(suffix).to_name();
    let is_target = |name: &Name| {
        answers.iter().any(|record| match &record.data {
            RData::SRV(srv) => srv.target == *name,
            _ => false,
        })
    };
    let mut additionals = additionals;
    additionals.retain(|record| {
        record.dns_class == DNSClass::IN
            && matches!(record.data, RData::A(_) | RData::AAAA(_))
            && zone.zone_of(&record.name)
            && is_target(&record.name)
    });
    additionals
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
