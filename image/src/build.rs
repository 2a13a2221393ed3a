// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Carries out a plan: steps become a tree in memory, with an account of what
//! came from where. Only the cache and the workspace are read; no network.
//! Whatever goes in is copied to a folder of ours and digested on the way, so
//! that the account is of the bytes that go in, not of what had their name.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::artifacts::{Artifact, Made, Sha256};
use crate::cache::Cache;
use crate::digest::{self, Digests};
use crate::elf;
use crate::plan::{Plan, Step};
use crate::tree::{Content, Entry, Kind, Meta, Tree, TreePath};

mod components;

/// What a plan made.
pub struct Built {
    /// What the image holds.
    pub tree: Tree,
    /// What it is made of, in the order of the steps.
    pub parts: Vec<Part>,
}

/// What a component, a program of ours or the rest of our files brought.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its version; the image's own for what is ours.
    pub version: String,
    /// SPDX expression.
    pub licence: String,
    /// Where it comes from, for people.
    pub homepage: String,
    /// Where its bytes came from, and which they were.
    pub sources: Vec<(String, Sha256)>,
    /// Patches of ours: file name and digest.
    pub patches: Vec<(String, Sha256)>,
    /// Why it was let in unpinned.
    pub unpinned: Option<String>,
    /// What it is made of itself: package URLs with name and version.
    pub within: Vec<Within>,
    /// Names it laid.
    pub names: usize,
    /// Bytes of its files.
    pub bytes: u64,
    /// Its files, unless it is a whole system: path and digests.
    pub files: Vec<(TreePath, Digests)>,
}

/// A part of a part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Within {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SPDX expression, where one is known.
    pub licence: Option<String>,
    /// Its package URL.
    pub purl: String,
    /// SHA-256 of its package, where one is known.
    pub sha256: Option<Sha256>,
}

/// Where a build works.
pub struct Place<'a> {
    /// Inputs.
    pub cache: &'a Cache,
    /// Holds unpacked archives and compiled programs, which the tree refers
    /// to: must outlive it.
    pub work: &'a Path,
}

/// Carries out `plan`; `tell` hears of each step before it is taken.
///
/// Errors: the first that comes, with the step's name.
pub async fn build(
    plan: &Plan,
    place: &Place<'_>,
    tell: &dyn Fn(usize, &Step),
) -> Result<Built> {
    let root = Meta { mode: 0o755, uid: 0, gid: 0, mtime: plan.stamp.epoch };
    let mut builder = Builder {
        plan,
        place,
        root,
        built: Built { tree: Tree::new(root), parts: Vec::new() },
        ours: BTreeSet::new(),
    };
    for (nth, step) in plan.steps.iter().enumerate() {
        tell(nth, step);
        builder.take(step).await.with_context(|| {
            let line = step.line(plan.brand);
            format!("step {}: {} {}", nth + 1, line.action, line.what)
        })?;
    }
    builder.check_programs()?;
    Ok(builder.built)
}

struct Builder<'a> {
    plan: &'a Plan,
    place: &'a Place<'a>,
    root: Meta,
    built: Built,
    /// Files of components and ours; not those of a whole system.
    ours: BTreeSet<TreePath>,
}

