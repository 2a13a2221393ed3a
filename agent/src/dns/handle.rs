// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the rest of the agent holds of the name server.

use std::net::Ipv4Addr;
use std::sync::Arc;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType};

use super::catalog::ZoneStatus;
use super::counters::DnsCounters;
use super::error::DnsError;
use super::forward::health::UpstreamStatus;
use super::forward::pool::ForwardStatus;
use super::serve::resolve::Names;

/// Look-ups and status, for the rest of the agent. Cheap to clone.
#[derive(Clone)]
pub struct NamesHandle {
    pub(super) names: Arc<Names>,
}

impl NamesHandle {
    /// The IPv4 addresses of `name`, found the way a query is, without a
    /// socket. An address in text form is its own answer.
    ///
    /// Errors: `BadName`; `NoAddress` with the response code.
    pub async fn lookup_ipv4(
        &self,
        name: &str,
    ) -> Result<Vec<Ipv4Addr>, DnsError> {
        if let Ok(addr) = name.parse() {
            return Ok(vec![addr]);
        }
        let bad = |_| DnsError::BadName { name: name.to_owned() };
        let mut asked = Name::from_ascii(name).map_err(bad)?;
        asked.set_fqdn(true);
        let answer = self.names.resolve(&asked, RecordType::A, true).await;
        let addrs: Vec<Ipv4Addr> = answer
            .answers
            .iter()
            .filter_map(|record| match &record.data {
                RData::A(addr) => Some(addr.0),
                _ => None,
            })
            .collect();
        if addrs.is_empty() || answer.rcode != ResponseCode::NoError {
            return Err(DnsError::NoAddress {
                name: name.to_owned(),
                rcode: answer.rcode.to_string(),
            });
        }
        Ok(addrs)
    }

    /// All replicated zones, by name.
    pub fn zones(&self) -> Vec<ZoneStatus> {
        let catalog = self.names.catalog();
        let mut zones: Vec<ZoneStatus> =
            catalog.zones.values().map(|zone| zone.cell.status()).collect();
        zones.sort_by(|a, b| a.name.cmp(&b.name));
        zones
    }

    /// All upstreams of the forward zones, by suffix and as configured.
    pub fn upstreams(&self) -> Vec<UpstreamStatus> {
        let catalog = self.names.catalog();
        let mut upstreams: Vec<UpstreamStatus> = catalog
            .forwards
            .values()
            .flat_map(|pool| pool.upstreams())
            .collect();
        upstreams.sort_by(|a, b| a.suffix.cmp(&b.suffix));
        upstreams
    }

    /// The caches of the forward zones, by suffix.
    pub fn forwards(&self) -> Vec<ForwardStatus> {
        let catalog = self.names.catalog();
        let mut forwards: Vec<ForwardStatus> =
            catalog.forwards.values().map(|pool| pool.status()).collect();
        forwards.sort_by(|a, b| a.suffix.cmp(&b.suffix));
        forwards
    }

    /// Counts since the start.
    pub fn counters(&self) -> DnsCounters {
        self.names.counts()
    }
}
