// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A Debian for LX zones, by mmdebstrap, from the packages of a lock and no
//! others: they lie in the cache by their digest, and become an archive of
//! their own for as long as it takes. What the archive signed counts once,
//! when the lock is made; apt checks that. No kernel, no boot loader: the
//! brand brings what they would.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use time::OffsetDateTime;
use time::macros::format_description;

use self::lock::{Deb, Lock};
use self::mmdebstrap::Mmdebstrap;
use crate::artifacts::{DebianRoot, Sha256};
use crate::cache::Cache;
use crate::digest;
use crate::fetch::run;
use crate::tree::{Content, Kind, Tree, TreePath};

pub mod lock;
mod mmdebstrap;

/// Debian's own mirrors; any other will do, since the digest decides.
const MIRROR: &str = "https://deb.debian.org";
/// Every version that an archive ever had, by time.
const SNAPSHOT: &str = "https://snapshot.debian.org/archive";
/// Has apt tell where each package of a root came from, and its digest.
const TELL: &str = "--customize-hook=set -e; \
    export APT_CONFIG=\"$MMDEBSTRAP_APT_CONFIG\"; \
    all=$(dpkg-query --admindir=\"$1/var/lib/dpkg\" --show \
        --showformat '${Package}=${Version} '); \
    apt-get --quiet --quiet download --print-uris $all >\"$ZONE_IMAGE_URIS\"";

/// The lock that a root is made by: what is written down, or what fetch found
/// last of one that may be without. None: there is none yet.
///
/// Errors: what was found is damaged.
pub fn lock(cache: &Cache, root: &DebianRoot) -> Result<Option<Lock>> {
    if root.lock.is_some() || root.unpinned.is_none() {
        return Ok(root.lock.clone());
    }
    let Some(cached) = cache.last(&key(root))? else { return Ok(None) };
    Lock::load(&cached.path)
}

/// Keeps the lock of a root that has none written down.
pub fn remember(cache: &Cache, root: &DebianRoot, lock: &Lock) -> Result<()> {
    use std::io::Write;
    let mut file = cache.temporary()?;
    file.write_all(lock.to_string().as_bytes())?;
    let cached = cache.put(file, None, &"a lock")?;
    cache.remember(&key(root), &cached.sha256)
}

/// All that decides it, but for the state of the archive.
fn key(root: &DebianRoot) -> String {
    let (packages, mirrors) = (&root.packages, &root.mirrors);
    format!("debian lock {} {packages:?} {mirrors:?}", root.suite)
}

/// Finds out of which packages a root would be made today: makes one and
/// throws it away.
///
/// Errors: not root, mmdebstrap's own, an archive that others do not have.
pub async fn resolve(cache: &Cache, root: &DebianRoot) -> Result<Lock> {
    let suite = &root.suite;
    let lines = match root.mirrors.first() {
        None => archives(suite).await?,
        Some(mirror) => vec![
            format!("deb {mirror}/debian {suite} main"),
            format!("deb {mirror}/debian {suite}-updates main"),
            format!("deb {mirror}/debian-security {suite}-security main"),
        ],
    };
    let folder = tempfile::tempdir_in(cache.work()?)?;
    let uris = folder.path().join("uris");
    let job = Mmdebstrap {
        root,
        include: root.packages.join(","),
        sources: lines.join("\n") + "\n",
        target: "/dev/null".into(),
        folder: folder.path(),
    };
    job.run(&[TELL]).await?;
    let told = std::fs::read_to_string(&uris)
        .with_context(|| format!("could not read {}", uris.display()))?;
    let mut deb = told.lines().map(told_deb).collect::<Result<Vec<_>>>()?;
    deb.sort();
    let now = OffsetDateTime::now_utc();
    let shape =
        format_description!("[year][month][day]T[hour][minute][second]Z");
    let lock = Lock { snapshot: now.format(shape)?, root: None, deb };
    // As strict with what apt told as with what a person wrote.
    Lock::parse(&lock.to_string(), Path::new("what apt told"))
}

