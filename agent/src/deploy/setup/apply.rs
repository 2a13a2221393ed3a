// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Runs the steps of a plan. Each looks first, so that a step may be tried
//! again after no answer, and a whole plan after a kill; no call that creates
//! is ever repeated blindly.

mod images;
mod instances;

use std::time::Duration;

use super::blueprint::EXTERNAL;
use super::step::{Named, Step};
use super::{Journal, Plan, SetupError, Target, rules, transfer};
use crate::deploy::roster::admin_ip;
use crate::deploy::{Apis, DeployError};
use crate::triton::fwapi::NewRule;
use crate::triton::sapi::{Action, Change, NewService};
use crate::triton::{ApiError, Http, Tries};

/// How often a zone, image or job is asked for.
const EVERY: Duration = Duration::from_secs(1);
/// How often CNS' list is written that others write too.
const WRITES: u32 = 3;

/// All that steps need.
pub struct Hands<'a> {
    /// The APIs.
    pub apis: &'a Apis,
    /// Asks zones whether they are well.
    pub http: &'a Http,
    /// The updates server as IMGAPI is told of it: URL, channel in its query.
    pub source: String,
    /// What is set up.
    pub target: Target,
    /// Longest wait for a job, or for a zone to be well.
    pub patience: Duration,
    /// What is begun.
    pub journal: &'a mut Journal,
}

/// How a run ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Steps done.
    pub done: usize,
    /// Steps that were to be done and may fail, with why.
    pub warnings: Vec<(usize, SetupError)>,
    /// The step that ended it, and why; those after it are not done.
    pub failed: Option<(usize, SetupError)>,
}

impl Hands<'_> {
    /// Runs a plan; `tell` hears of each step before it begins.
    pub async fn run(
        &mut self,
        plan: &Plan,
        mut tell: impl FnMut(usize, &Step),
    ) -> Outcome {
        let mut outcome = Outcome::default();
        for (nth, step) in plan.steps.iter().enumerate() {
            tell(nth, step);
            match self.try_step(step).await {
                Ok(()) => outcome.done += 1,
                Err(error) if step.is_soft() => {
                    outcome.warnings.push((nth, error));
                }
                Err(error) => {
                    outcome.failed = Some((nth, error));
                    break;
                }
            }
        }
        outcome
    }

    async fn try_step(&mut self, step: &Step) -> Result<(), SetupError> {
        // A second NIC is soon added, and taken away by nobody.
        let once = matches!(step, Step::AddNic { .. });
        let mut tries = Tries::new();
        loop {
            match self.step(step).await {
                Err(SetupError::Deploy(error))
                    if !once && error.is_passing() && tries.another().await => {
                }
                done => return done,
            }
        }
    }

    async fn step(&mut self, step: &Step) -> Result<(), SetupError> {
        match step {
            Step::DropImage { uuid } => self.drop_image(*uuid).await,
            Step::ImportImage { uuid, what, .. } => {
                self.import_image(*uuid, what).await
            }
            Step::CreateService { uuid, params, metadata } => {
                let name = self.target.blueprint().service;
                let sapi = &self.apis.sapi;
                let known = sapi.services_named(self.apis.sdc, name).await;
                if !known.map_err(api("ask SAPI for a service"))?.is_empty() {
                    return Ok(());
                }
                let new = NewService {
                    uuid: Some(*uuid),
                    name,
                    application_uuid: self.apis.sdc,
                    params: params.clone(),
                    metadata: metadata.clone(),
                    master: false,
                };
                let made = sapi.create_service(&new).await;
                made.map_err(api("create the service"))?;
                Ok(())
            }
            Step::UpdateService { service, params, metadata, .. } => {
                let change = Change {
                    action: Action::Update,
                    params: (!params.is_empty()).then_some(params),
                    metadata: (!metadata.is_empty()).then_some(metadata),
                };
                let done = self.apis.sapi.update_service(*service, &change);
                done.await.map_err(api("update the service"))?;
                Ok(())
            }
            Step::AddRule { owner, rule, description, .. } => {
                let fwapi = &self.apis.fwapi;
                let known = fwapi.rules(*owner, None).await;
                let known = known.map_err(api("ask FWAPI for rules"))?;
                if known.iter().any(|one| rules::is(one, rule, description)) {
                    return Ok(());
                }
                let owner_uuid = *owner;
                let new = NewRule { owner_uuid, rule, description };
                fwapi.create(&new).await.map_err(api("create a rule"))?;
                Ok(())
            }
            Step::DropInstance { zone, state, heir, own } => {
                self.drop_instance(zone, state, (*heir, own)).await
            }
            Step::AdoptInstance { zone, own } => {
                self.adopt_instance(zone, own).await
            }
            Step::CreateInstance(new) => self.create_instance(new).await,
            Step::SetShard { zone, metadata } => {
                let change = Change {
                    action: Action::Update,
                    params: None,
                    metadata: Some(metadata),
                };
                let done = self.apis.sapi.update_instance(zone.uuid, &change);
                done.await.map_err(api("update the instance"))?;
                Ok(())
            }
            Step::RaiseQuota { zone, to, .. } => {
                self.raise_quota(zone, *to).await
            }
            Step::EnableFirewall(zone) => self.enable_firewall(zone).await,
            Step::AddNic { zone, network, nic_tag, uuid, in_use } => {
                if *in_use {
                    self.has_partner(zone).await?;
                }
                let primary = *network == EXTERNAL;
                self.add_nic(zone, nic_tag, *uuid, primary).await
            }
            Step::AllowTransfer { zones, gone, .. } => {
                self.allow_transfer(zones, gone).await
            }
            Step::Await(zone) => self.await_well(zone).await,
        }
    }

    /// Reads, merges and writes; and looks again, as others do the same.
    async fn allow_transfer(
        &self,
        zones: &[Named],
        gone: &std::collections::BTreeSet<std::net::IpAddr>,
    ) -> Result<(), SetupError> {
        let mut add = Vec::new();
        for zone in zones {
            let vm = self.running(zone).await?;
            let address = admin_ip(&vm);
            add.push(address.ok_or_else(|| DeployError::Odd {
                what: format!("{} {}, admin NIC", zone.alias, zone.uuid),
                seen: "none with an address".into(),
                wanted: "one with an address",
            })?);
        }
        let sapi = &self.apis.sapi;
        for _ in 0..WRITES {
            let known = sapi.services_named(self.apis.sdc, "cns").await;
            let known = known.map_err(api("ask SAPI for cns"))?;
            let [cns] = &known[..] else {
                return Err(SetupError::Deploy(DeployError::Odd {
                    what: "SAPI's services named cns".into(),
                    seen: known.len().to_string(),
                    wanted: "one",
                }));
            };
            let allowed = transfer::allowed(cns)?;
            let wanted = transfer::merged(&allowed, &add, gone);
            if wanted == allowed {
                return Ok(());
            }
            let metadata = [("allow_transfer".to_owned(), wanted.into())];
            let metadata = metadata.into_iter().collect();
            let change = Change {
                action: Action::Update,
                params: None,
                metadata: Some(&metadata),
            };
            let done = sapi.update_service(cns.uuid, &change).await;
            done.map_err(api("let zones transfer from CNS"))?;
        }
        Err(SetupError::Contended("service cns, metadata allow_transfer"))
    }
}

fn api(step: &'static str) -> impl FnOnce(ApiError) -> SetupError {
    move |source| SetupError::Deploy(DeployError::api(step)(source))
}
