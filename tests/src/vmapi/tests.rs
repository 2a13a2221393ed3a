// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! VMAPI over a real socket.

use reqwest::Method;
use serde_json::json;

use super::*;
use crate::testing::{ADMIN, ALICE, Reply, Running, VMAPI0, WEB, facts};

async fn running() -> (Arc<Datacenter>, Running) {
    let datacenter = Arc::new(Datacenter::new(facts()));
    let vmapi = Vmapi::new(datacenter.clone());
    let server = Running::start(|l, stop| vmapi.serve(l, stop)).await;
    (datacenter, server)
}

fn aliases(reply: &Reply) -> Vec<String> {
    let list = reply.json();
    let list = list.as_array().unwrap();
    list.iter().map(|vm| vm["alias"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn lists() {
    let (datacenter, server) = running().await;
    let get = |query: &str| {
        let path = format!("/vms?{query}");
        let server = &server;
        async move { server.get(&path).await }
    };
    assert_eq!(server.get("/ping").await.status, 200);
    assert_eq!(aliases(&get("").await), ["web", "nat0", "vmapi0"]);
    let owned = get(&format!("owner_uuid={ADMIN}")).await;
    assert_eq!(aliases(&owned), ["nat0", "vmapi0"]);
    assert_eq!(aliases(&get("tag.smartdc_role=nat").await), ["nat0"]);
    assert_eq!(aliases(&get("tag.triton.cmon.groups=*").await), ["vmapi0"]);
    assert!(aliases(&get("tag.triton.cmon.groups=a").await).is_empty());
    let page = get("limit=1&alias=vmapi0&fields=uuid,alias").await;
    assert_eq!(page.json(), json!([{"uuid": VMAPI0, "alias": "vmapi0"}]));
    let marker = format!("marker=%7B%22uuid%22%3A%22{WEB}%22%7D&limit=1");
    let page = get(&marker).await;
    assert_eq!(aliases(&page), ["nat0"]);
    assert_eq!(page.header("x-joyent-resource-count"), Some("3"));
    assert_eq!(get("limit=0").await.code(), "ValidationFailed");
    assert_eq!(get("marker=x&offset=1").await.status, 409);
    datacenter.update(|facts| facts.vms[2].state = "destroyed".to_owned());
    assert_eq!(aliases(&get("state=active").await), ["nat0", "vmapi0"]);
    assert_eq!(aliases(&get("state=destroyed").await), ["web"]);
}

#[tokio::test]
async fn creates_and_destroys() {
    let (datacenter, server) = running().await;
    let mut changed = datacenter.subscribe();
    let body = json!({"owner_uuid": ADMIN, "alias": "new0",
        "networks": [{"name": "admin"}, "external"],
        "tags": {"smartdc_role": "new"}});
    let made = server.send(Method::POST, "/vms", &[], Some(body)).await;
    assert_eq!(made.status, 202);
    assert!(changed.has_changed().unwrap());
    changed.mark_unchanged();
    let uuid = made.json()["vm_uuid"].as_str().unwrap().to_owned();
    let vm = datacenter.facts().vm(&uuid).cloned().unwrap();
    assert_eq!((vm.alias.as_str(), vm.state.as_str()), ("new0", "running"));
    assert_eq!(vm.nics[0].ip.to_string(), "192.0.2.21");
    assert_eq!(vm.nics[1].nic_tag, "external");

    let job = made.json()["job_uuid"].as_str().unwrap().to_owned();
    for path in [format!("/jobs/{job}"), format!("/jobs/{job}/wait")] {
        assert_eq!(server.get(&path).await.json()["execution"], "succeeded");
    }
    let path = format!("/vms/{uuid}");
    let act = |query: &'static str, body| {
        let path = format!("{path}{query}");
        let server = &server;
        async move { server.send(Method::POST, &path, &[], body).await.status }
    };
    assert_eq!(act("?action=stop", None).await, 202);
    assert_eq!(datacenter.facts().vm(&uuid).unwrap().state, "stopped");
    assert_eq!(act("?action=reprovision", None).await, 409);
    assert_eq!(act("?action=dance", None).await, 409);
    let gone = server.send(Method::DELETE, &path, &[], None).await;
    assert_eq!(gone.status, 202);
    assert_eq!(server.get(&path).await.json()["state"], "destroyed");

    changed.mark_unchanged();
    for body in [
        json!({"alias": "x"}),
        json!({"owner_uuid": "nobody"}),
        json!({"owner_uuid": ADMIN, "uuid": "x"}),
        json!({"owner_uuid": ADMIN, "uuid": VMAPI0}),
        json!({"owner_uuid": ADMIN, "tags": {"triton.x": "y"}}),
    ] {
        let refused =
            server.send(Method::POST, "/vms", &[], Some(body.clone())).await;
        assert_eq!(refused.status, 409, "{body}");
        assert_eq!(refused.code(), "ValidationFailed");
    }
    assert!(!changed.has_changed().unwrap());
}

#[tokio::test]
async fn tags() {
    let (datacenter, server) = running().await;
    let path = format!("/vms/{VMAPI0}/tags");
    let send = |method: Method, more: &'static str, body| {
        let path = format!("{path}{more}");
        let server = &server;
        async move { server.send(method, &path, &[], body).await }
    };
    let add = json!({"triton.cmon.groups": "shard1"});
    assert_eq!(send(Method::POST, "", Some(add)).await.status, 202);
    let now = send(Method::GET, "", None).await.json();
    assert_eq!(
        now,
        json!({"smartdc_role": "vmapi",
        "triton.cmon.groups": "shard1"})
    );
    let one = send(Method::GET, "/triton.cmon.groups", None).await;
    assert_eq!(one.text, "\"shard1\"");

    let mut changed = datacenter.subscribe();
    changed.mark_unchanged();
    let bad = json!({"triton.cmon.groups": "a b"});
    let refused = send(Method::POST, "", Some(bad)).await;
    assert_eq!(refused.status, 409);
    assert_eq!(refused.json()["errors"][0]["field"], "tags");
    assert!(!changed.has_changed().unwrap());

    let other = format!("?owner_uuid={ALICE}");
    let wrong = server
        .send(Method::PUT, &format!("{path}{other}"), &[], Some(json!({})))
        .await;
    assert_eq!(wrong.status, 404);
    let whole = json!({"only": true});
    assert_eq!(send(Method::PUT, "", Some(whole.clone())).await.status, 202);
    assert_eq!(send(Method::GET, "", None).await.json(), whole);
    assert_eq!(send(Method::DELETE, "/gone", None).await.status, 404);
    assert_eq!(send(Method::DELETE, "/only", None).await.status, 202);
    assert_eq!(send(Method::DELETE, "", None).await.status, 202);
    assert_eq!(send(Method::GET, "", None).await.json(), json!({}));
    let unknown = format!("/vms/{}/tags", WEB.replace('b', "d"));
    assert_eq!(server.get(&unknown).await.status, 404);
}
