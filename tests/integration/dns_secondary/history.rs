// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Random changes of a zone's records: few names, so that they meet.

use std::collections::BTreeSet;

/// A record as in a zone file, without its TTL: owner, type, data.
pub(super) type Rr = (String, &'static str, String);

/// The TTL of everything; the SOA's, too.
pub(super) const TTL: u32 = 300;

/// What one change takes away and adds.
#[derive(Debug, Default)]
pub(super) struct Edit {
    pub(super) removed: Vec<Rr>,
    pub(super) added: Vec<Rr>,
}

/// A zone's records besides SOA and NS, and where chance stands.
pub(super) struct History {
    pub(super) records: BTreeSet<Rr>,
    random: fastrand::Rng,
}

impl History {
    /// Begins with a few records. The seed is printed: a failing test shows
    /// it, and can be run again with `DNS_SEED`.
    pub(super) fn new(seed: u64) -> Self {
        let seed = std::env::var("DNS_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or(seed);
        println!("DNS_SEED={seed}");
        let mut history = Self {
            records: BTreeSet::new(),
            random: fastrand::Rng::with_seed(seed),
        };
        for _ in 0..30 {
            let rr = history.any();
            history.records.insert(rr);
        }
        history
    }

    fn any(&mut self) -> Rr {
        let n = self.random.u8(0..12);
        // Names below each other leave empty non-terminals.
        let owner = match n % 4 {
            0 => format!("host{n}"),
            1 => format!("host{n}.inst.owner"),
            2 => format!("*.wild{n}"),
            _ => format!("Mixed{n}.inst"),
        };
        let data = self.random.u8(1..5);
        match self.random.u8(0..6) {
            0 | 1 => (owner, "A", format!("10.0.{n}.{data}")),
            2 => (owner, "AAAA", format!("fd00::{data}")),
            3 => (owner, "TXT", format!("\"text {data}\"")),
            4 => {
                let target = "Target.Example.NET.";
                (owner, "SRV", format!("0 10 80{data} {target}"))
            }
            _ => (owner, "MX", format!("{data} mail.example.net.")),
        }
    }

    /// Changes some records; never none.
    pub(super) fn step(&mut self) -> Edit {
        let mut edit = Edit::default();
        for _ in 0..self.random.usize(0..6) {
            let rr = self.any();
            if self.records.insert(rr.clone()) {
                edit.added.push(rr);
            }
        }
        let gone = self.random.usize(0..5).min(self.records.len());
        for _ in 0..gone {
            let at = self.random.usize(0..self.records.len());
            let rr = self.records.iter().nth(at).cloned();
            let rr = rr.filter(|rr| !edit.added.contains(rr));
            if let Some(rr) = rr {
                self.records.remove(&rr);
                edit.removed.push(rr);
            }
        }
        if edit.added.is_empty() && edit.removed.is_empty() {
            return self.step();
        }
        edit
    }

    pub(super) fn random(&mut self) -> &mut fastrand::Rng {
        &mut self.random
    }
}

/// The zone file, NS included.
pub(super) fn zone_file(records: &BTreeSet<Rr>, serial: u32) -> String {
    let mut text = format!(
        "$TTL {TTL}\n@ SOA ns.example.net. host.example.net. {serial} 3600 1 \
         2592000 30\n@ NS ns.example.net.\n"
    );
    for (owner, rtype, data) in records {
        text.push_str(&format!("{owner} {rtype} {data}\n"));
    }
    text
}
