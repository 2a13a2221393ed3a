// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Each odd behaviour of SAPI, over a real socket.

mod config;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::*;
use crate::http::Fault;
use crate::testing::{Reply, Running};

const APP: &str = "a0000000-0000-4000-8000-00000000000a";
const SVC: &str = "b0000000-0000-4000-8000-00000000000a";
const INST: &str = "c0000000-0000-4000-8000-00000000000a";
const HEADNODE: &str = "90000000-0000-4000-8000-000000000099";
const V2: (&str, &str) = ("accept-version", "~2");

async fn running() -> (Sapi, Running) {
    let sapi = Sapi::new(HEADNODE);
    let handle = sapi.clone();
    (handle, Running::start(|listener, stop| sapi.serve(listener, stop)).await)
}

/// An application, a service and an instance, made over HTTP.
async fn filled() -> (Sapi, Running) {
    let (sapi, server) = running().await;
    for (path, body) in [
        (
            "/applications",
            json!({"uuid": APP, "name": "sdc",
            "owner_uuid": "o", "metadata": {"k": "app", "nested": {"x": 1},
            "user-script": "secret", "n": null}}),
        ),
        (
            "/services",
            json!({"uuid": SVC, "name": "prometheus",
            "application_uuid": APP, "metadata": {"k": "svc"},
            "params": {"server_uuid": "s"}}),
        ),
        (
            "/instances",
            json!({"uuid": INST, "service_uuid": SVC,
            "metadata": {"own": true, "ZONE_UUID": "forged"}}),
        ),
    ] {
        let reply =
            server.send(Method::POST, path, &[V2], Some(body.clone())).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
        assert_eq!(reply.json()["uuid"], body["uuid"]);
    }
    (sapi, server)
}

async fn put(server: &Running, path: &str, body: Value) -> Reply {
    server.send(Method::PUT, path, &[V2], Some(body)).await
}

#[tokio::test]
async fn headers_and_negotiation() {
    let (_sapi, server) = filled().await;
    let reply = server
        .send(Method::GET, "/mode", &[("x-request-id", "mine")], None)
        .await;
    assert_eq!(reply.text, "\"proto\"");
    assert_eq!(reply.header("server"), Some("sapi/2.1.3"));
    assert_eq!(reply.header("x-request-id"), Some("mine"));
    assert!(reply.header("x-server-name").is_some());
    assert!(reply.header("date").is_some());
    assert!(reply.header("etag").is_none());

    let accept = |kind| [("accept", kind)];
    let get = |kind| {
        let headers = accept(kind);
        let server = &server;
        async move { server.send(Method::GET, "/mode", &headers, None).await }
    };
    assert_eq!(get("text/plain").await.text, "proto");
    let html = get("text/html").await;
    assert_eq!((html.status, html.text.as_str()), (406, ""));
    assert_eq!(get("text/html, */*").await.status, 200);

    for path in ["/nowhere", "/history", &format!("/configs/{INST}/")] {
        let reply = server.get(path).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (404, "ResourceNotFound")
        );
        assert!(reply.header("server").is_none());
        assert!(reply.header("x-request-id").is_none());
    }
    let path = format!("/configs/{INST}");
    let head = server.send(Method::HEAD, &path, &[], None).await;
    assert_eq!((head.status, head.header("allow")), (405, Some("GET")));
}

#[tokio::test]
async fn versions() {
    let (_sapi, server) = filled().await;
    let agent = json!({"uuid": "agent-service", "name": "cn-agent",
        "application_uuid": APP, "type": "agent"});
    server.send(Method::POST, "/services", &[], Some(agent)).await;

    let v1 = server.get("/services").await.json();
    assert_eq!(v1.as_array().unwrap().len(), 1);
    assert!(v1[0].get("type").is_none());
    let v2 = server.send(Method::GET, "/services", &[V2], None).await.json();
    assert_eq!(v2.as_array().unwrap().len(), 2);
    let explicit = server.get("/services?type=agent").await.json();
    assert_eq!(explicit[0]["name"], "cn-agent");
    assert!(explicit[0].get("type").is_none());

    let bad = [("accept-version", "~3")];
    let reply = server.send(Method::GET, "/services", &bad, None).await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "InvalidVersion"));
    assert!(reply.json()["message"].as_str().unwrap().contains("~3"));
}

