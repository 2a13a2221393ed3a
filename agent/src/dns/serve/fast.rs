// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The short way from a query to its answer, both as bytes: for plain questions
//! about names in a zone that we hold, which is nearly all that a monitor asks.
//! No message is taken apart into records, nothing is allocated but the answer.
//!
//! What is not plain (aliases, SRV with its addresses, options, odd headers,
//! answers that do not fit) takes the general way through `front.rs`; so does
//! whatever this file is not sure of. Both must answer alike: a test puts the
//! same questions to both.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use super::answer::from_wildcard;
use super::forwarded::{self, Asked};
use crate::dns::catalog::Catalog;
use crate::dns::counters::Counters;
use crate::dns::exchange::UDP_PAYLOAD;
use crate::dns::forward::ForwardPool;
use crate::dns::names::suffixes;
use crate::dns::store::ZoneVersion;
use crate::dns::store::rrset::RrSet;

/// Bytes of a message's header (RFC 1035 §4.1.1).
const HEAD: usize = 12;
/// Where a name may be said to begin again: the question's.
const POINTER: u16 = 0xc000;
/// Without EDNS an answer over UDP has this many bytes (RFC 1035 §4.2.1).
const PLAIN_LIMIT: usize = 512;
/// Our own OPT record but for its flags (RFC 6891 §6.1.2): root, type, the
/// size we take, no extended code, version 0.
const OPT: u16 = 41;

/// A question that this file understands.
struct Plain<'q> {
    query: &'q [u8],
    /// The name in lower case.
    name: [u8; 255],
    name_len: usize,
    rtype: RecordType,
    /// Size the asker takes and whether it set DO, if it speaks EDNS.
    edns: Option<(usize, bool)>,
}

/// Writes the answer to `query` into `out` and counts it. `false`: the general
/// way must be taken, and `out` is not to be used.
///
/// `stream`: no limit but that of a message.
pub(crate) fn answer(
    query: &[u8],
    stream: bool,
    catalog: &Catalog,
    counters: &Counters,
    out: &mut Vec<u8>,
) -> bool {
    let Some(plain) = Plain::read(query) else { return false };
    let (rcode, source) = match owner(catalog, plain.name()) {
        Some(Owner::Zone(version)) => {
            let rcode = try_answer(&plain, stream, &version, out);
            (rcode, &counters.from_zone)
        }
        Some(Owner::Forward(pool)) => {
            (plain.kept(stream, pool, out), &counters.from_forward)
        }
        None => return false,
    };
    let Some(rcode) = rcode else { return false };
    source.fetch_add(1, Ordering::Relaxed);
    counters.answered(rcode);
    true
}

/// Who answers a name.
enum Owner<'c> {
    Zone(Arc<ZoneVersion>),
    Forward(&'c ForwardPool),
}

fn owner<'c>(catalog: &'c Catalog, name: &[u8]) -> Option<Owner<'c>> {
    if is_special(name) {
        return None;
    }
    suffixes(name).find_map(|suffix| {
        match (catalog.zones.get(suffix), catalog.forwards.get(suffix)) {
            (Some(zone), _) => Some(zone.cell.version().map(Owner::Zone)),
            (None, Some(pool)) => Some(Some(Owner::Forward(pool))),
            (None, None) => None,
        }
    })?
}

fn try_answer(
    plain: &Plain<'_>,
    stream: bool,
    version: &ZoneVersion,
    out: &mut Vec<u8>,
) -> Option<ResponseCode> {
    let name = plain.name();
    let node = version.node(name).or_else(|| from_wildcard(version, name));
    let set = node.and_then(|node| node.set(plain.rtype));
    let rcode = match node {
        Some(node) => {
            if set.is_none() && node.set(RecordType::CNAME).is_some() {
                return None;
            }
            ResponseCode::NoError
        }
        None => ResponseCode::NXDomain,
    };
    plain.write(rcode, set, version, out)?;
    let limit = match (stream, plain.edns) {
        (true, _) => usize::from(u16::MAX),
        (false, None) => PLAIN_LIMIT,
        (false, Some((size, _))) => size.clamp(PLAIN_LIMIT, UDP_PAYLOAD.into()),
    };
    (out.len() <= limit).then_some(rcode)
}

/// Names that rules answer before any zone does (`local.rs`).
fn is_special(name: &[u8]) -> bool {
    name.ends_with(b"\x09localhost\0")
        || name.ends_with(b"\x03127\x07in-addr\x04arpa\0")
        || name.ends_with(b"\x03ip6\x04arpa\0")
}

