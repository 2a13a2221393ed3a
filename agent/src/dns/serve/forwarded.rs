// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The short way for names that others answer: a kept answer is copied and
//! patched, as bytes. Whatever is not in a cache, or not fresh, or would not
//! fit, takes the general way.

use hickory_proto::op::ResponseCode;

use super::plain::Plain;
use crate::dns::forward::ForwardPool;

/// The longest name, and a type.
const QUESTION: usize = 255 + 2;

/// Appends what `pool` has kept to `out`. `None`: the general way must be
/// taken, and what was appended is not to be used.
///
/// `stream`: no limit but that of a message.
pub(crate) fn answer(
    query: &[u8],
    plain: &Plain<'_>,
    stream: bool,
    pool: &ForwardPool,
    out: &mut Vec<u8>,
) -> Option<ResponseCode> {
    // Others are asked only for those who want it (RD).
    if query.get(2)? & 1 == 0 {
        return None;
    }
    let mut question = [0; QUESTION];
    let name = plain.name.as_bytes();
    let len = name.len();
    question.get_mut(..len)?.copy_from_slice(name);
    let rtype = u16::from(plain.rtype).to_be_bytes();
    question.get_mut(len..len + 2)?.copy_from_slice(&rtype);
    let begin = out.len();
    let rcode = pool.cached(query, &question[..len + 2], out)?;
    if let Some(opt) = plain.opt() {
        let counted: &mut [u8; 2] =
            out.get_mut(begin + 10..)?.first_chunk_mut()?;
        let count = u16::from_be_bytes(*counted).checked_add(1)?;
        *counted = count.to_be_bytes();
        out.extend_from_slice(&opt);
    }
    if out.len() - begin > plain.limit(stream) {
        return None;
    }
    pool.tally.count(plain.rtype, rcode);
    Some(rcode)
}

#[cfg(test)]
#[path = "forwarded_tests.rs"]
mod tests;
