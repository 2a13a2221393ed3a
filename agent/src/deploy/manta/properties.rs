// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What holds of any layout: the file reads back, the changes lead where they
//! are to, and nothing is destroyed that nobody named.

use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

use super::{Change, Layout, Place, Request, SHARDED, Server};
use super::{changes, generate};

const SERVICES: [&str; 4] =
    ["nameservice", "moray", "prometheus", "loadbalancer"];

fn number(kind: u128) -> impl Strategy<Value = Uuid> {
    (1..4_u128).prop_map(move |n| Uuid::from_u128(kind << 64 | n))
}

fn place() -> impl Strategy<Value = Place> {
    let service = (0..SERVICES.len()).prop_map(|n| SERVICES[n].to_owned());
    (number(1), service, 1..3_u8, number(2)).prop_map(
        |(server, service, shard, image)| {
            let shard =
                SHARDED.contains(&service.as_str()).then(|| shard.to_string());
            let server = Server::Uuid(server);
            Place { server, service, shard, image }
        },
    )
}

fn layout() -> impl Strategy<Value = Layout> {
    vec((place(), 0..4_u64), 0..12).prop_map(|all| {
        let mut layout = Layout::default();
        for (place, count) in all {
            layout.add(place, count);
        }
        layout
    })
}

fn any(layout: &Layout) -> Layout {
    let mut all = Layout::default();
    for (place, count) in layout.iter() {
        all.add(Place { server: Server::Any, ..place.clone() }, count);
    }
    all
}

fn request() -> impl Strategy<Value = Request> {
    let remove = prop_oneof![
        3 => Just(Vec::new()),
        1 => Just(vec!["moray".to_owned()]),
        1 => Just(vec!["prometheus".to_owned()]),
    ];
    (0..5_u64, number(2), any_bool(), vec(number(1), 1..4), remove).prop_map(
        |(replicas, image, everywhere, servers, remove)| Request {
            service: "prometheus".to_owned(),
            replicas,
            image,
            everywhere,
            servers,
            remove,
        },
    )
}

fn any_bool() -> impl Strategy<Value = bool> {
    proptest::bool::ANY
}

/// How many zones are as before, or reprovisioned, or new, after a change.
fn apply(layout: &Layout, changes: &[Change]) -> Layout {
    let mut counts: Vec<(Place, i64)> = layout
        .iter()
        .map(|(place, count)| (place.clone(), count.cast_signed()))
        .collect();
    let mut add =
        |place: &Place, count: i64| counts.push((place.clone(), count));
    for change in changes {
        match change {
            Change::Provision { place, count } => {
                add(place, count.cast_signed());
            }
            Change::Deprovision { place, count } => {
                add(place, -count.cast_signed());
            }
            Change::Reprovision { from, image, count } => {
                add(from, -count.cast_signed());
                let to = Place { image: *image, ..from.clone() };
                add(&to, count.cast_signed());
            }
        }
    }
    let mut after = Layout::default();
    let places: std::collections::BTreeSet<&Place> =
        counts.iter().map(|(place, _)| place).collect();
    for place in places {
        let of = counts.iter().filter(|(other, _)| other == place);
        let sum: i64 = of.map(|(_, count)| count).sum();
        after.add(place.clone(), sum.try_into().unwrap());
    }
    after
}

proptest! {
    #[test]
    fn a_file_reads_back(layout in layout()) {
        for layout in [any(&layout), layout] {
            let text = layout.json().to_string();
            prop_assert_eq!(Layout::parse(&text), Ok(layout));
        }
    }

    #[test]
    fn changes_lead_from_one_to_the_other(from in layout(), to in layout()) {
        let all = changes(&from, &to);
        prop_assert_eq!(apply(&from, &all), to.clone());
        prop_assert_eq!(changes(&to, &to), vec![]);
        // At one place a zone is never taken away beside one that is made.
        for change in &all {
            let site = |p: &Place| (p.server, p.service.clone(), p.shard.clone());
            let beside = all.iter().any(|other| {
                site(other.place()) == site(change.place())
                    && matches!(other, Change::Provision { .. })
            });
            prop_assert!(!(change.is_removal() && beside), "{all:?}");
        }
    }

    #[test]
    fn nothing_goes_that_nobody_named(
        deployed in layout(),
        base in proptest::option::of(layout()),
        asked in request(),
    ) {
        let generated = generate(&deployed, base.as_ref(), &asked);
        let Ok(file) = generated else {
            // Of what is deployed there is always a file.
            prop_assert!(base.is_some());
            return Ok(());
        };
        for change in changes(&deployed, &file) {
            let service = &change.place().service;
            let named = asked.remove.contains(service);
            prop_assert!(!change.is_removal() || named, "{change}");
            let foreign = service != "prometheus" && base.is_none();
            prop_assert!(!foreign || named, "{change}");
        }
        if asked.remove.contains(&asked.service) {
            prop_assert_eq!(file.of("prometheus"), 0);
        } else {
            prop_assert!(file.of("prometheus") >= asked.replicas);
            // And a second time, nothing is new.
            prop_assert_eq!(generate(&file, None, &asked), Ok(file));
        }
    }

    #[test]
    fn any_stays_any(deployed in layout(), asked in request()) {
        let base = any(&deployed);
        prop_assume!(base != Layout::default());
        match generate(&deployed, Some(&base), &asked) {
            Ok(file) => {
                let of_any = file.servers();
                prop_assert!(of_any.iter().all(|one| *one == Server::Any));
                prop_assert!(deployed.servers().len() <= 1
                    || of_any.is_empty());
            }
            Err(faults) => prop_assert!(deployed.servers().len() > 1, "{faults:?}"),
        }
    }
}
