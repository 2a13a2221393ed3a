// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! DNS messages of transfers, read from bytes: record by record, rdata in
//! uncompressed wire form, as `store.rs` takes it. Types nobody has heard of
//! pass as they are (RFC 3597).
//!
//! Hickory's `Message` decodes and re-encodes every record, which a zone of a
//! million does not deserve, and hides the bytes that a TSIG is made over.
//! Everything here is bounded by the message: 65,535 bytes.

use hickory_proto::rr::{RData, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, Restrict};

use crate::dns::names::WireName;

/// Bytes of a message header (RFC 1035 §4.1.1).
pub(crate) const HEADER_LEN: usize = 12;
/// Class IN.
pub(crate) const CLASS_IN: u16 = 1;
/// Flag QR of the second header word.
const QR: u16 = 0x8000;
/// Flag TC.
const TC: u16 = 0x0200;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WireError(pub(crate) &'static str);

const SHORT: WireError = WireError("the message ends within a field");

/// Identity and flags of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: u16,
    flags: u16,
    /// Entries per section: question, answer, authority, additional.
    counts: [u16; 4],
}

impl Header {
    /// Reads the first twelve bytes.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let word = |n: usize| {
            let at = bytes.get(2 * n..2 * n + 2).ok_or(SHORT)?;
            Ok(u16::from_be_bytes([at[0], at[1]]))
        };
        Ok(Self {
            id: word(0)?,
            flags: word(1)?,
            counts: [word(2)?, word(3)?, word(4)?, word(5)?],
        })
    }

    pub(crate) fn is_response(&self) -> bool {
        self.flags & QR != 0
    }

    pub(crate) fn is_truncated(&self) -> bool {
        self.flags & TC != 0
    }

    /// 0 QUERY, 4 NOTIFY.
    pub(crate) fn opcode(&self) -> u8 {
        (self.flags >> 11 & 0xf) as u8
    }

    /// The second word, rcode included.
    pub(crate) fn flags(&self) -> u16 {
        self.flags
    }

    /// The header's four bits; a transfer needs no extended code.
    pub(crate) fn rcode(&self) -> u8 {
        (self.flags & 0xf) as u8
    }
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) name: WireName,
    pub(crate) qtype: u16,
    pub(crate) qclass: u16,
}

impl Question {
    pub(crate) fn qtype(&self) -> RecordType {
        RecordType::from(self.qtype)
    }
}

/// A resource record. The owner is lower case, names in the data keep theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireRecord {
    pub(crate) owner: WireName,
    pub(crate) rtype: u16,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    /// Uncompressed; of a known type well-formed.
    pub(crate) rdata: Vec<u8>,
}

impl WireRecord {
    pub(crate) fn is_soa_of(&self, apex: &WireName) -> bool {
        self.rtype == u16::from(RecordType::SOA) && self.owner == *apex
    }

    /// The serial, if this is a SOA: after two names, before four numbers.
    pub(crate) fn soa_serial(&self) -> Option<u32> {
        let at = self.rdata.len().checked_sub(20)?;
        let bytes = self.rdata.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }
}

/// One message, sections apart; additional records are left to `tsig.rs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireMessage {
    pub(crate) header: Header,
    pub(crate) questions: Vec<Question>,
    pub(crate) answers: Vec<WireRecord>,
}

impl WireMessage {
    /// Reads header, questions and answers. What follows is not looked at:
    /// neither NS nor OPT matter to a transfer.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let header = Header::read(bytes)?;
        let mut reader = Reader { bytes, at: HEADER_LEN };
        let [asked, answered, ..] = header.counts;
        // A question takes five bytes at least, a record eleven: what is
        // reserved cannot exceed what is there.
        let mut questions = Vec::new();
        for _ in 0..asked {
            questions.push(reader.question()?);
        }
        let room = (bytes.len() - reader.at) / 11;
        let mut answers = Vec::with_capacity(room.min(answered.into()));
        for _ in 0..answered {
            answers.push(reader.record()?);
        }
        Ok(Self { header, questions, answers })
    }
}

