// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! How each kind of component becomes a tree.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{Builder, Part, Place, Within};
use crate::artifacts::{
    Archive, Artifact, DebianRoot, Go, Made, Pkgsrc, Single, Source,
};
use crate::debian::lock::Deb;
use crate::tree::{Content, Entry, Kind, Meta, Tree, TreePath};
use crate::unpack::{self, How};
use crate::{debian, digest, fetch, golang};

impl Builder<'_> {
    /// A copy of a source that is ours alone, put on the account of what the
    /// part is made of.
    fn bring_in(&self, source: &Source, part: &mut Part) -> Result<PathBuf> {
        let work = self.place.work;
        let taken = fetch::taken(self.place.cache, source, work)?;
        part.sources.push((source.from.to_string(), taken.sha256));
        self.pinned(source, part);
        Ok(taken.path)
    }

    fn pinned(&self, source: &Source, part: &mut Part) {
        if source.sha256.is_none() {
            part.unpinned.clone_from(&source.unpinned);
        }
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

    pub(super) fn archive(
        &self,
        archive: &Archive,
        part: &mut Part,
    ) -> Result<Tree> {
        let path = self.bring_in(&archive.source, part)?;
        let tar = unpack::plain_tar(&path, self.place.work)?;
        self.chosen(archive, part, &tar, false)
    }

    pub(super) async fn debian_package(
        &self,
        archive: &Archive,
        part: &mut Part,
    ) -> Result<Tree> {
        let path = self.bring_in(&archive.source, part)?;
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
        let work = self.place.work;
        let program = golang::program(chain, self.place.cache, work).await?;
        for (_, source) in Made::Go(go.clone()).sources() {
            self.pinned(source, part);
        }
        // Who compiles decides the bytes as the source does.
        match &chain.source {
            Some(source) => self.pinned(source, part),
            None => {
                let why = "compiled by this machine's own Go";
                part.unpinned = Some(why.into());
            }
        }
        // A patch is read several times.
        let folder = tempfile::tempdir_in(work)?;
        let mut copies = Vec::new();
        for patch in patches {
            let name = patch.file_name().unwrap_or_default();
            let (path, digests) = digest::copy(patch, folder.path())?;
            let copy = folder.path().join(name);
            std::fs::rename(path, &copy)?;
            copies.push(copy);
            let name = name.to_string_lossy().into_owned();
            part.patches.push((name, digests.sha256));
        }
        let name = part.name.clone();
        let job = golang::Job {
            name: &name,
            go,
            patches: &copies,
            program: &program,
            brand: self.plan.brand,
            epoch: self.plan.stamp.epoch,
            work,
        };
        let built = golang::build(&job, self.place.cache).await?;
        part.sources.extend(built.sources);
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
                sha256: None,
            });
        }
        Ok(built.tree)
    }

    pub(super) fn pkgsrc(&self, set: &Pkgsrc, part: &mut Part) -> Result<Tree> {
        let prefix = TreePath::parse(&set.prefix)?;
        let mut all = Tree::new(self.root);
        for package in &set.package {
            let path = self.bring_in(&package.source, part)?;
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
                sha256: package.source.sha256.clone(),
            });
        }
        Ok(all)
    }

    pub(super) async fn debian(
        &self,
        root: &DebianRoot,
        part: &mut Part,
    ) -> Result<Tree> {
        let Place { cache, work } = self.place;
        let suite = &root.suite;
        let lock = debian::lock(cache, root)?.with_context(|| {
            format!("Debian {suite} has no lock; `zone-image fetch` makes it")
        })?;
        if root.lock.is_none() {
            part.unpinned.clone_from(&root.unpinned);
        }
        let count = lock.deb.len();
        let from = format!("the lock of {count} packages of Debian {suite}");
        let sha256 = digest::sha256(lock.to_string().as_bytes());
        part.sources.push((from, sha256));
        let tar = debian::take(cache, root, &lock, work).await?;
        let how = How {
            owners: true,
            whole: true,
            without: &["dev", "proc", "sys", "run", "tmp"],
            ..self.how(&format!("Debian {suite} by mmdebstrap"), 0)
        };
        let tree = unpack::read(&tar, &how)?;
        debian::check(&tree, &lock)?;
        for deb in lock.deb {
            let Deb { name, version, architecture, sha256, .. } = deb;
            let purl =
                format!("pkg:deb/debian/{name}@{version}?arch={architecture}");
            let sha256 = Some(sha256);
            let licence = None;
            part.within.push(Within { name, version, licence, purl, sha256 });
        }
        Ok(tree)
    }

    pub(super) fn single(
        &self,
        single: &Single,
        part: &mut Part,
    ) -> Result<Tree> {
        let path = self.bring_in(&single.source, part)?;
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
