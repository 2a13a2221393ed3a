// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A zone's own root: what it sees of the host's programs, its small /etc,
//! /dev and mounts. Runs in process 1 of the zone, alone.
//!
//! Order matters for the host's safety. The mount namespace is made first
//! and cut off from the host's, so that no mount travels back. The root is
//! pivoted before anything is written or mounted: a path of the zone, or a
//! symlink in it, can then only mean the zone. The host stays visible at
//! `/.host` meanwhile and is detached at the end.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{pivot_root, sethostname};
use serde::{Deserialize, Serialize};

use super::spec::{User, ZoneSpec};

/// Logs of the daemons, in the zone.
pub(crate) const LOG_FOLDER: &str = "/var/svc/log";
/// Files of commands run once, in the zone.
pub(crate) const EXEC_FOLDER: &str = "/run/zone/exec";
/// The localdc program, in the zone.
const PROGRAM: &str = "/opt/local/lib/localdc";
const HOST: &str = "/.host";

/// Folders of the host that a zone is made in; absolute, free of symlinks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Places {
    /// Becomes `/`.
    pub(crate) root: PathBuf,
    /// Becomes `/run/zone`.
    pub(crate) run: PathBuf,
    /// Becomes `/var/svc/log`.
    pub(crate) logs: PathBuf,
    /// Becomes `/data`.
    pub(crate) data: PathBuf,
    /// The localdc program.
    pub(crate) program: PathBuf,
}

/// Moves this process into the zone's root. Must be its only thread.
pub(crate) fn build(spec: &ZoneSpec, places: &Places) -> Result<()> {
    leave_the_host(&places.root)?;
    sethostname(&spec.uuid).context("set the host name")?;
    show_system()?;
    special_file_systems()?;
    let binds = [
        (&places.run, "/run/zone", true),
        (&places.logs, LOG_FOLDER, true),
        (&places.data, "/data", true),
        (&places.program, PROGRAM, false),
    ];
    for (source, target, writable) in binds {
        bind(source, Path::new(target), writable)?;
    }
    commands()?;
    write_etc(spec)?;
    extra_mounts(spec)?;
    write_files(spec)?;
    umount2(HOST, MntFlags::MNT_DETACH).context("detach the host")?;
    fs::remove_dir(HOST).context("remove the host's mount point")
}

/// A private mount namespace whose `/` is the zone's folder.
fn leave_the_host(root: &Path) -> Result<()> {
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC,
    )
    .context("leave the host's namespaces")?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("make mounts private")?;
    mount(Some(root), root, none, MsFlags::MS_BIND, none)
        .context("make the root a mount")?;
    let host = root.join(&HOST[1..]);
    // Not the folders above: a sweeper may just have taken them away.
    match fs::create_dir(&host) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            return Err(e).context("make the host's mount point");
        }
        _ => {}
    }
    pivot_root(root, &host).context("pivot to the zone's root")?;
    std::env::set_current_dir("/").context("enter the zone's root")
}

/// The host's programs and libraries, read-only.
fn show_system() -> Result<()> {
    bind(Path::new("/usr"), Path::new("/usr"), false)?;
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        let source = Path::new(HOST).join(name);
        let target = Path::new("/").join(name);
        let Ok(found) = fs::symlink_metadata(&source) else { continue };
        if found.is_symlink() {
            // Debian since the merge: a symlink into /usr.
            link(&fs::read_link(&source)?, &target)?;
        } else {
            bind(&target, &target, false)?;
        }
    }
    for name in [
        "alternatives",
        "ld.so.cache",
        "localtime",
        "mime.types",
        "protocols",
        "services",
        "ssl/certs",
        "ssl/openssl.cnf",
    ] {
        let path = Path::new("/etc").join(name);
        // In the host's root an absolute symlink would miss: only files and
        // folders are shown.
        let found = fs::symlink_metadata(in_host(&path));
        if found.is_ok_and(|found| !found.is_symlink()) {
            bind(&path, &path, false)?;
        }
    }
    Ok(())
}