/// The only question of a message, and its bytes.
pub(crate) fn one_question(
    bytes: &[u8],
) -> Result<(Question, &[u8]), WireError> {
    let header = Header::read(bytes)?;
    if header.counts[0] != 1 {
        return Err(WireError("not one question"));
    }
    let mut reader = Reader { bytes, at: HEADER_LEN };
    let question = reader.question()?;
    Ok((question, bytes.get(HEADER_LEN..reader.at).ok_or(SHORT)?))
}

/// Where the last record of a message begins, and the record; `None` when
/// the additional section is empty. For TSIG, which must be that record.
pub(crate) fn last_additional(
    bytes: &[u8],
) -> Result<Option<(usize, WireRecord)>, WireError> {
    let header = Header::read(bytes)?;
    let [asked, sections @ ..] = header.counts;
    if sections[2] == 0 {
        return Ok(None);
    }
    let mut reader = Reader { bytes, at: HEADER_LEN };
    for _ in 0..asked {
        reader.name(&mut Vec::new())?;
        reader.take(4)?;
    }
    let records: u32 = sections.iter().map(|n| u32::from(*n)).sum();
    for _ in 1..records {
        reader.skip_record()?;
    }
    let at = reader.at;
    Ok(Some((at, reader.record()?)))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let end = self.at.checked_add(len).ok_or(SHORT)?;
        let taken = self.bytes.get(self.at..end).ok_or(SHORT)?;
        self.at = end;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, WireError> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Appends a name, uncompressed and in its own case (RFC 1035 §4.1.4).
    ///
    /// A pointer must point before where the name that holds it began, so
    /// that every hop goes back and the walk ends.
    fn name(&mut self, out: &mut Vec<u8>) -> Result<(), WireError> {
        let begin = out.len();
        let (mut at, mut back_to) = (self.at, None);
        let mut bound = self.at;
        loop {
            let len = *self.bytes.get(at).ok_or(SHORT)?;
            match len {
                0 => {
                    out.push(0);
                    at += 1;
                    break;
                }
                1..=63 => {
                    let end = at + 1 + usize::from(len);
                    let label = self.bytes.get(at..end).ok_or(SHORT)?;
                    out.extend_from_slice(label);
                    at = end;
                }
                0xc0.. => {
                    let low = *self.bytes.get(at + 1).ok_or(SHORT)?;
                    let to = usize::from(len & 0x3f) << 8 | usize::from(low);
                    back_to.get_or_insert(at + 2);
                    if to >= bound {
                        return Err(WireError("a name points forward"));
                    }
                    (at, bound) = (to, to);
                }
                _ => return Err(WireError("an unknown kind of label")),
            }
            if out.len() - begin > 254 {
                return Err(WireError("a name above 255 bytes"));
            }
        }
        self.at = back_to.unwrap_or(at);
        Ok(())
    }

    fn owner(&mut self) -> Result<WireName, WireError> {
        let mut wire = Vec::with_capacity(64);
        self.name(&mut wire)?;
        // Lengths are below the letters.
        wire.make_ascii_lowercase();
        WireName::read(&wire).ok_or(WireError("a name above 255 bytes"))
    }

    fn question(&mut self) -> Result<Question, WireError> {
        Ok(Question {
            name: self.owner()?,
            qtype: self.u16()?,
            qclass: self.u16()?,
        })
    }

    fn skip_record(&mut self) -> Result<(), WireError> {
        self.name(&mut Vec::new())?;
        self.take(8)?;
        let len = self.u16()?;
        self.take(len.into())?;
        Ok(())
    }

    fn record(&mut self) -> Result<WireRecord, WireError> {
        let owner = self.owner()?;
        let (rtype, class) = (self.u16()?, self.u16()?);
        let ttl = self.take(4)?;
        let ttl = u32::from_be_bytes([ttl[0], ttl[1], ttl[2], ttl[3]]);
        let len = usize::from(self.u16()?);
        let end = self.at.checked_add(len).ok_or(SHORT)?;
        let mut rdata = Vec::with_capacity(len);
        self.rdata(RecordType::from(rtype), end, &mut rdata)?;
        if self.at != end {
            return Err(WireError("data of another length than it says"));
        }
        Ok(WireRecord { owner, rtype, class, ttl, rdata })
    }

    /// Data up to `end`. Names are uncompressed in those types where they may
    /// be compressed, or once were (RFC 3597 §4).
    fn rdata(
        &mut self,
        rtype: RecordType,
        end: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        let rest = end.checked_sub(self.at).ok_or(SHORT)?;
        match rtype {
            RecordType::NS
            | RecordType::CNAME
            | RecordType::PTR
            | RecordType::DNAME => self.name(out),
            RecordType::MX => self.fixed_then_names(2, 1, out),
            RecordType::SRV => self.fixed_then_names(6, 1, out),
            RecordType::SOA => {
                self.fixed_then_names(0, 2, out)?;
                out.extend_from_slice(self.take(20)?);
                Ok(())
            }
            // MD, MF, MB, MG and MR; MINFO and RP; AFSDB and RT.
            RecordType::Unknown(3 | 4 | 7 | 8 | 9) => self.name(out),
            RecordType::Unknown(14 | 17) => self.fixed_then_names(0, 2, out),
            RecordType::Unknown(18 | 21) => self.fixed_then_names(2, 1, out),
            _ => {
                let data = self.take(rest)?;
                check(rtype, data)?;
                out.extend_from_slice(data);
                Ok(())
            }
        }
    }

    fn fixed_then_names(
        &mut self,
        fixed: usize,
        names: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        out.extend_from_slice(self.take(fixed)?);
        for _ in 0..names {
            self.name(out)?;
        }
        Ok(())
    }
}