/// Source: apt-get(8), `--print-uris`: `'URI' FILE SIZE SHA256:DIGEST`; FILE
/// is `NAME_VERSION_ARCHITECTURE.deb`, with `%3a` for a colon.
fn told_deb(line: &str) -> Result<Deb> {
    let read = || {
        let [uri, file, size, digest] =
            line.split(' ').collect::<Vec<_>>().try_into().ok()?;
        let uri = uri.strip_prefix('\'')?.strip_suffix('\'')?;
        let (site, below) = uri.split_once("/pool/")?;
        let (_, archive) = site.rsplit_once('/')?;
        let words: Vec<_> = file.strip_suffix(".deb")?.split('_').collect();
        let [name, version, architecture] = words.try_into().ok()?;
        Some(Deb {
            name: name.to_owned(),
            version: plain(version)?,
            architecture: architecture.to_owned(),
            path: format!("{archive}/pool/{}", plain(below)?),
            size: size.parse().ok()?,
            sha256: Sha256::parse(digest.strip_prefix("SHA256:")?)?,
        })
    };
    read().with_context(|| {
        format!("apt told {line:?}; wanted a package of a pool, its size and SHA-256")
    })
}

/// Where the packages of a root are asked for, in order.
pub async fn mirrors(root: &DebianRoot) -> Vec<String> {
    let mut all = root.mirrors.clone();
    if all.is_empty() {
        // A machine without apt, or whose apt is another release's, is as
        // good a build host.
        for line in archives(&root.suite).await.unwrap_or_default() {
            let site = line.split(' ').nth(1).unwrap_or_default();
            let above = site.trim_end_matches('/').rsplit_once('/');
            all.extend(above.map(|(above, _)| above.to_owned()));
        }
        all.push(MIRROR.to_owned());
    }
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|mirror| seen.insert(mirror.clone()));
    all
}

/// Where a package may be had, in the order to ask.
pub fn places(deb: &Deb, lock: &Lock, mirrors: &[String]) -> Vec<String> {
    let path = uri(Path::new(&deb.path));
    let at = |mirror: &String| match mirror.starts_with("file://") {
        true => format!("{mirror}/{}", deb.path),
        false => format!("{mirror}/{path}"),
    };
    let (archive, below) = path.split_once('/').unwrap_or_default();
    let snapshot = format!("{SNAPSHOT}/{archive}/{}/{below}", lock.snapshot);
    mirrors.iter().map(at).chain([snapshot]).collect()
}

/// The root as a tar in `work`: out of the cache, where the lock says which
/// one it is, and made and kept there, where it is not yet.
///
/// Errors: as `make`'s; another than the lock says was made.
pub async fn take(
    cache: &Cache,
    root: &DebianRoot,
    lock: &Lock,
    work: &Path,
) -> Result<PathBuf> {
    let Some(wanted) = &lock.root else {
        return make(cache, root, lock, work).await;
    };
    if let Some(kept) = cache.take(wanted, work)? {
        return Ok(kept.path);
    }
    let tar = make(cache, root, lock, work).await?;
    keep(cache, root, &tar, Some(wanted))?;
    Ok(tar)
}

/// Makes the root of a lock that does not say which one that is, and says it.
///
/// Errors: as `make`'s.
pub async fn seal(
    cache: &Cache,
    root: &DebianRoot,
    lock: &mut Lock,
) -> Result<()> {
    let work = tempfile::tempdir_in(cache.work()?)?;
    let tar = make(cache, root, lock, work.path()).await?;
    lock.root = Some(keep(cache, root, &tar, None)?);
    Ok(())
}

fn keep(
    cache: &Cache,
    root: &DebianRoot,
    tar: &Path,
    wanted: Option<&Sha256>,
) -> Result<Sha256> {
    let mut file = cache.temporary()?;
    let from = std::fs::File::open(tar);
    from.and_then(|mut from| std::io::copy(&mut from, &mut file))
        .with_context(|| format!("could not keep {}", tar.display()))?;
    let what = format!(
        "the Debian {} that this machine's mmdebstrap makes of its lock",
        root.suite
    );
    Ok(cache.put(file, wanted, &what)?.sha256)
}

