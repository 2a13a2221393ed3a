// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

use serde_json::{Value, json};

use super::*;

const A: &str = "c0000000-0000-4000-8000-00000000000a";
const B: &str = "c0000000-0000-4000-8000-00000000000b";

fn domain() -> ZoneName {
    ZoneName::parse("t.test").unwrap()
}

fn scope<'a>(
    datacenter: &'a str,
    flavor: Flavor,
    domain: &'a ZoneName,
) -> Scope<'a> {
    Scope { datacenter, flavor, domain, own: A }
}

/// What SAPI of `datacenter` lists: an instance with this metadata each.
fn listed(
    datacenter: &str,
    flavor: Flavor,
    instances: &[(&str, Value)],
) -> Vec<Peer> {
    let application = json!({"DOMAIN_NAME": "r1.t.test", "shard": "9"});
    let service: Service = serde_json::from_value(json!({
        "uuid": "b0000000-0000-4000-8000-000000000001", "name": "prometheus",
        "application_uuid": "a0000000-0000-4000-8000-000000000001",
        "metadata": {"shard": "1"},
    }))
    .unwrap();
    let domain = domain();
    let peers = instances.iter().map(|(uuid, metadata)| {
        let instance: Instance = serde_json::from_value(json!({
            "uuid": uuid, "metadata": metadata,
            "service_uuid": "b0000000-0000-4000-8000-000000000001",
            "params": {"alias": format!("p-{}", &uuid[35..])},
        }))
        .unwrap();
        scope(datacenter, flavor, &domain)
            .peer(application.as_object().unwrap(), &service, &instance)
            .unwrap()
    });
    peers.collect()
}

fn merged(
    known: Peers,
    datacenter: &str,
    flavor: Flavor,
    instances: &[(&str, Value)],
    whole: bool,
) -> Peers {
    let list = listed(datacenter, flavor, instances);
    merge(known, &scope(datacenter, flavor, &domain()), list, whole)
}

fn uuids(peers: &Peers) -> Vec<&str> {
    peers.iter().map(|peer| peer.instance.as_str()).collect()
}

fn answers(told: &[(&str, &[&str])]) -> BTreeMap<String, Vec<IpAddr>> {
    let parsed = |ips: &[&str]| -> Vec<IpAddr> {
        ips.iter().map(|ip| ip.parse().unwrap()).collect()
    };
    told.iter().map(|(uuid, ips)| ((*uuid).to_owned(), parsed(ips))).collect()
}

fn address(peers: &Peers, uuid: &str) -> Option<String> {
    Some(peers.get(uuid)?.address?.to_string())
}

#[test]
fn an_instance_is_what_its_three_levels_say() {
    let metadata = json!({"replica": "b", "DATACENTER": "dc9"});
    let list = listed("dc1", Flavor::Triton, &[(B, metadata.clone())]);
    let peer = &list[0];
    assert_eq!(peer.name, format!("{B}.prometheus.dc1.t.test"));
    assert_eq!(peer.datacenter, "dc1", "the key is Manta's alone");
    assert_eq!(peer.shard_or_default(), "1", "the service's");
    assert_eq!(peer.replica_or_default(), "b");
    assert_eq!((peer.alias.as_str(), peer.own), ("p-b", false));
    let list = listed("dc1", Flavor::Manta, &[(A, metadata)]);
    assert_eq!(list[0].name, format!("{A}.prometheus.r1.t.test"));
    assert_eq!(list[0].datacenter, "dc9");
    assert!(list[0].own);
    let full = json!({"SERVICE_NAME": "metrics.r2.t.test"});
    let list = listed("dc1", Flavor::Manta, &[(A, full)]);
    assert_eq!(list[0].name, format!("{A}.metrics.r2.t.test"));
}

