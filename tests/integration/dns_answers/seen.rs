// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What an asker sees of an answer, and in what two of them differ.

use std::collections::BTreeSet;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::Record;

use super::questions::Question;

/// One thing that two answers may differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Aspect {
    /// One of them says nothing.
    Silence,
    Rcode,
    Authoritative,
    Truncated,
    RecursionDesired,
    RecursionAvailable,
    AuthenticData,
    CheckingDisabled,
    /// The question, letter by letter.
    Question,
    Answers,
    Authorities,
    Additionals,
    /// Whether EDNS is spoken, its version, DO.
    Edns,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) rcode: ResponseCode,
    /// AA, TC, RD, RA, AD, CD.
    pub(super) flags: [bool; 6],
    /// It came back as it was sent.
    pub(super) question: bool,
    pub(super) answers: BTreeSet<String>,
    pub(super) authorities: BTreeSet<String>,
    pub(super) additionals: BTreeSet<String>,
    pub(super) edns: Option<(u8, bool)>,
}

impl Seen {
    pub(super) fn new(asked: &Question, bytes: &[u8]) -> Self {
        let end = 12 + asked_len(&asked.bytes);
        let echo = asked.bytes.get(12..end);
        let echoed = echo.is_some() && echo == bytes.get(12..end);
        let Ok(message) = Message::from_vec(bytes) else {
            return Self::of_header(asked, bytes);
        };
        let head = &message.metadata;
        Self {
            rcode: head.response_code,
            flags: [
                head.authoritative,
                head.truncation,
                head.recursion_desired,
                head.recursion_available,
                head.authentic_data,
                head.checking_disabled,
            ],
            question: echoed,
            answers: texts(&message.answers),
            authorities: texts(&message.authorities),
            additionals: texts(&message.additionals),
            edns: message
                .edns
                .map(|edns| (edns.version(), edns.flags().dnssec_ok)),
        }
    }

    /// NSD may answer with a header alone that claims to have a question.
    fn of_header(asked: &Question, bytes: &[u8]) -> Self {
        assert_eq!(bytes.len(), 12, "{bytes:02x?} to {asked:?}");
        let (high, low) = (bytes[2], bytes[3]);
        let bit = |byte: u8, mask: u8| byte & mask != 0;
        Self {
            rcode: ResponseCode::from(0, low & 15),
            flags: [
                bit(high, 4),
                bit(high, 2),
                bit(high, 1),
                bit(low, 0x80),
                bit(low, 0x20),
                bit(low, 0x10),
            ],
            question: false,
            answers: BTreeSet::new(),
            authorities: BTreeSet::new(),
            additionals: BTreeSet::new(),
            edns: None,
        }
    }
}

/// Bytes of the question section, if it is one question as it should be.
fn asked_len(query: &[u8]) -> usize {
    let mut at = 12;
    while let Some(len) = query.get(at) {
        at += 1 + usize::from(*len);
        if *len == 0 {
            break;
        }
    }
    at + 4 - 12
}

/// Order, doubles and case aside.
fn texts(records: &[Record]) -> BTreeSet<String> {
    records.iter().map(|record| record.to_string().to_lowercase()).collect()
}

pub(super) fn differing(
    ours: Option<&Seen>,
    theirs: Option<&Seen>,
) -> BTreeSet<Aspect> {
    let (ours, theirs) = match (ours, theirs) {
        (None, None) => return BTreeSet::new(),
        (Some(ours), Some(theirs)) => (ours, theirs),
        _ => return BTreeSet::from([Aspect::Silence]),
    };
    let flags = [
        Aspect::Authoritative,
        Aspect::Truncated,
        Aspect::RecursionDesired,
        Aspect::RecursionAvailable,
        Aspect::AuthenticData,
        Aspect::CheckingDisabled,
    ];
    let flags = flags.into_iter().zip(ours.flags.iter().zip(&theirs.flags));
    let flags = flags.filter(|(_, (a, b))| a != b).map(|(aspect, _)| aspect);
    let rest = [
        (Aspect::Rcode, ours.rcode == theirs.rcode),
        (Aspect::Question, ours.question == theirs.question),
        (Aspect::Answers, ours.answers == theirs.answers),
        (Aspect::Authorities, ours.authorities == theirs.authorities),
        (Aspect::Additionals, ours.additionals == theirs.additionals),
        (Aspect::Edns, ours.edns == theirs.edns),
    ];
    let rest = rest.into_iter().filter(|(_, same)| !same);
    flags.chain(rest.map(|(aspect, _)| aspect)).collect()
}
