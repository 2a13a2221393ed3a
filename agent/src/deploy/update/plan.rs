// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! From facts to steps. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{FAILED, Facts, Instance, Record};
use crate::host::SETUP_LEAST;

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// To this image.
    To {
        /// It.
        image: Uuid,
        /// Its type: `zone-dataset`.
        kind: String,
        /// It must be fetched first.
        fetch: bool,
        /// Also where data is lost by it.
        lose_data: bool,
    },
    /// To what each had before the last update; the facts are those of
    /// `gather_back`.
    Back,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Have the datacenter's IMGAPI fetch the image.
    Fetch(Uuid),
    /// Write down what there is.
    Record(Record),
    /// Set the image of zones to come.
    ServiceImage {
        /// What it is.
        from: Option<Uuid>,
        /// What it will be.
        to: Uuid,
    },
    /// Give zones to come another user-script.
    ServiceScript(String),
    /// Give a zone the service's user-script.
    Script {
        /// The zone.
        uuid: Uuid,
        /// What people call it.
        alias: String,
    },
    /// Put a zone on another image, and see that it is well.
    Reprovision {
        /// The zone.
        uuid: Uuid,
        /// What people call it.
        alias: String,
        /// Its image.
        from: Option<Uuid>,
        /// The other.
        to: Uuid,
        /// Nobody stands in for it.
        alone: bool,
        /// It serves nobody now.
        unwell: bool,
        /// The id of the data that it must have then, where that is known.
        data: Option<String>,
    },
    /// A zone has its image and is not well: wait for it.
    Watch {
        /// The zone.
        uuid: Uuid,
        /// What people call it.
        alias: String,
        /// The id of the data that it must have, where that is known.
        data: Option<String>,
    },
}

/// Steps in order, and what stands in their way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The service.
    pub service: String,
    /// Steps.
    pub steps: Vec<Step>,
    /// Why nothing can be done.
    pub faults: Vec<String>,
    /// What else somebody should know.
    pub notes: Vec<String>,
}

/// Plans.
///
/// The sick go first: taking them down costs nobody anything, the new image
/// may mend them, and only then is there somebody to stand in for the other.
/// Then one of each pair, then the other ones.
pub fn plan(facts: &Facts, goal: &Goal) -> Plan {
    let mut plan = Plan { service: facts.service.clone(), ..Plan::default() };
    let target = |instance: &Instance| match goal {
        Goal::To { image, .. } => Some(*image),
        Goal::Back => facts.record.as_ref()?.way_back(instance.uuid),
    };
    if *goal == Goal::Back && facts.record.is_none() {
        plan.faults.push(format!(
            "service {}: saw no record of an update in its metadata; wanted \
             one, as update writes it",
            facts.service
        ));
        return plan;
    }
    match goal {
        Goal::To { .. } => plan.faults.extend(facts.lacks()),
        // Others may need the way back.
        Goal::Back => plan.notes.extend(facts.lacks()),
    }
    let mut zones = Vec::new();
    for instance in ordered(&facts.instances) {
        let Some(to) = target(instance) else { continue };
        if instance.owner.is_none() {
            continue;
        }
        let (uuid, alias) = (instance.uuid, instance.alias.clone());
        let failed = instance.state == FAILED;
        if failed && *goal != Goal::Back {
            plan.faults.push(has_failed(facts, instance));
            continue;
        }
        let moves = instance.image != Some(to) || failed;
        let unwell = instance.unwell.is_some();
        let alone = facts.partners(instance).next().is_none();
        let mut partners = facts.partners(instance);
        if moves && !alone && !unwell && partners.all(|o| o.owner.is_none()) {
            plan.notes.push(format!(
                "{alias} stays as it is: none of its pair has a zone"
            ));
            continue;
        }
        if instance.script.is_some() {
            zones.push(Step::Script { uuid, alias: alias.clone() });
        }
        if moves {
            plan.faults.extend(fault(instance, goal));
            plan.faults.extend(full(instance));
            let from = instance.image;
            if alone && !unwell {
                plan.notes.push(format!(
                    "alone: nobody stands in for {alias} while it is down"
                ));
            }
            let data = data(facts, goal, instance);
            zones.push(Step::Reprovision {
                uuid,
                alias,
                from,
                to,
                alone,
                unwell,
                data,
            });
        } else if is_emptied(facts, goal, instance) {
            plan.faults.push(format!(
                "{alias}: saw no data from before its update, wanted what it \
                 had: the next one would lose the only copy; monadm rollback {}",
                facts.service
            ));
        } else if instance.unwell.is_some() {
            let data = data(facts, goal, instance);
            zones.push(Step::Watch { uuid, alias, data });
        }
    }
    let wanted = match goal {
        Goal::To { image, .. } => Some(*image),
        Goal::Back => facts.record.as_ref().and_then(|record| record.service),
    };
    let from = facts.image;
    let service = wanted
        .filter(|to| from != Some(*to))
        .map(|to| Step::ServiceImage { from, to });
    let script = facts.script.iter().cloned().map(Step::ServiceScript);
    match goal {
        Goal::Back => {
            plan.steps.extend(service);
            plan.steps.extend(script);
            plan.steps.extend(zones);
        }
        Goal::To { image, fetch, .. } => {
            let disturbs =
                |step: &Step| matches!(step, Step::Reprovision { .. });
            let changes = zones.iter().any(disturbs)
                || service.is_some()
                || facts.script.is_some();
            let record = Record::before(facts, *image);
            let written = facts.record.as_ref() == Some(&record);
            if *fetch && changes {
                plan.steps.push(Step::Fetch(*image));
            }
            if changes && !written {
                plan.steps.push(Step::Record(record));
            }
            plan.steps.extend(script);
            plan.steps.extend(zones);
            plan.steps.extend(service);
        }
    }
    plan
}

