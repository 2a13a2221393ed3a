// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Serials and what changed between them: how CNS counts, what it keeps and
//! where it starts an incremental transfer. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use time::OffsetDateTime;

use super::zone::{Contents, Data};

/// Steps kept at most, whatever the peers hold. The real one has no such
/// limit: a peer that went away pins its history for ever.
const MAX_STEPS: usize = 1000;

/// The serial of the 10 s step that holds `at`: months of 31 days, months
/// counted from 0, years from 1900.
pub fn serial_at(at: OffsetDateTime) -> u32 {
    let at = at.to_offset(time::UtcOffset::UTC);
    let years = i64::from(at.year()) - 1900;
    let months = years * 12 + i64::from(u8::from(at.month())) - 1;
    let days = months * 31 + i64::from(at.day()) - 1;
    let hours = days * 24 + i64::from(at.hour());
    let minutes = hours * 60 + i64::from(at.minute());
    let steps = minutes * 6 + i64::from(at.second()) / 10;
    // 32 bits last beyond the year 3000; a clock outside that wraps.
    (steps & i64::from(u32::MAX)) as u32
}

/// The serial of a batch that opens at `at`: the next 10 s step's.
pub fn batch_serial(at: OffsetDateTime) -> u32 {
    serial_at(at + time::Duration::seconds(10))
}

/// One record without its TTL: owner and data.
pub type Rr = (String, Data);

/// What one commit changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Serial before.
    pub from: u32,
    /// Serial after.
    pub to: u32,
    /// Records that went.
    pub removed: Vec<Rr>,
    /// Records that came.
    pub added: Vec<Rr>,
}

/// A zone at its current serial, and the way there. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ZoneHistory {
    serial: u32,
    contents: Arc<Contents>,
    steps: VecDeque<Arc<Step>>,
}

/// What an IXFR with some serial gets.
#[derive(Clone, Debug)]
pub enum Since {
    /// The whole zone: equal, newer or forgotten serial.
    Everything,
    /// These steps; the first starts at the serial or, if that one never
    /// existed, at its older neighbour.
    Steps(Vec<Arc<Step>>),
}

impl ZoneHistory {
    /// A zone that was just made.
    pub fn new(serial: u32, contents: Contents) -> Self {
        let contents = Arc::new(contents);
        Self { serial, contents, steps: VecDeque::new() }
    }

    /// Current serial.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Records at the current serial.
    pub fn contents(&self) -> &Arc<Contents> {
        &self.contents
    }

    /// Takes a new state; false, and nothing moves, when it is the old one.
    ///
    /// Two batches within one 10 s step cannot happen in the real CNS; with
    /// the short batches of tests they do, and then the serial grows by one
    /// instead of staying.
    pub fn commit(&mut self, serial: u32, contents: Contents) -> bool {
        if *self.contents == contents {
            return false;
        }
        let from = self.serial;
        let to = if serial > from { serial } else { from.wrapping_add(1) };
        let step = Step {
            from,
            to,
            removed: missing(&self.contents, &contents),
            added: missing(&contents, &self.contents),
        };
        self.steps.push_back(Arc::new(step));
        while self.steps.len() > MAX_STEPS {
            self.steps.pop_front();
        }
        self.serial = to;
        self.contents = Arc::new(contents);
        true
    }

    /// Takes new records under the old serial: what a restart with a quick
    /// first batch can do. The steps then no longer lead to the contents.
    pub fn commit_in_place(&mut self, contents: Contents) {
        self.contents = Arc::new(contents);
    }

    /// Drops serials older than `oldest_held` by a known peer, but keeps the
    /// last two: with no known peer that is current plus two.
    pub fn trim(&mut self, oldest_held: Option<u32>) {
        let held = oldest_held.unwrap_or(u32::MAX);
        while self.steps.len() > 2
            && self.steps.front().is_some_and(|step| step.from < held)
        {
            self.steps.pop_front();
        }
    }

