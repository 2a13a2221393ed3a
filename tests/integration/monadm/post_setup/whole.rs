// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! From nothing to a pair of Prometheus, Thanos, Grafana and Alertmanager.

use localdc::datacenter::Fate;
use localdc::sapi::Kind;
use localdc::triton::ids;
use serde_json::{Value, json};

use super::{PAIR, Site};

#[tokio::test]
async fn from_nothing_to_a_pair_with_thanos_grafana_and_alertmanager() {
    let site = Site::new().await;
    site.triton.datacenter.stock().job_polls = 2;

    // First it is only shown.
    let plan = site.run(&[PAIR, &["--dry-run"]].concat()).await;
    assert_eq!(plan.code, Some(1), "{plan:?}");
    assert!(plan.stdout.contains("import image minimal-64"), "{plan:?}");
    let json = site.run(&[PAIR, &["-n", "--json"]].concat()).await;
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let steps = json["steps"].as_array().unwrap();
    let kinds: Vec<_> =
        steps.iter().map(|step| step["step"].as_str().unwrap()).collect();
    let wanted = [
        "import-image",
        "import-image",
        "import-image",
        "create-service",
        "create-instance",
        "create-instance",
        "allow-transfer",
        "await",
        "await",
    ];
    assert_eq!(kinds, wanted);
    // CNS restarts: nobody is there to be asked.
    let asked = site.run(PAIR).await;
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(asked.stderr.contains("say --yes"), "{asked:?}");
    assert_eq!(site.writes(), 0, "written unasked");

    let done = site.set_up(PAIR).await;
    assert!(done.stderr.contains("[9/9] see prometheus1 well"), "{done:?}");
    let services = site.list("services?name=prometheus").await;
    let [service] = &services[..] else { panic!("{services:?}") };
    let script = include_str!("../../../../boot/user-script.sh");
    assert_eq!(
        service["params"],
        json!({
            "billing_id": ids::SDC_1024,
            "image_uuid": ids::PROMETHEUS_IMAGE,
            "archive_on_delete": true,
            "delegate_dataset": true,
            "maintain_resolvers": true,
            "networks": [
                {"name": "admin"}, {"name": "external", "primary": true}
            ],
            "firewall_enabled": true,
            "tags": {"smartdc_role": "prometheus", "smartdc_type": "core"},
        })
    );
    assert_eq!(
        service["metadata"],
        json!({
            "SERVICE_NAME": "prometheus",
            "SERVICE_DOMAIN": "prometheus.dc1.triton.test",
            "user-script": script,
        })
    );
    let pair = [site.vm("prometheus0"), site.vm("prometheus1")];
    let servers = pair.clone().map(|vm| vm.server_uuid);
    assert_eq!(servers, [ids::HEADNODE, ids::SERVER1]);
    for vm in &pair {
        let zone = site.triton.datacenter.stock().zone(&vm.uuid);
        assert_eq!(zone.quota_gib, 100, "the trap of 25");
        assert!(zone.firewall_enabled && zone.data.is_some());
        assert_eq!(zone.primary, Some(vm.nics[1].ip));
        assert_eq!(vm.nics[1].nic_tag, "external");
    }
    let admin = pair.map(|vm| vm.nics[0].ip.to_string());
    assert_eq!(site.cns()["allow_transfer"], json!(admin));

    for (name, nics) in [("thanos", 2), ("grafana", 3)] {
        site.set_up(&[name]).await;
        let vm = site.vm(&format!("{name}0"));
        assert_eq!(vm.nics.len(), nics, "{vm:?}");
        assert_eq!(vm.nics[nics - 1].nic_tag, "manta");
    }
    // Nothing is disturbed, so nobody is asked.
    let told = site.run(&["alertmanager"]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.stdout.contains("alertmanager_config"), "{told:?}");

    let before = site.everything().await;
    for words in [PAIR, &["prometheus"], &["thanos"], &["grafana"]] {
        site.is_settled(words).await;
    }
    site.is_settled(&["alertmanager"]).await;
    assert_eq!(site.everything().await, before);
    // Also without the journal.
    let journal = format!("{}.json", ids::SDC);
    std::fs::remove_file(site.state.path().join(journal)).unwrap();
    site.is_settled(PAIR).await;
}

