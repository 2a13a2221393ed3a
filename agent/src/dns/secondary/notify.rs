// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What primaries may say to us on the zone's own NIC: NOTIFY (RFC 1996), and
//! the SOA question by which CNS finds out, 2 s after a transfer, that the
//! address it went to is a secondary. From the primaries' addresses alone;
//! everyone else is REFUSED. Decides; `doorstep.rs` has the sockets.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hickory_proto::rr::RecordType;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::fetch::unix_time;
use super::tsig;
use super::wire::{CLASS_IN, Header, Question, one_question};
use crate::dns::catalog::{Catalog, ZoneEntry};
use crate::dns::names::WireName;
use crate::dns::seldom::Seldom;
use crate::dns::serve::resolve::Names;
use crate::dns::store::ZoneVersion;
use crate::model::primary::Primary;

const QUERY: u8 = 0;
const NOTIFY: u8 = 4;
const CLASS_CHAOS: u16 = 3;

const SERVFAIL: u8 = 2;
const NOTIMP: u8 = 4;
const REFUSED: u8 = 5;
const NOTAUTH: u8 = 9;

/// Flags AA and RD.
const AA: u16 = 0x0400;
const RD: u16 = 0x0100;

/// Answers messages that come to the NIC's address.
pub(crate) struct Door {
    names: Arc<Names>,
    strangers: Seldom,
    forgers: Seldom,
}

/// What an answer says besides the question.
#[derive(Default)]
struct Saying {
    rcode: u8,
    is_authoritative: bool,
    /// One record without its owner, which is the question's name.
    record: Vec<u8>,
    /// MAC of a signed request: the answer is signed, too.
    signed: Option<(Primary, Vec<u8>)>,
}

fn code(rcode: u8) -> Saying {
    Saying { rcode, ..Saying::default() }
}

impl Door {
    pub(crate) fn new(names: Arc<Names>) -> Self {
        Self { names, strangers: Seldom::default(), forgers: Seldom::default() }
    }

    /// Whether any zone has a primary at this address.
    pub(crate) fn knows(&self, from: IpAddr) -> bool {
        let is_from = |zone: &ZoneEntry| primary(zone, from).is_some();
        self.names.catalog().zones.values().any(is_from)
    }

    /// Counts a stranger, and says so now and then.
    pub(crate) fn turned_away(&self, from: IpAddr) {
        let counter = &self.names.counters.notifies_refused;
        counter.fetch_add(1, Ordering::Relaxed);
        if let Some(more) = self.strangers.pass(Instant::now()) {
            info!(%from, more, "a stranger asks at the zone's own address");
        }
    }

    /// The answer to a message; `None` to what is none, or a response.
    pub(crate) fn answer(&self, bytes: &[u8], from: IpAddr) -> Option<Vec<u8>> {
        let head = Header::read(bytes).ok()?;
        if head.is_response() {
            return None;
        }
        let (question, asked) = one_question(bytes).ok()?;
        let saying = self.decide(bytes, &head, &question, from);
        let mut answer = write(&head, asked, &saying);
        if let Some((primary, mac)) = &saying.signed
            && let Some(key) = &primary.key
        {
            tsig::sign_response(key, mac, &mut answer, unix_time()).ok()?;
        }
        Some(answer)
    }

    fn decide(
        &self,
        bytes: &[u8],
        head: &Header,
        question: &Question,
        from: IpAddr,
    ) -> Saying {
        if !self.knows(from) {
            self.turned_away(from);
            return code(REFUSED);
        }
        let catalog = self.names.catalog();
        match (head.opcode(), question.qclass, question.qtype()) {
            (NOTIFY, CLASS_IN, RecordType::SOA) => {
                self.notify(&catalog, bytes, question, from)
            }
            (QUERY, CLASS_IN, RecordType::SOA) => soa(&catalog, question, from),
            (QUERY, CLASS_CHAOS, RecordType::TXT) => version(&question.name),
            (QUERY | NOTIFY, ..) => code(REFUSED),
            _ => code(NOTIMP),
        }
    }

