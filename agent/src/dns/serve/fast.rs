// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The short way from a query to its answer, both as bytes: for plain questions
//! about names in a zone that we hold, which is nearly all that a monitor asks.
//! No message is taken apart into records, nothing is allocated but the answer.
//!
//! What is not plain (odd headers, long chains of aliases, names that are
//! forwarded, answers that do not fit) takes the general way through
//! `front.rs`; so does whatever this file is not sure of. Both must answer
//! alike: a test puts the same questions to both. They differ in how names are
//! compressed (here every owner is a pointer, so a little more fits into a
//! datagram), and in the spelling of a SOA's owner, here the question's.

use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use super::answer::from_wildcard;
use super::cut;
use super::forwarded;
use super::plain::{LowerName, Plain};
use super::reply::{ASKED, Place, Reply, Section};
use super::resolve::Names;
use crate::dns::catalog::{Catalog, ZoneEntry};
use crate::dns::forward::ForwardPool;
use crate::dns::names::suffixes;
use crate::dns::store::ZoneVersion;
use crate::dns::store::rrset::RrSet;
use crate::dns::tally::Began;

/// Aliases followed here; longer chains and loops go the general way.
const ALIASES: usize = 4;
/// Records of a SRV set here; the general way finds doubles among more.
const SERVICES: usize = 16;
/// Bytes before the target in the rdata of a SRV (RFC 2782).
const SRV_TARGET: usize = 6;

/// The short way, with the catalog it last saw.
pub(crate) struct Fast {
    names: Arc<Names>,
    catalog: Arc<Catalog>,
    lengths: Lengths,
}

impl Fast {
    pub(crate) fn new(names: Arc<Names>) -> Self {
        let catalog = names.catalog();
        let lengths = Lengths::of(&catalog);
        Self { names, catalog, lengths }
    }

    /// Takes the catalog in force; to be called once for what arrived
    /// together.
    pub(crate) fn refresh(&mut self) {
        let catalog = self.names.catalog();
        if !Arc::ptr_eq(&catalog, &self.catalog) {
            self.lengths = Lengths::of(&catalog);
            self.catalog = catalog;
        }
    }

    /// Appends the answer to `query` to `out` and counts it. `false`: the
    /// general way must be taken, and `out` is as it was.
    ///
    /// `stream`: no limit but that of a message.
    pub(crate) fn answer(
        &self,
        query: &[u8],
        stream: bool,
        out: &mut Vec<u8>,
    ) -> bool {
        let (begin, began) = (out.len(), Began::seldom(query));
        let Some(plain) = Plain::read(query) else { return false };
        let is_address =
            matches!(plain.rtype, RecordType::A | RecordType::AAAA);
        if self.catalog.round_robin && is_address {
            // Whose turn it is, the general way knows.
            return false;
        }
        let times = &self.names.counters;
        let answered = match self.owner(plain.name.as_bytes()) {
            Some(Owner::Zone(zone)) => self
                .try_answer(&plain, zone, stream, out)
                .map(|()| &times.own_times),
            Some(Owner::Forward(pool)) => {
                forwarded::answer(query, &plain, stream, pool, out)
                    .map(|_| &times.forward_times)
            }
            None => None,
        };
        match answered {
            Some(times) => times.ended(began),
            None => out.truncate(begin),
        }
        answered.is_some()
    }

    /// A question is counted with `asked`, the zone of its own name, wherever
    /// aliases lead.
    fn try_answer(
        &self,
        plain: &Plain<'_>,
        asked: &ZoneEntry,
        stream: bool,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let mut reply = Reply::begin(plain, stream, out);
        let (mut zone, mut alias, mut place) = (asked, None, ASKED);
        for _ in 0..=ALIASES {
            let name = alias.as_ref().unwrap_or(&plain.name);
            let version = zone.cell.version()?;
            match step(&version, name, place, plain.rtype, &mut reply)? {
                Step::Done(rcode) => {
                    reply.finish(rcode)?;
                    asked.cell.tally.count(plain.rtype, rcode);
                    return Some(());
                }
                Step::Alias(target, at) => {
                    let owner = self.owner(target.as_bytes())?;
                    let Owner::Zone(next) = owner else { return None };
                    (zone, alias, place) = (next, Some(target), at);
                }
            }
        }
        None
    }

    /// Who answers a name; `None` when nobody does, or rules have a say.
    fn owner(&self, name: &[u8]) -> Option<Owner<'_>> {
        let synthetic = self.catalog.synthetic.as_ref();
        if is_special(name) || synthetic.is_some_and(|zone| zone.may_hold(name))
        {
            return None;
        }
        let Catalog { zones, forwards, .. } = &*self.catalog;
        suffixes(name).filter(|suffix| self.lengths.has(suffix)).find_map(
            |suffix| match (zones.get(suffix), forwards.get(suffix)) {
                (Some(zone), _) => Some(Owner::Zone(zone)),
                (None, Some(pool)) => Some(Owner::Forward(pool)),
                (None, None) => None,
            },
        )
    }
}