impl<'q> Plain<'q> {
    /// `None` for all but a standard query with one question of class IN, for
    /// a type whose answer needs nothing but its set, with a bare OPT at most.
    fn read(query: &'q [u8]) -> Option<Self> {
        let head: &[u8; HEAD] = query.first_chunk()?;
        // All flags but RD, AD and CD, and the opcode, are zero.
        let counts = &head[4..10];
        if head[2] & 0xfe != 0
            || head[3] & 0xcf != 0
            || counts != [0, 1, 0, 0, 0, 0]
        {
            return None;
        }
        let mut name = [0; 255];
        let mut at = HEAD;
        loop {
            let len = usize::from(*query.get(at)?);
            let from = at - HEAD;
            if len > 63 || from + len + 1 > name.len() {
                return None;
            }
            let label = query.get(at..at + 1 + len)?;
            for (to, byte) in name[from..].iter_mut().zip(label) {
                // A length is below every letter.
                *to = byte.to_ascii_lowercase();
            }
            at += 1 + len;
            if len == 0 {
                break;
            }
        }
        let name_len = at - HEAD;
        let [type_high, type_low, 0, 1] = *query.get(at..at + 4)? else {
            return None;
        };
        let rtype = u16::from_be_bytes([type_high, type_low]);
        // 128 and above: meta types, and some that nobody asks for.
        let is_plain = !matches!(rtype, 0 | 33 | OPT | 128..);
        let edns = match head[10..] {
            [0, 0] => None,
            [0, 1] => Some(bare_opt(query.get(at + 4..)?)?),
            _ => return None,
        };
        let end = at + 4 + if edns.is_some() { 11 } else { 0 };
        (is_plain && end == query.len()).then(|| Self {
            query,
            name,
            name_len,
            rtype: RecordType::from(rtype),
            edns,
        })
    }

    fn name(&self) -> &[u8] {
        &self.name[..self.name_len]
    }

    /// What others said, if it is kept.
    fn kept(
        &self,
        stream: bool,
        pool: &ForwardPool,
        out: &mut Vec<u8>,
    ) -> Option<ResponseCode> {
        out.clear();
        let (query, name) = (self.query, self.name());
        let (rtype, edns) = (self.rtype, self.edns);
        let asked = Asked { query, name, rtype, edns };
        forwarded::answer(&asked, stream, pool, out)
    }

    fn write(
        &self,
        rcode: ResponseCode,
        set: Option<RrSet<'_>>,
        version: &ZoneVersion,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        out.clear();
        out.extend_from_slice(&self.query[..2]);
        // QR and AA, RD as asked; RA, CD as asked, the code.
        out.push(0x84 | self.query[2] & 1);
        out.push(0x80 | self.query[3] & 0x10 | rcode.low());
        out.extend_from_slice(&[0, 1]);
        // The counts, once they are known.
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&self.query[HEAD..HEAD + self.name_len + 4]);
        let (mut answers, mut authorities) = (0_u16, 0_u16);
        match set {
            Some(set) => {
                for rdata in set.rdata() {
                    let owner = POINTER | 12;
                    record(out, owner, self.rtype, set.ttl, rdata)?;
                    answers = answers.checked_add(1)?;
                }
            }
            None => {
                let (ttl, soa) = version.negative_soa_wire()?;
                let apex = self.name_len - version.apex.as_bytes().len();
                let owner = POINTER | u16::try_from(HEAD + apex).ok()?;
                record(out, owner, RecordType::SOA, ttl, soa)?;
                authorities = 1;
            }
        }
        out[6..8].copy_from_slice(&answers.to_be_bytes());
        out[8..10].copy_from_slice(&authorities.to_be_bytes());
        if let Some((_, dnssec_ok)) = self.edns {
            let [size_high, size_low] = UDP_PAYLOAD.to_be_bytes();
            let flags = if dnssec_ok { 0x80 } else { 0 };
            out[11] = 1;
            out.extend_from_slice(&[0, 0, 41, size_high, size_low]);
            out.extend_from_slice(&[0, 0, flags, 0, 0, 0]);
        }
        Some(())
    }
}

fn record(
    out: &mut Vec<u8>,
    owner: u16,
    rtype: RecordType,
    ttl: u32,
    rdata: &[u8],
) -> Option<()> {
    out.extend_from_slice(&owner.to_be_bytes());
    out.extend_from_slice(&u16::from(rtype).to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(&ttl.to_be_bytes());
    out.extend_from_slice(&u16::try_from(rdata.len()).ok()?.to_be_bytes());
    out.extend_from_slice(rdata);
    Some(())
}

/// An OPT of version 0 without options: the size taken, and DO.
fn bare_opt(record: &[u8]) -> Option<(usize, bool)> {
    let [0, 0, 41, high, low, 0, 0, flags, 0, 0, 0] = *record else {
        return None;
    };
    let size = usize::from(u16::from_be_bytes([high, low]));
    (flags & 0x7f == 0).then_some((size, flags & 0x80 != 0))
}

#[cfg(test)]
#[path = "fast_tests.rs"]
mod tests;
