// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Plans of every kind of zone, and what must be true of all of them.

use super::*;
use crate::model::Role;
use crate::setup::rotation::LOGS;
use crate::setup::{Dataset, Zone};

const UUID: &str = "5f1a0f6e-6a4b-4c0e-9a54-0d8f2b7c0045";

/// A zone as it boots for the first time, or after a reprovision, when
/// its dataset has been set and, on SmartOS, mounted by the boot itself.
fn facts(brand: Brand, flavor: Flavor, reprovision: bool) -> Facts {
    let suffix = match brand {
        Brand::JoyentMinimal => "xml",
        Brand::Lx => "service",
    };
    let home = |home: &str, daemons: &[&str]| Home {
        name: home.to_owned(),
        services: daemons
            .iter()
            .map(|it| format!("/opt/triton/{home}/smf/{it}.{suffix}"))
            .map(PathBuf::from)
            .collect(),
    };
    let native = brand == Brand::JoyentMinimal;
    Facts {
        zone: Zone {
            uuid: UUID.to_owned(),
            brand,
            flavor,
            role: Role::Prometheus,
            datacenter: Some("dc1".to_owned()),
            sapi_url: "http://sapi.dc1.example.test".to_owned(),
        },
        dataset: Dataset {
            name: format!("zones/{UUID}/data"),
            mountpoint: match reprovision {
                true => "/data".to_owned(),
                false => format!("/zones/{UUID}/data"),
            },
            mounted: reprovision && native,
        },
        homes: vec![
            home("config-agent", &["config-agent"]),
            home("prometheus", &["prometheus", "thanos-sidecar"]),
        ],
        users: [].into(),
        groups: [].into(),
        registrar: native,
        amon: native,
        crontab: Some(match native {
            true => "# Rotate system logs\n\
                     10 3 * * * /usr/sbin/logadm\n\
                     15 3 * * 0 /usr/lib/fs/nfs/nfsfind\n"
                .to_owned(),
            false => String::new(),
        }),
        complete: false,
    }
}

fn told(steps: &[Step]) -> String {
    let line = |step: &Step| format!("{step}\n");
    steps.iter().map(line).collect()
}

#[test]
fn plans_are_reviewed() {
    for (name, brand) in [("smartos", Brand::JoyentMinimal), ("lx", Brand::Lx)]
    {
        for (flavor_name, flavor) in
            [("triton", Flavor::Triton), ("manta", Flavor::Manta)]
        {
            for (state, again) in [("fresh", false), ("reprovision", true)] {
                let steps = plan(&facts(brand, flavor, again));
                let name = format!("{name}-{flavor_name}-{state}");
                insta::assert_snapshot!(name, told(&steps));
            }
        }
    }
}

#[test]
fn what_is_complete_is_only_looked_after() {
    let mut facts = facts(Brand::JoyentMinimal, Flavor::Triton, true);
    facts.complete = true;
    let steps = plan(&facts);
    let only_folders =
        steps.iter().all(|it| matches!(it.act, Act::Folder { .. }));
    assert!(only_folders, "{}", told(&steps));
    facts.dataset.mounted = false;
    assert!(told(&plan(&facts)).contains("zfs mount -a"));
}

#[test]
fn accounts_that_are_missing_are_made_before_anything_is_theirs() {
    for brand in [Brand::JoyentMinimal, Brand::Lx] {
        let mut facts = facts(brand, Flavor::Triton, true);
        facts.users = ["prometheus".to_owned()].into();
        facts.groups = ["metrics".to_owned()].into();
        let text = told(&plan(&facts));
        let at = |part: &str| text.find(part).unwrap();
        assert!(at("groupadd metrics") < at("useradd"), "{text}");
        assert!(at("useradd") < at("/data/prometheus"), "{text}");
    }
}

#[test]
fn a_crontab_that_cannot_be_read_is_left_alone() {
    let mut facts = facts(Brand::JoyentMinimal, Flavor::Triton, false);
    facts.crontab = None;
    let text = told(&plan(&facts));
    assert!(text.contains("crontab -l"), "{text}");
    assert!(!text.contains("etc/crontab"), "{text}");
}

/// Copies, all together, and what no look has found yet.
#[test]
fn logs_have_a_bound_in_all() {
    let facts = facts(Brand::JoyentMinimal, Flavor::Manta, false);
    let mut sum = 0;
    for step in plan(&facts) {
        let Act::Run(command) = &step.act else { continue };
        let Some(at) = command.argv.iter().position(|it| it == "-S") else {
            continue;
        };
        let size = command.argv[at + 1].trim_end_matches('m');
        sum += size.parse::<usize>().unwrap();
    }
    assert!((1..=LOGS).contains(&sum), "{sum} MiB");
}

/// `svcadm enable -s` of a service that depends on mdata:execute, which
/// is us, would never come back.
#[test]
fn no_step_waits_for_a_service() {
    let facts = facts(Brand::JoyentMinimal, Flavor::Triton, false);
    for step in plan(&facts) {
        let Act::Run(command) = &step.act else { continue };
        let waits = command.argv.iter().any(|word| word == "-s");
        let svcadm = command.argv[0] == "svcadm";
        assert!(!(svcadm && waits), "{step}");
    }
}

/// The platform gives a provision 300 s, we take 240.
#[test]
fn the_first_pass_and_all_that_must_follow_it_fit_into_a_provision() {
    for brand in [Brand::JoyentMinimal, Brand::Lx] {
        let facts = facts(brand, Flavor::Triton, false);
        let steps = plan(&facts);
        let first = |it: &Step| matches!(it.act, Act::FirstPass { .. });
        let at = steps.iter().position(first).unwrap();
        let limits = steps[at..].iter().map(|step| match &step.act {
            Act::Run(command) => command.limit_seconds,
            Act::FirstPass { limit_seconds } => *limit_seconds,
            _ => 1,
        });
        assert!(limits.sum::<u64>() <= 200);
        // Nothing in between that nobody waits for.
        assert!(steps[at + 1..].iter().all(|it| !it.may_fail));
    }
}