    /// Where an IXFR for `serial` starts.
    pub fn since(&self, serial: u32) -> Since {
        if serial >= self.serial {
            return Since::Everything;
        }
        match self.steps.iter().rposition(|step| step.from <= serial) {
            Some(at) => Since::Steps(self.steps.range(at..).cloned().collect()),
            None => Since::Everything,
        }
    }
}

/// Records of `these` that `others` lack.
fn missing(these: &Contents, others: &Contents) -> Vec<Rr> {
    let mut found = Vec::new();
    for (owner, records) in these {
        let theirs = others.get(owner);
        for data in records {
            if !theirs.is_some_and(|theirs| theirs.contains(data)) {
                found.push((owner.clone(), data.clone()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use time::macros::datetime;

    use super::*;

    fn contents(names: &[&str]) -> Contents {
        names
            .iter()
            .map(|name| {
                let data = Data::Txt((*name).to_owned());
                ((*name).to_owned(), BTreeSet::from([data]))
            })
            .collect()
    }

    fn starts(since: Since) -> Vec<u32> {
        match since {
            Since::Everything => Vec::new(),
            Since::Steps(steps) => steps.iter().map(|s| s.from).collect(),
        }
    }

    #[test]
    fn serials_are_those_of_the_vectors() {
        for (at, serial) in [
            (datetime!(2026-01-01 00:00:00 UTC), 404_974_080),
            (datetime!(2026-02-28 23:59:59 UTC), 405_483_839),
            (datetime!(2026-03-01 00:00:00 UTC), 405_509_760),
        ] {
            assert_eq!(serial_at(at), serial, "{at}");
        }
        let last = datetime!(2026-02-28 23:59:59 UTC);
        assert_eq!(batch_serial(last), 405_509_760);
    }

    #[test]
    fn a_commit_without_change_moves_nothing() {
        let mut zone = ZoneHistory::new(10, contents(&["a"]));
        assert!(!zone.commit(20, contents(&["a"])));
        assert_eq!(zone.serial(), 10);
        assert!(zone.commit(20, contents(&["b"])));
        assert!(zone.commit(20, contents(&["c"])), "same 10 s step");
        assert_eq!(zone.serial(), 21);
    }

    #[test]
    fn steps_list_single_records() {
        let mut zone = ZoneHistory::new(10, contents(&["a", "b"]));
        zone.commit(20, contents(&["b", "c"]));
        let Since::Steps(steps) = zone.since(10) else { panic!("no steps") };
        let step = Step {
            from: 10,
            to: 20,
            removed: vec![("a".into(), Data::Txt("a".into()))],
            added: vec![("c".into(), Data::Txt("c".into()))],
        };
        assert_eq!(*steps[0], step);
    }

    #[test]
    fn ixfr_starts_where_the_sheet_says() {
        let mut zone = ZoneHistory::new(10, contents(&["a"]));
        zone.commit(20, contents(&["b"]));
        zone.commit(30, contents(&["c"]));
        assert_eq!(starts(zone.since(10)), [10, 20]);
        assert_eq!(starts(zone.since(20)), [20]);
        assert_eq!(starts(zone.since(25)), [20], "between: older neighbour");
        for everything in [9, 30, 31] {
            assert_eq!(starts(zone.since(everything)), [0_u32; 0]);
        }
    }

    #[test]
    fn history_is_current_plus_two_unless_a_peer_holds_more() {
        let mut zone = ZoneHistory::new(10, contents(&["10"]));
        for serial in [20, 30, 40, 50] {
            zone.commit(serial, contents(&[&serial.to_string()]));
        }
        let mut pinned = zone.clone();
        zone.trim(None);
        assert_eq!(starts(zone.since(30)), [30, 40]);
        assert!(starts(zone.since(20)).is_empty());
        pinned.trim(Some(20));
        assert_eq!(starts(pinned.since(20)), [20, 30, 40]);
        assert!(starts(pinned.since(10)).is_empty());
    }
}