enum Owner<'c> {
    Zone(&'c ZoneEntry),
    Forward(&'c ForwardPool),
}

/// Names that rules answer before any zone does (`local.rs`).
fn is_special(name: &[u8]) -> bool {
    name.ends_with(b"\x09localhost\0")
        || name.ends_with(b"\x03127\x07in-addr\x04arpa\0")
        || name.ends_with(b"\x03ip6\x04arpa\0")
}

/// Which lengths the names of zones have: a name of another length need not
/// be looked for.
struct Lengths([u64; 4]);

impl Lengths {
    fn of(catalog: &Catalog) -> Self {
        let mut bits = [0; 4];
        for suffix in catalog.zones.keys().chain(catalog.forwards.keys()) {
            let len = suffix.as_bytes().len();
            bits[len / 64 % 4] |= 1 << (len % 64);
        }
        Self(bits)
    }

    fn has(&self, suffix: &[u8]) -> bool {
        let len = suffix.len();
        self.0[len / 64 % 4] & 1 << (len % 64) != 0
    }
}

#[expect(clippy::large_enum_variant, reason = "one, on the stack")]
enum Step {
    Done(ResponseCode),
    /// The name to go on with, and where it stands in the reply.
    Alias(LowerName, Place),
}

/// What one zone says about one name; `from_zone` of `answer.rs` in bytes.
fn step(
    version: &ZoneVersion,
    name: &LowerName,
    place: Place,
    rtype: RecordType,
    reply: &mut Reply<'_>,
) -> Option<Step> {
    let key = name.as_bytes();
    if cut::may_be_behind(version, key) {
        // Whether the name is this zone's at all, the general way knows.
        return None;
    }
    let node = version.node(key).or_else(|| from_wildcard(version, key));
    let Some(node) = node else {
        negative(version, key, place, reply)?;
        return Some(Step::Done(ResponseCode::NXDomain));
    };
    if let Some(set) = node.set(rtype) {
        if rtype == RecordType::SRV {
            services(version, set, place, reply)?;
        } else {
            records(Section::Answer, set, place, reply)?;
        }
    } else if let Some(set) = node.set(RecordType::CNAME) {
        // Of two at one name the first counts.
        let rdata = set.rdata().next()?;
        let section = Section::Answer;
        let at = reply.record(section, place, set.rtype, set.ttl, rdata)?;
        return Some(Step::Alias(whole_name(rdata)?, at));
    } else {
        negative(version, key, place, reply)?;
    }
    Some(Step::Done(ResponseCode::NoError))
}

fn records(
    section: Section,
    set: RrSet<'_>,
    place: Place,
    reply: &mut Reply<'_>,
) -> Option<()> {
    for rdata in set.rdata() {
        reply.record(section, place, set.rtype, set.ttl, rdata)?;
    }
    Some(())
}

/// The SOA of a negative answer. Its owner stands at the end of the name.
fn negative(
    version: &ZoneVersion,
    key: &[u8],
    place: Place,
    reply: &mut Reply<'_>,
) -> Option<()> {
    let (ttl, soa) = version.negative_soa_wire()?;
    let apex = place + key.len() - version.apex.as_bytes().len();
    reply.record(Section::Authority, apex, RecordType::SOA, ttl, soa)?;
    Some(())
}

/// A SRV set and the addresses of its targets that the zone knows.
fn services(
    version: &ZoneVersion,
    set: RrSet<'_>,
    place: Place,
    reply: &mut Reply<'_>,
) -> Option<()> {
    let mut targets: [(&[u8], Place); SERVICES] = [(&[], 0); SERVICES];
    let mut count = 0;
    for rdata in set.rdata() {
        let section = Section::Answer;
        let at = reply.record(section, place, set.rtype, set.ttl, rdata)?;
        let target = rdata.get(SRV_TARGET..)?;
        let is_here = |seen: &(&[u8], _)| seen.0.eq_ignore_ascii_case(target);
        if !targets[..count].iter().any(is_here) {
            *targets.get_mut(count)? = (target, at + SRV_TARGET);
            count += 1;
        }
    }
    for (target, at) in &targets[..count] {
        let key = whole_name(target)?;
        for set in version.node(key.as_bytes()).unwrap_or_default().iter() {
            if matches!(set.rtype, RecordType::A | RecordType::AAAA) {
                records(Section::Additional, set, *at, reply)?;
            }
        }
    }
    Some(())
}

/// Rdata, or what is left of it, that is a name and nothing else.
fn whole_name(rdata: &[u8]) -> Option<LowerName> {
    LowerName::read(rdata).filter(|name| name.as_bytes().len() == rdata.len())
}

#[cfg(test)]
#[path = "fast_tests.rs"]
pub(crate) mod tests;
