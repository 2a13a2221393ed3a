// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a build leaves: image file, list of contents, manifest, signature. All
//! are written aside and put in place together, the manifest last; whatever
//! happens before that, nothing is left.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::build::{Built, Part};
use crate::digest::Digests;
use crate::manifest::{self, Contents, ImageManifest};
use crate::output::Digested;
use crate::plan::Plan;
use crate::recipe::Brand;
use crate::scratch::Scratch;
use crate::{sbom, sign};

/// What to write, and where.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The folder; made if absent.
    pub folder: PathBuf,
    /// Also a proto tar and what a build host needs beside it.
    pub proto: bool,
    /// The key that signs the manifest.
    pub key: Option<PathBuf>,
}

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct Output {
    /// The manifest's file; the one to hand on.
    pub manifest: PathBuf,
    /// Every file with its length and digest, in the order of the names.
    pub files: Vec<Written>,
    /// The image's uuid.
    pub uuid: String,
    /// Sizes by component, in the order of the steps.
    pub sizes: Vec<Size>,
}

/// One file.
#[derive(Clone, Debug, Serialize)]
pub struct Written {
    /// Its name in the folder.
    pub name: String,
    /// Bytes.
    pub len: u64,
    /// SHA-256, hex.
    pub sha256: String,
}

/// How much of an image a component is.
#[derive(Clone, Debug, Serialize)]
pub struct Size {
    /// The component.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Names it laid.
    pub names: usize,
    /// Bytes of its files.
    pub bytes: u64,
}

/// Files on their way into a folder.
struct Stage<'a> {
    folder: &'a Path,
    aside: Scratch,
    written: Vec<Written>,
}

/// Writes all of an image.
///
/// Errors: the disk's own; then nothing is left but the folder.
pub async fn write(
    plan: &Plan,
    built: &Built,
    wanted: &Wanted,
) -> Result<Output> {
    let mut stage = Stage::new(&wanted.folder)?;
    let name = format!("{}-{}", plan.image.name, plan.stamp.version);
    let ending = match plan.brand {
        Brand::JoyentMinimal => "zfs.gz",
        Brand::Lx => "tar.gz",
    };
    let mut guid = None;
    let file = stage.file(&format!("{name}.{ending}"), |out| {
        guid = image(plan, built, out)?;
        Ok(())
    })?;
    let sbom_file = format!("{name}.spdx.json");
    let document = sbom::document(plan, built)?;
    let sbom = stage
        .file(&sbom_file, |out| Ok(out.write_all(document.as_bytes())?))?;
    if wanted.proto {
        proto(plan, built, &mut stage)?;
    }
    let contents = Contents {
        file: &file,
        dataset_guid: guid,
        sbom: &sbom,
        sbom_file: &sbom_file,
        unpinned: &unpinned(&built.parts),
    };
    let manifest = manifest::make(plan, &contents)?;
    let path = stage.manifest(&name, &manifest, wanted.key.as_deref()).await?;
    let files = stage.commit()?;
    Ok(Output {
        manifest: path,
        files,
        uuid: manifest.uuid,
        sizes: sizes(built),
    })
}

fn unpinned(parts: &[Part]) -> Vec<String> {
    let open = parts.iter().filter(|part| part.unpinned.is_some());
    open.map(|part| part.name.clone()).collect()
}

fn sizes(built: &Built) -> Vec<Size> {
    let parts = built.parts.iter();
    parts
        .map(|part| Size {
            name: part.name.clone(),
            version: part.version.clone(),
            names: part.names,
            bytes: part.bytes,
        })
        .collect()
}

/// What `buildimage` of Triton's build system takes: the zone's files below
/// `root/`, and a manifest without what it fills in itself.
fn proto(plan: &Plan, built: &Built, stage: &mut Stage<'_>) -> Result<()> {
    let stamp = &plan.stamp.version;
    let name = format!("{}-pkg-{stamp}", plan.image.name);
    stage.file(&format!("{name}.tar.gz"), |out| {
        crate::writers::proto(plan, built, out)
    })?;
    let template = manifest::template(plan);
    let text = serde_json::to_string_pretty(&template)? + "\n";
    stage.file(&format!("{name}.json"), |out| {
        Ok(out.write_all(text.as_bytes())?)
    })?;
    Ok(())
}

fn image(
    plan: &Plan,
    built: &Built,
    out: &mut dyn Write,
) -> Result<Option<u64>> {
    match plan.brand {
        Brand::Lx => {
            crate::writers::tar_gz(&built.tree, out)?;
            Ok(None)
        }
        Brand::JoyentMinimal => {
            let guid = crate::writers::zfs_gz(plan, built, out)?;
            Ok(Some(guid))
        }
    }
}

impl<'a> Stage<'a> {
    fn new(folder: &'a Path) -> Result<Self> {
        let unwritable = || format!("could not write in {}", folder.display());
        std::fs::create_dir_all(folder).with_context(unwritable)?;
        let aside = Scratch::new(folder, ".zone-image-")?;
        Ok(Self { folder, aside, written: Vec::new() })
    }

    /// One file, on the disk when this returns.
    fn file(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut dyn Write) -> Result<()>,
    ) -> Result<Digests> {
        let path = self.aside.path().join(name);
        let shown =
            || format!("could not write {}", self.folder.join(name).display());
        let file = File::create_new(&path).with_context(shown)?;
        let mut meter = Digested::new(BufWriter::with_capacity(1 << 20, file));
        fill(&mut meter).with_context(shown)?;
        let (buffer, facts) = meter.finish();
        let file = buffer.into_inner().map_err(|e| e.into_error());
        file.and_then(|file| file.sync_all()).with_context(shown)?;
        let digests = Digests::from(facts);
        self.note(name, &digests);
        Ok(digests)
    }

    fn note(&mut self, name: &str, digests: &Digests) {
        self.written.push(Written {
            name: name.to_owned(),
            len: digests.len,
            sha256: digests.sha256.to_string(),
        });
    }

    async fn manifest(
        &mut self,
        name: &str,
        manifest: &ImageManifest,
        key: Option<&Path>,
    ) -> Result<PathBuf> {
        let name = format!("{name}.imgmanifest");
        let text = serde_json::to_string_pretty(manifest)? + "\n";
        self.file(&name, |out| Ok(out.write_all(text.as_bytes())?))?;
        let path = self.aside.path().join(&name);
        manifest::check(&serde_json::from_str(&text)?, &path)?;
        if let Some(key) = key {
            let signature = sign::sign(&path, key).await?;
            let file = File::open(&signature)?;
            file.sync_all()?;
            let digests = crate::digest::of(file)?;
            self.note(&format!("{name}.sig"), &digests);
        }
        Ok(self.folder.join(name))
    }

    /// Everything in place, the manifest last: who sees it, sees all.
    fn commit(mut self) -> Result<Vec<Written>> {
        let last = |file: &Written| file.name.ends_with(".imgmanifest");
        self.written
            .sort_by(|a, b| (last(a), &a.name).cmp(&(last(b), &b.name)));
        for file in &self.written {
            let to = self.folder.join(&file.name);
            std::fs::rename(self.aside.path().join(&file.name), &to)
                .with_context(|| format!("could not place {}", to.display()))?;
        }
        File::open(self.folder)?.sync_all()?;
        self.written.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(self.written)
    }
}
