// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb doctor: the troubleshooting of the README, done by itself.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use futures_util::FutureExt;
use serde_json::json;

use super::screen::{Paint, findings};
use super::status::{LookArgs, blind, exit_code};
use crate::deploy::status::judge::judge;
use crate::deploy::status::{Finding, Verdict, doctor};
use crate::dns::query;
use crate::log::chain;

/// What only a zone's own page has, or an API that is not asked.
const NOT_LOOKED_AT: [&str; 3] = [
    "why CMON refuses a certificate, and why a file is not in force: the \
     agent tells that in its zone alone, by config-agent status",
    "Manta's firewall rules, and names below its own domain",
    "buckets themselves, whose keys stay in their zones",
];

/// Looks for what is wrong with the monitoring, on what grounds, and what
/// mends it.
///
/// Beside what status sees: whether the APIs are well, CNS lets each instance
/// transfer and knows the account, CMON answers, binder names each instance,
/// the firewall is open to the admin network, clocks agree, pairs are pairs,
/// and a bucket has one compactor.
#[derive(Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    look: LookArgs,
}

/// Runs the verb.
pub(super) async fn doctor(args: DoctorArgs) -> ExitCode {
    match examine(&args.look).await {
        Ok(verdict) => exit_code(verdict),
        Err(error) => blind(&error),
    }
}

async fn examine(args: &LookArgs) -> Result<Verdict> {
    let (http, limit) = (args.http(), args.limit());
    let apis = args.apis().await?;
    let picture = args.look(&apis, &http).await;
    let resolve = move |server, name| resolve(server, name, limit).boxed();
    let closer = doctor::look(&apis, &http, &picture, &resolve).await;
    let (_, mut found) = judge(&picture);
    found.extend(doctor::decide(&picture, &closer));
    found.sort_by_key(|one| one.weight);
    let verdict = Verdict::of(&found);
    match args.json {
        true => say!(
            "{}",
            serde_json::to_string_pretty(&json!({
                "verdict": verdict, "findings": found,
                "not_looked_at": NOT_LOOKED_AT,
                "picture": picture, "closer": closer,
            }))?
        ),
        false => say!("{}", text(&found).trim()),
    }
    Ok(verdict)
}

fn text(found: &[Finding]) -> String {
    let mut out = String::new();
    let paint = Paint(super::super::colours());
    findings(&mut out, found, (usize::MAX, usize::MAX), paint);
    out.push_str("\nNEVER LOOKED AT FROM HERE\n");
    for line in NOT_LOOKED_AT {
        super::screen::paragraph(&mut out, 2, line);
    }
    out
}

/// The IPv4 addresses of a name: binder has no others.
async fn resolve(
    server: SocketAddr,
    name: String,
    limit: Duration,
) -> Result<BTreeSet<IpAddr>, String> {
    let reply = query(server, &name, "A", false, limit).await;
    let reply = reply.map_err(|error| chain(&error))?;
    // A name that nobody registered is answered otherwise than by NOERROR.
    let records = reply.answer.iter().filter(|one| one.rtype == "A");
    Ok(records.filter_map(|one| one.data.parse().ok()).collect())
}
