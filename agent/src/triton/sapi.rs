// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! SAPI: the merged configuration of one instance, and what there is:
//! applications, their services, their instances. `write` changes them.

mod write;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::api::{Api, lenient, object};
use super::{Answer, ApiError, Http};

pub use write::{Action, Change, Created, NewInstance, NewService};

/// A configuration larger than this is none, bytes.
const BODY_LIMIT: usize = 64 << 20;

/// A list larger than this is none, bytes. Services carry a boot script of
/// some kB each, and an instance is about one kB: enough for 10,000.
const LIST_LIMIT: usize = 32 << 20;

/// An application. Its metadata holds every secret of the datacenter, hence
/// neither this nor the others have a `Debug`.
#[derive(serde::Deserialize)]
pub struct Application {
    /// Uuid.
    pub uuid: Uuid,
    /// Name: `sdc`, `manta`.
    #[serde(default)]
    pub name: String,
    /// Account that owns its zones.
    #[serde(default, deserialize_with = "lenient")]
    pub owner_uuid: Option<Uuid>,
    /// VM parameters as stored, not merged.
    #[serde(default, deserialize_with = "object")]
    pub params: Map<String, Value>,
    /// Metadata as stored, not merged.
    #[serde(default, deserialize_with = "object")]
    pub metadata: Map<String, Value>,
}

/// A service.
#[derive(serde::Deserialize)]
pub struct Service {
    /// Uuid.
    pub uuid: Uuid,
    /// Name; not unique.
    pub name: String,
    /// Application it belongs to.
    pub application_uuid: Uuid,
    /// VM parameters as stored, not merged: `image_uuid`, `networks`.
    #[serde(default, deserialize_with = "object")]
    pub params: Map<String, Value>,
    /// Metadata as stored, not merged.
    #[serde(default, deserialize_with = "object")]
    pub metadata: Map<String, Value>,
}

/// An instance.
#[derive(serde::Deserialize)]
pub struct Instance {
    /// Uuid; that of the zone.
    pub uuid: Uuid,
    /// Service it belongs to.
    pub service_uuid: Uuid,
    /// VM parameters as stored, not merged: `alias`, `networks`.
    #[serde(default, deserialize_with = "object")]
    pub params: Map<String, Value>,
    /// Metadata as stored, not merged.
    #[serde(default, deserialize_with = "object")]
    pub metadata: Map<String, Value>,
}

/// SAPI at one base URL.
#[derive(Clone, Debug)]
pub struct Sapi {
    api: Api,
}

/// How SAPI is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Creates real zones; in proto mode it only writes down.
    pub full: bool,
    /// Its store is within reach. If not, it lists what it remembers: up to
    /// an hour old, and nothing of Manta.
    pub stored: bool,
}

/// What `GET /configs/:uuid` said.
#[derive(Debug)]
pub enum Config {
    /// 304: by its ETag nothing changed, which may be wrong.
    NotModified,
    /// 200: the body and its ETag.
    Body {
        /// The JSON text.
        body: Vec<u8>,
        /// To send back verbatim.
        etag: Option<String>,
    },
}

impl Sapi {
    /// SAPI at `url`, for instance `http://sapi.dc1.example.com`.
    pub fn new(http: Http, url: &str) -> Self {
        // The agent's loops tell one trouble from another by its words.
        let api = Api::new(http, url, Some("~2"));
        Self { api: api.limited(LIST_LIMIT).untraced() }
    }

    /// Sends a request id with each call and names it in errors, for verbs:
    /// SAPI's log has it.
    pub fn traced(self) -> Self {
        Self { api: self.api.traced() }
    }

    /// The base URL.
    pub fn url(&self) -> &str {
        self.api.url()
    }

    /// The configuration of `instance`; conditional when `etag` is given.
    ///
    /// Errors: `Status` for anything but 200 and 304, `Body` for what cannot
    /// be a configuration.
    pub async fn config(
        &self,
        instance: &str,
        etag: Option<&str>,
        request_id: &str,
    ) -> Result<Config, ApiError> {
        let url = format!("{}/configs/{instance}", self.url());
        let mut headers = vec![
            ("accept", "application/json"),
            ("accept-version", "~2"),
            ("x-request-id", request_id),
        ];
        if let Some(etag) = etag {
            headers.push(("if-none-match", etag));
        }
        let answer = self.api.http().get(&url, &headers, BODY_LIMIT).await?;
        match answer.status {
            // A wildcard name may lead to somebody's web server: unmask it.
            200 if !is_object(&answer.body) => {
                answer.json::<Map<String, Value>>(&url)?;
                Err(answer.error(&url))
            }
            200 => Ok(Config::Body { body: answer.body, etag: answer.etag }),
            304 if etag.is_some() => Ok(Config::NotModified),
            _ => Err(answer.error(&url)),
        }
    }

