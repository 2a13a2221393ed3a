// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! IMGAPI: the images a datacenter has, and those that an updates server, which
//! speaks the same, has for it.
//!
//! Source: sdc-imgapi, docs/index.md, lib/images.js and
//! lib/workflows/import-remote-image.js.

use std::collections::BTreeSet;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::api::{Api, lenient, object};
use super::{ApiError, Http, Started};

/// Images in a row, each the origin of the one before; IMGAPI's own limit.
const CHAIN_LIMIT: usize = 100;

/// An image, by its manifest.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Image {
    /// Uuid.
    pub uuid: Uuid,
    /// Name: `mantav2-prometheus`.
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    /// Version: the stamp of its build.
    #[serde(default, deserialize_with = "lenient")]
    pub version: String,
    /// `active`, `unactivated`, `disabled`, `creating`, `failed`.
    #[serde(default, deserialize_with = "lenient")]
    pub state: String,
    /// `zone-dataset`, `lx-dataset`, `docker`, ...
    #[serde(default, deserialize_with = "lenient", rename = "type")]
    pub kind: String,
    /// When, ISO 8601 in UTC, so that text order is time order as long as all
    /// have milliseconds or none has.
    #[serde(default, deserialize_with = "lenient")]
    pub published_at: String,
    /// The image that it is an increment of.
    #[serde(default, deserialize_with = "lenient")]
    pub origin: Option<Uuid>,
    /// Its files; one, if it has been uploaded.
    #[serde(default, deserialize_with = "lenient")]
    pub files: Vec<File>,
    /// Tags: `smartdc_service`.
    #[serde(default, deserialize_with = "object")]
    pub tags: Map<String, Value>,
}

/// A file of an image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct File {
    /// Bytes, as transferred.
    #[serde(default, deserialize_with = "lenient")]
    pub size: u64,
}

/// IMGAPI at one base URL.
#[derive(Clone, Debug)]
pub struct Imgapi {
    api: Api,
}

impl Imgapi {
    /// IMGAPI at `url`, for instance `http://imgapi.dc1.example.com`, or an
    /// updates server.
    pub fn new(http: Http, url: &str) -> Self {
        Self { api: Api::new(http, url, Some("~2")) }
    }

    /// Whether it answers.
    pub async fn ping(&self) -> Result<(), ApiError> {
        self.api.is_well().await
    }

    /// The active images of exactly this name, oldest first. `channel` is for
    /// servers that have channels; others overlook it.
    ///
    /// Errors: `Status` 422 for a channel unknown there.
    pub async fn images(
        &self,
        name: &str,
        channel: Option<&str>,
    ) -> Result<Vec<Image>, ApiError> {
        let mut query = vec![("name", name), ("state", "active")];
        query.extend(channel.map(|channel| ("channel", channel)));
        let mut found: Vec<Image> = self.api.get("images", &query).await?;
        found.retain(|image| image.name == name);
        Ok(found)
    }

    /// An image in whatever state.
    pub async fn image(
        &self,
        uuid: Uuid,
        channel: Option<&str>,
    ) -> Result<Option<Image>, ApiError> {
        let query: Vec<_> =
            channel.map(|channel| ("channel", channel)).into_iter().collect();
        self.api.find(&format!("images/{uuid}"), &query).await
    }

    /// The image and what it is built on, itself first; `None` when it, or an
    /// origin of it, is not there.
    ///
    /// Errors: `Endless` for a chain that bites its tail, or longer than 100.
    pub async fn chain(
        &self,
        uuid: Uuid,
        channel: Option<&str>,
    ) -> Result<Option<Vec<Image>>, ApiError> {
        let mut chain: Vec<Image> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut next = Some(uuid);
        while let Some(uuid) = next {
            if !seen.insert(uuid) || chain.len() == CHAIN_LIMIT {
                let path = format!("images/{uuid}");
                return Err(ApiError::endless(&self.api.at(&path, &[])));
            }
            let Some(image) = self.image(uuid, channel).await? else {
                return Ok(None);
            };
            next = image.origin;
            chain.push(image);
        }
        Ok(Some(chain))
    }

    /// Starts the job by which IMGAPI fetches an image, and those origins that
    /// it lacks, from `source`: an IMGAPI's URL, `?channel=` included where
    /// it has channels. The owner's account need not exist here. Images of
    /// common origin must not be imported side by side.
    ///
    /// Errors: `Status`: 409 `ImageUuidAlreadyExists`, also while it is
    /// unactivated; 503 `RemoteSourceError` when `source` lacks it or is out
    /// of reach, 503 when the workflow API is down.
    pub async fn import_remote(
        &self,
        uuid: Uuid,
        source: &str,
    ) -> Result<Started, ApiError> {
        let query = [
            ("action", "import-remote"),
            ("source", source),
            ("skip_owner_check", "true"),
        ];
        let path = format!("images/{uuid}");
        self.api.send(Method::POST, &path, &query, None).await
    }

    /// Deletes an image; false when there is none. IMGAPI asks nobody whether
    /// it is in use, so this is for unactivated ones.
    ///
    /// Errors: `Status` 422 `ImageHasDependentImages`.
    pub async fn delete(&self, uuid: Uuid) -> Result<bool, ApiError> {
        self.api.delete(&format!("images/{uuid}"), &[]).await
    }
}
