// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The questions that `fast.rs` understands, read from their bytes: a standard
//! query with one question of class IN, for a type whose answer needs no rules
//! of its own, and an OPT at most. All others are somebody else's.

use hickory_proto::rr::RecordType;

use crate::dns::exchange::{UDP_PAYLOAD, udp_limit};

/// Bytes of a message's header (RFC 1035 §4.1.1).
pub(crate) const HEAD: usize = 12;
/// The type of an OPT record (RFC 6891 §6.1.2).
const OPT: u16 = 41;
/// A client's subnet (RFC 7871): the general way judges its content.
const SUBNET: u16 = 8;

/// A question that this file understands.
pub(crate) struct Plain<'q> {
    pub(crate) head: &'q [u8; HEAD],
    /// Name, type and class as they were asked.
    pub(crate) question: &'q [u8],
    pub(crate) name: LowerName,
    pub(crate) rtype: RecordType,
    /// Size the asker takes and whether it set DO, if it speaks EDNS.
    pub(crate) edns: Option<(usize, bool)>,
}

impl<'q> Plain<'q> {
    pub(crate) fn read(query: &'q [u8]) -> Option<Self> {
        let head: &[u8; HEAD] = query.first_chunk()?;
        // All flags but RD, AD and CD, and the opcode, are zero.
        let counts = &head[4..10];
        if head[2] & 0xfe != 0
            || head[3] & 0xcf != 0
            || counts != [0, 1, 0, 0, 0, 0]
        {
            return None;
        }
        let name = LowerName::read(&query[HEAD..])?;
        let at = HEAD + name.as_bytes().len();
        let [type_high, type_low, 0, 1] = *query.get(at..at + 4)? else {
            return None;
        };
        let rtype = u16::from_be_bytes([type_high, type_low]);
        // 128 and above: meta types, and some that nobody asks for.
        if matches!(rtype, 0 | OPT | 128..) {
            return None;
        }
        let rest = query.get(at + 4..)?;
        let edns = match (&head[10..], rest) {
            ([0, 0], []) => None,
            ([0, 1], record) => Some(edns(record)?),
            _ => return None,
        };
        let question = &query[HEAD..at + 4];
        let rtype = RecordType::from(rtype);
        Some(Self { head, question, name, rtype, edns })
    }

    /// Bytes an answer may have. `stream`: no limit but that of a message.
    pub(crate) fn limit(&self, stream: bool) -> usize {
        match stream {
            true => usize::from(u16::MAX),
            false => udp_limit(self.edns.map(|(size, _)| size)),
        }
    }

    /// Our own OPT, for who speaks EDNS (RFC 6891 §6.1.2): root, type, the
    /// size we take, no extended code, version 0, DO as asked, no options.
    pub(crate) fn opt(&self) -> Option<[u8; 11]> {
        let (_, dnssec_ok) = self.edns?;
        let [high, low] = UDP_PAYLOAD.to_be_bytes();
        let flags = if dnssec_ok { 0x80 } else { 0 };
        Some([0, 0, 41, high, low, 0, 0, flags, 0, 0, 0])
    }
}

/// An OPT of version 0 and nothing else: the size taken, and DO. Options are
/// skipped; none that we know of changes an answer of ours.
fn edns(record: &[u8]) -> Option<(usize, bool)> {
    let (head, mut options) = record.split_first_chunk::<11>()?;
    let [0, 0, 41, high, low, 0, 0, flags, 0, len_high, len_low] = *head else {
        return None;
    };
    if options.len() != usize::from(u16::from_be_bytes([len_high, len_low])) {
        return None;
    }
    while !options.is_empty() {
        let (code, rest) = options.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        if u16::from_be_bytes(*code) == SUBNET {
            return None;
        }
        options = rest.get(usize::from(u16::from_be_bytes(*len))..)?;
    }
    let size = usize::from(u16::from_be_bytes([high, low]));
    (flags & 0x7f == 0).then_some((size, flags & 0x80 != 0))
}

/// A name in lower-case wire form, without a place of its own on the heap.
pub(crate) struct LowerName {
    bytes: [u8; 255],
    len: usize,
}

impl LowerName {
    /// Reads a name from the front of `wire`; `None` when it is malformed or
    /// compressed.
    pub(crate) fn read(wire: &[u8]) -> Option<Self> {
        let mut bytes = [0; 255];
        let mut at = 0;
        loop {
            let len = usize::from(*wire.get(at)?);
            if len > 63 || at + len + 1 > bytes.len() {
                return None;
            }
            let label = wire.get(at..at + 1 + len)?;
            for (to, byte) in bytes[at..].iter_mut().zip(label) {
                // A length is below every letter.
                *to = byte.to_ascii_lowercase();
            }
            at += 1 + len;
            if len == 0 {
                return Some(Self { bytes, len: at });
            }
        }
    }

    /// The bytes, root label included.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
