// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A CNS of one account whose clock and VMs a test moves.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::Map;
use time::OffsetDateTime;

use super::{Cns, CnsConfig};
use crate::datacenter::{Account, Datacenter, Facts, Nic, Vm};

/// 2026-01-01, where the clock begins.
const START: i64 = 1_767_225_600;

/// See the module.
pub struct ClockedCns {
    /// The server; serves once a test lets it.
    pub cns: Cns,
    datacenter: Arc<Datacenter>,
    now: Arc<AtomicI64>,
}

impl ClockedCns {
    /// Its forward zone.
    pub const ZONE: &str = "dc1.cns.triton.test";
    /// The owner of all VMs.
    pub const USER: &str = "00000000-0000-4000-8000-0000000000cc";

    /// With these VMs.
    pub fn new(vms: Vec<Vm>) -> Self {
        let facts = Facts {
            datacenter_name: "dc1".to_owned(),
            dns_domain: "triton.test".to_owned(),
            region_name: "region1".to_owned(),
            accounts: vec![Account {
                uuid: Self::USER.to_owned(),
                login: "user".to_owned(),
                operator: false,
                keys: Vec::new(),
            }],
            servers: Vec::new(),
            vms,
        };
        let now = Arc::new(AtomicI64::new(START));
        let mut config = CnsConfig::new(&facts);
        config.naming.enabled_owners.insert(Self::USER.to_owned());
        let clock = Arc::clone(&now);
        config.clock = Arc::new(move || {
            let seconds =
                time::Duration::seconds(clock.load(Ordering::Relaxed));
            OffsetDateTime::UNIX_EPOCH + seconds
        });
        let datacenter = Arc::new(Datacenter::new(facts));
        let cns = Cns::new(Arc::clone(&datacenter), config);
        Self { cns, datacenter, now }
    }

    /// Lets time pass.
    pub fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Changes the VMs, `seconds` after the last change.
    pub fn change(&self, seconds: i64, edit: impl FnOnce(&mut Vec<Vm>)) {
        self.pass(seconds);
        self.datacenter.update(|facts| edit(&mut facts.vms));
        self.cns.commit_now();
    }

    /// A VM of that number without tags.
    pub fn vm(n: u8) -> Vm {
        Vm {
            uuid: format!("11111111-1111-4111-8111-1111111111{n:02x}"),
            alias: format!("vm{n}"),
            owner_uuid: Self::USER.to_owned(),
            server_uuid: "8d1f0c1e-0000-4000-8000-00000000c001".to_owned(),
            state: "running".to_owned(),
            brand: "lx".to_owned(),
            image_uuid: "5a0e0000-0000-4000-8000-0000000000aa".to_owned(),
            tags: Map::new(),
            nics: vec![Nic {
                nic_tag: "external".to_owned(),
                ip: Ipv4Addr::new(10, 9, 0, n),
                network_uuid: "net-external".to_owned(),
            }],
        }
    }
}