/// Makes the root as a tar in `work`.
///
/// Errors: a package that is not in the cache, not root, mmdebstrap's own.
async fn make(
    cache: &Cache,
    root: &DebianRoot,
    lock: &Lock,
    work: &Path,
) -> Result<PathBuf> {
    let folder = tempfile::tempdir_in(work)?;
    let archive = folder.path().join("archive");
    std::fs::create_dir(&archive)?;
    index(cache, &root.suite, lock, &archive).await?;
    let names: Vec<_> = lock.deb.iter().map(|deb| deb.name.as_str()).collect();
    let tar = work.join(format!("{}.tar", uuid::Uuid::new_v4()));
    let job = Mmdebstrap {
        root,
        include: names.join(","),
        // Trusted, since each package was checked on its way here.
        sources: format!("deb [trusted=yes] copy:{} ./\n", uri(&archive)),
        target: tar.to_string_lossy().into_owned(),
        folder: folder.path(),
    };
    job.run(&[]).await?;
    Ok(tar)
}

/// An archive of the packages in `folder`, as apt reads one: copies of those
/// in the cache, checked as they are copied, under plain numbers.
///
/// Source: the Debian repository format, "Packages" and "Release".
async fn index(
    cache: &Cache,
    suite: &str,
    lock: &Lock,
    folder: &Path,
) -> Result<()> {
    let file = |nth: usize| folder.join(format!("{nth}.deb"));
    for (nth, deb) in lock.deb.iter().enumerate() {
        let Deb { name, version, size, sha256, .. } = deb;
        let copy = cache.take(sha256, folder)?.with_context(|| {
            format!(
                "Debian's {name} {version} is not in the cache; \
                 `zone-image fetch` brings it"
            )
        })?;
        let length = std::fs::metadata(&copy.path)?.len();
        if length != *size {
            bail!("Debian's {name} {version}: {length} bytes; wanted {size}");
        }
        std::fs::rename(&copy.path, file(nth))?;
    }
    let mut packages = String::new();
    for (nth, deb) in lock.deb.iter().enumerate() {
        let Deb { size, sha256, .. } = deb;
        let path = file(nth);
        let path = path.to_string_lossy();
        let said = run(&["dpkg-deb", "--field", &path]).await?;
        let control = said.stdout.trim();
        let _ = write!(
            packages,
            "{control}\nFilename: ./{nth}.deb\nSize: {size}\n\
             SHA256: {sha256}\n\n"
        );
    }
    let (sum, length) = (digest::sha256(packages.as_bytes()), packages.len());
    let release =
        format!("Codename: {suite}\nSHA256:\n {sum} {length} Packages\n");
    std::fs::write(folder.join("Packages"), packages)?;
    std::fs::write(folder.join("Release"), release)?;
    Ok(())
}

/// A path as a URI of sources.list(5) has it.
fn uri(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let bytes = path.as_os_str().as_bytes().iter();
    bytes.fold(String::new(), |mut all, &byte| {
        match byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            true => all.push(char::from(byte)),
            false => {
                let _ = write!(all, "%{byte:02x}");
            }
        }
        all
    })
}

