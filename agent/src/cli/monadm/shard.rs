// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verbs shard: introduces `deploy::shards`, which knows the APIs, to
//! `shard`, which decides.

mod apply;
mod args;
mod progress;
mod session;
mod show;
mod status;
mod wanted;
mod watch;

use anyhow::Result;
use clap::Subcommand;

use self::args::{
    ApplyArgs, DrainArgs, Goal, PlanArgs, RunArgs, StatusArgs, WatchArgs,
};
use self::session::Session;
use crate::shard::Extent;

/// Verbs.
#[derive(Subcommand)]
pub(super) enum ShardVerb {
    /// Show the shards as they are, how their pairs bear it, and what is not
    /// as it should be
    Status(StatusArgs),
    /// Show which zones would change shard
    Plan(PlanArgs),
    /// Give zones the tags that a plan says
    ///
    /// A zone that changes shard has its series in two Prometheus servers for
    /// as long as these keep them. Thanos shows both, as two series that differ
    /// in label shard: sum by instance to have one. Jobs of VMAPI write the tags; run it again after any failure.
    Apply(ApplyArgs),
    /// Empty shards, whose zones go to the others; nothing else moves
    ///
    /// Only their pairs' metadata prometheus_retired says for good that they
    /// take nothing more: set it before the next apply, rebalance or watch.
    Drain(DrainArgs),
    /// Even loads out, with as few moves as can be
    Rebalance(RunArgs),
    /// Give each new zone its shard, until told to stop; for SMF and systemd
    ///
    /// Places what nobody scrapes and, with --drain, empties shards; nothing
    /// else moves. One JSON line for each change, on standard output.
    Watch(WatchArgs),
}

impl ShardVerb {
    /// Whether it runs until it is told to stop.
    pub(super) fn is_loop(&self) -> bool {
        matches!(self, Self::Watch(_))
    }
}

/// Runs a verb. `false`, where something is not as it should be.
pub(super) async fn shard(verb: ShardVerb) -> Result<bool> {
    match verb {
        ShardVerb::Status(args) => status::status(args).await,
        ShardVerb::Plan(args) => {
            let goal = Goal::from(args);
            let mut session = Session::open(&goal).await?;
            session.measure().await?;
            let wanted = session.wanted().await?;
            wanted.show(goal.ask.json)?;
            Ok(wanted.is_as_planned())
        }
        ShardVerb::Apply(ApplyArgs { plan, act }) => {
            apply::apply(&plan.into(), &act).await
        }
        ShardVerb::Drain(DrainArgs { shards, run }) => {
            go(run, Extent::Drain, shards).await
        }
        ShardVerb::Rebalance(run) => {
            go(run, Extent::Rebalance, Vec::new()).await
        }
        ShardVerb::Watch(args) => watch::watch(args).await,
    }
}

async fn go(run: RunArgs, extent: Extent, drain: Vec<String>) -> Result<bool> {
    let RunArgs { ask, how, act } = run;
    apply::apply(&Goal { ask, how, extent, drain }, &act).await
}
