// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Go programs, built here for the zone's system: source archives laid over
//! each other, our patches on top, then one `go build` each, without network,
//! without C, without anything of this machine in the result.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use monitoring_agent::host;

use crate::artifacts::{Go, Sha256, Toolchain};
use crate::cache::Cache;
use crate::digest;
use crate::fetch::{self, run};
use crate::recipe::Brand;
use crate::tree::{Content, Entry, Kind, Meta, Tree, TreePath};
use crate::unpack::{self, How};

pub mod modules;

/// A module that a program was linked from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Module {
    /// Its path.
    pub path: String,
    /// Its version.
    pub version: String,
}

/// What a build gave.
pub struct Built {
    /// The component's files.
    pub tree: Tree,
    /// What they were linked from, sorted.
    pub modules: Vec<Module>,
    /// What built them: `go1.26.6`.
    pub compiler: String,
    /// What the source was made of: where from, and which bytes.
    pub sources: Vec<(String, Sha256)>,
}

/// One build.
pub struct Job<'a> {
    /// The component, for messages.
    pub name: &'a str,
    /// What to build.
    pub go: &'a Go,
    /// Patches, in order.
    pub patches: &'a [PathBuf],
    /// The `go` to run.
    pub program: &'a Path,
    /// For whom.
    pub brand: Brand,
    /// Time of everything, seconds since 1970.
    pub epoch: u64,
    /// A folder that goes afterwards.
    pub work: &'a Path,
}

/// Builds.
///
/// Errors: a source that is not here or does not unpack, a patch that no
/// longer applies, a module that `go.sum` does not know, the compiler's own.
pub async fn build(job: &Job<'_>, cache: &Cache) -> Result<Built> {
    let folder = tempfile::tempdir_in(job.work)?;
    let source = folder.path().join("source");
    let (tree, mut sources) = lay_out(job, cache, &source).await?;
    let module = source.join(&job.go.module);
    if job.go.vendor.is_some() {
        let sha256 = modules::lay(job, cache, &module, &sources).await?;
        sources.push(("modules by go mod vendor".into(), sha256));
    }
    let mut built = Built {
        tree: Tree::new(meta(job, 0o755)),
        modules: Vec::new(),
        compiler: compiler(job.program).await?,
        sources,
    };
    picked(job, &tree, &mut built.tree)?;
    for (target, package) in &job.go.build {
        let out = job.work.join(format!("go-{}", uuid::Uuid::new_v4()));
        let argv = argv(job, &module, &out, package);
        let argv: Vec<_> = argv.iter().map(String::as_str).collect();
        let failed = || format!("could not build {} of {}", target, job.name);
        run(&argv).await.with_context(failed)?;
        built.modules.extend(linked(job.program, &out).await?);
        add(&mut built.tree, target, &out, meta(job, 0o755))?;
    }
    built.modules.sort();
    built.modules.dedup();
    Ok(built)
}

fn meta(job: &Job<'_>, mode: u16) -> Meta {
    Meta { mode, uid: 0, gid: 0, mtime: job.epoch }
}

fn how(job: &Job<'_>, name: &str, strip: usize) -> How {
    How {
        name: name.to_owned(),
        strip,
        epoch: job.epoch,
        owners: false,
        whole: false,
        without: &[],
    }
}

/// The source on disk, patched; returns it as it was before that, and what it
/// was made of.
async fn lay_out(
    job: &Job<'_>,
    cache: &Cache,
    source: &Path,
) -> Result<(Tree, Vec<(String, Sha256)>)> {
    let (tree, made_of) = sources(job, cache)?;
    unpack::lay_out(&tree, source)?;
    for patch in job.patches {
        apply(patch, source).await?;
    }
    Ok((tree, made_of))
}

/// All archives as one tree, and what they were; a later one takes the place of
/// an earlier one's files.
fn sources(
    job: &Job<'_>,
    cache: &Cache,
) -> Result<(Tree, Vec<(String, Sha256)>)> {
    let mut whole = Tree::new(meta(job, 0o755));
    let mut made_of = Vec::new();
    for part in &job.go.source {
        let taken = fetch::taken(cache, &part.source, job.work)?;
        made_of.push((part.source.from.to_string(), taken.sha256));
        let tar = unpack::plain_tar(&taken.path, job.work)?;
        let how = how(job, &part.source.from.to_string(), part.strip);
        let into = TreePath::parse(&part.into)?;
        let part = unpack::read(&tar, &how)?;
        whole.graft(&part, &into, meta(job, 0o755), true)?;
    }
    // One archive's link may lead through another's.
    let name = || format!("the source of {}", job.name);
    unpack::check_links(&whole, false).with_context(name)?;
    Ok((whole, made_of))
}

