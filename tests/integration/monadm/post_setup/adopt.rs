// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What sdcadm made is taken over.

use localdc::sapi::Kind;
use localdc::triton::{facts, ids};
use monitoring_agent::triton::Http;
use serde_json::{Value, json};

use super::{LIMIT, Site};

pub(super) const SERVICE: &str = "5e000000-0000-4000-8000-000000000001";
const OTHER: &str = "10000000-0000-4000-8000-000000000009";
const ZONE: &str = "d0000000-0000-4000-8000-000000000001";

/// As sdcadm leaves it: quota of the package, its own boot script, no entry in
/// `allow_transfer` yet; and as somebody has changed it since.
pub(super) async fn made_by_sdcadm(params: Value, metadata: Value) -> Site {
    let site = Site::new().await;
    let core = site.triton.datacenter.stock().images[ids::CORE_IMAGE].clone();
    let mut image = core;
    image["uuid"] = json!(ids::OLD_PROMETHEUS_IMAGE);
    image["name"] = json!("manta-prometheus");
    site.triton.datacenter.stock().put_image(image);
    let mut service = json!({
        "uuid": SERVICE, "name": "prometheus", "application_uuid": ids::SDC,
        "type": "vm",
        "params": {
            "billing_id": ids::SDC_2048,
            "image_uuid": ids::OLD_PROMETHEUS_IMAGE,
            "archive_on_delete": true, "delegate_dataset": true,
            "maintain_resolvers": true,
            "networks": [ids::ADMIN_NETWORK,
                {"name": "external", "primary": true}],
            "firewall_enabled": true,
            "tags": {"smartdc_role": "prometheus", "smartdc_type": "core"},
        },
        "metadata": {
            "SERVICE_NAME": "prometheus",
            "SERVICE_DOMAIN": "prometheus.dc1.triton.test",
            "user-script": "#!/bin/bash\nexit 0\n",
        },
    });
    for (field, change) in [("params", params), ("metadata", metadata)] {
        for (key, value) in change.as_object().unwrap() {
            service[field][key] = value.clone();
        }
    }
    site.triton.sapi.handle.put(Kind::Service, service);
    let instance = json!({"uuid": ZONE, "service_uuid": SERVICE,
        "params": {"alias": "prometheus0", "server_uuid": ids::HEADNODE}});
    let url = format!("{}/instances", site.triton.sapi.url());
    let http = Http::new(LIMIT, None);
    let made = http.post(&url, Some(&instance), 1 << 20).await.unwrap();
    assert_eq!(made.status, 200);
    site
}

#[tokio::test]
async fn what_is_in_shape_keeps_its_image_package_and_script() {
    let site = made_by_sdcadm(json!({}), json!({})).await;
    let before = site.triton.sapi.handle.get(Kind::Service, SERVICE);
    let done = site.set_up(&["prometheus"]).await;
    assert!(done.stdout.contains("from 25 to 100 GiB"), "{done:?}");
    assert_eq!(site.triton.sapi.handle.get(Kind::Service, SERVICE), before);
    let vm = site.vm("prometheus0");
    assert_eq!(vm.uuid, ZONE);
    assert_eq!(site.triton.datacenter.stock().zone(ZONE).quota_gib, 100);
    let address = vm.nics[0].ip.to_string();
    assert_eq!(site.cns()["allow_transfer"], json!([address]));
    site.is_settled(&["prometheus"]).await;

    // A partner is made as the service says, elsewhere.
    site.set_up(&["prometheus", "--replicas", "2"]).await;
    let partner = site.vm("prometheus1");
    assert_eq!(partner.server_uuid, ids::SERVER1);
    assert_eq!(partner.image_uuid, ids::OLD_PROMETHEUS_IMAGE);
    let zone = site.triton.datacenter.stock().zone(&partner.uuid);
    assert_eq!((zone.memory_mib, zone.quota_gib), (2048, 100));

    // Another image is for new zones; those that are there keep theirs.
    let words = ["prometheus", "--image", "latest"];
    let done = site.set_up(&words).await;
    assert!(done.stdout.contains("runs another image"), "{done:?}");
    assert_eq!(site.vm("prometheus0").image_uuid, ids::OLD_PROMETHEUS_IMAGE);
    let service = site.triton.sapi.handle.get(Kind::Service, SERVICE).unwrap();
    assert_eq!(service["params"]["image_uuid"], ids::PROMETHEUS_IMAGE);
    site.is_settled(&words).await;
}

