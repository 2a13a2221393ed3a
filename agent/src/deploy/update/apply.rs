// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Runs a plan's steps, in order, and stops at the first that fails.
//!
//! VMAPI's own call is used rather than SAPI's upgrade, which does the same:
//! it hands out the job, so that a run that was cut off finds it going on,
//! and its words where it fails. VMAPI's job has the server fetch the image
//! (assumed; its limit is 210 s: a slow server needs a second run).
//!
//! It takes a zone that is `failed`, too: sdc-vmapi refuses those alone that
//! are being provisioned or are destroyed. Whether the server then starts it
//! is another matter: VM.js of smartos-live takes the mark from no zone, and
//! starts none that has it. So what to do there is said where it stays so.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::plan::{Plan, Step};
use super::sight::{self, Before};
use super::{FAILED, Facts, Instance, PATIENCE, SCRIPT, only, record};
use crate::deploy::images::{self, ImageError, Updates};
use crate::deploy::{Apis, DeployError};
use crate::log::chain;
use crate::triton::job::JobError;
use crate::triton::sapi::{Action, Change};
use crate::triton::vmapi::Vm;
use crate::triton::{ApiError, Http, Tries};

/// VMAPI's workflow.
const TASK: &str = "reprovision";
/// How often what is waited for is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// An API said no, or nothing.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// The image could not be had.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A job failed.
    #[error("{alias}: {what}")]
    Job {
        /// The zone.
        alias: String,
        /// What it was for.
        what: &'static str,
        /// Its end.
        #[source]
        source: Box<JobError>,
    },
    /// Its set-up failed.
    #[error("{alias}: its zone failed; /var/svc/setup.log in it may say why")]
    Failed {
        /// The zone.
        alias: String,
        /// How the job ended, where that was not well.
        #[source]
        source: Option<Box<JobError>>,
    },
    /// It had failed before, and is so still.
    #[error(
        "{alias}: its zone is failed still; its server may start none that is \
         marked so. Take the mark away there: zonecfg -z {uuid} 'remove attr \
         name=failed'; vmadm start {uuid}"
    )]
    Marked {
        /// The zone.
        alias: String,
        /// Its uuid.
        uuid: Uuid,
        /// How the job ended, where that was not well.
        #[source]
        source: Option<Box<JobError>>,
    },
    /// Nobody would stand in.
    #[error(
        "{alias} is not taken down: none of its pair is well after {} s: {seen}",
        .after.as_secs()
    )]
    Partner {
        /// The zone.
        alias: String,
        /// How long was waited.
        after: Duration,
        /// What each said.
        seen: String,
    },
    /// It does not come back.
    #[error("{alias} is not well after {} s: {seen}", .after.as_secs())]
    Unwell {
        /// The zone.
        alias: String,
        /// How long was waited.
        after: Duration,
        /// What was seen last.
        seen: String,
    },
    /// It came back without what it keeps.
    #[error("{alias}: saw delegate datasets {seen:?}, wanted {wanted:?}")]
    Data {
        /// The zone.
        alias: String,
        /// What is there.
        seen: Vec<String>,
        /// What was there.
        wanted: Vec<String>,
    },
    /// It came back with other data.
    #[error("{alias}: {seen}")]
    Lost {
        /// The zone.
        alias: String,
        /// What is there, and what was.
        seen: String,
    },
    /// It has no zone, owner or address any more.
    #[error("{alias}: saw no {what}, wanted one")]
    Gone {
        /// The zone.
        alias: String,
        /// What is missing.
        what: &'static str,
    },
}

/// What happens, for whoever watches.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step begins: its number from 1, of how many.
    Begins(usize, usize, &'a Step),
    /// What is waited for.
    Waits(&'a str, &'a str),
}

