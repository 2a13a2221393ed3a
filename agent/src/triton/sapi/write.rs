// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What changes SAPI's objects, and through them zones.
//!
//! Source: sdc-sapi, lib/server/endpoints and lib/server/model.js.

use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Instance, Sapi, Service, lenient};
use crate::triton::ApiError;

/// A service to be.
pub struct NewService<'a> {
    /// Its uuid; `None` lets SAPI choose. Given, a second try writes what the
    /// first one wrote.
    pub uuid: Option<Uuid>,
    /// Name; SAPI takes the same one twice.
    pub name: &'a str,
    /// Application it belongs to.
    pub application_uuid: Uuid,
    /// VM parameters of its instances.
    pub params: Map<String, Value>,
    /// Metadata of its instances.
    pub metadata: Map<String, Value>,
    /// Kept in the master datacenter, as Manta's are.
    pub master: bool,
}

/// An instance to be.
pub struct NewInstance<'a> {
    /// Service it belongs to.
    pub service_uuid: Uuid,
    /// Uuid of the zone; `None` lets SAPI choose. Given, a second try finds
    /// what the first one made: SAPI provisions no zone that VMAPI knows. But
    /// never again for an instance that is there: when any step of a create
    /// fails, SAPI drops the record under this uuid.
    pub uuid: Option<Uuid>,
    /// VM parameters of its own: `alias`, `server_uuid`.
    pub params: &'a Map<String, Value>,
    /// Metadata of its own.
    pub metadata: &'a Map<String, Value>,
    /// Kept in the master datacenter.
    pub master: bool,
}

/// An instance just written down, whose zone may be yet to come.
#[derive(Deserialize)]
pub struct Created {
    /// The instance.
    #[serde(flatten)]
    pub instance: Instance,
    /// The job that makes the zone, to be waited for at VMAPI; `None` when
    /// the zone was there, or is not made at all (agents, proto mode).
    #[serde(default, deserialize_with = "lenient")]
    pub job_uuid: Option<Uuid>,
}

/// What a PUT does with the keys it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Each key given takes the place of that key whole; a null is stored.
    Update,
    /// The object given takes the place of all there was.
    Replace,
    /// The keys given go; their values count for nothing.
    Delete,
}

/// A change of params, metadata or both.
pub struct Change<'a> {
    /// What is done.
    pub action: Action,
    /// VM parameters; `None` leaves them alone. Zones that are there do not
    /// follow.
    pub params: Option<&'a Map<String, Value>>,
    /// Metadata; `None` leaves it alone.
    pub metadata: Option<&'a Map<String, Value>>,
}

impl Change<'_> {
    fn body(&self) -> Value {
        let action = match self.action {
            Action::Update => "update",
            Action::Replace => "replace",
            Action::Delete => "delete",
        };
        let mut body = Map::from_iter([("action".to_owned(), json!(action))]);
        for (field, change) in
            [("params", self.params), ("metadata", self.metadata)]
        {
            if let Some(change) = change {
                body.insert(field.to_owned(), json!(change));
            }
        }
        Value::Object(body)
    }
}

impl Sapi {
    /// Creates a service, type `vm`. Without a uuid not to be repeated
    /// blindly: SAPI would create another of the same name.
    pub async fn create_service(
        &self,
        new: &NewService<'_>,
    ) -> Result<Service, ApiError> {
        let mut body = json!({
            "name": new.name,
            "application_uuid": new.application_uuid,
            "type": "vm",
            "params": new.params,
            "metadata": new.metadata,
        });
        if let Some(uuid) = new.uuid {
            body["uuid"] = json!(uuid);
        }
        if new.master {
            body["master"] = true.into();
        }
        self.api.send(Method::POST, "services", &[], Some(&body)).await
    }

    /// Changes a service; answers what it is now.
    ///
    /// Errors: `Status`, 500 also for a service that is not there.
    pub async fn update_service(
        &self,
        uuid: Uuid,
        change: &Change<'_>,
    ) -> Result<Service, ApiError> {
        let path = format!("services/{uuid}");
        self.api.set(Method::PUT, &path, &[], Some(&change.body())).await
    }

    /// Changes an instance's record; its zone does not follow.
    ///
    /// Errors: as `update_service`.
    pub async fn update_instance(
        &self,
        uuid: Uuid,
        change: &Change<'_>,
    ) -> Result<Instance, ApiError> {
        let path = format!("instances/{uuid}");
        self.api.set(Method::PUT, &path, &[], Some(&change.body())).await
    }

    /// Creates an instance and starts the job that makes its zone. If that
    /// job fails later, the instance stays all the same.
    ///
    /// Errors: `Status`, with VMAPI's own words where VMAPI refused: then
    /// there is no instance.
    pub async fn create_instance(
        &self,
        new: &NewInstance<'_>,
    ) -> Result<Created, ApiError> {
        let query = [("async", "true")];
        let body = new.body();
        self.api.send(Method::POST, "instances", &query, Some(&body)).await
    }

    /// Writes down an instance whose zone is there: `new.uuid`. Ask VMAPI
    /// first: SAPI 2.1 overlooks that it `exists`, and would make it.
    ///
    /// Errors: `Status`, 409 from a SAPI that does not overlook it.
    pub async fn adopt_instance(
        &self,
        new: &NewInstance<'_>,
    ) -> Result<Created, ApiError> {
        let query = [("async", "true")];
        let mut body = new.body();
        body["exists"] = true.into();
        self.api.send(Method::POST, "instances", &query, Some(&body)).await
    }

    /// Puts a zone on another image, keeping its delegate dataset; answers
    /// when that is done, within `limit`. SAPI itself gives up after an hour.
    /// Changes no `image_uuid`, neither the service's nor the instance's.
    ///
    /// Errors: `Status`, code `ReprovisionFailedError` with what VMAPI's job
    /// said; `NoAnswer` when it takes longer, which stops nothing.
    pub async fn upgrade_instance(
        &self,
        uuid: Uuid,
        image_uuid: Uuid,
        limit: Duration,
    ) -> Result<Instance, ApiError> {
        let path = format!("instances/{uuid}/upgrade");
        let body = json!({"image_uuid": image_uuid});
        let api = self.api.lasting(limit);
        api.send(Method::PUT, &path, &[], Some(&body)).await
    }

    /// Destroys a zone and forgets its instance; answers when that is done,
    /// within `limit`. False: SAPI has no such instance, or VMAPI no such zone,
    /// which SAPI passes on as it is, and then keeps the instance.
    ///
    /// Errors: `Status`, code `DestroyFailedError`.
    pub async fn delete_instance(
        &self,
        uuid: Uuid,
        limit: Duration,
    ) -> Result<bool, ApiError> {
        let api = self.api.lasting(limit);
        api.delete(&format!("instances/{uuid}"), &[]).await
    }
}

impl NewInstance<'_> {
    fn body(&self) -> Value {
        let mut body = json!({
            "service_uuid": self.service_uuid,
            "params": self.params,
            "metadata": self.metadata,
        });
        if let Some(uuid) = self.uuid {
            body["uuid"] = json!(uuid);
        }
        if self.master {
            body["master"] = true.into();
        }
        body
    }
}
