// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Each write failing in each documented way, each job ending in each way.

use std::time::Instant;

use localdc::datacenter::Fate;
use localdc::http::{Fault, When};
use localdc::sapi::Kind;
use localdc::triton::ids;
use localdc::world::eventually;
use serde_json::{Value, json};

use super::{LIMIT, PAIR, Site};

#[tokio::test]
async fn whatever_write_fails_the_next_run_ends_the_same() {
    each_write_fails(When::Before).await;
}

#[tokio::test]
async fn whatever_write_fails_after_all_is_done_the_next_run_ends_the_same() {
    each_write_fails(When::After).await;
}

async fn each_write_fails(when: When) {
    let whole = Site::new().await;
    whole.set_up(PAIR).await;
    let (writes, wanted) = (whole.writes(), whole.everything().await);
    let refused = json!({"code": "InvalidArgument", "message": "by design"});
    let plain = json!({"message": "first of 1 error: by design"});
    // Whether the run itself gets over it.
    let faults = [
        ("by design", Fault::Refusal(409, Some(refused)), false),
        ("by design", Fault::Refusal(500, Some(plain)), false),
        ("answered 404", Fault::Refusal(404, None), false),
        ("", Fault::Status(503), true),
        ("", Fault::Close, true),
    ];
    for at in 1..=writes {
        for (said, fault, passes) in &faults {
            let site = Site::new().await;
            let gate = site.triton.datacenter.gate();
            gate.fail(at, when, fault.clone());
            let ended = site.yes(PAIR).await;
            let of = format!("{at} {when:?} {fault:?}: {ended:?}");
            assert_eq!(ended.code, Some(i32::from(!passes)), "{of}");
            if !passes {
                assert!(ended.stderr.contains(said), "{of}");
                assert!(ended.stderr.contains("(request "), "{of}");
                assert!(ended.stderr.contains("to go on, run"), "{of}");
                site.set_up(PAIR).await;
            }
            assert_eq!(site.everything().await, wanted, "{of}");
            site.is_settled(PAIR).await;
        }
    }
}

/// Runs into it, says so, and gets over it the next time.
async fn gets_over(task: &str, fate: Fate, said: &str) {
    let site = Site::new().await;
    site.triton.datacenter.stock().next_job(task, fate.clone());
    let ended = site.yes(PAIR).await;
    let of = format!("{task} {fate:?}: {ended:?}");
    assert_eq!(ended.code, Some(1), "{of}");
    assert!(ended.stderr.contains(said), "{of}");
    site.set_up(PAIR).await;
    let zones = site.vms().len();
    assert_eq!(zones, 4, "cns0, cmon0 and a pair: {of}");
    assert_eq!(site.list("instances").await.len(), 4, "{of}");
    site.is_settled(PAIR).await;
}

#[tokio::test]
async fn imports_that_fail_or_vanish_are_done_anew() {
    let task = "import-remote-image";
    gets_over(task, Fate::Fails("disk full".into()), "disk full").await;
    gets_over(task, Fate::Canceled, "was canceled").await;
    gets_over(task, Fate::Vanishes { done: false }, "lost sight").await;
    // It was done after all.
    let site = Site::new().await;
    let fate = Fate::Vanishes { done: true };
    site.triton.datacenter.stock().next_job(task, fate);
    site.set_up(PAIR).await;
}

#[tokio::test]
async fn a_zone_that_fails_after_sapi_wrote_it_down_is_made_anew() {
    let task = "provision";
    gets_over(task, Fate::Fails("no room".into()), "no room").await;
    gets_over(task, Fate::Canceled, "was canceled").await;
    let site = Site::new().await;
    let fate = Fate::Vanishes { done: true };
    site.triton.datacenter.stock().next_job(task, fate);
    site.set_up(PAIR).await;
}

#[tokio::test]
async fn a_zone_that_nobody_makes_any_more_is_said_and_replaced_if_told() {
    for fate in [Fate::Vanishes { done: false }, Fate::Stalls] {
        let site = Site::new().await;
        site.triton.datacenter.stock().next_job("provision", fate);
        let quick = [PAIR, &["--wait", "2"]].concat();
        let ended = site.yes(&quick).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let uuid = site.vm("prometheus0").uuid;
        let again = site.yes(&quick).await;
        assert_eq!(again.code, Some(1), "{again:?}");
        let said = format!("prometheus0 {uuid}: saw its zone provisioning");
        assert!(again.stderr.contains(&said), "{again:?}");
        assert!(again.stderr.contains("--replace"), "{again:?}");
        site.set_up(&[PAIR, &["--replace", &uuid]].concat()).await;
        assert_ne!(site.vm("prometheus0").uuid, uuid);
        site.is_settled(PAIR).await;
    }
}