/// Why nothing goes on beside a zone that did not come up: the image may be
/// at fault, and its partner serves alone.
fn has_failed(facts: &Facts, instance: &Instance) -> String {
    let (alias, service) = (&instance.alias, &facts.service);
    let way = match facts.record {
        Some(_) => format!("; monadm rollback {service}"),
        None => String::new(),
    };
    format!(
        "{alias}: saw its zone failed, wanted it running: /var/svc/setup.log \
         in it may say why{way}"
    )
}

/// Whether a run that was cut off before it could look has left a zone without
/// the data that it had. Once an update is complete, retention may have had
/// its turn.
fn is_emptied(facts: &Facts, goal: &Goal, instance: &Instance) -> bool {
    let Goal::To { image, .. } = goal else { return false };
    let record = facts.record.as_ref().filter(|one| one.image == *image);
    let Some(record) = record else { return false };
    let kept = record.kept.contains(&instance.uuid);
    let empty = kept && instance.fresh == Some(true);
    let (had, has) = (record.data.get(&instance.uuid), &instance.data);
    let other = had.is_some() && has.is_some() && had != has.as_ref();
    facts.image != Some(*image) && (empty || other)
}

/// The id of the data that a zone must have in the end. Back is with what it
/// has, and to an agent that says so.
fn data(facts: &Facts, goal: &Goal, instance: &Instance) -> Option<String> {
    match goal {
        Goal::To { image, .. } => {
            Record::before(facts, *image).data.remove(&instance.uuid)
        }
        Goal::Back => {
            let had = facts.record.as_ref()?.data.get(&instance.uuid)?;
            Some(instance.data.as_ref().unwrap_or(had).clone())
        }
    }
}

fn ordered(instances: &[Instance]) -> Vec<&Instance> {
    let mut turns: BTreeMap<&str, usize> = BTreeMap::new();
    let keyed = instances.iter().map(|instance| {
        let turn = turns.entry(&instance.group).or_default();
        *turn += 1;
        ((instance.unwell.is_none(), *turn, &instance.alias), instance)
    });
    let mut keyed: Vec<_> = keyed.collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, instance)| instance).collect()
}

/// Why this zone would not come back: the set-up of its new root has no room,
/// and a daemon that runs in a full zone is better than none.
fn full(instance: &Instance) -> Option<String> {
    let Instance { alias, uuid, available, .. } = instance;
    let available = available.filter(|bytes| *bytes < SETUP_LEAST)?;
    Some(format!(
        "{alias}: saw {} MiB free, and set-up wants {} MiB; give it more \
         (vmadm update {uuid} quota=GIB), or remove what it can do without",
        available >> 20,
        SETUP_LEAST >> 20
    ))
}

