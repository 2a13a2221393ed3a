// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Instances and their zones.

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{EVERY, Hands, api};
use crate::deploy::DeployError;
use crate::deploy::health::Check;
use crate::deploy::roster::{Member, admin_ip, rosters};
use crate::deploy::setup::SetupError;
use crate::deploy::setup::journal::{Pending, unix_now};
use crate::deploy::setup::step::{Named, NewZone, Own};
use crate::triton::Tries;
use crate::triton::job::JobError;
use crate::triton::sapi::{NewInstance, Service};
use crate::triton::vmapi::Vm;

/// VMAPI's workflow that adds NICs.
const ADD_NICS: &str = "add-nics";

fn pending(service: &Service, alias: &str, own: &Own, anew: bool) -> Pending {
    let image = service.params.get("image_uuid").and_then(Value::as_str);
    Pending {
        service: service.name.clone(),
        alias: alias.to_owned(),
        own: own.clone(),
        anew,
        image: image.and_then(|image| image.parse().ok()),
        begun: Some(unix_now()),
    }
}

impl Hands<'_> {
    /// `planned` is the state of its zone that it is dropped for. What it has
    /// of its own is in the journal for its heir before it goes: SAPI alone
    /// knew it.
    pub(super) async fn drop_instance(
        &mut self,
        zone: &Named,
        planned: &str,
        (heir, own): (Uuid, &Own),
    ) -> Result<(), SetupError> {
        let Named { uuid, alias } = zone;
        let odd = |what, seen: &str, wanted| {
            let what = format!("{alias} {uuid}, {what}");
            let seen = seen.to_owned();
            SetupError::Deploy(DeployError::Odd { what, seen, wanted })
        };
        // If not, an earlier try did it, and its answer was lost.
        if self.is_known(*uuid).await? {
            let vm = self.vm(*uuid).await?;
            let seen = vm.as_ref().map_or("none", |vm| vm.state.as_str());
            // It may have come to life since; one that is destroyed holds
            // nothing, and may be so by an earlier try.
            if seen != planned && seen != "destroyed" {
                let wanted = "what it was when this was planned";
                return Err(odd("its zone", seen, wanted));
            }
            let service = self.service().await?;
            let pending = pending(&service, alias, own, true);
            self.journal.begin_zone(heir, pending)?;
            let sapi = &self.apis.sapi;
            let gone = sapi.delete_instance(*uuid, self.patience).await;
            gone.map_err(api("delete an instance"))?;
            // SAPI keeps it where VMAPI says that there is no such zone.
            if self.is_known(*uuid).await? {
                return Err(odd("its instance in SAPI", "it still", "none"));
            }
        }
        Ok(self.journal.end_zone(*uuid)?)
    }

    async fn is_known(&self, uuid: Uuid) -> Result<bool, SetupError> {
        let known = self.apis.sapi.instance(uuid).await;
        Ok(known.map_err(api("ask SAPI for an instance"))?.is_some())
    }

    pub(super) async fn adopt_instance(
        &mut self,
        zone: &Named,
        own: &Own,
    ) -> Result<(), SetupError> {
        let service_uuid = self.service().await?.uuid;
        let new = NewInstance {
            service_uuid,
            uuid: Some(zone.uuid),
            params: &own.params,
            metadata: &own.metadata,
            master: false,
        };
        let done = self.apis.sapi.adopt_instance(&new).await;
        done.map_err(api("write an instance down"))?;
        Ok(())
    }

    pub(super) async fn create_instance(
        &mut self,
        new: &NewZone,
    ) -> Result<(), SetupError> {
        let NewZone { zone, own, anew, .. } = new;
        let uuid = zone.uuid;
        let service = self.service().await?;
        let pending = pending(&service, &zone.alias, own, *anew);
        self.journal.begin_zone(uuid, pending)?;
        let known = self.apis.sapi.instance(uuid).await;
        let known = known.map_err(api("ask SAPI for an instance"))?;
        let there = self.vm(uuid).await?;
        let instance = NewInstance {
            service_uuid: service.uuid,
            uuid: Some(uuid),
            params: &own.params,
            metadata: &own.metadata,
            master: false,
        };
        let sapi = &self.apis.sapi;
        let job = match (known, there) {
            (Some(_), Some(_)) => None,
            (None, Some(_)) => {
                let done = sapi.adopt_instance(&instance).await;
                done.map_err(api("write an instance down"))?;
                None
            }
            (_, None) => {
                let made = sapi.create_instance(&instance).await;
                made.map_err(api("create an instance"))?.job_uuid
            }
        };
        if let Some(job) = job {
            let ended = self.apis.vmapi.wait(job, EVERY, self.patience).await;
            if let Err(source) = ended {
                self.after_all(zone, source).await?;
            }
        }
        self.running(zone).await?;
        Ok(self.journal.end_zone(uuid)?)
    }

    /// A job did not end well, or nobody knows how: the zone does.
    async fn after_all(
        &self,
        zone: &Named,
        source: JobError,
    ) -> Result<(), SetupError> {
        let vm = self.vm(zone.uuid).await?;
        match vm.is_some_and(|vm| vm.state == "running") {
            true => Ok(()),
            false => Err(SetupError::Job {
                what: format!("make zone {} {}", zone.alias, zone.uuid),
                source,
            }),
        }
    }

    /// The zone, as soon as it runs.
    ///
    /// Errors: it does not within `patience`, or will not.
    pub(super) async fn running(&self, zone: &Named) -> Result<Vm, SetupError> {
        let end = Instant::now() + self.patience;
        loop {
            let vm = self.vm(zone.uuid).await?;
            let seen = match &vm {
                Some(vm) => vm.state.as_str(),
                None => "unknown to VMAPI",
            };
            let hint = match seen {
                "running" => match vm {
                    Some(vm) => return Ok(vm),
                    None => continue,
                },
                "failed" | "destroyed" | "unknown to VMAPI" => {
                    "; run it again to have another made"
                }
                "stopped" => "; start it",
                _ if Instant::now() < end => {
                    sleep(EVERY).await;
                    continue;
                }
                "provisioning" => "; if nobody makes it any more, --replace it",
                _ => "",
            };
            return Err(SetupError::Zone {
                uuid: zone.uuid,
                alias: zone.alias.clone(),
                seen: seen.to_owned(),
                hint: hint.to_owned(),
            });
        }
    }

    pub(super) async fn await_well(
        &mut self,
        zone: &Named,
    ) -> Result<(), SetupError> {
        let vm = self.running(zone).await?;
        self.journal.end_zone(zone.uuid)?;
        let check = Check::of(self.target.name());
        let (Some(address), Some(check)) = (admin_ip(&vm), check) else {
            return Ok(());
        };
        let well = check.wait(self.http, address, self.patience).await;
        well.map_err(|source| SetupError::Unwell {
            uuid: zone.uuid,
            alias: zone.alias.clone(),
            source,
        })
    }

    pub(super) async fn raise_quota(
        &self,
        zone: &Named,
        quota_gib: u64,
    ) -> Result<(), SetupError> {
        let change = ("quota", json!(quota_gib));
        let done = |vm: &Vm| vm.quota >= quota_gib;
        self.change(zone, "raise the quota of a zone", change, done).await
    }

    pub(super) async fn enable_firewall(
        &self,
        zone: &Named,
    ) -> Result<(), SetupError> {
        let (what, change) =
            ("switch a firewall on", ("firewall_enabled", json!(true)));
        self.change(zone, what, change, |vm| vm.firewall_enabled).await
    }

    /// Changes one thing of a zone; `done` says whether it is so.
    async fn change(
        &self,
        zone: &Named,
        what: &'static str,
        (key, value): (&str, Value),
        done: impl Fn(&Vm) -> bool,
    ) -> Result<(), SetupError> {
        let vmapi = &self.apis.vmapi;
        let change = [(key.to_owned(), value)].into_iter().collect();
        let begun = vmapi.update(zone.uuid, self.apis.admin, &change).await;
        let job = begun.map_err(api(what))?.job_uuid;
        let ended = vmapi.wait(job, EVERY, self.patience).await;
        let vm = self.vm(zone.uuid).await?;
        match ended {
            Err(source) if !vm.is_some_and(|vm| done(&vm)) => {
                let what = format!("{what}: {}", zone.alias);
                Err(SetupError::Job { what, source })
            }
            _ => Ok(()),
        }
    }

    /// A zone that is well is taken down only while another of its pair is
    /// well, where there is another: of those with the same data, as `update`
    /// has it.
    pub(super) async fn has_partner(
        &self,
        zone: &Named,
    ) -> Result<(), SetupError> {
        let well = async |member: &Member| {
            let check = Check::of(self.target.name());
            match (member.admin_ip(), check) {
                (Some(address), Some(check)) => {
                    check.ask(self.http, address).await.is_ok()
                }
                _ => false,
            }
        };
        let name = self.target.blueprint().service;
        let rosters = rosters(self.apis, self.apis.sdc, name).await?;
        let [roster] = &rosters[..] else {
            return Err(several(name, rosters.len()));
        };
        let is = |one: &&Member| one.instance.uuid == zone.uuid;
        let Some(own) = roster.members.iter().find(is) else {
            return Ok(());
        };
        let group = roster.group(own);
        let others = roster.members.iter().filter(|one| !is(one));
        let pair: Vec<_> =
            others.filter(|one| roster.group(one) == group).collect();
        if pair.is_empty() || !well(own).await {
            return Ok(());
        }
        for other in pair {
            if well(other).await {
                return Ok(());
            }
        }
        Err(SetupError::Deploy(DeployError::Odd {
            what: format!("{}, which restarts, its partners", zone.alias),
            seen: "none that is well".into(),
            wanted: "one that is well meanwhile",
        }))
    }

    pub(super) async fn add_nic(
        &self,
        zone: &Named,
        nic_tag: &str,
        network: Uuid,
        primary: bool,
    ) -> Result<(), SetupError> {
        let has = |vm: &Vm| vm.nics.iter().any(|nic| nic.nic_tag == nic_tag);
        if has(&self.running(zone).await?) {
            return Ok(());
        }
        let vmapi = &self.apis.vmapi;
        // A run that was cut off, or somebody else, may be at it.
        let going = vmapi.pending(ADD_NICS, zone.uuid).await;
        let job = match going.map_err(api("ask VMAPI for jobs"))? {
            Some(job) => job,
            None => {
                let owner = self.apis.admin;
                let uuid = zone.uuid;
                let begun = vmapi.add_nic(uuid, owner, network, primary).await;
                begun.map_err(api("add a NIC"))?.job_uuid
            }
        };
        let ended = vmapi.wait(job, EVERY, self.patience).await;
        let vm = self.vm(zone.uuid).await?;
        if vm.as_ref().is_some_and(|vm| vm.state == "stopped") {
            // It was stopped for the NIC, and the job did not come so far as
            // to start it again.
            self.start(zone).await?;
        }
        match ended {
            Err(source) if !vm.is_some_and(|vm| has(&vm)) => {
                Err(SetupError::Job {
                    what: format!("add a NIC to {}", zone.alias),
                    source,
                })
            }
            _ => Ok(()),
        }
    }

    /// Starts a zone that is stopped.
    async fn start(&self, zone: &Named) -> Result<(), SetupError> {
        let vmapi = &self.apis.vmapi;
        let mut tries = Tries::new();
        let job = loop {
            match vmapi.start_vm(zone.uuid, self.apis.admin).await {
                Ok(begun) => break begun.job_uuid,
                Err(error) if error.is_passing() && tries.another().await => {
                    // It was begun all the same.
                    let vm = self.vm(zone.uuid).await?;
                    if vm.is_none_or(|vm| vm.state != "stopped") {
                        return Ok(());
                    }
                }
                Err(error) => return Err(api("start a zone")(error)),
            }
        };
        let started = vmapi.wait(job, EVERY, self.patience).await;
        started.map_err(|source| SetupError::Job {
            what: format!("start {}", zone.alias),
            source,
        })
    }

    async fn vm(&self, uuid: Uuid) -> Result<Option<Vm>, SetupError> {
        let vm = self.apis.vmapi.vm(uuid, None).await;
        vm.map_err(api("ask VMAPI for a zone"))
    }

    /// The service, which is there by now.
    async fn service(&self) -> Result<Service, SetupError> {
        let name = self.target.blueprint().service;
        let known = self.apis.sapi.services_named(self.apis.sdc, name).await;
        let mut known = known.map_err(api("ask SAPI for a service"))?;
        match (known.pop(), known.len()) {
            (Some(service), 0) => Ok(service),
            (last, more) => {
                Err(several(name, more + usize::from(last.is_some())))
            }
        }
    }
}

fn several(name: &str, seen: usize) -> SetupError {
    SetupError::Deploy(DeployError::Odd {
        what: format!("SAPI's services named {name}"),
        seen: seen.to_string(),
        wanted: "one",
    })
}
