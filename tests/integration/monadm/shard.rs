// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verbs shard: who scrapes whom, written into tags by jobs of VMAPI that
//! fail, vanish and are cut off.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

mod cmon;
mod measured;
mod site;
mod verbs;
mod watch;

use std::collections::BTreeMap;

use localdc::datacenter::Fate;
use localdc::http::{Fault, When};
use localdc::sapi::Kind;
use serde_json::{Value, json};

use self::site::{SERVICE, Site, loads, text, uuid};
use super::killed_at;

/// Where a plan puts each zone.
fn goals(plan: &Value) -> BTreeMap<String, String> {
    let moves = plan["moves"].as_array().unwrap().iter();
    moves.map(|one| (text(&one["uuid"]), text(&one["to"]))).collect()
}

#[tokio::test]
async fn zones_are_dealt_out_and_as_few_as_can_be_move_when_shards_come_and_go()
{
    let site = Site::new().await;
    let foreign = uuid(0xb0, 7);
    site.set_tag(&foreign, "edge,other");
    // What nobody scrapes is nobody's loss: no question is asked.
    let ended = site.apply(&[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(site.loads(), loads(&[23, 23]));
    let tag = site.tag(&foreign).unwrap();
    assert!(tag.starts_with("edge,other,shard-"), "{tag}");
    // No Prometheus looks after itself.
    for number in 0..4 {
        let tag = site.tag(&uuid(0xd0, number)).unwrap();
        assert_eq!(tag, format!("shard-{}", 1 - number / 2));
    }
    assert!(site.triton.datacenter.gate().mutations().iter().all(|one| {
        // A PUT would take smartdc_role away.
        one.method == "POST" && one.query.contains("owner_uuid=")
    }));
    let role = site.triton.datacenter.read(|facts| {
        facts.vms.iter().all(|vm| {
            !vm.alias.starts_with("cns") || vm.tags["smartdc_role"] == "cns"
        })
    });
    assert!(role, "another tag is gone");

    // A second time there is nothing to do.
    let (before, writes) = (site.tags(), site.writes());
    let again = site.apply(&[]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stdout.contains("0 moves"), "{again:?}");
    assert_eq!((site.tags(), site.writes()), (before.clone(), writes));
    assert_eq!(site.run(&["shard", "plan"]).await.code, Some(0));

    // Somebody made a zone be scraped twice.
    let own = tag.strip_prefix("edge,other,").unwrap();
    let other = if own == "shard-0" { "shard-1" } else { "shard-0" };
    site.set_tag(&foreign, &format!("{own},edge,{other}"));
    let status = site.run(&["shard", "status"]).await;
    assert_eq!(status.code, Some(1), "{status:?}");
    assert!(status.stdout.contains("1 tags to write"), "{status:?}");
    assert_eq!(site.apply(&[]).await.code, Some(0));
    assert_eq!(site.tag(&foreign), Some(format!("{own},edge")));

    // Another pair takes its share, and nothing moves between the old ones.
    site.pair(2);
    let plan = site.plan(&[]).await;
    let moves = goals(&plan);
    let from_old = moves.keys().filter(|uuid| before.contains_key(*uuid));
    let from_old: Vec<_> = from_old.collect();
    assert!(from_old.iter().all(|uuid| moves[*uuid] == "shard-2"));
    // 48 zones; its own two go to the others.
    assert_eq!((moves.len(), from_old.len()), (18, 16), "{plan}");
    let writes = site.writes();
    let refused = site.apply(&[]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("--yes"), "{refused:?}");
    assert_eq!(site.apply(&["--yes", "-n"]).await.code, Some(1));
    assert_eq!(site.writes(), writes, "written unasked");
    let some = site.apply(&["--yes", "--most", "5"]).await;
    assert_eq!(some.code, Some(1), "some are left: {some:?}");
    assert_eq!(site.writes(), writes + 5);
    assert_eq!(site.apply(&["--yes"]).await.code, Some(0));
    assert_eq!(site.loads(), loads(&[16, 16, 16]));
    assert_eq!(site.writes(), writes + 18, "as planned, whatever the pieces");

    // And it is emptied.
    let drain = ["--yes", "--extent", "drain", "--drain", "shard-2"];
    let drained = site.apply(&drain).await;
    assert_eq!(drained.code, Some(0), "{drained:?}");
    assert_eq!(site.loads(), loads(&[24, 24]));
    let unknown = site.apply(&["--drain", "shard-9"]).await;
    assert!(unknown.stderr.contains("wanted one of shard-0"), "{unknown:?}");
}

#[tokio::test]
async fn whatever_fails_is_said_and_the_next_run_ends_the_same() {
    let refused = json!({"code": "ValidationFailed", "message": "no",
        "errors": [{"field": "tags", "code": "Invalid", "message": "why"}]});
    for (said, fault) in [
        ("ValidationFailed: no: tags why", Fault::Refusal(409, Some(refused))),
        ("answered 404", Fault::Refusal(404, None)),
    ] {
        let site = Site::new().await;
        let wanted = goals(&site.plan(&[]).await);
        site.triton.datacenter.gate().fail(9, When::Before, fault);
        converges(&site, said, &wanted).await;
    }
    let fates = [
        ("update-", Fate::Fails("disk full".into())),
        ("was canceled", Fate::Canceled),
        ("lost sight of job", Fate::Vanishes { done: true }),
        ("lost sight of job", Fate::Vanishes { done: false }),
    ];
    for (said, fate) in fates {
        let site = Site::new().await;
        let wanted = goals(&site.plan(&[]).await);
        site.triton.datacenter.stock().next_job("update", fate);
        converges(&site, said, &wanted).await;
    }
}

#[tokio::test]
async fn what_fails_in_passing_is_written_once_and_all_the_same() {
    // What was written and not answered is looked up, and not written twice.
    for (when, fault, writes) in [
        (When::Before, Fault::Status(503), 47),
        (When::Before, Fault::Close, 47),
        (When::After, Fault::Status(503), 46),
        (When::After, Fault::Close, 46),
    ] {
        let site = Site::new().await;
        let wanted = goals(&site.plan(&[]).await);
        let gate = site.triton.datacenter.gate();
        gate.fail(9, when, fault.clone());
        // Each read fails, too.
        gate.stumble(fault);
        let done = site.apply(&["--at-once", "16"]).await;
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(gate.stumbled() > 50, "{}", gate.stumbled());
        assert_eq!(site.tags(), wanted);
        assert_eq!(site.writes(), writes);
        let drain = ["shard-1", "--yes", "--at-once", "16"];
        let done = site.write(&["drain"], &drain).await;
        assert_eq!(done.code, Some(0), "{done:?}");
        assert_eq!(site.loads(), loads(&[46]));
    }
    // What fails for good ends, and soon.
    let site = Site::new().await;
    let front = site.triton.vmapi.handle.front();
    for fault in [Fault::Status(503), Fault::Close] {
        front.set_fault(fault);
        let began = std::time::Instant::now();
        let ended = site.apply(&[]).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("(request "), "{ended:?}");
        assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
        assert_eq!(site.writes(), 0);
    }
}

/// One of the writes fails, all others are done; then all are.
async fn converges(site: &Site, said: &str, wanted: &BTreeMap<String, String>) {
    let failed = site.apply(&[]).await;
    assert_eq!(failed.code, Some(1), "{said}: {failed:?}");
    assert!(failed.stderr.contains(said), "{said}: {failed:?}");
    assert!(failed.stderr.contains("1 of 46 tags not written"), "{failed:?}");
    assert!(site.tags().len() >= 45, "{said}");
    let again = site.apply(&[]).await;
    assert_eq!(again.code, Some(0), "{said}: {again:?}");
    assert_eq!(&site.tags(), wanted, "{said}");
}

#[tokio::test]
async fn killed_at_any_moment_the_next_run_ends_where_the_first_was_to() {
    for at in [1, 7, 20, 45] {
        let site = Site::new().await;
        let wanted = goals(&site.plan(&[]).await);
        let sapi = site.triton.sapi.url();
        let lock = site.lock();
        let words = ["shard", "apply", "--at-once", "2", "--lock", &lock];
        killed_at(at, &sapi, &words, || site.writes()).await;
        let ended = site.apply(&[]).await;
        assert_eq!(ended.code, Some(0), "after {at}: {ended:?}");
        assert_eq!(site.tags(), wanted, "after {at}");
    }
}

#[tokio::test]
async fn a_datacenter_without_shards_is_told_what_it_lacks() {
    let site = Site::new().await;
    let ended = site.run(&["shard", "plan", "--prefix", "part-"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let said = "saw 4 instances of prometheus, none with a group that begins \
                \"part-\"";
    assert!(ended.stderr.contains(said), "{ended:?}");
    // One more that scrapes everything is a fault, and in nobody's way.
    let instance =
        json!({"uuid": uuid(0xd0, 99), "service_uuid": SERVICE, "params": {}});
    site.triton.sapi.handle.put(Kind::Instance, instance);
    let ended = site.apply(&[]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("it scrapes everything"), "{ended:?}");
    assert_eq!(site.loads(), loads(&[23, 23]));
}
