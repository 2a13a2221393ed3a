// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What is asked of a primary, on sockets: the zone's serial, the zone. What
//! comes back is read in `wire.rs` and judged in `incoming.rs`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::incoming::{Ask, Incoming, Progress, Receiver, Refusal};
use super::tsig::{self, Verifier};
use super::wire::{self, Header, WireError, WireMessage, WireRecord};
use crate::dns::error::DnsError;
use crate::dns::exchange;
use crate::dns::names::WireName;
use crate::dns::store::{Serial, ZoneLimits};
use crate::model::primary::{Primary, TsigKey};

/// Bytes read from a connection at once: one message.
const READ_AHEAD: usize = 1 << 16;

/// Time limits of a transfer.
#[derive(Clone, Copy, Debug)]
pub struct TransferLimits {
    /// From connect to the closing SOA.
    pub whole: Duration,
    /// To connect, and between two messages.
    pub idle: Duration,
}

impl Default for TransferLimits {
    /// CNS sends 15,000 records in 0.4 s; a million over a slow link fits.
    fn default() -> Self {
        Self { whole: Duration::from_secs(300), idle: Duration::from_secs(15) }
    }
}

/// One zone at one primary.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) server: SocketAddr,
    pub(crate) source: Option<IpAddr>,
    pub(crate) key: Option<Arc<TsigKey>>,
    pub(crate) apex: WireName,
}

impl Target {
    /// `source`: the NIC's address, for primaries that know us by it.
    pub(crate) fn new(
        primary: &Primary,
        source: Option<IpAddr>,
        apex: &WireName,
    ) -> Self {
        Self {
            server: primary.address,
            source: source.filter(|_| primary.from_nic),
            key: primary.key.clone(),
            apex: apex.clone(),
        }
    }

    /// Asks for the zone's serial within `limit`. AA and RA are not looked
    /// at: CNS sets neither at an apex.
    ///
    /// Errors: `Network`, `Silent`, `Message`, `Rcode`, `Signature`.
    pub(crate) async fn serial(
        &self,
        limit: Duration,
    ) -> Result<Serial, DnsError> {
        let server = self.server;
        timeout(limit, self.ask_serial())
            .await
            .map_err(|_| DnsError::Silent { server, limit })?
    }

    async fn ask_serial(&self) -> Result<Serial, DnsError> {
        let server = self.server;
        let network = |source| DnsError::Network { server, source };
        let id = exchange::random_id();
        let (query, mut verifier) = self.query(id, RecordType::SOA, None)?;
        let socket = exchange::connect_udp(server, self.source).await?;
        socket.send(&query).await.map_err(network)?;
        let mut buffer = vec![0; 4096];
        let head = loop {
            let len = socket.recv(&mut buffer).await.map_err(network)?;
            // Not ours: a late or forged datagram. Keep waiting.
            if let Ok(head) = Header::read(&buffer[..len])
                && head.id == id
                && head.is_response()
            {
                buffer.truncate(len);
                break head;
            }
        };
        if head.is_truncated() {
            let (query, again) = self.query(id, RecordType::SOA, None)?;
            verifier = again;
            let mut stream = exchange::connect(server, self.source).await?;
            exchange::send_bytes(server, &mut stream, &query).await?;
            exchange::receive_bytes(server, &mut stream, &mut buffer).await?;
        }
        if let Some(verifier) = &mut verifier {
            self.check(verifier, &buffer)?;
        }
        self.read_serial(id, &buffer)
    }

    fn read_serial(&self, id: u16, bytes: &[u8]) -> Result<Serial, DnsError> {
        let message =
            WireMessage::read(bytes).map_err(|e| self.unreadable(e))?;
        let says =
            |rcode: String| DnsError::Rcode { server: self.server, rcode };
        let asked = u16::from(RecordType::SOA);
        let other = message
            .questions
            .iter()
            .any(|q| q.name != self.apex || q.qtype != asked);
        if message.header.id != id || other {
            let foreign = WireError("the reply belongs to another question");
            return Err(self.unreadable(foreign));
        }
        if message.header.rcode() != 0 {
            return Err(says(rcode_text(message.header.rcode())));
        }
        message
            .answers
            .iter()
            .find(|record| record.is_soa_of(&self.apex))
            .and_then(WireRecord::soa_serial)
            .map(Serial)
            .ok_or_else(|| says("no SOA".to_owned()))
    }

