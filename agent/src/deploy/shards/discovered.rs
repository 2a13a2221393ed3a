// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Whether CMON lists each zone in its shard's group, which is what Prometheus
//! will see. A tag takes seconds from VMAPI to CMON, more while CMON starts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::super::roster::Roster;
use crate::triton::cmon::{Container, Endpoint, containers};
use crate::triton::{ApiError, Lookup};

/// How often CMON is asked: each question costs one request of the account's
/// hundred a second.
const EVERY: Duration = Duration::from_secs(2);

/// CMON, as the account that a certificate names.
#[derive(Clone)]
pub struct Cmon {
    /// Host name, first label `cmon`.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Client key, PEM.
    pub key: PathBuf,
    /// Client certificate, PEM.
    pub certificate: PathBuf,
    /// Finds the host; `None` leaves it to the system.
    pub lookup: Option<Lookup>,
}

/// A lookup that knows the admin addresses of a service's members alone: no
/// name server is needed for what VMAPI has said. `None` without any.
pub fn at_members(rosters: &[Roster]) -> Option<Lookup> {
    let members = rosters.iter().flat_map(|roster| &roster.members);
    let all: Vec<IpAddr> = members.filter_map(|one| one.admin_ip()).collect();
    if all.is_empty() {
        return None;
    }
    Some(Arc::new(move |_| {
        let all = all.clone();
        Box::pin(async move { Ok(all) })
    }))
}

/// A zone that CMON has otherwise than it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The zone.
    pub uuid: Uuid,
    /// Its groups that are ours; `None` when it is not listed.
    pub seen: Option<Vec<String>>,
    /// The one it should have.
    pub wanted: String,
}

/// Asks until each zone has its shard's group and no other of ours, `limit` at
/// most; what differs then.
///
/// Errors: CMON's last answer, when that was none.
pub async fn differences(
    cmon: &Cmon,
    prefix: &str,
    wanted: &BTreeMap<Uuid, String>,
    limit: Duration,
) -> Result<Vec<Difference>, ApiError> {
    let end = Instant::now() + limit;
    let endpoint = Endpoint {
        host: &cmon.host,
        port: cmon.port,
        // Its own certificate is self-signed without a SAN.
        verify: false,
        groups: &[],
    };
    loop {
        let lookup = cmon.lookup.clone();
        let listed =
            containers(endpoint, &cmon.key, &cmon.certificate, lookup).await;
        let found = listed.map(|listed| compare(&listed, prefix, wanted));
        let good = found.as_ref().is_ok_and(Vec::is_empty);
        if good || Instant::now() + EVERY > end {
            return found;
        }
        sleep(EVERY).await;
    }
}

/// What differs, by zone.
fn compare(
    listed: &[Container],
    prefix: &str,
    wanted: &BTreeMap<Uuid, String>,
) -> Vec<Difference> {
    let ours = |one: &Container| -> BTreeSet<String> {
        let all = one.groups.iter();
        all.filter(|name| name.starts_with(prefix)).cloned().collect()
    };
    let listed: BTreeMap<Uuid, BTreeSet<String>> =
        listed.iter().map(|one| (one.uuid, ours(one))).collect();
    let differs = |(uuid, shard): (&Uuid, &String)| {
        let seen = listed.get(uuid);
        let good =
            seen.is_some_and(|seen| seen.len() == 1 && seen.contains(shard));
        (!good).then(|| Difference {
            uuid: *uuid,
            seen: seen.map(|seen| seen.iter().cloned().collect()),
            wanted: shard.clone(),
        })
    };
    wanted.iter().filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_in_its_shard_and_in_no_other() {
        let uuid = Uuid::from_u128;
        let container = |n, groups: &[&str]| {
            let groups = groups.iter().map(|&name| name.into()).collect();
            Container { uuid: uuid(n), groups }
        };
        let listed = [
            container(1, &["edge", "shard-1"]),
            container(2, &["shard-1", "shard-2"]),
            container(3, &[]),
            container(5, &["shard-9"]),
        ];
        let wanted = (1..5).map(|n| (uuid(n), "shard-1".into())).collect();
        let found = compare(&listed, "shard-", &wanted);
        let seen = |names: &[&str]| {
            Some(names.iter().map(|&name| name.into()).collect())
        };
        let found: Vec<_> =
            found.into_iter().map(|one| (one.uuid, one.seen)).collect();
        let wanted = [
            (uuid(2), seen(&["shard-1", "shard-2"])),
            (uuid(3), seen(&[])),
            (uuid(4), None),
        ];
        assert_eq!(found, wanted);
    }
}
