// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verbs update and rollback: zones of pairs on another image and back, while
//! images, jobs, zones and the run itself fail.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

mod faults;
mod site;

use localdc::datacenter::Fate as JobFate;
use localdc::sapi::Kind;
use localdc::triton::ids;
use serde_json::{Value, json};

use self::site::{Fate, NEW, OLD, SCRIPT, SERVICE, Site, Watch, uuid};
use super::state;

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_goes_to_another_image_and_back_one_at_a_time() {
    let site = Site::pair().await;
    // Zones are down for a while, as in life.
    site.triton.datacenter.stock().job_polls = 2;
    let watch = Watch::over(&site);
    let before = [site.zone(0), site.zone(1)];

    // Looked at first: nothing is written, and without --yes nothing done.
    let url = site.triton.updates.url();
    let words = ["update", "prometheus", "--updates", &url];
    let planned = site.run(&[&words[..], &["-n"]].concat()).await;
    assert_eq!(planned.code, Some(1), "{planned:?}");
    let said = format!("prometheus0: reprovision to {NEW}\n");
    assert!(planned.stdout.contains(&said), "{planned:?}");
    let wide = planned.stdout.lines().find(|line| line.chars().count() > 80);
    assert_eq!(wide, None, "too wide for a terminal");
    let asked = site.run(&words).await;
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(asked.stderr.contains("say --yes"), "{asked:?}");
    assert_eq!(site.writes(), 0);

    let done = site.update(&[]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(site.images(), (vec![NEW.into(), NEW.into()], NEW.into()));
    let mutations = site.triton.datacenter.gate().mutations();
    let calls: Vec<(&str, String)> =
        mutations.iter().map(|call| (call.api, call.path.clone())).collect();
    let vm = |number| format!("/vms/{}", uuid(number));
    assert_eq!(
        calls,
        [
            ("imgapi", format!("/images/{NEW}")),
            ("sapi", format!("/services/{SERVICE}")),
            ("vmapi", vm(0)),
            ("vmapi", vm(1)),
            ("sapi", format!("/services/{SERVICE}")),
        ]
    );
    for (number, before) in before.iter().enumerate() {
        let now = site.zone(number);
        assert_ne!(now.root, before.root);
        assert_eq!(now.data, before.data, "another delegate dataset");
    }
    for image in [ids::ORIGIN, ids::BASE] {
        let stock = site.triton.datacenter.stock();
        assert_eq!(stock.images[image]["state"], "active");
    }

    // A second time there is nothing to do, and nobody is asked.
    let (state, writes) = (site.state(), site.writes());
    let again = site.run(&words).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stdout.contains("nothing to do"), "{again:?}");
    assert_eq!((site.state(), site.writes()), (state, writes));

    let back = site.rollback().await;
    assert_eq!(back.code, Some(0), "{back:?}");
    assert_eq!(site.images(), (vec![OLD.into(), OLD.into()], OLD.into()));
    assert_eq!(site.zone(1).data, before[1].data);
    let writes = site.writes();
    let again = site.rollback().await;
    assert!(again.stdout.contains("nothing to do"), "{again:?}");
    assert_eq!((again.code, site.writes()), (Some(0), writes));
    assert_eq!(watch.most_down(), 1, "both were down, or none ever was");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_does_not_run_stops_at_the_first_and_there_is_a_way_back()
{
    let site = Site::pair().await;
    for number in 0..2 {
        let dead_on = Some(NEW);
        site.set(number, Fate { dead_on, ..Fate::default() });
    }
    let failed = site.update(&["--json"]).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    // The other one, and new zones, are as they were.
    let stopped = (vec![NEW.into(), OLD.into()], OLD.into());
    assert_eq!(site.images(), stopped);
    let said: Value = serde_json::from_str(&failed.stdout).unwrap();
    assert_eq!(said["way_back"], "monadm rollback prometheus");
    let seen = said["instances"].as_array().unwrap();
    let images: Vec<&Value> = seen.iter().map(|one| &one["image"]).collect();
    assert_eq!(images, [NEW, OLD]);
    assert_eq!(seen[0]["before"], OLD);
    let error = said["error"].as_str().unwrap();
    assert!(error.starts_with("prometheus0 is not well after 3 s"), "{error}");

    // Going on takes nobody else down.
    let again = site.update(&[]).await;
    assert_eq!(again.code, Some(1), "{again:?}");
    assert_eq!(site.images(), stopped);
    let back = site.rollback().await;
    assert_eq!(back.code, Some(0), "{back:?}");
    assert_eq!(site.images(), (vec![OLD.into(), OLD.into()], OLD.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn data_and_targets_that_do_not_come_back_stop_it() {
    let lost = Fate { forgets: true, ..Fate::default() };
    let blind = Fate { finds: Some(8), ..Fate::default() };
    for (fate, said) in [
        (lost, "its data is gone: saw nothing older than its start"),
        (blind, "saw 8 targets up, wanted 9"),
    ] {
        let site = Site::pair().await;
        site.set(0, fate);
        let failed = site.update(&[]).await;
        assert_eq!(failed.code, Some(1), "{said}: {failed:?}");
        assert!(failed.stderr.contains(said), "{failed:?}");
        assert!(failed.stderr.contains("monadm rollback prometheus"));
        let stopped = (vec![NEW.into(), OLD.into()], OLD.into());
        assert_eq!(site.images(), stopped);
    }

    // Had the run been killed before it could look, the next one would know.
    let site = Site::pair().await;
    site.set(0, Fate { forgets: true, ..Fate::default() });
    assert_eq!(site.update(&[]).await.code, Some(1));
    let again = site.update(&[]).await;
    assert_eq!(again.code, Some(1), "{again:?}");
    let said = "fault: prometheus0: saw no data from before its update";
    assert!(again.stdout.contains(said), "{again:?}");
    assert_eq!(site.images().0[1], OLD);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sick_go_first_and_nobody_goes_without_one_that_is_well() {
    // The second one is sick on its old image, and the new one mends it.
    let site = Site::pair().await;
    site.set(1, Fate { dead_on: Some(OLD), ..Fate::default() });
    site.triton.datacenter.stock().job_polls = 2;
    let watch = Watch::over(&site);
    let done = site.update(&[]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let mutations = site.triton.datacenter.gate().mutations();
    let zones: Vec<&str> = mutations
        .iter()
        .filter(|call| call.query.contains("action=reprovision"))
        .map(|call| call.path.trim_start_matches("/vms/"))
        .collect();
    assert_eq!(zones, [uuid(1), uuid(0)]);
    assert_eq!(watch.most_down(), 1, "both were down, or none ever was");

    // It stays sick: the one that is well is let be.
    let site = Site::pair().await;
    site.set(1, Fate { dead: true, ..Fate::default() });
    let failed = site.update(&[]).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert_eq!(site.images(), (vec![OLD.into(), NEW.into()], OLD.into()));
    let again = site.update(&[]).await;
    assert_eq!(again.code, Some(1), "{again:?}");
    assert_eq!(site.images().0[0], OLD, "nobody would have stood in");

    // Of two pairs, another pair's stands in for nobody.
    let site = Site::new(&["shard-0", "shard-0", "shard-1"]).await;
    let planned = site.update(&["-n"]).await;
    let alone = planned.stdout.lines().filter(|line| line.ends_with("; alone"));
    let alone: Vec<&str> = alone.collect();
    let said = format!("prometheus2: reprovision to {NEW}; alone");
    assert!(matches!(alone[..], [one] if one.ends_with(&said)), "{alone:?}");
}

#[tokio::test]
async fn what_cannot_be_is_said_before_anything_is_done() {
    let site = Site::pair().await;
    for (words, said) in [
        (
            &["--image", ids::ORIGIN][..],
            "saw name \"triton-origin\", wanted mantav2-prometheus",
        ),
        (&["--image", "main-1999"], "image main-1999: saw none"),
        (&["-C", "sharp"], "channel"),
        (&["-C", "support"], "channel support, wanted one named"),
    ] {
        let ended = site.update(words).await;
        assert_eq!(ended.code, Some(1), "{words:?}: {ended:?}");
        assert!(ended.stderr.contains(said), "{words:?}: {ended:?}");
    }
    let back = site.rollback().await;
    assert_eq!(back.code, Some(1), "{back:?}");
    assert!(back.stdout.contains("saw no record of an update"), "{back:?}");
    let ended = site.run(&["update", "thanos"]).await;
    assert!(ended.stderr.contains("SAPI's services named thanos: saw 0"));

    let uuid = uuid(1);
    let zone = site.zone(1);
    let without = localdc::datacenter::Zone { data: None, ..zone };
    let stock = || site.triton.datacenter.stock();
    stock().zones.insert(uuid.clone(), without);
    let ended = site.update(&[]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let said = "fault: prometheus1: saw no delegate dataset";
    assert!(ended.stdout.contains(said), "{ended:?}");
    site.triton.datacenter.update(|facts| {
        let vm = facts.vms.iter_mut().find(|vm| vm.uuid == uuid).unwrap();
        vm.brand = "lx".into();
    });
    let ended = site.update(&["--lose-data"]).await;
    assert!(ended.flat().contains("wanted lx-dataset or docker"), "{ended:?}");
    assert_eq!(site.writes(), 0);
}

#[tokio::test]
async fn images_are_chosen_by_day_version_and_channel() {
    let site = Site::pair().await;
    for (image, wanted) in [
        ("latest", NEW),
        ("current", OLD),
        (OLD, OLD),
        ("main-20300105T030405Z-g0a1b2c3", NEW),
    ] {
        let ended = site.update(&["-n", "--image", image]).await;
        let head = format!("prometheus: image {wanted}\n");
        assert!(ended.stdout.starts_with(&head), "{image}: {ended:?}");
        let to_do = i32::from(wanted != OLD);
        assert_eq!(ended.code, Some(to_do), "{image}: {ended:?}");
    }
    assert_eq!(site.update(&["--image", "current"]).await.code, Some(0));
    assert_eq!(site.writes(), 0, "all are on it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_script_reaches_service_and_zones_where_it_belongs() {
    let site = Site::pair().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("user-script");
    std::fs::write(&file, "#!/bin/bash\necho ü\n").unwrap();
    let path = file.to_str().unwrap();
    let done = site.update(&["--user-script", path]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let service = site.service();
    assert_eq!(service["metadata"]["user-script"], "#!/bin/bash\necho ü\n");
    assert_eq!(service["params"].get("user-script"), None);
    for number in 0..2 {
        let metadata = site.zone(number).customer_metadata;
        assert_eq!(metadata["user-script"], "#!/bin/bash\necho ü\n");
    }
    let again = site.update(&["--user-script", path]).await;
    assert!(again.stdout.contains("nothing to do"), "{again:?}");

    // One that somebody changed in a zone alone is put right without a reboot.
    let writes = site.writes();
    site.triton.sapi.handle.edit_metadata(Kind::Service, SERVICE, |all| {
        all.insert("user-script".into(), json!("#!/bin/bash\n"));
    });
    assert_eq!(site.update(&[]).await.code, Some(0));
    assert_eq!(site.writes(), writes + 2);
    assert_eq!(site.zone(0).customer_metadata["user-script"], "#!/bin/bash\n");

    // Back is the script of before, too.
    let back = site.rollback().await;
    assert_eq!(back.code, Some(0), "{back:?}");
    assert_eq!(site.service()["metadata"]["user-script"], SCRIPT);
    for number in 0..2 {
        assert_eq!(site.zone(number).customer_metadata["user-script"], SCRIPT);
    }
    assert_eq!(site.images(), (vec![OLD.into(), OLD.into()], OLD.into()));
    let again = site.rollback().await;
    assert!(again.stdout.contains("nothing to do"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_import_that_was_cut_off_left_behind_is_in_nobodys_way() {
    let site = Site::pair().await;
    let stock = || site.triton.datacenter.stock();
    stock().next_job("import-remote-image", JobFate::Vanishes { done: false });
    let failed = site.update(&[]).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stderr.contains("could not import image"), "{failed:?}");
    for image in [NEW, ids::ORIGIN, ids::BASE] {
        assert_eq!(stock().images[image]["state"], "unactivated");
    }
    let again = site.update(&[]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(stock().images[ids::BASE]["state"], "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_falls_silent_is_taken_down_by_nobody_without_a_partner() {
    let site = Site::pair().await;
    // Both are well when it is planned, and silent when it begins: when image
    // and record are there.
    for number in 0..2 {
        let dead_from = Some(2);
        site.set(number, Fate { dead_from, ..Fate::default() });
    }
    let failed = site.update(&[]).await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let said = "prometheus0 is not taken down: none of its pair is well";
    assert!(failed.stderr.contains(said), "{failed:?}");
    assert_eq!(site.images(), (vec![OLD.into(), OLD.into()], OLD.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_partner_falls_silent_stays_and_is_the_one_that_serves() {
    let site = Site::pair().await;
    site.set(1, Fate { dead_from: Some(2), ..Fate::default() });
    let watch = Watch::over(&site);
    let failed = site.update(&[]).await;
    assert_eq!(watch.most_down(), 1, "both were down: {failed:?}");
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let said = "prometheus0 is not taken down: none of its pair is well";
    assert!(failed.stderr.contains(said), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_none_that_failed_is_said_with_the_remedy() {
    let site = Site::pair().await;
    let fails = || {
        let mut stock = site.triton.datacenter.stock();
        stock.next_job("reprovision", JobFate::Fails("no start".into()));
    };
    fails();
    assert_eq!(site.update(&[]).await.code, Some(1));
    fails();
    let back = site.rollback().await;
    assert_eq!(back.code, Some(1), "{back:?}");
    let said = format!("zonecfg -z {} 'remove attr name=failed'", uuid(0));
    assert!(back.stderr.contains(&said), "{back:?}");
    // It has its old image, and is as down as before.
    assert_eq!(site.images(), (vec![OLD.into(), OLD.into()], OLD.into()));
    let planned = site.run(&["rollback", "prometheus", "-n"]).await;
    let said = format!("prometheus0: reprovision to {OLD}; not well");
    assert!(planned.stdout.contains(&said), "{planned:?}");
    // As told.
    site.put(0, "running");
    let back = site.rollback().await;
    assert_eq!(back.code, Some(0), "{back:?}");
    assert!(back.stdout.contains("nothing to do"), "{back:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_has_no_zone_stands_in_for_nobody_and_is_no_success() {
    let site = Site::pair().await;
    site.put(0, "destroyed");
    for _ in 0..2 {
        let ended = site.update(&[]).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let said = "fault: prometheus0: saw no zone, wanted one: \
                    monadm post-setup prometheus";
        assert!(ended.flat().contains(said), "{ended:?}");
    }
    assert_eq!(site.writes(), 0);

    // On the way back the well one of its pair stays, and others go.
    let site = Site::new(&["shard-0", "shard-0", "shard-1"]).await;
    assert_eq!(site.update(&[]).await.code, Some(0));
    site.put(0, "destroyed");
    let back = site.rollback().await;
    assert_eq!(back.code, Some(1), "{back:?}");
    assert!(back.flat().contains("prometheus0: saw no zone"), "{back:?}");
    assert_eq!(site.images().0[1..], [NEW, OLD]);
    let again = site.rollback().await;
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(!again.stdout.contains("nothing to do"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once_are_one_too_many() {
    let site = Site::pair().await;
    let folder = state(&site.triton.sapi.url());
    std::fs::create_dir_all(&folder).unwrap();
    let lock = std::fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    for ended in [site.update(&[]).await, site.rollback().await] {
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("another monadm is at"), "{ended:?}");
    }
    assert_eq!(site.writes(), 0);
    let looked = site.update(&["-n"]).await;
    assert!(looked.stdout.contains("prometheus0: reprov"), "{looked:?}");
    drop(lock);
    let done = site.update(&[]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
}