    /// Transfers the zone or what has changed in it.
    ///
    /// Errors: `Network`, `Silent`, `Message`, `Rcode`, `NotAllowed`,
    /// `Transfer`, `Differences`, `Signature`.
    pub(crate) async fn transfer(
        &self,
        ask: Ask,
        limits: ZoneLimits,
        times: TransferLimits,
    ) -> Result<Incoming, DnsError> {
        let server = self.server;
        let receiving = self.receive(ask, limits, times.idle);
        timeout(times.whole, receiving)
            .await
            .map_err(|_| DnsError::Silent { server, limit: times.whole })?
    }

    async fn receive(
        &self,
        ask: Ask,
        limits: ZoneLimits,
        idle: Duration,
    ) -> Result<Incoming, DnsError> {
        let server = self.server;
        let silent = |_| DnsError::Silent { server, limit: idle };
        let id = exchange::random_id();
        let since = match ask {
            Ask::Full => None,
            Ask::Since(serial) => Some(serial.0),
        };
        let (query, mut verifier) = self.query(id, ask.rtype(), since)?;
        let mut stream =
            timeout(idle, self.open(&query)).await.map_err(silent)??;
        let mut receiver = Receiver::new(self.apex.clone(), id, ask, limits);
        let mut buffer = Vec::new();
        loop {
            let receiving =
                exchange::receive_bytes(server, &mut stream, &mut buffer);
            timeout(idle, receiving).await.map_err(silent)??;
            if let Some(verifier) = &mut verifier {
                self.check(verifier, &buffer)?;
            }
            let message =
                WireMessage::read(&buffer).map_err(|e| self.unreadable(e))?;
            let progress =
                receiver.take(message).map_err(|e| self.refusal(e))?;
            if progress == Progress::Complete {
                break;
            }
        }
        if let Some(verifier) = &verifier {
            verifier.finish().map_err(|error| self.signature(error))?;
        }
        receiver.finish().map_err(|error| self.refusal(error))
    }

    async fn open(
        &self,
        query: &[u8],
    ) -> Result<BufReader<TcpStream>, DnsError> {
        let mut stream = exchange::connect(self.server, self.source).await?;
        exchange::send_bytes(self.server, &mut stream, query).await?;
        Ok(BufReader::with_capacity(READ_AHEAD, stream))
    }

    /// A query, signed where the primary has a key.
    fn query(
        &self,
        id: u16,
        rtype: RecordType,
        since: Option<u32>,
    ) -> Result<(Vec<u8>, Option<Verifier>), DnsError> {
        let mut query = wire::query(id, 0, &self.apex, rtype, since);
        let verifier = match &self.key {
            None => None,
            Some(key) => Some(
                tsig::sign(key, &mut query, unix_time())
                    .map_err(|error| self.unreadable(error))?,
            ),
        };
        Ok((query, verifier))
    }

    fn check(
        &self,
        verifier: &mut Verifier,
        message: &[u8],
    ) -> Result<(), DnsError> {
        verifier
            .take(message, unix_time())
            .map_err(|error| self.signature(error))
    }

    fn signature(&self, error: tsig::TsigError) -> DnsError {
        DnsError::Signature { server: self.server, source: error.into() }
    }

    fn unreadable(&self, error: WireError) -> DnsError {
        DnsError::Message { server: self.server, source: error.into() }
    }

    fn refusal(&self, refusal: Refusal) -> DnsError {
        let server = self.server;
        match refusal {
            Refusal::NotAllowed => DnsError::NotAllowed { server },
            Refusal::Rcode(code) => {
                DnsError::Rcode { server, rcode: rcode_text(code) }
            }
            Refusal::Broken(reason) => {
                DnsError::Transfer { server, reason: reason.to_owned() }
            }
            Refusal::Odd(reason) => {
                DnsError::Differences { server, reason: reason.to_owned() }
            }
            Refusal::Limit(error) => {
                DnsError::Transfer { server, reason: error.to_string() }
            }
        }
    }
}

fn rcode_text(code: u8) -> String {
    ResponseCode::from(0, code).to_string()
}

/// What both ends of a signature must agree on.
pub(crate) fn unix_time() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
