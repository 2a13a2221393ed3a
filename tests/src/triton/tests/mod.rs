// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The real clients against the stand-ins: what each call does, what all APIs
//! then say of it, and what every documented fault becomes.

mod errors;
mod images;
mod jobs;
mod lists;
mod rules;
mod zones;

use std::time::Duration;

use monitoring_agent::triton::ApiError;
use monitoring_agent::triton::Http;
use monitoring_agent::triton::cnapi::Cnapi;
use monitoring_agent::triton::fwapi::Fwapi;
use monitoring_agent::triton::imgapi::Imgapi;
use monitoring_agent::triton::napi::Napi;
use monitoring_agent::triton::papi::Papi;
use monitoring_agent::triton::sapi::{
    Created, NewInstance, NewService, Sapi, Service,
};
use monitoring_agent::triton::vmapi::{Vm, Vmapi};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Triton, facts, ids};

/// Between two polls; nothing happens by itself, so none is too short.
const EVERY: Duration = Duration::from_millis(1);
/// Far longer than anything takes.
const LIMIT: Duration = Duration::from_secs(120);

/// The APIs, and a client for each.
struct Rig {
    triton: Triton,
    sapi: Sapi,
    vmapi: Vmapi,
    imgapi: Imgapi,
    updates: Imgapi,
    papi: Papi,
    napi: Napi,
    cnapi: Cnapi,
    fwapi: Fwapi,
}

impl Rig {
    async fn start() -> Self {
        let triton = Triton::start(facts()).await.unwrap();
        let http = http(LIMIT);
        let http = || http.clone();
        Self {
            sapi: Sapi::new(http(), &triton.sapi.url()).traced(),
            vmapi: Vmapi::new(http(), &triton.vmapi.url()),
            imgapi: Imgapi::new(http(), &triton.imgapi.url()),
            updates: Imgapi::new(http(), &triton.updates.url()),
            papi: Papi::new(http(), &triton.papi.url()),
            napi: Napi::new(http(), &triton.napi.url()),
            cnapi: Cnapi::new(http(), &triton.cnapi.url()),
            fwapi: Fwapi::new(http(), &triton.fwapi.url()),
            triton,
        }
    }

    /// Service `prometheus` of `sdc`, with `params` beside what it needs.
    async fn service(&self, params: Value) -> Service {
        let mut all = object(json!({
            "billing_id": ids::SDC_1024,
            "image_uuid": ids::CORE_IMAGE,
            "delegate_dataset": true,
            "firewall_enabled": true,
            "networks": [{"name": "admin"},
                {"name": "external", "primary": true}],
            "tags": {"smartdc_role": "prometheus", "smartdc_type": "core"},
        }));
        all.extend(object(params));
        let new = NewService {
            uuid: None,
            name: "prometheus",
            application_uuid: uuid(ids::SDC),
            params: all,
            metadata: object(json!({
                "SERVICE_NAME": "prometheus", "user-script": "exit 0",
            })),
            master: false,
        };
        self.sapi.create_service(&new).await.unwrap()
    }

    /// An instance of `service` on the headnode.
    async fn instance(
        &self,
        service: &Service,
        uuid: Option<Uuid>,
    ) -> Result<Created, ApiError> {
        let params = object(json!({
            "alias": "prometheus0", "server_uuid": ids::HEADNODE,
        }));
        let new = NewInstance {
            service_uuid: service.uuid,
            uuid,
            params: &params,
            metadata: &Map::new(),
            master: false,
        };
        self.sapi.create_instance(&new).await
    }

    /// A zone of `prometheus`, running.
    async fn zone(&self) -> Uuid {
        let service = self.service(json!({})).await;
        let made = self.instance(&service, None).await.unwrap();
        self.wait(made.job_uuid.unwrap()).await;
        made.instance.uuid
    }

    async fn vm(&self, uuid: Uuid) -> Vm {
        self.vmapi.vm(uuid, Some(admin())).await.unwrap().unwrap()
    }

    async fn wait(&self, job: Uuid) {
        self.vmapi.wait(job, EVERY, LIMIT).await.unwrap();
    }
}

fn http(limit: Duration) -> Http {
    Http::new(limit, None)
}

fn admin() -> Uuid {
    uuid(ids::ADMIN)
}

fn uuid(text: &str) -> Uuid {
    text.parse().unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// An error with all its causes.
fn said(error: &dyn std::error::Error) -> String {
    monitoring_agent::log::chain(error)
}
