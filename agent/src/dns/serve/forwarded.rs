// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The short way for names that others answer: a kept answer is copied and
//! patched, as bytes. Whatever is not in a cache, or not fresh, or would not
//! fit, takes the general way.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use crate::dns::exchange::UDP_PAYLOAD;
use crate::dns::forward::ForwardPool;

/// The longest name, and a type.
const QUESTION: usize = 255 + 2;
/// Without EDNS an answer over UDP has this many bytes (RFC 1035 §4.2.1).
const PLAIN_LIMIT: usize = 512;

/// A plain query that `fast.rs` has read.
pub(crate) struct Asked<'q> {
    /// All of it.
    pub(crate) query: &'q [u8],
    /// Its name, in lower case, root label included.
    pub(crate) name: &'q [u8],
    pub(crate) rtype: RecordType,
    /// Size the asker takes and whether it set DO, if it speaks EDNS.
    pub(crate) edns: Option<(usize, bool)>,
}

/// Appends what `pool` has kept to `out`. `None`: the general way must be
/// taken, and what was appended is not to be used.
///
/// `stream`: no limit but that of a message.
pub(crate) fn answer(
    asked: &Asked<'_>,
    stream: bool,
    pool: &ForwardPool,
    out: &mut Vec<u8>,
) -> Option<ResponseCode> {
    // Others are asked only for those who want it (RD).
    if asked.query.get(2)? & 1 == 0 {
        return None;
    }
    let mut question = [0; QUESTION];
    let len = asked.name.len();
    question.get_mut(..len)?.copy_from_slice(asked.name);
    let rtype = u16::from(asked.rtype).to_be_bytes();
    question.get_mut(len..len + 2)?.copy_from_slice(&rtype);
    let begin = out.len();
    let rcode = pool.cached(asked.query, &question[..len + 2], out)?;
    if let Some((_, dnssec_ok)) = asked.edns {
        append_opt(out, begin, dnssec_ok)?;
    }
    let limit = match (stream, asked.edns) {
        (true, _) => usize::from(u16::MAX),
        (false, None) => PLAIN_LIMIT,
        (false, Some((size, _))) => size.clamp(PLAIN_LIMIT, UDP_PAYLOAD.into()),
    };
    if out.len() - begin > limit {
        return None;
    }
    pool.tally.count(asked.rtype, rcode);
    Some(rcode)
}

/// Our own OPT (RFC 6891 §6.1.2): root, type, the size we take, no extended
/// code, version 0, DO as asked, no options.
fn append_opt(out: &mut Vec<u8>, begin: usize, dnssec_ok: bool) -> Option<()> {
    let counted: &mut [u8; 2] = out.get_mut(begin + 10..)?.first_chunk_mut()?;
    let count = u16::from_be_bytes(*counted).checked_add(1)?;
    *counted = count.to_be_bytes();
    let [size_high, size_low] = UDP_PAYLOAD.to_be_bytes();
    let flags = if dnssec_ok { 0x80 } else { 0 };
    out.extend_from_slice(&[0, 0, 41, size_high, size_low]);
    out.extend_from_slice(&[0, 0, flags, 0, 0, 0]);
    Some(())
}

#[cfg(test)]
#[path = "forwarded_tests.rs"]
mod tests;
