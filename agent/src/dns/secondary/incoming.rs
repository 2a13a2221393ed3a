// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A transfer as it comes in, full (RFC 5936) or incremental (RFC 1995):
//! messages go in, a zone to build or a chain of differences comes out. No
//! socket, no clock; `fetch.rs` brings the messages, `transfer.rs` decides
//! what to ask for and what to do with the outcome.
//!
//! As strict as safety asks, as lenient as CNS needs: no AA bit, the question
//! in the first message only, records twice and in any order, the whole zone
//! where differences were asked for. What CNS gets wrong in differences is
//! `Refusal::Odd`: a full transfer mends it. What breaks the rules elsewhere
//! ends the transfer.

use hickory_proto::rr::RecordType;

use super::wire::{CLASS_IN, WireMessage, WireRecord};
use crate::dns::names::WireName;
use crate::dns::store::build::{BuildError, ZoneBuilder};
use crate::dns::store::changes::{Changes, Step};
use crate::dns::store::{Serial, ZoneLimits};

/// Labels an owner may have below the apex: an IPv6 reverse name under a short
/// prefix has 32. Every missing parent costs memory, too.
const MAX_DEPTH: usize = 40;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// AXFR.
    Full,
    /// IXFR from this serial of ours.
    Since(Serial),
}

impl Ask {
    pub(crate) fn rtype(self) -> RecordType {
        match self {
            Self::Full => RecordType::AXFR,
            Self::Since(_) => RecordType::IXFR,
        }
    }
}

/// What came.
pub(crate) enum Incoming {
    /// A whole zone.
    Full(ZoneBuilder),
    /// Differences that begin at our serial.
    Changes(Changes),
    /// Nothing: our serial is the primary's.
    Current,
}

