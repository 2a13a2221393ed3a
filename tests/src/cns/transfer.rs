// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Zone transfers as CNS writes them: what goes in, in which order, and how
//! it is cut into messages. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use hickory_proto::op::Message;
use hickory_proto::rr::{RData, Record};

use super::answer::ZoneView;
use super::history::{Rr, Since, Step};
use crate::dns_server::{MNAME_UDP, answer_to, name_of};

/// A message is closed once it holds more records than this.
const FULL: usize = 500;

/// Deviations from the truth, asked for by a test.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Oddities {
    /// Some records come twice in a full transfer.
    pub(crate) duplicates: bool,
    /// Steps lose their lists.
    pub(crate) empty_steps: bool,
    /// The first SOA of a chain lacks the last step.
    pub(crate) late_commit: bool,
}

/// The serial an IXFR asks from; nothing else in its SOA is read.
pub(crate) fn serial_in(query: &Message) -> Option<u32> {
    query.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    })
}

/// The whole zone: SOA, NS, the owners in hash order, SOA.
pub(crate) fn full(
    query: &Message,
    zone: &ZoneView,
    odd: Oddities,
) -> Vec<Message> {
    let soa = || vec![zone.soa(zone.history.serial())];
    let mut owners: Vec<_> = zone.history.contents().iter().collect();
    owners.sort_by_cached_key(|(owner, _)| {
        let mut hasher = DefaultHasher::new();
        owner.hash(&mut hasher);
        hasher.finish()
    });
    let mut groups = vec![soa(), zone.ns().collect()];
    for (owner, records) in owners {
        if let Some(owner) = name_of(owner) {
            let of = |data| zone.record(&owner, data);
            groups.push(records.iter().filter_map(of).collect());
        }
    }
    if odd.duplicates {
        let again: Vec<_> = groups.iter().skip(2).step_by(7).cloned().collect();
        groups.extend(again);
    }
    groups.push(soa());
    messages(query, groups)
}

/// What an IXFR gets, and whether it is differences.
pub(crate) fn incremental(
    query: &Message,
    zone: &ZoneView,
    serial: u32,
    odd: Oddities,
) -> (Vec<Message>, bool) {
    let Since::Steps(steps) = zone.history.since(serial) else {
        return (full(query, zone, odd), false);
    };
    (messages(query, differences(zone, &steps, odd)), true)
}

fn differences(
    zone: &ZoneView,
    steps: &[Arc<Step>],
    odd: Oddities,
) -> Vec<Vec<Record>> {
    let current = zone.history.serial();
    let before_last = steps.last().map(|step| step.from);
    let first = before_last.filter(|_| odd.late_commit).unwrap_or(current);
    let one = |(owner, data): &Rr| {
        name_of(owner).and_then(|owner| zone.record(&owner, data))
    };
    let mut records = vec![zone.soa(first)];
    for step in steps {
        let (removed, added) = if odd.empty_steps {
            (&[][..], &[][..])
        } else {
            (&step.removed[..], &step.added[..])
        };
        records.push(zone.soa(step.from));
        records.extend(removed.iter().filter_map(one));
        records.push(zone.soa(step.to));
        records.extend(added.iter().filter_map(one));
    }
    records.push(zone.soa(current));
    records.into_iter().map(|record| vec![record]).collect()
}

/// Cuts between groups. AA is never set; only the first message has a
/// question (and the OPT, if any: assumed).
fn messages(query: &Message, groups: Vec<Vec<Record>>) -> Vec<Message> {
    let mut all = Vec::new();
    let mut message = answer_to(query, MNAME_UDP);
    let mut fresh = answer_to(query, MNAME_UDP);
    fresh.queries.clear();
    fresh.edns = None;
    for group in groups {
        if message.answers.len() > FULL {
            all.push(std::mem::replace(&mut message, fresh.clone()));
        }
        message.answers.extend(group);
    }
    all.push(message);
    all
}
