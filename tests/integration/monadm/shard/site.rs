// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A datacenter whose zones are to be dealt out, and who deals them.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::collections::BTreeMap;

use localdc::datacenter::Vm;
use localdc::sapi::Kind;
use localdc::triton::{Triton, facts, ids};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::{Ended, monadm};

pub(super) const SERVICE: &str = "5e000000-0000-4000-8000-000000000001";
pub(super) const KEY: &str = "triton.cmon.groups";
/// Zones of customers' making, beside `cns0`, `cmon0` and the pairs.
pub(super) const OTHERS: usize = 40;

/// A datacenter with two pairs, whose zones nobody scrapes yet.
pub(super) struct Site {
    pub(super) triton: Triton,
    pub(super) folder: TempDir,
}

pub(super) fn uuid(kind: u8, number: usize) -> String {
    format!("{kind:02x}000000-0000-4000-8000-{number:012x}")
}

pub(super) fn vm(uuid: String, alias: String) -> Vm {
    let like = facts().vms[0].clone();
    Vm { uuid, alias, tags: serde_json::Map::new(), nics: vec![], ..like }
}

impl Site {
    pub(super) async fn new() -> Self {
        let mut facts = facts();
        let others = (0..OTHERS).map(|n| vm(uuid(0xb0, n), format!("web{n}")));
        facts.vms.extend(others);
        let folder = tempfile::tempdir().unwrap();
        let triton = Triton::start(facts).await.unwrap();
        let site = Self { triton, folder };
        let service = json!({"uuid": SERVICE, "name": "prometheus",
            "application_uuid": ids::SDC, "type": "vm"});
        site.triton.sapi.handle.put(Kind::Service, service);
        for shard in 0..2 {
            site.pair(shard);
        }
        site
    }

    /// Two instances that share a group, and their zones.
    pub(super) fn pair(&self, shard: usize) {
        for half in 0..2 {
            let number = 2 * shard + half;
            let uuid = uuid(0xd0, number);
            let instance = json!({"uuid": uuid, "service_uuid": SERVICE,
                "metadata": {"groups": [format!("shard-{shard}")]}});
            self.triton.sapi.handle.put(Kind::Instance, instance);
            let zone = vm(uuid, format!("prometheus{number}"));
            self.triton.datacenter.update(|facts| facts.vms.push(zone));
        }
    }

    pub(super) async fn run(&self, words: &[&str]) -> Ended {
        monadm(&self.triton.sapi.url(), words).await
    }

    pub(super) async fn plan(&self, more: &[&str]) -> Value {
        let words = [&["shard", "plan", "--json"], more].concat();
        let ended = self.run(&words).await;
        serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|error| panic!("{error}: {ended:?}"))
    }

    pub(super) async fn apply(&self, more: &[&str]) -> Ended {
        self.write(&["apply"], more).await
    }

    /// A verb that writes.
    pub(super) async fn write(&self, verb: &[&str], more: &[&str]) -> Ended {
        let lock = self.lock();
        let words = [&["shard"], verb, &["--lock", &lock], more].concat();
        self.run(&words).await
    }

    /// Each site is a machine of its own.
    pub(super) fn lock(&self) -> String {
        self.folder.path().join("lock").display().to_string()
    }

    pub(super) fn tag(&self, uuid: &str) -> Option<String> {
        self.tags().remove(uuid)
    }

    pub(super) fn tags(&self) -> BTreeMap<String, String> {
        let tag = |vm: &Vm| Some((vm.uuid.clone(), text(vm.tags.get(KEY)?)));
        self.triton.datacenter.read(|f| f.vms.iter().filter_map(tag).collect())
    }

    /// Another zone of the account.
    pub(super) fn make(&self, number: usize) -> String {
        let uuid = uuid(0xb0, number);
        let zone = vm(uuid.clone(), format!("web{number}"));
        self.triton.datacenter.update(|facts| facts.vms.push(zone));
        uuid
    }

    pub(super) fn change(&self, uuid: &str, change: impl FnOnce(&mut Vm)) {
        self.triton.datacenter.update(|facts| {
            let vm = facts.vms.iter_mut().find(|vm| vm.uuid == uuid);
            change(vm.unwrap());
        });
    }

    /// Changes the metadata of an instance of Prometheus.
    pub(super) fn metadata(&self, number: usize, key: &str, value: Value) {
        let uuid = uuid(0xd0, number);
        let sapi = &self.triton.sapi.handle;
        sapi.edit_metadata(Kind::Instance, &uuid, |all| {
            all.insert(key.to_owned(), value);
        });
    }

    pub(super) fn set_tag(&self, uuid: &str, value: &str) {
        self.change(uuid, |vm| {
            vm.tags.insert(KEY.into(), value.into());
        });
    }

    /// How many zones each shard scrapes.
    pub(super) fn loads(&self) -> BTreeMap<String, usize> {
        let mut loads = BTreeMap::new();
        for tag in self.tags().values() {
            let ours = tag.split(',').filter(|name| name.starts_with("shard-"));
            let ours: Vec<&str> = ours.collect();
            assert_eq!(ours.len(), 1, "{tag}");
            *loads.entry(ours[0].to_owned()).or_default() += 1;
        }
        loads
    }

    pub(super) fn writes(&self) -> usize {
        self.triton.datacenter.gate().count()
    }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

pub(super) fn loads(all: &[usize]) -> BTreeMap<String, usize> {
    let named = |(n, load): (usize, &usize)| (format!("shard-{n}"), *load);
    all.iter().enumerate().map(named).collect()
}