/// Data without names must have its type's form: what cannot be read again
/// could not be answered.
fn check(rtype: RecordType, data: &[u8]) -> Result<(), WireError> {
    let good = match rtype {
        RecordType::A => data.len() == 4,
        RecordType::AAAA => data.len() == 16,
        RecordType::TXT => is_text(data),
        _ => {
            let len = u16::try_from(data.len()).map_err(|_| SHORT)?;
            let mut decoder = BinDecoder::new(data);
            RData::read(&mut decoder, rtype, Restrict::new(len)).is_ok()
        }
    };
    good.then_some(()).ok_or(WireError("data that its type does not have"))
}

/// One string of up to 255 bytes or more of them (RFC 1035 §3.3.14).
fn is_text(mut data: &[u8]) -> bool {
    let mut strings = 0;
    while let Some((len, rest)) = data.split_first() {
        let Some((_, rest)) = rest.split_at_checked(usize::from(*len)) else {
            return false;
        };
        data = rest;
        strings += 1;
    }
    strings > 0
}

/// A query for `name`; with the serial in the authority section for IXFR
/// (RFC 1995 §3). Never without one there: an IXFR that lacks it kills CNS.
pub(crate) fn query(
    id: u16,
    opcode: u8,
    name: &WireName,
    rtype: RecordType,
    since: Option<u32>,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    let words =
        [id, u16::from(opcode) << 11, 1, 0, u16::from(since.is_some()), 0];
    bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(&u16::from(rtype).to_be_bytes());
    bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
    if let Some(serial) = since {
        // Owner: the name in the question. Of the data only the serial is
        // read; both names are the root.
        bytes.extend_from_slice(&[0xc0, 0x0c]);
        let soa = u16::from(RecordType::SOA);
        bytes.extend_from_slice(&soa.to_be_bytes());
        bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 22, 0, 0]);
        bytes.extend_from_slice(&serial.to_be_bytes());
        bytes.extend_from_slice(&[0; 16]);
    }
    bytes
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