#[tokio::test]
async fn a_failed_zone_that_may_hold_something_is_nobodys_to_destroy() {
    let site = Site::new().await;
    site.set_up(PAIR).await;
    let uuid = site.vm("prometheus1").uuid;
    site.triton.datacenter.update(|facts| {
        let vm = facts.vms.iter_mut().find(|vm| vm.uuid == uuid).unwrap();
        vm.state = "failed".to_owned();
    });
    let (writes, replace) = (site.writes(), ["--replace", &uuid]);
    let ended = site.yes(PAIR).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("saw its zone failed"), "{ended:?}");
    assert_eq!(site.writes(), writes);
    let asked = site.run(&[PAIR, &replace].concat()).await;
    assert!(asked.stderr.contains("is destroyed"), "{asked:?}");
    site.set_up(&[PAIR, &replace].concat()).await;
    assert_ne!(site.vm("prometheus1").uuid, uuid);
    // Who runs is not replaced.
    let alive = site.vm("prometheus0").uuid;
    let ended = site.yes(&[PAIR, &["--replace", &alive]].concat()).await;
    assert!(ended.stderr.contains("saw its zone running"), "{ended:?}");
}

#[tokio::test]
async fn a_record_without_a_zone_gets_one() {
    let site = Site::new().await;
    site.set_up(PAIR).await;
    let uuid = site.vm("prometheus1").uuid;
    let sapi = &site.triton.sapi.handle;
    sapi.edit_metadata(Kind::Instance, &uuid, |own| {
        own.insert("thanos_components".into(), json!(["receive"]));
        own.insert("replica".into(), json!("blue"));
        own.insert("prometheus_retired".into(), json!(true));
    });
    let wanted = site.everything().await;
    // VMAPI never heard of it.
    site.triton.datacenter.update(|facts| {
        facts.vms.retain(|vm| vm.uuid != uuid);
    });
    site.set_up(PAIR).await;
    assert_eq!(site.vm("prometheus1").uuid, uuid);
    assert_eq!(site.everything().await, wanted);
    // SAPI forgot it.
    site.triton.sapi.handle.remove(Kind::Instance, &uuid);
    site.set_up(PAIR).await;
    assert_eq!(site.vm("prometheus1").uuid, uuid);
    assert_eq!(site.list("instances").await.len(), 4);
}

#[tokio::test]
async fn a_zone_that_is_not_well_is_said_and_not_made_twice() {
    let site = Site::new().await;
    site.doors.set_unwell("prometheus1", true);
    let quick = [PAIR, &["--wait", "1"]].concat();
    for _ in 0..2 {
        let ended = site.yes(&quick).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let said = "is not well: could not see it healthy";
        assert!(ended.stderr.contains(said), "{ended:?}");
    }
    assert_eq!(site.vms().len(), 4);
    site.doors.set_unwell("prometheus1", false);
    site.is_settled(PAIR).await;
}

#[tokio::test]
async fn reads_that_fail_change_nothing() {
    let paths = [
        ("sapi", "/services"),
        ("sapi", "/applications"),
        ("vmapi", "/vms"),
        ("imgapi", "/images"),
        ("updates", "/images"),
        ("papi", "/packages"),
        ("napi", "/networks"),
        ("cnapi", "/servers"),
        ("fwapi", "/rules"),
    ];
    let site = Site::new().await;
    for (api, path) in paths {
        let front = match api {
            "sapi" => site.triton.sapi.handle.front(),
            "vmapi" => site.triton.vmapi.handle.front(),
            "imgapi" => site.triton.imgapi.handle.front(),
            "updates" => site.triton.updates.handle.front(),
            "papi" => site.triton.papi.handle.front(),
            "napi" => site.triton.napi.handle.front(),
            "cnapi" => site.triton.cnapi.handle.front(),
            _ => site.triton.fwapi.handle.front(),
        };
        for fault in [
            Fault::Status(500),
            Fault::Status(503),
            Fault::Close,
            Fault::Garbage,
        ] {
            front.add_fault(path, None, fault.clone());
            let began = Instant::now();
            let ended = site.yes(PAIR).await;
            assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
            let of = format!("{api} {fault:?}: {ended:?}");
            assert_eq!(ended.code, Some(1), "{of}");
            assert!(ended.stderr.contains("could not ask"), "{of}");
            assert!(ended.stderr.contains("(request "), "{of}");
            assert_eq!(site.writes(), 0, "{of}");
            front.clear_faults();
        }
    }
    site.set_up(PAIR).await;
    let image = site.vm("prometheus0").image_uuid;
    assert_eq!(image, ids::PROMETHEUS_IMAGE);
}

