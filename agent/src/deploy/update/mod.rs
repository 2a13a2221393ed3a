// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Another image for a service's zones, and back: facts of SAPI, VMAPI and the
//! zones themselves; a plan; its steps, one zone at a time.
//!
//! What never changes: a zone that is well is taken down only while another of
//! its pair is well, and the next one only after it is well again, with its
//! data and its metrics. So one is down at most, whatever happens, and what
//! happens leaves the run there: the next run goes on, `rollback` goes back.
//!
//! What each zone had before is written into SAPI first, in one piece (see
//! `record`): it outlives the run and the machine it ran on. All else is
//! looked at anew by each run, so there is no journal that could be wrong.
//!
//! Where the set-up of a new root fails, VMAPI calls the zone `failed`: it is
//! down, with its data, and not gone. An update takes nobody else down then;
//! the way back reprovisions it. One that has no zone at all stands in for
//! nobody, and no run is a success without it.
//!
//! The service's own image, that of zones to come, is set when all zones have
//! proved it; on the way back before anything else. sdcadm sets it first, and
//! a zone made meanwhile would have an image that nobody has seen run.

mod apply;
mod plan;
mod record;
mod sight;

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::health::Check;
use super::roster::{self, Roster, rosters};
use super::{Apis, DeployError};
use crate::log::chain;
use crate::triton::Http;

pub use self::apply::{Event, UpdateError, apply};
pub use self::plan::{Goal, Plan, Step, plan};
pub use self::record::Record;

/// Longest answer of a zone.
const PATIENCE: Duration = Duration::from_secs(10);

/// State of a zone whose set-up failed.
const FAILED: &str = "failed";
/// A key of metadata, in SAPI and in the zone.
const SCRIPT: &str = "user-script";

/// What there is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The service's name.
    pub service: String,
    /// Its uuid.
    pub uuid: Uuid,
    /// Image of zones to come.
    pub image: Option<Uuid>,
    /// What the last update found.
    pub record: Option<Record>,
    /// The user-script it has.
    pub own_script: Option<String>,
    /// The user-script it should have, where it has another.
    pub script: Option<String>,
    /// Its instances, by alias.
    pub instances: Vec<Instance>,
}

impl Facts {
    /// What says that an instance has no zone, of each that has none.
    pub fn lacks(&self) -> Vec<String> {
        let lacking = self.instances.iter().filter(|one| one.owner.is_none());
        let said = lacking.map(|one| {
            format!(
                "{}: saw no zone, wanted one: monadm post-setup {}",
                one.alias, self.service
            )
        });
        said.collect()
    }

    /// Whether the set-up of one of its zones failed.
    pub fn has_failed(&self) -> bool {
        self.instances.iter().any(|one| one.state == FAILED)
    }

    /// The others of an instance's pair, whether they have zones or not.
    fn partners(&self, of: &Instance) -> impl Iterator<Item = &Instance> {
        let (uuid, group) = (of.uuid, of.group.clone());
        let others = self.instances.iter();
        others.filter(move |one| one.uuid != uuid && one.group == group)
    }
}

/// An instance and its zone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Instance {
    /// Uuid.
    pub uuid: Uuid,
    /// What people call it.
    pub alias: String,
    /// Account that owns the zone; `None`: there is no zone.
    pub owner: Option<Uuid>,
    /// The zone's image.
    pub image: Option<Uuid>,
    /// The zone's state.
    pub state: String,
    /// The zone's brand.
    pub brand: String,
    /// Address on the admin network.
    pub address: Option<IpAddr>,
    /// Who stands in for it: those with the same text, as `Roster::group`
    /// has it.
    pub group: String,
    /// Why it is not well; `None` when it is.
    pub unwell: Option<String>,
    /// It has nothing from before its daemon started; `None`, where that is
    /// not to be seen.
    pub fresh: Option<bool>,
    /// The id of what its delegate dataset holds; `None` without one, and
    /// where its agent is silent or older.
    pub data: Option<String>,
    /// Bytes left for that; `None` where its agent does not say.
    pub available: Option<u64>,
    /// Its delegate datasets.
    pub datasets: Vec<String>,
    /// The user-script it should have, where it has another.
    pub script: Option<String>,
}

/// Gathers what there is of a service of application `sdc`, before it goes
/// back: its zones are to have the user-script that the record says, where it
/// has one.
///
/// Errors: as `gather`'s.
pub async fn gather_back(
    apis: &Apis,
    service: &str,
) -> Result<Facts, DeployError> {
    let facts = gather(apis, service, None).await?;
    match facts.record.as_ref().and_then(|record| record.script.as_deref()) {
        Some(script) => gather(apis, service, Some(script)).await,
        None => Ok(facts),
    }
}

