// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb status: asks the running agent.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use super::page::PageArgs;
use crate::status::{StatusReport, table};
use crate::triton::Http;

/// Asks the running agent over its status page on loopback.
///
/// Exit status 0 when nothing is at fault, 1 otherwise.
#[derive(Args)]
pub(super) struct StatusArgs {
    /// Print the whole report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    page: PageArgs,
}

pub(super) async fn status(args: StatusArgs) -> Result<bool> {
    let http = Http::new(Duration::from_secs(5), None);
    let url = args.page.url("/status.json")?;
    let answer = http
        .get(&url, &[], 16 << 20)
        .await
        .context("config-agent does not answer; does it run?")?;
    let report: StatusReport = answer.json(&url)?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        say!("{}", table(&report, super::colours()).trim_end());
    }
    Ok(report.healthy)
}
