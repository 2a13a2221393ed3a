// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Faults, documented or not: each becomes one clear error, and none a panic.

use monitoring_agent::triton::sapi::{Action, Change};

use super::*;
use crate::http::{Fault, When};

#[tokio::test]
async fn an_error_names_url_status_code_and_request() {
    let rig = Rig::start().await;
    let cns = uuid(ids::CNS0);
    let tags = object(json!({"triton.x": 1}));
    let refused = rig.vmapi.add_tags(cns, admin(), &tags).await.unwrap_err();
    let sent = rig.triton.vmapi.handle.front().requests();
    let id = sent[0].header("x-request-id").unwrap();
    let said = said(&refused);
    let url = rig.triton.vmapi.url();
    let begin = format!("{url}/vms/{cns}/tags?owner_uuid={}", ids::ADMIN);
    assert!(said.starts_with(&begin), "{said}");
    assert!(
        said.contains("answered 409 from VMAPI: ValidationFailed: Invalid"),
        "{said}"
    );
    assert!(said.ends_with(&format!(" (request {id})")), "{said}");

    let front = rig.triton.sapi.handle.front();
    front.set_fault(Fault::Close);
    let error = rig.sapi.applications("sdc", true).await.err().unwrap();
    assert!(error.to_string().contains(" (request "), "{error}");
    // The agent's loops know a trouble again by its words.
    let loops = Sapi::new(http(LIMIT), &rig.triton.sapi.url());
    for error in [
        loops.applications("sdc", true).await.err().unwrap(),
        loops.ping().await.unwrap_err(),
    ] {
        assert!(!error.to_string().contains("request"), "{error}");
    }
    let sent = front.requests();
    assert!(sent[0].header("x-request-id").is_some());
    assert_eq!(sent[1].header("x-request-id"), None);
}