/// Applies a patch that fits without any fuzz, or says that it does not.
async fn apply(patch: &Path, source: &Path) -> Result<()> {
    let file = patch.to_string_lossy();
    let folder = source.to_string_lossy();
    let argv = [
        "patch",
        "--strip=1",
        "--fuzz=0",
        "--batch",
        "--forward",
        "--no-backup-if-mismatch",
        "--directory",
        &folder,
        "--input",
        &file,
    ];
    let trial = [&argv[..], &["--dry-run"]].concat();
    let refused = || format!("{file} no longer applies; wanted no fuzz");
    run(&trial).await.with_context(refused)?;
    run(&argv).await.with_context(refused)?;
    Ok(())
}

/// The whole command line, environment included: nothing of ours leaks in.
fn argv(
    job: &Job<'_>,
    module: &Path,
    out: &Path,
    package: &str,
) -> Vec<String> {
    let Go { tags, set, .. } = job.go;
    let mut linker = vec!["-s".to_owned(), "-w".into(), "-buildid=".into()];
    for (variable, value) in set {
        linker.push(format!("-X '{variable}={value}'"));
    }
    let mut words: Vec<String> = vec![
        "/bin/sh".into(),
        "-ec".into(),
        "cd \"$1\"; shift; umask 022; exec \"$@\"".into(),
        "go".into(),
        module.display().to_string(),
        "env".into(),
        "--ignore-environment".into(),
        "PATH=/usr/bin:/bin".into(),
        "LC_ALL=C".into(),
        "TZ=UTC".into(),
        format!("HOME={}", job.work.display()),
        format!("TMPDIR={}", job.work.display()),
        format!("GOCACHE={}", job.work.join("go-build").display()),
        format!("GOPATH={}", job.work.join("gopath").display()),
        format!("GOOS={}", job.brand.goos()),
    ];
    words.extend(
        [
            "GOARCH=amd64",
            "GOAMD64=v1",
            "CGO_ENABLED=0",
            "GOENV=off",
            "GOFLAGS=-mod=vendor",
            "GOPROXY=off",
            "GOSUMDB=off",
            "GOTOOLCHAIN=local",
            "GOWORK=off",
            "GOTELEMETRY=off",
        ]
        .map(str::to_owned),
    );
    words.extend([job.program.display().to_string(), "build".into()]);
    words.extend(["-trimpath".into(), "-buildvcs=false".into()]);
    if !tags.is_empty() {
        words.push(format!("-tags={}", tags.join(",")));
    }
    words.push(format!("-ldflags={}", linker.join(" ")));
    words.extend(["-o".into(), out.display().to_string(), package.into()]);
    words
}

fn add(tree: &mut Tree, target: &str, out: &Path, meta: Meta) -> Result<()> {
    let len = std::fs::metadata(out)?.len();
    let content = Content::OnDisk { path: out.to_owned(), offset: 0, len };
    let entry = Entry { kind: Kind::File(content), meta };
    let above = Meta { mode: 0o755, ..meta };
    Ok(tree.insert_deep(TreePath::parse(target)?, entry, above)?)
}

/// Further files and folders, as the archives have them: from the tree, since
/// a disk follows links.
///
/// Errors: one that is not there, or that a patch changes.
fn picked(job: &Job<'_>, source: &Tree, tree: &mut Tree) -> Result<()> {
    for patch in job.patches {
        let text = std::fs::read(patch)
            .with_context(|| format!("could not read {}", patch.display()))?;
        let text = String::from_utf8_lossy(&text);
        for changed in changed(&text) {
            let mut picks = job.go.pick.keys();
            let clash = picks.find(|from| {
                TreePath::parse(from.as_str())
                    .is_ok_and(|from| changed.is_at_or_below(&from))
            });
            if let Some(from) = clash {
                let (name, shown) = (job.name, patch.display());
                bail!("{name}: pick {from:?}: {shown} changes {changed}");
            }
        }
    }
    unpack::choose(source, &job.go.pick, tree, meta(job, 0o755))
        .with_context(|| format!("{}: pick of the source", job.name))
}

