// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Shards as SAPI and VMAPI have them: which Prometheus pairs there are, by the
//! groups in the metadata of their instances, and which zones bear whose group
//! in tag `triton.cmon.groups`. And the writing of such tags. What CMON and
//! live servers say of them, and who may write, have files of their own.
//!
//! Source: RFD 150 "Sharding"; sdc-vmapi, tags.

pub mod discovered;
pub mod lock;
pub mod measured;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Apis, DeployError};
use crate::triton::job::JobError;
use crate::triton::vmapi::{Vm, Vmapi};
use crate::triton::{ApiError, Started, Tries};

/// The service whose instances are the pairs.
pub const SERVICE: &str = "prometheus";
/// The application of which Manta's account has its Prometheus.
const MANTA: &str = "manta";
/// Metadata of an instance that scrapes nothing any more.
const RETIRED: &str = "prometheus_retired";
/// The tag that says what scrapes a zone.
const KEY: &str = "triton.cmon.groups";
/// How often a job is asked for.
const EVERY: Duration = Duration::from_secs(1);

/// What there is.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Each group of a pair, with its members.
    pub pairs: BTreeMap<String, BTreeSet<Uuid>>,
    /// Those of them whose members are all retired: they take nothing.
    pub retired: BTreeSet<String>,
    /// Those of whose members no zone runs: they take nothing new, and lose
    /// nothing.
    pub absent: BTreeSet<String>,
    /// Instances of Prometheus that have no group: they scrape everything.
    pub ungrouped: Vec<Uuid>,
    /// Zones of the account, by uuid.
    pub zones: Vec<Zone>,
}

/// A SmartOS zone to be scraped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Uuid.
    pub uuid: Uuid,
    /// What people call it.
    pub alias: String,
    /// The tag's value; `None` without the tag.
    pub tag: Option<String>,
    /// Whether CMON is to list it: it runs, and is not one of the NAT zones,
    /// which CMON never lists.
    pub listed: bool,
}

impl From<Vm> for Zone {
    fn from(vm: Vm) -> Self {
        let tag = |key: &str| vm.tags.get(key).and_then(Value::as_str);
        Self {
            listed: vm.state == "running" && tag("smartdc_role") != Some("nat"),
            tag: tag(KEY).map(str::to_owned),
            uuid: vm.uuid,
            alias: vm.alias,
        }
    }
}

/// The application whose Prometheus scrapes the zones of an account: `manta`
/// for the account that owns it, `sdc` for its own.
///
/// Errors: SAPI's own; an account that has neither, whose zones no Prometheus
/// could scrape.
pub async fn application(
    apis: &Apis,
    account: Uuid,
) -> Result<Uuid, DeployError> {
    if account == apis.admin {
        return Ok(apis.sdc);
    }
    let found = apis.sapi.applications(MANTA, false).await;
    let found = found.map_err(DeployError::api("ask SAPI for manta"))?;
    let own = found.iter().find(|one| one.owner_uuid == Some(account));
    own.map(|one| one.uuid).ok_or_else(|| DeployError::Odd {
        what: format!("account {account}"),
        seen: "an owner of neither sdc nor this datacenter's manta".into(),
        wanted: "an account whose zones a Prometheus scrapes",
    })
}

/// Gathers the shards whose groups begin with `prefix`, and the zones of an
/// account that are up or on their way.
///
/// Errors: an API's own.
pub async fn gather(
    apis: &Apis,
    account: Uuid,
    prefix: &str,
) -> Result<Facts, DeployError> {
    // A pair that SAPI does not list would lose its zones to the others.
    apis.whole().await?;
    let mut facts = Facts::default();
    let mut working = BTreeSet::new();
    let application = application(apis, account).await?;
    let services = apis.sapi.services_named(application, SERVICE).await;
    let asked = DeployError::api("ask SAPI for service prometheus");
    for service in services.map_err(asked)? {
        let instances = apis.sapi.instances(service.uuid, false).await;
        let asked = DeployError::api("ask SAPI for instances of prometheus");
        for instance in instances.map_err(asked)? {
            // Instance over service, as SAPI merges them.
            let metadata = |key: &str| {
                let own = instance.metadata.get(key);
                own.or_else(|| service.metadata.get(key))
            };
            let mut groups = names(metadata("groups"));
            groups.retain(|name| name.starts_with(prefix));
            if groups.is_empty() {
                facts.ungrouped.push(instance.uuid);
            }
            for group in groups {
                if !is_true(metadata(RETIRED)) {
                    working.insert(group.clone());
                }
                let pair = facts.pairs.entry(group).or_default();
                pair.insert(instance.uuid);
            }
        }
    }
    let vms = apis.vmapi.vms(account, &[("state", "active")]).await;
    let vms = vms.map_err(DeployError::api("ask VMAPI for zones"))?;
    let running = vms.iter().filter(|vm| vm.state == "running");
    let running: BTreeSet<Uuid> = running.map(|vm| vm.uuid).collect();
    let absent =
        facts.pairs.iter().filter(|(_, pair)| pair.is_disjoint(&running));
    facts.absent = absent.map(|(name, _)| name.clone()).collect();
    facts.zones = vms.into_iter().map(Zone::from).collect();
    let all = facts.pairs.keys();
    facts.retired =
        all.filter(|one| !working.contains(*one)).cloned().collect();
    Ok(facts)
}

