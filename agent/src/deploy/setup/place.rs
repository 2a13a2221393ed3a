// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Which server a new zone goes to: one that its partners are not on, and of
//! those the one with the fewest of the service's zones. Pure.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::plan::Draft;
use super::service::package;
use super::{Facts, Request};
use crate::triton::cnapi::Server;

/// Zones and servers so far.
pub(super) struct Places<'a> {
    /// Servers to choose of, in order of preference.
    servers: Vec<&'a Server>,
    /// The operator named them, and may put partners on one.
    named: bool,
    /// Memory of a new zone, MiB.
    memory_mib: u64,
    /// Zones of the service on each.
    load: BTreeMap<Uuid, usize>,
    /// Who is where, by shard.
    partners: Vec<(Option<usize>, Uuid)>,
}

impl<'a> Places<'a> {
    pub(super) fn new(
        facts: &'a Facts,
        request: &Request,
        draft: &mut Draft,
    ) -> Self {
        let usable = |one: &Server| one.setup && one.status == "running";
        let mut servers = Vec::new();
        for name in &request.servers {
            let is = |one: &&Server| {
                one.hostname == *name || one.uuid.to_string() == *name
            };
            match facts.servers.iter().find(is) {
                None => draft.problem(format!(
                    "--servers {name}: CNAPI has none of that uuid or host name"
                )),
                Some(one) if !usable(one) => draft.problem(format!(
                    "--servers {name}: saw it {}, wanted one that is set up \
                     and running",
                    if one.setup { &one.status } else { "not set up" }
                )),
                Some(one) => servers.push(one),
            }
        }
        let named = !request.servers.is_empty();
        if !named {
            servers.extend(facts.servers.iter().filter(|one| usable(one)));
            servers.sort_by_key(|one| (!one.headnode, &one.hostname));
        }
        Self {
            servers,
            named,
            memory_mib: package(facts).map_or(0, |p| p.max_physical_memory),
            load: BTreeMap::new(),
            partners: Vec::new(),
        }
    }

    /// A zone of this shard is there.
    pub(super) fn take(&mut self, shard: Option<usize>, server: Option<Uuid>) {
        let Some(server) = server else { return };
        *self.load.entry(server).or_default() += 1;
        self.partners.push((shard, server));
    }

    /// The server of a new zone; one that it had before is kept where it can
    /// be. `None` is a problem, which is said.
    pub(super) fn choose(
        &mut self,
        shard: Option<usize>,
        before: Option<Uuid>,
        draft: &mut Draft,
    ) -> Option<&'a Server> {
        let apart =
            |one: &&&Server| !self.partners.contains(&(shard, one.uuid));
        let load = |one: &&&Server| {
            let was_here = before == Some(one.uuid);
            (!was_here, self.load.get(&one.uuid).copied().unwrap_or(0))
        };
        let of = shard.map_or(String::new(), |n| format!(" of shard {n}"));
        let chosen = self.servers.iter().filter(apart).min_by_key(load);
        let chosen = match chosen {
            Some(chosen) => *chosen,
            None if self.named && !self.servers.is_empty() => {
                draft.note(format!(
                    "zones{of} share a server, as asked: when it is down, so \
                     are all of them"
                ));
                *self.servers.iter().min_by_key(load)?
            }
            None => {
                draft.problem(format!(
                    "servers: saw {} that can take zones, wanted one more, as \
                     those{of} should not share one; --servers names one for \
                     all",
                    self.servers.len()
                ));
                return None;
            }
        };
        let free_mib = chosen.memory_available_bytes >> 20;
        // 0 where the server has not said.
        if free_mib != 0 && free_mib < self.memory_mib {
            draft.note(format!(
                "{} has {free_mib} MiB of memory free, a zone takes up to {}",
                chosen.hostname, self.memory_mib
            ));
        }
        self.take(shard, Some(chosen.uuid));
        Some(chosen)
    }
}
