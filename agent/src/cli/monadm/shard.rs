// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verbs shard: introduces `deploy::shards`, which knows the APIs, to
//! `shard`, which decides.

mod wanted;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use uuid::Uuid;

use self::wanted::Wanted;
use super::ask::{Connect, confirmed};
use crate::deploy::Apis;
use crate::deploy::shards::{self, Facts};
use crate::log::chain;
use crate::shard::{Extent, Limits};

/// Verbs.
#[derive(Subcommand)]
pub(super) enum ShardVerb {
    /// Show the shards as they are, and what is not as it should be
    Status(AskArgs),
    /// Show which zones would change shard
    Plan(PlanArgs),
    /// Give zones the tags that a plan says
    ///
    /// A zone that changes shard has its series in two Prometheus servers for
    /// as long as these keep them: Thanos joins them, a pair by itself does
    /// not. Jobs of VMAPI write the tags; run it again after any failure.
    Apply(ApplyArgs),
}

/// Whom to ask, and about what.
#[derive(Args)]
pub(super) struct AskArgs {
    #[command(flatten)]
    connect: Connect,
    /// Account whose zones are scraped [default: the owner of sdc, admin]
    #[arg(long, value_name = "UUID")]
    account: Option<Uuid>,
    /// What the groups of shards begin with; all others are let be
    #[arg(long, default_value = "shard-", value_name = "TEXT")]
    prefix: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// And what for.
#[derive(Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// How far to go
    #[arg(long, value_enum, default_value = "rebalance")]
    extent: ExtentArg,
    /// Empty this shard; may be said again for others
    #[arg(long, value_name = "SHARD")]
    drain: Vec<String>,
    /// Keep this zone on that shard; may be said again for others
    #[arg(long, value_name = "UUID=SHARD", value_parser = pin)]
    pin: Vec<(Uuid, String)>,
    /// Most moves of this run; the next one goes on
    #[arg(long, value_name = "COUNT")]
    most: Option<usize>,
    /// How far loads may be apart before zones move for it, in thousandths of
    /// the mean
    #[arg(long, default_value_t = 50, value_name = "PERMILLE")]
    hysteresis: u32,
}

/// How to do it.
#[derive(Args)]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    plan: PlanArgs,
    /// Show what would be done, and end
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Do not ask before zones change shard
    #[arg(long, short)]
    yes: bool,
    /// So many jobs of VMAPI at a time
    #[arg(long, default_value_t = 4, value_name = "COUNT")]
    at_once: usize,
}

/// As the planner has it.
#[derive(Clone, Copy, ValueEnum)]
enum ExtentArg {
    /// Place what nobody scrapes; nothing else moves
    Assign,
    /// And empty the shards that are to be drained
    Drain,
    /// And even out
    Rebalance,
}

impl From<ExtentArg> for Extent {
    fn from(extent: ExtentArg) -> Self {
        match extent {
            ExtentArg::Assign => Self::Assign,
            ExtentArg::Drain => Self::Drain,
            ExtentArg::Rebalance => Self::Rebalance,
        }
    }
}

fn pin(text: &str) -> Result<(Uuid, String), String> {
    let wanted = || "wanted UUID=SHARD".to_owned();
    let (uuid, shard) = text.split_once('=').ok_or_else(wanted)?;
    let uuid = uuid.parse().map_err(|error| format!("{uuid}: {error}"))?;
    Ok((uuid, shard.to_owned()))
}

/// Runs a verb. `false`, where something is not as it should be.
pub(super) async fn shard(verb: ShardVerb) -> Result<bool> {
    match verb {
        ShardVerb::Status(ask) => {
            let plan = PlanArgs {
                ask,
                extent: ExtentArg::Assign,
                drain: Vec::new(),
                pin: Vec::new(),
                most: None,
                hysteresis: 0,
            };
            let (_, _, wanted) = decide(&plan).await?;
            wanted.show(plan.ask.json)?;
            Ok(wanted.is_as_planned())
        }
        ShardVerb::Plan(plan) => {
            let (_, _, wanted) = decide(&plan).await?;
            wanted.show(plan.ask.json)?;
            Ok(wanted.is_as_planned())
        }
        ShardVerb::Apply(args) => apply(args).await,
    }
}

async fn decide(args: &PlanArgs) -> Result<(Apis, Uuid, Wanted)> {
    let apis = args.ask.connect.apis().await?;
    let account = args.ask.account.unwrap_or(apis.admin);
    let facts = shards::gather(&apis, account, &args.ask.prefix).await?;
    let wanted = of(&facts, args)?;
    Ok((apis, account, wanted))
}

fn of(facts: &Facts, args: &PlanArgs) -> Result<Wanted> {
    if facts.pairs.is_empty() {
        bail!(
            "no shard: saw {} instances of prometheus, none with a group that \
             begins {:?} in its metadata; wanted one at least",
            facts.ungrouped.len(),
            args.ask.prefix
        );
    }
    for name in args.drain.iter().chain(args.pin.iter().map(|(_, s)| s)) {
        if !facts.pairs.contains_key(name) {
            let all: Vec<&str> =
                facts.pairs.keys().map(String::as_str).collect();
            bail!("shard {name}: unknown; wanted one of {}", all.join(", "));
        }
    }
    let limits =
        Limits { most_moves: args.most, hysteresis_permille: args.hysteresis };
    let question = wanted::Question {
        prefix: &args.ask.prefix,
        drain: &args.drain,
        pins: &args.pin,
        limits,
        extent: args.extent.into(),
    };
    Wanted::of(facts, &question)
}

async fn apply(args: ApplyArgs) -> Result<bool> {
    let (apis, account, wanted) = decide(&args.plan).await?;
    let json = args.plan.ask.json;
    if args.dry_run {
        wanted.show(json)?;
        return Ok(wanted.is_as_planned());
    }
    let cuts = wanted.cuts();
    if !json {
        wanted.show(false)?;
    }
    let disturbed = format!("{cuts} zones change shard");
    if cuts > 0 && !args.yes && !confirmed(&disturbed)? {
        return Ok(false);
    }
    let names: BTreeMap<Uuid, String> = wanted.names();
    let total = wanted.writes.len();
    let (mut done, mut failed) = (0, 0);
    let writes = wanted.writes.clone();
    shards::write(&apis.vmapi, account, writes, args.at_once, |uuid, how| {
        done += 1;
        let name = names.get(&uuid).map_or("", String::as_str);
        match how {
            Ok(()) => eprintln!("[{done}/{total}] {name} {uuid}"),
            Err(error) => {
                failed += 1;
                let why = chain(&error);
                eprintln!("[{done}/{total}] {name} {uuid}: {why}");
            }
        }
    })
    .await;
    // What was written, VMAPI says now; what was not, the next run finds.
    let (_, _, left) = decide(&args.plan).await?;
    left.show(json)?;
    if failed > 0 {
        eprintln!("monadm: {failed} of {total} tags not written; run it again");
    }
    Ok(failed == 0 && left.is_as_planned())
}
