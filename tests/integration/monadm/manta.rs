// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verbs manta, over a Manta on two servers.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use localdc::datacenter::Vm;
use localdc::sapi::Kind;
use localdc::triton::{Triton, facts, ids};
use serde_json::{Value, json};

use super::{Ended, monadm};

/// Image `mantav2-prometheus`, here.
const NEW: &str = ids::PROMETHEUS_IMAGE;
const OLD: &str = ids::OLD_PROMETHEUS_IMAGE;
const MORAY: &str = "11111111-aaaa-4bbb-8ccc-000000000003";
const NAMESERVICE: &str = "11111111-aaaa-4bbb-8ccc-000000000001";
const LOADBALANCER: &str = "11111111-aaaa-4bbb-8ccc-000000000002";

struct Site {
    triton: Triton,
    folder: tempfile::TempDir,
    count: usize,
}

impl Site {
    /// Two shards of moray, a nameservice, a loadbalancer; and an instance in
    /// another datacenter.
    async fn new() -> Self {
        let triton = Triton::start(facts()).await.unwrap();
        {
            let mut stock = triton.datacenter.stock();
            for image in [OLD, NEW] {
                let mut image = stock.updates[image].clone();
                let fields = image.as_object_mut().unwrap();
                fields.retain(|key, _| key != "origin" && key != "channels");
                stock.put_image(image);
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let mut site = Self { triton, folder, count: 0 };
        let (first, second) = (ids::HEADNODE, ids::SERVER1);
        site.zone("nameservice", NAMESERVICE, first, json!({}));
        for (server, shard) in [(first, json!("1")), (second, json!(2))] {
            site.zone("moray", MORAY, server, json!({"SHARD": shard}));
            site.zone("moray", MORAY, server, json!({"SHARD": shard}));
        }
        site.zone("loadbalancer", LOADBALANCER, second, json!({}));
        site.service("prometheus");
        let far = json!({"uuid": uuid(0xd1, 99), "type": "vm",
            "service_uuid": service("loadbalancer"),
            "metadata": {"DATACENTER": "dc2"}});
        site.triton.sapi.handle.put(Kind::Instance, far);
        site
    }

    fn service(&self, name: &str) {
        let service = json!({"uuid": service(name), "name": name, "type": "vm",
            "application_uuid": ids::MANTA, "master": true});
        self.triton.sapi.handle.put(Kind::Service, service);
    }

    fn zone(&mut self, name: &str, image: &str, server: &str, metadata: Value) {
        self.service(name);
        self.count += 1;
        let uuid = uuid(0xd1, self.count);
        let instance = json!({"uuid": uuid, "service_uuid": service(name),
            "type": "vm", "master": true, "metadata": metadata});
        self.triton.sapi.handle.put(Kind::Instance, instance);
        self.triton.datacenter.update(|facts| {
            let like = facts.vms[0].clone();
            facts.vms.push(Vm {
                uuid,
                alias: format!("{name}.{}", self.count),
                owner_uuid: ids::POSEIDON.to_owned(),
                server_uuid: server.to_owned(),
                image_uuid: image.to_owned(),
                nics: vec![],
                ..like
            });
        });
    }

    async fn run(&self, words: &[&str]) -> Ended {
        let words = [&["manta"], words].concat();
        monadm(&self.triton.sapi.url(), &words).await
    }

    async fn json(&self, words: &[&str]) -> Value {
        let ended = self.run(words).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        serde_json::from_str(&ended.stdout).unwrap()
    }

    fn file(&self, text: &Value) -> String {
        let path = self.folder.path().join("layout.json");
        std::fs::write(&path, text.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    async fn plan(&self, text: &Value, more: &[&str]) -> Ended {
        let file = self.file(text);
        self.run(&[&["plan", &file], more].concat()).await
    }
}

fn uuid(kind: u8, number: usize) -> String {
    format!("{kind:02x}000000-0000-4000-8000-{number:012x}")
}

fn service(name: &str) -> String {
    let number = name.bytes().map(usize::from).sum();
    uuid(0x5e, number)
}

#[tokio::test]
async fn ours_are_added_and_all_else_is_kept() {
    let mut site = Site::new().await;
    let (first, second) = (ids::HEADNODE, ids::SERVER1);
    let deployed = json!({
        first: {
            "moray": {"1": {MORAY: 2}},
            "nameservice": {NAMESERVICE: 1},
        },
        second: {
            "loadbalancer": {LOADBALANCER: 1},
            "moray": {"2": {MORAY: 2}},
        },
    });
    assert_eq!(site.json(&["show"]).await, deployed);
    let again = site.plan(&deployed, &["--all"]).await;
    assert_eq!((again.code, &*again.stdout), (Some(0), "nothing to do\n"));

    // One on each server, of the newest image that is here.
    let file = site.json(&["genconfig"]).await;
    let mut wanted = deployed.clone();
    for server in [first, second] {
        wanted[server]["prometheus"] = json!({NEW: 1});
    }
    assert_eq!(file, wanted);
    let planned = site.plan(&file, &["--all"]).await;
    assert_eq!(planned.code, Some(1), "{planned:?}");
    let lines = [first, second].map(|server| {
        format!("- provision 1 prometheus on {server}: image {NEW}")
    });
    assert_eq!(planned.flat(), lines.join(" "));

    // Once they are there, nothing is to do; another image reprovisions.
    for server in [first, second] {
        site.zone("prometheus", OLD, server, json!({}));
    }
    let file = site.json(&["genconfig"]).await;
    let planned = site.plan(&file, &[]).await;
    assert_eq!((planned.code, &*planned.stdout), (Some(0), "nothing to do\n"));
    let file = site.json(&["genconfig", "--image", NEW]).await;
    let planned = site.plan(&file, &["--all", "--json"]).await;
    let planned: Value = serde_json::from_str(&planned.stdout).unwrap();
    let changes = planned["changes"].as_array().unwrap();
    let what: Vec<_> = changes.iter().map(|c| (&c["do"], &c["to"])).collect();
    let both = (&json!("reprovision"), &json!(NEW));
    assert_eq!(what, [both, both]);
}

#[tokio::test]
async fn nothing_is_left_out_that_nobody_named() {
    let site = Site::new().await;
    let whole = site.json(&["show"]).await;
    let mut part = whole.clone();
    let services = part[ids::SERVER1].as_object_mut().unwrap();
    services.shift_remove("loadbalancer");
    let file = site.file(&part);
    let refused = site.run(&["genconfig", "--from", &file]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(refused.stdout, "");
    let said = "it would deprovision 1 loadbalancer on";
    assert!(refused.stderr.contains(said), "{refused:?}");
    let words = ["genconfig", "--from", &file, "--remove", "loadbalancer"];
    let file = site.json(&words).await;
    assert_eq!(file[ids::SERVER1]["loadbalancer"], Value::Null);
    assert_eq!(file[ids::SERVER1]["prometheus"], json!({NEW: 1}));
    let direct = site.json(&["genconfig", "--remove", "loadbalancer"]).await;
    assert_eq!(direct, file);

    let planned = site.plan(&part, &[]).await;
    let said = "fault: the file also destroys zones of other services";
    assert!(planned.stdout.starts_with(said), "{planned:?}");

    // What else it does is no nothing, unless it is shown.
    let mut more = whole.clone();
    more[ids::SERVER1]["loadbalancer"] = json!({LOADBALANCER: 2});
    let planned = site.plan(&more, &[]).await;
    let said = "fault: the file also makes or reprovisions zones";
    assert!(planned.stdout.starts_with(said), "{planned:?}");
    assert_eq!(planned.code, Some(1), "{planned:?}");
    let planned = site.plan(&more, &["--all"]).await;
    assert!(planned.stdout.starts_with("- provision 1"), "{planned:?}");
    assert!(!planned.stdout.contains("fault"), "{planned:?}");

    // A SAPI without its store has nothing of Manta.
    let left = site.file(&whole);
    site.triton.sapi.handle.set_store_down(true);
    for words in [&["show"][..], &["genconfig"], &["plan", &left]] {
        let ended = site.run(words).await;
        assert!(ended.stderr.contains("without its store"), "{ended:?}");
        assert_eq!((ended.code, &*ended.stdout), (Some(1), ""), "{ended:?}");
    }
    site.triton.sapi.handle.set_store_down(false);

    // The file of a lab, where there are two servers.
    let lab = json!({"<any>": {"prometheus": {NEW: 1}}});
    let file = site.file(&lab);
    for words in [&["plan", &file][..], &["genconfig", "--from", &file]] {
        let ended = site.run(words).await;
        assert!(ended.stderr.contains("wanted servers by uuid"), "{ended:?}");
    }
    for (odd, said) in [
        (json!({"<any>": {}, ids::SERVER1: {}}), "<any>: saw 2 servers"),
        (json!({"x": {}}), "server \"x\": wanted a server's uuid"),
    ] {
        let ended = site.plan(&odd, &[]).await;
        assert!(ended.stderr.contains(said), "{ended:?}");
        assert_eq!(ended.code, Some(1));
    }
}

#[tokio::test]
async fn a_lab_has_one_server_and_any_stands_for_it() {
    let site = Site::new().await;
    site.triton.datacenter.update(|facts| {
        facts.vms.retain(|vm| vm.server_uuid == ids::HEADNODE);
    });
    let ended = site.run(&["show"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("no zone of VMAPI's"), "{ended:?}");
    let lab = json!({"<any>": {
        "moray": {"1": {MORAY: 2}},
        "nameservice": {NAMESERVICE: 1},
    }});
    let planned = site.plan(&lab, &["--all"]).await;
    assert_eq!((planned.code, &*planned.stdout), (Some(0), "nothing to do\n"));
    let file = site.file(&lab);
    let ended = site.run(&["genconfig", "--from", &file]).await;
    // Some were left out, as it says.
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let file: Value = serde_json::from_str(&ended.stdout).unwrap();
    let mut wanted = lab.clone();
    wanted["<any>"]["prometheus"] = json!({NEW: 2});
    assert_eq!(file, wanted);
}

#[tokio::test]
async fn images_and_services_that_manta_adm_would_refuse_are_said() {
    let site = Site::new().await;
    let mut file = site.json(&["show"]).await;
    file[ids::SERVER1]["prometheus"] = json!({MORAY: 1, ids::CORE_IMAGE: 1});
    let planned = site.plan(&file, &[]).await;
    assert_eq!(planned.code, Some(1), "{planned:?}");
    for said in [
        format!("image {MORAY}: saw none in the datacenter's IMGAPI"),
        format!("image {}: saw name \"core\", wanted", ids::CORE_IMAGE),
    ] {
        assert!(planned.flat().contains(&said), "{planned:?}");
    }
    site.triton.sapi.handle.remove(Kind::Service, &service("prometheus"));
    let ended = site.run(&["genconfig"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("saw no service prometheus"), "{ended:?}");

    let ended = site.run(&["service"]).await;
    assert!(ended.stderr.contains("metadata SIZE: saw none"), "{ended:?}");
    site.triton.sapi.handle.edit_metadata(
        Kind::Application,
        ids::MANTA,
        |all| drop(all.insert("SIZE".into(), json!("coal"))),
    );
    let coal = site.json(&["service"]).await;
    assert_eq!(coal, site.json(&["service", "--size", "coal"]).await);
    let all = [coal, site.json(&["service", "--size", "lab"]).await];
    let all =
        [&all[..], &[site.json(&["service", "--size", "production"]).await]];
    insta::assert_json_snapshot!("service_by_size", all.concat());
}
