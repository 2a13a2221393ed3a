// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb fetch.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{Usage, Where, recipes, table};
use crate::artifacts::{Artifacts, DebianRoot, Go, Made};
use crate::cache::Cached;
use crate::debian::{self, lock::Lock};
use crate::fetch::Fetcher;
use crate::recipe::{self, Brand};
use crate::{golang, look};

/// Brings the components of images into the cache.
///
/// What is there already is checked and not brought again. A source whose
/// digest is not the pinned one is refused and not kept.
#[derive(Args)]
pub(super) struct FetchArgs {
    /// Recipes or components; left out: all recipes
    names: Vec<String>,
    /// Brand of the zone; left out: both
    #[arg(long)]
    brand: Option<Brand>,
    /// Bring also what nobody has pinned yet, and print the digests to write
    /// into artifacts.toml; write the lock of a Debian that has none
    #[arg(long)]
    pin: bool,
    #[command(flatten)]
    place: Where,
}

const LOCK_HEAD: &str = "\
# This Source Code Form is subject to the terms of the Mozilla Public
# License, v. 2.0. If a copy of the MPL was not distributed with this
# file, You can obtain one at https://mozilla.org/MPL/2.0/.

# Every package of a Debian, a line each. To have those of today: remove this
# file, then
";

/// A component and whom it is for.
type Wanted = BTreeSet<(String, Brand)>;

pub(super) async fn fetch(args: FetchArgs) -> Result<bool> {
    let workspace = args.place.workspace()?;
    let artifacts = args.place.artifacts(&workspace)?;
    let cache = args.place.cache(&workspace)?;
    let fetcher =
        Fetcher { cache: &cache, workspace: &workspace, unpinned: args.pin };
    let mut failed = false;
    let wanted = wanted(&args, &workspace, &artifacts)?;
    // What builds others comes before them.
    let is_chain = |name: &str| {
        matches!(artifacts.all[name].any, Some(Made::Toolchain(_)))
    };
    let (chains, others): (Vec<_>, Vec<_>) =
        wanted.into_iter().partition(|(name, _)| is_chain(name));
    for (name, brand) in chains.into_iter().chain(others) {
        let artifact = &artifacts.all[&name];
        let Some(made) = artifact.made(brand) else { continue };
        let done =
            one(&fetcher, &artifacts, &name, brand, made, args.pin).await;
        if let Err(error) = done {
            tell!("zone-image: {name} for {brand}: {error:#}");
            failed = true;
        }
    }
    Ok(!failed)
}

/// The components asked for, with the toolchains that build them.
fn wanted(
    args: &FetchArgs,
    workspace: &Path,
    artifacts: &Artifacts,
) -> Result<Wanted> {
    let folder = recipes(workspace);
    let known: Vec<_> =
        recipe::list(&folder)?.into_iter().map(|(name, _)| name).collect();
    let names = if args.names.is_empty() { &known } else { &args.names };
    let mut all = Wanted::new();
    for brand in args.brand.map_or(Brand::ALL.to_vec(), |brand| vec![brand]) {
        for name in names {
            if known.contains(name) {
                let recipe = recipe::load(&folder, name, brand)?;
                let parts = recipe.parts.iter();
                for one in parts.flat_map(|part| &part.wants.component) {
                    add(&mut all, artifacts, &one.name, brand)?;
                }
            } else {
                add(&mut all, artifacts, name, brand)?;
            }
        }
    }
    Ok(all)
}

fn add(
    all: &mut Wanted,
    artifacts: &Artifacts,
    name: &str,
    brand: Brand,
) -> Result<()> {
    let Some(artifact) = artifacts.all.get(name) else {
        let why = format!(
            "{name:?} is no recipe, and no component of artifacts.toml"
        );
        return Err(Usage(why).into());
    };
    if let Some(Made::Go(go)) = artifact.made(brand) {
        add(all, artifacts, &go.toolchain, brand)?;
    }
    all.insert((name.to_owned(), brand));
    Ok(())
}

async fn one(
    fetcher: &Fetcher<'_>,
    all: &Artifacts,
    name: &str,
    brand: Brand,
    made: &Made,
    pin: bool,
) -> Result<()> {
    if let Made::DebianRoot(root) = made {
        let file = &all.all[name].file;
        return debian_root(fetcher, (name, brand), file, root, pin).await;
    }
    for (key, source) in made.sources() {
        tell!("{name} for {brand}: {}", source.from);
        let shown = Cell::new(u64::MAX);
        let progress = |so_far, whole| progress(&shown, so_far, whole);
        let (cached, fresh) = fetcher.bring(source, &progress).await?;
        told(name, &key, &cached, fresh);
        if pin && source.sha256.is_none() {
            say!("{name}.{brand}.{key}: sha256 = \"{}\"", cached.sha256);
        }
    }
    if let Made::Go(go) = made
        && go.vendor.is_some()
    {
        modules(fetcher, all, (name, brand), go, pin).await?;
    }
    Ok(())
}

