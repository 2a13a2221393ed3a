// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The general way from a query to its answer, both as bytes, whatever they
//! came by: hickory reads and writes the messages, `front.rs` answers.

use std::net::SocketAddr;

use futures_util::StreamExt;
use hickory_net::runtime::TokioTime;
use hickory_net::xfer::{BufDnsStreamHandle, Protocol};
use hickory_proto::op::MessageType;
use hickory_server::server::{Request, RequestHandler, ResponseHandle};

use super::front::Front;

/// What reading a message came to.
pub(crate) enum Read {
    /// A question, still to be answered.
    Question(Box<Request>),
    /// It is none; this is what its sender gets.
    Malformed([u8; 12]),
    /// A response, or too little to answer: replies might never end.
    Silence,
}

/// Reads a message.
pub(crate) fn read(bytes: &[u8], from: SocketAddr, protocol: Protocol) -> Read {
    match Request::from_bytes(bytes.to_vec(), from, protocol) {
        Ok(request) if is_one_question(bytes) => {
            match request.metadata.message_type {
                MessageType::Query => Read::Question(Box::new(request)),
                MessageType::Response => Read::Silence,
            }
        }
        _ => format_error(bytes).map_or(Read::Silence, Read::Malformed),
    }
}

/// Answers a question, within the limit of one; `None` when the answer cannot
/// be written.
pub(crate) async fn answer(
    front: &Front,
    request: &Request,
) -> Option<Vec<u8>> {
    let from = request.src();
    let (handle, mut encoded) = BufDnsStreamHandle::new(from);
    let handle = ResponseHandle::new(from, handle, request.protocol());
    front.handle_request::<_, TokioTime>(request, handle).await;
    // The handle is gone: what is there is all there will be.
    Some(encoded.next().await?.into_parts().0)
}

/// Whether there is one question, whose name does not go on elsewhere in the
/// message: there is none, and in the answer those bytes would mean another
/// name or nothing. Many questions would not fit the answer that refuses them.
fn is_one_question(query: &[u8]) -> bool {
    let mut at = 12;
    while let Some(len @ 1..=63) = query.get(at) {
        at += 1 + usize::from(*len);
    }
    query.get(4..6) == Some(&[0, 1]) && query.get(at) == Some(&0)
}

/// FORMERR to what has a header at least, and is no response (RFC 1035
/// §4.1.1).
fn format_error(query: &[u8]) -> Option<[u8; 12]> {
    let head: &[u8; 12] = query.first_chunk()?;
    if head[2] & 0x80 != 0 {
        return None;
    }
    let mut refusal = [0; 12];
    refusal[..2].copy_from_slice(&head[..2]);
    // QR; opcode and RD as they came.
    refusal[2] = 0x80 | head[2] & 0x79;
    refusal[3] = 1;
    Some(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by fuzzing `dns_query`: a name that ends in the header, and so
    /// many questions that they fill a datagram.
    #[test]
    fn what_cannot_be_said_again_is_no_question() {
        let asked = |count: u8, name: &[u8]| {
            let head = [0, 0, 0, 0, 0, count, 0, 0, 0, 0, 0, 0];
            is_one_question(&[&head[..], name, b"\0\x01\0\x01"].concat())
        };
        assert!(asked(1, b"\x01a\0"));
        assert!(asked(1, b"\0"));
        assert!(!asked(1, b"\x01a\xc0\x03"));
        assert!(!asked(1, b"\x3fa"));
        assert!(!asked(0, b""));
        assert!(!asked(41, b"\x01a\0"));
    }
}
