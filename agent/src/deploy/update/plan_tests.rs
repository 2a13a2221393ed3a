// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What holds of any service: a plan done is a plan of nothing, cut off
//! anywhere the next one ends there too, and back is where it began.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const NEW: Uuid = Uuid::from_u128(0xff);

fn goal() -> Goal {
    let kind = "zone-dataset".to_owned();
    Goal::To { image: NEW, kind, fetch: false, lose_data: false }
}

fn instance(number: usize, image: u128, group: u8, unwell: bool) -> Instance {
    let uuid = Uuid::from_u128(number as u128 + 1);
    Instance {
        uuid,
        alias: format!("prometheus{number}"),
        owner: Some(Uuid::nil()),
        image: Some(Uuid::from_u128(image)),
        state: "running".to_owned(),
        brand: "joyent-minimal".to_owned(),
        group: format!("shard-{group}"),
        unwell: unwell.then(|| "it is dead".to_owned()),
        fresh: Some(false),
        datasets: vec![format!("zones/{uuid}/data")],
        ..Instance::default()
    }
}

fn facts() -> impl Strategy<Value = Facts> {
    // On images of long ago, or the new one already.
    let image = prop_oneof![Just(0xa_u128), Just(0xb), Just(0xff)];
    vec((image, 0..3_u8, proptest::bool::ANY), 0..6).prop_map(|all| {
        let all = all.into_iter().enumerate();
        let instances = all
            .map(|(n, (image, group, sick))| instance(n, image, group, sick));
        Facts {
            service: "prometheus".to_owned(),
            image: Some(Uuid::from_u128(0xa)),
            instances: instances.collect(),
            ..Facts::default()
        }
    })
}

/// What is there when these steps have been taken.
fn done(facts: &Facts, steps: &[Step]) -> Facts {
    let mut facts = facts.clone();
    for step in steps {
        match step {
            Step::Record(record) => facts.record = Some(record.clone()),
            Step::ServiceImage { to, .. } => facts.image = Some(*to),
            Step::Reprovision { uuid, to, .. } => {
                let mut all = facts.instances.iter_mut();
                let one = all.find(|one| one.uuid == *uuid).unwrap();
                (one.image, one.unwell) = (Some(*to), None);
            }
            Step::Watch { uuid, .. } => {
                let mut all = facts.instances.iter_mut();
                all.find(|one| one.uuid == *uuid).unwrap().unwell = None;
            }
            _ => {}
        }
    }
    facts
}

fn images(facts: &Facts) -> (Option<Uuid>, Vec<Option<Uuid>>) {
    (facts.image, facts.instances.iter().map(|one| one.image).collect())
}

proptest! {
    #[test]
    fn wherever_it_is_cut_off_it_ends_there_and_leads_back(
        facts in facts(),
        cut in 0..9_usize,
    ) {
        let whole = plan(&facts, &goal());
        let cut = cut.min(whole.steps.len());
        let part = done(&facts, &whole.steps[..cut]);
        let rest = plan(&part, &goal());
        let end = done(&part, &rest.steps);
        prop_assert_eq!(images(&end), images(&done(&facts, &whole.steps)));
        prop_assert_eq!(plan(&end, &goal()).steps, vec![]);
        for there in [&part, &end] {
            if there.record.is_none() {
                continue;
            }
            let back = plan(there, &Goal::Back);
            let back = done(there, &back.steps);
            prop_assert_eq!(images(&back), images(&facts));
            prop_assert_eq!(plan(&back, &Goal::Back).steps, vec![]);
        }
    }

    #[test]
    fn the_sick_come_first_and_then_one_of_each_pair(facts in facts()) {
        let steps = plan(&facts, &goal()).steps;
        let sick = |step: &Step| match step {
            Step::Reprovision { unwell, .. } => Some(*unwell),
            Step::Watch { .. } => Some(true),
            _ => None,
        };
        let order: Vec<bool> = steps.iter().filter_map(sick).collect();
        prop_assert!(order.is_sorted_by(|a, b| a >= b), "{steps:?}");
        // New zones' image is the last that changes, the record the first.
        let last = steps.last();
        let to = NEW;
        let from = facts.image;
        prop_assert_eq!(last, Some(&Step::ServiceImage { from, to }));
        prop_assert!(matches!(steps[0], Step::Record(_)));
    }
}

#[test]
fn data_must_come_back_where_the_agent_on_the_other_image_says_which() {
    let mut facts = Facts {
        image: Some(Uuid::from_u128(0xa)),
        instances: vec![instance(0, 0xa, 0, false)],
        ..Facts::default()
    };
    let wanted = |facts: &Facts, goal: &Goal| {
        let steps = plan(facts, goal).steps;
        let mut all = steps.into_iter().filter_map(|step| match step {
            Step::Reprovision { data, .. } | Step::Watch { data, .. } => {
                Some(data)
            }
            _ => None,
        });
        all.next().expect("a zone is touched")
    };
    let some = |id: &str| Some(id.to_owned());
    // An older agent before: nothing is asked, of the way back either.
    assert_eq!(wanted(&facts, &goal()), None);
    let mut older = done(&facts, &plan(&facts, &goal()).steps);
    older.instances[0].data = some("new");
    assert_eq!(wanted(&older, &Goal::Back), None);

    facts.instances[0].data = some("old");
    assert_eq!(wanted(&facts, &goal()), some("old"));
    let mut there = done(&facts, &plan(&facts, &goal()).steps[..2]);
    assert_eq!(there.instances[0].image, Some(NEW));
    there.instances[0].unwell = Some("it is dead".to_owned());
    there.instances[0].data = None;
    assert_eq!(wanted(&there, &goal()), some("old"));
    assert_eq!(wanted(&there, &Goal::Back), some("old"));
    // Other data there: no step but the way back, with what it has now.
    there.instances[0].data = some("new");
    let faults = plan(&there, &goal()).faults;
    assert!(faults[0].contains("saw no data from before"), "{faults:?}");
    assert_eq!(wanted(&there, &Goal::Back), some("new"));
}

