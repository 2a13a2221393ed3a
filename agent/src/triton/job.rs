// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Jobs of the workflow API, which VMAPI shows: its own and those that others
//! started, IMGAPI's imports too.
//!
//! Source: sdc-vmapi, lib/endpoints/jobs.js and lib/common/util.js (pollJob).

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::ApiError;
use super::api::{lenient, object};
use super::vmapi::Vmapi;

/// Polls in a row that may fail; SAPI and VMAPI allow as many in all.
const FAILED_POLLS: u32 = 5;

/// A job.
#[derive(Clone, Debug, Deserialize)]
pub struct Job {
    /// Uuid.
    pub uuid: Uuid,
    /// Workflow and its version: `provision-7.2.4`.
    #[serde(default)]
    pub name: String,
    /// How far it is.
    pub execution: Execution,
    #[serde(default, deserialize_with = "lenient")]
    chain_results: Vec<Value>,
    #[serde(default, deserialize_with = "object")]
    params: Map<String, Value>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Execution {
    /// Not begun.
    Queued,
    /// Under way.
    Running,
    /// Ended as it should.
    Succeeded,
    /// Ended by an error.
    Failed,
    /// Ended by somebody.
    Canceled,
    /// Anything else: `waiting`, `retried`.
    #[serde(other)]
    Other,
}

/// Why a job has not done what it was for.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It ended otherwise.
    #[error("job {job} ({name}) {execution}: {why}")]
    Ended {
        /// The job.
        job: Uuid,
        /// Workflow.
        name: String,
        /// `failed` or `was canceled`.
        execution: &'static str,
        /// Step and error, as far as it has them.
        why: String,
    },
    /// It goes on.
    #[error("job {job} ({name}) is not over after {} s", .after.as_secs())]
    NotOver {
        /// The job.
        job: Uuid,
        /// Workflow.
        name: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// It could not be asked for, several times. What it was for may be done.
    #[error("lost sight of job {job}")]
    Lost {
        /// The job.
        job: Uuid,
        /// The last answer.
        #[source]
        source: ApiError,
    },
}

impl Job {
    /// Whether it is a `task` (`reprovision`) of this zone or image.
    fn is_about(&self, task: &str, subject: &str) -> bool {
        let of = |key| self.params.get(key).and_then(Value::as_str);
        // `reprovision-7.0.5`, or the bare task.
        let named = self.name.starts_with(task);
        let subjects = [of("vm_uuid"), of("image_uuid"), of("uuid")];
        (named || of("task") == Some(task)) && subjects.contains(&Some(subject))
    }

    /// The last step's error: its name and what it said. Steps may say it as
    /// text or as an object.
    fn why(&self) -> String {
        let last = self.chain_results.last().unwrap_or(&Value::Null);
        let said = match &last["error"] {
            Value::String(text) => text.as_str(),
            error => error["message"].as_str().unwrap_or_default(),
        };
        match (last["name"].as_str(), said) {
            (None, "") => "no step says why".to_owned(),
            (None, said) => said.to_owned(),
            (Some(step), "") => format!("in step {step}"),
            (Some(step), said) => format!("{step}: {said}"),
        }
    }

    /// `None` while it goes on.
    fn end(&self) -> Option<Result<(), JobError>> {
        let ended = |execution| JobError::Ended {
            job: self.uuid,
            name: self.name.clone(),
            execution,
            why: self.why(),
        };
        match self.execution {
            Execution::Succeeded => Some(Ok(())),
            Execution::Failed => Some(Err(ended("failed"))),
            Execution::Canceled => Some(Err(ended("was canceled"))),
            Execution::Queued | Execution::Running | Execution::Other => None,
        }
    }
}

impl Vmapi {
    /// A job as it is.
    pub async fn job(&self, job: Uuid) -> Result<Job, ApiError> {
        self.api.get(&format!("jobs/{job}"), &[]).await
    }

    /// The job of this task about this zone or image that is not over, if
    /// there is one: somebody, or an earlier run of ours, has started it.
    pub async fn pending(
        &self,
        task: &str,
        subject: Uuid,
    ) -> Result<Option<Uuid>, ApiError> {
        let subject = subject.to_string();
        for execution in ["running", "queued"] {
            let query = [("execution", execution), ("task", task)];
            let found: Vec<Job> = self.api.get("jobs", &query).await?;
            // A filter that VMAPI does not know counts for nothing there.
            let mut open = found.iter().filter(|job| job.end().is_none());
            if let Some(job) = open.find(|job| job.is_about(task, &subject)) {
                return Ok(Some(job.uuid));
            }
        }
        Ok(None)
    }

    /// Waits until a job has succeeded, asking `every` so often, for `limit`
    /// and what the last answer takes.
    ///
    /// Errors: `Ended`, `NotOver`, and `Lost` after five failed polls in a
    /// row: also a job that is there may be a 404 for a moment.
    pub async fn wait(
        &self,
        job: Uuid,
        every: Duration,
        limit: Duration,
    ) -> Result<(), JobError> {
        let start = Instant::now();
        let mut failed = 0;
        let mut name = "not seen yet".to_owned();
        loop {
            match self.job(job).await {
                Ok(seen) => {
                    failed = 0;
                    if let Some(end) = seen.end() {
                        return end;
                    }
                    name = seen.name;
                }
                Err(source) => {
                    failed += 1;
                    if failed == FAILED_POLLS {
                        return Err(JobError::Lost { job, source });
                    }
                }
            }
            let after = start.elapsed();
            if after >= limit {
                return Err(JobError::NotOver { job, name, after });
            }
            sleep(every.min(limit - after)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn end(execution: &str, results: Value) -> Option<Result<(), String>> {
        let job: Job = serde_json::from_value(json!({
            "uuid": Uuid::nil(), "name": "provision-7.2.4",
            "execution": execution, "chain_results": results,
        }))
        .unwrap();
        Some(job.end()?.map_err(|error| error.to_string()))
    }

    #[test]
    fn a_job_ends_in_one_of_three_ways() {
        for going in ["queued", "running", "waiting", "new"] {
            assert!(end(going, json!(null)).is_none(), "{going}");
        }
        assert_eq!(end("succeeded", json!("odd")), Some(Ok(())));
        let head = format!("job {} (provision-7.2.4) ", Uuid::nil());
        for (execution, results, said) in [
            ("failed", json!(null), "failed: no step says why"),
            ("failed", json!([{"name": "a"}]), "failed: in step a"),
            (
                "failed",
                json!([{"name": "a"}, {"name": "b", "error": "no"}]),
                "failed: b: no",
            ),
            (
                "canceled",
                json!([{"name": "b", "error": {"message": "no"}}]),
                "was canceled: b: no",
            ),
        ] {
            let wanted = Some(Err(format!("{head}{said}")));
            assert_eq!(end(execution, results), wanted);
        }
    }
}
