// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The words of verbs shard.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use uuid::Uuid;

use super::super::ask::Connect;
use crate::deploy::shards::measured::Unit;
use crate::deploy::status::look::{PREFIX, Question};
use crate::shard::{Extent, Strategy};

/// Whom to ask, and about what.
#[derive(Args)]
pub(super) struct AskArgs {
    #[command(flatten)]
    pub(super) connect: Connect,
    /// Account whose zones are scraped [default: the owner of sdc, admin]
    #[arg(long, value_name = "UUID")]
    pub(super) account: Option<Uuid>,
    /// What the groups of shards begin with; all others are let be
    #[arg(long, default_value = PREFIX, value_name = "TEXT")]
    pub(super) prefix: String,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl AskArgs {
    /// Options with which `post-setup` means the same shards, each after a
    /// space; it knows one account alone.
    pub(super) fn same_shards(&self) -> String {
        Question { account: None, prefix: self.prefix.clone() }.words()
    }

    /// Options with which another verb of shard means the same.
    pub(super) fn same(&self) -> String {
        let prefix = self.prefix.clone();
        Question { account: self.account, prefix }.words()
    }
}

/// Shards as they are.
#[derive(Args)]
pub(in crate::cli::monadm) struct StatusArgs {
    #[command(flatten)]
    pub(super) ask: AskArgs,
    /// Ask this server how the pairs fare, Thanos or one that scrapes all of
    /// them; may be said again [default: each of them, on its admin address]
    #[arg(long, value_name = "URL")]
    pub(super) prometheus: Vec<String>,
}

/// By what rules zones are dealt out.
#[derive(Args)]
pub(super) struct HowArgs {
    /// How a shard is chosen
    #[arg(long, value_enum, default_value = "balanced")]
    pub(super) strategy: StrategyArg,
    /// What a zone counts as
    #[arg(long, value_enum, default_value = "zones")]
    pub(super) weight: WeightArg,
    /// Ask this server what zones weigh, Thanos or a Prometheus; may be said
    /// again [default: every Prometheus, on its admin address]
    #[arg(long, value_name = "URL")]
    pub(super) prometheus: Vec<String>,
    /// Most weight of this shard, or of each; may be said again
    #[arg(long, value_name = "[SHARD=]WEIGHT", value_parser = cap)]
    pub(super) cap: Vec<(Option<String>, u64)>,
    /// Keep this zone on that shard; may be said again for others
    #[arg(long, value_name = "UUID=SHARD", value_parser = pin)]
    pub(super) pin: Vec<(Uuid, String)>,
    /// Most moves of this run, or of a round of watch; the next one goes on
    #[arg(long, value_name = "COUNT")]
    pub(super) most: Option<usize>,
    /// How far loads may be apart before zones move for it, in thousandths of
    /// the mean
    #[arg(long, default_value_t = 50, value_name = "PERMILLE")]
    pub(super) hysteresis: u32,
}

/// What is to be.
#[derive(Args)]
pub(in crate::cli::monadm) struct PlanArgs {
    #[command(flatten)]
    pub(super) ask: AskArgs,
    #[command(flatten)]
    pub(super) how: HowArgs,
    /// How far to go
    #[arg(long, value_enum, default_value = "rebalance")]
    pub(super) extent: ExtentArg,
    /// Empty this shard; may be said again for others
    #[arg(long, value_name = "SHARD")]
    pub(super) drain: Vec<String>,
}

/// How to do it.
#[derive(Args)]
pub(super) struct DoArgs {
    /// Show what would be done, and end
    #[arg(long, short = 'n')]
    pub(super) dry_run: bool,
    /// Do not ask before zones change shard
    #[arg(long, short)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) write: WriteArgs,
    #[command(flatten)]
    pub(super) cmon: CmonArgs,
}

/// How to write.
#[derive(Args)]
pub(super) struct WriteArgs {
    /// So many jobs of VMAPI at a time
    #[arg(long, default_value_t = 4, value_name = "COUNT")]
    pub(super) at_once: usize,
    /// Held while tags are written, so that nobody else does
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/var/run/monadm-shard.lock"
    )]
    pub(super) lock: PathBuf,
}

/// Whether CMON has it too.
#[derive(Args)]
#[command(group = ArgGroup::new("identity").args(["cert", "key"])
    .multiple(true))]
pub(super) struct CmonArgs {
    /// Client certificate for CMON, by which it is asked afterwards whether
    /// each zone is in its shard's group
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(super) cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(super) key: Option<PathBuf>,
    /// CMON's base URL; its first label is cmon [default: the instances of
    /// service cmon, on their admin addresses]
    #[arg(long, value_name = "URL", requires = "identity")]
    pub(super) cmon: Option<String>,
    /// How long CMON may take to see the tags
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(super) cmon_wait: u64,
    /// Do not ask CMON
    #[arg(long)]
    pub(super) no_verify: bool,
}

