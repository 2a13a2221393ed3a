// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! An answer of others as it is kept: the bytes of a response, ready but for
//! what belongs to one asker (id, flags, spelling of the name, OPT) and for
//! the TTLs, whose places are known. Giving it again is a copy and a few
//! numbers; nothing is taken apart.

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::time::Instant;

use crate::dns::names::{WireName, suffixes};
use crate::dns::serve::answer::Answer;

/// Bytes of a message's header (RFC 1035 §4.1.1).
const HEAD: usize = 12;
/// What a record has between its TTL and its rdata.
const TTL_TO_RDATA: usize = 6;

/// What is asked, as a key: a lower-case name in wire form, then the type;
/// the class is always IN. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question(Arc<[u8]>);

impl Question {
    pub(crate) fn new(name: &Name, rtype: RecordType) -> Self {
        let name = WireName::from_name(name);
        let rtype = u16::from(rtype).to_be_bytes();
        Self([name.as_bytes(), &rtype].concat().into())
    }

    /// One that is spelled out already; `None` if it is not.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let name = WireName::read(bytes)?;
        (bytes.len() == name.as_bytes().len() + 2).then(|| Self(bytes.into()))
    }

    /// The bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the name is `zone` or below it.
    pub(crate) fn is_within(&self, zone: &WireName) -> bool {
        let name = self.0.len().saturating_sub(2);
        suffixes(&self.0[..name]).any(|suffix| suffix == zone.as_bytes())
    }

    /// The name, in lower case.
    pub(crate) fn name(&self) -> Name {
        WireName::read(&self.0).map_or_else(Name::root, |name| name.to_name())
    }

    pub(crate) fn rtype(&self) -> RecordType {
        let [.., high, low] = *self.0 else { return RecordType::ZERO };
        RecordType::from(u16::from_be_bytes([high, low]))
    }
}

impl Borrow<[u8]> for Question {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// How TTLs are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ttl {
    /// As kept, less so many seconds.
    Less(u32),
    /// This, for all.
    Fixed(u32),
}

impl Ttl {
    fn of(self, kept: u32) -> u32 {
        match self {
            Self::Less(seconds) => kept.saturating_sub(seconds),
            Self::Fixed(seconds) => seconds,
        }
    }
}

/// An answer, and for how long.
#[derive(Debug)]
pub(crate) struct Kept {
    /// A response to the question in lower case, id and flags zero.
    wire: Box<[u8]>,
    /// Where its TTLs are.
    ttls: Box<[u16]>,
    pub(crate) rcode: ResponseCode,
    /// Our own word for a few seconds, rather than anyone's answer: worth
    /// nothing once they are over.
    pub(crate) brief: bool,
    pub(crate) stored: Instant,
    /// How long it is fresh.
    pub(crate) ttl: Duration,
}

impl Kept {
    /// `None` for what is no message: longer than one can be.
    pub(crate) fn new(
        question: &Question,
        answer: &Answer,
        ttl: Duration,
        brief: bool,
        now: Instant,
    ) -> Option<Self> {
        let query = Query::query(question.name(), question.rtype());
        let mut message = Message::response(0, OpCode::Query);
        message.add_query(query);
        message.insert_answers(answer.answers.clone());
        message.insert_authorities(answer.authorities.clone());
        message.insert_additionals(answer.additionals.clone());
        let wire = message.to_vec().ok()?;
        let head = HEAD + question.as_bytes().len() + 2;
        Some(Self {
            ttls: places(&wire, head)?.into(),
            wire: wire.into(),
            rcode: answer.rcode,
            brief,
            stored: now,
            ttl,
        })
    }

    /// Whole seconds since it was stored, as a way to give TTLs.
    pub(crate) fn aged(&self, now: Instant) -> Ttl {
        let age = now.saturating_duration_since(self.stored).as_secs();
        Ttl::Less(u32::try_from(age).unwrap_or(u32::MAX))
    }

    /// Bytes it takes, without its key.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.wire.len() + self.ttls.len() * size_of::<u16>()
    }

    /// Appends the response to `query`, a well-formed one of this question,
    /// to `out`. No OPT: not counted, not written.
    pub(crate) fn write(
        &self,
        query: &[u8],
        question: &[u8],
        ttl: Ttl,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        // Here with a class.
        let asked = query.get(..HEAD + question.len() + 2)?;
        let rest = self.wire.get(asked.len()..)?;
        let begin = out.len();
        out.extend_from_slice(asked);
        out.extend_from_slice(rest);
        let message = out.get_mut(begin..)?;
        // QR, RD as asked; RA, CD as asked, the code.
        message[2] = 0x80 | query[2] & 1;
        message[3] = 0x80 | query[3] & 0x10 | self.rcode.low();
        message[4..HEAD].copy_from_slice(&self.wire[4..HEAD]);
        for place in &self.ttls {
            let field = message.get_mut(usize::from(*place)..)?;
            let field: &mut [u8; 4] = field.first_chunk_mut()?;
            *field = ttl.of(u32::from_be_bytes(*field)).to_be_bytes();
        }
        Some(())
    }

    /// The answer as records.
    pub(crate) fn answer(&self, ttl: Ttl) -> Answer {
        let Ok(message) = Message::from_vec(&self.wire) else {
            // We wrote it ourselves.
            return Answer::failure(ResponseCode::ServFail);
        };
        let mut answer = Answer {
            rcode: self.rcode,
            authoritative: false,
            answers: message.answers,
            authorities: message.authorities,
            additionals: message.additionals,
        };
        for record in answer.records_mut() {
            record.ttl = ttl.of(record.ttl);
        }
        answer
    }
}

/// Where the TTLs of a message are, whose records begin at `at`.
fn places(wire: &[u8], mut at: usize) -> Option<Vec<u16>> {
    let mut places = Vec::new();
    while at < wire.len() {
        at = past_name(wire, at)? + 4;
        places.push(u16::try_from(at).ok()?);
        let length = wire.get(at + 4..at + TTL_TO_RDATA)?;
        let length = u16::from_be_bytes([length[0], length[1]]);
        at += TTL_TO_RDATA + usize::from(length);
    }
    (at == wire.len()).then_some(places)
}

/// The end of a name: its root label or a pointer (RFC 1035 §4.1.4).
fn past_name(wire: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*wire.get(at)?) {
            0 => return Some(at + 1),
            len @ 1..=63 => at += 1 + len,
            _ => return Some(at + 2),
        }
    }
}

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;