#[tokio::test]
async fn odd_statuses() {
    let (_sapi, server) = filled().await;
    let cases = [
        (Method::GET, "/services/zzz", None, 404, "ResourceNotFound"),
        (Method::GET, "/configs/zzz", None, 404, "ResourceNotFound"),
        (Method::DELETE, "/instances/zzz", None, 404, "ResourceNotFound"),
        (Method::DELETE, "/services/zzz", None, 404, ""),
        (
            Method::POST,
            "/applications",
            Some(json!({"name": "x"})),
            409,
            "MissingParameter",
        ),
        (
            Method::POST,
            "/services",
            Some(json!({"name": "x", "application_uuid": "zzz"})),
            404,
            "ResourceNotFound",
        ),
        (
            Method::POST,
            "/services",
            Some(json!({"name": "x",
            "application_uuid": APP, "type": "tank"})),
            500,
            "",
        ),
        (
            Method::POST,
            "/manifests",
            Some(json!({"name": "x", "path": "/x",
            "template": "t", "version": "one"})),
            409,
            "InvalidArgument",
        ),
        (Method::PUT, "/services/zzz", Some(json!({})), 500, ""),
        (
            Method::PUT,
            "/manifests/zzz",
            Some(json!({})),
            405,
            "MethodNotAllowedError",
        ),
        (Method::POST, "/mode?mode=half", None, 409, "InvalidArgument"),
    ];
    for (method, path, body, status, code) in cases {
        let reply = server.send(method.clone(), path, &[], body).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (status, code),
            "{method} {path}: {}",
            reply.text
        );
    }
    let gone = server.send(Method::DELETE, "/services/z", &[], None).await;
    assert_eq!(gone.text, "");
    assert_eq!(gone.header("transfer-encoding"), Some("chunked"));
    let wrong =
        put(&server, &format!("/services/{SVC}"), json!({"action": "set"}))
            .await;
    assert_eq!(wrong.status, 409);
    assert_eq!(wrong.json()["message"], "");

    let malformed = server
        .client
        .post(server.url("/services"))
        .header("content-type", "application/json")
        .body("{")
        .send()
        .await
        .unwrap();
    assert_eq!(malformed.status(), 400);
    // Unknown filters filter nothing; an empty list is 200.
    let all = server.get("/instances?alias=foo").await.json();
    assert_eq!(all.as_array().unwrap().len(), 1);
    let none = server.get("/applications?name=manta").await;
    assert_eq!((none.status, none.text.as_str()), (200, "[]"));
}

#[tokio::test]
async fn put_without_the_content_type_changes_nothing() {
    let (_sapi, server) = filled().await;
    let path = format!("/services/{SVC}");
    let before = server.get(&path).await.text;
    let reply = server
        .client
        .put(server.url(&path))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(r#"{"metadata":{"k":"new"}}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(server.get(&path).await.text, before);
}

#[tokio::test]
async fn put_actions_are_shallow() {
    let (_sapi, server) = filled().await;
    let path = format!("/applications/{APP}");
    let metadata = |reply: Reply| reply.json()["metadata"].clone();
    let updated = metadata(
        put(
            &server,
            &path,
            json!({"metadata": {"nested": {"y": 2}, "k": null}}),
        )
        .await,
    );
    assert_eq!(updated["nested"], json!({"y": 2}));
    assert_eq!(updated.get("k"), Some(&Value::Null));
    let deleted = metadata(put(&server, &path,
        json!({"action": "DELETE", "metadata": {"k": 1, "nested": {"y": 1}}}))
        .await);
    assert!(deleted.get("k").is_none() && deleted.get("nested").is_none());
    // The action may stand in the query as well.
    let replaced = metadata(
        put(
            &server,
            &format!("{path}?action=replace"),
            json!({"metadata": {"only": 1}, "uuid": "other"}),
        )
        .await,
    );
    assert_eq!(replaced, json!({"only": 1}));
    let mangled =
        metadata(put(&server, &path, json!({"metadata": "ab"})).await);
    assert_eq!(mangled, json!({"only": 1, "0": "a", "1": "b"}));
    let owner = put(&server, &path, json!({"owner_uuid": "new"})).await;
    assert_eq!(owner.json()["owner_uuid"], "new");
}

#[tokio::test]
async fn schemas_bind_applications_only() {
    let (_sapi, server) = filled().await;
    let path = format!("/applications/{APP}");
    let schema = json!({"type": "object",
        "properties": {"k": {"type": "string"}}});
    let set = put(&server, &path, json!({"metadata_schema": schema})).await;
    assert_eq!(set.status, 200);
    let refused = put(&server, &path, json!({"metadata": {"k": 5}})).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (409, "SchemaValidationError")
    );
    assert!(refused.text.contains("metadata.k"));
    assert_eq!(server.get(&path).await.json()["metadata"]["k"], "app");
    // New schema with new metadata: checked against each other.
    let both = put(
        &server,
        &path,
        json!({"metadata": {"k": 5},
        "metadata_schema": {"properties": {"k": {"type": "number"}}}}),
    )
    .await;
    assert_eq!(both.status, 200);
    let free = put(
        &server,
        &format!("/services/{SVC}"),
        json!({"metadata": {"k": [1]}}),
    )
    .await;
    assert_eq!(free.status, 200);
}