/// The packages of a Debian; its lock, where there is none.
async fn debian_root(
    fetcher: &Fetcher<'_>,
    (name, brand): (&str, Brand),
    file: &Path,
    root: &DebianRoot,
    pin: bool,
) -> Result<()> {
    let suite = &root.suite;
    let place = root.lock_name.as_ref();
    let place = place.map(|lock| file.with_file_name(lock));
    let mut lock = match debian::lock(fetcher.cache, root)? {
        Some(lock) => lock,
        None => {
            if root.unpinned.is_none() && !(pin && place.is_some()) {
                bail!(
                    "Debian {suite} has no lock; wanted a file named by lock, \
                     which `zone-image fetch --pin {name}` writes"
                );
            }
            tell!("{name} for {brand}: Debian {suite} as its archive is now");
            debian::resolve(fetcher.cache, root).await?
        }
    };
    let mirrors = debian::mirrors(root).await;
    let mut fresh = 0;
    for deb in &lock.deb {
        let places = debian::places(deb, &lock, &mirrors);
        let what = format!("Debian's {} {}", deb.name, deb.version);
        if fetcher.bring_from(&places, &deb.sha256, &what).await? {
            fresh += 1;
        }
    }
    let count = lock.deb.len();
    tell!("{name}: Debian {suite}: {count} packages, {fresh} of them brought");
    let written = pin && place.is_some();
    if lock.root.is_none() && (written || root.lock.is_none()) {
        tell!("{name}: Debian {suite}: made once, for its digest");
        debian::seal(fetcher.cache, root, &mut lock).await?;
        match place {
            Some(place) if written => write_lock(&place, name, &lock)?,
            _ => debian::remember(fetcher.cache, root, &lock)?,
        }
    }
    Ok(())
}

fn write_lock(place: &Path, name: &str, lock: &Lock) -> Result<()> {
    let text =
        format!("{LOCK_HEAD}# `zone-image fetch --pin {name}`.\n\n{lock}");
    std::fs::write(place, text)
        .with_context(|| format!("could not write {}", place.display()))?;
    say!("{name}: {} packages in {}", lock.deb.len(), place.display());
    Ok(())
}

/// The modules that a Go component is linked from.
async fn modules(
    fetcher: &Fetcher<'_>,
    all: &Artifacts,
    (name, brand): (&str, Brand),
    go: &Go,
    pin: bool,
) -> Result<()> {
    let chain = all.all.get(&go.toolchain).and_then(|one| one.any.as_ref());
    let Some(Made::Toolchain(chain)) = chain else {
        bail!("{}: no toolchain", go.toolchain);
    };
    let work = tempfile::tempdir_in(fetcher.cache.work()?)?;
    let program = golang::program(chain, fetcher.cache, work.path()).await?;
    let patches = look::patches(fetcher.workspace, name)?;
    let job = golang::Job {
        name,
        go,
        patches: &patches,
        program: &program,
        brand,
        epoch: 0,
        work: work.path(),
    };
    tell!("{name} for {brand}: modules");
    let (cached, fresh, vendor) =
        golang::modules::bring(&job, fetcher.cache).await?;
    told(name, "modules", &cached, fresh);
    let pinned = go.vendor.as_ref().is_some_and(|it| it.sha256.is_some());
    if pin && !pinned {
        say!("{name}.{brand}.vendor: sha256 = \"{vendor}\"");
    }
    Ok(())
}

fn told(name: &str, key: &str, cached: &Cached, fresh: bool) {
    let how = if fresh { "brought" } else { "here" };
    let length = std::fs::metadata(&cached.path).map_or(0, |file| file.len());
    let length = table::bytes(length);
    tell!("{name}: {key}: {how}, {length}, sha256 {}", cached.sha256);
}

/// A line that grows on a terminal; a line each 32 MiB elsewhere.
fn progress(shown: &Cell<u64>, so_far: u64, whole: Option<u64>) {
    use std::io::Write;
    let terminal = std::io::stderr().is_terminal();
    let step = if terminal { 20 } else { 25 };
    if so_far >> step == shown.get() {
        return;
    }
    shown.set(so_far >> step);
    let of = whole.map(|whole| format!(" of {}", table::bytes(whole)));
    let text = format!("  {}{}", table::bytes(so_far), of.unwrap_or_default());
    let end = if terminal { "   \r" } else { "\n" };
    let _ = write!(std::io::stderr(), "{text}{end}");
}
