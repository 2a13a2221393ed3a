// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The modules that Go programs are linked from. They are pinned by the source:
//! its `go.sum` has a hash of each. Fetch brings them as a module proxy has
//! them and keeps that as a tar; a build serves itself from it, and Go checks
//! each module against `go.sum` once more. So nothing rests on the tar being
//! the right one.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Job, how, lay_out, meta};
use crate::artifacts::Sha256;
use crate::cache::{Cache, Cached};
use crate::digest::{self, Digests};
use crate::fetch::run;
use crate::output::Digested;
use crate::tree::{Entry, Kind, Meta, TreePath};
use crate::unpack;

/// All that decides which modules they are.
fn key(job: &Job<'_>, sources: &[(String, Sha256)]) -> Result<String> {
    let mut words = vec![format!("modules {} {}", job.name, job.go.module)];
    for (part, (_, sha256)) in job.go.source.iter().zip(sources) {
        words.push(format!("{sha256} {}", part.into));
    }
    for patch in job.patches {
        words.push(digest::sha256_of_file(patch)?.to_string());
    }
    Ok(words.join("\n"))
}

/// Brings a component's modules, unless they are here, from the module proxy
/// that Go is set up for. Says whether they came now, and the digest of what
/// `go mod vendor` makes of them.
///
/// Errors: the sources are not here, Go's own: a module that `go.sum` does not
/// know, or knows as another.
pub async fn bring(
    job: &Job<'_>,
    cache: &Cache,
) -> Result<(Cached, bool, Sha256)> {
    let folder = tempfile::tempdir_in(job.work)?;
    let source = folder.path().join("source");
    let (_, made_of) = lay_out(job, cache, &source).await?;
    let module = source.join(&job.go.module);
    let key = key(job, &made_of)?;
    if let Some(cached) = cache.last(&key)? {
        let sha256 = vendor(job, &module, &cached).await?;
        return Ok((cached, false, sha256));
    }
    let home = folder.path().join("path");
    let failed = || format!("could not bring the modules of {}", job.name);
    go_mod_vendor(job, &module, &home, None).await.with_context(failed)?;
    // What a proxy would answer, without what only this folder is about.
    let proxy = home.join("pkg/mod/cache/download");
    std::fs::create_dir_all(&proxy)?;
    let root = Meta { mtime: 0, ..meta(job, 0o755) };
    let mut tree = unpack::take_in(&proxy, root)?;
    let is_other = |path: &TreePath, entry: &Entry| {
        let endings = [&b".zip"[..], b".mod", b".info"];
        let mut endings = endings.iter();
        matches!(entry.kind, Kind::File(_))
            && !endings.any(|ending| path.as_bytes().ends_with(ending))
    };
    let others: Vec<_> = tree
        .iter()
        .filter(|(path, entry)| is_other(path, entry))
        .map(|(path, _)| path.clone())
        .collect();
    for path in others {
        tree.remove(&path, false);
    }
    let mut tar = cache.temporary()?;
    crate::tar::write(&tree, &mut tar)?;
    let cached = cache.put(tar, None, &job.name)?;
    let sha256 = vendor(job, &module, &cached).await?;
    cache.remember(&key, &cached.sha256)?;
    Ok((cached, true, sha256))
}

/// Lays the modules of a component into `module` for a build.
///
/// Errors: they are not here, or not those of `go.sum`.
pub(super) async fn lay(
    job: &Job<'_>,
    cache: &Cache,
    module: &Path,
    made_of: &[(String, Sha256)],
) -> Result<Sha256> {
    let here = cache.last(&key(job, made_of)?)?;
    let here = here.with_context(|| {
        format!(
            "the modules of {} are not in the cache; `zone-image fetch` \
             brings them",
            job.name
        )
    })?;
    vendor(job, module, &here).await
}

/// The folder `vendor` of a module from modules that are here: no network.
/// Returns the digest of its tar.
///
/// Errors: Go's own, or another digest than the one that is pinned.
async fn vendor(
    job: &Job<'_>,
    module: &Path,
    modules: &Cached,
) -> Result<Sha256> {
    let name = job.name;
    let failed = || format!("the modules of {name} do not fit its go.sum");
    let folder = tempfile::tempdir_in(job.work)?;
    let proxy = folder.path().join("proxy");
    let tree = unpack::read(&modules.path, &how(job, "modules", 0))?;
    unpack::lay_out(&tree, &proxy)?;
    let home = folder.path().join("path");
    go_mod_vendor(job, module, &home, Some(&proxy))
        .await
        .with_context(failed)?;
    // No time: the same modules are the same tar, whenever they came.
    let root = Meta { mtime: 0, ..meta(job, 0o755) };
    let below = module.join("vendor");
    std::fs::create_dir_all(&below)?;
    let tree = unpack::take_in(&below, root)?;
    let mut meter = Digested::new(std::io::sink());
    crate::tar::write(&tree, &mut meter)?;
    let seen = Digests::from(meter.finish().1).sha256;
    let wanted = job.go.vendor.as_ref().and_then(|v| v.sha256.as_ref());
    match wanted {
        Some(wanted) if *wanted != seen => {
            bail!("the modules of {name}: sha256 {seen}; wanted {wanted}")
        }
        _ => Ok(seen),
    }
}

/// `go mod vendor` with a folder of its own for modules: from `proxy`, or from
/// where Go is set up to ask. It adds no line to `go.sum`: a module that has
/// none there is an error, whatever the checksum database would say.
async fn go_mod_vendor(
    job: &Job<'_>,
    module: &Path,
    home: &Path,
    proxy: Option<&Path>,
) -> Result<()> {
    let path = format!("GOPATH={}", home.display());
    let cache = format!("GOMODCACHE={}", home.join("pkg/mod").display());
    let temporary = format!("TMPDIR={}", job.work.display());
    let proxy =
        proxy.map(|proxy| format!("GOPROXY=file://{}", proxy.display()));
    let (place, go) = (module.to_string_lossy(), job.program.to_string_lossy());
    let mut argv = vec![
        "/bin/sh",
        "-ec",
        "cd \"$1\"; shift; umask 022; exec \"$@\"",
        "go",
        &*place,
        "env",
        &path,
        &cache,
        &temporary,
        // Modules are laid read-only otherwise, and could not be removed.
        "GOFLAGS=-mod=readonly -modcacherw",
        "GOSUMDB=off",
        "GOTOOLCHAIN=local",
        "GOWORK=off",
    ];
    argv.extend(proxy.as_deref());
    argv.extend([&*go, "mod", "vendor"]);
    run(&argv).await?;
    Ok(())
}
