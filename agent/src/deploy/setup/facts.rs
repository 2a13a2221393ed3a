// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What there is, asked of all APIs; nothing is changed.
//!
//! Not looked at: `triton_cns_enabled` of account admin, which UFDS alone
//! knows. CNS lists zones of admin's that have a role either way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::Value;
use uuid::Uuid;

use super::blueprint::{ADMIN, Blueprint, MANTA};
use super::image::{Found, find};
use super::journal::{Pending, unix_now};
use super::step::Named;
use super::{Request, SetupError};
use crate::deploy::health::Check;
use crate::deploy::images::{Updates, Wanted};
use crate::deploy::roster::{Roster, admin_ip, rosters};
use crate::deploy::{Apis, DeployError};
use crate::triton::Http;
use crate::triton::cnapi::Server;
use crate::triton::fwapi::Rule;
use crate::triton::napi::Network;
use crate::triton::papi::Package;
use crate::triton::vmapi::Vm;

/// What a plan is made of.
pub struct Facts {
    /// Account `admin`.
    pub admin: Uuid,
    /// `<datacenter>.<dns domain>`.
    pub domain: String,
    /// The services of that name: one, none, or too many.
    pub rosters: Vec<Roster>,
    /// What VMAPI has of instances and of what was begun, where that is no
    /// zone: failed or destroyed.
    pub remains: BTreeMap<Uuid, Vm>,
    /// Zones of this role that no instance stands for.
    pub strays: Vec<Vm>,
    /// Of these, those that are instances of another service: its uuid.
    pub taken: BTreeMap<Uuid, Uuid>,
    /// Zones that answered that they are well.
    pub well: BTreeSet<Uuid>,
    /// Services that must be there, with their number of instances.
    pub needed: BTreeMap<&'static str, usize>,
    /// Packages of the wanted name.
    pub packages: Vec<Package>,
    /// Quota that SAPI gives new zones, GiB: that of the service's own package
    /// or params, the greater; `None` without a service.
    pub quota_gib: Option<u64>,
    /// Networks by name.
    pub networks: BTreeMap<&'static str, Vec<Network>>,
    /// Servers.
    pub servers: Vec<Server>,
    /// The image.
    pub image: Found,
    /// The image that the service has, where that is not asked to change.
    pub kept_image: bool,
    /// Admin's rules about roles.
    pub rules: Vec<Rule>,
    /// Manta's Prometheus.
    pub manta: Option<Manta>,
    /// Who may transfer CNS' zones.
    pub transfer: Option<Transfer>,
    /// What earlier runs began.
    pub pending: BTreeMap<Uuid, Pending>,
    /// When this was gathered, Unix seconds.
    pub now: u64,
}

/// Manta as far as its Prometheus is asked by zones of Triton's.
pub struct Manta {
    /// Account `poseidon`.
    pub owner: Uuid,
    /// Its rules about roles.
    pub rules: Vec<Rule>,
}

/// Whom CNS lets transfer its zones.
pub struct Transfer {
    /// Service `cns`.
    pub service: Uuid,
    /// Metadata `allow_transfer`.
    pub allowed: Vec<String>,
    /// Manta's zones of this role that run, which transfer too: nobody else
    /// tells CNS of them.
    pub manta: Vec<(Named, IpAddr)>,
    /// Admin addresses that zones of this service had and nobody has now.
    pub gone: BTreeSet<IpAddr>,
}

/// Gathers them.
///
/// Errors: an API's own.
pub async fn gather(
    apis: &Apis,
    http: &Http,
    updates: &Updates,
    request: &Request,
    pending: BTreeMap<Uuid, Pending>,
) -> Result<Facts, SetupError> {
    let blueprint = request.target.blueprint();
    let name = blueprint.service;
    apis.whole().await?;
    let rosters = rosters(apis, apis.sdc, name).await?;
    let mut facts = Facts {
        admin: apis.admin,
        domain: apis.domain.clone(),
        remains: BTreeMap::new(),
        strays: Vec::new(),
        taken: BTreeMap::new(),
        well: BTreeSet::new(),
        needed: BTreeMap::new(),
        packages: Vec::new(),
        quota_gib: None,
        networks: BTreeMap::new(),
        servers: Vec::new(),
        image: Found::default(),
        kept_image: false,
        rules: Vec::new(),
        manta: manta(apis).await?,
        transfer: None,
        pending,
        now: unix_now(),
        rosters,
    };
    facts.members(apis, http, request).await?;
    facts.stock(apis, blueprint, request).await?;
    facts.image(apis, updates, request).await?;
    for need in blueprint.needs {
        let found = self::rosters(apis, apis.sdc, need).await?;
        let count = found.iter().map(|one| one.members.len()).sum();
        facts.needed.insert(need, count);
    }
    let manta = facts.manta.as_ref().map(|manta| manta.owner);
    facts.transfer = transfer(apis, name, manta).await?;
    Ok(facts)
}

