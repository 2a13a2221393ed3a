// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a build leaves: image file, list of contents, manifest, signature. All
//! are written aside and put in place together, the manifest last; whatever
//! happens before that, nothing is left.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::build::{Built, Part};
use crate::digest::Digests;
use crate::manifest::{self, Contents, ImageManifest};
use crate::output::Digested;
use crate::plan::Plan;
use crate::recipe::Brand;
use crate::scratch::{self, Scratch};
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
    /// Whether an image of this name and version gives way to another.
    pub force: bool,
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
/// Errors: the disk's own; another image of this name and version is there.
/// Then the folder is as it was.
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
    let files = stage.commit(wanted.force)?;
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
        let file = BufWriter::with_capacity(1 << 20, Ending(file));
        let mut meter = Digested::new(file);
        fill(&mut meter).with_context(shown)?;
        let (buffer, facts) = meter.finish();
        let file = buffer.into_inner().map_err(|e| e.into_error());
        file.and_then(|file| file.0.sync_all()).with_context(shown)?;
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

    /// Everything in place, the manifest last: who sees it, sees all. On an
    /// error the folder is as it was.
    fn commit(mut self, force: bool) -> Result<Vec<Written>> {
        let _placing = scratch::placing()?;
        let last = |file: &Written| file.name.ends_with(".imgmanifest");
        self.written
            .sort_by(|a, b| (last(a), &a.name).cmp(&(last(b), &b.name)));
        if !force {
            self.only_the_same()?;
        }
        let mut placed = Placed { aside: self.aside.path(), all: Vec::new() };
        if force && let Some(manifest) = self.written.last() {
            // Who signed what was there did not sign this.
            let signature = sign::beside(&self.folder.join(&manifest.name));
            placed.take_away(&signature).with_context(|| {
                format!("could not remove {}", signature.display())
            })?;
        }
        for file in &self.written {
            let to = self.folder.join(&file.name);
            placed
                .place(&self.aside.path().join(&file.name), &to)
                .with_context(|| format!("could not place {}", to.display()))?;
        }
        File::open(self.folder)?.sync_all()?;
        placed.all.clear();
        drop(placed);
        self.written.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(self.written)
    }

    /// A stamp stands for certain bytes, and others may have them by now.
    /// Signatures of the same bytes differ, and may.
    fn only_the_same(&self) -> Result<()> {
        for file in &self.written {
            let there = self.folder.join(&file.name);
            if file.name.ends_with(".sig") || !there.exists() {
                continue;
            }
            let seen =
                crate::digest::sha256_of_file(&there).with_context(|| {
                    format!("could not read {}", there.display())
                })?;
            if seen.as_str() != file.sha256 {
                bail!(
                    "{} is there with other bytes, sha256 {seen}; wanted \
                     {}, another stamp, or --force",
                    there.display(),
                    file.sha256
                );
            }
        }
        Ok(())
    }
}

/// A file that fails once this program is told to end.
struct Ending(File);

impl Write for Ending {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        scratch::goes_on()?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// Files put in place so far; taken back when dropped before the end.
struct Placed<'a> {
    aside: &'a Path,
    /// Each, and what was there before.
    all: Vec<(PathBuf, Option<PathBuf>)>,
}

impl Placed<'_> {
    /// A file that need not be there.
    fn take_away(&mut self, file: &Path) -> std::io::Result<()> {
        let kept = self.aside.join(format!("before-{}", self.all.len()));
        match std::fs::rename(file, &kept) {
            Ok(()) => self.all.push((file.to_owned(), Some(kept))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    fn place(&mut self, from: &Path, to: &Path) -> std::io::Result<()> {
        let mut before = None;
        if to.exists() {
            let kept = self.aside.join(format!("before-{}", self.all.len()));
            std::fs::hard_link(to, &kept)?;
            before = Some(kept);
        }
        std::fs::rename(from, to)?;
        self.all.push((to.to_owned(), before));
        Ok(())
    }
}

impl Drop for Placed<'_> {
    fn drop(&mut self) {
        for (file, before) in self.all.drain(..).rev() {
            // The error that brought us here is the one to tell.
            let _ = match before {
                Some(before) => std::fs::rename(before, file),
                None => std::fs::remove_file(file),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage<'a>(folder: &'a Path, text: &str) -> Stage<'a> {
        let mut stage = Stage::new(folder).unwrap();
        for name in ["a.spdx.json", "a.tar.gz", "a.imgmanifest"] {
            let write = |out: &mut dyn Write| -> Result<()> {
                Ok(out.write_all(text.as_bytes())?)
            };
            stage.file(name, write).unwrap();
        }
        stage
    }

    fn texts(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.sort();
        let text = |path: PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(path).unwrap_or_default();
            format!("{name} {text}")
        };
        names.into_iter().map(text).collect()
    }

    #[test]
    fn other_bytes_of_a_stamp_want_force() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        stage(folder, "one").commit(false).unwrap();
        stage(folder, "one").commit(false).unwrap();
        let before = texts(folder);
        let error = stage(folder, "two").commit(false).unwrap_err();
        assert!(error.to_string().contains("or --force"), "{error}");
        assert_eq!(texts(folder), before);
        std::fs::write(folder.join("a.imgmanifest.sig"), "of one").unwrap();
        stage(folder, "two").commit(true).unwrap();
        let wanted = ["a.imgmanifest two", "a.spdx.json two", "a.tar.gz two"];
        assert_eq!(texts(folder), wanted);
    }

    /// The manifest cannot be placed: a folder has its name.
    #[test]
    fn what_was_placed_before_an_error_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        std::fs::create_dir_all(folder.join("a.imgmanifest/full")).unwrap();
        std::fs::write(folder.join("a.tar.gz"), "one").unwrap();
        let before = texts(folder);
        stage(folder, "two").commit(true).unwrap_err();
        assert_eq!(texts(folder), before);
    }
}
