// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What an operator may ask of the running server beside questions: refresh a
//! zone now, forget what is cached, say who would answer a name.

use std::time::Duration;

use hickory_proto::rr::{Name, RecordType};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

use super::catalog::{Catalog, Route, ZoneStatus};
use super::error::DnsError;
use super::forward::{ForwardPool, Upstreams};
use super::names::WireName;
use super::serve::answer::{Step, from_zone};
use super::{NamesHandle, text};
use crate::model::dns::ZoneName;

/// Ways told of for one question; a chain of aliases ends before.
const MAX_WAYS: usize = 16;

/// Who answers, in the end.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Answerer {
    /// Our copy of a zone.
    Zone,
    /// A primary of a zone that we hold no copy of yet.
    Primary,
    /// Triton's or Manta's binders.
    Binder,
    /// Recursive resolvers.
    Public,
    /// A rule: localhost, private reverse zones, special names.
    Local,
    /// Nobody: REFUSED.
    Nobody,
}

/// The way a question goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// The name looked for; the next one is where an alias in a zone of ours
    /// leads, or the same one where the server before may not know it.
    pub name: String,
    /// Who answers.
    pub by: Answerer,
    /// The zone, or the suffix of the forward zone.
    pub zone: Option<String>,
    /// The zone's serial.
    pub serial: Option<u32>,
    /// Where the zone came from; whom we would ask.
    pub servers: Vec<String>,
    /// Whether the answer is cached, and fresh.
    pub cached: bool,
}

impl NamesHandle {
    /// Has a zone's primary asked now and waits for the outcome, `limit` at
    /// most: how the zone is doing then. `None` when it is none of ours.
    ///
    /// Errors: `NotRefreshed` when nothing came of it in time.
    pub async fn refresh(
        &self,
        zone: &ZoneName,
        limit: Duration,
    ) -> Option<Result<ZoneStatus, DnsError>> {
        let catalog = self.names.catalog();
        let entry = catalog.zones.get(&WireName::from_zone(zone))?;
        let asked = Instant::now();
        let mut rounds = entry.cell.rounds.subscribe();
        entry.cell.wake.notify_one();
        // A round that began before us may have seen an older serial.
        let ended = rounds.wait_for(|began| began.is_some_and(|b| b >= asked));
        let late = !matches!(timeout(limit, ended).await, Ok(Ok(_)));
        Some(match late {
            true => Err(DnsError::NotRefreshed { limit }),
            false => Ok(entry.cell.status()),
        })
    }

    /// Forgets what is cached at and below `name`, or all; says how many
    /// answers that were. Zones of ours are no cache.
    ///
    /// Errors: `BadName`.
    pub fn flush(&self, name: Option<&str>) -> Result<usize, DnsError> {
        let below = match name {
            Some(name) => Some(WireName::from_name(&parse(name)?)),
            None => None,
        };
        let catalog = self.names.catalog();
        let primaries = catalog.zones.values().map(|zone| &zone.primaries);
        let pools = catalog.forwards.values().chain(primaries);
        Ok(pools.map(|pool| pool.forget(below.as_ref())).sum())
    }

    /// Who would answer this question now, in the order they would be asked;
    /// aliases in zones of ours are followed. Asks nobody.
    ///
    /// Errors: `BadName`, `BadType`.
    pub fn ways(&self, name: &str, rtype: &str) -> Result<Vec<Way>, DnsError> {
        let rtype = record_type(rtype)?;
        let catalog = self.names.catalog();
        let (mut name, mut ways) = (parse(name)?, Vec::new());
        while let Some(next) = follow(&catalog, &name, rtype, &mut ways) {
            if ways.len() >= MAX_WAYS {
                break;
            }
            name = next;
        }
        Ok(ways)
    }
}

/// Adds the ways of one name; says where an alias leads.
fn follow(
    catalog: &Catalog,
    name: &Name,
    rtype: RecordType,
    ways: &mut Vec<Way>,
) -> Option<Name> {
    let key = WireName::from_name(name);
    let mut route = catalog.route(&key, name, rtype);
    loop {
        let mut way = Way {
            name: spell(&key),
            by: Answerer::Nobody,
            zone: None,
            serial: None,
            servers: Vec::new(),
            cached: false,
        };
        match route {
            Route::Local(step) => {
                way.by = Answerer::Local;
                ways.push(way);
                return match step {
                    Step::Alias(_, target) => Some(target),
                    Step::Done(_) | Step::Away(_) => None,
                };
            }
            Route::Nowhere => {}
            Route::Zone(zone) => {
                way.zone = Some(zone.cell.name.to_string());
                let Some(version) = zone.cell.version() else {
                    behind(&zone.primaries, &key, rtype, &mut way);
                    ways.push(way);
                    return None;
                };
                way.by = Answerer::Zone;
                way.serial = Some(version.serial.0);
                way.servers = vec![version.provenance.primary.to_string()];
                ways.push(way);
                match from_zone(&version, name, rtype) {
                    Ok(Step::Alias(_, target)) => return Some(target),
                    Ok(Step::Away(_)) if ways.len() < MAX_WAYS => {}
                    _ => return None,
                }
                let suffix = &zone.cell.name;
                route = catalog.route_above(&key, name, rtype, suffix);
                continue;
            }
            Route::Forward(pool) => {
                behind(&pool, &key, rtype, &mut way);
                let last = way.cached
                    || pool.kind != Upstreams::Binder { fallback: true };
                if !last && ways.len() < MAX_WAYS {
                    ways.push(way);
                    route =
                        catalog.route_above(&key, name, rtype, &pool.suffix);
                    continue;
                }
            }
        }
        ways.push(way);
        return None;
    }
}

/// Fills in whom a pool asks.
fn behind(
    pool: &ForwardPool,
    key: &WireName,
    rtype: RecordType,
    way: &mut Way,
) {
    way.by = pool.answerer();
    way.zone = Some(pool.suffix.to_string());
    way.servers =
        pool.upstreams().map(|server| server.addr.to_string()).collect();
    way.cached = pool.is_cached(key, rtype);
}

fn spell(key: &WireName) -> String {
    let mut out = String::new();
    text::name(key.as_bytes(), &mut out);
    out
}

/// A name as an operator writes it, absolute with or without its dot.
pub(super) fn parse(name: &str) -> Result<Name, DnsError> {
    let bad = |_| DnsError::BadName { name: name.to_owned() };
    let mut parsed = Name::from_ascii(name).map_err(bad)?;
    parsed.set_fqdn(true);
    Ok(parsed)
}

/// A type by its mnemonic, in any case, or as `TYPEn`.
pub(super) fn record_type(text: &str) -> Result<RecordType, DnsError> {
    let upper = text.to_ascii_uppercase();
    let numbered =
        upper.strip_prefix("TYPE").and_then(|n| n.parse::<u16>().ok());
    match (numbered, upper.parse()) {
        (Some(number), _) => Ok(RecordType::from(number)),
        (None, Ok(rtype)) => Ok(rtype),
        (None, Err(_)) => Err(DnsError::BadType { text: text.to_owned() }),
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
