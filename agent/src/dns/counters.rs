// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What happened so far, counted without locks.

use std::sync::atomic::{AtomicU64, Ordering};

use super::tally::{Tally, Times};

/// Counts since the start. Queries are counted once, by response code and
/// again by who answered the name asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DnsCounters {
    /// Queries answered, all transports and in-process look-ups.
    pub queries: u64,
    /// ... with NOERROR, NODATA included.
    pub noerror: u64,
    /// ... with NXDOMAIN.
    pub nxdomain: u64,
    /// ... with SERVFAIL.
    pub servfail: u64,
    /// ... with REFUSED.
    pub refused: u64,
    /// ... with any other code.
    pub other_rcode: u64,
    /// Names in a zone of ours.
    pub from_zone: u64,
    /// Names in a zone of ours that we hold no copy of yet.
    pub from_primary: u64,
    /// Names in a forward zone.
    pub from_forward: u64,
    /// Names answered by rule: localhost, private reverse zones.
    pub from_local: u64,
    /// Names that nobody is configured for.
    pub from_nowhere: u64,
    /// NOTIFY messages that woke a zone.
    pub notifies: u64,
    /// Zone transfers that came whole.
    pub transfers_ok: u64,
    /// Zone transfers that did not.
    pub transfers_failed: u64,
    /// Differences that became a version; `transfers_ok` counts them, too.
    pub transfers_incremental: u64,
    /// Differences that were not used; a full transfer followed.
    pub differences_odd: u64,
    /// Records in differences that did not fit: absent ones removed, present
    /// ones added.
    pub misfits: u64,
    /// Scheduled full transfers that showed another zone than ours under the
    /// same serial.
    pub divergences: u64,
    /// RRsets that differed then.
    pub divergent_sets: u64,
    /// Zones that lost everything or much and were not believed at once.
    pub held_back: u64,
    /// NOTIFY and SOA questions from strangers.
    pub notifies_refused: u64,
    /// Questions from outside this zone: not answered.
    pub strangers: u64,
}

/// The live form of `DnsCounters`.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Answered by rule: localhost, special names.
    pub(crate) local: Tally,
    /// Nobody is configured for the name.
    pub(crate) nobody: Tally,
    /// Not even looked up: odd opcodes, class CHAOS, NOTIFY.
    pub(crate) no_name: Tally,
    /// Of zones and forward zones that are served no more.
    pub(crate) gone: Tally,
    /// How long answers of our own took.
    pub(crate) own_times: Times,
    /// How long those took for which others may have been asked.
    pub(crate) forward_times: Times,
    pub(crate) notifies: AtomicU64,
    pub(crate) transfers_ok: AtomicU64,
    pub(crate) transfers_failed: AtomicU64,
    pub(crate) transfers_incremental: AtomicU64,
    pub(crate) differences_odd: AtomicU64,
    pub(crate) misfits: AtomicU64,
    pub(crate) divergences: AtomicU64,
    pub(crate) divergent_sets: AtomicU64,
    pub(crate) held_back: AtomicU64,
    pub(crate) notifies_refused: AtomicU64,
    pub(crate) strangers: AtomicU64,
}

impl Counters {
    /// All but the counts of queries, which lie with the zones.
    pub(crate) fn snapshot(&self) -> DnsCounters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DnsCounters {
            notifies: get(&self.notifies),
            transfers_ok: get(&self.transfers_ok),
            transfers_failed: get(&self.transfers_failed),
            transfers_incremental: get(&self.transfers_incremental),
            differences_odd: get(&self.differences_odd),
            misfits: get(&self.misfits),
            divergences: get(&self.divergences),
            divergent_sets: get(&self.divergent_sets),
            held_back: get(&self.held_back),
            notifies_refused: get(&self.notifies_refused),
            strangers: get(&self.strangers),
            ..DnsCounters::default()
        }
    }
}

impl DnsCounters {
    /// Adds a tally's questions; their number.
    pub(crate) fn add(&mut self, tally: &Tally) -> u64 {
        let before = self.queries;
        for (_, rcode, count) in tally.counts() {
            self.queries += count;
            let counter = match rcode {
                "NOERROR" => &mut self.noerror,
                "NXDOMAIN" => &mut self.nxdomain,
                "SERVFAIL" => &mut self.servfail,
                "REFUSED" => &mut self.refused,
                _ => &mut self.other_rcode,
            };
            *counter += count;
        }
        self.queries - before
    }
}
