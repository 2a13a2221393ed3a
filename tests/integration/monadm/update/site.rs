// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A datacenter with Prometheus zones to be updated, and in each what answers
//! as a Prometheus does: as long as its zone runs, since that got its root,
//! with the data of its delegate dataset. The real one is in `e2e::upgrade`.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use localdc::datacenter::{Datacenter, Facts, Nic, Vm, Zone};
use localdc::loopback::own_address;
use localdc::sapi::Kind;
use localdc::triton::{Triton, facts, ids};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::{Ended, monadm};

pub(super) const SERVICE: &str = "5e000000-0000-4000-8000-000000000001";
pub(super) const OLD: &str = ids::OLD_PROMETHEUS_IMAGE;
pub(super) const NEW: &str = ids::PROMETHEUS_IMAGE;
pub(super) const SCRIPT: &str = "#!/bin/bash\nexit 0\n";
/// How far back data goes, seconds.
const AGE: f64 = 86_400.0;

/// What becomes of a Prometheus.
#[derive(Clone, Debug, Default)]
pub(super) struct Fate {
    /// It answers nothing on this image.
    pub(super) dead_on: Option<&'static str>,
    /// Its data is gone after the next reprovision.
    pub(super) forgets: bool,
    /// Targets that are up after the next reprovision, instead of ten.
    pub(super) finds: Option<usize>,
    /// It answers nothing.
    pub(super) dead: bool,
    /// It answers nothing as soon as there were so many writes.
    pub(super) dead_from: Option<usize>,
    /// Each question is not answered the first time.
    pub(super) stumbles: bool,
}

/// One that answers.
struct Prometheus {
    uuid: String,
    datacenter: Arc<Datacenter>,
    fate: Mutex<Fate>,
    /// What it stumbled over.
    stumbled: Mutex<BTreeSet<String>>,
    /// Root and time of the last start; whether it is the first one.
    run: Mutex<Option<(uuid::Uuid, SystemTime, bool)>>,
}

pub(super) struct Site {
    pub(super) triton: Triton,
    all: Vec<Arc<Prometheus>>,
    _stop: DropGuard,
}

pub(super) fn uuid(number: usize) -> String {
    format!("d0000000-0000-4000-8000-{number:012x}")
}

impl Site {
    /// Pairs by their groups, on the old image, which is here; the new one is
    /// on the updates server.
    pub(super) async fn new(groups: &[&str]) -> Self {
        let triton = Triton::start(facts()).await.unwrap();
        let datacenter = &triton.datacenter;
        {
            let mut stock = datacenter.stock();
            let mut old = stock.updates[OLD].clone();
            let fields = old.as_object_mut().unwrap();
            fields.retain(|key, _| key != "origin" && key != "channels");
            stock.put_image(old);
        }
        let service = json!({"uuid": SERVICE, "name": "prometheus",
            "application_uuid": ids::SDC, "type": "vm",
            "params": {"image_uuid": OLD, "delegate_dataset": true},
            "metadata": {"user-script": SCRIPT, "SERVICE_NAME": "prometheus"}});
        triton.sapi.handle.put(Kind::Service, service);
        let stop = CancellationToken::new();
        let mut all = Vec::new();
        for (number, group) in groups.iter().enumerate() {
            let uuid = uuid(number);
            let instance = json!({"uuid": uuid, "service_uuid": SERVICE,
                "type": "vm", "params": {"alias": format!("prometheus{number}")},
                "metadata": {"groups": [group]}});
            triton.sapi.handle.put(Kind::Instance, instance);
            let ip = zone(datacenter, &uuid, number);
            let prometheus = Arc::new(Prometheus {
                uuid,
                datacenter: Arc::clone(datacenter),
                fate: Mutex::default(),
                stumbled: Mutex::default(),
                run: Mutex::default(),
            });
            prometheus.look();
            let listener = TcpListener::bind((ip, 9090)).await.unwrap();
            let app = axum::Router::new()
                .fallback(answer)
                .with_state(Arc::clone(&prometheus));
            let stop = stop.clone();
            tokio::spawn(async move {
                let stopped = stop.cancelled_owned();
                let served = axum::serve(listener, app);
                served.with_graceful_shutdown(stopped).await.unwrap();
            });
            all.push(prometheus);
        }
        Self { triton, all, _stop: stop.drop_guard() }
    }

