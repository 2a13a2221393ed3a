// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! How many instances there are to be, of each shard or in all, and which
//! shard each belongs to. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Kept, Wanted};
use crate::deploy::setup::plan::Draft;
use crate::deploy::setup::step::Step;
use crate::deploy::setup::{Facts, Request};
use crate::deploy::shards::names;

/// Prometheus servers of a shard, unless it is said.
const PAIR: usize = 2;

/// What an instance scrapes, by its metadata over its service's.
#[derive(Default)]
pub(super) struct Groups {
    /// All of them; none: everything.
    names: Vec<String>,
    /// It has them of its own: another instance does not come by them.
    is_own: bool,
    /// The shard that one of them names.
    pub(super) shard: Option<usize>,
}

impl Groups {
    /// Of an instance with this metadata of its own.
    pub(super) fn of(
        facts: &Facts,
        request: &Request,
        own: &Map<String, Value>,
    ) -> Self {
        let service = facts.rosters.first().map(|one| &one.service.metadata);
        let inherited = || service.and_then(|service| service.get("groups"));
        let own = own.get("groups");
        let names = names(own.or_else(inherited));
        let mut shards = names.iter().filter_map(|name| {
            let shard = name.strip_prefix(&request.prefix)?.parse().ok()?;
            // Not `shard-00`, which is another group.
            (*name == group(request, shard)).then_some(shard)
        });
        Self { shard: shards.next(), names, is_own: own.is_some() }
    }

    /// The shard was given to it here, as it had none.
    pub(super) fn is_given(&self) -> bool {
        self.names.is_empty() && self.shard.is_some()
    }
}

fn group(request: &Request, shard: usize) -> String {
    format!("{}{shard}", request.prefix)
}

/// How many there are to be of each shard, or in all. Answers the last steps
/// of the plan, which give shards to those that scrape everything: until the
/// others are there and well, nobody else does.
pub(super) fn number(
    request: &Request,
    kept: &mut [Kept<'_>],
    wanted: &mut Vec<Wanted>,
    draft: &mut Draft,
) -> Vec<Step> {
    let all = kept.iter().map(|one| one.groups.shard);
    let all = all.chain(wanted.iter().map(|one| one.groups.shard));
    let mut count: BTreeMap<Option<usize>, usize> = BTreeMap::new();
    for shard in all {
        *count.entry(shard).or_default() += 1;
    }
    let of = |count: &BTreeMap<_, usize>, shard| {
        count.get(&shard).copied().unwrap_or(0)
    };
    let highest = count.keys().flatten().max().map(|highest| highest + 1);
    let shards: Vec<Option<usize>> = match (request.shards, highest) {
        (None, None) => vec![None],
        // One that was taken away on purpose is not made anew.
        (None, Some(_)) => {
            count.keys().copied().filter(Option::is_some).collect()
        }
        (Some(shards), highest) => {
            if let Some(there) = highest.filter(|there| *there > shards) {
                draft.problem(format!(
                    "--shards: saw {there} shards, wanted {shards}; it \
                     takes none away"
                ));
            }
            (0..shards).map(Some).collect()
        }
    };
    let each = |there: usize| match (request.replicas, request.shards) {
        (Some(replicas), _) => replicas,
        (None, Some(_)) => PAIR.max(there),
        (None, None) => there.max(1),
    };
    let mut last = Vec::new();
    if request.shards.is_some() {
        let lacks = |count: &BTreeMap<_, _>, shard| {
            let there = of(count, shard);
            there < each(there)
        };
        // Those that scrape everything take a place first.
        let old = kept.iter_mut().map(|one| {
            (one.zone.alias.clone(), &mut one.groups, Some(&one.zone))
        });
        let new = wanted.iter_mut().map(|one| {
            let alias = one.alias.clone().unwrap_or_default();
            (alias, &mut one.groups, None)
        });
        let homeless = old.chain(new);
        for (alias, groups, zone) in
            homeless.filter(|(_, groups, _)| groups.shard.is_none())
        {
            // What somebody has it scrape is not ours to change.
            if !groups.names.is_empty() {
                draft.problem(format!(
                    "{alias}: saw groups {}, wanted none, or one that is \
                     {}<number>; if these are shards, --prefix says what they \
                     begin with",
                    groups.names.join(","),
                    request.prefix
                ));
                continue;
            }
            let free = shards.iter().find(|one| lacks(&count, **one));
            let Some(Some(shard)) = free else {
                draft.problem(format!(
                    "{alias}: it has no shard, and none of {} lacks one; more \
                     --replicas or --shards make room",
                    shards.len()
                ));
                continue;
            };
            groups.shard = Some(*shard);
            *count.entry(Some(*shard)).or_default() += 1;
            if let Some(zone) = zone {
                let metadata = metadata(request, Some(*shard));
                last.push(Step::SetShard { zone: zone.clone(), metadata });
            }
        }
    }
    for shard in shards {
        let there = of(&count, shard);
        let each = each(there);
        if there > each {
            let of = shard.map_or(String::new(), |n| format!(" of shard {n}"));
            draft.problem(format!(
                "--replicas: saw {there} instances{of}, wanted {each}; it \
                 takes none away"
            ));
        }
        let others =
            |one: &&Kept<'_>| one.groups.is_own && !one.groups.names.is_empty();
        if shard.is_none()
            && there < each
            && let Some(one) = kept.iter().find(others)
        {
            draft.problem(format!(
                "--replicas: saw groups {} of {}, wanted none, or one that is \
                 {}<number>: another instance would scrape everything; if \
                 these are shards, --prefix says what they begin with",
                one.groups.names.join(","),
                one.zone.alias,
                request.prefix
            ));
            continue;
        }
        for _ in there..each {
            let groups = Groups { shard, ..Groups::default() };
            wanted.push(Wanted { groups, ..Wanted::default() });
        }
    }
    last
}

/// Metadata that makes an instance one of this shard: what it scrapes, and the
/// label of its series.
pub(super) fn metadata(
    request: &Request,
    shard: Option<usize>,
) -> Map<String, Value> {
    let Some(shard) = shard else { return Map::new() };
    let groups = json!([group(request, shard)]);
    let label = json!(shard.to_string());
    [("groups".to_owned(), groups), ("shard".to_owned(), label)]
        .into_iter()
        .collect()
}
