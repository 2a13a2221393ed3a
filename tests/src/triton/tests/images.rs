// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Images: found, imported with what they are built on, deleted.

use super::*;
use crate::datacenter::Fate;
use crate::imgapi::publish;

const WANTED: &str = ids::PROMETHEUS_IMAGE;

impl Rig {
    /// The updates server's URL with a channel, as IMGAPI is told it.
    fn source(&self, channel: &str) -> String {
        format!("{}?channel={channel}", self.triton.updates.url())
    }

    async fn state(&self, image: &str) -> Option<String> {
        let found = self.imgapi.image(uuid(image), None).await.unwrap();
        found.map(|image| image.state)
    }
}

#[tokio::test]
async fn images_are_found_by_name_and_channel() {
    let rig = Rig::start().await;
    let names = async |channel| {
        let found = rig.updates.images("mantav2-prometheus", channel).await;
        let found = found.unwrap();
        found.into_iter().map(|image| image.uuid).collect::<Vec<_>>()
    };
    let (new, old) = (uuid(WANTED), uuid(ids::OLD_PROMETHEUS_IMAGE));
    assert_eq!(names(Some("dev")).await, [old, new]);
    assert_eq!(names(None).await, [old, new]);
    assert_eq!(names(Some("release")).await, [new]);
    assert!(names(Some("support")).await.is_empty());
    let unknown = rig.updates.images("x", Some("beta")).await.unwrap_err();
    assert_eq!(unknown.status(), Some(422));
    assert!(said(&unknown).contains("unknown channel: beta"));
    let there = rig.updates.image(old, Some("release")).await.unwrap();
    assert!(there.is_none());
    let there = rig.updates.image(new, Some("release")).await.unwrap().unwrap();
    assert_eq!(there.origin, Some(uuid(ids::ORIGIN)));
    assert_eq!((&*there.kind, there.files[0].size), ("zone-dataset", 12345678));
    // This datacenter's own has no channels.
    let core = rig.imgapi.images("core", Some("release")).await.unwrap();
    assert_eq!(core.len(), 1);
}

#[tokio::test]
async fn an_image_comes_with_its_two_origins() {
    let rig = Rig::start().await;
    rig.triton.datacenter.stock().job_polls = 3;
    let (image, source) = (uuid(WANTED), rig.source("release"));
    let chain = rig.updates.chain(image, Some("release")).await.unwrap();
    let chain: Vec<Uuid> =
        chain.unwrap().iter().map(|image| image.uuid).collect();
    assert_eq!(chain, [WANTED, ids::ORIGIN, ids::BASE].map(uuid));
    assert_eq!(rig.imgapi.chain(image, None).await.unwrap(), None);

    let job = rig.imgapi.import_remote(image, &source).await.unwrap();
    assert_eq!(rig.state(WANTED).await.unwrap(), "unactivated");
    let again = rig.imgapi.import_remote(image, &source).await.unwrap_err();
    assert_eq!(again.code(), Some("ImageUuidAlreadyExists"));
    // IMGAPI's job, at VMAPI.
    rig.wait(job.job_uuid).await;
    for uuid in [WANTED, ids::ORIGIN, ids::BASE] {
        assert_eq!(rig.state(uuid).await.unwrap(), "active", "{uuid}");
    }
    let here = rig.imgapi.chain(image, None).await.unwrap().unwrap();
    assert_eq!(here.len(), 3);
    // The next one finds its origins here.
    let old = uuid(ids::OLD_PROMETHEUS_IMAGE);
    let source = rig.source("dev");
    let job = rig.imgapi.import_remote(old, &source).await.unwrap();
    rig.wait(job.job_uuid).await;
    let used = rig.imgapi.delete(uuid(ids::ORIGIN)).await.unwrap_err();
    assert_eq!(used.code(), Some("ImageHasDependentImages"));
    assert!(said(&used).contains(WANTED), "{}", said(&used));
}

