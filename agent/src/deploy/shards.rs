// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Shards as SAPI and VMAPI have them: which Prometheus pairs there are, by the
//! groups in the metadata of their instances, and which zones bear whose group
//! in tag `triton.cmon.groups`. And the writing of such tags.
//!
//! Source: RFD 150 "Sharding"; sdc-vmapi, tags.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Apis, DeployError};
use crate::triton::job::JobError;
use crate::triton::vmapi::Vmapi;
use crate::triton::{ApiError, Started};

/// The service whose instances are the pairs.
const SERVICE: &str = "prometheus";
/// The tag that says what scrapes a zone.
const KEY: &str = "triton.cmon.groups";
/// How often a job is asked for.
const EVERY: Duration = Duration::from_secs(1);
/// How long a job may take. VMAPI's own limit is below.
const LIMIT: Duration = Duration::from_secs(600);

/// What there is.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Each group of a pair, with its members.
    pub pairs: BTreeMap<String, BTreeSet<Uuid>>,
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
    let mut facts = Facts::default();
    let services = apis.sapi.services_named(apis.sdc, SERVICE).await;
    let asked = DeployError::api("ask SAPI for service prometheus");
    for service in services.map_err(asked)? {
        let instances = apis.sapi.instances(service.uuid, false).await;
        let asked = DeployError::api("ask SAPI for instances of prometheus");
        for instance in instances.map_err(asked)? {
            // Instance over service, as SAPI merges them.
            let own = instance.metadata.get("groups");
            let groups = own.or_else(|| service.metadata.get("groups"));
            let groups = names(groups);
            let mut ours =
                groups.iter().filter(|name| name.starts_with(prefix));
            match ours.next() {
                Some(group) => {
                    let pair = facts.pairs.entry(group.clone()).or_default();
                    pair.insert(instance.uuid);
                }
                None => facts.ungrouped.push(instance.uuid),
            }
        }
    }
    let vms = apis.vmapi.vms(account, &[("state", "active")]).await;
    let vms = vms.map_err(DeployError::api("ask VMAPI for zones"))?;
    let tag = |tags: &Map<String, Value>| {
        tags.get(KEY).and_then(Value::as_str).map(str::to_owned)
    };
    let zone = |vm: crate::triton::vmapi::Vm| Zone {
        tag: tag(&vm.tags),
        uuid: vm.uuid,
        alias: vm.alias,
    };
    facts.zones = vms.into_iter().map(zone).collect();
    Ok(facts)
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
    /// The tag's new value; `None` takes it away.
    pub value: Option<String>,
}

/// Why a tag was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// VMAPI did not take it.
    #[error("VMAPI did not take the tag")]
    Refused(#[source] ApiError),
    /// It took it, and could not do it.
    #[error("the tag was not written")]
    Job(#[source] JobError),
}

/// Writes tags, `at_once` so many of them, and tells of each how it went. What
/// fails keeps nothing else from being written.
pub async fn write(
    vmapi: &Vmapi,
    account: Uuid,
    writes: Vec<Write>,
    at_once: usize,
    mut tell: impl FnMut(Uuid, Result<(), WriteError>),
) {
    let mut all = stream::iter(writes)
        .map(async |one| (one.uuid, write_one(vmapi, account, &one).await))
        .buffer_unordered(at_once.max(1));
    while let Some((uuid, done)) = all.next().await {
        tell(uuid, done);
    }
}

async fn write_one(
    vmapi: &Vmapi,
    account: Uuid,
    write: &Write,
) -> Result<(), WriteError> {
    let Started { job_uuid } = match &write.value {
        Some(value) => {
            let tags = [(KEY.to_owned(), Value::from(value.as_str()))];
            let tags = tags.into_iter().collect();
            vmapi.add_tags(write.uuid, account, &tags).await
        }
        None => vmapi.delete_tag(write.uuid, account, KEY).await,
    }
    .map_err(WriteError::Refused)?;
    vmapi.wait(job_uuid, EVERY, LIMIT).await.map_err(WriteError::Job)
}
