// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Judges an image as others will: the manifest by every rule, the file by
//! what the manifest says of it and by its own framing, the list of contents
//! by its digest, the signature by who may sign. Everything is looked at, then
//! everything that is wrong is told.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

use crate::manifest::{self, FILE_TAG, SBOM_FILE_TAG, SBOM_TAG, UNPINNED_TAG};
use crate::unpack::{self, How, UNPACKED_MAX};
use crate::{digest, sign, stream};

/// One look at one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What was looked at.
    pub what: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub found: String,
}

/// Looks at the image of a manifest; files lie beside it.
///
/// Errors: the manifest cannot be read at all.
pub async fn verify(
    manifest: &Path,
    signers: Option<&Path>,
) -> Result<Vec<Verdict>> {
    let shown = || format!("could not read {}", manifest.display());
    let text = std::fs::read_to_string(manifest).with_context(shown)?;
    let value: Value = serde_json::from_str(&text).with_context(shown)?;
    let mut all = Vec::new();
    let mut tell = |what, found: Result<String>| {
        let ok = found.is_ok();
        let found = found.unwrap_or_else(|error| format!("{error:#}"));
        all.push(Verdict { what, ok, found });
    };
    let rules = manifest::check(&value, manifest);
    tell("manifest", rules.map(|()| identity(&value)).map_err(Into::into));
    match image_file(&value, manifest) {
        Ok(file) => {
            tell("file", same_file(&value, &file));
            tell("contents", framing(&value, &file));
        }
        Err(error) => tell("file", Err(error)),
    }
    tell("sbom", same_sbom(&value, manifest));
    tell("pins", pins(&value));
    let signature = sign::beside(manifest);
    match (signers, signature.exists()) {
        (Some(signers), _) => {
            let who = sign::verify(manifest, signers).await;
            tell("signature", who.map(|who| format!("by {who}")));
        }
        (None, true) => {
            let how = "not looked at: --signers FILE says who may sign";
            tell("signature", Ok(how.into()));
        }
        (None, false) => tell("signature", Ok("none".into())),
    }
    Ok(all)
}

fn identity(manifest: &Value) -> String {
    let field = |key: &str| manifest[key].as_str().unwrap_or_default();
    format!("{} {}@{}", field("uuid"), field("name"), field("version"))
}

/// The file beside a manifest: its name with an ending that its type has.
///
/// Errors: none there, or a type that has none.
pub fn image_file(manifest: &Value, path: &Path) -> Result<PathBuf> {
    let endings = match manifest["type"].as_str() {
        Some("docker") => ["tar.gz", "tar"],
        Some("zone-dataset" | "lx-dataset") => ["zfs.gz", "zfs"],
        other => bail!("type {other:?}; wanted docker or zone-dataset"),
    };
    let found = endings
        .iter()
        .map(|ending| path.with_extension("").with_added(ending))
        .find(|path| path.is_file());
    found.with_context(|| {
        format!(
            "no image file beside {}; wanted the same name with one of {}",
            path.display(),
            endings.join(", ")
        )
    })
}

trait WithAdded {
    fn with_added(&self, ending: &str) -> PathBuf;
}

impl WithAdded for Path {
    fn with_added(&self, ending: &str) -> PathBuf {
        let mut name = self.as_os_str().to_owned();
        name.push(".");
        name.push(ending);
        name.into()
    }
}

fn same_file(manifest: &Value, file: &Path) -> Result<String> {
    let shown = file.display();
    let opened = File::open(file).with_context(|| shown.to_string())?;
    let digests = digest::of(opened).with_context(|| shown.to_string())?;
    let entry = &manifest["files"][0];
    if entry["size"].as_u64() != Some(digests.len) {
        bail!("{shown}: {} bytes; wanted {}", digests.len, entry["size"]);
    }
    if entry["sha1"].as_str() != Some(&digests.sha1) {
        bail!("{shown}: sha1 {}; wanted {}", digests.sha1, entry["sha1"]);
    }
    let tag = manifest["tags"][FILE_TAG].as_str();
    let seen = digests.sha256.as_str();
    if tag != Some(seen) {
        let wanted = tag.unwrap_or("a tag that says so");
        bail!("{shown}: sha256 {seen}; {FILE_TAG}: wanted {wanted}");
    }
    Ok(format!("{} bytes, sha256 {seen}", digests.len))
}