#[tokio::test]
async fn every_fault_becomes_an_error() {
    let rig = Rig::start().await;
    let front = rig.triton.papi.handle.front();
    let errors = json!([{"field": "name", "code": "Invalid"}]);
    let documented = json!({"code": "InvalidArgument", "message": "no",
        "errors": errors});
    let plain = json!({"message": "first of 1 error: no"});
    for (fault, contained) in [
        (Fault::Status(503), "answered 503: InternalError: fault"),
        (
            Fault::Refusal(409, Some(documented)),
            "answered 409: InvalidArgument: no: name Invalid",
        ),
        (Fault::Refusal(500, Some(plain)), "answered 500: first of 1 error"),
        (Fault::Refusal(404, None), "answered 404: no body"),
        (Fault::Refusal(302, None), "answered 302: no body"),
        (Fault::Refusal(200, None), "cannot be read"),
        (Fault::Refusal(200, Some(json!({"a": 1}))), "cannot be read"),
        (Fault::Refusal(200, Some(json!([{"a": 1}]))), "cannot be read"),
        (Fault::Garbage, "cannot be read"),
        (Fault::HugeBody(65 << 20), "answered more than 67108864 bytes"),
        (Fault::Close, "no answer from"),
    ] {
        front.set_fault(fault);
        let error = rig.papi.packages("x").await.unwrap_err();
        let said = said(&error);
        assert!(said.contains(contained), "{said}");
        assert!(said.contains("(request "), "{said}");
    }
    // Nobody's word that there is none: a web server under PAPI's name.
    front.set_fault(Fault::Refusal(404, None));
    assert!(rig.papi.package(Uuid::nil()).await.is_err());
    front.clear_faults();
    assert!(rig.papi.packages("x").await.unwrap().is_empty());
    for fault in [Fault::Hang, Fault::HangBody] {
        front.set_fault(fault);
        let hasty = http(Duration::from_millis(200));
        let papi = Papi::new(hasty, &rig.triton.papi.url());
        let error = papi.packages("x").await.unwrap_err();
        assert!(said(&error).contains("timed out"), "{}", said(&error));
    }
    front.set_fault(Fault::Trickle(Duration::from_micros(10)));
    assert_eq!(rig.papi.packages("sdc_1024").await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_wrong_for_good_may_be_a_500() {
    let rig = Rig::start().await;
    let metadata = object(json!({"a": 1}));
    let change = Change {
        action: Action::Update,
        params: None,
        metadata: Some(&metadata),
    };
    let nobody = Uuid::from_u128(1);
    let error = rig.sapi.update_service(nobody, &change).await.err().unwrap();
    assert_eq!((error.status(), error.code()), (Some(500), None));
    let core = uuid(ids::CORE_IMAGE);
    let error = rig.sapi.upgrade_instance(nobody, core, LIMIT).await;
    assert_eq!(error.err().unwrap().status(), Some(500));
    // Of an instance without a zone SAPI passes VMAPI's 404 on, and keeps it.
    let lone = Uuid::from_u128(2).to_string();
    rig.triton.sapi.handle.put(
        crate::sapi::Kind::Instance,
        json!({"uuid": lone, "service_uuid": ids::CNS, "type": "vm"}),
    );
    let lone = uuid(&lone);
    assert!(!rig.sapi.delete_instance(lone, LIMIT).await.unwrap());
    assert!(rig.sapi.instance(lone).await.unwrap().is_some());
}

#[tokio::test]
async fn who_does_not_run_again_tries_again_what_may_be_tried() {
    let rig = Rig::start().await;
    let client = http(LIMIT).retrying();
    let vmapi = Vmapi::new(client.clone(), &rig.triton.vmapi.url());
    let front = rig.triton.vmapi.handle.front();
    let cns = uuid(ids::CNS0);
    let alias = object(json!({"alias": "other"}));
    let tags = object(json!({"a": "b"}));
    let asked = || std::mem::take(&mut front.requests()).len();
    for fault in [502, 503, 504]
        .map(Fault::Status)
        .into_iter()
        .chain([Fault::Close, Fault::Refusal(503, None)])
    {
        for (failing, tries) in [(0, 1), (1, 2), (2, 3), (9, 3)] {
            let fails = |front: &crate::http::Front| {
                front.clear_faults();
                front.clear_log();
                front.add_fault("/vms", Some(failing), fault.clone());
            };
            fails(front);
            let read = vmapi.vm(cns, None).await;
            let of = format!("{fault:?} {failing}: {read:?}");
            assert_eq!((read.is_ok(), asked()), (failing < 3, tries), "{of}");
            // The last of them is what the log of VMAPI has, as of all.
            if let Err(error) = read {
                let id = front.requests()[2].headers["x-request-id"].clone();
                assert!(said(&error).contains(&id), "{of}");
                assert!(!error.is_passing(), "{of}");
            }
            fails(front);
            let set = vmapi.update(cns, admin(), &alias).await;
            assert_eq!((set.is_ok(), asked()), (failing < 3, tries), "{of}");
            // Who makes it looks first.
            fails(front);
            let once = vmapi.add_tags(cns, admin(), &tags).await;
            assert_eq!((once.is_ok(), asked()), (failing == 0, 1), "{of}");
            assert!(once.is_ok() || once.unwrap_err().is_passing(), "{of}");
        }
    }
    for fault in [Fault::Status(500), Fault::Garbage, Fault::Status(409)] {
        front.set_fault(fault);
        front.clear_log();
        assert!(vmapi.vm(cns, None).await.is_err());
        assert_eq!(asked(), 1, "for good");
    }
    // All tries have the time of one; a loop has its own pace.
    front.set_fault(Fault::Slow(Duration::from_secs(60)));
    let hasty = client.lasting(Duration::from_millis(300));
    let hasty = Vmapi::new(hasty, &rig.triton.vmapi.url());
    let began = std::time::Instant::now();
    let late = hasty.vm(cns, None).await.unwrap_err();
    assert!(said(&late).contains("timed out"), "{}", said(&late));
    assert!(began.elapsed() < Duration::from_secs(30));
    front.set_fault(Fault::Close);
    front.clear_log();
    assert!(rig.vmapi.vm(cns, None).await.is_err());
    assert_eq!(asked(), 1);
}

#[tokio::test]
async fn the_nth_change_fails_as_chosen() {
    let rig = Rig::start().await;
    let gate = rig.triton.datacenter.gate();
    let cns = uuid(ids::CNS0);
    let key = |tag: &str| object(json!({tag: "x"}));
    let has = async |tag: &str| rig.vm(cns).await.tags.contains_key(tag);
    let add =
        async |tag: &str| rig.vmapi.add_tags(cns, admin(), &key(tag)).await;
    gate.fail(2, When::Before, Fault::Status(503));
    gate.fail(3, When::After, Fault::Close);
    add("first").await.unwrap();
    assert_eq!(add("second").await.unwrap_err().status(), Some(503));
    let lost = add("third").await.unwrap_err();
    assert!(matches!(lost, ApiError::NoAnswer { .. }), "{lost}");
    add("fourth").await.unwrap();
    let seen = [has("first").await, has("second").await, has("third").await];
    assert_eq!(seen, [true, false, true]);
    // Across APIs, in one order; looking counts for nothing.
    rig.service(json!({})).await;
    let seen: Vec<_> = gate
        .mutations()
        .into_iter()
        .map(|m| format!("{} {} {}", m.api, m.method, m.path))
        .collect();
    assert_eq!(gate.count(), 5);
    assert_eq!(seen[3], format!("vmapi POST /vms/{cns}/tags"));
    assert_eq!(seen[4], "sapi POST /services");
    assert_eq!(gate.mutations()[3].body, json!({"fourth": "x"}));
}

#[tokio::test]
async fn everything_is_cut_off_at_once() {
    let rig = Rig::start().await;
    let gate = rig.triton.datacenter.gate();
    for (when, done) in [(When::Before, 0), (When::After, 1)] {
        let count = async || rig.sapi.services_named(uuid(ids::SDC), "x").await;
        gate.cut_at(1, when);
        let new = NewService {
            uuid: None,
            name: "x",
            application_uuid: uuid(ids::SDC),
            params: Map::new(),
            metadata: Map::new(),
            master: false,
        };
        let cut = rig.sapi.create_service(&new).await.err().unwrap();
        assert!(matches!(cut, ApiError::NoAnswer { .. }), "{cut}");
        assert!(count().await.is_err());
        assert!(rig.papi.packages("x").await.is_err());
        assert!(rig.updates.ping().await.is_err());
        gate.mend();
        assert_eq!(count().await.unwrap().len(), done);
    }
    gate.cut();
    assert!(rig.cnapi.servers().await.is_err());
    gate.mend();
    rig.cnapi.servers().await.unwrap();
}
