// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a verb asks the datacenter before it plans.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use uuid::Uuid;

use super::args::{AskArgs, Goal, HowArgs};
use super::wanted::Wanted;
use crate::deploy::Apis;
use crate::deploy::roster::{Roster, rosters};
use crate::deploy::shards::measured::{self, Sources};
use crate::deploy::shards::{self, Facts, SERVICE};
use crate::shard::tag;
use crate::triton::Http;

/// Longest answer of a Prometheus: two hours of a hundred thousand zones. Its
/// own limit on queries is below, by default.
const PATIENCE: Duration = Duration::from_secs(150);
/// Of one that is only asked how it fares.
const GLANCE: Duration = Duration::from_secs(15);

/// The APIs, and whose zones they are asked about.
pub(super) struct Session<'a> {
    pub(super) goal: &'a Goal,
    pub(super) apis: Apis,
    pub(super) account: Uuid,
    /// What zones weigh, where that was measured.
    weights: Option<BTreeMap<Uuid, u64>>,
    notes: Vec<String>,
}

impl<'a> Session<'a> {
    /// Finds the APIs; nothing is measured yet.
    pub(super) async fn open(goal: &'a Goal) -> Result<Self> {
        let apis = goal.ask.connect.apis().await?;
        let account = goal.ask.account.unwrap_or(apis.admin);
        Ok(Self { goal, apis, account, weights: None, notes: Vec::new() })
    }

    /// Shards and zones as they are.
    pub(super) async fn facts(&self) -> Result<Facts> {
        let AskArgs { prefix, .. } = &self.goal.ask;
        Ok(shards::gather(&self.apis, self.account, prefix).await?)
    }

    /// Weighs the zones, if they are to be: once for all plans that follow.
    ///
    /// Errors: of a shard, or of all, nobody knows: what is guessed there
    /// would move zones for nothing.
    pub(super) async fn measure(&mut self) -> Result<()> {
        let HowArgs { weight, prometheus, .. } = &self.goal.how;
        let Some(unit) = weight.unit() else { return Ok(()) };
        let mut sources = self.sources(prometheus, PATIENCE).await?;
        let before = sources.count();
        let weights = measured::weights(&mut sources, unit).await;
        let said = sources.notes.join("; ");
        if !prometheus.is_empty() && sources.count() < before {
            bail!("could not weigh zones: {said}");
        }
        let facts = self.facts().await?;
        if prometheus.is_empty() {
            let silent = |(shard, members): &(&String, &BTreeSet<Uuid>)| {
                !facts.retired.contains(*shard) && !sources.hear(members)
            };
            if let Some((shard, _)) = facts.pairs.iter().find(silent) {
                bail!(
                    "could not weigh zones: nobody answers for {shard}: {said}"
                );
            }
        }
        if weights.is_empty() {
            bail!(
                "could not weigh zones: {} servers know none by its uuid in \
                 label instance",
                sources.count()
            );
        }
        if let Some((shard, known, count)) = self.unknown(&facts, &weights) {
            bail!(
                "could not weigh zones: {known} of the {count} zones of \
                 {shard} are known, wanted half at least: has its pair lost \
                 its data?"
            );
        }
        self.weights = Some(weights);
        self.notes = sources.notes;
        Ok(())
    }

    /// A shard of whose zones less than half have a known weight: how many
    /// have, and how many there are.
    fn unknown<'f>(
        &self,
        facts: &'f Facts,
        weights: &BTreeMap<Uuid, u64>,
    ) -> Option<(&'f str, usize, usize)> {
        let active = facts.pairs.keys();
        let mut active = active.filter(|name| !facts.retired.contains(*name));
        active.find_map(|shard| {
            let on_it = |zone: &&shards::Zone| {
                let tag = zone.tag.as_deref();
                let mut names = tag::ours(tag, &self.goal.ask.prefix);
                zone.listed && names.any(|name| name == shard)
            };
            let zones = facts.zones.iter().filter(on_it);
            let count = zones.clone().count();
            let known = zones.filter(|zone| weights.contains_key(&zone.uuid));
            let known = known.count();
            (known * 2 < count).then_some((shard.as_str(), known, count))
        })
    }

    /// What is to be done, by the facts of now.
    pub(super) async fn wanted(&self) -> Result<Wanted> {
        self.wanted_of(&self.facts().await?)
    }

    /// What is to be done, by these facts.
    pub(super) fn wanted_of(&self, facts: &Facts) -> Result<Wanted> {
        let weights = self.weights.as_ref();
        let mut wanted = Wanted::of(facts, self.goal, weights)?;
        wanted.notes.splice(..0, self.notes.iter().cloned());
        Ok(wanted)
    }

    /// Servers to be asked: these, or every member of the service.
    async fn sources(
        &self,
        urls: &[String],
        patience: Duration,
    ) -> Result<Sources> {
        if urls.is_empty() {
            let http = Http::new(patience, None).retrying();
            return Ok(Sources::of(&http, &self.rosters(SERVICE).await?));
        }
        let secure = urls.iter().any(|url| url.starts_with("https:"));
        let http = match secure {
            true => Http::trusting_system(patience, None)
                .context("whom this system trusts")?,
            false => Http::new(patience, None),
        };
        Ok(Sources::at(&http.retrying(), urls))
    }

    /// Servers to be asked how they fare.
    pub(super) async fn servers(&self, urls: &[String]) -> Result<Sources> {
        self.sources(urls, GLANCE).await
    }

    /// A service's instances: of Prometheus, those that scrape the account's
    /// zones; of all others, Triton's.
    pub(super) async fn rosters(&self, service: &str) -> Result<Vec<Roster>> {
        let application = match service {
            SERVICE => shards::application(&self.apis, self.account).await?,
            _ => self.apis.sdc,
        };
        Ok(rosters(&self.apis, application, service).await?)
    }
}
