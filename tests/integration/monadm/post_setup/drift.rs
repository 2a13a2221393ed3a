// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A datacenter in which nearly everything is to be mended: each call fails,
//! the run is killed at each write, and no kind of step is left out.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use localdc::datacenter::Fate;
use localdc::http::{Fault, When};
use localdc::sapi::Kind;
use localdc::triton::ids;
use monitoring_agent::deploy::setup::Step;
use monitoring_agent::triton::Http;
use serde_json::{Value, json};

use super::adopt::{SERVICE, made_by_sdcadm};
use super::cut::killed_at;
use super::{LIMIT, PAIR, Site};

const WORDS: &[&str] = &["prometheus", "--shards", "2"];
const HALFWAY: &[&str] = &["prometheus", "--replicas", "2", "--wait", "1"];
/// Runs at a time, which mostly wait.
const AT_ONCE: usize = 3;

/// One zone lacks quota, firewall, shard and a NIC, another its instance, and
/// an instance its zone; the service has drifted, and the rules are gone.
async fn drifted() -> Site {
    let params = json!({"firewall_enabled": false,
        "networks": [{"name": "admin"}]});
    let site = made_by_sdcadm(params, json!({"SERVICE_DOMAIN": "x"})).await;
    let uuid = |number| format!("d0000000-0000-4000-8000-00000000000{number}");
    let stray = json!({"uuid": uuid(2), "service_uuid": SERVICE,
        "params": {"alias": "prometheus1", "server_uuid": ids::SERVER1,
            "quota": 100, "firewall_enabled": true,
            "networks": [{"name": "admin"},
                {"name": "external", "primary": true}]}});
    let gone = json!({"uuid": uuid(3), "service_uuid": SERVICE,
        "params": {"alias": "prometheus2", "server_uuid": ids::HEADNODE},
        "metadata": {"groups": ["shard-1"], "shard": "1"}});
    let url = format!("{}/instances", site.triton.sapi.url());
    for instance in [stray, gone] {
        let http = Http::new(LIMIT, None);
        let made = http.post(&url, Some(&instance), 1 << 20).await.unwrap();
        assert_eq!(made.status, 200);
    }
    site.triton.sapi.handle.remove(Kind::Instance, &uuid(2));
    site.triton.datacenter.update(|facts| {
        let vm = facts.vms.iter_mut().find(|vm| vm.uuid == uuid(3)).unwrap();
        vm.state = "destroyed".to_owned();
    });
    site.triton.datacenter.stock().rules.clear();
    site
}

/// An import was cut off.
async fn halfway() -> Site {
    let site = Site::new().await;
    let mut stock = site.triton.datacenter.stock();
    let mut image = stock.updates[ids::PROMETHEUS_IMAGE].clone();
    image["state"] = json!("unactivated");
    stock.put_image(image);
    drop(stock);
    site
}

/// Where a run ends that nothing befalls, and after how many writes.
async fn whole(site: Site, words: &[&str]) -> (usize, Value) {
    let ready = site.writes();
    site.set_up(words).await;
    site.is_settled(words).await;
    (site.writes() - ready, site.everything().await)
}

#[tokio::test]
async fn no_kind_of_step_is_left_out() {
    let mut seen = BTreeSet::new();
    for (site, words) in [
        (Site::new().await, PAIR),
        (drifted().await, WORDS),
        (halfway().await, HALFWAY),
    ] {
        let plan = site.run(&[words, &["-n", "--json"]].concat()).await;
        let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
        let steps = plan["steps"].as_array().unwrap().iter();
        seen.extend(steps.map(|one| one["step"].as_str().unwrap().to_owned()));
    }
    let all: BTreeSet<_> = Step::KINDS.iter().map(|k| k.to_string()).collect();
    assert_eq!(seen, all);
}

/// Three ways for each write, in turn: refused, not done, done and not said.
fn ways(at: usize) -> [(usize, When, Fault); 3] {
    let refused = json!({"code": "InvalidArgument", "message": "by design"});
    let plain = json!({"message": "first of 1 error: by design"});
    let refusals = [
        Fault::Refusal(409, Some(refused)),
        Fault::Refusal(500, Some(plain)),
        Fault::Refusal(404, None),
    ];
    let passing = [Fault::Status(503), Fault::Close];
    [
        (at, When::Before, refusals[at % 3].clone()),
        (at, When::Before, passing[at % 2].clone()),
        (at, When::After, passing[(at + 1) % 2].clone()),
    ]
}