    /// A pair.
    pub(super) async fn pair() -> Self {
        Self::new(&["shard-0", "shard-0"]).await
    }

    pub(super) fn set(&self, number: usize, fate: Fate) {
        *self.all[number].fate.lock().unwrap() = fate;
    }

    pub(super) async fn run(&self, words: &[&str]) -> Ended {
        monadm(&self.triton.sapi.url(), words).await
    }

    /// The words of an update, asking nobody.
    pub(super) fn words<'a>(&self, more: &[&'a str]) -> Vec<&'a str> {
        let words = ["update", "prometheus", "--yes", "--patience", "3"];
        [&words[..], more].concat()
    }

    pub(super) async fn update(&self, more: &[&str]) -> Ended {
        let url = self.triton.updates.url();
        let words = self.words(&[&["--updates", &url], more].concat());
        self.run(&words).await
    }

    pub(super) async fn rollback(&self) -> Ended {
        self.run(&self.back()).await
    }

    /// The words of a rollback, asking nobody.
    pub(super) fn back(&self) -> [&'static str; 5] {
        ["rollback", "prometheus", "--yes", "--patience", "3"]
    }

    /// Each zone's image, and the service's.
    pub(super) fn images(&self) -> (Vec<String>, String) {
        let of = |one: &Arc<Prometheus>| one.vm(|vm| vm.image_uuid.clone());
        let service = self.service();
        let image = service["params"]["image_uuid"].as_str().unwrap();
        (self.all.iter().map(of).collect(), image.to_owned())
    }

    pub(super) fn service(&self) -> Map<String, Value> {
        self.triton.sapi.handle.get(Kind::Service, SERVICE).unwrap()
    }

    /// What VMAPI says that a zone is.
    pub(super) fn vm_state(&self, number: usize) -> String {
        self.all[number].vm(|vm| vm.state.clone())
    }

    /// Puts a zone in this state.
    pub(super) fn put(&self, number: usize, state: &str) {
        let uuid = &self.all[number].uuid;
        self.triton.datacenter.update(|facts| {
            let vm = facts.vms.iter_mut().find(|vm| vm.uuid == *uuid).unwrap();
            vm.state = state.to_owned();
        });
    }

    pub(super) fn zone(&self, number: usize) -> Zone {
        self.triton.datacenter.stock().zone(&uuid(number))
    }

    /// All that an update may change, roots left out: how often a zone was
    /// made anew is not part of where it ends.
    pub(super) fn state(&self) -> Value {
        let sapi = &self.triton.sapi.handle;
        let instances = self
            .all
            .iter()
            .map(|one| sapi.get(Kind::Instance, &one.uuid).map(Value::Object));
        let vms = self.triton.datacenter.facts().vms;
        let zones = self.all.iter().map(|one| {
            let zone = self.triton.datacenter.stock().zone(&one.uuid);
            json!({"quota": zone.quota_gib, "data": zone.data.is_some(),
                "metadata": zone.customer_metadata})
        });
        let vms = vms.iter().map(|vm| {
            // Addresses are each site's own.
            let nics: Vec<&String> =
                vm.nics.iter().map(|nic| &nic.nic_tag).collect();
            json!({"uuid": vm.uuid, "image": vm.image_uuid, "state": vm.state,
                "tags": vm.tags, "nics": nics})
        });
        let zones: Vec<Value> = zones.collect();
        let images = self.triton.datacenter.stock().images.clone();
        json!({"service": self.service(),
            "instances": instances.collect::<Vec<_>>(),
            "vms": vms.collect::<Vec<_>>(), "zones": zones, "images": images})
    }

    pub(super) fn writes(&self) -> usize {
        self.triton.datacenter.gate().count()
    }
}

