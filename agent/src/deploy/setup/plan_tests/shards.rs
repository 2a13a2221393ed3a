// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Shards: who takes a place in one, and whose groups are somebody else's.

use serde_json::{Value, json};

use super::{facts, planned, request, text, uuid, vm, with};
use crate::deploy::setup::{Plan, Request, Step};

#[test]
fn two_shards_from_nothing() {
    let request = Request { shards: Some(2), ..request() };
    insta::assert_snapshot!(text(planned(&facts(), &request)), @r"
    create service prometheus
        SAPI has none
    create prometheus0 on headnode
        for shard 0
    create prometheus1 on cn1
        for shard 0
    create prometheus2 on cn2
        for shard 1
    create prometheus3 on headnode
        for shard 1
    CNS transfers: add prometheus0, add prometheus1, add prometheus2, add prometheus3
        each zone is a secondary of CNS, by its admin address
        ! CNS restarts: transfers under way begin anew
    see prometheus0 well
    see prometheus1 well
    see prometheus2 well
    see prometheus3 well
    ");
}

#[test]
fn who_scraped_everything_takes_a_place_in_a_shard() {
    let zones = vec![(Some(vm(0, "running")), json!({}))];
    let mut facts = with(facts(), zones);
    facts.well.insert(uuid(0xd0, 0));
    let request = Request { shards: Some(1), ..request() };
    // Last: until its partner is there, nobody else scrapes a thing.
    insta::assert_snapshot!(text(planned(&facts, &request)), @r"
    create prometheus1 on cn1
        for shard 0
    CNS transfers: add prometheus0, add prometheus1
        each zone is a secondary of CNS, by its admin address
        ! CNS restarts: transfers under way begin anew
    see prometheus1 well
    give prometheus0 shard 0
        it scrapes everything
        ! prometheus0 scrapes its shard alone: zones without the tag are scraped by nobody until `monadm shard apply`
    ");
}

#[test]
fn so_does_one_that_is_made_anew() {
    let zones = vec![
        (Some(vm(0, "running")), json!({"groups": "shard-0"})),
        (Some(vm(1, "destroyed")), json!({"replica": "blue"})),
    ];
    let facts = with(facts(), zones);
    let request = Request { shards: Some(1), ..request() };
    let new = groups(&planned(&facts, &request).unwrap());
    let wanted =
        json!({"groups": ["shard-0"], "shard": "0", "replica": "blue"});
    assert_eq!(new, [("prometheus1".to_owned(), wanted)]);
}

/// What new instances have of their own.
fn groups(plan: &Plan) -> Vec<(String, Value)> {
    let new = plan.steps.iter().filter_map(|step| match step {
        Step::CreateInstance(new) => Some(new),
        _ => None,
    });
    let own = new.map(|new| (new.zone.alias.clone(), json!(new.own.metadata)));
    own.collect()
}

#[test]
fn groups_of_another_name_are_nobodys_to_change() {
    let zones = vec![(Some(vm(0, "running")), json!({"groups": ["part-0"]}))];
    let mut facts = with(facts(), zones);
    let asked = Request { shards: Some(2), ..request() };
    insta::assert_snapshot!(text(planned(&facts, &asked)), @r"
    it cannot be set up:
      prometheus0: saw groups part-0, wanted none, or one that is shard-<number>; if these are shards, --prefix says what they begin with
    ");
    // Nor is another to scrape all that each of them scrapes a part of.
    let more = Request { replicas: Some(2), ..request() };
    let said = text(planned(&facts, &more));
    let wanted = "--replicas: saw groups part-0 of prometheus0, wanted none";
    assert!(said.contains(wanted), "{said}");
    // They are shards all the same.
    let asked = Request { prefix: "part-".to_owned(), ..asked };
    let made = planned(&facts, &asked).unwrap();
    assert!(made.steps.iter().all(|step| step.kind() != "set-shard"));
    let own = |n: u8| json!({"groups": [format!("part-{n}")], "shard": n.to_string()});
    let wanted = [(1, 0), (2, 1), (3, 1)]
        .map(|(n, shard)| (format!("prometheus{n}"), own(shard)));
    assert_eq!(groups(&made), wanted);
    // An instance has its service's, as long as it has none of its own; and
    // what looks like a number is not always one.
    for (group, of_service) in [("edge", true), ("shard-00", false)] {
        let roster = &mut facts.rosters[0];
        let own = &mut roster.members[0].instance.metadata;
        own.clear();
        let metadata = match of_service {
            true => &mut roster.service.metadata,
            false => own,
        };
        metadata.insert("groups".to_owned(), json!([group]));
        let asked = Request { shards: Some(1), ..request() };
        let said = text(planned(&facts, &asked));
        let wanted = format!("prometheus0: saw groups {group}, wanted none");
        assert!(said.contains(&wanted), "{said}");
    }
}

/// It was drained, retired and deleted.
#[test]
fn a_shard_that_was_taken_away_is_not_made_anew() {
    let zone = |n: u8| {
        let groups = json!({"groups": [format!("shard-{n}")]});
        (Some(vm(n, "running")), groups)
    };
    let mut facts = with(facts(), vec![zone(0), zone(2)]);
    facts.well.extend([uuid(0xd0, 0), uuid(0xd0, 1)]);
    let transfer = facts.transfer.as_mut().unwrap();
    transfer.allowed = vec!["10.88.0.0/24".to_owned()];
    assert_eq!(planned(&facts, &request()).unwrap(), Plan::default());
    let asked = Request { shards: Some(3), replicas: Some(1), ..request() };
    let said = text(planned(&facts, &asked));
    assert!(said.contains("for shard 1"), "{said}");
}