async fn fails(
    site: Site,
    words: &[&str],
    (at, when, fault): (usize, When, Fault),
    wanted: &Value,
) {
    let gate = site.triton.datacenter.gate();
    let ready = gate.count();
    gate.fail(at, when, fault.clone());
    let ended = site.yes(words).await;
    let call = gate.mutations()[ready + at - 1].clone();
    let of = format!("{at} {when:?} {fault:?} {call:?}: {ended:?}");
    // A NIC is asked for once.
    let passes = matches!(fault, Fault::Status(503) | Fault::Close)
        && !call.query.contains("add_nics");
    assert_eq!(ended.code, Some(i32::from(!passes)), "{of}");
    if !passes {
        // To delete what is not there is no error, but that it still is.
        let said = match call.method.as_str() {
            "DELETE" => "wanted none",
            _ => "(request ",
        };
        let said = matches!(fault, Fault::Refusal(404, _)).then_some(said);
        let said = said.unwrap_or("(request ");
        assert!(ended.stderr.contains(said), "{of}");
        assert!(ended.stderr.contains("to go on, run"), "{of}");
        site.set_up(words).await;
    }
    assert_eq!(&site.everything().await, wanted, "{of}");
    site.is_settled(words).await;
}

#[tokio::test]
async fn whatever_call_fails_the_next_run_ends_the_same() {
    let (writes, wanted) = whole(drifted().await, WORDS).await;
    assert!(writes > 12, "{writes}");
    let cases = stream::iter((1..=writes).flat_map(ways));
    let run = async |case| fails(drifted().await, WORDS, case, &wanted).await;
    cases.for_each_concurrent(AT_ONCE, run).await;
    // Of these the first alone is about what was left halfway.
    let (_, wanted) = whole(halfway().await, HALFWAY).await;
    let cases = stream::iter(ways(1));
    let run = async |case| fails(halfway().await, HALFWAY, case, &wanted).await;
    cases.for_each_concurrent(AT_ONCE, run).await;
}

#[tokio::test]
async fn killed_at_any_write_the_next_run_ends_the_same() {
    let whens = [When::Before, When::After];
    killed_at(WORDS, drifted, &whens, 0, usize::MAX).await;
    killed_at(HALFWAY, halfway, &whens, 0, 1).await;
}

#[tokio::test]
async fn cut_off_in_the_middle_a_run_ends_soon_and_says_so() {
    let (writes, wanted) = whole(drifted().await, WORDS).await;
    let run = async |at| {
        let site = drifted().await;
        let gate = site.triton.datacenter.gate();
        gate.cut_at(at, When::After);
        let began = Instant::now();
        let ended = site.yes(WORDS).await;
        assert!(began.elapsed() < Duration::from_secs(60), "{at}");
        assert_eq!(ended.code, Some(1), "{at}: {ended:?}");
        assert!(ended.stderr.contains("(request "), "{at}: {ended:?}");
        assert!(ended.stderr.contains("no answer from"), "{at}: {ended:?}");
        gate.mend();
        site.set_up(WORDS).await;
        assert_eq!(site.everything().await, wanted, "{at}");
    };
    let cases = stream::iter((1..=writes).step_by(3));
    cases.for_each_concurrent(writes, run).await;
}

/// The zone was stopped for its NIC, and the job failed.
#[tokio::test]
async fn a_zone_that_a_failed_job_left_stopped_is_started() {
    let (_, wanted) = whole(drifted().await, WORDS).await;
    let broken = async || {
        let site = drifted().await;
        let fate = Fate::Fails("no address".into());
        site.triton.datacenter.stock().next_job("add-nics", fate);
        site
    };
    let site = broken().await;
    let ready = site.writes();
    let ended = site.yes(WORDS).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("no address"), "{ended:?}");
    let calls = site.triton.datacenter.gate().mutations();
    let mut calls = calls[ready..].iter();
    let start = calls.position(|one| one.query.contains("action=start"));
    let at = start.expect("it is started") + 1;
    for (_, when, fault) in ways(at) {
        let site = broken().await;
        let refused = matches!(fault, Fault::Refusal(..));
        site.triton.datacenter.gate().fail(at, when, fault.clone());
        let ended = site.yes(WORDS).await;
        assert_eq!(ended.code, Some(1), "{fault:?}: {ended:?}");
        let state = site.vm("prometheus0").state;
        let left = if refused { "stopped" } else { "running" };
        assert_eq!(state, left, "{fault:?}: {ended:?}");
        if refused {
            // Somebody may have stopped it on purpose.
            let told = site.yes(WORDS).await;
            assert!(told.stderr.contains("; start it"), "{told:?}");
            site.triton.datacenter.update(|facts| {
                let all = facts.vms.iter_mut();
                all.filter(|vm| vm.state == "stopped")
                    .for_each(|vm| vm.state = "running".to_owned());
            });
        }
        site.set_up(WORDS).await;
        assert_eq!(site.everything().await, wanted, "{fault:?}");
    }
}