impl Facts {
    /// What earlier runs began and is done by now, no longer pending: such a
    /// zone may hold data, so it is nobody's to destroy if it fails one day.
    pub fn settle(&mut self) -> Vec<Uuid> {
        let members = self.rosters.iter().flat_map(|one| &one.members);
        let run = members.filter(|member| {
            member.vm.as_ref().is_some_and(|vm| vm.state == "running")
        });
        let run: Vec<_> =
            run.map(|one| (one.instance.uuid, one.alias())).collect();
        // Also what was to take its place, had it not come to life.
        let done = |(uuid, pending): &(&Uuid, &Pending)| {
            let over = pending.anew && !self.remains.contains_key(uuid);
            run.iter().any(|(running, alias)| {
                running == *uuid || over && pending.alias == *alias
            })
        };
        let done = self.pending.iter().filter(done).map(|(uuid, _)| *uuid);
        let done: Vec<_> = done.collect();
        done.iter().for_each(|uuid| drop(self.pending.remove(uuid)));
        done
    }

    /// Whether a zone that failed is one that a run has just begun.
    pub(super) fn never_ran(&self, vm: &Vm) -> bool {
        let begun = self.pending.get(&vm.uuid);
        begun.is_some_and(|begun| begun.never_ran(vm, self.now))
    }

    /// Instances without zones, zones without instances, and who is well.
    async fn members(
        &mut self,
        apis: &Apis,
        http: &Http,
        request: &Request,
    ) -> Result<(), DeployError> {
        let check = Check::of(request.target.name());
        let members = self.rosters.iter().flat_map(|one| &one.members);
        for member in members {
            let uuid = member.instance.uuid;
            if member.vm.is_none() {
                let vm = apis.vmapi.vm(uuid, None).await;
                let vm =
                    vm.map_err(DeployError::api("ask VMAPI for a zone"))?;
                self.remains.extend(vm.map(|vm| (uuid, vm)));
            }
            if let (Some(address), Some(check)) = (member.admin_ip(), check)
                && check.ask(http, address).await.is_ok()
            {
                self.well.insert(uuid);
            }
        }
        let known = |vm: &Vm| {
            let mut all = self.rosters.iter().flat_map(|one| &one.members);
            all.any(|member| member.instance.uuid == vm.uuid)
        };
        // SAPI would take it for made: VMAPI knows the uuid.
        for uuid in self.pending.keys() {
            let vm = apis.vmapi.vm(*uuid, None).await;
            let vm = vm.map_err(DeployError::api("ask VMAPI for a zone"))?;
            let over = vm.filter(|vm| {
                matches!(vm.state.as_str(), "destroyed" | "failed")
            });
            self.remains.extend(over.map(|vm| (*uuid, vm)));
        }
        let role = request.target.blueprint().service;
        let filter = [("tag.smartdc_role", role), ("state", "active")];
        let vms = apis.vmapi.vms(apis.admin, &filter).await;
        let vms = vms.map_err(DeployError::api("ask VMAPI for zones"))?;
        self.strays = vms.into_iter().filter(|vm| !known(vm)).collect();
        for vm in &self.strays {
            let other = apis.sapi.instance(vm.uuid).await;
            let other =
                other.map_err(DeployError::api("ask SAPI for an instance"))?;
            self.taken.extend(other.map(|one| (vm.uuid, one.service_uuid)));
        }
        Ok(())
    }

    /// What zones are made of.
    async fn stock(
        &mut self,
        apis: &Apis,
        blueprint: &Blueprint,
        request: &Request,
    ) -> Result<(), DeployError> {
        let package = request.package.as_deref().unwrap_or(blueprint.package);
        let packages = apis.papi.packages(package).await;
        self.packages =
            packages.map_err(DeployError::api("ask PAPI for a package"))?;
        if let Some(roster) = self.rosters.first() {
            let params = &roster.service.params;
            let own = params.get("billing_id").and_then(Value::as_str);
            let of_package = match own.and_then(|text| text.parse().ok()) {
                Some(uuid) if request.package.is_none() => {
                    let found = apis.papi.package(uuid).await;
                    found.map_err(DeployError::api("ask PAPI for a package"))?
                }
                _ => self.packages.iter().find(|one| one.active).cloned(),
            };
            let of_package = of_package.map_or(0, |one| one.quota_mib / 1024);
            let own = params.get("quota").and_then(Value::as_u64);
            self.quota_gib = Some(of_package.max(own.unwrap_or(0)));
        }
        let mut names = blueprint.networks.to_vec();
        names.extend(blueprint.manta_nic.then_some(MANTA));
        for name in names {
            let found = apis.napi.networks(name).await;
            let found =
                found.map_err(DeployError::api("ask NAPI for a network"))?;
            self.networks.insert(name, found);
        }
        let servers = apis.cnapi.servers().await;
        self.servers =
            servers.map_err(DeployError::api("ask CNAPI for servers"))?;
        let rules = apis.fwapi.rules(apis.admin, Some("smartdc_role")).await;
        self.rules = rules.map_err(DeployError::api("ask FWAPI for rules"))?;
        Ok(())
    }

