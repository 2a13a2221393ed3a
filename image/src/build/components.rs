// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! How each kind of component becomes a tree.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{Builder, Part, Within};
use crate::artifacts::{
    Archive, Artifact, DebianRoot, Go, Made, Pkgsrc, Single, Source,
};
use crate::tree::{Content, Entry, Kind, Meta, Tree, TreePath};
use crate::unpack::{self, How};
use crate::{debian, digest, fetch, golang};

impl Builder<'_> {
    pub(super) fn account(
        &self,
        source: &Source,
        part: &mut Part,
    ) -> Result<()> {
        let cached = fetch::cached(self.place.cache, source)?;
        part.sources.push((source.from.to_string(), cached.sha256));
        if source.sha256.is_none() {
            part.unpinned.clone_from(&source.unpinned);
        }
        Ok(())
    }

    pub(super) fn how(&self, name: &str, strip: usize) -> How {
        How {
            name: name.to_owned(),
            strip,
            epoch: self.plan.stamp.epoch,
            owners: false,
            whole: false,
            without: &[],
        }
    }

    pub(super) fn cached(&self, source: &Source) -> Result<PathBuf> {
        Ok(fetch::cached(self.place.cache, source)?.path)
    }

    pub(super) async fn archive(
        &self,
        archive: &Archive,
        part: &Part,
    ) -> Result<Tree> {
        let path = self.cached(&archive.source)?;
        let tar = unpack::plain_tar(&path, self.place.work)?;
        self.chosen(archive, part, &tar, false)
    }

    pub(super) async fn debian_package(
        &self,
        archive: &Archive,
        part: &Part,
    ) -> Result<Tree> {
        let path = self.cached(&archive.source)?;
        let tar = debian::package_tar(&path, self.place.work).await?;
        self.chosen(archive, part, &tar, true)
    }

    /// What is picked of an archive; all of it, if nothing is.
    pub(super) fn chosen(
        &self,
        archive: &Archive,
        part: &Part,
        tar: &Path,
        whole: bool,
    ) -> Result<Tree> {
        let from = archive.source.from.to_string();
        let how = How { whole, ..self.how(&from, archive.strip) };
        let tree = unpack::read(tar, &how)?;
        if archive.pick.is_empty() {
            return Ok(tree);
        }
        let mut chosen = Tree::new(self.root);
        unpack::choose(&tree, &archive.pick, &mut chosen, self.root)
            .with_context(|| format!("{}: pick of {}", part.name, how.name))?;
        Ok(chosen)
    }

    pub(super) async fn go(
        &self,
        go: &Go,
        part: &mut Part,
        patches: &[PathBuf],
        chain: Option<&Artifact>,
    ) -> Result<Tree> {
        let Some(Made::Toolchain(chain)) =
            chain.and_then(|chain| chain.any.as_ref())
        else {
            bail!("no toolchain {}", go.toolchain);
        };
        let program = golang::program(chain, self.place.cache).await?;
        // Who compiles decides the bytes as the source does.
        if chain.host.is_some() {
            part.unpinned = Some("compiled by this machine's own Go".into());
        } else if let Some(source) = &chain.source
            && source.sha256.is_none()
        {
            part.unpinned.clone_from(&source.unpinned);
        }
        let name = part.name.clone();
        let job = golang::Job {
            name: &name,
            go,
            patches,
            program: &program,
            brand: self.plan.brand,
            epoch: self.plan.stamp.epoch,
            work: self.place.work,
        };
        let built = golang::build(&job, self.place.cache).await?;
        if let Some(sha256) = built.vendor {
            part.sources.push(("modules by go mod vendor".into(), sha256));
            if let Some(vendor) = &go.vendor
                && vendor.sha256.is_none()
            {
                part.unpinned.clone_from(&vendor.unpinned);
            }
        }
        for patch in patches {
            let name = patch.file_name().unwrap_or_default();
            let name = name.to_string_lossy().into_owned();
            part.patches.push((name, digest::sha256_of_file(patch)?));
        }
        let library = golang::Module {
            path: "stdlib".into(),
            version: built.compiler.trim_start_matches("go").to_owned(),
        };
        for module in built.modules.into_iter().chain([library]) {
            part.within.push(Within {
                purl: format!("pkg:golang/{}@{}", module.path, module.version),
                name: module.path,
                version: module.version,
                licence: None,
            });
        }
        Ok(built.tree)
    }

    pub(super) fn pkgsrc(&self, set: &Pkgsrc, part: &mut Part) -> Result<Tree> {
        let prefix = TreePath::parse(&set.prefix)?;
        let mut all = Tree::new(self.root);
        for package in &set.package {
            let path = self.cached(&package.source)?;
            let tar = unpack::plain_tar(&path, self.place.work)?;
            let how = self.how(&package.name, 0);
            let mut one = unpack::read(&tar, &how)?;
            // Its description, and scripts that only pkg_add would run.
            let is_own = |path: &&TreePath| path.as_bytes().starts_with(b"+");
            let names = one.iter().map(|(path, _)| path);
            let own: Vec<_> = names.filter(is_own).cloned().collect();
            for path in own {
                one.remove(&path, false);
            }
            all.graft(&one, &prefix, self.root, false)
                .with_context(|| package.name.clone())?;
            let (name, version) = package
                .name
                .rsplit_once('-')
                .context("a package name without a version")?;
            part.within.push(Within {
                name: name.to_owned(),
                version: version.to_owned(),
                licence: Some(package.licence.clone()),
                purl: format!("pkg:generic/pkgsrc/{name}@{version}"),
            });
        }
        Ok(all)
    }

    pub(super) fn debian(
        &self,
        root: &DebianRoot,
        part: &mut Part,
    ) -> Result<Tree> {
        let cached = debian::cached(self.place.cache, root)?;
        let from = format!("Debian {} by mmdebstrap", root.suite);
        if root.sha256.is_none() {
            part.unpinned.clone_from(&root.unpinned);
        }
        part.sources.push((from.clone(), cached.sha256));
        let how = How {
            owners: true,
            whole: true,
            without: &["dev", "proc", "sys", "run", "tmp"],
            ..self.how(&from, 0)
        };
        let tree = unpack::read(&cached.path, &how)?;
        for package in debian::packages(&tree)? {
            let debian::DebianPackage { name, version, architecture } = package;
            let purl =
                format!("pkg:deb/debian/{name}@{version}?arch={architecture}");
            part.within.push(Within { name, version, licence: None, purl });
        }
        Ok(tree)
    }

    pub(super) fn single(&self, single: &Single) -> Result<Tree> {
        let path = self.cached(&single.source)?;
        let len = std::fs::metadata(&path)?.len();
        let kind = Kind::File(Content::OnDisk { path, offset: 0, len });
        let mode = if single.program { 0o755 } else { 0o644 };
        let entry = Entry { kind, meta: Meta { mode, ..self.root } };
        let mut tree = Tree::new(self.root);
        let name = TreePath::parse(&single.name)?;
        tree.insert_deep(name, entry, self.root)?;
        Ok(tree)
    }
}
