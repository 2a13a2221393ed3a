// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a zone is among others: the compactor of a bucket, or one that others
//! know by its certificate.

use localdc::sites::merged;

use super::sites::{authority, second};
use super::*;

#[test]
fn one_instance_compacts_a_bucket_and_the_next_takes_over() {
    let told = || json!({"object_store": bucket()});
    let runs = |peers: Vec<Peer>| {
        let model = read(told(), &site(peers)).unwrap();
        let thanos = model.thanos.unwrap();
        (thanos.compact.is_some(), thanos.compactor)
    };
    let first = second("thanos", &[]);
    let later = second("thanos1", &[]);
    let name = |text: &str| Some(text.to_owned());
    assert_eq!(runs(vec![own(&[]), later.clone()]), (true, name("thanos0")));
    assert_eq!(runs(vec![own(&[]), first.clone()]), (false, name("thanos")));
    assert_eq!(runs(vec![own(&[])]), (true, name("thanos0")));
    // Another bucket, or another that leaves compact out.
    let mut other = first.clone();
    other.bucket = Some("S3 elsewhere blocks".to_owned());
    assert_eq!(runs(vec![own(&[]), other]), (true, name("thanos0")));
    let store = second("thanos", &["store"]);
    assert_eq!(runs(vec![own(&[]), store]), (true, name("thanos0")));
    // First, and not elected for long enough: the others do not notice.
    let waits = Site { compaction: false, ..capped(site(vec![own(&[])])) };
    let waiting = read(told(), &waits).unwrap();
    let thanos = waiting.thanos.as_ref().unwrap();
    assert!(thanos.compact.is_none());
    assert_eq!(thanos.elected.as_deref(), second("", &[]).bucket.as_deref());
    let (waiting, works) =
        (render(&waiting), Site { compaction: true, ..waits });
    let working = render(&read(told(), &works).unwrap());
    for file in &waiting.files {
        assert!(working.files.contains(file), "{}", file.name);
    }
    assert!(waiting.unwanted.contains(&"thanos-compact".to_owned()));
    // Nobody has listed us: who knows who else there is.
    assert_eq!(runs(Vec::new()), (false, None));
    assert_eq!(runs(vec![first]), (false, name("thanos")));
}

#[test]
fn an_authority_signs_for_the_zones_own_names_and_is_seen_by_no_file() {
    let told = merged(
        authority(),
        json!({"thanos_tls_names":
        ["Thanos.r1.example.com.", "192.0.2.50", "10.1.0.50"]}),
    );
    let model = read(told, &site(vec![own(&[])])).unwrap();
    for file in render(&model).files {
        let text = String::from_utf8_lossy(&file.bytes).into_owned();
        assert!(!text.contains("hush"), "{}", file.name);
    }
    assert!(!format!("{model:?}").contains("hush"));
    let issued = model.thanos.unwrap().tls.unwrap().issued.unwrap();
    assert_eq!(
        issued.names,
        [
            "10.1.0.50",
            "thanos-1-50-uuid.thanos.dc1.t.test",
            "thanos0.thanos.dc1.t.test",
            "thanos.dc1.t.test",
            "thanos.r1.example.com",
            "192.0.2.50",
        ]
    );
}