    /// The image asked for; else the one that the service has, if it can be
    /// had; else the newest.
    async fn image(
        &mut self,
        apis: &Apis,
        updates: &Updates,
        request: &Request,
    ) -> Result<(), DeployError> {
        let names = request.target.blueprint().images;
        let set = self.rosters.first().and_then(|one| {
            let image = one.service.params.get("image_uuid")?.as_str()?;
            image.parse().ok()
        });
        let wish = match (&request.image, set) {
            (Some(wish), _) => wish.clone(),
            (None, Some(uuid)) => {
                self.kept_image = true;
                Wanted::Uuid(uuid)
            }
            (None, None) => Wanted::Latest,
        };
        self.image = find(apis, updates, names, &wish).await?;
        Ok(())
    }
}

async fn manta(apis: &Apis) -> Result<Option<Manta>, DeployError> {
    let found = apis.sapi.applications("manta", true).await;
    let found = found.map_err(DeployError::api("ask SAPI for manta"))?;
    for application in found {
        let Some(owner) = application.owner_uuid else { continue };
        let services = apis.sapi.services(application.uuid, true).await;
        let services =
            services.map_err(DeployError::api("ask SAPI for services"))?;
        if services.iter().any(|one| one.name == "prometheus") {
            let rules = apis.fwapi.rules(owner, Some("manta_role")).await;
            let rules =
                rules.map_err(DeployError::api("ask FWAPI for rules"))?;
            return Ok(Some(Manta { owner, rules }));
        }
    }
    Ok(None)
}

async fn transfer(
    apis: &Apis,
    role: &str,
    manta: Option<Uuid>,
) -> Result<Option<Transfer>, DeployError> {
    let services = apis.sapi.services_named(apis.sdc, "cns").await;
    let services = services.map_err(DeployError::api("ask SAPI for cns"))?;
    let [cns] = &services[..] else { return Ok(None) };
    let zones = async |owner, filter: &[(&str, &str)]| {
        let vms = apis.vmapi.vms(owner, filter).await;
        vms.map_err(DeployError::api("ask VMAPI for zones"))
    };
    let destroyed = [("tag.smartdc_role", role), ("state", "destroyed")];
    let mut destroyed = zones(apis.admin, &destroyed).await?;
    let mut running = Vec::new();
    if let (Some(owner), "prometheus") = (manta, role) {
        let role = ("tag.manta_role", role);
        destroyed.extend(zones(owner, &[role, ("state", "destroyed")]).await?);
        running = zones(owner, &[role, ("state", "running")]).await?;
    }
    // Assumed: VMAPI keeps the NICs of zones that are destroyed. If not, their
    // addresses stay, which is what every other tool leaves behind.
    // An address may be another zone's by now, who may be let in on purpose;
    // Manta's Prometheus is.
    let mut gone = addresses(&destroyed);
    for owner in [Some(apis.admin), manta].into_iter().flatten() {
        let alive = addresses(&zones(owner, &[("state", "active")]).await?);
        gone.retain(|address| !alive.contains(address));
    }
    let allowed = super::transfer::allowed(cns)?;
    let manta = running.iter().filter_map(|vm| {
        let (uuid, alias) = (vm.uuid, vm.alias.clone());
        Some((Named { uuid, alias }, admin_ip(vm)?))
    });
    let manta = manta.collect();
    Ok(Some(Transfer { service: cns.uuid, allowed, manta, gone }))
}

fn addresses(vms: &[Vm]) -> BTreeSet<IpAddr> {
    let nics = vms.iter().flat_map(|vm| &vm.nics);
    let admin = nics.filter(|nic| nic.nic_tag == ADMIN);
    admin.filter_map(|nic| nic.ip.parse().ok()).collect()
}
