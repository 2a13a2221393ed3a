// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The facts of one datacenter that all stand-ins share: accounts, servers
//! and VMs. VMAPI writes them, CMON and CNS read them. Beside them the stock
//! that zones are made of, the jobs that make them, and a gate that all calls
//! pass who change anything.

pub(crate) mod job;
pub(crate) mod stock;

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::watch;

pub use self::job::Fate;
pub use self::stock::{Network, Stock, Zone};
use crate::http::Gate;

/// One NIC of a VM or a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// NIC tag: `admin`, `external`, `manta`.
    pub nic_tag: String,
    /// IPv4 address.
    pub ip: Ipv4Addr,
    /// NAPI network.
    pub network_uuid: String,
}

/// A VM as VMAPI knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vm {
    /// VM uuid, lower case.
    pub uuid: String,
    /// Alias; unique enough for people.
    pub alias: String,
    /// Account that owns it.
    pub owner_uuid: String,
    /// Compute node it runs on.
    pub server_uuid: String,
    /// `provisioning`, `running`, `stopped`, `failed`, `destroyed`.
    pub state: String,
    /// `joyent-minimal` or `lx`.
    pub brand: String,
    /// Image it was made from.
    pub image_uuid: String,
    /// Tags: strings, numbers or booleans.
    #[serde(default)]
    pub tags: Map<String, Value>,
    /// NICs in order.
    #[serde(default)]
    pub nics: Vec<Nic>,
}

/// A compute node as CNAPI knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Server uuid.
    pub uuid: String,
    /// Host name.
    pub hostname: String,
}

/// An account of UFDS with its SSH public keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Account uuid.
    pub uuid: String,
    /// Login: `admin`, `poseidon`, ...
    pub login: String,
    /// Member of the operators group.
    pub operator: bool,
    /// Public keys in OpenSSH form (`ssh-rsa AAAA... comment`).
    pub keys: Vec<String>,
}

/// All facts at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Datacenter name, for instance `dc1`.
    pub datacenter_name: String,
    /// Triton's DNS domain, for instance `triton.test`.
    pub dns_domain: String,
    /// Region, for instance `region1`.
    pub region_name: String,
    /// Accounts.
    pub accounts: Vec<Account>,
    /// Compute nodes.
    pub servers: Vec<Server>,
    /// VMs, destroyed ones included until they are dropped.
    pub vms: Vec<Vm>,
}

impl Facts {
    /// The CNS forward zone: `<dc>.cns.<domain>`.
    pub fn cns_zone(&self) -> String {
        format!("{}.cns.{}", self.datacenter_name, self.dns_domain)
    }

    /// An account by login.
    pub fn account(&self, login: &str) -> Option<&Account> {
        self.accounts.iter().find(|a| a.login == login)
    }

    /// A VM by uuid.
    pub fn vm(&self, uuid: &str) -> Option<&Vm> {
        self.vms.iter().find(|vm| vm.uuid == uuid)
    }
}

/// The shared, changing datacenter. Locks are never held across an await; who
/// needs both takes that of the facts first.
#[derive(Debug)]
pub struct Datacenter {
    facts: Mutex<Facts>,
    stock: Mutex<Stock>,
    gate: Arc<Gate>,
    changed: watch::Sender<u64>,
    witnesses: Mutex<Witnesses>,
}

/// What sees the facts after each update.
type Look = Box<dyn Fn(&Facts) + Send>;

/// All that do.
#[derive(Default)]
struct Witnesses(Vec<Look>);

impl fmt::Debug for Witnesses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} witnesses", self.0.len())
    }
}

impl Datacenter {
    /// Starts from `facts`.
    pub fn new(facts: Facts) -> Self {
        Self {
            facts: Mutex::new(facts),
            stock: Mutex::default(),
            gate: Arc::default(),
            changed: watch::Sender::new(0),
            witnesses: Mutex::default(),
        }
    }

    /// Has `look` see the facts now and after each update, before anybody can
    /// make another: so it misses none. It must not ask for the facts itself.
    pub fn witness(&self, look: impl Fn(&Facts) + Send + 'static) {
        self.read(&look);
        let mut witnesses = self.witnesses.lock().expect("no holder panics");
        witnesses.0.push(Box::new(look));
    }

    fn show(&self, facts: &Facts) {
        let witnesses = self.witnesses.lock().expect("no holder panics");
        witnesses.0.iter().for_each(|look| look(facts));
    }

    /// The stock, empty at first. Whoever holds it must not touch the facts.
    pub fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().expect("no holder panics")
    }

    /// What Triton's APIs are all asked through.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// A copy of the facts now.
    pub fn facts(&self) -> Facts {
        self.facts.lock().expect("no holder panics").clone()
    }

    /// Looks at the facts without copying them.
    pub fn read<T>(&self, look: impl FnOnce(&Facts) -> T) -> T {
        look(&self.facts.lock().expect("no holder panics"))
    }

    /// Changes the facts and wakes everyone who subscribed.
    pub fn update<T>(&self, change: impl FnOnce(&mut Facts) -> T) -> T {
        let mut facts = self.facts.lock().expect("no holder panics");
        let answer = change(&mut facts);
        self.show(&facts);
        drop(facts);
        self.changed.send_modify(|n| *n += 1);
        answer
    }

    /// As `update`; but a refusal, which has changed nothing, wakes no one.
    pub(crate) fn try_update<T, E>(
        &self,
        change: impl FnOnce(&mut Facts) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut facts = self.facts.lock().expect("no holder panics");
        let answer = change(&mut facts)?;
        self.show(&facts);
        drop(facts);
        self.changed.send_modify(|n| *n += 1);
        Ok(answer)
    }

    /// Fires after each update; the number counts updates.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