    /// Wakes the zone. A SOA in the message is a hint that we do not need.
    fn notify(
        &self,
        catalog: &Catalog,
        bytes: &[u8],
        question: &Question,
        from: IpAddr,
    ) -> Saying {
        let Some(zone) = catalog.zones.get(&question.name) else {
            return code(NOTAUTH);
        };
        let Some(primary) = primary(zone, from) else {
            self.turned_away(from);
            return code(REFUSED);
        };
        let signed = match self.signature(&primary, bytes) {
            Ok(mac) => mac.map(|mac| (primary, mac)),
            Err(saying) => return saying,
        };
        debug!(zone = %zone.cell.name, %from, "NOTIFY");
        self.names.counters.notifies.fetch_add(1, Ordering::Relaxed);
        zone.cell.wake.notify_one();
        Saying { is_authoritative: true, signed, ..Saying::default() }
    }

    /// A NOTIFY need not be signed: all it can do is make us ask. One that is
    /// must be signed well.
    fn signature(
        &self,
        primary: &Primary,
        bytes: &[u8],
    ) -> Result<Option<Vec<u8>>, Saying> {
        let Some(key) = &primary.key else { return Ok(None) };
        tsig::verify_request(key, bytes, unix_time()).map_err(|error| {
            if let Some(more) = self.forgers.pass(Instant::now()) {
                let from = primary.address;
                let why = error.to_string();
                warn!(%from, more, err.message = why, "NOTIFY badly signed");
            }
            code(NOTAUTH)
        })
    }
}

/// The zone's primary at this address.
fn primary(zone: &ZoneEntry, from: IpAddr) -> Option<Primary> {
    let listed = zone.cell.primaries.borrow();
    listed.iter().find(|primary| primary.ip() == from).cloned()
}

/// Our SOA as its primary gave it to us.
fn soa(catalog: &Catalog, question: &Question, from: IpAddr) -> Saying {
    let zone = catalog
        .zones
        .get(&question.name)
        .filter(|zone| primary(zone, from).is_some());
    let Some(zone) = zone else { return code(REFUSED) };
    match zone.cell.held().and_then(|held| soa_of(&held)) {
        Some(record) => {
            Saying { is_authoritative: true, record, ..Saying::default() }
        }
        None => code(SERVFAIL),
    }
}

fn soa_of(version: &ZoneVersion) -> Option<Vec<u8>> {
    let sets = version.node(version.apex.as_bytes())?;
    let set = sets.iter().find(|set| set.rtype == RecordType::SOA)?;
    let rdata = set.rdata().next()?;
    Some(record(RecordType::SOA, CLASS_IN, set.ttl, rdata))
}

/// `version.server`: how CNS lists its secondaries.
fn version(name: &WireName) -> Saying {
    if !matches!(name.to_string().as_str(), "version.server." | "version.bind.")
    {
        return code(REFUSED);
    }
    let text = concat!("config-agent ", env!("CARGO_PKG_VERSION"));
    let mut rdata = vec![u8::try_from(text.len()).unwrap_or_default()];
    rdata.extend_from_slice(text.as_bytes());
    let record = record(RecordType::TXT, CLASS_CHAOS, 0, &rdata);
    Saying { is_authoritative: true, record, ..Saying::default() }
}

/// A record without its owner.
fn record(rtype: RecordType, class: u16, ttl: u32, rdata: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(10 + rdata.len());
    bytes.extend_from_slice(&u16::from(rtype).to_be_bytes());
    bytes.extend_from_slice(&class.to_be_bytes());
    bytes.extend_from_slice(&ttl.to_be_bytes());
    let len = u16::try_from(rdata.len()).unwrap_or_default();
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(rdata);
    bytes
}

/// `asked`: the question's bytes, repeated as they came.
fn write(head: &Header, asked: &[u8], saying: &Saying) -> Vec<u8> {
    let authoritative = if saying.is_authoritative { AA } else { 0 };
    let flags = 0x8000
        | u16::from(head.opcode()) << 11
        | authoritative
        | head.flags() & RD
        | u16::from(saying.rcode);
    let answers = u16::from(!saying.record.is_empty());
    let mut bytes = Vec::with_capacity(128);
    for word in [head.id, flags, 1, answers, 0, 0] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.extend_from_slice(asked);
    if !saying.record.is_empty() {
        // The owner is the name in the question.
        bytes.extend_from_slice(&[0xc0, 0x0c]);
        bytes.extend_from_slice(&saying.record);
    }
    bytes
}

#[cfg(test)]
#[path = "notify_tests.rs"]
mod tests;