#[test]
fn only_a_whole_list_of_the_same_kind_takes_away() {
    let both = [(A, json!({})), (B, json!({}))];
    let known = merged(Peers::default(), "dc1", Flavor::Triton, &both, false);
    assert_eq!(uuids(&known), [A, B]);
    let one = [(A, json!({}))];
    let same = merged(known.clone(), "dc1", Flavor::Triton, &one, false);
    assert_eq!(same, known, "SAPI lists from memory");
    let same = merged(known.clone(), "dc1", Flavor::Manta, &[], true);
    assert_eq!(same, known, "Manta has none");
    let same = merged(known.clone(), "dc2", Flavor::Triton, &[], true);
    assert_eq!(same, known, "another datacenter has none");
    let less = merged(known, "dc1", Flavor::Triton, &one, true);
    assert_eq!(uuids(&less), [A]);
}

#[test]
fn what_several_sapis_list_goes_when_the_last_one_lacks_it() {
    let there = json!({"DATACENTER": "dc2", "replica": "there"});
    let here = json!({"DATACENTER": "dc2", "replica": "hearsay"});
    let manta = Flavor::Manta;
    let theirs = [(B, there)];
    let ours = [(B, here)];
    let known = merged(Peers::default(), "dc2", manta, &theirs, true);
    let known = merged(known, "dc1", manta, &ours, true);
    let peer = known.get(B).unwrap();
    assert_eq!(peer.replica_or_default(), "there", "where it runs");
    assert_eq!(peer.listed_by.len(), 2);
    // The other way round ends the same.
    let again = merged(Peers::default(), "dc1", manta, &ours, true);
    assert_eq!(merged(again, "dc2", manta, &theirs, true), known);
    let known = merged(known, "dc2", manta, &[], true);
    assert_eq!(uuids(&known), [B]);
    let known = merged(known, "dc1", manta, &[], true);
    assert!(known.is_empty());
}

#[test]
fn a_datacenter_that_leaves_the_region_takes_its_own_along() {
    let (a, b) = ([(A, json!({}))], [(B, json!({}))]);
    let known = merged(Peers::default(), "dc1", Flavor::Triton, &a, true);
    let known = merged(known, "dc2", Flavor::Triton, &b, true);
    let both = ["dc1".to_owned(), "dc2".to_owned()];
    assert_eq!(within(known.clone(), &both), known);
    assert_eq!(uuids(&within(known, &both[..1])), [A]);
}

#[test]
fn a_name_that_leads_nowhere_leaves_the_address() {
    let both = [(A, json!({})), (B, json!({}))];
    let known = merged(Peers::default(), "dc1", Flavor::Triton, &both, true);
    assert_eq!(address(&known, A), None);
    let told = answers(&[(A, &["10.9.0.3"]), (B, &["10.9.0.4"])]);
    let known = addressed(known, &told);
    let silent = addressed(known.clone(), &answers(&[(A, &[])]));
    assert_eq!(silent, known);
    // A list does not touch it either.
    let listed = merged(silent, "dc1", Flavor::Triton, &both, true);
    assert_eq!(listed, known);
    // One of several stays the one; otherwise the least, for the order in
    // an answer is by chance.
    let two = answers(&[(A, &["10.9.0.9", "10.9.0.3"])]);
    assert_eq!(addressed(known.clone(), &two), known);
    let moved = answers(&[(A, &["10.9.0.9", "10.9.0.7"])]);
    let known = addressed(known, &moved);
    assert_eq!(address(&known, A).as_deref(), Some("10.9.0.7"));
    // The address of a dead one may be given to another.
    let taken = answers(&[(A, &["10.9.0.4"])]);
    let known = addressed(known, &taken);
    assert_eq!(address(&known, A).as_deref(), Some("10.9.0.4"));
    assert_eq!(address(&known, B), None);
}

#[test]
fn crowds_are_counted_by_the_name_they_share() {
    let both = [(A, json!({})), (B, json!({}))];
    let known = merged(Peers::default(), "dc1", Flavor::Triton, &both, true);
    let c = "c0000000-0000-4000-8000-00000000000c";
    let known = merged(known, "dc2", Flavor::Triton, &[(c, json!({}))], true);
    let counts = crowds(&known);
    assert_eq!(counts["prometheus.dc1.t.test"], 2);
    assert_eq!(counts["prometheus.dc2.t.test"], 1);
}
