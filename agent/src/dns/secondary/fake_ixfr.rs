// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! For tests: differences as a primary sends them, right or with one of the
//! traps of CNS's.

use hickory_proto::op::Message;
use hickory_proto::rr::{RData, Record};

use super::fake::{record, soa_record};

/// What is wrong with differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trap {
    /// Nothing.
    None,
    /// The serial asked from is answered with a chain from another one.
    StartsElsewhere,
    /// The steps have lost their records.
    EmptySteps,
    /// The first SOA lacks the last step.
    LateCommit,
    /// Records are removed that never came.
    RemovesTheAbsent,
    /// Records are added that came already.
    AddsThePresent,
    /// A step is left out.
    Gap,
    /// Nothing new is said after a newer SOA.
    LoneSoa,
    /// IXFR is not known here: NOTIMP.
    Unknown,
}

impl Trap {
    pub(crate) const ALL: [Trap; 8] = [
        Trap::StartsElsewhere,
        Trap::EmptySteps,
        Trap::LateCommit,
        Trap::RemovesTheAbsent,
        Trap::AddsThePresent,
        Trap::Gap,
        Trap::LoneSoa,
        Trap::Unknown,
    ];
}

/// The answer to an IXFR; `None` for NOTIMP. `versions` by serial, oldest
/// first.
pub(crate) fn differences(
    query: &Message,
    versions: &[(u32, Vec<Record>)],
    trap: Trap,
) -> Option<Vec<Record>> {
    let RData::SOA(theirs) = &query.authorities.first()?.data else {
        return None;
    };
    if trap == Trap::Unknown {
        return None;
    }
    let at = versions.iter().position(|(n, _)| *n == theirs.serial)?;
    let at = at + usize::from(trap == Trap::StartsElsewhere);
    let (last, _) = versions.last()?;
    if trap == Trap::LoneSoa {
        return Some(vec![soa_record(theirs.serial)]);
    }
    let announced = match trap {
        Trap::LateCommit => versions.get(versions.len() - 2)?.0,
        _ => *last,
    };
    let mut records = vec![soa_record(announced)];
    for (n, pair) in versions.get(at..)?.windows(2).enumerate() {
        let [(from, old), (to, new)] = pair else { return None };
        if trap == Trap::Gap && n == 1 {
            continue;
        }
        let empty = trap == Trap::EmptySteps;
        let lacks = |these: &[Record], others: &[Record]| -> Vec<Record> {
            let gone = |r: &&Record| !others.contains(r) && !empty;
            these.iter().filter(gone).cloned().collect()
        };
        records.push(soa_record(*from));
        records.extend(lacks(old, new));
        if trap == Trap::RemovesTheAbsent {
            records.push(record("never.here", 30, "TXT x"));
        }
        records.push(soa_record(*to));
        records.extend(lacks(new, old));
        if trap == Trap::AddsThePresent {
            records.extend(old.iter().find(|r| new.contains(r)).cloned());
        }
    }
    records.push(soa_record(*last));
    Some(records)
}
