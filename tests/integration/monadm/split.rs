// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Thanos whose components run in zones of their own: one that answers no
//! query is well by its agent's word, the same components stand in for each
//! other, and data that did not come back is seen by its id.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use localdc::datacenter::{Datacenter, Nic, Vm, Zone};
use localdc::loopback::own_address;
use localdc::sapi::Kind;
use localdc::triton::{Triton, facts, ids};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Ended, monadm};

const SERVICE: &str = "5e000000-0000-4000-8000-000000000002";
const PROMETHEUS: &str = "5e000000-0000-4000-8000-000000000001";
const OLD: &str = "f0000000-0000-4000-8000-0000000000a2";
const NEW: &str = ids::THANOS_IMAGE;
const SCRIPT: &str = "#!/bin/bash\nexit 0\n";

const QUERY: &[&str] = &["query"];
const BEHIND: &[&str] = &["store", "compact"];

/// A zone, and what answers in it.
struct Thanos {
    uuid: String,
    datacenter: Arc<Datacenter>,
    components: &'static [&'static str],
    /// Its root when all began.
    root: uuid::Uuid,
    ill: Mutex<BTreeSet<&'static str>>,
    /// Its delegate dataset comes back empty from a reprovision.
    loses_data: Mutex<bool>,
    /// What its agent says is left, MiB.
    available_mib: Mutex<u64>,
}

struct Site {
    triton: Triton,
    all: Vec<Arc<Thanos>>,
    _stop: DropGuard,
}

impl Site {
    /// Zones by what runs in them, on the old image.
    async fn new(zones: &[&'static [&'static str]]) -> Self {
        let triton = Triton::start(facts()).await.unwrap();
        let datacenter = &triton.datacenter;
        {
            let mut stock = datacenter.stock();
            let mut old = stock.updates[NEW].clone();
            old["uuid"] = json!(OLD);
            old["published_at"] = json!("2029-01-01T03:04:05.000Z");
            let fields = old.as_object_mut().unwrap();
            fields.retain(|key, _| key != "origin" && key != "channels");
            stock.put_image(old);
        }
        let service = json!({"uuid": SERVICE, "name": "thanos",
            "application_uuid": ids::SDC, "type": "vm",
            "params": {"image_uuid": OLD, "delegate_dataset": true,
                "billing_id": ids::SDC_2048},
            "metadata": {"user-script": SCRIPT, "SERVICE_NAME": "thanos"}});
        triton.sapi.handle.put(Kind::Service, service);
        // Post-setup has Thanos come after it.
        let prometheus = json!({"uuid": PROMETHEUS, "name": "prometheus",
            "application_uuid": ids::SDC, "type": "vm"});
        triton.sapi.handle.put(Kind::Service, prometheus);
        let instance = json!({"uuid": "d1000000-0000-4000-8000-000000000000",
            "service_uuid": PROMETHEUS, "type": "vm"});
        triton.sapi.handle.put(Kind::Instance, instance);
        let stop = CancellationToken::new();
        let mut all = Vec::new();
        for (number, components) in zones.iter().enumerate() {
            let uuid = format!("d0000000-0000-4000-8000-{number:012x}");
            let alias = format!("thanos{number}");
            let instance = json!({"uuid": uuid, "service_uuid": SERVICE,
                "type": "vm", "params": {"alias": alias},
                "metadata": {"thanos_components": components}});
            triton.sapi.handle.put(Kind::Instance, instance);
            let address = zone(datacenter, &uuid, &alias);
            let thanos = Arc::new(Thanos {
                root: datacenter.stock().zone(&uuid).root,
                uuid,
                datacenter: Arc::clone(datacenter),
                components,
                ill: Mutex::default(),
                loses_data: Mutex::default(),
                available_mib: Mutex::new(64),
            });
            let queries = components.contains(&"query").then_some(10902);
            for port in queries.into_iter().chain([9165]) {
                let listener = TcpListener::bind((address, port)).await;
                let app = axum::Router::new()
                    .fallback(answer)
                    .with_state(Arc::clone(&thanos));
                let served = axum::serve(listener.unwrap(), app);
                let stop = stop.clone().cancelled_owned();
                let served = served.with_graceful_shutdown(stop);
                tokio::spawn(async { served.await.unwrap() });
            }
            all.push(thanos);
        }
        Self { triton, all, _stop: stop.drop_guard() }
    }

    async fn run(&self, verb: &str, more: &[&str]) -> Ended {
        let url = self.triton.updates.url();
        let words = [verb, "thanos", "--updates", &url];
        let words = [&words[..], more].concat();
        monadm(&self.triton.sapi.url(), &words).await
    }

    async fn update(&self) -> Ended {
        self.run("update", &["--yes", "--patience", "3"]).await
    }

    async fn set_up(&self) -> Ended {
        self.run("post-setup", &["--yes", "--wait", "3"]).await
    }

    fn images(&self) -> Vec<String> {
        let of = |one: &Arc<Thanos>| one.vm(|vm| vm.image_uuid.clone());
        self.all.iter().map(of).collect()
    }
}

/// The zone of an instance; its admin address.
fn zone(datacenter: &Datacenter, uuid: &str, alias: &str) -> Ipv4Addr {
    let ip = own_address();
    let script = ("user-script".to_owned(), json!(SCRIPT));
    let zone = Zone {
        data: Some(uuid::Uuid::new_v4()),
        quota_gib: 500,
        customer_metadata: Map::from_iter([script]),
        ..Zone::default()
    };
    datacenter.stock().zones.insert(uuid.to_owned(), zone);
    datacenter.update(|facts| {
        let like = facts.vms[0].clone();
        let tags = [("smartdc_role".to_owned(), json!("thanos"))];
        facts.vms.push(Vm {
            uuid: uuid.to_owned(),
            alias: alias.to_owned(),
            image_uuid: OLD.to_owned(),
            tags: tags.into_iter().collect(),
            nics: vec![Nic {
                nic_tag: "admin".to_owned(),
                ip,
                network_uuid: ids::ADMIN_NETWORK.to_owned(),
            }],
            ..like
        });
    });
    ip
}