impl Builder<'_> {
    async fn take(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Component { name, artifact, to, patches, toolchain } => {
                let chain = toolchain.as_deref().map(|(_, chain)| chain);
                self.component(name, artifact, to, patches, chain).await
            }
            Step::Remove { path, content } => {
                self.built.tree.remove(path, *content);
                Ok(())
            }
            Step::Folder { path, mode } => {
                let kind = Kind::Directory;
                self.insert(path, kind, mode.0, false)
            }
            Step::Program { name, from, to, made_of } => {
                self.program(name, from, to, made_of)
            }
            Step::Files { files, mode, .. } => {
                for (from, to) in files {
                    self.file(step.owner(), from, to, mode.0)?;
                }
                Ok(())
            }
            Step::Text { path, mode, text, replace } => {
                let content = Content::Bytes(text.as_bytes().into());
                self.note(step.owner(), path, digest::of(text.as_bytes())?);
                self.insert(path, Kind::File(content), mode.0, *replace)
            }
            Step::Linker { path, bytes } => {
                let content = Content::Bytes(bytes.as_slice().into());
                self.note(step.owner(), path, digest::of(&bytes[..])?);
                self.insert(path, Kind::File(content), 0o644, false)
            }
            Step::Link { path, target, replace } => {
                let kind = Kind::Symlink(target.as_bytes().to_vec());
                self.insert(path, kind, 0o777, *replace)
            }
        }
    }

    fn insert(
        &mut self,
        path: &TreePath,
        kind: Kind,
        mode: u16,
        replace: bool,
    ) -> Result<()> {
        if replace {
            self.built.tree.remove(path, false);
        }
        let entry = Entry { kind, meta: Meta { mode, ..self.root } };
        self.built.tree.insert_deep(path.clone(), entry, self.root)?;
        Ok(())
    }

    /// The account of what is ours.
    fn part(&mut self, name: &str) -> &mut Part {
        let at = self.built.parts.iter().position(|part| part.name == name);
        let at = at.unwrap_or_else(|| {
            self.built.parts.push(Part {
                name: name.to_owned(),
                version: self.plan.stamp.version.clone(),
                licence: "MPL-2.0".into(),
                homepage: self.plan.image.homepage.clone(),
                ..Part::default()
            });
            self.built.parts.len() - 1
        });
        &mut self.built.parts[at]
    }

    fn note(&mut self, owner: &str, path: &TreePath, digests: Digests) {
        self.ours.insert(path.clone());
        let part = self.part(owner);
        part.names += 1;
        part.bytes += digests.len;
        part.files.push((path.clone(), digests));
    }

    fn program(
        &mut self,
        name: &str,
        from: &Path,
        to: &TreePath,
        made_of: &[Within],
    ) -> Result<()> {
        let copy = self.file(name, from, to, 0o755)?;
        // Before anything else: what is wrong with it is best told by the
        // name the operator gave.
        elf::check(&std::fs::read(copy)?, self.plan.brand, from, &|_| false)?;
        self.part(name).within.extend_from_slice(made_of);
        Ok(())
    }

    /// Lays a file of the workspace; returns the copy that goes in.
    fn file(
        &mut self,
        owner: &str,
        from: &Path,
        to: &TreePath,
        mode: u16,
    ) -> Result<PathBuf> {
        let (copy, digests) = digest::copy(from, self.place.work)
            .with_context(|| format!("could not read {}", from.display()))?;
        let (path, len) = (copy.clone(), digests.len);
        self.note(owner, to, digests);
        let content = Content::OnDisk { path, offset: 0, len };
        self.insert(to, Kind::File(content), mode, false)?;
        Ok(copy)
    }

    async fn component(
        &mut self,
        name: &str,
        artifact: &Artifact,
        to: &TreePath,
        patches: &[PathBuf],
        chain: Option<&Artifact>,
    ) -> Result<()> {
        let made = artifact.made(self.plan.brand);
        let made = made.context("not made for this brand")?;
        let mut part = Part {
            name: name.to_owned(),
            version: artifact.version.clone(),
            licence: artifact.licence.clone(),
            homepage: artifact.homepage.clone(),
            ..Part::default()
        };
        let whole = matches!(made, Made::DebianRoot(_));
        let tree = match made {
            Made::Archive(archive) => self.archive(archive, &mut part)?,
            Made::DebianPackage(archive) => {
                self.debian_package(archive, &mut part).await?
            }
            Made::Go(go) => self.go(go, &mut part, patches, chain).await?,
            Made::Pkgsrc(set) => self.pkgsrc(set, &mut part)?,
            Made::DebianRoot(root) => self.debian(root, &mut part).await?,
            Made::File(single) => self.single(single, &mut part)?,
            Made::Toolchain(_) => bail!("a toolchain goes into no image"),
        };
        self.lay(&tree, to, &mut part, whole)?;
        self.built.parts.push(part);
        Ok(())
    }

    /// Lays a component's tree below `to`.
    fn lay(
        &mut self,
        tree: &Tree,
        to: &TreePath,
        part: &mut Part,
        whole: bool,
    ) -> Result<()> {
        for (path, entry) in tree.iter().skip(1) {
            part.names += 1;
            let Kind::File(content) = &entry.kind else { continue };
            part.bytes += content.len();
            if !whole {
                let at = path.below(to)?;
                let digests = digest::of(content.open()?)?;
                self.ours.insert(at.clone());
                part.files.push((at, digests));
            }
        }
        Ok(self.built.tree.graft(tree, to, self.root, false)?)
    }

    /// Every program that is not the system's own fits the brand.
    fn check_programs(&self) -> Result<()> {
        let libraries: BTreeSet<&[u8]> = self
            .built
            .tree
            .iter()
            .map(|(path, _)| path.name())
            .filter(|name| name.windows(3).any(|part| part == b".so"))
            .collect();
        let here = |name: &str| libraries.contains(name.as_bytes());
        for path in &self.ours {
            let entry = self.built.tree.get(path).map(|entry| &entry.kind);
            let Some(Kind::File(content)) = entry else { continue };
            let mut start = [0; 4];
            let mut reader = content.open()?;
            if reader.read_exact(&mut start).is_err() || !elf::is_elf(&start) {
                continue;
            }
            let mut data = start.to_vec();
            reader.read_to_end(&mut data)?;
            let shown = Path::new("/").join(OsStr::from_bytes(path.as_bytes()));
            elf::check(&data, self.plan.brand, &shown, &here)?;
        }
        Ok(())
    }
}
