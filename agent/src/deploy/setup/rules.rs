// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Rules of the firewall, which closes all that no rule opens: the external
//! NIC stays closed, the admin network is open to core zones, and Manta's
//! Prometheus to them too, as no rule of Manta's set-up opens it. Pure.
//!
//! FWAPI writes a rule in its own way, so ours are known by their description.

use uuid::Uuid;

use super::Facts;
use super::blueprint::{ADMIN, Blueprint};
use super::plan::Draft;
use super::step::Step;
use crate::triton::fwapi::Rule;

/// What of Manta's Prometheus is asked: itself, its agent, its sidecar.
const MANTA_PORTS: &str =
    "(PORT 9090 AND PORT 9165 AND PORT 10901 AND PORT 10902)";

/// Adds those that are missing.
pub(super) fn rules(facts: &Facts, blueprint: &Blueprint, draft: &mut Draft) {
    let admin = facts.networks.get(ADMIN).map_or(&[][..], Vec::as_slice);
    let [admin] = admin else { return };
    let from = format!("FROM subnet {}", admin.subnet);
    for (protocol, description) in [
        ("tcp", "triton-monitoring: core zones, tcp"),
        ("udp", "triton-monitoring: core zones, udp"),
    ] {
        let made_at_setup = |rule: &Rule| {
            let text = plain(&rule.rule);
            let to = format!("to tag smartdc_role allow {protocol} port all");
            rule.enabled
                && text.starts_with(&plain(&from))
                && text.ends_with(&to)
        };
        if blueprint.firewall && !facts.rules.iter().any(made_at_setup) {
            let rule = format!(
                "{from} TO tag \"smartdc_role\" ALLOW {protocol} PORT all"
            );
            let why = "core zones meet on the admin network";
            let known = Known { owner: facts.admin, rules: &facts.rules };
            known.add(rule, description, why, draft);
        }
    }
    if let Some(manta) = &facts.manta {
        let rule = format!(
            "{from} TO tag \"manta_role\" = \"prometheus\" ALLOW tcp \
             {MANTA_PORTS}"
        );
        let description = "triton-monitoring: Manta's Prometheus";
        let why = "Manta's Prometheus is asked from the admin network";
        let known = Known { owner: manta.owner, rules: &manta.rules };
        known.add(rule, description, why, draft);
    }
}

struct Known<'a> {
    owner: Uuid,
    rules: &'a [Rule],
}

impl Known<'_> {
    fn add(
        &self,
        rule: String,
        description: &'static str,
        why: &'static str,
        draft: &mut Draft,
    ) {
        match self.rules.iter().find(|one| is(one, &rule, description)) {
            None => {
                let owner = self.owner;
                draft.step(Step::AddRule { owner, rule, description, why });
            }
            Some(off) if !off.enabled => draft.note(format!(
                "firewall rule {} ({description}) is disabled, and left so",
                off.uuid
            )),
            Some(_) => {}
        }
    }
}

/// Whether a rule is the one of this text or description.
pub(super) fn is(rule: &Rule, text: &str, description: &str) -> bool {
    rule.description == description || plain(&rule.rule) == plain(text)
}

/// Without what FWAPI may write otherwise: case, quotes, spaces.
fn plain(rule: &str) -> String {
    let words = rule.replace(['"', '(', ')'], " ").to_lowercase();
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}