#[tokio::test]
async fn reads_that_fail_once_change_nothing_at_all() {
    let whole = Site::new().await;
    whole.set_up(PAIR).await;
    let wanted = whole.everything().await;
    for fault in [Fault::Status(503), Fault::Close] {
        let site = Site::new().await;
        let gate = site.triton.datacenter.gate();
        gate.stumble(fault.clone());
        site.set_up(PAIR).await;
        assert!(gate.stumbled() > 30, "{}", gate.stumbled());
        gate.mend();
        assert_eq!(site.everything().await, wanted, "{fault:?}");
        assert_eq!(site.writes(), whole.writes(), "{fault:?}");
    }
}

/// Nobody looked while it ran: the journal alone is no reason to destroy it.
#[tokio::test]
async fn what_was_begun_long_ago_or_with_another_image_is_nobodys_to_destroy() {
    let site = Site::new().await;
    site.set_up(PAIR).await;
    let vm = site.vm("prometheus1");
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let file = site.state.path().join(format!("{}.json", ids::SDC));
    site.triton.datacenter.update(|facts| {
        let failed = facts.vms.iter_mut().find(|one| one.uuid == vm.uuid);
        failed.unwrap().state = "failed".to_owned();
    });
    let writes = site.writes();
    let begun = json!({"service": "prometheus", "alias": "prometheus1"});
    for (image, begun_at) in [
        // As monadm wrote it once.
        (None, None),
        (Some(ids::OLD_PROMETHEUS_IMAGE), Some(now)),
        (Some(&*vm.image_uuid), Some(now - 2 * 86_400)),
        // By a clock that was wrong.
        (Some(&*vm.image_uuid), Some(now + 86_400)),
    ] {
        let mut begun = begun.clone();
        if let (Some(image), Some(at)) = (image, begun_at) {
            begun["image"] = json!(image);
            begun["begun"] = json!(at);
        }
        let left = json!({"zones": {&vm.uuid: &begun}});
        std::fs::write(&file, left.to_string()).unwrap();
        let ended = site.yes(PAIR).await;
        assert_eq!(ended.code, Some(1), "{begun}: {ended:?}");
        let said = ended.stderr.contains("saw its zone failed");
        assert!(said, "{begun}: {ended:?}");
        assert!(ended.stderr.contains("--replace"), "{begun}: {ended:?}");
        assert_eq!(site.writes(), writes, "{begun}");
    }
    site.set_up(&[PAIR, &["--replace", &vm.uuid]].concat()).await;
}

#[tokio::test]
async fn what_a_killed_run_began_is_forgotten_once_it_runs() {
    let site = Site::new().await;
    site.set_up(PAIR).await;
    let uuid = site.vm("prometheus1").uuid;
    // As a run leaves it that was killed while the zone was made.
    let file = site.state.path().join(format!("{}.json", ids::SDC));
    let left = json!({"zones": {&uuid: {"service": "prometheus",
        "alias": "prometheus1"}}});
    std::fs::write(&file, left.to_string()).unwrap();
    site.is_settled(PAIR).await;
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(!kept.contains(&uuid), "{kept}");
    // A year later.
    site.triton.datacenter.update(|facts| {
        let vm = facts.vms.iter_mut().find(|vm| vm.uuid == uuid).unwrap();
        vm.state = "failed".to_owned();
    });
    let writes = site.writes();
    let ended = site.yes(PAIR).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("saw its zone failed"), "{ended:?}");
    assert_eq!(site.writes(), writes);
}

/// A script must know whether nothing is done, or all but the last look.
#[tokio::test]
async fn a_last_look_that_fails_takes_nothing_back() {
    let site = Site::new().await;
    site.doors.set_unwell("prometheus1", true);
    let child = site.start(&[PAIR, &["--json"]].concat());
    let written = async || match site.cns().get("allow_transfer") {
        Some(Value::Array(both)) if both.len() == 2 => Ok(()),
        other => Err(format!("{other:?}")),
    };
    eventually("the last write", LIMIT, written).await.unwrap();
    let front = site.triton.cnapi.handle.front();
    front.add_fault("/servers", None, Fault::Refusal(409, None));
    site.doors.set_unwell("prometheus1", false);
    let ended = child.wait_with_output();
    let ended = tokio::time::timeout(LIMIT, ended).await.unwrap().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let said: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(said["done"], said["steps"].as_array().unwrap().len());
    assert_eq!(said["failed"], Value::Null, "{said}");
    assert_eq!(said["left"], Value::Null, "{said}");
    let why = said["left_unknown"].as_str().unwrap();
    assert!(why.contains("could not ask CNAPI for servers"), "{said}");
    let stderr = String::from_utf8_lossy(&ended.stderr);
    let told = stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("all 9 steps are done"), "{stderr}");
    front.clear_faults();
    let again = site.run(&[PAIR, &["--json"]].concat()).await;
    let said: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(said["steps"], json!([]), "{again:?}");
}