fn special_file_systems() -> Result<()> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount_fs("proc", "/proc", quiet | MsFlags::MS_NOEXEC, None)?;
    mount_fs("tmpfs", "/tmp", quiet, Some("mode=1777"))?;
    mount_fs("tmpfs", "/run", quiet, Some("mode=755"))?;
    let no_exec = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount_fs("tmpfs", "/dev", no_exec, Some("mode=755"))?;
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let node = Path::new("/dev").join(name);
        bind(&node, &node, true)?;
    }
    mount_fs("tmpfs", "/dev/shm", quiet, Some("mode=1777"))?;
    link(Path::new("/proc/self/fd"), Path::new("/dev/fd"))?;
    for (number, name) in ["stdin", "stdout", "stderr"].iter().enumerate() {
        let target = PathBuf::from(format!("/proc/self/fd/{number}"));
        link(&target, &Path::new("/dev").join(name))?;
    }
    // Go looks at huge pages here; a machine may forbid it.
    if let Err(e) = mount_fs("sysfs", "/sys", quiet | MsFlags::MS_RDONLY, None)
    {
        eprintln!("no /sys: {e:#}");
    }
    Ok(())
}

/// The commands that localdc plays, where programs look for them.
fn commands() -> Result<()> {
    for path in [
        "/native/usr/sbin/mdata-get",
        "/native/usr/bin/zonename",
        "/opt/local/bin/mdata-get",
        "/opt/local/bin/zonename",
        "/opt/local/bin/systemctl",
        "/opt/local/overlay/systemctl",
    ] {
        let path = Path::new(path);
        folder(path.parent().context("the path has a parent")?)?;
        link(Path::new(PROGRAM), path)?;
    }
    let real = Path::new("/usr/bin/systemctl");
    if real.exists() {
        let source = Some(Path::new(PROGRAM));
        let none: Option<&str> = None;
        return mount(source, real, none, MsFlags::MS_BIND, none)
            .context("cover the host's systemctl");
    }
    // No systemctl to cover: lay a folder that has one over /usr/bin.
    let layers = Some("lowerdir=/opt/local/overlay:/usr/bin");
    let made = mount_fs("overlay", "/usr/bin", MsFlags::MS_RDONLY, layers);
    if let Err(e) = made {
        eprintln!("systemctl is found by PATH only: {e:#}");
    }
    Ok(())
}

/// The image's /etc: written once per root, but for what the platform
/// rewrites at each boot.
fn write_etc(spec: &ZoneSpec) -> Result<()> {
    folder(Path::new("/etc"))?;
    let uuid = &spec.uuid;
    let hosts = format!("127.0.0.1\tlocalhost\n{}\t{uuid}\n", spec.ip);
    seed(Path::new("/etc/passwd"), &passwd(&spec.users))?;
    seed(Path::new("/etc/group"), &group(&spec.users))?;
    seed(Path::new("/etc/hosts"), &hosts)?;
    seed(Path::new("/etc/hostname"), &format!("{uuid}\n"))?;
    seed(
        Path::new("/etc/nsswitch.conf"),
        "passwd: files\ngroup: files\nhosts: files dns\nservices: files\n",
    )?;
    fs::write("/etc/resolv.conf", spec.resolv_conf())
        .context("write resolv.conf")?;
    for name in ["/var/tmp", "/var/log", "/var/db", "/root", "/opt"] {
        folder(Path::new(name))?;
    }
    fs::set_permissions("/var/tmp", Permissions::from_mode(0o1777))?;
    fs::set_permissions("/root", Permissions::from_mode(0o700))?;
    for user in &spec.users {
        if !user.home.exists() {
            folder(&user.home)?;
            chown(&user.home, Some(user.uid), Some(user.uid))?;
        }
    }
    Ok(())
}

fn passwd(users: &[User]) -> String {
    let mut text = "root:x:0:0:root:/root:/bin/sh\n\
        nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        .to_owned();
    for User { name, uid, home } in users {
        let home = home.display();
        let shell = "/usr/sbin/nologin";
        text.push_str(&format!("{name}:x:{uid}:{uid}::{home}:{shell}\n"));
    }
    text
}

