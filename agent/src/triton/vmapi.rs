// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! VMAPI: the zones there are, and jobs that change them. All writes name the
//! owner, so that no other account's zone can be meant.
//!
//! Source: sdc-vmapi, docs/index.md and lib/endpoints/{vms,metadata}.js.

use std::collections::BTreeMap;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::api::{Api, Query, lenient, object};
use super::{ApiError, Http, Started};

/// VMs a page; VMAPI gives no more.
const PAGE: usize = 1000;

/// What of a VM is asked for, as `Vm` has it.
const FIELDS: &str = "uuid,alias,owner_uuid,server_uuid,state,brand,\
    image_uuid,billing_id,quota,max_physical_memory,firewall_enabled,tags,\
    customer_metadata,nics,datasets,create_timestamp";

/// A zone as VMAPI knows it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Vm {
    /// Uuid.
    pub uuid: Uuid,
    /// Alias: `prometheus0`. Not unique.
    #[serde(default, deserialize_with = "lenient")]
    pub alias: String,
    /// Account that owns it.
    #[serde(default, deserialize_with = "lenient")]
    pub owner_uuid: Option<Uuid>,
    /// Server it is on; `None` before one was chosen.
    #[serde(default, deserialize_with = "lenient")]
    pub server_uuid: Option<Uuid>,
    /// `provisioning`, `running`, `stopped`, `failed`, `destroyed`; where the
    /// server is not running, the server's own status: `unknown`.
    #[serde(default, deserialize_with = "lenient")]
    pub state: String,
    /// `joyent-minimal`, `lx`.
    #[serde(default, deserialize_with = "lenient")]
    pub brand: String,
    /// Image of its root file system.
    #[serde(default, deserialize_with = "lenient")]
    pub image_uuid: Option<Uuid>,
    /// Package it was made by.
    #[serde(default, deserialize_with = "lenient")]
    pub billing_id: Option<Uuid>,
    /// Quota of its file systems, GiB; 0 is none.
    #[serde(default, deserialize_with = "lenient")]
    pub quota: u64,
    /// Memory, MiB.
    #[serde(default, deserialize_with = "lenient")]
    pub max_physical_memory: u64,
    /// Whether its firewall is on.
    #[serde(default, deserialize_with = "lenient")]
    pub firewall_enabled: bool,
    /// Tags.
    #[serde(default, deserialize_with = "object")]
    pub tags: Map<String, Value>,
    /// Metadata in the zone itself: `user-script`, `sapi-url`.
    #[serde(default, deserialize_with = "object")]
    pub customer_metadata: Map<String, Value>,
    /// NICs in order.
    #[serde(default)]
    pub nics: Vec<Nic>,
    /// Delegate datasets: `zones/<uuid>/data`.
    #[serde(default, deserialize_with = "lenient")]
    pub datasets: Vec<String>,
    /// When it was made, ISO 8601.
    #[serde(default, deserialize_with = "lenient")]
    pub create_timestamp: String,
}

/// A NIC of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Nic {
    /// MAC address with colons.
    #[serde(default)]
    pub mac: String,
    /// Address; also `dhcp`.
    #[serde(default)]
    pub ip: String,
    /// NIC tag: `admin`, `external`, `manta`.
    #[serde(default)]
    pub nic_tag: String,
    /// Network, where VMAPI knows it.
    #[serde(default, deserialize_with = "lenient")]
    pub network_uuid: Option<Uuid>,
    /// Whether the zone's default route and resolvers are its.
    #[serde(default, deserialize_with = "lenient")]
    pub primary: bool,
}

/// VMAPI at one base URL.
#[derive(Clone, Debug)]
pub struct Vmapi {
    pub(super) api: Api,
}

impl Vmapi {
    /// VMAPI at `url`, for instance `http://vmapi.dc1.example.com`.
    pub fn new(http: Http, url: &str) -> Self {
        Self { api: Api::new(http, url, None) }
    }

    /// Whether VMAPI, its store and the workflow API are well.
    ///
    /// Errors: `Status` 503 when they are not.
    pub async fn ping(&self) -> Result<(), ApiError> {
        self.api.is_well().await
    }

    /// The VMs of an account that pass `filter`, as `("state", "active")` or
    /// `("tag.smartdc_role", "prometheus")`; all of them, by uuid. Those made
    /// or gone meanwhile may be in it or not.
    ///
    /// Errors: `Status`; `Endless` when a page leads back to an earlier one.
    pub async fn vms(
        &self,
        owner: Uuid,
        filter: &Query<'_>,
    ) -> Result<Vec<Vm>, ApiError> {
        let owner = owner.to_string();
        let limit = PAGE.to_string();
        let mut found: BTreeMap<Uuid, Vm> = BTreeMap::new();
        let mut marker = None;
        loop {
            let mut query = vec![("owner_uuid", &*owner), ("limit", &limit)];
            query.extend([("fields", FIELDS)]);
            query.extend_from_slice(filter);
            query.extend(marker.as_deref().map(|marker| ("marker", marker)));
            let page: Vec<Vm> = self.api.get("vms", &query).await?;
            // By uuid, descending: the last is where the next page begins.
            let Some(last) = page.last().map(|vm| vm.uuid) else { break };
            let (full, known) = (page.len() >= PAGE, found.len());
            found.extend(page.into_iter().map(|vm| (vm.uuid, vm)));
            if found.len() == known {
                return Err(ApiError::endless(&self.api.at("vms", &query)));
            }
            if !full {
                break;
            }
            marker = Some(json!({"uuid": last}).to_string());
        }
        Ok(found.into_values().collect())
    }

