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
        Ok(request) => match request.metadata.message_type {
            MessageType::Query => Read::Question(Box::new(request)),
            MessageType::Response => Read::Silence,
        },
        Err(_) => format_error(bytes).map_or(Read::Silence, Read::Malformed),
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
