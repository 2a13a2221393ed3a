// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the zones of a service had before its last update, kept in SAPI, in
//! the service's metadata: it is there for whoever comes next, and written
//! whole by one call. Metadata and not params: SAPI hands params on to VMAPI,
//! and sdcadm puts back the params it knows.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Facts;

/// The key in the service's metadata.
pub(super) const KEY: &str = "monadm_update";

/// The record of an update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it went to.
    pub image: Uuid,
    /// What the service had; `None` when it had none.
    pub service: Option<Uuid>,
    /// What each zone had.
    pub zones: BTreeMap<Uuid, Uuid>,
    /// Zones that had data.
    #[serde(default)]
    pub kept: BTreeSet<Uuid>,
    /// Ids of their data, where agents said them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<Uuid, String>,
    /// The service's user-script, where the update gave it another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
}

impl Record {
    /// The record in a service's metadata; one that makes no sense is none.
    pub(super) fn of(metadata: &Map<String, Value>) -> Option<Self> {
        serde_json::from_value(metadata.get(KEY)?.clone()).ok()
    }

    /// The record of an update to `image`, before anything is done. What is
    /// there already came there by an earlier run of this update: of it, the
    /// old record knows more than the zones do.
    pub(super) fn before(facts: &Facts, image: Uuid) -> Self {
        let old = facts.record.as_ref().filter(|old| old.image == image);
        let known = |zone: &Uuid| old?.zones.get(zone).copied();
        let zones = facts.instances.iter().filter_map(|instance| {
            let before = match instance.image {
                Some(now) if now != image => Some(now),
                // One that has no zone now may have one again.
                now => known(&instance.uuid).or(now),
            };
            Some((instance.uuid, before?))
        });
        let kept = facts.instances.iter().filter(|instance| {
            let had = old.is_some_and(|old| old.kept.contains(&instance.uuid));
            // One that is down says nothing now.
            had || instance.image != Some(image)
                && instance.fresh == Some(false)
        });
        let kept = kept.map(|instance| instance.uuid).collect();
        let data = facts.instances.iter().filter_map(|instance| {
            let had = || old?.data.get(&instance.uuid).cloned();
            let now = instance.data.clone();
            let id = match instance.image == Some(image) {
                true => had().or(now),
                false => now.or_else(had),
            };
            Some((instance.uuid, id?))
        });
        let data = data.collect();
        let service = match (facts.image == Some(image), old) {
            (true, Some(old)) => old.service,
            _ => facts.image,
        };
        let script = match &facts.script {
            Some(_) => facts.own_script.clone(),
            None => old.and_then(|old| old.script.clone()),
        };
        Self { image, service, zones: zones.collect(), kept, data, script }
    }

    /// Where a zone goes back to. One made since has the image that the
    /// service would have given it.
    pub(super) fn way_back(&self, zone: Uuid) -> Option<Uuid> {
        self.zones.get(&zone).copied().or(self.service)
    }

    pub(super) fn json(&self) -> Value {
        json!(self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Instance;
    use super::*;

    const A: Uuid = Uuid::from_u128(0xa);
    const B: Uuid = Uuid::from_u128(0xb);
    const C: Uuid = Uuid::from_u128(0xc);

    fn facts(images: [Uuid; 2], service: Uuid, old: Option<Record>) -> Facts {
        let instance = |(number, image): (u128, Uuid)| Instance {
            uuid: Uuid::from_u128(number),
            image: Some(image),
            fresh: Some(image == B),
            ..Instance::default()
        };
        Facts {
            image: Some(service),
            record: old,
            instances: (1..).zip(images).map(instance).collect(),
            ..Facts::default()
        }
    }

    #[test]
    fn the_script_before_is_kept_over_a_second_run() {
        let script = |name: &str| Some(name.to_owned());
        let mut facts = facts([A, A], A, None);
        facts.own_script = script("old");
        assert_eq!(Record::before(&facts, B).script, None);
        facts.script = script("new");
        let first = Record::before(&facts, B);
        assert_eq!(first.script, script("old"));
        facts.record = Some(first);
        // Cut off before and after the service was given it.
        assert_eq!(Record::before(&facts, B).script, script("old"));
        (facts.own_script, facts.script) = (script("new"), None);
        assert_eq!(Record::before(&facts, B).script, script("old"));
        assert_eq!(Record::before(&facts, C).script, None);
    }

    #[test]
    fn the_data_that_a_zone_had_is_what_it_had_on_its_old_image() {
        let id = |of: &Record, zone| of.data.get(&zone).cloned();
        let zone = Uuid::from_u128(1);
        let mut facts = facts([A, A], A, None);
        assert!(Record::before(&facts, B).data.is_empty());
        facts.instances[0].data = Some("first".to_owned());
        let first = Record::before(&facts, B);
        assert_eq!(id(&first, zone), Some("first".to_owned()));
        // Down, and up on the other image with other data.
        facts.record = Some(first);
        for now in [None, Some("other".to_owned())] {
            facts.instances[0].image = Some(B);
            facts.instances[0].data = now;
            let again = Record::before(&facts, B);
            assert_eq!(id(&again, zone), Some("first".to_owned()));
        }
        // Back with it: that is what must not be lost now.
        facts.instances[0].image = Some(A);
        let later = Record::before(&facts, B);
        assert_eq!(id(&later, zone), Some("other".to_owned()));
    }

    fn zones(record: &Record) -> Vec<Uuid> {
        record.zones.values().copied().collect()
    }

    #[test]
    fn a_second_run_does_not_take_its_own_work_for_what_was_before() {
        let first = Record::before(&facts([A, A], A, None), B);
        assert_eq!((zones(&first), first.service), (vec![A, A], Some(A)));
        assert_eq!(first.kept.len(), 2);
        for (images, service) in [([B, A], A), ([B, B], A), ([B, B], B)] {
            let again = facts(images, service, Some(first.clone()));
            assert_eq!(Record::before(&again, B), first, "{images:?}");
        }
        let mut down = facts([A, A], A, Some(first.clone()));
        down.instances[0].fresh = None;
        assert_eq!(Record::before(&down, B), first);
        // Given up half way for another image: back is where each was.
        let other = facts([B, A], A, Some(first.clone()));
        let other = Record::before(&other, C);
        assert_eq!((zones(&other), other.service), (vec![B, A], Some(A)));
        // Back at A, on to C by other means, and to B again.
        let later = Record::before(&facts([C, C], C, Some(first)), B);
        assert_eq!((zones(&later), later.service), (vec![C, C], Some(C)));
    }

    #[test]
    fn it_survives_its_place_in_sapi_and_odd_ones_are_none() {
        let record = Record::before(&facts([A, B], A, None), C);
        let stored = Map::from_iter([(KEY.to_owned(), record.json())]);
        assert_eq!(Record::of(&stored), Some(record.clone()));
        for odd in [json!(null), json!("x"), json!({"image": 7})] {
            let stored = Map::from_iter([(KEY.to_owned(), odd)]);
            assert_eq!(Record::of(&stored), None);
        }
        assert_eq!(record.way_back(Uuid::from_u128(2)), Some(B));
        assert_eq!(record.way_back(Uuid::from_u128(9)), Some(A));
    }
}
