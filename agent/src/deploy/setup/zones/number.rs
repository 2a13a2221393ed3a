// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! How many instances there are to be, of each shard or in all, and which
//! shard each belongs to. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Kept, Wanted};
use crate::deploy::setup::Request;
use crate::deploy::setup::plan::Draft;
use crate::deploy::setup::step::Step;

/// Prometheus servers of a shard, unless it is said.
const PAIR: usize = 2;
/// A shard's group begins so, as `monadm shard` has it.
const PREFIX: &str = "shard-";

/// The shard of an instance, by its own groups.
pub(super) fn shard_of(metadata: &Map<String, Value>) -> Option<usize> {
    let groups = metadata.get("groups")?;
    let list = groups.as_array().into_iter().flatten();
    let texts = list.filter_map(Value::as_str).chain(groups.as_str());
    let mut names = texts.flat_map(|text| text.split(','));
    names.find_map(|name| name.trim().strip_prefix(PREFIX)?.parse().ok())
}

/// How many there are to be of each shard, or in all.
pub(super) fn number(
    request: &Request,
    kept: &mut [Kept<'_>],
    wanted: &mut Vec<Wanted>,
    draft: &mut Draft,
) {
    let all = kept.iter().map(|one| one.shard);
    let all = all.chain(wanted.iter().map(|one| one.shard));
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
    if request.shards.is_some() {
        // Those that scrape everything take a place first.
        for one in kept.iter_mut().filter(|one| one.shard.is_none()) {
            let lacks = |shard: &&Option<usize>| {
                let there = of(&count, **shard);
                there < each(there)
            };
            let Some(Some(shard)) = shards.iter().find(lacks) else {
                draft.problem(format!(
                    "{}: it has no shard, and none of {} lacks one; more \
                     --replicas or --shards make room",
                    one.zone.alias,
                    shards.len()
                ));
                continue;
            };
            one.shard = Some(*shard);
            *count.entry(Some(*shard)).or_default() += 1;
            draft.step(Step::SetShard {
                zone: one.zone.clone(),
                metadata: metadata(Some(*shard)),
            });
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
        for _ in there..each {
            wanted.push(Wanted { shard, ..Wanted::default() });
        }
    }
}

/// Metadata of an instance of this shard: what it scrapes, and the label of
/// its series.
pub(super) fn metadata(shard: Option<usize>) -> Map<String, Value> {
    let Some(shard) = shard else { return Map::new() };
    let groups = json!([format!("{PREFIX}{shard}")]);
    let label = json!(shard.to_string());
    [("groups".to_owned(), groups), ("shard".to_owned(), label)]
        .into_iter()
        .collect()
}
