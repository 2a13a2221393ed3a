// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What all verbs of monadm share: whom they ask, and whether they may.

use std::io::{BufRead, IsTerminal, Write as _};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use super::screen::harmless;
use crate::deploy::Apis;
use crate::deploy::images::Updates;
use crate::triton::Http;
use crate::triton::imgapi::Imgapi;

/// Longest answer of an API: a page of a thousand zones on a busy headnode.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where Triton's images are published; as sdcadm has it (assumed).
const UPDATES: &str = "https://updates.tritondatacenter.com";

/// Whom to ask.
#[derive(Args)]
pub(super) struct Connect {
    /// SAPI's base URL [env: SAPI_URL]
    #[arg(long, value_name = "URL")]
    sapi: Option<String>,
}

impl Connect {
    /// The datacenter's APIs.
    pub(super) async fn apis(&self) -> Result<Apis> {
        self.apis_within(PATIENCE).await
    }

    /// The same, each answer within `limit`.
    pub(super) async fn apis_within(&self, limit: Duration) -> Result<Apis> {
        let url = match &self.sapi {
            Some(url) => url.clone(),
            None => std::env::var("SAPI_URL")
                .context("neither --sapi nor SAPI_URL says where SAPI is")?,
        };
        Ok(Apis::find(&Http::new(limit, None).retrying(), &url).await?)
    }
}

/// Where new images come from.
#[derive(Args)]
pub(super) struct Source {
    /// Channel of the updates server [default: metadata update_channel of sdc,
    /// or the server's own]
    #[arg(long, short = 'C', value_name = "NAME")]
    channel: Option<String>,
    /// The updates server
    #[arg(long, value_name = "URL", default_value = UPDATES)]
    updates: String,
}

impl Source {
    /// The server, and the channel that is meant.
    pub(super) async fn updates(&self, apis: &Apis) -> Result<Updates> {
        let url = self.updates.trim_end_matches('/').to_owned();
        let http = match url.starts_with("https:") {
            true => Http::trusting_system(PATIENCE, None)?,
            false => Http::new(PATIENCE, None),
        };
        let http = http.retrying();
        let channel = match &self.channel {
            Some(channel) => Some(channel.clone()),
            None => {
                let sdc = apis.sapi.application(apis.sdc).await?;
                let sdc = sdc.context("SAPI has lost application sdc")?;
                let set = sdc.metadata.get("update_channel");
                set.and_then(Value::as_str).map(str::to_owned)
            }
        };
        let channel = channel.filter(|channel| !channel.is_empty());
        Ok(Updates { imgapi: Imgapi::new(http, &url), url, channel })
    }
}

/// Asks, where there is somebody to be asked; `what` is disturbed, as in
/// "3 zones change shard".
///
/// Errors: nobody there, and no `--yes`.
pub(super) fn confirmed(what: &str) -> Result<bool> {
    let what = harmless(what);
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("{what}; say --yes to have it done");
    }
    eprint!("{what}. Go on? [y/N] ");
    std::io::stderr().flush()?;
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}
