// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The compute nodes of a datacenter: what VMAPI says runs, runs. A zone of
//! one of our roles is booted as soon as its VM is there, again on the same
//! delegate dataset after a reprovision, and ended with its VM. Beside it does
//! what core zones' own agents do: registrar tells binder, CNS heeds its
//! `allow_transfer`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{Instance, Services, WorldError, WorldSpec, joined};
use crate::datacenter::{Datacenter, Facts, Vm};
use crate::sapi::{Kind, ids};
use crate::zone::Network;

/// SAPI tells nobody of changes; it is asked this often.
const LOOK: Duration = Duration::from_millis(250);
/// What runs here.
const ROLES: [&str; 3] = ["prometheus", "thanos", "grafana"];

/// The zones, by uuid.
type Zones = Arc<Mutex<BTreeMap<String, Slot>>>;

/// A VM's place on its server.
struct Slot {
    /// Its delegate dataset.
    data: PathBuf,
    /// Which root file system it was booted of.
    root: Uuid,
    /// `None` while it is down.
    instance: Option<Arc<Instance>>,
    /// Why it is down, if nobody wants it to be.
    trouble: Option<String>,
}

/// The servers at work; dropping it ends them and their zones.
pub struct Platform {
    zones: Zones,
    loses_data: Arc<AtomicBool>,
    work: JoinHandle<()>,
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl Platform {
    /// Begins to boot what there is and what will be.
    pub(super) fn start(
        spec: WorldSpec,
        datacenter: Arc<Datacenter>,
        services: Services,
        network: Arc<Network>,
    ) -> Self {
        let zones = Zones::default();
        let loses_data = Arc::<AtomicBool>::default();
        let worker = Worker {
            spec,
            datacenter,
            services,
            network,
            zones: Arc::clone(&zones),
            loses_data: Arc::clone(&loses_data),
            allowed: Value::Null,
        };
        let work = tokio::spawn(worker.run());
        Self { zones, loses_data, work }
    }

    /// From now on nothing on a delegate dataset outlives a reprovision.
    pub fn lose_data(&self) {
        self.loses_data.store(true, Ordering::Relaxed);
    }

    /// The zone with this alias, if it runs. Not to be kept over a
    /// reprovision, which waits until it is let go.
    ///
    /// Errors: why it does not.
    pub fn zone(&self, alias: &str) -> Result<Arc<Instance>, String> {
        let zones = lock(&self.zones);
        let slots = zones.values().filter_map(|slot| {
            let instance = slot.instance.as_ref()?;
            (instance.zone().spec().name == alias).then_some(instance)
        });
        let found = slots.map(Arc::clone).next();
        found.ok_or_else(|| {
            let troubles =
                zones.values().filter_map(|slot| slot.trouble.as_deref());
            let troubles: Vec<&str> = troubles.collect();
            format!("no zone {alias} runs; {}", troubles.join("; "))
        })
    }
}

struct Worker {
    spec: WorldSpec,
    datacenter: Arc<Datacenter>,
    services: Services,
    network: Arc<Network>,
    zones: Zones,
    loses_data: Arc<AtomicBool>,
    /// CNS' `allow_transfer`, as it was last seen.
    allowed: Value,
}

impl Worker {
    async fn run(mut self) {
        let mut changes = self.datacenter.subscribe();
        loop {
            changes.mark_unchanged();
            self.pass().await;
            // Both only wait.
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn pass(&mut self) {
        self.heed_allow_transfer();
        let facts = self.datacenter.facts();
        let wanted: BTreeMap<&str, (&Vm, Uuid)> = facts
            .vms
            .iter()
            .filter(|vm| role(vm).is_some() && vm.state == "running")
            .map(|vm| {
                let root = self.datacenter.stock().zone(&vm.uuid).root;
                (vm.uuid.as_str(), (vm, root))
            })
            .collect();
        let known: Vec<String> = lock(&self.zones).keys().cloned().collect();
        for uuid in &known {
            let root = wanted.get(uuid.as_str()).map(|(_, root)| *root);
            self.end(uuid, root).await;
            if facts.vm(uuid).is_none_or(|vm| vm.state == "destroyed") {
                lock(&self.zones).remove(uuid);
            }
        }
        for (vm, root) in wanted.into_values() {
            self.boot(&facts, vm, root).await;
        }
        self.register(&facts);
    }

    /// Shuts a zone down that is not to run, or not of this root.
    async fn end(&self, uuid: &str, root: Option<Uuid>) {
        let taken = {
            let mut zones = lock(&self.zones);
            let Some(slot) = zones.get_mut(uuid) else { return };
            if Some(slot.root) == root {
                return;
            }
            slot.trouble = None;
            slot.instance.take()
        };
        let Some(mut instance) = taken else { return };
        // Who looks at it lets go of it soon.
        loop {
            match Arc::try_unwrap(instance) {
                Ok(mut own) => {
                    own.zone_mut().shut_down().await;
                    return;
                }
                Err(shared) => instance = shared,
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn boot(&self, facts: &Facts, vm: &Vm, root: Uuid) {
        let data = {
            let zones = lock(&self.zones);
            match zones.get(&vm.uuid) {
                Some(slot) if slot.root == root && slot.instance.is_some() => {
                    return;
                }
                slot => slot.map(|slot| slot.data.clone()),
            }
        };
        if let Some(data) = &data
            && self.loses_data.load(Ordering::Relaxed)
        {
            let below = std::fs::read_dir(data).into_iter().flatten();
            for entry in below.flatten() {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let booted = self.boot_on(facts, vm, data).await;
        let (data, booted) = match booted {
            Ok((data, instance)) => (data, Ok(Arc::new(instance))),
            Err((data, error)) => (data, Err(joined(&error))),
        };
        let trouble = booted.as_ref().err().cloned();
        if let Some(trouble) = &trouble {
            tracing::warn!(zone = %vm.alias, %trouble, "a zone did not boot");
        }
        let slot = Slot { data, root, instance: booted.ok(), trouble };
        lock(&self.zones).insert(vm.uuid.clone(), slot);
    }

    async fn boot_on(
        &self,
        facts: &Facts,
        vm: &Vm,
        data: Option<PathBuf>,
    ) -> Result<(PathBuf, Instance), (PathBuf, WorldError)> {
        let role = role(vm).expect("others are not wanted");
        let data = match data
            .map_or_else(|| self.network.data_folder(&vm.alias), Ok)
        {
            Ok(data) => data,
            Err(error) => return Err((PathBuf::new(), error.into())),
        };
        let network = &self.network;
        let booted =
            Instance::boot_on(&self.spec, facts, network, vm, role, &data);
        match booted.await {
            Ok(instance) => Ok((data, instance)),
            Err(error) => Err((data, error)),
        }
    }

    /// What registrar does in each zone, and ZooKeeper when one is gone.
    fn register(&self, facts: &Facts) {
        for name in ROLES {
            let ip = |vm: &Vm| {
                let admin = vm.nics.iter().find(|nic| nic.nic_tag == "admin");
                admin.map(|nic| (vm.uuid.clone(), nic.ip))
            };
            let zones = lock(&self.zones);
            let up = facts.vms.iter().filter(|vm| {
                role(vm) == Some(name)
                    && zones
                        .get(&vm.uuid)
                        .is_some_and(|slot| slot.instance.is_some())
            });
            let up: Vec<(String, Ipv4Addr)> = up.filter_map(ip).collect();
            let (dc, domain) = (&facts.datacenter_name, &facts.dns_domain);
            let service = format!("{name}.{dc}.{domain}");
            self.services.binder.set_instances(&service, up);
        }
    }

    /// What the agent in `cns0` does.
    fn heed_allow_transfer(&mut self) {
        let Some(cns) = self.services.sapi.get(Kind::Service, ids::CNS) else {
            return;
        };
        let allowed = &cns["metadata"]["allow_transfer"];
        if *allowed == self.allowed {
            return;
        }
        self.allowed = allowed.clone();
        let all = allowed.as_array().into_iter().flatten();
        let all = all.filter_map(|one| one.as_str()?.parse().ok()).collect();
        self.services.cns.reconfigure(|config| config.allow_transfer = all);
    }
}

fn role(vm: &Vm) -> Option<&'static str> {
    let tag = vm.tags.get("smartdc_role").and_then(Value::as_str)?;
    ROLES.into_iter().find(|role| *role == tag)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