/// A switch as the agent takes it.
fn is_true(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(on)) => *on,
        Some(Value::String(text)) => text.trim() == "true",
        _ => false,
    }
}

/// A list of names, or one text with commas, as the agent takes it.
pub(super) fn names(value: Option<&Value>) -> Vec<String> {
    let split = |text: &str| -> Vec<String> {
        let names = text.split(',').map(str::trim);
        names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    match value {
        Some(Value::String(text)) => split(text),
        Some(Value::Array(all)) => {
            all.iter().filter_map(Value::as_str).flat_map(split).collect()
        }
        _ => Vec::new(),
    }
}

/// A tag to be written, or taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The zone.
    pub uuid: Uuid,
    /// The tag's value that this was made of; others have groups in it too.
    pub seen: Option<String>,
    /// The tag's new value; `None` takes it away.
    pub value: Option<String>,
}

/// Why a tag was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// VMAPI did not take it.
    #[error("VMAPI did not take the tag")]
    Refused(#[source] ApiError),
    /// Somebody else has written it since.
    #[error("the tag has changed meanwhile; run it again")]
    Changed,
    /// It took it, and could not do it.
    #[error("the tag was not written")]
    Job(#[source] JobError),
}

/// How fast tags are written.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// So many jobs at a time.
    pub at_once: usize,
    /// How long each is waited for.
    pub limit: Duration,
}

/// Writes tags, and tells of each how it went. What
/// fails keeps nothing else from being written. After `stop` no job is begun;
/// those that have been are seen to their end.
pub async fn write(
    vmapi: &Vmapi,
    account: Uuid,
    writes: Vec<Write>,
    pace: Pace,
    stop: &CancellationToken,
    mut tell: impl FnMut(Uuid, Result<(), WriteError>),
) {
    let writes = writes.into_iter().take_while(|_| !stop.is_cancelled());
    let mut all = stream::iter(writes)
        .map(async |one| {
            let done = write_one(vmapi, account, &one, pace.limit).await;
            (one.uuid, done)
        })
        .buffer_unordered(pace.at_once.max(1));
    while let Some((uuid, done)) = all.next().await {
        tell(uuid, done);
    }
}

async fn write_one(
    vmapi: &Vmapi,
    account: Uuid,
    write: &Write,
    limit: Duration,
) -> Result<(), WriteError> {
    let mut tries = Tries::new();
    loop {
        match try_write(vmapi, account, write, limit).await {
            Err(WriteError::Refused(error))
                if error.is_passing() && tries.another().await => {}
            done => return done,
        }
    }
}

async fn try_write(
    vmapi: &Vmapi,
    account: Uuid,
    write: &Write,
    limit: Duration,
) -> Result<(), WriteError> {
    let now = vmapi.tags(write.uuid, account).await;
    let now = now.map_err(WriteError::Refused)?;
    let now = now.get(KEY).and_then(Value::as_str);
    // An earlier try did it, whose answer was lost.
    if now == write.value.as_deref() {
        return Ok(());
    }
    if now != write.seen.as_deref() {
        return Err(WriteError::Changed);
    }
    let Started { job_uuid } = match &write.value {
        Some(value) => {
            let tags = [(KEY.to_owned(), Value::from(value.as_str()))];
            let tags = tags.into_iter().collect();
            vmapi.add_tags(write.uuid, account, &tags).await
        }
        None => vmapi.delete_tag(write.uuid, account, KEY).await,
    }
    .map_err(WriteError::Refused)?;
    vmapi.wait(job_uuid, EVERY, limit).await.map_err(WriteError::Job)
}