#[tokio::test]
async fn an_import_that_fails_leaves_nothing_or_stale_images() {
    let rig = Rig::start().await;
    let stock = || rig.triton.datacenter.stock();
    let task = "import-remote-image";
    let (image, source) = (uuid(WANTED), rig.source("release"));
    let import = async || rig.imgapi.import_remote(image, &source).await;
    stock().next_job(task, Fate::Fails("connection reset".to_owned()));
    let job = import().await.unwrap().job_uuid;
    let failed = rig.vmapi.wait(job, EVERY, LIMIT).await.unwrap_err();
    assert!(said(&failed).contains("connection reset"));
    assert_eq!(rig.state(WANTED).await, None);
    assert_eq!(rig.state(ids::BASE).await, None);

    // Its runner was killed.
    stock().next_job(task, Fate::Vanishes { done: false });
    let job = import().await.unwrap().job_uuid;
    assert!(rig.vmapi.wait(job, EVERY, LIMIT).await.is_err());
    assert_eq!(rig.state(WANTED).await.unwrap(), "unactivated");
    let listed = rig.imgapi.images("mantav2-prometheus", None).await.unwrap();
    assert!(listed.is_empty());
    let stale = import().await.unwrap_err();
    assert_eq!(stale.code(), Some("ImageUuidAlreadyExists"));
    assert!(rig.imgapi.delete(image).await.unwrap());
    assert!(!rig.imgapi.delete(image).await.unwrap());
    let stale = import().await.unwrap_err();
    assert_eq!(stale.status(), Some(422));
    assert_eq!(stale.code(), Some("OriginIsNotActive"));
    for origin in [ids::ORIGIN, ids::BASE] {
        assert!(rig.imgapi.delete(uuid(origin)).await.unwrap());
    }
    rig.wait(import().await.unwrap().job_uuid).await;
    assert_eq!(rig.state(WANTED).await.unwrap(), "active");
}

#[tokio::test]
async fn what_the_source_lacks_is_said() {
    let rig = Rig::start().await;
    let old = uuid(ids::OLD_PROMETHEUS_IMAGE);
    let elsewhere = "http://updates.example.com".to_owned();
    for (source, why) in [
        (rig.source("release"), "image not found"),
        (elsewhere, "ECONNREFUSED"),
    ] {
        let refused = rig.imgapi.import_remote(old, &source).await.unwrap_err();
        assert_eq!(refused.status(), Some(503));
        assert_eq!(refused.code(), Some("RemoteSourceError"));
        assert!(said(&refused).contains(why), "{}", said(&refused));
    }
    // A chain that bites its tail.
    let mut base = rig.triton.datacenter.stock().updates[ids::BASE].clone();
    base["origin"] = json!(WANTED);
    rig.triton.datacenter.stock().put_update(base);
    let endless = rig.updates.chain(old, None).await.unwrap_err();
    assert!(matches!(endless, ApiError::Endless { .. }), "{endless}");
}

#[tokio::test]
async fn what_is_published_is_there() {
    let rig = Rig::start().await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let datacenter = std::sync::Arc::clone(&rig.triton.datacenter);
    let server = publish::Imgapi::over(datacenter).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let new = "f0000000-0000-4000-8000-000000000050";
    let url = format!("{}/images/{new}", server.url());
    let manifest = json!({"uuid": new, "name": "thanos", "version": "1"});
    let import = client.post(format!("{url}?action=import")).json(&manifest);
    assert_eq!(import.send().await.unwrap().status(), 200);
    assert_eq!(rig.state(new).await.unwrap(), "unactivated");
    let file = client.put(format!("{url}/file?compression=none")).body("x");
    assert_eq!(file.send().await.unwrap().status(), 200);
    let activate = client.post(format!("{url}?action=activate"));
    assert_eq!(activate.send().await.unwrap().status(), 200);
    let found = rig.imgapi.images("thanos", None).await.unwrap();
    assert_eq!((found.len(), found[0].files[0].size), (1, 1));
}