impl Thanos {
    fn vm<T>(&self, look: impl FnOnce(&Vm) -> T) -> T {
        self.datacenter.read(|facts| look(facts.vm(&self.uuid).unwrap()))
    }

    /// What its agent says.
    fn metrics(&self) -> String {
        let ill = self.ill.lock().unwrap();
        let zone = self.datacenter.stock().zone(&self.uuid);
        let lost = *self.loses_data.lock().unwrap() && zone.root != self.root;
        let id = if lost { zone.root } else { zone.data.unwrap() };
        let up = self.components.iter().map(|name| {
            let up = u8::from(!ill.contains(name));
            format!("config_agent_daemon_up{{daemon=\"thanos-{name}\"}} {up}\n")
        });
        format!(
            "config_agent_healthy 1\n{}\
             config_agent_data_info{{id=\"{}\"}} 1\n\
             config_agent_data_available_bytes {}\n",
            up.collect::<String>(),
            id.simple(),
            *self.available_mib.lock().unwrap() << 20
        )
    }
}

async fn answer(
    State(own): State<Arc<Thanos>>,
    uri: Uri,
) -> (StatusCode, String) {
    if own.vm(|vm| vm.state != "running") {
        return (StatusCode::SERVICE_UNAVAILABLE, String::new());
    }
    (
        StatusCode::OK,
        match uri.path() {
            "/metrics" => own.metrics(),
            _ => "ok\n".to_owned(),
        },
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_that_answer_no_query_are_well_by_their_agents_word() {
    let site = Site::new(&[QUERY, BEHIND]).await;
    let done = site.set_up().await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let again = site.set_up().await;
    assert!(again.stdout.contains("nothing to do"), "{again:?}");

    let planned = site.run("update", &["-n"]).await;
    for number in 0..2 {
        let said = format!("thanos{number}: reprovision to {NEW}; alone\n");
        assert!(planned.stdout.contains(&said), "{planned:?}");
    }
    let done = site.update().await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(site.images(), [NEW, NEW]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_is_down_is_told_and_its_partner_let_be() {
    let site = Site::new(&[QUERY, BEHIND, BEHIND]).await;
    assert_eq!(site.set_up().await.code, Some(0));
    site.all[2].ill.lock().unwrap().insert("compact");
    let failed = site.set_up().await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stderr.contains("see thanos2 well"), "{failed:?}");
    assert!(!failed.stderr.contains("see thanos1 well"), "{failed:?}");

    let planned = site.run("update", &["-n"]).await;
    let steps = planned.stdout.lines().filter_map(|line| {
        let step = line.trim_start().split_once(": reprovision to ")?;
        Some((step.0.rsplit(' ').next()?, step.1.strip_prefix(NEW)?))
    });
    assert_eq!(
        steps.collect::<Vec<_>>(),
        [("thanos2", "; not well"), ("thanos0", "; alone"), ("thanos1", "")],
        "{planned:?}"
    );
    let failed = site.update().await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let said = "thanos2 is not well after 3 s";
    assert!(failed.stderr.contains(said), "{failed:?}");
    assert_eq!(site.images(), [OLD, OLD, NEW]);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_does_not_come_back_is_seen_by_its_id() {
    let site = Site::new(&[QUERY, BEHIND]).await;
    *site.all[0].loses_data.lock().unwrap() = true;
    let failed = site.update().await;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let said = "thanos0: its data is gone: saw data ";
    assert!(failed.stderr.contains(said), "{failed:?}");
    assert!(failed.stderr.contains("monadm rollback thanos"), "{failed:?}");
    assert_eq!(site.images(), [NEW, OLD]);

    // A run that was killed before it could look would have left the same.
    let again = site.update().await;
    let said = "fault: thanos0: saw no data from before its update";
    assert!(again.stdout.contains(said), "{again:?}");
    assert_eq!(site.images(), [NEW, OLD]);

    // Back is with the data that there is.
    let words = ["rollback", "thanos", "--yes", "--patience", "3"];
    let sapi = site.triton.sapi.url();
    let before: Value = service(&site)["metadata"]["monadm_update"].clone();
    assert_eq!(before["data"].as_object().unwrap().len(), 2, "{before}");
    let back = monadm(&sapi, &words).await;
    assert_eq!(back.code, Some(1), "it is lost again: {back:?}");
    *site.all[0].loses_data.lock().unwrap() = false;
    assert_eq!(monadm(&sapi, &words).await.code, Some(0));
    assert_eq!(site.images(), [OLD, OLD]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_whose_agent_tells_of_no_room_is_refused_before_anything() {
    let site = Site::new(&[QUERY, BEHIND]).await;
    *site.all[1].available_mib.lock().unwrap() = 10;
    let refused = site.update().await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let said = "fault: thanos1: saw 10 MiB free, and set-up wants 64 MiB";
    assert!(refused.flat().contains(said), "{refused:?}");
    assert_eq!(site.images(), [OLD, OLD]);
    *site.all[1].available_mib.lock().unwrap() = 64;
    assert_eq!(site.update().await.code, Some(0));
}

fn service(site: &Site) -> Map<String, Value> {
    site.triton.sapi.handle.get(Kind::Service, SERVICE).unwrap()
}