/// A pair, of which the first has no zone or one that failed on the new image.
fn broken_pair(break_it: impl Fn(&mut Instance)) -> Facts {
    let all = [0, 1].map(|number| instance(number, 0xa, 0, false));
    let mut facts = Facts {
        service: "prometheus".to_owned(),
        image: Some(Uuid::from_u128(0xa)),
        instances: all.into(),
        ..Facts::default()
    };
    facts.record = Some(Record::before(&facts, NEW));
    facts.instances[0].unwell = Some("it is down".to_owned());
    break_it(&mut facts.instances[0]);
    facts
}

#[test]
fn beside_one_without_a_zone_its_well_partner_stays() {
    let gone = |one: &mut Instance| {
        one.state = "no zone".to_owned();
        (one.owner, one.image) = (None, None);
    };
    let mut facts = broken_pair(gone);
    let said = "prometheus0: saw no zone, wanted one: monadm post-setup \
                prometheus";
    let there = plan(&facts, &goal());
    assert_eq!(there.faults, [said]);
    assert_eq!(there.disturbed(), Vec::<&str>::new());
    // It keeps its way back, should its zone come back.
    let record = Record::before(&facts, NEW);
    assert_eq!(Some(record), facts.record);
    facts.instances[1].image = Some(NEW);
    let back = plan(&facts, &Goal::Back);
    assert_eq!(back.disturbed(), Vec::<&str>::new());
    assert_eq!(back.notes[0], said);
    // Taking down what serves nobody costs nobody anything.
    facts.instances[1].unwell = Some("it is dead".to_owned());
    assert_eq!(plan(&facts, &Goal::Back).disturbed(), ["prometheus1"]);
}

#[test]
fn a_zone_that_failed_goes_back_and_nobody_goes_on() {
    // Before its image was another, or after.
    for image in [Uuid::from_u128(0xa), NEW] {
        let mut facts = broken_pair(|one| {
            one.state = FAILED.to_owned();
            one.image = Some(image);
        });
        let there = plan(&facts, &goal());
        let said = "prometheus0: saw its zone failed, wanted it running: \
                    /var/svc/setup.log in it may say why; monadm rollback \
                    prometheus";
        assert_eq!(there.faults, [said]);
        let back = plan(&facts, &Goal::Back);
        assert_eq!(
            (back.faults.len(), back.disturbed()),
            (0, vec!["prometheus0"])
        );
        facts.record = None;
        let there = plan(&facts, &goal());
        assert!(there.faults[0].ends_with("may say why"), "{there:?}");
    }
}

#[test]
fn a_zone_without_room_for_its_set_up_is_not_taken_down() {
    let mut facts = broken_pair(|one| one.unwell = None);
    facts.instances[1].available = Some(SETUP_LEAST);
    assert_eq!(plan(&facts, &goal()).faults, Vec::<String>::new());
    facts.instances[0].available = Some(10 << 20);
    let uuid = facts.instances[0].uuid;
    let said = format!(
        "prometheus0: saw 10 MiB free, and set-up wants 64 MiB; give it more \
         (vmadm update {uuid} quota=GIB), or remove what it can do without"
    );
    assert_eq!(plan(&facts, &goal()).faults, [&*said]);
    // Nor on the way back; where it is already, it may be as full as it likes.
    facts.instances[0].image = Some(NEW);
    assert_eq!(plan(&facts, &Goal::Back).faults, [&*said]);
    assert_eq!(plan(&facts, &goal()).faults, Vec::<String>::new());
}

#[test]
fn a_plan_reads_as_what_will_be_done() {
    let mut all = [(0, 0), (1, 0), (2, 1)]
        .map(|(number, group)| instance(number, 0xa, group, number == 1));
    all[0].script = Some("x".to_owned());
    let facts = Facts {
        service: "prometheus".to_owned(),
        image: Some(Uuid::from_u128(0xa)),
        instances: all.into(),
        ..Facts::default()
    };
    let kind = "zone-dataset".to_owned();
    let goal = Goal::To { image: NEW, kind, fetch: true, lose_data: false };
    let plan = plan(&facts, &goal);
    assert_eq!(plan.disturbed(), ["prometheus1", "prometheus0", "prometheus2"]);
    let lines: Vec<String> = plan.steps.iter().map(Step::to_string).collect();
    assert_eq!(
        lines,
        [
            format!("fetch image {NEW}"),
            "write down in SAPI what 3 zones have now".to_owned(),
            format!("prometheus1: reprovision to {NEW}; not well"),
            "prometheus0: the service's user-script".to_owned(),
            format!("prometheus0: reprovision to {NEW}"),
            format!("prometheus2: reprovision to {NEW}; alone"),
            format!("new zones: image {NEW}"),
        ]
    );
    assert_eq!(
        plan.notes,
        ["alone: nobody stands in for prometheus2 while it is down"]
    );
}
