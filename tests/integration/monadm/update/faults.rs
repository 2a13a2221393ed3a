// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Every call fails, every job, and the run is killed at every moment: the
//! next run ends where the first was to, object by object.

use std::collections::BTreeSet;
use std::time::Instant;

use futures_util::{StreamExt, stream};
use localdc::datacenter::Fate as JobFate;
use localdc::http::{Fault, When};
use monitoring_agent::deploy::update::Step;
use serde_json::{Value, json};

use super::super::killed_at;
use super::site::{Fate, NEW, OLD, Site, Watch};

/// Import, record, user-script and reprovision of each, the service's image.
const WRITES: usize = 7;
/// Those of them that take a zone down.
const TAKE_DOWN: [usize; 2] = [4, 6];
/// Sites at a time, which mostly wait.
const AT_ONCE: usize = 4;

/// A pair whose zones have another user-script than the service.
async fn site() -> Site {
    let site = Site::pair().await;
    for number in 0..2 {
        let mut zone = site.zone(number);
        zone.customer_metadata.insert("user-script".into(), json!("old"));
        let uuid = super::uuid(number);
        site.triton.datacenter.stock().zones.insert(uuid, zone);
    }
    site
}

/// Where an update ends that nothing befalls.
async fn wanted() -> Value {
    let site = site().await;
    site.triton.datacenter.stock().job_polls = 2;
    let watch = Watch::over(&site);
    let done = site.update(&[]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(site.writes(), WRITES);
    assert_eq!(watch.most_down(), 1, "both were down, or none ever was");
    site.state()
}

/// The first run says what failed, the second ends well; and back is where
/// all began.
async fn converges(site: &Site, wanted: &Value, what: &str) {
    let watch = Watch::over(site);
    let first = site.update(&[]).await;
    if first.code != Some(0) {
        assert_eq!(first.code, Some(1), "{what}: {first:?}");
        assert!(first.stderr.contains("monadm: stopped"), "{what}: {first:?}");
    }
    site.triton.datacenter.gate().mend();
    ends(site, wanted, what).await;
    assert_eq!(watch.most_down(), 1, "{what}: both were down, or none was");
}

async fn ends(site: &Site, wanted: &Value, what: &str) {
    let again = site.update(&[]).await;
    assert_eq!(again.code, Some(0), "{what}: {again:?}");
    assert_eq!(&site.state(), wanted, "{what}");
    let back = site.rollback().await;
    assert_eq!(back.code, Some(0), "{what}: {back:?}");
    let old = (vec![OLD.to_owned(), OLD.to_owned()], OLD.to_owned());
    assert_eq!(site.images(), old, "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_call_fails_the_next_run_ends_the_same() {
    let wanted = wanted().await;
    let invalid = json!({"code": "ValidationFailed", "message": "no",
        "errors": [{"field": "image_uuid", "code": "Invalid",
            "message": "why"}]});
    let faults = [
        (When::Before, Fault::Refusal(409, Some(invalid))),
        (When::Before, Fault::Refusal(404, None)),
        (When::Before, Fault::Status(500)),
        (When::Before, Fault::Status(503)),
        (When::After, Fault::Close),
    ];
    let faults = faults.map(|(when, fault)| (when, Some(fault)));
    let cuts = [When::Before, When::After].map(|when| (when, None));
    let run = async |(nth, (when, fault)): (usize, (When, Option<Fault>))| {
        let site = site().await;
        if TAKE_DOWN.contains(&nth) {
            // It is down for a while, whoever looks.
            site.triton.datacenter.stock().job_polls = 2;
        }
        let what = format!("call {nth}, {when:?} {fault:?}");
        let gate = site.triton.datacenter.gate();
        match fault {
            Some(fault) => gate.fail(nth, when, fault),
            None => gate.cut_at(nth, when),
        }
        converges(&site, &wanted, &what).await;
    };
    let ways: Vec<_> = faults.into_iter().chain(cuts).collect();
    let cases = (1..=WRITES)
        .flat_map(|nth| ways.iter().cloned().map(move |way| (nth, way)));
    stream::iter(cases).for_each_concurrent(AT_ONCE, run).await;
}

/// A pair that was put on another image and given another user-script.
async fn updated() -> Site {
    let site = Site::pair().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("user-script");
    std::fs::write(&file, "#!/bin/bash\n").unwrap();
    let path = file.to_str().unwrap();
    let done = site.update(&["--user-script", path]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_befalls_a_rollback_the_next_one_ends_the_same() {
    let site = updated().await;
    let ready = site.writes();
    let done = site.rollback().await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let (writes, wanted) = (site.writes() - ready, site.state());
    // The image and the script of the service and of each of the pair.
    assert_eq!(writes, 6);
    let refused = json!({"code": "InvalidArgument", "message": "no"});
    let faults = [
        (When::Before, Some(Fault::Refusal(409, Some(refused)))),
        (When::Before, Some(Fault::Status(503))),
        (When::After, Some(Fault::Close)),
        (When::After, None),
    ];
    let run = async |(at, when, fault): (usize, When, Option<Fault>)| {
        let site = updated().await;
        let what = format!("{at}, {when:?} {fault:?}");
        let gate = site.triton.datacenter.gate();
        let watch = Watch::over(&site);
        match &fault {
            Some(fault) => {
                gate.fail(at, when, fault.clone());
                let first = site.rollback().await;
                let refused = matches!(fault, Fault::Refusal(..));
                let code = Some(i32::from(refused));
                assert_eq!(first.code, code, "{what}: {first:?}");
                let said = first.stderr.contains("(request ");
                assert_eq!(said, refused, "{what}: {first:?}");
            }
            None => {
                site.triton.datacenter.stock().job_polls = 2;
                let ready = site.writes();
                let sapi = site.triton.sapi.url();
                let words = site.back();
                killed_at(at, &sapi, &words, || site.writes() - ready).await;
            }
        }
        let again = site.rollback().await;
        assert_eq!(again.code, Some(0), "{what}: {again:?}");
        assert_eq!(site.state(), wanted, "{what}");
        assert_eq!(watch.most_down(), 1, "{what}: both were down, or none was");
    };
    let cases = (1..=writes).flat_map(|at| {
        let faults = faults.clone();
        faults.map(|(when, fault)| (at, when, fault))
    });
    stream::iter(cases).for_each_concurrent(3, run).await;
}

/// Waiting for one that is on its image and not well writes nothing: it is
/// looked at in `update`.
#[tokio::test(flavor = "multi_thread")]
async fn no_kind_of_step_is_left_out() {
    let kinds = async |site: &Site, more: &[&str]| {
        let more = [&["-n", "--json"], more].concat();
        let planned = site.update(&more).await;
        let said: Value = serde_json::from_str(&planned.stdout).unwrap();
        let steps = said["plan"]["steps"].as_array().unwrap().iter();
        let kinds = steps.map(|one| one["do"].as_str().unwrap().to_owned());
        kinds.collect::<BTreeSet<_>>()
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "#!/bin/bash\n").unwrap();
    let path = file.path().to_str().unwrap();
    let site = Site::pair().await;
    let mut seen = kinds(&site, &["--user-script", path]).await;
    site.set(0, Fate { dead_on: Some(NEW), ..Fate::default() });
    let failed = site.update(&[]).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    seen.append(&mut kinds(&site, &[]).await);
    let all: BTreeSet<_> = Step::KINDS.iter().map(|k| k.to_string()).collect();
    assert_eq!(seen, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_fail_once_change_nothing_and_those_that_go_on_end_it() {
    let wanted = wanted().await;
    for fault in [Fault::Status(503), Fault::Close] {
        let site = site().await;
        let gate = site.triton.datacenter.gate();
        for number in 0..2 {
            // Prometheus itself, too.
            site.set(number, Fate { stumbles: true, ..Fate::default() });
        }
        gate.stumble(fault.clone());
        let done = site.update(&[]).await;
        assert_eq!(done.code, Some(0), "{fault:?}: {done:?}");
        assert!(gate.stumbled() > 20, "{}", gate.stumbled());
        assert_eq!(site.state(), wanted, "{fault:?}");
        assert_eq!(site.writes(), WRITES, "{fault:?}");
    }
    let site = site().await;
    let triton = &site.triton;
    for front in [triton.sapi.handle.front(), triton.vmapi.handle.front()] {
        front.add_fault("/", None, Fault::Status(503));
        let began = Instant::now();
        for ended in [site.update(&[]).await, site.rollback().await] {
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert!(ended.stderr.contains("(request "), "{ended:?}");
        }
        assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
        front.clear_faults();
    }
    assert_eq!(site.writes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn however_a_job_ends_the_next_run_ends_the_same() {
    let wanted = wanted().await;
    let fates = [
        JobFate::Fails("disk full".into()),
        JobFate::Canceled,
        JobFate::Vanishes { done: true },
        JobFate::Vanishes { done: false },
        JobFate::Stalls,
    ];
    let run = async |(task, fate): (&'static str, JobFate)| {
        let site = site().await;
        let what = format!("{task} {fate:?}");
        if task == "reprovision" {
            site.triton.datacenter.stock().job_polls = 2;
        }
        site.triton.datacenter.stock().next_job(task, fate.clone());
        let ended = matches!(fate, JobFate::Fails(_) | JobFate::Canceled);
        match ended && task == "reprovision" {
            true => fails(&site, &what).await,
            false => converges(&site, &wanted, &what).await,
        }
    };
    let cases = ["import-remote-image", "update", "reprovision"]
        .into_iter()
        .flat_map(|task| fates.iter().cloned().map(move |fate| (task, fate)))
        // An import that stalls is waited for most of an hour.
        .filter(|(task, fate)| {
            *fate != JobFate::Stalls || *task != "import-remote-image"
        });
    stream::iter(cases).for_each_concurrent(AT_ONCE, run).await;
}

/// The first zone does not come up on the new image. Its partner is let be,
/// however often it is tried, and back is where all began.
async fn fails(site: &Site, what: &str) {
    let watch = Watch::over(site);
    let first = site.update(&[]).await;
    assert_eq!(first.code, Some(1), "{what}: {first:?}");
    let stopped = (vec![NEW.to_owned(), OLD.to_owned()], OLD.to_owned());
    let writes = site.writes();
    for ended in [&first, &site.update(&[]).await] {
        assert_eq!(ended.code, Some(1), "{what}: {ended:?}");
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains("failed"), "{what}: {said}");
        assert!(said.contains("monadm rollback prometheus"), "{what}: {said}");
        assert_eq!(site.images(), stopped, "{what}");
    }
    assert_eq!(site.writes(), writes, "{what}");
    let back = site.rollback().await;
    assert_eq!(back.code, Some(0), "{what}: {back:?}");
    let old = (vec![OLD.to_owned(), OLD.to_owned()], OLD.to_owned());
    assert_eq!(site.images(), old, "{what}");
    assert_eq!(site.vm_state(0), "running", "{what}");
    assert_eq!(watch.most_down(), 1, "{what}: both were down, or none was");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_write_the_next_run_ends_where_the_first_was_to() {
    let wanted = wanted().await;
    for at in 1..=WRITES {
        let site = site().await;
        // Jobs go on without the run.
        site.triton.datacenter.stock().job_polls = 2;
        let sapi = site.triton.sapi.url();
        let url = site.triton.updates.url();
        let words = site.words(&["--updates", &url]);
        let watch = Watch::over(&site);
        killed_at(at, &sapi, &words, || site.writes()).await;
        ends(&site, &wanted, &format!("killed at {at}")).await;
        let most = watch.most_down();
        assert_eq!(most, 1, "killed at {at}: both were down, or none was");
        // The job of the run that died was waited for, not started again.
        let mutations = site.triton.datacenter.gate().mutations();
        let ups = mutations.iter().filter(|call| {
            call.query.contains("action=reprovision")
                && call.body["image_uuid"] == NEW
        });
        assert_eq!(ups.count(), 2, "killed at {at}");
    }
}