/// From the first byte to the last, as who installs it will read it.
fn framing(manifest: &Value, file: &Path) -> Result<String> {
    let shown = file.display();
    let opened = File::open(file).with_context(|| shown.to_string())?;
    let reader = BufReader::new(opened);
    let reader: Box<dyn Read> =
        match manifest["files"][0]["compression"].as_str() {
            Some("gzip") => {
                let reader = flate2::bufread::MultiGzDecoder::new(reader);
                // A bomb ends as a file that was cut off does.
                Box::new(reader.take(UNPACKED_MAX * 2))
            }
            Some("none") => Box::new(reader),
            other => bail!("compression {other:?}; wanted gzip or none"),
        };
    let read = match manifest["type"].as_str() {
        Some("docker") => tar(reader),
        Some("zone-dataset" | "lx-dataset") => zfs(manifest, reader),
        other => bail!("type {other:?}; wanted docker or zone-dataset"),
    };
    read.with_context(|| shown.to_string())
}

/// By the rules that archives go into images by: what passes here, no unpacker
/// can be led astray by.
fn tar(reader: impl Read) -> Result<String> {
    let how = How {
        name: "tar".into(),
        strip: 0,
        epoch: u64::MAX,
        owners: true,
        whole: true,
        without: &[],
    };
    let (names, bytes) = unpack::judge(reader, &how)?;
    Ok(format!("tar of {names} names, {bytes} bytes"))
}

fn zfs(manifest: &Value, reader: impl Read) -> Result<String> {
    let stream = stream::verify(reader)?;
    if stream.from_guid.is_some() != manifest.get("origin").is_some() {
        let kind = if stream.from_guid.is_some() { "an" } else { "no" };
        bail!("{kind} increment; wanted as the manifest's origin says");
    }
    if !stream.name.ends_with("@final") {
        bail!("snapshot {}; wanted @final", stream.name);
    }
    let guid = &manifest["files"][0]["dataset_guid"];
    if guid.as_str().is_some_and(|guid| guid != stream.guid.to_string()) {
        bail!("guid {}; wanted {guid}", stream.guid);
    }
    Ok(format!(
        "ZFS stream of {} objects, {} bytes",
        stream.objects, stream.data_bytes
    ))
}

fn same_sbom(manifest: &Value, path: &Path) -> Result<String> {
    let tag = |key: &str| manifest["tags"][key].as_str();
    let (Some(wanted), Some(name)) = (tag(SBOM_TAG), tag(SBOM_FILE_TAG)) else {
        bail!("tags {SBOM_TAG} and {SBOM_FILE_TAG} absent");
    };
    if name.contains('/') {
        bail!("tag {SBOM_FILE_TAG}: {name:?}; wanted a file name");
    }
    let file = path.with_file_name(name);
    let shown = file.display();
    let bytes = std::fs::read(&file).with_context(|| shown.to_string())?;
    let seen = digest::sha256(&bytes);
    if seen.as_str() != wanted {
        bail!("{shown}: sha256 {seen}; wanted {wanted}");
    }
    let document: Value =
        serde_json::from_slice(&bytes).with_context(|| shown.to_string())?;
    if document["spdxVersion"] != "SPDX-2.3" {
        bail!("{shown}: {}; wanted SPDX-2.3", document["spdxVersion"]);
    }
    let count = |key: &str| document[key].as_array().map_or(0, Vec::len);
    Ok(format!("{} packages, {} files", count("packages"), count("files")))
}

fn pins(manifest: &Value) -> Result<String> {
    match manifest["tags"][UNPINNED_TAG].as_str() {
        None => Ok("every component pinned".into()),
        Some(open) => bail!("not pinned, for tests alone: {open}"),
    }
}
