// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The image manifest, version 2: what imgadm and IMGAPI read. Written from a
//! type, judged as JSON: a manifest that someone else wrote is judged by the
//! same rules, and every fault is told at once.
//!
//! Source: IMGAPI's documentation of manifests, and node-imgmanifest, which
//! both servers and imgadm go by; where they differ, what the code accepts.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::digest;
use crate::plan::Plan;
use crate::problem::Problems;
use crate::recipe::Brand;

mod rules;

pub(crate) use rules::{NAME_MAX, VERSION_MAX, is_platform};

/// Owner "unset": a datacenter puts its administrator there on import.
const NO_OWNER: &str = "00000000-0000-0000-0000-000000000000";
/// What an LX zone says to be, when asked for its kernel.
const LX_KERNEL: &str = "4.4.0";
/// Namespace of the uuids of our images, itself random.
const NAMESPACE: uuid::Uuid =
    uuid::uuid!("6f0a7c9e-52d4-4a55-9f2b-0c1d8e3b7a64");

/// The tag that holds the digest of the list of contents.
pub const SBOM_TAG: &str = "triton.sbom.sha256";
/// The tag that names its file.
pub const SBOM_FILE_TAG: &str = "triton.sbom.file";
/// The tag that holds the digest of the image's file: SHA-1, which the file's
/// own entry has, proves nothing any more.
pub const FILE_TAG: &str = "triton.file.sha256";
/// The tag of images that hold what nobody pinned.
pub const UNPINNED_TAG: &str = "triton.unpinned";

/// A manifest as we write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageManifest {
    /// Always 2.
    pub v: u8,
    /// The image.
    pub uuid: String,
    /// Whose it is.
    pub owner: String,
    /// As sdcadm and manta-adm look for it.
    pub name: String,
    /// The stamp.
    pub version: String,
    /// `active`, as builders write it.
    pub state: String,
    /// No.
    pub disabled: bool,
    /// No: an updates server is a private one.
    pub public: bool,
    /// The stamp's time.
    pub published_at: String,
    /// `zone-dataset` or `docker`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `smartos` or `linux`.
    pub os: String,
    /// The one file.
    pub files: Vec<File>,
    /// A sentence.
    pub description: String,
    /// Where to read more.
    pub homepage: String,
    /// What a host must have.
    pub requirements: Value,
    /// The only place for anything of ours.
    pub tags: Map<String, Value>,
}

/// The image's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Of the file as it is sent, 40 hex digits.
    pub sha1: String,
    /// Its length, bytes.
    pub size: u64,
    /// `gzip`.
    pub compression: String,
    /// The snapshot's guid, of a ZFS stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset_guid: Option<String>,
}

/// What the parts of an image turned out to be.
#[derive(Clone, Debug)]
pub struct Contents<'a> {
    /// The image's file.
    pub file: &'a digest::Digests,
    /// The snapshot's guid, of a ZFS stream.
    pub dataset_guid: Option<u64>,
    /// The list of contents.
    pub sbom: &'a digest::Digests,
    /// Its file name.
    pub sbom_file: &'a str,
    /// Components that nobody pinned.
    pub unpinned: &'a [String],
}

/// The manifest of a built image.
pub fn make(
    plan: &Plan,
    contents: &Contents<'_>,
) -> anyhow::Result<ImageManifest> {
    let (kind, os) = match plan.brand {
        Brand::JoyentMinimal => ("zone-dataset", "smartos"),
        Brand::Lx => ("docker", "linux"),
    };
    let guid = contents.dataset_guid.map(|guid| guid.to_string());
    Ok(ImageManifest {
        v: 2,
        uuid: uuid(plan, contents).to_string(),
        owner: NO_OWNER.into(),
        name: plan.image.name.clone(),
        version: plan.stamp.version.clone(),
        state: "active".into(),
        disabled: false,
        public: false,
        published_at: plan.stamp.published_at()?,
        kind: kind.into(),
        os: os.into(),
        files: vec![File {
            sha1: contents.file.sha1.clone(),
            size: contents.file.len,
            compression: "gzip".into(),
            dataset_guid: guid,
        }],
        description: plan.image.description.clone(),
        homepage: plan.image.homepage.clone(),
        requirements: requirements(plan),
        tags: tags(plan, contents),
    })
}

/// The part that a build host of Triton's own takes, beside a proto tar.
pub fn template(plan: &Plan) -> Value {
    json!({
        "name": plan.image.name,
        "version": plan.stamp.version,
        "description": plan.image.description,
        "homepage": plan.image.homepage,
        "requirements": requirements(plan),
        "tags": service(plan.brand),
    })
}

fn requirements(plan: &Plan) -> Value {
    let mut all = match plan.brand {
        Brand::JoyentMinimal => json!({}),
        Brand::Lx => json!({
            "brand": "lx",
            "networks": [{ "name": "net0", "description": "admin" }],
        }),
    };
    if let Some(platform) = &plan.min_platform {
        all["min_platform"] = json!({ "7.0": platform.0 });
    }
    all
}

/// What SAPI may make a service of: it knows native zones alone.
fn service(brand: Brand) -> Map<String, Value> {
    let mut tags = Map::new();
    if brand == Brand::JoyentMinimal {
        tags.insert("smartdc_service".into(), true.into());
    }
    tags
}

fn tags(plan: &Plan, contents: &Contents<'_>) -> Map<String, Value> {
    let mut tags = service(plan.brand);
    let mut tag = |key: &str, value: Value| tags.insert(key.into(), value);
    tag("triton.role", plan.image.role.as_str().into());
    if plan.brand == Brand::Lx {
        tag("kernel_version", LX_KERNEL.into());
    }
    tag(FILE_TAG, contents.file.sha256.as_str().into());
    tag(SBOM_TAG, contents.sbom.sha256.as_str().into());
    tag(SBOM_FILE_TAG, contents.sbom_file.into());
    if !contents.unpinned.is_empty() {
        tag(UNPINNED_TAG, contents.unpinned.join(" ").into());
    }
    tags
}

/// The same image has the same uuid, another one another: a name-based uuid
/// (RFC 9562, version 5) of all that it is.
fn uuid(plan: &Plan, contents: &Contents<'_>) -> uuid::Uuid {
    let name = [
        plan.image.name.as_str(),
        &plan.stamp.version,
        plan.brand.as_str(),
        contents.file.sha256.as_str(),
        contents.sbom.sha256.as_str(),
    ];
    name_based(&name.join("\n"))
}

/// A uuid of version 5 in our namespace.
pub fn name_based(name: &str) -> uuid::Uuid {
    let bytes = [&NAMESPACE.as_bytes()[..], name.as_bytes()].concat();
    let digest = digest::sha1(&bytes);
    let first = digest[..16].try_into().expect("16 of 20 bytes");
    uuid::Builder::from_sha1_bytes(first).into_uuid()
}

/// Judges a manifest by every rule there is; `path` is for messages.
///
/// Errors: all that is wrong with it.
pub fn check(manifest: &Value, path: &Path) -> Result<(), Problems> {
    let mut problems = Problems::default();
    rules::check(manifest, path, &mut problems);
    problems.or(())
}

#[cfg(test)]
mod tests;
