// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! All of Triton's APIs over one datacenter, each on a port of its own: what
//! an operator's tool is run against. They agree with each other, since what
//! one writes the others read; all stand behind the datacenter's gate.

mod doors;
mod example;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cnapi::Cnapi;
use crate::datacenter::{Datacenter, Facts};
use crate::fwapi::Fwapi;
use crate::imgapi::Imgapi;
use crate::napi::Napi;
use crate::papi::Papi;
use crate::sapi::{Kind, Sapi};
use crate::vmapi::Vmapi;

pub use doors::Doors;
pub(crate) use example::fill;
pub use example::{facts, ids};

/// Where each API listens; dropping it stops them.
pub struct Triton {
    /// What they all show and change.
    pub datacenter: Arc<Datacenter>,
    /// SAPI, in full mode.
    pub sapi: Api<Sapi>,
    /// VMAPI, with every API's jobs.
    pub vmapi: Api<Vmapi>,
    /// The datacenter's own IMGAPI.
    pub imgapi: Api<Imgapi>,
    /// The updates server.
    pub updates: Api<Imgapi>,
    /// PAPI.
    pub papi: Api<Papi>,
    /// NAPI.
    pub napi: Api<Napi>,
    /// CNAPI.
    pub cnapi: Api<Cnapi>,
    /// FWAPI.
    pub fwapi: Api<Fwapi>,
    _stop: DropGuard,
}

/// One of them.
pub struct Api<T> {
    /// Request log, faults and what else it has.
    pub handle: T,
    /// Where it listens.
    pub address: SocketAddr,
}

impl<T> Api<T> {
    /// Base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn start<F>(
        handle: T,
        stop: &CancellationToken,
        serve: impl FnOnce(T, TcpListener, CancellationToken) -> F,
    ) -> std::io::Result<Self>
    where
        T: Clone,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(serve(handle.clone(), listener, stop.clone()));
        Ok(Self { handle, address })
    }
}

impl Triton {
    /// A datacenter of these facts, with application `sdc` and `manta` and
    /// what `example` has in stock.
    pub async fn start(facts: Facts) -> std::io::Result<Self> {
        let datacenter = Arc::new(Datacenter::new(facts));
        let sapi = datacenter.read(example::sapi);
        sapi.make_zones(&datacenter);
        example::fill(&mut datacenter.stock());
        let stop = CancellationToken::new();
        let dc = || Arc::clone(&datacenter);
        let updates = Imgapi::updates(dc());
        let updates = Api::start(updates, &stop, Imgapi::serve).await?;
        datacenter.stock().updates_url = Some(updates.url());
        let all = Self {
            sapi: Api::start(sapi, &stop, Sapi::serve).await?,
            vmapi: Api::start(Vmapi::new(dc()), &stop, Vmapi::serve).await?,
            imgapi: Api::start(Imgapi::new(dc()), &stop, Imgapi::serve).await?,
            updates,
            papi: Api::start(Papi::new(dc()), &stop, Papi::serve).await?,
            napi: Api::start(Napi::new(dc()), &stop, Napi::serve).await?,
            cnapi: Api::start(Cnapi::new(dc()), &stop, Cnapi::serve).await?,
            fwapi: Api::start(Fwapi::new(dc()), &stop, Fwapi::serve).await?,
            datacenter,
            _stop: stop.drop_guard(),
        };
        all.tell();
        Ok(all)
    }

    /// Writes into application `sdc` who listens where: keys as on a headnode,
    /// values with a port, where a real one has a name alone.
    fn tell(&self) {
        let apis = [
            ("sapi", self.sapi.address),
            ("vmapi", self.vmapi.address),
            ("imgapi", self.imgapi.address),
            ("papi", self.papi.address),
            ("napi", self.napi.address),
            ("cnapi", self.cnapi.address),
            ("fwapi", self.fwapi.address),
        ];
        let url = Value::from(self.sapi.url());
        self.sapi.handle.edit_metadata(Kind::Application, ids::SDC, |all| {
            for (api, address) in apis {
                let address = Value::from(address.to_string());
                let key = format!("{}_SERVICE", api.to_uppercase());
                all.insert(key, address.clone());
                all.insert(format!("{api}_domain"), address);
            }
            all.insert("sapi-url".to_owned(), url);
        });
    }
}
