// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Jobs of the workflow API. Nothing happens by itself: a job moves on when
//! it, or what it is about, is asked for, so that tests need not wait.

use std::collections::VecDeque;
use std::fmt;

use serde_json::{Value, json};
use uuid::Uuid;

use super::stock::Stock;
use super::{Datacenter, Facts};

/// Jobs remembered.
const JOBS_LIMIT: usize = 10_000;

/// What becomes of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It does what it is for.
    Succeeds,
    /// It fails with this error in its last step.
    Fails(String),
    /// Somebody cancels it.
    Canceled,
    /// Nobody knows it any more from the start; what it is for is done, or
    /// not.
    Vanishes {
        /// Whether it is done.
        done: bool,
    },
    /// It never ends.
    Stalls,
}

/// What a job does to the datacenter at some point.
pub(crate) type Effect = Box<dyn FnOnce(&mut Facts, &mut Stock) + Send>;

/// A job to be.
pub(crate) struct Plan {
    /// Task, as in `Stock::next_job`.
    pub(crate) task: &'static str,
    /// What it is about: VM or image.
    pub(crate) subject: String,
    /// At the first sign of life: the zone is down.
    pub(crate) midway: Option<Effect>,
    /// At the end.
    pub(crate) done: Effect,
    /// At the end of one that fails.
    pub(crate) undone: Option<Effect>,
}

/// A job.
pub(crate) struct Job {
    uuid: String,
    task: &'static str,
    subject: String,
    execution: &'static str,
    left: u32,
    fate: Fate,
    midway: Option<Effect>,
    done: Option<Effect>,
    undone: Option<Effect>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uuid, task, subject, execution, .. } = self;
        write!(f, "{task} {uuid} of {subject}: {execution}")
    }
}

impl Job {
    pub(crate) fn is_over(&self) -> bool {
        !["queued", "running"].contains(&self.execution)
    }

    /// Moves on by one poll; hands back what is to be done for it.
    fn step(&mut self) -> Vec<Effect> {
        if self.is_over() {
            return Vec::new();
        }
        self.execution = "running";
        let mut effects: Vec<Effect> = self.midway.take().into_iter().collect();
        self.left = self.left.saturating_sub(1);
        if self.left > 0 || self.fate == Fate::Stalls {
            return effects;
        }
        let (execution, last) = match &self.fate {
            Fate::Fails(_) => ("failed", self.undone.take()),
            Fate::Canceled => ("canceled", self.undone.take()),
            Fate::Vanishes { done: false } => ("failed", None),
            _ => ("succeeded", self.done.take()),
        };
        self.execution = execution;
        effects.extend(last);
        effects
    }

    fn shown(&self) -> Value {
        let result = match (&self.fate, self.execution) {
            (_, "queued") => json!([]),
            (Fate::Fails(why), "failed") => json!([
                {"name": "common.validate_params", "result": "OK", "error": ""},
                {"name": format!("cnapi.{}_vm", self.task), "result": "",
                    "error": {"name": "InternalError", "message": why}},
            ]),
            _ => json!([{"name": "common.validate_params", "result": "OK",
                "error": ""}]),
        };
        json!({
            "uuid": self.uuid,
            "name": format!("{}-7.0.7", self.task),
            "execution": self.execution,
            "params": {"vm_uuid": self.subject, "task": self.task},
            "chain_results": result,
        })
    }
}

impl Datacenter {
    /// Starts a job; answers its uuid. The caller has looked whether the
    /// workflow API is up.
    pub(crate) fn start(&self, plan: Plan) -> String {
        let uuid = Uuid::new_v4().to_string();
        let now = {
            let mut stock = self.stock();
            let fate = stock.fates.iter().position(|(t, _)| t == plan.task);
            let fate = fate.and_then(|index| stock.fates.remove(index));
            let mut job = Job {
                uuid: uuid.clone(),
                task: plan.task,
                subject: plan.subject,
                execution: "queued",
                left: stock.job_polls,
                fate: fate.map_or(Fate::Succeeds, |(_, fate)| fate),
                midway: plan.midway,
                done: Some(plan.done),
                undone: plan.undone,
            };
            let vanishes = matches!(job.fate, Fate::Vanishes { .. });
            let mut effects = Vec::new();
            if vanishes || stock.job_polls == 0 {
                job.left = 0;
                effects = job.step();
            }
            if !vanishes {
                if stock.jobs.len() == JOBS_LIMIT {
                    stock.jobs.pop_front();
                }
                stock.jobs.push_back(job);
            }
            effects
        };
        self.take_effect(now);
        uuid
    }

    /// A job as it is after it has been asked for once more.
    pub(crate) fn poll(&self, uuid: &str) -> Option<Value> {
        self.advance(|job| job.uuid == uuid, |job| job.step());
        self.job(uuid)
    }

    /// A job at its end; one that stalls, as it is.
    pub(crate) fn drive(&self, uuid: &str) -> Option<Value> {
        self.advance(
            |job| job.uuid == uuid,
            |job| {
                job.left = 0;
                job.step()
            },
        );
        self.job(uuid)
    }

    /// The jobs about this VM or image move on by one poll.
    pub(crate) fn poll_subject(&self, subject: &str) {
        self.advance(|job| job.subject == subject, |job| job.step());
    }

    /// All jobs that are known, as they are.
    pub(crate) fn jobs(&self) -> Vec<Value> {
        self.stock().jobs.iter().map(Job::shown).collect()
    }

    fn job(&self, uuid: &str) -> Option<Value> {
        let stock = self.stock();
        stock.jobs.iter().find(|job| job.uuid == uuid).map(Job::shown)
    }

    fn advance(
        &self,
        which: impl Fn(&Job) -> bool,
        step: impl Fn(&mut Job) -> Vec<Effect>,
    ) {
        let effects: VecDeque<Effect> = {
            let mut stock = self.stock();
            let jobs = stock.jobs.iter_mut().filter(|job| which(job));
            jobs.flat_map(step).collect()
        };
        self.take_effect(effects);
    }

    fn take_effect(&self, effects: impl IntoIterator<Item = Effect>) {
        for effect in effects {
            self.update(|facts| effect(facts, &mut self.stock()));
        }
    }
}
