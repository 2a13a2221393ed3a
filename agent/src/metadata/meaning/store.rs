// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The object store: where blocks are shipped to, the same for every Thanos
//! component of a bucket.

use std::marker::PhantomData;

use serde_json::{Map, Value, json};

use super::super::setting::{About, Change, Setting, Text, Tree};
use super::super::wire::Reader;
use crate::model::{ObjectStore, Secret};

/// The providers that Thanos 0.41 has.
const TYPES: [&str; 11] = [
    "S3",
    "FILESYSTEM",
    "SWIFT",
    "GCS",
    "AZURE",
    "COS",
    "ALIYUNOSS",
    "BOS",
    "OCI",
    "OBS",
    "IBMCOS",
];

static OBJECT_STORE: Tree<Map<String, Value>> = Tree {
    about: About::derived(
        "object_store",
        "The bucket that Thanos keeps blocks in: type, config and prefix as \
         Thanos has them. Manta's buckets are type S3 with region us-east-1 \
         and bucket_lookup_type path.",
        "no bucket: what Prometheus keeps is all there is",
        Change::Restart,
    ),
    wanted: "an object with type and config",
    schema: || {
        json!({"type": "object", "required": ["type", "config"],
        "additionalProperties": false,
        "properties": {
            "type": {"enum": TYPES},
            "config": {"type": "object"},
            "prefix": {"type": "string"},
        }})
    },
    check: |store| {
        let unknown = store
            .keys()
            .find(|key| !["type", "config", "prefix"].contains(&key.as_str()));
        if let Some(key) = unknown {
            return Err(format!("{key:?} is none of type, config, prefix"));
        }
        let kind = store.get("type").and_then(Value::as_str);
        let kind = kind.unwrap_or_default();
        if !TYPES.contains(&kind.to_ascii_uppercase().as_str()) {
            return Err(format!("type must be one of {}", TYPES.join(", ")));
        }
        let Some(Value::Object(config)) = store.get("config") else {
            return Err("config must be an object".to_owned());
        };
        if kind.eq_ignore_ascii_case("S3") {
            let text = |key| config.get(key).and_then(Value::as_str);
            for key in ["bucket", "endpoint"] {
                if text(key).is_none_or(str::is_empty) {
                    return Err(format!("config of S3 needs {key}"));
                }
            }
            if text("endpoint").is_some_and(|e| e.contains("://")) {
                return Err("endpoint is host:port, without http://".into());
            }
        }
        Ok(())
    },
    of: PhantomData,
};
static OBJECT_STORE_FILE: Text = Text {
    about: About::derived(
        "object_store_file",
        "The same in a file that the operator put on the data folder, over \
         object_store.",
        "object_store",
        Change::Restart,
    ),
    wanted: "an absolute path",
    accept: |path| {
        path.starts_with('/') && !path.chars().any(char::is_whitespace)
    },
};

/// The keys of this file.
pub(super) static SETTINGS: &[&dyn Setting] =
    &[&OBJECT_STORE, &OBJECT_STORE_FILE];

/// The store, its file at `path` unless the operator has one.
pub(super) fn object_store(
    reader: &mut Reader<'_>,
    path: &str,
) -> Option<ObjectStore> {
    let content = reader.get(&OBJECT_STORE);
    if let Some(path) = reader.get(&OBJECT_STORE_FILE) {
        return Some(ObjectStore { path, content: None });
    }
    content.map(|content| ObjectStore {
        path: path.to_owned(),
        content: Some(Secret::new(Value::Object(content))),
    })
}
