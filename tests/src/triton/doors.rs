// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The doors at which tools ask zones whether they are well: one listener an
//! address and port, on loopback. A door answers 200 while a zone runs whose
//! admin address it is and whose role it goes with, 503 otherwise.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::http::Response;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cmon::ServerIdentity;
use crate::datacenter::{Datacenter, Vm};
use crate::http::rest::{Answer, Refusal, respond};
use crate::http::{self, Call, Front, Handler};
use crate::sapi::Sapi;

/// Role, port, path, and whether it is TLS.
const DOORS: [(&str, u16, &str, bool); 4] = [
    ("prometheus", 9090, "/-/healthy", false),
    ("prometheus", 9093, "/-/healthy", false),
    ("thanos", 10902, "/-/healthy", false),
    ("grafana", 443, "/ping", true),
];
/// Alertmanager's: open where metadata asks for one.
const ALERTMANAGER: u16 = 9093;

/// All doors of some addresses; dropping it closes them.
pub struct Doors {
    unwell: Arc<Mutex<BTreeSet<String>>>,
    _stop: DropGuard,
}

#[derive(Clone)]
struct Door {
    datacenter: Arc<Datacenter>,
    sapi: Sapi,
    front: Arc<Front>,
    unwell: Arc<Mutex<BTreeSet<String>>>,
    address: Ipv4Addr,
    role: &'static str,
    port: u16,
    path: &'static str,
}

impl Doors {
    /// Opens them.
    ///
    /// Errors: a port below 1024 and no right to it, or somebody has it.
    pub async fn open(
        datacenter: &Arc<Datacenter>,
        sapi: &Sapi,
        addresses: &[Ipv4Addr],
    ) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let unwell = Arc::default();
        let identity = ServerIdentity::default_of_cmon();
        let acceptor = identity.and_then(|identity| identity.acceptor());
        let acceptor = acceptor.map_err(io::Error::other)?;
        for address in addresses {
            for (role, port, path, tls) in DOORS {
                let listener = TcpListener::bind((*address, port)).await?;
                let door = Door {
                    datacenter: Arc::clone(datacenter),
                    sapi: sapi.clone(),
                    front: Arc::default(),
                    unwell: Arc::clone(&unwell),
                    address: *address,
                    role,
                    port,
                    path,
                };
                let tls = tls.then(|| acceptor.clone());
                let served = http::serve(door, listener, tls, stop.clone());
                tokio::spawn(served);
            }
        }
        Ok(Self { unwell, _stop: stop.drop_guard() })
    }

    /// A zone by its alias is unwell from now on, or well again.
    pub fn set_unwell(&self, alias: &str, unwell: bool) {
        let mut all =
            self.unwell.lock().unwrap_or_else(PoisonError::into_inner);
        match unwell {
            true => all.insert(alias.to_owned()),
            false => all.remove(alias),
        };
    }
}

impl Door {
    fn is_well(&self) -> bool {
        let is_mine = |vm: &&Vm| {
            vm.state == "running"
                && vm.tags.get("smartdc_role") == Some(&json!(self.role))
                && vm
                    .nics
                    .iter()
                    .any(|nic| nic.nic_tag == "admin" && nic.ip == self.address)
        };
        let vm = self.datacenter.read(|f| f.vms.iter().find(is_mine).cloned());
        let Some(vm) = vm else { return false };
        let unwell = self.unwell.lock();
        let unwell = unwell.unwrap_or_else(PoisonError::into_inner);
        if unwell.contains(&vm.alias) {
            return false;
        }
        let asked = || {
            let config = self.sapi.config(&vm.uuid);
            config
                .is_some_and(|(all, _)| all["metadata"]["alertmanager"] == true)
        };
        self.port != ALERTMANAGER || asked()
    }

    fn route(&self, call: &Call) -> Answer {
        match call.path() == self.path && self.is_well() {
            true => Ok((200, json!("well"))),
            false => Err(Refusal::new(503, "Unwell", "not well")),
        }
    }
}

impl Handler for Door {
    fn front(&self) -> &Front {
        &self.front
    }

    fn answer(&self, call: &Call) -> Response<Body> {
        respond(self.role, call, self.route(call))
    }
}
