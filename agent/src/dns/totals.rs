// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The counts of all zones, forward zones and rules together, as metrics and
//! status want them. Sums never fall: what a zone counted stays when it goes.

use super::NamesHandle;
use super::catalog::Catalog;
use super::control::Answerer;
use super::counters::DnsCounters;
use super::forward::{ForwardPool, Upstreams};
use super::serve::resolve::Names;
use super::tally::{Latency, Tally};

/// Questions of one kind that had one response code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryCount {
    /// Who answered, or was asked first; `None`: no name was looked up.
    pub by: Option<Answerer>,
    /// Zone or suffix of a forward zone, where there is one.
    pub zone: String,
    /// Type: one of few, or `other`.
    pub rtype: &'static str,
    /// Response code: one of few, or `other`.
    pub rcode: &'static str,
    /// So many.
    pub count: u64,
}

impl ForwardPool {
    /// Whose answers it brings.
    pub(super) fn answerer(&self) -> Answerer {
        match self.kind {
            Upstreams::Binder { .. } => Answerer::Binder,
            Upstreams::Recursive => Answerer::Public,
            Upstreams::Primaries => Answerer::Primary,
        }
    }
}

impl Names {
    /// All counts since the start.
    pub(crate) fn counts(&self) -> DnsCounters {
        let counters = &self.counters;
        let mut all = counters.snapshot();
        let catalog = self.catalog();
        for zone in catalog.zones.values() {
            all.from_zone += all.add(&zone.cell.tally);
            all.from_primary += all.add(&zone.primaries.tally);
        }
        for pool in catalog.forwards.values() {
            all.from_forward += all.add(&pool.tally);
        }
        all.from_local += all.add(&counters.local);
        all.from_nowhere += all.add(&counters.nobody);
        all.add(&counters.no_name);
        all.add(&counters.gone);
        all
    }

    /// Keeps the counts of what `next` serves no more.
    pub(crate) fn retire(&self, next: &Catalog) {
        let gone = &self.counters.gone;
        let now = self.catalog();
        for (apex, zone) in &now.zones {
            if !next.zones.contains_key(apex) {
                gone.add(&zone.cell.tally);
                gone.add(&zone.primaries.tally);
            }
        }
        for (suffix, pool) in &now.forwards {
            if !next.forwards.contains_key(suffix) {
                gone.add(&pool.tally);
            }
        }
    }

    fn by_zone(&self) -> Vec<QueryCount> {
        let counters = &self.counters;
        let catalog = self.catalog();
        let mut all = Vec::new();
        let mut add = |by, zone: &str, tally: &Tally| {
            all.extend(tally.counts().map(|(rtype, rcode, count)| {
                QueryCount { by, zone: zone.to_owned(), rtype, rcode, count }
            }));
        };
        for zone in catalog.zones.values() {
            let name = zone.cell.name.as_str();
            add(Some(Answerer::Zone), name, &zone.cell.tally);
            add(Some(Answerer::Primary), name, &zone.primaries.tally);
        }
        for pool in catalog.forwards.values() {
            add(Some(pool.answerer()), pool.suffix.as_str(), &pool.tally);
        }
        add(Some(Answerer::Local), "", &counters.local);
        add(Some(Answerer::Nobody), "", &counters.nobody);
        add(None, "", &counters.no_name);
        all.sort_by(|a, b| (&a.zone, a.by).cmp(&(&b.zone, b.by)));
        all
    }
}

impl NamesHandle {
    /// Questions by zone, type and response code, of those served now.
    pub fn queries(&self) -> Vec<QueryCount> {
        self.names.by_zone()
    }

    /// How long answers of our own took, and those of others.
    pub fn latencies(&self) -> [Latency; 2] {
        let counters = &self.names.counters;
        [counters.own_times.snapshot(), counters.forward_times.snapshot()]
    }
}