/// Why this zone cannot be put on another image.
///
/// Source: the preconditions of `vmadm reprovision`.
fn fault(instance: &Instance, goal: &Goal) -> Option<String> {
    let Instance { alias, uuid, brand, datasets, .. } = instance;
    let Goal::To { kind, lose_data, .. } = goal else { return None };
    let fits: &[&str] = match brand.as_str() {
        "lx" => &["lx-dataset", "docker"],
        _ => &["zone-dataset"],
    };
    if !fits.contains(&kind.as_str()) {
        return Some(format!(
            "{alias}, brand {brand}: saw an image of type {kind}, wanted {}",
            fits.join(" or ")
        ));
    }
    match &datasets[..] {
        [] if *lose_data => None,
        [] => Some(format!(
            "{alias}: saw no delegate dataset, wanted one: what it keeps would \
             be lost; --lose-data if that is right"
        )),
        [one] if one.ends_with(&format!("/{uuid}/data")) => None,
        odd => Some(format!(
            "{alias}: saw delegate datasets {}, wanted one, <pool>/{uuid}/data",
            odd.join(", ")
        )),
    }
}

impl Plan {
    /// Zones that are taken down, as aliases, in order.
    pub fn disturbed(&self) -> Vec<&str> {
        let down = |step: &&Step| matches!(step, Step::Reprovision { .. });
        self.steps.iter().filter(down).map(Step::alias).collect()
    }

    /// Images that zones are put on.
    pub fn images(&self) -> BTreeSet<Uuid> {
        let image = |step: &Step| match step {
            Step::Reprovision { to, .. } => Some(*to),
            _ => None,
        };
        self.steps.iter().filter_map(image).collect()
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let steps: Vec<Value> = self.steps.iter().map(Step::json).collect();
        json!({"service": self.service, "steps": steps,
            "faults": self.faults, "notes": self.notes})
    }
}

impl Step {
    /// What people call the zone it is about; empty where it is about none.
    pub fn alias(&self) -> &str {
        match self {
            Self::Script { alias, .. }
            | Self::Reprovision { alias, .. }
            | Self::Watch { alias, .. } => alias,
            _ => "",
        }
    }

    kinds! {
        Self::Fetch(_) => "fetch",
        Self::Record(_) => "record",
        Self::ServiceImage { .. } => "service-image",
        Self::ServiceScript(_) => "service-user-script",
        Self::Script { .. } => "user-script",
        Self::Reprovision { .. } => "reprovision",
        Self::Watch { .. } => "watch",
    }

    fn json(&self) -> Value {
        let mut said = match self {
            Self::Fetch(image) => json!({"image": image}),
            Self::Record(record) => json!({"record": record.json()}),
            Self::ServiceImage { from, to } => json!({"from": from, "to": to}),
            Self::ServiceScript(_) => json!({}),
            Self::Script { uuid, alias } => {
                json!({"uuid": uuid, "alias": alias})
            }
            Self::Watch { uuid, alias, data } => {
                json!({"uuid": uuid, "alias": alias, "data": data})
            }
            Self::Reprovision {
                uuid,
                alias,
                from,
                to,
                alone,
                unwell,
                data,
            } => {
                json!({"uuid": uuid, "alias": alias, "from": from, "to": to,
                    "alone": alone, "unwell": unwell, "data": data})
            }
        };
        said["do"] = self.kind().into();
        said
    }
}

impl std::fmt::Display for Step {
    // Short enough for a terminal: what was before is in the table above it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fetch(image) => write!(f, "fetch image {image}"),
            Self::Record(record) => write!(
                f,
                "write down in SAPI what {} zones have now",
                record.zones.len()
            ),
            Self::ServiceImage { to, .. } => {
                write!(f, "new zones: image {to}")
            }
            Self::ServiceScript(_) => f.write_str("new zones: user-script"),
            Self::Script { alias, .. } => {
                write!(f, "{alias}: the service's user-script")
            }
            Self::Reprovision { alias, to, alone, unwell, .. } => {
                write!(f, "{alias}: reprovision to {to}")?;
                match (unwell, alone) {
                    (true, _) => f.write_str("; not well"),
                    (_, true) => f.write_str("; alone"),
                    _ => Ok(()),
                }
            }
            Self::Watch { alias, .. } => {
                write!(f, "{alias}: wait until it is well")
            }
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
