// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb status: one screen for the monitoring of a datacenter.

mod show;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::ask::Connect;
use super::screen::Paint;
use crate::deploy::status::judge::judge;
use crate::deploy::status::look::{self, Question};
use crate::deploy::status::{Picture, Verdict};
use crate::triton::Http;

/// Exit code: something could not be looked at, and what was seen is well.
const UNSEEN: u8 = 2;

/// Shows how the monitoring of a datacenter fares, and what mends it.
///
/// Asks Triton's APIs, CNS, and on the admin network each instance and its
/// config-agent. What does not answer within the limit costs its own part of
/// the picture alone, and is said.
#[derive(Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) look: LookArgs,
    /// Look again every so many seconds, until interrupted
    #[arg(long, value_name = "SECONDS", num_args = 0..=1,
        default_missing_value = "10",
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    watch: Option<u64>,
}

/// What both verbs that look are told.
#[derive(Args)]
pub(super) struct LookArgs {
    #[command(flatten)]
    connect: Connect,
    /// Account whose zones are scraped [default: the owner of sdc, admin]
    #[arg(long, value_name = "UUID")]
    account: Option<Uuid>,
    /// What the groups of shards begin with
    #[arg(long, default_value = look::PREFIX, value_name = "TEXT")]
    prefix: String,
    /// How long one answer may take
    #[arg(long, default_value_t = 10, value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl LookArgs {
    /// The client that asks zones.
    pub(super) fn http(&self) -> Http {
        Http::trusting_anyone(self.limit()).retrying()
    }

    /// How long one answer may take.
    pub(super) fn limit(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// The datacenter's APIs.
    pub(super) async fn apis(&self) -> Result<crate::deploy::Apis> {
        self.connect.apis_within(self.limit()).await
    }

    /// The picture.
    pub(super) async fn look(
        &self,
        apis: &crate::deploy::Apis,
        http: &Http,
    ) -> Picture {
        let prefix = self.prefix.clone();
        let asked = Question { account: self.account, prefix };
        look::look(apis, http, &asked).await
    }
}

/// What a verdict is to scripts.
pub(super) fn exit_code(verdict: Verdict) -> ExitCode {
    match verdict {
        Verdict::Well => ExitCode::SUCCESS,
        Verdict::Wrong => ExitCode::FAILURE,
        Verdict::Unseen => ExitCode::from(UNSEEN),
    }
}

/// Says why nothing could be looked at.
pub(super) fn blind(error: &anyhow::Error) -> ExitCode {
    super::screen::tell("monadm: ", &format!("{error:#}"));
    ExitCode::from(UNSEEN)
}

/// Runs the verb.
pub(super) async fn status(args: StatusArgs) -> ExitCode {
    let http = args.look.http();
    let clears = std::io::stdout().is_terminal() && !args.look.json;
    loop {
        let code = match seen(&args, &http).await {
            Err(error) => blind(&error),
            Ok((verdict, text)) => {
                let clear = match args.watch {
                    Some(_) if clears => "\x1b[H\x1b[2J",
                    _ => "",
                };
                let mut out = std::io::stdout();
                let written = writeln!(out, "{clear}{text}");
                if written.and_then(|()| out.flush()).is_err() {
                    // Nobody reads it any more.
                    return exit_code(verdict);
                }
                exit_code(verdict)
            }
        };
        match args.watch {
            None => return code,
            Some(every) => {
                tokio::time::sleep(Duration::from_secs(every)).await;
            }
        }
    }
}

async fn seen(args: &StatusArgs, http: &Http) -> Result<(Verdict, String)> {
    let apis = args.look.apis().await?;
    let picture = args.look.look(&apis, http).await;
    let (verdict, found) = judge(&picture);
    let text = match (args.look.json, args.watch) {
        (false, _) => {
            let paint = Paint(super::super::colours());
            show::screen(&picture, verdict, &found, paint).trim_end().to_owned()
        }
        (true, watch) => {
            let whole = json!({"verdict": verdict, "findings": found,
                "picture": picture});
            match watch {
                // A line each, for programs that read along.
                Some(_) => whole.to_string(),
                None => serde_json::to_string_pretty(&whole)?,
            }
        }
    };
    Ok((verdict, text))
}
