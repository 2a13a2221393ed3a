// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Answers without a socket: a query's bytes to those of its answer, both
//! ways, as the listeners take them. For the fuzz target.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hickory_net::xfer::Protocol;
use hickory_proto::rr::Name;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use super::fast::Fast;
use super::front::Front;
use super::general::{self, Read};
use super::resolve::Names;
use crate::dns::catalog::{Catalog, ZoneCell, ZoneEntry};
use crate::dns::counters::Counters;
use crate::dns::dump::ZoneRecord;
use crate::dns::forward::{ForwardLimits, ForwardPool, Trust, Upstreams};
use crate::dns::names::WireName;
use crate::dns::store::build::ZoneBuilder;
use crate::dns::store::{Provenance, ZoneLimits};
use crate::model::dns::ZoneName;

/// A server of one zone, which forwards nothing and has no listener.
pub struct Offline {
    fast: Fast,
    front: Front,
    runtime: Runtime,
}

/// What the two ways said to one query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The fast way; `None` where it leaves the query to the general one.
    pub fast: Option<Vec<u8>>,
    /// The general way; `None` where there is no answer at all.
    pub general: Option<Vec<u8>>,
}

impl Offline {
    /// Serves `records` as `zone`; `None` when they make none.
    pub fn new(zone: &ZoneName, records: &[ZoneRecord]) -> Option<Self> {
        let cell = ZoneCell::new(zone.clone(), Vec::new());
        let apex = cell.apex.clone();
        let mut builder = ZoneBuilder::new(apex.clone(), ZoneLimits::default());
        for record in records {
            let owner = Name::from_ascii(&record.owner).ok()?;
            let (owner, rtype) =
                (WireName::from_name(&owner), record.rtype.into());
            builder.push_raw(owner, rtype, record.ttl, &record.rdata).ok()?;
        }
        let primary = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
        let provenance =
            Provenance { primary, changed: SystemTime::UNIX_EPOCH };
        cell.install(Arc::new(builder.finish(provenance).ok()?));
        let primaries = ForwardPool::new(
            zone.clone(),
            Upstreams::Primaries,
            &[],
            None,
            ForwardLimits::default(),
            Arc::new(Semaphore::new(1)),
            &Trust::default(),
        );
        let (cell, primaries) = (Arc::new(cell), Arc::new(primaries));
        let mut catalog = Catalog::default();
        catalog.zones.insert(apex, ZoneEntry { cell, primaries });
        let counters = Arc::new(Counters::default());
        let limit = Duration::from_secs(1);
        let names = Names::new(catalog, counters, limit);
        let names = Arc::new(names);
        let fast = Fast::new(Arc::clone(&names));
        let front = Front::new(names);
        let runtime = Builder::new_current_thread().enable_time().build();
        Some(Self { fast, front, runtime: runtime.ok()? })
    }

    /// Asks by datagram, or by `stream`.
    pub fn answer(&self, query: &[u8], stream: bool) -> Answered {
        let mut out = Vec::new();
        let is_fast = self.fast.answer(query, stream, &mut out);
        let general = self.general(query, stream);
        Answered { fast: is_fast.then_some(out), general }
    }

    fn general(&self, query: &[u8], stream: bool) -> Option<Vec<u8>> {
        let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let protocol = match stream {
            true => Protocol::Tcp,
            false => Protocol::Udp,
        };
        match general::read(query, from, protocol) {
            Read::Question(request) => {
                self.runtime.block_on(general::answer(&self.front, &request))
            }
            Read::Malformed(refusal) => Some(refusal.into()),
            Read::Silence => None,
        }
    }
}