    /// The applications of this name: one, or none. With `master`, those that
    /// are kept in the master datacenter count too, as Manta's may be.
    ///
    /// Errors: `Status`, 503 also while SAPI has yet to find that master;
    /// `Body` for what is no list. So for the other lists.
    pub async fn applications(
        &self,
        name: &str,
        master: bool,
    ) -> Result<Vec<Application>, ApiError> {
        self.list("applications", "name", name, master).await
    }

    /// The services of an application.
    pub async fn services(
        &self,
        application: Uuid,
        master: bool,
    ) -> Result<Vec<Service>, ApiError> {
        let key = "application_uuid";
        let uuid = application.to_string();
        let mut found: Vec<Service> =
            self.list("services", key, &uuid, master).await?;
        // A filter that SAPI does not know counts for nothing there.
        found.retain(|service| service.application_uuid == application);
        Ok(found)
    }

    /// The instances of a service.
    pub async fn instances(
        &self,
        service: Uuid,
        master: bool,
    ) -> Result<Vec<Instance>, ApiError> {
        let key = "service_uuid";
        let uuid = service.to_string();
        let mut found: Vec<Instance> =
            self.list("instances", key, &uuid, master).await?;
        found.retain(|instance| instance.service_uuid == service);
        Ok(found)
    }

    /// The services of an application that have this name: names are not
    /// unique.
    pub async fn services_named(
        &self,
        application: Uuid,
        name: &str,
    ) -> Result<Vec<Service>, ApiError> {
        let uuid = application.to_string();
        let query = [("name", name), ("application_uuid", &uuid)];
        let mut found: Vec<Service> = self.api.get("services", &query).await?;
        found.retain(|service| {
            service.application_uuid == application && service.name == name
        });
        Ok(found)
    }

    /// An application by uuid.
    pub async fn application(
        &self,
        uuid: Uuid,
    ) -> Result<Option<Application>, ApiError> {
        self.api.find(&format!("applications/{uuid}"), &[]).await
    }

    /// A service by uuid.
    pub async fn service(
        &self,
        uuid: Uuid,
    ) -> Result<Option<Service>, ApiError> {
        self.api.find(&format!("services/{uuid}"), &[]).await
    }

    /// An instance by uuid, which is that of its zone.
    pub async fn instance(
        &self,
        uuid: Uuid,
    ) -> Result<Option<Instance>, ApiError> {
        self.api.find(&format!("instances/{uuid}"), &[]).await
    }

    /// How SAPI is.
    ///
    /// Errors: `Status` and `Body` for what only somebody else would answer.
    pub async fn ping(&self) -> Result<Ping, ApiError> {
        let read = |answer: &Answer, url: &str| {
            // While the store is away it comes with a 500.
            let body: Value =
                serde_json::from_slice(&answer.body).unwrap_or_default();
            match body["storAvailable"].as_bool() {
                Some(stored) => {
                    Ok(Ping { full: body["mode"] == "full", stored })
                }
                None => Err(answer.error(url)),
            }
        };
        self.api.look("ping", read).await
    }

    /// Whether lists are whole; see `Ping::stored`.
    pub async fn is_whole(&self) -> Result<bool, ApiError> {
        Ok(self.ping().await?.stored)
    }

    /// `GET /<kind>?<key>=<value>`. What does not look like an object of its
    /// kind is passed over.
    async fn list<T: DeserializeOwned>(
        &self,
        kind: &str,
        key: &str,
        value: &str,
        master: bool,
    ) -> Result<Vec<T>, ApiError> {
        let query = [(key, value), ("include_master", "true")];
        let query = if master { &query[..] } else { &query[..1] };
        let list: Vec<Value> = self.api.get(kind, query).await?;
        let read = |value| serde_json::from_value(value).ok();
        Ok(list.into_iter().filter_map(read).collect())
    }
}

fn is_object(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_never_set_are_absent_and_others_may_be_mangled() {
        let uuid = "c0000000-0000-4000-8000-000000000001";
        let instance: Instance = serde_json::from_value(json!({
            "uuid": uuid.to_uppercase(), "service_uuid": uuid,
            "metadata": "text", "manifests": 3,
        }))
        .unwrap();
        assert_eq!(instance.uuid.to_string(), uuid);
        assert!(instance.params.is_empty() && instance.metadata.is_empty());
        let odd = json!({"uuid": "../x", "service_uuid": uuid});
        assert!(serde_json::from_value::<Instance>(odd).is_err());
    }
}
