// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! From facts and a request to steps in order. Pure: new uuids are handed in.

use std::fmt;

use uuid::Uuid;

use super::blueprint::Target;
use super::step::{Named, Step};
use super::{Facts, Request, rules, service, zones};

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step>,
    /// What an operator should know, and no step mends.
    pub notes: Vec<String>,
}

impl Plan {
    /// Steps that the rest does not go on without. A wait right after one that
    /// may fail is part of that.
    pub fn hard(&self) -> impl Iterator<Item = &Step> {
        let before = [None].into_iter().chain(self.steps.iter().map(Some));
        let pairs = before.zip(&self.steps);
        let hard = pairs.filter(|(before, step)| {
            let part = before.is_some_and(Step::is_soft)
                && matches!(step, Step::Await(_));
            !part && !step.is_soft()
        });
        hard.map(|(_, step)| step)
    }
}

/// Why there is no plan: all that stands in its way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refused(pub Vec<String>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it cannot be set up:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// A plan in the making.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) plan: Plan,
    pub(super) problems: Vec<String>,
}

impl Draft {
    pub(super) fn step(&mut self, step: Step) {
        self.plan.steps.push(step);
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.plan.notes.push(note.into());
    }

    pub(super) fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }
}

/// Plans. `fresh` makes the uuids of new zones.
///
/// Errors: `Refused`, with everything that is in the way.
pub fn plan(
    facts: &Facts,
    request: &Request,
    fresh: &mut dyn FnMut() -> Uuid,
) -> Result<Plan, Refused> {
    let mut draft = Draft::default();
    let blueprint = request.target.blueprint();
    if let [_, _, ..] = &facts.rosters[..] {
        let all = facts.rosters.iter();
        let all: Vec<_> = all.map(|one| one.service.uuid.to_string()).collect();
        draft.problem(format!(
            "service {}: saw {} of that name, {}; wanted one",
            blueprint.service,
            all.len(),
            all.join(", ")
        ));
    }
    if request.target == Target::Alertmanager {
        alertmanager(facts, &mut draft);
    } else {
        for (need, count) in &facts.needed {
            if *count == 0 {
                draft.problem(format!(
                    "service {need}: saw no instance in application sdc, \
                     wanted one at least, set up before"
                ));
            }
        }
        service::images(facts, blueprint, &mut draft);
        service::service(facts, request, fresh, &mut draft);
        rules::rules(facts, blueprint, &mut draft);
        zones::zones(facts, request, fresh, &mut draft);
    }
    match draft.problems.is_empty() {
        true => Ok(draft.plan),
        false => Err(Refused(draft.problems)),
    }
}

/// In the zones of Prometheus, by a key of their metadata.
fn alertmanager(facts: &Facts, draft: &mut Draft) {
    let roster = facts.rosters.first();
    let Some(roster) = roster.filter(|one| !one.members.is_empty()) else {
        draft.problem(
            "service prometheus: saw no instance, wanted one at least, in \
             whose zone Alertmanager runs: monadm post-setup prometheus",
        );
        return;
    };
    service::alertmanager(&roster.service, draft);
    for member in &roster.members {
        let uuid = member.instance.uuid;
        if !facts.well.contains(&uuid) {
            draft.step(Step::Await(Named { uuid, alias: member.alias() }));
        }
    }
}