#[tokio::test]
async fn drift_is_shown_and_mended_and_what_others_added_stays() {
    let tags = json!({"smartdc_role": "prometheus", "team": "blue"});
    let params = json!({"firewall_enabled": false, "tags": tags,
        "networks": [{"name": "admin"}], "archive_on_delete": null});
    let metadata = json!({"SERVICE_DOMAIN": "x.test", "scrape_interval": 30});
    let site = made_by_sdcadm(params, metadata).await;
    // Its zone was made so, and loses its way to CNS.
    site.triton.datacenter.update(|facts| {
        let vm = facts.vms.iter_mut().find(|vm| vm.uuid == ZONE).unwrap();
        assert_eq!(vm.nics.len(), 1);
        vm.nics[0].nic_tag = "other".to_owned();
        vm.nics[0].network_uuid = OTHER.to_owned();
        vm.nics[0].ip = [198, 51, 100, 7].into();
    });
    let shown = site.run(&["prometheus", "-n"]).await;
    assert_eq!(site.writes(), 1, "only shown");
    for line in [
        "switch the firewall of prometheus0 on",
        "add a NIC on admin to prometheus0",
        "add a NIC on external to prometheus0",
        "disturbs: what no rule lets in reaches prometheus0 no more",
        "disturbs: prometheus0 restarts",
        "note: prometheus0 has a NIC with tag \"other\"",
        "params firewall_enabled: false, will be true",
        "metadata SERVICE_DOMAIN: \"x.test\", will be \
         \"prometheus.dc1.triton.test\"",
    ] {
        assert!(shown.stdout.contains(line), "{shown:?}");
    }
    let asked = site.run(&["prometheus"]).await;
    assert!(asked.stderr.contains("say --yes"), "{asked:?}");
    site.set_up(&["prometheus"]).await;
    let zone = site.triton.datacenter.stock().zone(ZONE);
    assert!(zone.firewall_enabled);
    let vm = site.vm("prometheus0");
    let tags: Vec<&str> = vm.nics.iter().map(|nic| &*nic.nic_tag).collect();
    assert_eq!(tags, ["other", "admin", "external"], "{vm:?}");
    assert_eq!(zone.primary, Some(vm.nics[2].ip));
    let address = vm.nics[1].ip.to_string();
    assert_eq!(site.cns()["allow_transfer"], json!([address]));
    let service = site.triton.sapi.handle.get(Kind::Service, SERVICE).unwrap();
    let params = &service["params"];
    assert_eq!(params["firewall_enabled"], true);
    assert_eq!(params["tags"]["team"], "blue");
    assert_eq!(params["tags"]["smartdc_type"], "core");
    assert_eq!(
        params["networks"],
        json!([{"name": "admin"}, {"name": "external", "primary": true}])
    );
    let metadata = &service["metadata"];
    assert_eq!(metadata["SERVICE_DOMAIN"], "prometheus.dc1.triton.test");
    assert_eq!(metadata["scrape_interval"], 30);
    site.is_settled(&["prometheus"]).await;
}

#[tokio::test]
async fn mantas_prometheus_is_opened_to_core_zones_once() {
    let site = Site::new().await;
    site.triton.sapi.handle.put(
        Kind::Service,
        json!({"uuid": SERVICE, "name": "prometheus", "type": "vm",
            "application_uuid": ids::MANTA, "master": true}),
    );
    site.set_up(&["grafana"]).await;
    let rules = |owner: &str| {
        let stock = site.triton.datacenter.stock();
        let all = stock.rules.values();
        let own = all.filter(|rule| rule["owner_uuid"] == owner);
        own.map(|rule| rule["rule"].clone()).collect::<Vec<_>>()
    };
    let wanted = "FROM subnet 10.88.0.0/24 TO tag \"manta_role\" = \
                  \"prometheus\" ALLOW tcp (PORT 9090 AND PORT 9165 AND PORT \
                  10901 AND PORT 10902)";
    assert_eq!(rules(ids::POSEIDON), [json!(wanted)]);
    assert_eq!(rules(ids::ADMIN).len(), 2, "those of the set-up");
    site.is_settled(&["grafana"]).await;
    // Those of the set-up are gone. Manta's Prometheus transfers from CNS too,
    // and nobody else tells CNS of it, or that it is gone.
    site.triton.datacenter.stock().rules.clear();
    for (number, state) in [(1, "running"), (2, "destroyed")] {
        let mut vm = facts().vms[0].clone();
        vm.uuid = format!("d1000000-0000-4000-8000-00000000000{number}");
        vm.owner_uuid = ids::POSEIDON.to_owned();
        vm.state = state.to_owned();
        vm.tags = [("manta_role".to_owned(), json!("prometheus"))]
            .into_iter()
            .collect();
        vm.nics.truncate(1);
        vm.nics[0].ip = [10, 88, 0, 200 + number].into();
        site.triton.datacenter.update(|facts| facts.vms.push(vm));
    }
    let kept = ["192.0.2.7", "10.88.0.202"];
    site.triton.sapi.handle.edit_metadata(Kind::Service, ids::CNS, |all| {
        all.insert("allow_transfer".into(), json!(kept));
    });
    site.set_up(&["prometheus"]).await;
    let own = site.vm("prometheus0").nics[0].ip.to_string();
    let allowed = site.cns()["allow_transfer"].clone();
    assert_eq!(allowed, json!(["192.0.2.7", "10.88.0.201", own]));
    assert_eq!(rules(ids::ADMIN).len(), 2);
    assert_eq!(rules(ids::POSEIDON).len(), 1);
    site.is_settled(&["prometheus"]).await;
}
