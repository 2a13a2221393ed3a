// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb auth: the sign-in proxy before Grafana, a daemon of its own.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::apply::commit::write_atomic;
use crate::auth::{self, AuthConfig};
use crate::log::{self, Stream};

/// Where the agent writes it in a zone.
const CONFIG: &str = "/opt/triton/grafana/etc/auth.json";

/// Tells nginx who asks, by UFDS: operators come in, nobody else.
#[derive(Args)]
pub(super) struct AuthArgs {
    /// Configuration file, JSON
    #[arg(long, short = 'f', default_value = CONFIG)]
    config: PathBuf,
    /// Judge the file and end
    #[arg(long)]
    check: bool,
}

pub(super) async fn auth(args: AuthArgs) -> Result<bool> {
    let config = AuthConfig::load(&args.config)?;
    if args.check {
        return Ok(true);
    }
    // Who came in and who did not is said in any case.
    let info = tracing::Level::INFO;
    let level = log::level(&config.log_level).unwrap_or(info).max(info);
    log::start("grafana-sign-in", level, Stream::Stdout);
    let stop = CancellationToken::new();
    super::on_stop(&stop);
    auth::run(config, write_secret, stop).await?;
    Ok(true)
}

fn write_secret(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    write_atomic(path, bytes, 0o600)
}
