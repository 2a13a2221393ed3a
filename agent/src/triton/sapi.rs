// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! SAPI: the merged configuration of one instance, and the lists of what
//! there is: applications, their services, their instances.

use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::{Map, Value};

use super::{ApiError, Http};

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
    pub uuid: uuid::Uuid,
    /// Metadata as stored, not merged.
    #[serde(default, deserialize_with = "object")]
    pub metadata: Map<String, Value>,
}

/// A service.
#[derive(serde::Deserialize)]
pub struct Service {
    /// Uuid.
    pub uuid: uuid::Uuid,
    /// Name; not unique.
    pub name: String,
    /// Application it belongs to.
    pub application_uuid: uuid::Uuid,
    /// Metadata as stored, not merged.
    #[serde(default, deserialize_with = "object")]
    pub metadata: Map<String, Value>,
}

/// An instance.
#[derive(serde::Deserialize)]
pub struct Instance {
    /// Uuid; that of the zone.
    pub uuid: uuid::Uuid,
    /// Service it belongs to.
    pub service_uuid: uuid::Uuid,
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
    http: Http,
    url: String,
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
        Self { http, url: url.trim_end_matches('/').to_owned() }
    }

    /// The base URL.
    pub fn url(&self) -> &str {
        &self.url
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
        let url = format!("{}/configs/{instance}", self.url);
        let mut headers = vec![
            ("accept", "application/json"),
            ("accept-version", "~2"),
            ("x-request-id", request_id),
        ];
        if let Some(etag) = etag {
            headers.push(("if-none-match", etag));
        }
        let answer = self.http.get(&url, &headers, BODY_LIMIT).await?;
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
        application: uuid::Uuid,
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
        service: uuid::Uuid,
        master: bool,
    ) -> Result<Vec<Instance>, ApiError> {
        let key = "service_uuid";
        let uuid = service.to_string();
        let mut found: Vec<Instance> =
            self.list("instances", key, &uuid, master).await?;
        found.retain(|instance| instance.service_uuid == service);
        Ok(found)
    }

    /// Whether lists are whole. While SAPI's own store is out of reach it
    /// lists what it remembers: up to an hour old, and nothing of Manta.
    pub async fn is_whole(&self) -> Result<bool, ApiError> {
        let url = format!("{}/ping", self.url);
        let answer = self.get(&url, 64 << 10).await?;
        let body = serde_json::from_slice::<Value>(&answer.body);
        let told = body.ok().and_then(|b| b.get("storAvailable")?.as_bool());
        match told {
            // Comes with a 500.
            Some(whole) => Ok(whole),
            None => Err(answer.error(&url)),
        }
    }

    /// `GET /<kind>?<key>=<value>`. Both are names or uuids, nothing to
    /// escape. What does not look like an object of its kind is passed over.
    async fn list<T: DeserializeOwned>(
        &self,
        kind: &str,
        key: &str,
        value: &str,
        master: bool,
    ) -> Result<Vec<T>, ApiError> {
        let master = if master { "&include_master=true" } else { "" };
        let url = format!("{}/{kind}?{key}={value}{master}", self.url);
        let answer = self.get(&url, LIST_LIMIT).await?;
        let list: Vec<Value> = answer.json(&url)?;
        let read = |value| serde_json::from_value(value).ok();
        Ok(list.into_iter().filter_map(read).collect())
    }

    async fn get(
        &self,
        url: &str,
        limit: usize,
    ) -> Result<super::Answer, ApiError> {
        let headers =
            [("accept", "application/json"), ("accept-version", "~2")];
        self.http.get(url, &headers, limit).await
    }
}

/// An object, which may also be absent, null or mangled.
fn object<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Map<String, Value>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Object(map) => map,
        _ => Map::new(),
    })
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
