// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The Services API in proto mode, faults included: objects that refer to
//! each other, merged configs with an ETag that misses real changes, and the
//! status codes a client would not guess. In full mode over a datacenter its
//! instances are VMs; else it creates and destroys none.
//!
//! Not imitated: the metrics listener, master objects of another datacenter,
//! the Moray behind full mode, except that it may be out of reach.

mod answer;
mod config;
mod etag;
mod example;
mod objects;
mod route;
mod schema;
#[cfg(test)]
mod tests;
mod zones;

use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use axum::http::Response;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::datacenter::Datacenter;
use crate::http::{self, Call, Front, Handler};

pub use etag::etag;
pub use example::{Seed, UFDS_ADMIN_PASSWORD, UFDS_ROOT_PASSWORD, ids};
pub use route::Kind;

/// A handle to one SAPI; clones share everything.
#[derive(Clone)]
pub struct Sapi {
    inner: Arc<Inner>,
}

struct Inner {
    front: Front,
    state: Mutex<State>,
    /// Server it runs on: `SERVER_UUID` for instances without one.
    server_uuid: String,
}

struct State {
    store: objects::Store,
    /// What is answered from while the store is out of reach.
    remembered: Option<objects::Store>,
    mode: &'static str,
    log_level: Value,
    /// Where instances are zones, in full mode.
    zones: Option<Arc<Datacenter>>,
}

impl Sapi {
    /// An empty SAPI that runs on the server `server_uuid`.
    pub fn new(server_uuid: &str) -> Self {
        let state = State {
            store: objects::Store::default(),
            remembered: None,
            mode: "proto",
            log_level: Value::from(30),
            zones: None,
        };
        Self {
            inner: Arc::new(Inner {
                front: Front::default(),
                state: Mutex::new(state),
                server_uuid: server_uuid.to_owned(),
            }),
        }
    }

    /// Answers HTTP on `listener` until `stop`.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        http::serve(self, listener, None, stop).await;
    }

    /// Request log and faults.
    pub fn front(&self) -> &Front {
        &self.inner.front
    }

    /// From now on it is in full mode: its instances are VMs of `datacenter`,
    /// behind whose gate it stands.
    pub fn make_zones(&self, datacenter: &Arc<Datacenter>) {
        self.front().stand_behind(datacenter.gate(), "sapi");
        let mut state = self.state();
        state.mode = "full";
        state.zones = Some(Arc::clone(datacenter));
    }

    /// Stores an object unchecked, under the uuid it carries.
    ///
    /// Panics when it is no object with a text `uuid`.
    pub fn put(&self, kind: Kind, object: Value) {
        let Value::Object(object) = object else {
            panic!("SAPI objects are JSON objects")
        };
        let uuid = objects::text(&object, "uuid").to_owned();
        assert!(!uuid.is_empty(), "SAPI objects have a uuid");
        self.state().store.put(kind, &uuid, object);
    }

    /// An object as it is stored.
    pub fn get(&self, kind: Kind, uuid: &str) -> Option<Map<String, Value>> {
        self.state().store.get(kind, uuid).ok().cloned()
    }

    /// Puts the store behind SAPI out of reach, or back: meanwhile it reads
    /// from the copy it has of application `sdc` and changes nothing.
    pub fn set_store_down(&self, down: bool) {
        let mut state = self.state();
        state.remembered = down.then(|| state.store.of_triton());
    }

    /// Takes an object out, whatever refers to it. False: was not there.
    pub fn remove(&self, kind: Kind, uuid: &str) -> bool {
        self.state().store.delete(kind, uuid)
    }

    /// Changes metadata of an object in place; false: no such object.
    pub fn edit_metadata(
        &self,
        kind: Kind,
        uuid: &str,
        edit: impl FnOnce(&mut Map<String, Value>),
    ) -> bool {
        let mut state = self.state();
        let Ok(object) = state.store.get(kind, uuid) else { return false };
        let mut object = object.clone();
        let metadata = object.get("metadata").map(objects::entries);
        let mut metadata = metadata.unwrap_or_default();
        edit(&mut metadata);
        object.insert("metadata".to_owned(), Value::Object(metadata));
        state.store.put(kind, uuid, object);
        true
    }

    /// An instance's merged config with its ETag, as `/configs` would answer;
    /// `None` where that would be an error.
    pub fn config(&self, uuid: &str) -> Option<(Value, String)> {
        let server = &self.inner.server_uuid;
        let config = config::config(&self.state().store, uuid, server).ok()?;
        let etag = etag(&config);
        Some((config, etag))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().expect("no holder panics")
    }
}

impl Handler for Sapi {
    fn front(&self) -> &Front {
        &self.inner.front
    }

    fn answer(&self, call: &Call) -> Response<Body> {
        answer::answer(call, &mut self.state(), &self.inner.server_uuid)
    }
}