/// The files that a patch names, without their first component.
fn changed(patch: &str) -> Vec<TreePath> {
    let names = patch.lines().filter_map(|line| {
        let rest =
            line.strip_prefix("+++ ").or_else(|| line.strip_prefix("--- "))?;
        let name = rest.split('\t').next()?;
        TreePath::parse(name.split_once('/')?.1).ok()
    });
    names.collect()
}

/// `go version go1.26.6 linux/amd64` without what surrounds it.
async fn compiler(program: &Path) -> Result<String> {
    let said = run(&[&program.to_string_lossy(), "version"]).await?;
    let version = said.stdout.split_whitespace().nth(2);
    Ok(version.context("go does not tell its version")?.to_owned())
}

/// What a program says it was linked from. By way of a file: of what a command
/// prints only the beginning is kept.
async fn linked(program: &Path, binary: &Path) -> Result<Vec<Module>> {
    let list = binary.with_extension("modules");
    let (go, file) = (program.to_string_lossy(), binary.to_string_lossy());
    let out = list.to_string_lossy();
    let script = "exec \"$1\" version -m \"$2\" >\"$3\"";
    run(&["/bin/sh", "-ec", script, "go", &*go, &*file, &*out]).await?;
    let said = std::fs::read_to_string(&list)
        .with_context(|| format!("could not read {out}"))?;
    Ok(listed(&said))
}

/// Source: `go version -m`: `dep PATH VERSION SUM`, and `=> PATH VERSION SUM`
/// below one that something else was taken for.
fn listed(said: &str) -> Vec<Module> {
    let mut all: Vec<Module> = Vec::new();
    for line in said.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let [word, path, version, ..] = words[..] else { continue };
        let module =
            Module { path: path.to_owned(), version: version.to_owned() };
        // A folder of the source itself has no name of its own.
        let folder = path.starts_with(['.', '/']);
        match word {
            "dep" => all.push(module),
            "=>" if !folder => {
                all.pop();
                all.push(module);
            }
            _ => {}
        }
    }
    all
}

/// The `go` of a toolchain, unpacked in `work`, once for all that works there:
/// what runs is what the digest was of.
///
/// Errors: not in the cache, not what it says it is.
pub async fn program(
    chain: &Toolchain,
    cache: &Cache,
    work: &Path,
) -> Result<PathBuf> {
    if let Some(wanted) = &chain.host {
        let found = host::find_program("go").context("no go on this host")?;
        let seen = compiler(&found).await?;
        if seen != *wanted && !seen.starts_with(&format!("{wanted}.")) {
            bail!("{}: {seen}; wanted {wanted}", found.display());
        }
        return Ok(found);
    }
    let Some(source) = &chain.source else {
        bail!("a toolchain wants source or host");
    };
    let home = work
        .join("toolchain")
        .join(digest::sha256(source.from.to_string().as_bytes()).as_str());
    let go = home.join("go/bin/go");
    if !go.exists() {
        let taken = fetch::taken(cache, source, work)?;
        let tar = unpack::plain_tar(&taken.path, work)?;
        let how = How {
            name: source.from.to_string(),
            strip: 0,
            epoch: u64::MAX,
            owners: false,
            whole: false,
            without: &[],
        };
        std::fs::create_dir_all(&home)?;
        unpack::lay_out(&unpack::read(&tar, &how)?, &home)?;
    }
    Ok(go)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_another_was_taken_for_is_that_other() {
        let said = "/x/go-1: go1.26.6\n\tpath\texample.com/a\n\
            \tmod\texample.com/a\t(devel)\t\n\
            \tdep\texample.com/b\tv1.0.0\th1:b=\n\
            \tdep\texample.com/c\tv1.0.0\n\
            \t=>\texample.com/fork\tv2.0.0\th1:c=\n\
            \tdep\texample.com/d\tv0.0.0\n\t=>\t./d\t(devel)\t\n";
        let words = listed(said);
        let words: Vec<_> =
            words.iter().map(|m| format!("{} {}", m.path, m.version)).collect();
        let wanted = [
            "example.com/b v1.0.0",
            "example.com/fork v2.0.0",
            "example.com/d v0.0.0",
        ];
        assert_eq!(words, wanted);
    }

    #[test]
    fn a_patch_names_what_it_changes() {
        let patch = "https://example.com/\n--- a/conf/x.ini\t2030\n\
            +++ b/conf/x.ini\n@@ -1 +1 @@\n-a\n+b\n--- /dev/null\n";
        let names: Vec<_> =
            changed(patch).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["/conf/x.ini", "/conf/x.ini", "/dev/null"]);
    }
}