/// Why a transfer is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// REFUSED.
    NotAllowed,
    /// Another response code.
    Rcode(u8),
    /// It breaks the rules.
    Broken(&'static str),
    /// These differences must not be used; a full transfer may.
    Odd(&'static str),
    /// It is above our limits, or no zone at its end.
    Limit(BuildError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    More,
    Complete,
}

/// A transfer so far.
pub(crate) struct Receiver {
    apex: WireName,
    id: u16,
    ask: Ask,
    limits: ZoneLimits,
    messages: usize,
    /// The opening SOA, which the closing one must equal.
    first: Option<WireRecord>,
    records: usize,
    bytes: usize,
    state: State,
}

enum State {
    /// Nothing, or just the first SOA.
    Open,
    Full(ZoneBuilder),
    /// The last step is taking removals.
    Removing(Vec<Step>),
    /// The last step is taking additions.
    Adding(Vec<Step>),
    /// The first SOA was alone and says that there is nothing to do.
    Current,
}

impl Receiver {
    /// Waits for the answer to query `id`.
    pub(crate) fn new(
        apex: WireName,
        id: u16,
        ask: Ask,
        limits: ZoneLimits,
    ) -> Self {
        Self {
            apex,
            id,
            ask,
            limits,
            messages: 0,
            first: None,
            records: 0,
            bytes: 0,
            state: State::Open,
        }
    }

    /// Takes the next message.
    pub(crate) fn take(
        &mut self,
        message: WireMessage,
    ) -> Result<Progress, Refusal> {
        self.check(&message)?;
        let alone = self.messages == 1 && message.answers.len() == 1;
        let mut records = message.answers.into_iter();
        while let Some(record) = records.next() {
            if self.take_record(record)? == Progress::Complete {
                return match records.next() {
                    None => Ok(Progress::Complete),
                    Some(_) => Err(self.odd("records after the closing SOA")),
                };
            }
        }
        // RFC 1995 §4: a lone SOA that is not newer means "nothing to do". A
        // newer one may be the beginning of something cut into small pieces.
        if alone && self.is_nothing_new() {
            self.state = State::Current;
            return Ok(Progress::Complete);
        }
        Ok(Progress::More)
    }

    /// What came, once complete.
    pub(crate) fn finish(self) -> Result<Incoming, Refusal> {
        match (self.state, self.first, self.ask) {
            (State::Current, ..) => Ok(Incoming::Current),
            (State::Full(builder), ..) => Ok(Incoming::Full(builder)),
            (State::Adding(steps), Some(soa), Ask::Since(from)) => {
                if steps.iter().any(is_empty) {
                    return Err(Refusal::Odd("a step without records"));
                }
                let to = Serial(soa.soa_serial().unwrap_or_default());
                Ok(Incoming::Changes(Changes { from, to, steps, soa }))
            }
            _ => Err(Refusal::Broken("the transfer did not end")),
        }
    }

    fn check(&mut self, message: &WireMessage) -> Result<(), Refusal> {
        let head = &message.header;
        if head.id != self.id || !head.is_response() || head.opcode() != 0 {
            return Err(Refusal::Broken("a message of another exchange"));
        }
        match head.rcode() {
            0 => {}
            5 => return Err(Refusal::NotAllowed),
            other => return Err(Refusal::Rcode(other)),
        }
        if head.is_truncated() {
            return Err(Refusal::Broken("a message is cut short"));
        }
        let asked = u16::from(self.ask.rtype());
        let same = message.questions.iter().all(|question| {
            question.name == self.apex
                && question.qtype == asked
                && question.qclass == CLASS_IN
        });
        if !same || message.questions.len() > 1 {
            return Err(Refusal::Broken("another question is echoed"));
        }
        if message.answers.is_empty() {
            return Err(Refusal::Broken("a message without records"));
        }
        self.messages += 1;
        Ok(())
    }

    fn take_record(&mut self, record: WireRecord) -> Result<Progress, Refusal> {
        self.admit(&record)?;
        let is_soa = record.is_soa_of(&self.apex);
        if self.first.is_none() {
            if !is_soa {
                return Err(Refusal::Broken(
                    "does not begin with the zone's SOA",
                ));
            }
            self.first = Some(record);
            return Ok(Progress::More);
        }
        match std::mem::replace(&mut self.state, State::Open) {
            State::Open => self.second(record, is_soa),
            State::Full(builder) => self.full(builder, record, is_soa),
            State::Removing(steps) if is_soa => self.removed(steps, &record),
            State::Adding(steps) if is_soa => self.added(steps, &record),
            State::Removing(mut steps) => {
                last(&mut steps).removed.push(record);
                self.go_on(State::Removing(steps))
            }
            State::Adding(mut steps) => {
                last(&mut steps).added.push(record);
                self.go_on(State::Adding(steps))
            }
            State::Current => Err(self.odd("records after a lone SOA")),
        }
    }

    /// Bounds that hold for each record, whatever it is part of.
    fn admit(&mut self, record: &WireRecord) -> Result<(), Refusal> {
        if record.class != CLASS_IN {
            return Err(Refusal::Broken("a record of another class"));
        }
        if !record.owner.is_within(&self.apex) {
            return Err(Refusal::Broken("a record outside the zone"));
        }
        let labels = |name: &WireName| name.suffixes().count();
        if labels(&record.owner) > labels(&self.apex) + MAX_DEPTH {
            return Err(Refusal::Broken("a name of too many labels"));
        }
        self.records += 1;
        self.bytes += record.owner.as_bytes().len() + record.rdata.len() + 12;
        // A chain may pass over a record twice a step.
        let factor = match self.ask {
            Ask::Full => 1,
            Ask::Since(_) => 2,
        };
        let (records, bytes) = (self.limits.max_records, self.limits.max_bytes);
        if self.records > records.saturating_mul(factor).saturating_add(2) {
            return Err(Refusal::Limit(BuildError::TooManyRecords(records)));
        }
        if self.bytes > bytes.saturating_mul(factor) {
            return Err(Refusal::Limit(BuildError::TooManyBytes(bytes)));
        }
        Ok(())
    }

    /// The second record says which form this is.
    fn second(
        &mut self,
        record: WireRecord,
        is_soa: bool,
    ) -> Result<Progress, Refusal> {
        let Ask::Since(ours) = self.ask else {
            return self.begin_full(record, is_soa);
        };
        if !is_soa {
            return self.begin_full(record, false);
        }
        let announced = self.announced();
        if record.soa_serial() == Some(announced) {
            // A whole zone of nothing but its SOA; or a chain whose first SOA
            // lacks the last step.
            return Err(Refusal::Odd(
                "a second SOA with the first one's serial",
            ));
        }
        if record.soa_serial() != Some(ours.0) {
            return Err(Refusal::Odd("the chain begins at another serial"));
        }
        if !Serial(announced).is_newer_than(ours) {
            return Err(Refusal::Odd("the chain leads to no newer serial"));
        }
        let first = Step { from: ours.0, ..Step::default() };
        self.go_on(State::Removing(vec![first]))
    }

    fn begin_full(
        &mut self,
        record: WireRecord,
        is_soa: bool,
    ) -> Result<Progress, Refusal> {
        let mut builder = ZoneBuilder::new(self.apex.clone(), self.limits);
        if let Some(first) = &self.first {
            push(&mut builder, first)?;
        }
        self.full(builder, record, is_soa)
    }

    fn full(
        &mut self,
        mut builder: ZoneBuilder,
        record: WireRecord,
        is_soa: bool,
    ) -> Result<Progress, Refusal> {
        if is_soa {
            let closes =
                self.first.as_ref().is_some_and(|f| f.rdata == record.rdata);
            if !closes {
                return Err(Refusal::Broken("first and last SOA differ"));
            }
            self.state = State::Full(builder);
            return Ok(Progress::Complete);
        }
        push(&mut builder, &record)?;
        self.go_on(State::Full(builder))
    }

    /// An SOA after what a step takes away: what it adds follows.
    fn removed(
        &mut self,
        mut steps: Vec<Step>,
        soa: &WireRecord,
    ) -> Result<Progress, Refusal> {
        let step = last(&mut steps);
        step.to = soa.soa_serial().unwrap_or_default();
        if !Serial(step.to).is_newer_than(Serial(step.from)) {
            return Err(Refusal::Odd("a step that leads to no newer serial"));
        }
        if Serial(step.to).is_newer_than(Serial(self.announced())) {
            return Err(Refusal::Odd("the chain passes the announced serial"));
        }
        self.go_on(State::Adding(steps))
    }

    /// An SOA after what a step adds: the next step follows, or nothing.
    fn added(
        &mut self,
        mut steps: Vec<Step>,
        soa: &WireRecord,
    ) -> Result<Progress, Refusal> {
        let reached = last(&mut steps).to;
        if soa.soa_serial() != Some(reached) {
            return Err(Refusal::Odd("the chain has a gap"));
        }
        if reached != self.announced() {
            steps.push(Step { from: reached, ..Step::default() });
            return self.go_on(State::Removing(steps));
        }
        if self.first.as_ref().is_none_or(|f| f.rdata != soa.rdata) {
            return Err(Refusal::Odd("first and last SOA differ"));
        }
        self.state = State::Adding(steps);
        Ok(Progress::Complete)
    }

    fn go_on(&mut self, state: State) -> Result<Progress, Refusal> {
        self.state = state;
        Ok(Progress::More)
    }

    /// The serial of the first SOA.
    fn announced(&self) -> u32 {
        self.first.as_ref().and_then(WireRecord::soa_serial).unwrap_or_default()
    }

    fn is_nothing_new(&self) -> bool {
        match self.ask {
            Ask::Full => false,
            Ask::Since(ours) => !Serial(self.announced()).is_newer_than(ours),
        }
    }

    /// What is wrong with differences only is mended by a full transfer.
    fn odd(&self, what: &'static str) -> Refusal {
        match (self.ask, &self.state) {
            (Ask::Full, _) | (_, State::Full(_)) => Refusal::Broken(what),
            (Ask::Since(_), _) => Refusal::Odd(what),
        }
    }
}

/// The step under way.
fn last(steps: &mut [Step]) -> &mut Step {
    steps.last_mut().expect("a state holds a step")
}

/// CNS sends such a step where it has just cleaned up its lists.
fn is_empty(step: &Step) -> bool {
    step.removed.is_empty() && step.added.is_empty()
}

fn push(builder: &mut ZoneBuilder, record: &WireRecord) -> Result<(), Refusal> {
    let rtype = RecordType::from(record.rtype);
    builder
        .push_raw(record.owner.clone(), rtype, record.ttl, &record.rdata)
        .map_err(Refusal::Limit)
}

#[cfg(test)]
#[path = "incoming_tests.rs"]
mod tests;