#[tokio::test]
async fn shards_are_pairs_and_prometheus_that_scraped_all_joins_one() {
    let site = Site::new().await;
    site.set_up(&["prometheus"]).await;
    let plan = site.run(&["prometheus", "--shards", "2", "-n"]).await;
    assert!(plan.stdout.contains("scrapes its shard alone"), "{plan:?}");
    site.set_up(&["prometheus", "--shards", "2"]).await;
    let groups = |alias: &str| {
        let uuid = site.vm(alias).uuid;
        let (config, _) = site.triton.sapi.handle.config(&uuid).unwrap();
        let all = &config["metadata"];
        (all["groups"].clone(), all["shard"].clone())
    };
    for (number, shard) in [(0, 0), (1, 0), (2, 1), (3, 1)] {
        let wanted =
            (json!([format!("shard-{shard}")]), json!(shard.to_string()));
        assert_eq!(groups(&format!("prometheus{number}")), wanted);
    }
    for [one, other] in
        [["prometheus0", "prometheus1"], ["prometheus2", "prometheus3"]]
    {
        assert_ne!(site.vm(one).server_uuid, site.vm(other).server_uuid);
    }
    site.is_settled(&["prometheus", "--shards", "2"]).await;
    site.is_settled(&["prometheus"]).await;
    let sapi = site.triton.sapi.url();
    let status = super::super::monadm(&sapi, &["shard", "status"]).await;
    assert!(status.stdout.contains("shard-1     2"), "{status:?}");
}

/// Who scrapes everything goes on until the others are there.
#[tokio::test]
async fn shards_that_cannot_be_made_blind_nobody() {
    let site = Site::new().await;
    site.set_up(&["prometheus"]).await;
    let uuid = site.vm("prometheus0").uuid;
    let fate = Fate::Fails("no room".into());
    site.triton.datacenter.stock().next_job("provision", fate);
    let words = ["prometheus", "--shards", "2"];
    let ended = site.yes(&words).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("give prometheus0 shard 0"), "{ended:?}");
    let groups = || {
        let (config, _) = site.triton.sapi.handle.config(&uuid).unwrap();
        config["metadata"]["groups"].clone()
    };
    assert_eq!(groups(), Value::Null);
    // Nor does one of the new ones that is not well.
    site.doors.set_unwell("prometheus3", true);
    let ended = site.yes(&[&words[..], &["--wait", "1"]].concat()).await;
    assert!(ended.stderr.contains("prometheus3"), "{ended:?}");
    assert_eq!(groups(), Value::Null);
    site.doors.set_unwell("prometheus3", false);
    site.set_up(&words).await;
    assert_eq!(groups(), json!(["shard-0"]));
    let sapi = site.triton.sapi.url();
    let status = super::super::monadm(&sapi, &["shard", "status"]).await;
    for shard in ["shard-0     2", "shard-1     2"] {
        assert!(status.stdout.contains(shard), "{status:?}");
    }
    site.is_settled(&words).await;
}

#[tokio::test]
async fn who_is_gone_may_transfer_no_more_and_others_may() {
    let site = Site::new().await;
    site.triton.sapi.handle.edit_metadata(
        localdc::sapi::Kind::Service,
        ids::CNS,
        |all| {
            all.insert("allow_transfer".into(), json!(["198.51.100.0/24"]));
        },
    );
    site.set_up(PAIR).await;
    let gone = site.vm("prometheus1");
    site.triton.sapi.handle.remove(localdc::sapi::Kind::Instance, &gone.uuid);
    site.triton.datacenter.update(|facts| {
        let vm = facts.vms.iter_mut().find(|vm| vm.uuid == gone.uuid);
        vm.unwrap().state = "destroyed".to_owned();
    });
    site.set_up(&["prometheus"]).await;
    let left = site.vm("prometheus0").nics[0].ip.to_string();
    assert_eq!(site.cns()["allow_transfer"], json!(["198.51.100.0/24", left]));
    site.is_settled(&["prometheus"]).await;
}