/// A plan that is done.
#[derive(Args)]
pub(in crate::cli::monadm) struct ApplyArgs {
    #[command(flatten)]
    pub(super) plan: PlanArgs,
    #[command(flatten)]
    pub(super) act: DoArgs,
}

/// Shards to be emptied.
#[derive(Args)]
pub(in crate::cli::monadm) struct DrainArgs {
    /// Shards to be emptied
    #[arg(required = true, value_name = "SHARD")]
    pub(super) shards: Vec<String>,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

/// What is done by a verb that says itself how far to go.
#[derive(Args)]
pub(in crate::cli::monadm) struct RunArgs {
    #[command(flatten)]
    pub(super) ask: AskArgs,
    #[command(flatten)]
    pub(super) how: HowArgs,
    #[command(flatten)]
    pub(super) act: DoArgs,
}

/// For as long as it runs.
#[derive(Args)]
pub(in crate::cli::monadm) struct WatchArgs {
    #[command(flatten)]
    pub(super) ask: AskArgs,
    #[command(flatten)]
    pub(super) how: HowArgs,
    /// Empty this shard and give it nothing new; may be said again for others
    #[arg(long, value_name = "SHARD")]
    pub(super) drain: Vec<String>,
    /// Pause between two looks; a new zone is placed at the next
    #[arg(
        long,
        default_value_t = 20,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..=60)
    )]
    pub(super) every: u64,
    #[command(flatten)]
    pub(super) write: WriteArgs,
}

/// What all verbs that plan are asked for.
pub(super) struct Goal {
    pub(super) ask: AskArgs,
    pub(super) how: HowArgs,
    pub(super) extent: Extent,
    pub(super) drain: Vec<String>,
}

impl From<PlanArgs> for Goal {
    fn from(args: PlanArgs) -> Self {
        let PlanArgs { ask, how, extent, drain } = args;
        Self { ask, how, extent: extent.into(), drain }
    }
}

impl HowArgs {
    /// Where nothing is asked for.
    pub(super) fn plain() -> Self {
        Self {
            strategy: StrategyArg::Balanced,
            weight: WeightArg::Zones,
            prometheus: Vec::new(),
            cap: Vec::new(),
            pin: Vec::new(),
            most: None,
            hysteresis: 0,
        }
    }

    /// Most weight of a shard.
    pub(super) fn cap_of(&self, shard: &str) -> Option<u64> {
        let caps: BTreeMap<Option<&str>, u64> = self
            .cap
            .iter()
            .map(|(name, weight)| (name.as_deref(), *weight))
            .collect();
        caps.get(&Some(shard)).or(caps.get(&None)).copied()
    }
}

/// As the planner has it.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum ExtentArg {
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

/// As the planner has it.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum StrategyArg {
    /// The lightest shard
    Balanced,
    /// Hashing by highest random weight, for comparison
    Rendezvous,
    /// By a fixed draw, for comparison
    Random,
}

impl From<StrategyArg> for Strategy {
    fn from(strategy: StrategyArg) -> Self {
        match strategy {
            StrategyArg::Balanced => Self::Balanced,
            StrategyArg::Rendezvous => Self::Rendezvous,
            // One draw for ever: a second run moves nothing.
            StrategyArg::Random => Self::Random { seed: 0 },
        }
    }
}

/// What a zone counts as.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum WeightArg {
    /// One, whatever it is
    Zones,
    /// Its series, as Prometheus has them now
    Series,
    /// Its samples of the last hour
    Samples,
}

impl WeightArg {
    /// What is measured; `None` where nothing is.
    pub(super) fn unit(self) -> Option<Unit> {
        match self {
            Self::Zones => None,
            Self::Series => Some(Unit::Series),
            Self::Samples => Some(Unit::Samples),
        }
    }
}

fn pin(text: &str) -> Result<(Uuid, String), String> {
    let wanted = || "wanted UUID=SHARD".to_owned();
    let (uuid, shard) = text.split_once('=').ok_or_else(wanted)?;
    let uuid = uuid.parse().map_err(|error| format!("{uuid}: {error}"))?;
    Ok((uuid, shard.to_owned()))
}

fn cap(text: &str) -> Result<(Option<String>, u64), String> {
    let (shard, weight) = match text.split_once('=') {
        Some((shard, weight)) => (Some(shard.to_owned()), weight),
        None => (None, text),
    };
    let weight =
        weight.parse().map_err(|error| format!("{weight}: {error}"))?;
    Ok((shard, weight))
}