/// Gathers what there is of a service of application `sdc`, whose zones are to
/// have this user-script, or the one that the service says.
///
/// Errors: an API's own; not one service of this name.
pub async fn gather(
    apis: &Apis,
    service: &str,
    script: Option<&str>,
) -> Result<Facts, DeployError> {
    let mut found = rosters(apis, apis.sdc, service).await?;
    let seen = found.len();
    let (Some(mut roster), 1) = (found.pop(), seen) else {
        return Err(DeployError::Odd {
            what: format!("SAPI's services named {service}"),
            seen: seen.to_string(),
            wanted: "one, as post-setup makes it",
        });
    };
    for member in roster.members.iter_mut().filter(|one| one.vm.is_none()) {
        let vm = apis.vmapi.vm(member.instance.uuid, None).await;
        let vm = vm.map_err(DeployError::api("ask VMAPI for a zone"))?;
        member.vm = vm.filter(|vm| vm.state == FAILED);
    }
    let http = Http::trusting_anyone(PATIENCE).retrying();
    let mut instances = Vec::new();
    for member in &roster.members {
        let mut instance = instance(&roster, member, script);
        instance.unwell = unwell(&http, service, &instance).await;
        if let (None, Some(address)) = (&instance.unwell, instance.address) {
            instance.fresh = sight::fresh(&http, service, address).await;
        }
        // One whose daemon is ill may lose data, too.
        if let (false, "running", Some(address)) =
            (instance.datasets.is_empty(), &*instance.state, instance.address)
        {
            // Twice, for a lost answer; without pauses, for where none is.
            let http = http.once();
            let mut told = sight::told(&http, address).await;
            if told.is_err() {
                told = sight::told(&http, address).await;
            }
            if let Ok(told) = told {
                instance.available = sight::available(&told);
                instance.data = sight::data_id(&told).ok().flatten();
            }
        }
        instances.push(instance);
    }
    instances.sort_by(|a, b| a.alias.cmp(&b.alias));
    let image = roster.service.params.get("image_uuid");
    let own_script = roster.service.metadata.get(SCRIPT);
    let own_script = own_script.and_then(Value::as_str).map(str::to_owned);
    let other = |script: &&str| own_script.as_deref() != Some(*script);
    Ok(Facts {
        service: service.to_owned(),
        uuid: roster.service.uuid,
        image: image.and_then(Value::as_str).and_then(|t| t.parse().ok()),
        script: script.filter(other).map(str::to_owned),
        own_script,
        record: Record::of(&roster.service.metadata),
        instances,
    })
}

fn instance(
    roster: &Roster,
    member: &roster::Member,
    script: Option<&str>,
) -> Instance {
    let text = |value: Option<&Value>| {
        value.and_then(Value::as_str).map(str::to_owned)
    };
    let own = text(member.instance.metadata.get(SCRIPT));
    let wanted = own
        .or(script.map(str::to_owned))
        .or_else(|| text(roster.service.metadata.get(SCRIPT)));
    let mut instance = Instance {
        uuid: member.instance.uuid,
        alias: member.alias(),
        address: member.admin_ip(),
        group: roster.group(member),
        state: "no zone".to_owned(),
        ..Instance::default()
    };
    let Some(vm) = &member.vm else { return instance };
    let has = text(vm.customer_metadata.get(SCRIPT));
    instance.owner = vm.owner_uuid;
    instance.image = vm.image_uuid;
    instance.state.clone_from(&vm.state);
    instance.brand.clone_from(&vm.brand);
    instance.datasets.clone_from(&vm.datasets);
    instance.script = wanted.filter(|wanted| has.as_ref() != Some(wanted));
    instance
}

async fn unwell(
    http: &Http,
    service: &str,
    instance: &Instance,
) -> Option<String> {
    if instance.state != "running" {
        return Some(format!("its zone is: {}", instance.state));
    }
    let Some(address) = instance.address else {
        return Some("it has no address on the admin network".to_owned());
    };
    let check = Check::of(service)?;
    let asked = check.ask(http, address).await;
    asked.err().map(|error| chain(&error))
}

/// One key and its value, as SAPI and VMAPI take them.
fn only(key: &str, value: impl Into<Value>) -> Map<String, Value> {
    Map::from_iter([(key.to_owned(), value.into())])
}