    /// A VM; one that was destroyed too. `None` also when it is not `owner`'s.
    pub async fn vm(
        &self,
        uuid: Uuid,
        owner: Option<Uuid>,
    ) -> Result<Option<Vm>, ApiError> {
        let owner = owner.map(|owner| owner.to_string());
        let query: Vec<_> =
            owner.as_deref().map(|o| ("owner_uuid", o)).into_iter().collect();
        self.api.find(&format!("vms/{uuid}"), &query).await
    }

    /// The tags of a VM.
    pub async fn tags(
        &self,
        uuid: Uuid,
        owner: Uuid,
    ) -> Result<Map<String, Value>, ApiError> {
        let owner = owner.to_string();
        let query = [("owner_uuid", &*owner)];
        self.api.get(&format!("vms/{uuid}/tags"), &query).await
    }

    /// Adds tags or overwrites them, and keeps all others: a POST. The PUT
    /// would take `smartdc_role` away.
    ///
    /// Errors: `Status`: 409 `ValidationFailed` names tag and reason, 503
    /// says that the workflow API is down, 404 that the VM is not `owner`'s.
    /// So for all that follow.
    pub async fn add_tags(
        &self,
        uuid: Uuid,
        owner: Uuid,
        tags: &Map<String, Value>,
    ) -> Result<Started, ApiError> {
        let path = format!("vms/{uuid}/tags");
        self.start(Method::POST, &path, owner, &[], Some(&json!(tags))).await
    }

    /// Takes one tag away.
    pub async fn delete_tag(
        &self,
        uuid: Uuid,
        owner: Uuid,
        key: &str,
    ) -> Result<Started, ApiError> {
        // Keys of ours need no escaping; any other would not be found.
        let path = format!("vms/{uuid}/tags/{key}");
        self.start(Method::DELETE, &path, owner, &[], None).await
    }

    /// Puts a zone on another image: all is lost but the delegate dataset,
    /// NICs, tags and metadata.
    pub async fn reprovision(
        &self,
        uuid: Uuid,
        owner: Uuid,
        image_uuid: Uuid,
    ) -> Result<Started, ApiError> {
        let body = json!({"image_uuid": image_uuid});
        self.act(uuid, owner, "reprovision", &body).await
    }

    /// Adds a NIC on this network. The zone is stopped for it and started
    /// again. `primary`: its default route and resolvers are those of this NIC
    /// from then on (assumed, as vmadm has it: the one before is primary no
    /// more).
    pub async fn add_nic(
        &self,
        uuid: Uuid,
        owner: Uuid,
        network: Uuid,
        primary: bool,
    ) -> Result<Started, ApiError> {
        let mut wanted = json!({"uuid": network});
        if primary {
            wanted["primary"] = true.into();
        }
        let body = json!({"networks": [wanted]});
        self.act(uuid, owner, "add_nics", &body).await
    }

    /// Starts a zone that is stopped.
    pub async fn start_vm(
        &self,
        uuid: Uuid,
        owner: Uuid,
    ) -> Result<Started, ApiError> {
        self.act(uuid, owner, "start", &json!({})).await
    }

    /// Takes the NICs with these MAC addresses away.
    pub async fn remove_nics(
        &self,
        uuid: Uuid,
        owner: Uuid,
        macs: &[String],
    ) -> Result<Started, ApiError> {
        let body = json!({"macs": macs});
        self.act(uuid, owner, "remove_nics", &body).await
    }

    /// Adds to the metadata in the zone, or overwrites; keeps the rest.
    pub async fn add_metadata(
        &self,
        uuid: Uuid,
        owner: Uuid,
        metadata: &Map<String, Value>,
    ) -> Result<Started, ApiError> {
        let path = format!("vms/{uuid}/customer_metadata");
        self.set(&path, owner, &[], &json!(metadata)).await
    }

    /// Changes a VM: `quota`, `alias`, `firewall_enabled`.
    pub async fn update(
        &self,
        uuid: Uuid,
        owner: Uuid,
        change: &Map<String, Value>,
    ) -> Result<Started, ApiError> {
        let (path, query) = (format!("vms/{uuid}"), [("action", "update")]);
        self.set(&path, owner, &query, &json!(change)).await
    }

    /// Destroys a zone with its delegate dataset.
    pub async fn delete(
        &self,
        uuid: Uuid,
        owner: Uuid,
    ) -> Result<Started, ApiError> {
        let path = format!("vms/{uuid}");
        self.start(Method::DELETE, &path, owner, &[], None).await
    }

    async fn act(
        &self,
        uuid: Uuid,
        owner: Uuid,
        action: &str,
        body: &Value,
    ) -> Result<Started, ApiError> {
        let path = format!("vms/{uuid}");
        let query = [("action", action)];
        self.start(Method::POST, &path, owner, &query, Some(body)).await
    }

    /// A POST that sets what it is given, however often it is made.
    async fn set(
        &self,
        path: &str,
        owner: Uuid,
        query: &Query<'_>,
        body: &Value,
    ) -> Result<Started, ApiError> {
        let owner = owner.to_string();
        let whole = [query, &[("owner_uuid", &*owner)]].concat();
        self.api.set(Method::POST, path, &whole, Some(body)).await
    }

    async fn start(
        &self,
        method: Method,
        path: &str,
        owner: Uuid,
        query: &Query<'_>,
        body: Option<&Value>,
    ) -> Result<Started, ApiError> {
        let owner = owner.to_string();
        let mut whole = query.to_vec();
        whole.push(("owner_uuid", &owner));
        self.api.send(method, path, &whole, body).await
    }
}
