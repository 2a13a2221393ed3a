// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb post-setup, against all of Triton's APIs and zones that say whether
//! they are well: from nothing, after sdcadm, after a kill, after each way in
//! which a call can fail.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

mod adopt;
mod anew;
mod cut;
mod drift;
mod faults;
mod refused;
mod whole;

use std::collections::BTreeMap;

use localdc::datacenter::Vm;
use localdc::loopback::own_addresses;
use localdc::sapi::Kind;
use localdc::triton::{Doors, Triton, facts, ids};
use monitoring_agent::triton::Http;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{Ended, LIMIT, command, ended};

/// Zones that a test makes at most.
const ADDRESSES: u32 = 12;

const PAIR: &[&str] = &["prometheus", "--replicas", "2"];

/// A datacenter whose admin network is loopback, and a monadm with a journal.
struct Site {
    triton: Triton,
    doors: Doors,
    state: TempDir,
}

impl Site {
    async fn new() -> Self {
        let triton = Triton::start(facts()).await.unwrap();
        let all = own_addresses(ADDRESSES);
        for network in &mut triton.datacenter.stock().networks {
            if network.name == "admin" {
                network.provision_start_ip = all[0];
                network.provision_end_ip = all[all.len() - 1];
            }
        }
        let (datacenter, sapi) = (&triton.datacenter, &triton.sapi.handle);
        let doors = Doors::open(datacenter, sapi, &all).await.unwrap();
        let state = tempfile::tempdir().unwrap();
        Self { triton, doors, state }
    }

    fn command(&self, words: &[&str]) -> Command {
        let updates = self.triton.updates.url();
        let fixed = ["post-setup", "--updates", &updates];
        let words = [&fixed[..], words].concat();
        let mut command = command(&self.triton.sapi.url(), &words);
        command.env("MONADM_STATE", self.state.path());
        command
    }

    /// Runs it; nobody is there to be asked, so `words` say whether.
    async fn run(&self, words: &[&str]) -> Ended {
        ended(self.command(words)).await
    }

    async fn yes(&self, words: &[&str]) -> Ended {
        self.run(&[words, &["--yes"]].concat()).await
    }

    /// Runs it to its good end.
    async fn set_up(&self, words: &[&str]) -> Ended {
        let ended = self.yes(words).await;
        assert_eq!(ended.code, Some(0), "{words:?}: {ended:?}");
        ended
    }

    /// A second run finds nothing to do, asks nothing and writes nothing.
    async fn is_settled(&self, words: &[&str]) {
        let writes = self.writes();
        let ended = self.run(words).await;
        assert_eq!(ended.code, Some(0), "{words:?}: {ended:?}");
        assert!(ended.stdout.contains("nothing to do"), "{ended:?}");
        assert_eq!(self.writes(), writes, "{words:?}");
    }

    fn start(&self, words: &[&str]) -> Child {
        self.command(&[words, &["--yes"]].concat()).spawn().unwrap()
    }

    fn writes(&self) -> usize {
        self.triton.datacenter.gate().count()
    }

    fn vms(&self) -> Vec<Vm> {
        let alive = |vm: &&Vm| vm.state != "destroyed";
        self.triton
            .datacenter
            .read(|facts| facts.vms.iter().filter(alive).cloned().collect())
    }

    fn vm(&self, alias: &str) -> Vm {
        let mut all = self.vms().into_iter().filter(|vm| vm.alias == alias);
        let found = all.next().unwrap_or_else(|| panic!("no {alias}"));
        assert!(all.next().is_none(), "a twin of {alias}");
        found
    }

    /// The objects of a kind that pass.
    async fn list(&self, path: &str) -> Vec<Value> {
        let url = format!("{}/{path}", self.triton.sapi.url());
        let headers = [("accept-version", "~2")];
        let http = Http::new(LIMIT, None);
        let answer = http.get(&url, &headers, 1 << 20).await.unwrap();
        answer.json(&url).unwrap()
    }

    fn cns(&self) -> Map<String, Value> {
        let cns = self.triton.sapi.handle.get(Kind::Service, ids::CNS);
        let cns = cns.unwrap();
        cns["metadata"].as_object().unwrap().clone()
    }

    /// All that post-setup is about, object by object; uuids that it chooses
    /// and addresses that NAPI chooses stand as aliases.
    async fn everything(&self) -> Value {
        let mut names: BTreeMap<String, String> =
            [(self.triton.sapi.url(), "sapi".to_owned())].into();
        for vm in self.vms() {
            for nic in &vm.nics {
                let name = format!("{} {}", vm.alias, nic.nic_tag);
                names.insert(nic.ip.to_string(), name);
            }
            names.insert(vm.uuid, vm.alias);
        }
        let mut services = self.list("services").await;
        for service in &mut services {
            let uuid = service["uuid"].as_str().unwrap().to_owned();
            let name = service["name"].as_str().unwrap().to_owned();
            if ![ids::CNS, ids::CMON].contains(&&*uuid) {
                names.insert(uuid, format!("service {name}"));
            }
        }
        let mut instances = self.list("instances").await;
        let key = |one: &Value| one["params"]["alias"].to_string();
        instances.sort_by_key(key);
        services.sort_by_key(|one| one["name"].to_string());
        let stock = self.triton.datacenter.stock();
        let mut rules: Vec<_> = stock
            .rules
            .values()
            .map(|rule| {
                json!([rule["owner_uuid"], rule["enabled"], rule["rule"]])
            })
            .collect();
        // Their uuids are FWAPI's choice.
        rules.sort_by_key(Value::to_string);
        let images: Vec<_> = stock
            .images
            .values()
            .map(|image| json!([image["uuid"], image["state"]]))
            .collect();
        drop(stock);
        let mut zones: Vec<_> = self.vms().into_iter().map(|vm| {
            let zone = self.triton.datacenter.stock().zone(&vm.uuid);
            json!({
                "vm": vm, "quota": zone.quota_gib, "memory": zone.memory_mib,
                "firewall": zone.firewall_enabled,
                "data": zone.data.is_some(), "billing": zone.billing_id,
                "metadata": zone.customer_metadata,
                "primary": zone.primary,
            })
        }).collect();
        zones.sort_by_key(|zone| zone["vm"]["alias"].to_string());
        let mut all = json!({
            "services": services, "instances": instances, "zones": zones,
            "images": images, "rules": rules,
        });
        rename(&mut all, &names);
        all
    }
}

fn rename(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::String(text) => {
            if let Some(name) = names.get(text) {
                text.clone_from(name);
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|v| rename(v, names)),
        Value::Object(all) => all.values_mut().for_each(|v| rename(v, names)),
        _ => {}
    }
}
