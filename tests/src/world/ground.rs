// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A datacenter before its monitoring zones: the network and the stand-ins.
//! What a world is built on, and what zones are booted on that are not of
//! [`crate::zone`]'s make.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::services::Switchboard;
use super::{
    Daemons, Service, Services, Target, WorldError, WorldSpec, cns, complaint,
    eventually, facts, joined, prometheus_zone, sapi, thanos_zone,
    wanted_targets,
};
use crate::datacenter::{Datacenter, Facts};
use crate::zone::{Network, ZoneSpec};

/// A datacenter without monitoring zones; dropping it ends it.
pub struct Ground {
    // Fields are dropped in this order.
    switchboard: Switchboard,
    datacenter: Arc<Datacenter>,
    all: Facts,
    network: Arc<Network>,
}

impl Ground {
    /// Starts the stand-ins, which know of the zones that `spec` is to have;
    /// `tell` hears of each step before it is taken.
    pub async fn lay(
        spec: &WorldSpec,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Self, WorldError> {
        tell("network and addresses");
        let network = Arc::new(Network::create("localdc")?);
        let all = facts::facts(spec.instances.len(), spec.thanos.is_some());
        let datacenter = Arc::new(Datacenter::new(all.clone()));
        let services =
            Services::new(&datacenter, sapi(spec, &all), cns(spec, &all));
        let mut switchboard = Switchboard::new(&network, services)?;
        tell("SAPI, VMAPI, CNS, CMON, binder, a public resolver");
        for service in Service::ALL {
            switchboard.start(service).await?;
        }
        Ok(Self { switchboard, datacenter, all, network })
    }

    /// Who there is, zones of ours included.
    pub fn facts(&self) -> &Facts {
        &self.all
    }

    /// The network the zones go on.
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// The stand-ins.
    pub fn services(&self) -> &Services {
        self.switchboard.services()
    }

    /// The facts they share.
    pub fn datacenter(&self) -> &Arc<Datacenter> {
        &self.datacenter
    }

    /// The same, for who outlives a call.
    pub(super) fn shared(&self) -> &Arc<Datacenter> {
        &self.datacenter
    }

    /// The prometheus zone with this number as the platform knows it: name,
    /// address, resolvers, metadata.
    pub fn zone_spec(&self, spec: &WorldSpec, number: usize) -> ZoneSpec {
        let uuid = facts::prometheus_uuid(number);
        let vm = self.all.vm(&uuid).expect("the zone is a VM");
        bare(prometheus_zone::spec(spec, &self.all, Path::new("/"), vm))
    }

    /// The thanos zone, where there is to be one, as the platform knows it.
    pub fn thanos_spec(&self, spec: &WorldSpec) -> ZoneSpec {
        let vm = self.all.vm(facts::THANOS_UUID).expect("a world with one");
        bare(thanos_zone::spec(spec, &self.all, Path::new("/"), vm))
    }

    /// Switches a stand-in off; its ports refuse.
    pub async fn stop(&mut self, service: Service) {
        self.switchboard.stop(service).await;
    }

    /// Switches a stand-in on again.
    pub async fn resume(&mut self, service: Service) -> Result<(), WorldError> {
        self.switchboard.start(service).await
    }

    /// Waits until every running VM of `admin`, every compute node and
    /// Prometheus itself is a target of these daemons' zone and up, and
    /// nothing else is not.
    ///
    /// Errors: `TooLate` with what was missing at the end.
    pub async fn all_up(
        &self,
        daemons: &Daemons,
        limit: Duration,
    ) -> Result<Vec<Target>, WorldError> {
        let look = async || {
            let targets = match daemons.targets().await {
                Ok(targets) => targets,
                Err(error) => return Err(joined(&error)),
            };
            let wanted = self.datacenter.read(wanted_targets);
            match complaint(&wanted, &targets) {
                None => Ok(targets),
                Some(why) => Err(why),
            }
        };
        eventually("all targets up", limit, look).await
    }
}

/// Without what set-up writes.
fn bare(mut zone: ZoneSpec) -> ZoneSpec {
    zone.data = None;
    zone.files.clear();
    zone
}