fn group(users: &[User]) -> String {
    // Debian says nogroup, illumos nobody.
    let mut text = "root:x:0:\nnogroup:x:65534:\nnobody:x:65534:\n".to_owned();
    for User { name, uid, .. } in users {
        text.push_str(&format!("{name}:x:{uid}:\n"));
    }
    text
}

/// Binds and small file systems, outer paths before those inside them.
fn extra_mounts(spec: &ZoneSpec) -> Result<()> {
    let limits = spec.limits.iter().map(|limit| (&limit.path, Err(limit)));
    let binds = spec.binds.iter().map(|bind| (&bind.target, Ok(bind)));
    let mut all: Vec<_> = limits.chain(binds).collect();
    all.sort_by_key(|(path, _)| path.components().count());
    for (path, what) in all {
        if !path.is_absolute() {
            bail!("{} is not absolute", path.display());
        }
        match what {
            Ok(wanted) => bind(&wanted.source, path, wanted.writable)?,
            Err(limit) => {
                let owner = match &limit.user {
                    None => 0,
                    Some(name) => uid_of(&spec.users, name)?,
                };
                let size = limit.size_bytes;
                let options =
                    format!("size={size},mode=755,uid={owner},gid={owner}");
                let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
                mount_fs("tmpfs", path, flags, Some(&options))?;
            }
        }
    }
    Ok(())
}

fn uid_of(users: &[User], name: &str) -> Result<u32> {
    match users.iter().find(|user| user.name == name) {
        Some(user) => Ok(user.uid),
        None if name == "nobody" => Ok(65534),
        None => bail!("no account {name}"),
    }
}

fn write_files(spec: &ZoneSpec) -> Result<()> {
    for (path, text) in &spec.files {
        let parent = path.parent().context("a file has a parent")?;
        folder(parent)?;
        seed(path, text)?;
    }
    Ok(())
}

fn in_host(path: &Path) -> PathBuf {
    Path::new(HOST).join(path.strip_prefix("/").unwrap_or(path))
}

/// Shows a host path, free of symlinks, at `target`.
fn bind(source: &Path, target: &Path, writable: bool) -> Result<()> {
    let what = || format!("show {} at {}", source.display(), target.display());
    let source = in_host(source);
    if fs::metadata(&source).with_context(what)?.is_dir() {
        folder(target)?;
    } else if !target.exists() {
        folder(target.parent().context("a file has a parent")?)?;
        File::create(target).with_context(what)?;
    }
    let none: Option<&str> = None;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(&source), target, none, flags, none).with_context(what)?;
    if !writable {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(none, target, none, flags, none).with_context(what)?;
    }
    Ok(())
}

fn mount_fs(
    kind: &str,
    target: impl AsRef<Path>,
    flags: MsFlags,
    options: Option<&str>,
) -> Result<()> {
    let target = target.as_ref();
    folder(target)?;
    mount(Some(kind), target, Some(kind), flags, options)
        .with_context(|| format!("mount {kind} at {}", target.display()))
}

fn folder(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .with_context(|| format!("make folder {}", path.display()))
}

/// Makes the symlink `at`; one left from an earlier boot will do.
fn link(target: &Path, at: &Path) -> Result<()> {
    match symlink(target, at) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            Err(e).with_context(|| format!("link {}", at.display()))
        }
        _ => Ok(()),
    }
}

/// Writes a file of the image unless the zone has it already.
fn seed(path: &Path, text: &str) -> Result<()> {
    if fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_get_a_group_of_their_own() {
        let user = User {
            name: "prometheus".into(),
            uid: 9090,
            home: "/data/prometheus".into(),
        };
        let users = [user];
        assert!(passwd(&users).ends_with(
            "prometheus:x:9090:9090::/data/prometheus:/usr/sbin/nologin\n"
        ));
        assert!(group(&users).ends_with("prometheus:x:9090:\n"));
        assert_eq!(uid_of(&users, "prometheus").unwrap(), 9090);
        assert!(uid_of(&users, "grafana").is_err());
    }
}