/// What `uri` was made of.
fn plain(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut all = parts.next()?.to_owned();
    for part in parts {
        let (hex, rest) = part.split_at_checked(2)?;
        all.push(char::from(u8::from_str_radix(hex, 16).ok()?));
        all.push_str(rest);
    }
    Some(all)
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

/// Checks that a root has the packages of its lock, all and no others.
///
/// Errors: no package database in it; those that differ.
/// Source: dpkg's `status`, the fields of deb-control(5).
pub fn check(tree: &Tree, lock: &Lock) -> Result<()> {
    let path = TreePath::parse("var/lib/dpkg/status")?;
    let entry = tree.get(&path).map(|entry| &entry.kind);
    let Some(Kind::File(content)) = entry else {
        bail!("{path} is missing: no Debian");
    };
    let text = read(content).with_context(|| path.to_string())?;
    let mut seen: Vec<_> = text.split("\n\n").filter_map(paragraph).collect();
    let mut wanted: Vec<_> = lock
        .deb
        .iter()
        .map(|deb| [&deb.name, &deb.version, &deb.architecture])
        .map(|words| words.map(String::as_str))
        .collect();
    seen.sort();
    wanted.sort();
    let missing = wanted.iter().find(|one| !seen.contains(*one));
    if let Some(one) = missing {
        bail!("{} is in the lock and not in the root", one.join(" "));
    }
    match seen.iter().find(|one| !wanted.contains(*one)) {
        Some(one) => {
            bail!("{} is in the root and not in the lock", one.join(" "))
        }
        None => Ok(()),
    }
}

fn read(content: &Content) -> std::io::Result<String> {
    std::io::read_to_string(content.open()?)
}

fn paragraph(text: &str) -> Option<[&str; 3]> {
    let field = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    Some([field("Package")?, field("Version")?, field("Architecture")?])
}

/// The files of a binary package as a tar in `work`.
pub async fn package_tar(deb: &Path, work: &Path) -> Result<PathBuf> {
    let tar = work.join(format!("{}.tar", uuid::Uuid::new_v4()));
    let deb = deb.to_string_lossy();
    let out = tar.to_string_lossy();
    let script = "exec dpkg-deb --fsys-tarfile \"$1\" >\"$2\"";
    run(&["/bin/sh", "-ec", script, "dpkg-deb", &deb, &out]).await?;
    Ok(tar)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Entry, Meta};

    #[test]
    fn what_apt_tells_of_a_package_is_a_line_of_the_lock() {
        let hex = "1".repeat(64);
        let line = format!(
            "'http://mirror.example/d/debian-security/pool/updates/main/s/sys/\
             libudev1_252.38%2b1_amd64.deb' libudev1_1%3a252.38%2b1_amd64.deb 7 \
             SHA256:{hex}"
        );
        let deb = told_deb(&line).unwrap();
        assert_eq!(deb.version, "1:252.38+1");
        let path = "debian-security/pool/updates/main/s/sys/\
                    libudev1_252.38+1_amd64.deb";
        assert_eq!((deb.name.as_str(), deb.path.as_str()), ("libudev1", path));
        // Where it is had: wherever one likes, then where all ever was.
        let lock =
            Lock { snapshot: "20260131T235959Z".into(), ..Lock::default() };
        let places = places(&deb, &lock, &["file:///m".into()]);
        assert_eq!(places[0], format!("file:///m/{path}"));
        assert_eq!(
            places[1],
            "https://snapshot.debian.org/archive/debian-security/\
             20260131T235959Z/pool/updates/main/s/sys/\
             libudev1_252.38%2b1_amd64.deb"
        );
        let weak = line.replace("SHA256:", "MD5Sum:");
        let told = told_deb(&weak).unwrap_err().to_string();
        assert!(told.contains("wanted a package of a pool"), "{told}");
    }

    #[test]
    fn a_root_has_what_its_lock_has_and_nothing_else() {
        let status = "Package: a\nStatus: install ok installed\n\
            Architecture: all\nVersion: 1\n\nPackage: b\n\
            Architecture: amd64\nVersion: 2\n";
        let meta = Meta { mode: 0o644, uid: 0, gid: 0, mtime: 0 };
        let mut tree = Tree::new(meta);
        let path = TreePath::parse("var/lib/dpkg/status").unwrap();
        let kind = Kind::File(Content::Bytes(status.as_bytes().into()));
        let told = |tree: &Tree, debs: &[(&str, &str)]| {
            let deb = debs.iter().map(|(name, version)| Deb {
                name: (*name).into(),
                version: (*version).into(),
                architecture: if *name == "a" { "all" } else { "amd64" }.into(),
                path: String::new(),
                size: 1,
                sha256: digest::sha256(b""),
            });
            let lock = Lock { deb: deb.collect(), ..Lock::default() };
            check(tree, &lock).err().map(|told| told.to_string())
        };
        let all = [("a", "1"), ("b", "2")];
        assert!(told(&tree, &all).unwrap().contains("no Debian"));
        tree.insert_deep(path, Entry { kind, meta }, meta).unwrap();
        assert_eq!(told(&tree, &all), None);
        let words = |debs| told(&tree, debs).unwrap();
        assert_eq!(
            words(&[("a", "1"), ("b", "3")]),
            "b 3 amd64 is in the lock and not in the root"
        );
        assert_eq!(
            words(&all[..1]),
            "b 2 amd64 is in the root and not in the lock"
        );
    }

    #[test]
    fn a_path_in_a_line_of_apts_is_one_word() {
        assert_eq!(uri(Path::new("/a b/ü%")), "/a%20b/%c3%bc%25");
    }
}
