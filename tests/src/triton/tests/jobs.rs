// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! How jobs end, and how they do not.

use monitoring_agent::triton::job::{Execution, JobError};

use super::*;
use crate::datacenter::Fate;

#[tokio::test]
async fn a_job_that_fails_says_why() {
    let rig = Rig::start().await;
    let stock = || rig.triton.datacenter.stock();
    stock().job_polls = 2;
    stock().next_job("provision", Fate::Fails("no space left".to_owned()));
    let service = rig.service(json!({})).await;
    let made = rig.instance(&service, None).await.unwrap();
    let job = made.job_uuid.unwrap();
    let seen = rig.vmapi.job(job).await.unwrap();
    assert_eq!(seen.execution, Execution::Running);
    let failed = rig.vmapi.wait(job, EVERY, LIMIT).await.unwrap_err();
    assert_eq!(
        said(&failed),
        format!(
            "job {job} (provision-7.0.7) failed: cnapi.provision_vm: no space \
             left"
        )
    );
    let zone = made.instance.uuid;
    assert_eq!(rig.vm(zone).await.state, "failed");
    // The record stays, of a zone that is none.
    assert!(rig.sapi.instance(zone).await.unwrap().is_some());

    stock().next_job("update", Fate::Canceled);
    let tags = object(json!({"x": "y"}));
    let cns = uuid(ids::CNS0);
    let job = rig.vmapi.add_tags(cns, admin(), &tags).await.unwrap().job_uuid;
    let ended = rig.vmapi.wait(job, EVERY, LIMIT).await.unwrap_err();
    assert!(said(&ended).contains("was canceled"), "{ended}");
    assert!(!rig.vm(cns).await.tags.contains_key("x"));
}

#[tokio::test]
async fn a_job_that_vanishes_or_goes_on_is_told_apart() {
    let rig = Rig::start().await;
    let stock = || rig.triton.datacenter.stock();
    let cns = uuid(ids::CNS0);
    for done in [true, false] {
        stock().next_job("update", Fate::Vanishes { done });
        let tags = object(json!({(done.to_string()): "y"}));
        let started = rig.vmapi.add_tags(cns, admin(), &tags).await.unwrap();
        let job = started.job_uuid;
        let lost = rig.vmapi.wait(job, EVERY, LIMIT).await.unwrap_err();
        let JobError::Lost { source, .. } = &lost else { panic!("{lost}") };
        assert!(source.is_not_found(), "{source}");
        let has = rig.vm(cns).await.tags.contains_key(&done.to_string());
        assert_eq!(has, done);
    }
    stock().job_polls = 1;
    stock().next_job("update", Fate::Stalls);
    let tags = object(json!({"x": "y"}));
    let job = rig.vmapi.add_tags(cns, admin(), &tags).await.unwrap().job_uuid;
    let short = Duration::from_millis(20);
    let late = rig.vmapi.wait(job, EVERY, short).await.unwrap_err();
    assert!(matches!(late, JobError::NotOver { .. }), "{late}");
    assert!(!rig.vm(cns).await.tags.contains_key("x"));
}

#[tokio::test]
async fn a_poll_may_fail_now_and_then() {
    let rig = Rig::start().await;
    rig.triton.datacenter.stock().job_polls = 2;
    let tags = object(json!({"x": "y"}));
    let cns = uuid(ids::CNS0);
    let job = rig.vmapi.add_tags(cns, admin(), &tags).await.unwrap().job_uuid;
    let front = rig.triton.vmapi.handle.front();
    let fault = |times| {
        front.add_fault("/jobs", Some(times), crate::http::Fault::Status(500));
    };
    fault(4);
    rig.wait(job).await;
    fault(5);
    let lost = rig.vmapi.wait(job, EVERY, LIMIT).await.unwrap_err();
    assert!(said(&lost).contains("answered 500"), "{}", said(&lost));
}

#[tokio::test]
async fn sapi_tells_what_a_job_said() {
    let rig = Rig::start().await;
    let zone = rig.zone().await;
    let stock = || rig.triton.datacenter.stock();
    stock().next_job("reprovision", Fate::Fails("no such image".to_owned()));
    let core = uuid(ids::CORE_IMAGE);
    let failed = rig.sapi.upgrade_instance(zone, core, LIMIT).await;
    let failed = failed.err().unwrap();
    assert_eq!(failed.status(), Some(500));
    assert_eq!(failed.code(), Some("ReprovisionFailedError"));
    assert!(said(&failed).contains("no such image"));
    assert_eq!(rig.vm(zone).await.state, "failed");
    stock().next_job("destroy", Fate::Fails("busy".to_owned()));
    let failed = rig.sapi.delete_instance(zone, LIMIT).await.unwrap_err();
    assert_eq!(failed.code(), Some("DestroyFailedError"));
    assert!(rig.sapi.instance(zone).await.unwrap().is_some());
    stock().next_job("destroy", Fate::Vanishes { done: true });
    let failed = rig.sapi.delete_instance(zone, LIMIT).await.unwrap_err();
    assert!(said(&failed).contains("Job not found"));
    assert_eq!(rig.vm(zone).await.state, "destroyed");
}

#[tokio::test]
async fn without_the_workflow_api_nothing_starts() {
    let rig = Rig::start().await;
    let zone = rig.zone().await;
    let service = rig.service(json!({})).await;
    rig.triton.datacenter.stock().workflow_down = true;
    let down = |error: ApiError| {
        assert_eq!(error.status(), Some(503), "{error}");
        let said = said(&error);
        assert!(said.contains("Workflow API is"), "{said}");
    };
    let image = uuid(ids::PROMETHEUS_IMAGE);
    let source = rig.triton.updates.url();
    let cns = uuid(ids::CNS0);
    let none = Map::new();
    down(rig.instance(&service, None).await.err().unwrap());
    down(rig.vmapi.add_tags(cns, admin(), &none).await.unwrap_err());
    down(rig.vmapi.delete(cns, admin()).await.unwrap_err());
    down(rig.imgapi.import_remote(image, &source).await.unwrap_err());
    let core = uuid(ids::CORE_IMAGE);
    let upgrade = rig.sapi.upgrade_instance(zone, core, LIMIT).await;
    down(upgrade.err().unwrap());
    assert_eq!(rig.vmapi.ping().await.unwrap_err().status(), Some(503));
    assert_eq!(rig.vm(zone).await.state, "running");
}
