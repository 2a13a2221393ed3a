// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A Debian for LX zones, by mmdebstrap from the archives that apt is set up
//! for (or those the artifact names): apt checks what the archive signed, and
//! the tar it makes is pinned as a whole. No kernel, no boot loader: the brand
//! brings what they would.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::artifacts::DebianRoot;
use crate::cache::{Cache, Cached};
use crate::fetch::{self, run};
use crate::tree::{Content, Kind, Tree, TreePath};

/// A package that the root has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DebianPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
}

/// What is here of a root, for a build.
///
/// Errors: nothing; says how to bring it.
pub fn cached(cache: &Cache, root: &DebianRoot) -> Result<Cached> {
    let found = match &root.sha256 {
        Some(sha256) => cache.get(sha256)?,
        None => cache.last(&key(root))?,
    };
    found.with_context(|| {
        format!(
            "Debian {} is not in the cache; `zone-image fetch` makes it",
            root.suite
        )
    })
}

/// Makes a root, unless it is here. Says whether it was made now.
///
/// Errors: not root, mmdebstrap's own, or another tar than the one pinned.
pub async fn bring(
    cache: &Cache,
    root: &DebianRoot,
    unpinned: bool,
) -> Result<(Cached, bool)> {
    let here = match &root.sha256 {
        Some(sha256) => cache.get(sha256)?,
        None => cache.last(&key(root))?,
    };
    if let Some(cached) = here {
        return Ok((cached, false));
    }
    if root.sha256.is_none() && root.unpinned.is_none() && !unpinned {
        bail!(
            "Debian {}: sha256 absent; wanted 64 hex digits, which \
             `zone-image fetch --pin` tells",
            root.suite
        );
    }
    let tar = make(cache, root).await?;
    let what = format!("Debian {} by mmdebstrap", root.suite);
    let cached = cache.put(tar, root.sha256.as_ref(), &what)?;
    if root.sha256.is_none() {
        cache.remember(&key(root), &cached.sha256)?;
    }
    Ok((cached, true))
}

async fn make(
    cache: &Cache,
    root: &DebianRoot,
) -> Result<tempfile::NamedTempFile> {
    let tar = cache.temporary()?;
    // Its name becomes one in the root: always the same.
    let folder = tempfile::tempdir_in(cache.work()?)?;
    let sources = folder.path().join("sources.list");
    let lines = match root.mirrors.is_empty() {
        true => archives(&root.suite).await?,
        false => root.mirrors.clone(),
    };
    std::fs::write(&sources, lines.join("\n") + "\n")?;
    // env, since a command of ours has no environment of its own: the clock,
    // and a locale that sorts as everybody's does.
    let temporary = fetch::temporary(cache)?;
    let epoch = format!("SOURCE_DATE_EPOCH={}", root.epoch);
    let include = format!("--include={}", root.packages.join(","));
    let out = tar.path().to_string_lossy().into_owned();
    let list = sources.to_string_lossy().into_owned();
    let argv = [
        // Its own time, whoever asks: the same modes in every file it makes.
        "/bin/sh",
        "-c",
        "umask 022; exec \"$@\"",
        "sh",
        "env",
        &epoch,
        &temporary,
        "LC_ALL=C.UTF-8",
        "TZ=UTC",
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--format=tar",
        "--variant=minbase",
        &include,
        // Documentation and translations that nobody reads in a zone.
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        // Never as apt's own user: whether that one may enter the folder this
        // is made in would be seen in the tar. Not an option of the zone's.
        "--aptopt=APT::Sandbox::User \"root\"",
        "--customize-hook=rm \"$1/etc/apt/apt.conf.d/99mmdebstrap\"",
        &root.suite,
        &out,
        &list,
    ];
    run(&argv).await.context("could not make a Debian")?;
    Ok(tar)
}

/// The archives apt is set up for that belong to a release.
async fn archives(suite: &str) -> Result<Vec<String>> {
    let argv = [
        "apt-get",
        "indextargets",
        "--format",
        "deb $(SITE) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
        "Origin: Debian",
    ];
    let said = run(&argv).await.context("could not ask apt for archives")?;
    let ours = |line: &&str| {
        line.split(' ').nth(2).is_some_and(|release| {
            let rest = release.strip_prefix(suite);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    };
    let mut lines: Vec<_> =
        said.stdout.lines().filter(ours).map(str::to_owned).collect();
    lines.sort();
    lines.dedup();
    if lines.is_empty() {
        bail!("apt has no archive of Debian {suite}; run apt-get update");
    }
    Ok(lines)
}

/// All that decides the bytes, but for the state of the archive.
fn key(root: &DebianRoot) -> String {
    let packages = root.packages.join(",");
    let mirrors = root.mirrors.join(",");
    format!("debian {} {} {packages} {mirrors}", root.suite, root.epoch)
}

/// Checks that a path is a Debian root's and tells its packages, sorted.
///
/// Errors: no package database in it.
/// Source: dpkg's `status`, the fields of deb-control(5).
pub fn packages(tree: &Tree) -> Result<Vec<DebianPackage>> {
    let path = TreePath::parse("var/lib/dpkg/status")?;
    let entry = tree.get(&path).map(|entry| &entry.kind);
    let Some(Kind::File(content)) = entry else {
        bail!("{path} is missing: no Debian");
    };
    let text = read(content).with_context(|| path.to_string())?;
    let mut all: Vec<_> = text.split("\n\n").filter_map(paragraph).collect();
    all.sort();
    Ok(all)
}

fn read(content: &Content) -> std::io::Result<String> {
    std::io::read_to_string(content.open()?)
}

fn paragraph(text: &str) -> Option<DebianPackage> {
    let field = |name: &str| {
        text.lines().find_map(|line| {
            Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned())
        })
    };
    Some(DebianPackage {
        name: field("Package")?,
        version: field("Version")?,
        architecture: field("Architecture")?,
    })
}

/// The files of a binary package as a tar in `work`.
pub async fn package_tar(
    deb: &Path,
    work: &Path,
) -> Result<std::path::PathBuf> {
    let tar = work.join(format!("{}.tar", uuid::Uuid::new_v4()));
    let deb = deb.to_string_lossy();
    let out = tar.to_string_lossy();
    let script = "exec dpkg-deb --fsys-tarfile \"$1\" >\"$2\"";
    run(&["/bin/sh", "-ec", script, "dpkg-deb", &deb, &out]).await?;
    Ok(tar)
}