/// Who may be told.
type Tell<'a> = &'a mut (dyn FnMut(Event<'_>) + Send);

/// Runs the steps. `patience` is the limit on each single thing that is waited
/// for: a job, a zone, a partner, metrics.
pub async fn apply(
    apis: &Apis,
    updates: &Updates,
    facts: &Facts,
    plan: &Plan,
    patience: Duration,
    tell: Tell<'_>,
) -> Result<(), UpdateError> {
    let http = Http::trusting_anyone(PATIENCE);
    let run = Run { apis, facts, http, patience };
    let steps = &plan.steps;
    for (at, step) in (1..).zip(steps) {
        tell(Event::Begins(at, steps.len(), step));
        match step {
            Step::Fetch(image) => images::fetch(apis, updates, *image).await?,
            Step::Record(record) => {
                let metadata = only(record::KEY, record.json());
                run.change_service(None, Some(&metadata)).await?;
            }
            Step::ServiceImage { to, .. } => {
                let params = only("image_uuid", to.to_string());
                run.change_service(Some(&params), None).await?;
            }
            Step::ServiceScript(script) => {
                let metadata = only(SCRIPT, script.as_str());
                run.change_service(None, Some(&metadata)).await?;
            }
            Step::Script { uuid, .. } => run.script(run.of(*uuid)).await?,
            Step::Reprovision { uuid, to, data, .. } => {
                let (instance, data) = (run.of(*uuid), data.as_deref());
                run.reprovision(instance, *to, data, tell).await?;
            }
            Step::Watch { uuid, data, .. } => {
                let (instance, data) = (run.of(*uuid), data.as_deref());
                let address = address(instance)?;
                run.until_well(instance, address, None, data, tell).await?;
            }
        }
    }
    Ok(())
}

/// What all steps lean on.
struct Run<'a> {
    apis: &'a Apis,
    facts: &'a Facts,
    http: Http,
    patience: Duration,
}

fn asked(step: &'static str) -> impl FnOnce(ApiError) -> UpdateError {
    move |source| DeployError::api(step)(source).into()
}

fn address(instance: &Instance) -> Result<IpAddr, UpdateError> {
    instance.address.ok_or_else(|| gone(instance, "admin address"))
}

fn gone(instance: &Instance, what: &'static str) -> UpdateError {
    UpdateError::Gone { alias: instance.alias.clone(), what }
}

/// What is said of a zone that is failed after its reprovision ended so.
fn failed(instance: &Instance, done: Result<(), UpdateError>) -> UpdateError {
    let source = match done {
        Err(UpdateError::Job { source, .. }) => Some(source),
        _ => None,
    };
    let (alias, uuid) = (instance.alias.clone(), instance.uuid);
    match instance.state == FAILED {
        true => UpdateError::Marked { alias, uuid, source },
        false => UpdateError::Failed { alias, source },
    }
}

impl Run<'_> {
    fn of(&self, uuid: Uuid) -> &Instance {
        let mut all = self.facts.instances.iter();
        let found = all.find(|instance| instance.uuid == uuid);
        found.expect("steps are about instances of the facts")
    }

    async fn change_service(
        &self,
        params: Option<&Map<String, Value>>,
        metadata: Option<&Map<String, Value>>,
    ) -> Result<(), UpdateError> {
        let change = Change { action: Action::Update, params, metadata };
        let done = self.apis.sapi.update_service(self.facts.uuid, &change);
        done.await.map_err(asked("change the service in SAPI"))?;
        Ok(())
    }

    async fn script(&self, instance: &Instance) -> Result<(), UpdateError> {
        let Some(script) = &instance.script else { return Ok(()) };
        let owner = instance.owner.ok_or_else(|| gone(instance, "owner"))?;
        let metadata = only(SCRIPT, script.as_str());
        let vmapi = &self.apis.vmapi;
        let started = vmapi.add_metadata(instance.uuid, owner, &metadata).await;
        let started = started.map_err(asked("write the user-script"))?;
        self.job(instance, started.job_uuid, "its user-script").await
    }

    async fn job(
        &self,
        instance: &Instance,
        job: Uuid,
        what: &'static str,
    ) -> Result<(), UpdateError> {
        let over = self.apis.vmapi.wait(job, EVERY, self.patience).await;
        let alias = || instance.alias.clone();
        over.map_err(|source| UpdateError::Job {
            alias: alias(),
            what,
            source: Box::new(source),
        })
    }

    async fn vm(&self, instance: &Instance) -> Result<Vm, UpdateError> {
        let found = self.apis.vmapi.vm(instance.uuid, instance.owner).await;
        let found = found.map_err(asked("ask VMAPI for a zone"))?;
        found.ok_or_else(|| gone(instance, "zone"))
    }

    async fn reprovision(
        &self,
        instance: &Instance,
        to: Uuid,
        data: Option<&str>,
        tell: Tell<'_>,
    ) -> Result<(), UpdateError> {
        let address = address(instance)?;
        let mut before = None;
        let mut tries = Tries::new();
        loop {
            match self.renew(instance, to, &mut before, tell).await {
                Err(UpdateError::Deploy(error))
                    if error.is_passing() && tries.another().await => {}
                done => break done?,
            }
        }
        self.until_running(instance, to, tell).await?;
        let now = self.vm(instance).await?.datasets;
        if !instance.datasets.iter().all(|one| now.contains(one)) {
            let (alias, wanted) =
                (instance.alias.clone(), instance.datasets.clone());
            return Err(UpdateError::Data { alias, seen: now, wanted });
        }
        let before = before.as_ref();
        self.until_well(instance, address, before, data, tell).await
    }

    /// Puts a zone on another image, unless it is on it. `before` is what was
    /// seen of it before it was taken down.
    async fn renew(
        &self,
        instance: &Instance,
        to: Uuid,
        before: &mut Option<Before>,
        tell: Tell<'_>,
    ) -> Result<(), UpdateError> {
        let owner = instance.owner.ok_or_else(|| gone(instance, "owner"))?;
        let address = address(instance)?;
        let vmapi = &self.apis.vmapi;
        let on_it = |vm: &Vm| vm.image_uuid == Some(to) && vm.state != FAILED;
        // A run that was cut off, or somebody else, may be at it.
        let going = vmapi.pending(TASK, instance.uuid).await;
        if let Some(job) = going.map_err(asked("ask VMAPI for jobs"))? {
            tell(Event::Waits(
                &instance.alias,
                "a job that was started before",
            ));
            // However that ends, what the zone is now counts.
            let _ = vmapi.wait(job, EVERY, self.patience).await;
        }
        if !on_it(&self.vm(instance).await?) {
            let seen = self.stand_in(instance, address, to, tell).await?;
            *before = before.take().or(seen);
            let started = vmapi.reprovision(instance.uuid, owner, to).await;
            let started = started.map_err(asked("reprovision a zone"))?;
            let done = self.job(instance, started.job_uuid, "its reprovision");
            let done = done.await;
            let vm = self.vm(instance).await?;
            if vm.state == FAILED {
                return Err(failed(instance, done));
            }
            // VMAPI may have lost a job that has done its work.
            if !on_it(&vm) {
                done?;
            }
        }
        Ok(())
    }

    /// Waits until one that is well may be taken down, because another of its
    /// pair is well; hands back what is seen of it. One that is not well
    /// serves nobody.
    async fn stand_in(
        &self,
        instance: &Instance,
        address: IpAddr,
        to: Uuid,
        tell: Tell<'_>,
    ) -> Result<Option<Before>, UpdateError> {
        let service = &self.facts.service;
        // Seen once: what follows looks until it is content.
        let http = self.http.retrying();
        let before = sight::before(&http, service, address).await;
        // Silent once, it may be a passing thing: it was well.
        if before.is_none() && instance.unwell.is_some() {
            return Ok(None);
        }
        let pair: Vec<_> = self.facts.partners(instance).collect();
        let look = async || {
            let mut seen = Vec::new();
            for other in &pair {
                let Some(address) = other.address else {
                    // It is no less one of the pair for that.
                    seen.push(format!("{}: {}", other.alias, other.state));
                    continue;
                };
                // With a job it is about to go down, unless it has gone
                // where all go: then that job is one that never ends.
                let going = self.apis.vmapi.pending(TASK, other.uuid).await;
                let image = match going {
                    Ok(Some(_)) => self.vm(other).await.ok(),
                    _ => None,
                };
                let image = image.and_then(|vm| vm.image_uuid);
                match going {
                    Ok(_) if image == Some(to) => {}
                    Ok(None) => {}
                    Ok(Some(job)) => {
                        let alias = &other.alias;
                        seen.push(format!("{alias}: job {job} is at it"));
                        continue;
                    }
                    Err(error) => {
                        seen.push(format!(
                            "{}: {}",
                            other.alias,
                            chain(&error)
                        ));
                        continue;
                    }
                }
                let asked = sight::serves(&self.http, service, address, None);
                match asked.await {
                    Ok(()) => return Ok(()),
                    Err(why) => seen.push(format!("{}: {why}", other.alias)),
                }
            }
            if pair.is_empty() { Ok(()) } else { Err(seen.join("; ")) }
        };
        let what = "another of its pair to be well";
        let waited = self.until(look, &instance.alias, what, tell).await;
        let (alias, after) = (instance.alias.clone(), self.patience);
        waited.map_err(|seen| UpdateError::Partner { alias, after, seen })?;
        Ok(before)
    }

    async fn until_running(
        &self,
        instance: &Instance,
        to: Uuid,
        tell: Tell<'_>,
    ) -> Result<(), UpdateError> {
        let look = async || {
            let vm = self.vm(instance).await;
            let vm = vm.map_err(|error| chain(&error))?;
            match vm.state == "running" && vm.image_uuid == Some(to) {
                true => Ok(()),
                false => Err(format!("its zone is: {}", vm.state)),
            }
        };
        let what = "its zone to run";
        let waited = self.until(look, &instance.alias, what, tell).await;
        waited.map_err(|seen| self.unwell(instance, seen))
    }

    async fn until_well(
        &self,
        instance: &Instance,
        address: IpAddr,
        before: Option<&Before>,
        data: Option<&str>,
        tell: Tell<'_>,
    ) -> Result<(), UpdateError> {
        let service = &self.facts.service;
        let lost = OnceLock::new();
        let look = async || {
            let known = match data {
                Some(wanted) => sight::lost(&self.http, address, wanted).await,
                None => Ok(None),
            };
            if let Ok(Some(gone)) = known {
                // That does not pass.
                let _ = lost.set(gone);
                return Ok(());
            }
            sight::well(&self.http, service, address, before).await?;
            known.map(drop)
        };
        let what = "it to be as well as before";
        let waited = self.until(look, &instance.alias, what, tell).await;
        waited.map_err(|seen| self.unwell(instance, seen))?;
        let alias = || instance.alias.clone();
        lost.into_inner().map_or(Ok(()), |seen| {
            Err(UpdateError::Lost { alias: alias(), seen })
        })
    }

    fn unwell(&self, instance: &Instance, seen: String) -> UpdateError {
        let (alias, after) = (instance.alias.clone(), self.patience);
        UpdateError::Unwell { alias, after, seen }
    }

    /// Looks until it is content; its error is what was seen last.
    async fn until(
        &self,
        look: impl AsyncFn() -> Result<(), String>,
        alias: &str,
        what: &str,
        tell: Tell<'_>,
    ) -> Result<(), String> {
        let end = Instant::now() + self.patience;
        let mut told = false;
        loop {
            let Err(seen) = look().await else { return Ok(()) };
            if Instant::now() >= end {
                return Err(seen);
            }
            if !told {
                tell(Event::Waits(alias, what));
                told = true;
            }
            sleep(EVERY).await;
        }
    }
}
