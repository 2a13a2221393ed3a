// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb setup: what the boot scripts call, and an operator before a
//! provision, with --dry-run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::CONFIG;
use crate::config::ConfigFile;
use crate::host::{self, Host};
use crate::log::chain;
use crate::run::{self, Start};
use crate::setup::{Brand, SetupError, Zone, carry, look, plan};
use crate::walk::gather;

/// Sets the zone up after a provision or reprovision: delegate dataset,
/// folders, services, logs, and a first pass of the agent.
///
/// What the boot scripts call. Looks first and takes the steps that are
/// missing, so it may be run at any time, and finishes what was cut off. Does
/// not start the agent. A first pass that fails, say because SAPI is away, is
/// made up for by the agent.
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
    let zone = zone(host.as_ref()).await?;
    let facts = look(host.as_ref(), &root, zone).await?;
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
        &root,
        Duration::from_secs(args.timeout),
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

/// The zone by its metadata.
async fn zone(host: &dyn Host) -> Result<Zone> {
    let facts = gather(host, &ConfigFile::default()).await;
    if !facts.complete {
        return Err(SetupError::NoAnswer.into());
    }
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
