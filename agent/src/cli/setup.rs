// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb setup: what the boot scripts call, and an operator before a
//! provision, with --dry-run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use tokio::time::Instant;
use tracing::warn;

use super::CONFIG;
use crate::config::ConfigFile;
use crate::host::{self, Host};
use crate::log::chain;
use crate::run::{self, Start};
use crate::setup::{Brand, SetupError, Zone, carry, is_complete, look, plan};
use crate::walk::gather;

/// First pause before metadata is asked for again, and the longest.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Sets the zone up after a provision or reprovision: delegate dataset,
/// folders, services, logs, and a first pass of the agent.
///
/// What the boot scripts call. Looks first and takes the steps that are
/// missing, so it may be run at any time, and finishes what was cut off. Does
/// not start the agent. A first pass that fails, say because SAPI is away, is
/// made up for by the agent. Where set-up was complete before, what fails is
/// said, and the exit code is 0: a zone that came up once boots again.
#[derive(Args)]
pub(super) struct SetupArgs {
    /// Print the steps and take none
    #[arg(long)]
    dry_run: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    /// Give up after so many seconds; the platform gives a provision 300
    #[arg(long, short, value_name = "SECONDS", default_value_t = 240)]
    timeout: u64,
}

pub(super) async fn setup(args: SetupArgs) -> Result<bool> {
    let host: Arc<dyn Host> = Arc::from(host::native());
    let root = PathBuf::from("/");
    let dry_run = args.dry_run;
    let done = set_up(args, host, &root).await;
    if dry_run { done } else { of_a_boot(done, is_complete(&root)) }
}

/// What a set-up means to the boot it is part of: a zone that came up once is
/// not kept down by what can be made up for later.
fn of_a_boot(done: Result<bool>, complete: bool) -> Result<bool> {
    match done {
        Err(error) if complete => {
            let message = format!("{error:#}");
            warn!(
                err.message = %message,
                "set-up was complete before; the zone boots as it is"
            );
            Ok(true)
        }
        done => done,
    }
}

async fn set_up(
    args: SetupArgs,
    host: Arc<dyn Host>,
    root: &Path,
) -> Result<bool> {
    let end = Instant::now() + Duration::from_secs(args.timeout);
    let zone = zone(host.as_ref(), end - (end - Instant::now()) / 2).await?;
    let facts = look(host.as_ref(), root, zone).await?;
    let steps = plan(&facts);
    if args.dry_run {
        if args.json {
            let plan = serde_json::json!({"zone": facts.zone, "steps": steps});
            say!("{plan:#}");
        } else {
            steps.iter().for_each(|step| say!("{step}"));
        }
        return Ok(true);
    }
    let mut reports = Vec::new();
    let first = Arc::clone(&host);
    let taken = carry(
        &steps,
        host.as_ref(),
        root,
        end,
        async move |limit| first_pass(Arc::clone(&first), limit).await,
        |report| match args.json {
            true => reports.push(report.clone()),
            false => say!("{report}"),
        },
    );
    let taken = taken.await;
    if args.json {
        let complete = taken.is_ok();
        let zone = &facts.zone;
        let all = serde_json::json!({
            "zone": zone, "complete": complete, "steps": reports,
        });
        say!("{all:#}");
    }
    taken?;
    Ok(true)
}

/// The zone by its metadata; a platform that is busy is asked again, `until`
/// half of all time is over.
async fn zone(host: &dyn Host, until: Instant) -> Result<Zone> {
    let mut pause = PAUSE;
    let facts = loop {
        let facts = gather(host, &ConfigFile::default()).await;
        if facts.complete {
            break facts;
        }
        if Instant::now() + pause >= until {
            return Err(SetupError::NoAnswer.into());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    };
    if facts.instance.is_empty() {
        return Err(SetupError::NoZone.into());
    }
    Ok(Zone {
        uuid: facts.instance,
        brand: match host.is_linux() {
            true => Brand::Lx,
            false => Brand::JoyentMinimal,
        },
        flavor: facts.flavor,
        role: facts.role?,
        datacenter: facts.mdata.datacenter_name,
        sapi_url: facts.sapi_url.ok_or(SetupError::NoSapi)?,
    })
}

/// By the configuration that a step before has written.
async fn first_pass(
    host: Arc<dyn Host>,
    limit: Duration,
) -> Result<(), String> {
    let path = PathBuf::from(CONFIG);
    let config = ConfigFile::load(&path).map_err(|error| chain(&error))?;
    let config_path = Some(path);
    let start = Start { config, config_path, sapi_url: None, host };
    match tokio::time::timeout(limit, run::first(start)).await {
        Err(_) => Err(format!("out of time after {} s", limit.as_secs())),
        Ok(Err(error)) => Err(chain(&error)),
        Ok(Ok((true, _))) => Ok(()),
        Ok(Ok((false, status))) => {
            let faults = status.faults().join("; ");
            Err(match faults.is_empty() {
                true => "SAPI did not answer".to_owned(),
                false => faults,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::Fake;

    #[test]
    fn a_zone_that_was_set_up_once_boots_whatever_fails() {
        let failed = || Err(SetupError::NoAnswer.into());
        assert!(of_a_boot(failed(), true).unwrap());
        assert!(of_a_boot(failed(), false).is_err());
        assert!(!of_a_boot(Ok(false), true).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn metadata_that_does_not_answer_at_once_is_asked_again() {
        let host = Fake::default();
        for (key, value) in [
            ("sdc:uuid", "5f1a0f6e-6a4b-4c0e-9a54-0d8f2b7c0045"),
            ("sdc:tags.smartdc_role", "prometheus"),
            ("sapi-url", "http://sapi.dc1.example.test"),
        ] {
            host.set_mdata(key, value);
        }
        let begin = Instant::now();
        host.mdata_fails(3);
        zone(&host, begin + Duration::from_secs(60)).await.unwrap();
        assert!(begin.elapsed() < Duration::from_secs(10));
        host.mdata_fails(1_000_000);
        let until = begin + Duration::from_secs(60);
        let error = zone(&host, until).await.unwrap_err();
        assert!(error.to_string().contains("did not answer"), "{error}");
        assert!(Instant::now() <= until);
    }
}