/// The zone of an instance; its admin address.
fn zone(datacenter: &Datacenter, uuid: &str, number: usize) -> Ipv4Addr {
    let ip = own_address();
    let zone = Zone {
        data: Some(uuid::Uuid::new_v4()),
        customer_metadata: Map::from_iter([(
            "user-script".to_owned(),
            json!(SCRIPT),
        )]),
        ..Zone::default()
    };
    datacenter.stock().zones.insert(uuid.to_owned(), zone);
    datacenter.update(|facts| {
        let like = facts.vms[0].clone();
        facts.vms.push(Vm {
            uuid: uuid.to_owned(),
            alias: format!("prometheus{number}"),
            image_uuid: OLD.to_owned(),
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

/// What it has to show.
struct Shown {
    started: SystemTime,
    oldest: f64,
    up: usize,
}

impl Prometheus {
    fn vm<T>(&self, look: impl FnOnce(&Vm) -> T) -> T {
        self.datacenter.read(|facts| look(facts.vm(&self.uuid).unwrap()))
    }

    /// Whether it answers nothing, as its zone is down or by its fate.
    fn is_down(&self, vm: &Vm) -> bool {
        let fate = self.fate.lock().unwrap();
        let writes = self.datacenter.gate().count();
        vm.state != "running"
            || fate.dead
            || fate.dead_on.is_some_and(|dead| dead == vm.image_uuid)
            || fate.dead_from.is_some_and(|from| writes >= from)
    }

    /// `None` while it does not answer.
    fn look(&self) -> Option<Shown> {
        let fate = self.fate.lock().unwrap().clone();
        if self.vm(|vm| self.is_down(vm)) {
            return None;
        }
        let root = self.datacenter.stock().zone(&self.uuid).root;
        let mut run = self.run.lock().unwrap();
        let (_, started, first) = match *run {
            Some(run) if run.0 == root => run,
            run => (root, SystemTime::now(), run.is_none()),
        };
        *run = Some((root, started, first));
        let now = started.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now = now.as_secs_f64();
        let oldest = match fate.forgets && !first {
            true => now + 1.0,
            false => now - AGE,
        };
        let up = if first { 10 } else { fate.finds.unwrap_or(10) };
        Some(Shown { started, oldest, up })
    }
}

async fn answer(State(own): State<Arc<Prometheus>>, uri: Uri) -> Response {
    let first = || {
        let path = uri.path().to_owned();
        own.stumbled.lock().unwrap().insert(path)
    };
    if own.fate.lock().unwrap().stumbles && first() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let Some(shown) = own.look() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let data = |data: Value| {
        axum::Json(json!({"status": "success", "data": data})).into_response()
    };
    match uri.path() {
        "/-/healthy" => "Prometheus Server is Healthy.\n".into_response(),
        "/metrics" => format!(
            "prometheus_tsdb_lowest_timestamp_seconds {:e}\n",
            shown.oldest
        )
        .into_response(),
        "/api/v1/status/runtimeinfo" => {
            let started = OffsetDateTime::from(shown.started);
            data(json!({"startTime": started.format(&Rfc3339).unwrap()}))
        }
        "/api/v1/query" => {
            let query = uri.query().unwrap_or_default();
            assert!(query.contains("timestamp%28up%29"), "{query}");
            let value = json!([0, shown.up.to_string()]);
            data(json!({"resultType": "vector",
                "result": [{"metric": {}, "value": value}]}))
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Counts, whenever something of a datacenter changes, how many of its
/// Prometheus answer nothing: down by VMAPI, or silent.
pub(super) struct Watch {
    datacenter: Arc<Datacenter>,
    all: Vec<Arc<Prometheus>>,
    most: Arc<AtomicUsize>,
}

impl Watch {
    pub(super) fn over(site: &Site) -> Self {
        let datacenter = Arc::clone(&site.triton.datacenter);
        let (all, most) = (site.all.clone(), Arc::new(AtomicUsize::default()));
        let (seen, of) = (Arc::clone(&most), all.clone());
        datacenter.witness(move |facts| {
            seen.fetch_max(down(&of, facts), Ordering::Relaxed);
        });
        Self { datacenter, all, most }
    }

    /// The most that were down at once, until now.
    pub(super) fn most_down(&self) -> usize {
        let now = self.datacenter.read(|facts| down(&self.all, facts));
        self.most.load(Ordering::Relaxed).max(now)
    }
}

fn down(all: &[Arc<Prometheus>], facts: &Facts) -> usize {
    let is_down = |one: &&Arc<Prometheus>| {
        facts.vm(&one.uuid).is_none_or(|vm| one.is_down(vm))
    };
    all.iter().filter(is_down).count()
}