#[tokio::test]
async fn an_address_that_mantas_prometheus_has_by_now_is_not_gone() {
    let site = Site::new().await;
    site.set_up(PAIR).await;
    let service = json!({"uuid": "5e000000-0000-4000-8000-00000000000a",
        "name": "prometheus", "application_uuid": ids::MANTA, "type": "vm"});
    site.triton.sapi.handle.put(localdc::sapi::Kind::Service, service);
    let gone = site.vm("prometheus1");
    let allowed = site.cns()["allow_transfer"].clone();
    site.triton.sapi.handle.remove(localdc::sapi::Kind::Instance, &gone.uuid);
    site.triton.datacenter.update(|facts| {
        let vm = facts.vms.iter_mut().find(|vm| vm.uuid == gone.uuid);
        vm.unwrap().state = "destroyed".to_owned();
        let mut heir = gone.clone();
        heir.uuid = "d0000000-0000-4000-8000-00000000000a".to_owned();
        heir.owner_uuid = ids::POSEIDON.to_owned();
        heir.tags.clear();
        facts.vms.push(heir);
    });
    site.set_up(&["prometheus"]).await;
    assert_eq!(site.cns()["allow_transfer"], allowed);
    site.is_settled(&["prometheus"]).await;
}

#[tokio::test]
async fn a_nic_that_cannot_be_had_is_nobodys_end() {
    let site = Site::new().await;
    site.set_up(&["prometheus"]).await;
    let fate = Fate::Fails("no address".into());
    site.triton.datacenter.stock().next_job("add-nics", fate);
    let done = site.set_up(&["grafana"]).await;
    assert!(done.stderr.contains("no address; run it again"), "{done:?}");
    assert_eq!(site.vm("grafana0").nics.len(), 2);
    // It runs by now: somebody may be looking.
    let asked = site.run(&["grafana"]).await;
    assert!(asked.stderr.contains("grafana0 restarts"), "{asked:?}");
    site.set_up(&["grafana"]).await;
    assert_eq!(site.vm("grafana0").nics.len(), 3);
    site.is_settled(&["grafana"]).await;
}

#[tokio::test]
async fn of_two_pairs_another_pairs_stands_in_for_nobody_that_restarts() {
    let site = Site::new().await;
    let shards = ["prometheus", "--shards", "2"];
    site.set_up(&shards).await;
    // The pair of shard 0, and one of shard 1 that is well.
    let groups = |n: usize| {
        let uuid = site.vm(&format!("prometheus{n}")).uuid;
        let instance = site.triton.sapi.handle.get(Kind::Instance, &uuid);
        instance.unwrap()["metadata"]["groups"].clone()
    };
    let of = |shard: &str| {
        let all = (0..4).filter(|n| groups(*n) == json!([shard]));
        all.map(|n| format!("prometheus{n}")).collect::<Vec<_>>()
    };
    let (pair, other) = (of("shard-0"), of("shard-1"));
    assert_eq!((pair.len(), other.len()), (2, 2));
    site.triton.datacenter.update(|facts| {
        let vm = facts.vms.iter_mut().find(|vm| vm.alias == pair[0]);
        vm.unwrap().nics.retain(|nic| nic.nic_tag != "external");
    });
    site.doors.set_unwell(&pair[1], true);
    let quick = [&shards[..], &["--wait", "2"]].concat();
    let ended = site.yes(&quick).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let said = "saw none that is well, wanted one that is well meanwhile";
    assert!(ended.stderr.contains(said), "{ended:?}");
    assert_eq!(site.vm(&pair[0]).nics.len(), 1);
    site.doors.set_unwell(&pair[1], false);
    site.set_up(&shards).await;
    assert_eq!(site.vm(&pair[0]).nics.len(), 2);
}

#[tokio::test]
async fn a_pair_that_restarts_for_its_nics_is_never_down_as_a_whole() {
    let site = Site::new().await;
    let pair = ["grafana", "--replicas", "2"];
    site.set_up(&pair).await;
    site.triton.datacenter.update(|facts| {
        for vm in &mut facts.vms {
            vm.nics.retain(|nic| nic.nic_tag != "manta");
        }
    });
    let nics = || ["grafana0", "grafana1"].map(|one| site.vm(one).nics.len());
    site.doors.set_unwell("grafana1", true);
    let quick = [&pair[..], &["--wait", "25"]].concat();
    let ended = site.yes(&quick).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let said = "wanted one that is well meanwhile";
    assert!(ended.stderr.contains(said), "{ended:?}");
    // The sick one serves nobody, and is waited for.
    assert_eq!(nics(), [2, 3]);
    assert!(ended.stderr.contains("see grafana1 well"), "{ended:?}");
    site.doors.set_unwell("grafana1", false);
    site.set_up(&pair).await;
    assert_eq!(nics(), [3, 3]);
    site.is_settled(&pair).await;
}