#[tokio::test]
async fn ping_mode_level_payload_upgrade() {
    let (_sapi, server) = filled().await;
    assert_eq!(
        server.get("/ping").await.json(),
        json!({"mode": "proto",
        "storType": "LocalStorage", "storAvailable": true})
    );
    let post = |path: &'static str, body| {
        let server = &server;
        async move { server.send(Method::POST, path, &[], body).await.status }
    };
    assert_eq!(post("/mode?mode=full", None).await, 204);
    assert_eq!(server.get("/mode").await.text, "\"full\"");
    let ping = server.get("/ping").await.json();
    assert_eq!(ping["storType"], "MorayLocalStorage");
    assert_eq!(post("/loglevel", Some(json!({"level": "debug"}))).await, 204);
    assert_eq!(server.get("/loglevel").await.json(), json!({"level": 20}));
    assert_eq!(post("/cache", None).await, 204);

    let payload =
        server.get(&format!("/instances/{INST}/payload")).await.json();
    assert_eq!(payload["customer_metadata"], json!({"user-script": "secret"}));
    assert_eq!(payload["brand"], "joyent-minimal");
    assert_eq!(payload["server_uuid"], "s");
    let path = format!("/instances/{INST}/upgrade");
    assert_eq!(put(&server, &path, json!({})).await.status, 409);
    let done = put(&server, &path, json!({"image_uuid": "i"})).await;
    assert_eq!((done.status, done.json()["uuid"].as_str()), (200, Some(INST)));
    let job = server
        .send(
            Method::POST,
            "/instances?async=true",
            &[],
            Some(json!({"service_uuid": SVC})),
        )
        .await
        .json();
    let made = format!("/instances/{}", job["uuid"].as_str().unwrap());
    assert!(job["job_uuid"].is_string());
    assert!(server.get(&made).await.json().get("job_uuid").is_none());
}

#[tokio::test]
async fn faults() {
    let (sapi, server) = filled().await;
    let url = server.url("/mode");
    let within =
        |limit| server.client.get(&url).timeout(Duration::from_millis(limit));
    sapi.front().set_fault(Fault::Hang);
    assert!(within(200).send().await.unwrap_err().is_timeout());
    assert_eq!(sapi.front().requests().last().unwrap().status, None);
    sapi.front().set_fault(Fault::HangBody);
    let headers = within(3_000).send().await.unwrap();
    assert_eq!(headers.status(), 200);
    assert!(headers.bytes().await.is_err());
    sapi.front().set_fault(Fault::Close);
    assert!(!within(20_000).send().await.unwrap_err().is_timeout());
    sapi.front().set_fault(Fault::Status(503));
    assert_eq!(server.get("/mode").await.status, 503);
    sapi.front().set_fault(Fault::Garbage);
    assert!(server.get("/mode").await.json().is_null());
    sapi.front().set_fault(Fault::HugeBody(3_000_000));
    let huge = server.get("/mode").await;
    assert_eq!(huge.text.len(), 3_000_000 + 36);
    assert!(huge.json()["metadata"]["x"].is_string());
    sapi.front().set_fault(Fault::Trickle(Duration::from_millis(2)));
    assert_eq!(server.get("/mode").await.text, "\"proto\"");
    sapi.front().set_fault(Fault::Slow(Duration::from_millis(2)));
    assert_eq!(server.get("/mode").await.text, "\"proto\"");
    sapi.front().clear_faults();
    assert_eq!(server.get("/mode").await.status, 200);
    let total = sapi.front().total();
    sapi.front().wait_for_total(total).await;
}

#[tokio::test]
async fn without_its_store_sapi_reads_what_it_remembers_of_triton() {
    let (sapi, server) = filled().await;
    let manta = "a0000000-0000-4000-8000-00000000000b";
    sapi.put(Kind::Application, json!({"uuid": manta, "name": "manta"}));
    sapi.set_store_down(true);
    // What comes meanwhile is not seen.
    let late = "c0000000-0000-4000-8000-00000000000b";
    sapi.put(Kind::Instance, json!({"uuid": late, "service_uuid": SVC}));
    let ping = server.get("/ping").await;
    assert_eq!(
        (ping.status, &ping.json()["storAvailable"]),
        (500, &json!(false))
    );
    let names = async |path: &str| {
        let reply = server.send(Method::GET, path, &[V2], None).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json().as_array().unwrap().len()
    };
    assert_eq!(names("/applications").await, 1);
    assert_eq!(names("/applications?name=manta").await, 0);
    let instances = format!("/instances?service_uuid={SVC}");
    assert_eq!(names(&instances).await, 1);
    assert_eq!(server.get(&format!("/configs/{INST}")).await.status, 200);
    let reply = put(&server, &format!("/instances/{INST}"), json!({})).await;
    assert_eq!(reply.status, 500);
    sapi.set_store_down(false);
    assert_eq!(names("/applications").await, 2);
    assert_eq!(names(&instances).await, 2);
    assert_eq!(server.get("/ping").await.status, 200);
}
