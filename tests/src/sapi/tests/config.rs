// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Configs: merging, dangling references, ETags, the filled example.

use super::*;
use crate::testing::facts;

#[tokio::test]
async fn config_merges_and_dangles() {
    let (sapi, server) = filled().await;
    let path = format!("/configs/{INST}");
    let config = server.get(&path).await.json();
    assert_eq!(config["manifests"], json!([]));
    let keys: Vec<&String> =
        config["metadata"].as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "k",
            "nested",
            "n",
            "own",
            "ZONE_UUID",
            "SERVER_UUID",
            "INSTANCE_UUID"
        ]
    );
    assert_eq!(config["metadata"]["k"], "svc");
    assert_eq!(config["metadata"]["ZONE_UUID"], INST);
    assert_eq!(config["metadata"]["SERVER_UUID"], "s");

    // Without a server of its own: the one SAPI runs on.
    put(
        &server,
        &format!("/services/{SVC}"),
        json!({"action": "delete", "params": {"server_uuid": null}}),
    )
    .await;
    let config = server.get(&path).await.json();
    assert_eq!(config["metadata"]["SERVER_UUID"], HEADNODE);

    let manifest = json!({"name": "m", "path": "/x", "template": "t"});
    let made = server
        .send(Method::POST, "/manifests", &[], Some(manifest))
        .await
        .json();
    assert_eq!(made["version"], "1.0.0");
    put(
        &server,
        &format!("/applications/{APP}"),
        json!({"manifests": {"m": made["uuid"]}}),
    )
    .await;
    let config = server.get(&path).await.json();
    assert_eq!(config["manifests"], json!([made]));

    assert!(sapi.remove(Kind::Manifest, made["uuid"].as_str().unwrap()));
    let broken = server.get(&path).await;
    assert_eq!(broken.status, 500);
    assert!(broken.json().get("code").is_none());
    assert!(broken.text.contains("first of 1 error: no such manifest: "));
    assert!(sapi.remove(Kind::Service, SVC));
    assert_eq!(server.get(&path).await.status, 404);
}

#[tokio::test]
async fn etags() {
    let (sapi, server) = filled().await;
    let path = format!("/configs/{INST}");
    let first = server.get(&path).await;
    let etag = first.header("etag").unwrap().to_owned();
    assert_eq!(etag.len(), 40);
    assert_eq!(sapi.config(INST).unwrap().1, etag);
    for form in [
        etag.clone(),
        format!("\"{etag}\""),
        format!("W/\"{etag}\""),
        format!("\"x\", {etag}"),
        "*".to_owned(),
    ] {
        let headers = [("if-none-match", form.as_str())];
        let reply = server.send(Method::GET, &path, &headers, None).await;
        assert_eq!((reply.status, reply.text.as_str()), (304, ""), "{form}");
        assert_eq!(reply.header("etag"), Some(etag.as_str()));
    }
    let wrong = [("if-match", "other")];
    let reply = server.send(Method::GET, &path, &wrong, None).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (412, "PreconditionFailed")
    );

    // A real change, still 304: the number became a string.
    put(
        &server,
        &format!("/instances/{INST}"),
        json!({"metadata": {"own": "true"}}),
    )
    .await;
    let headers = [("if-none-match", etag.as_str())];
    let reply = server.send(Method::GET, &path, &headers, None).await;
    assert_eq!(reply.status, 304);
    put(
        &server,
        &format!("/instances/{INST}"),
        json!({"metadata": {"own": "other"}}),
    )
    .await;
    let reply = server.send(Method::GET, &path, &headers, None).await;
    assert_eq!(reply.status, 200);
    let seen = sapi.front().requests_of("GET", "/configs/");
    assert_eq!(seen.last().unwrap().header("if-none-match"), Some(&*etag));
    assert_eq!(seen.last().unwrap().status, Some(200));
}

#[tokio::test]
async fn the_example_holds_together() {
    let seed = Seed {
        sdc_private_key: "PEM".to_owned(),
        sdc_public_key: "ssh-rsa AAAA".to_owned(),
        manta_private_key: "PEM2".to_owned(),
        manta_public_key: "ssh-rsa BBBB".to_owned(),
        binders: vec![[192, 0, 2, 5].into(), [192, 0, 2, 6].into()],
        nameservices: vec![[192, 0, 2, 7].into()],
        dns_resolvers: vec![[192, 0, 2, 8].into(), [192, 0, 2, 9].into()],
        allow_transfer: vec!["192.0.2.10".to_owned()],
        cmon_domain: None,
        sapi_url: "http://127.0.0.1".to_owned(),
        key_folder: Some("/tmp/keys".to_owned()),
    };
    let sapi = Sapi::example(&facts(), &seed);
    let uuid = sapi.instance_uuid("prometheus0").unwrap();
    let (config, _) = sapi.config(&uuid).unwrap();
    let metadata = &config["metadata"];
    assert_eq!(metadata["dns_resolvers"], "192.0.2.8,192.0.2.9");
    assert_eq!(
        metadata["ZK_SERVERS"],
        json!([
        {"num": 1, "host": "192.0.2.5", "port": 2181},
        {"num": 2, "host": "192.0.2.6", "port": 2181, "last": true}])
    );
    assert_eq!(metadata["SERVICE_DOMAIN"], "prometheus.dc1.triton.test");
    assert!(metadata.get("user-script").is_none());
    assert_eq!(config["manifests"][0]["template"], "{{{SDC_PRIVATE_KEY}}}");
    let (manta, _) =
        sapi.config(&sapi.instance_uuid("prometheus0.manta").unwrap()).unwrap();
    assert_eq!(manta["metadata"]["is_manta_service"], true);
    assert!(manta["metadata"].get("dns_domain").is_none());
    assert!(sapi.edit_metadata(Kind::Service, ids::PROMETHEUS, |metadata| {
        metadata.insert("scrape_interval".to_owned(), json!(15));
    }));
    let (config, _) = sapi.config(&uuid).unwrap();
    assert_eq!(config["metadata"]["scrape_interval"], 15);
}
