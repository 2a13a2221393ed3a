// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Puts bytes in a file's place so that at every moment, through a crash or
//! a full disk, the path holds either the old content or the new, whole.
//!
//! A file is staged beside its target under a fixed hidden name, made with
//! its final mode and owner, fsynced, renamed over the target, and the
//! folder fsynced. A staged file that a crash left behind is overwritten by
//! the next pass. Symbolic links are followed: what they point at is
//! replaced, the link stays. A target that is a mount of its own cannot be
//! renamed over (EBUSY); only then it is written in place.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::{Gid, Uid};
use ring::digest;

/// Nothing we manage is larger, bytes; a larger file in place is drift.
const FILE_LIMIT: u64 = 64 << 20;

/// Mode and owner a file shall have; `None` leaves what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Permission bits.
    pub mode: Option<u32>,
    /// User and primary group.
    pub owner: Option<(Uid, Gid)>,
}

/// Looks up a user by name.
///
/// Errors: a text naming the user, when there is none.
pub fn owner(name: &str) -> Result<(Uid, Gid), String> {
    match nix::unistd::User::from_name(name) {
        Ok(Some(user)) => Ok((user.uid, user.gid)),
        Ok(None) => Err(format!("there is no user {name}")),
        Err(error) => Err(format!("could not look up user {name}: {error}")),
    }
}

/// SHA-256 of `bytes`, in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What stands at a target now.
#[derive(Debug, PartialEq, Eq)]
pub enum Present {
    /// Nothing.
    Absent,
    /// A regular file.
    File {
        /// Its content.
        bytes: Vec<u8>,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
    },
}

impl Present {
    /// Whether it is a file of these bytes and this access.
    pub fn is(&self, wanted: &[u8], access: Access) -> bool {
        match self {
            Self::Absent => false,
            Self::File { bytes, mode, uid } => {
                bytes == wanted
                    && access.mode.is_none_or(|wanted| wanted == *mode)
                    && access.owner.is_none_or(|(it, _)| it.as_raw() == *uid)
            }
        }
    }
}

/// Reads what stands at `target`.
///
/// Errors: anything that is not a regular file, or larger than we ever write.
pub fn look(target: &Path) -> io::Result<Present> {
    // A pipe put there must not hold us up.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(target);
    let file = match opened {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Ok(Present::Absent);
        }
        Err(e) => return Err(e),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("the target is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_LIMIT {
        // Cannot be ours; what follows treats it as another content.
        bytes.truncate(1);
    }
    Ok(Present::File {
        bytes,
        mode: metadata.permissions().mode() & 0o7777,
        uid: metadata.uid(),
    })
}

/// A complete, fsynced file waiting beside its target. Dropped uncommitted,
/// it is removed.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    target: PathBuf,
    /// Folders that got a new entry: the target's own, and the parents of
    /// folders made for it.
    folders: Vec<PathBuf>,
    committed: bool,
}

/// Writes `bytes` beside `target`, ready to take its place.
pub fn stage(
    target: &Path,
    bytes: &[u8],
    access: Access,
) -> io::Result<Staged> {
    let target = resolve(target)?;
    let (Some(dir), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(io::Error::other("the target is no file path"));
    };
    let mut folders = vec![dir.to_owned()];
    let path = dir.join(hidden(name));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = match options.open(&path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&path)?;
            options.open(&path)?
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            create_dirs(dir, &mut folders)?;
            options.open(&path)?
        }
        opened => opened?,
    };
    let staged = Staged { path, target, folders, committed: false };
    file.write_all(bytes)?;
    // Owner first: chown clears set-id bits.
    if let Some((uid, gid)) = access.owner {
        nix::unistd::fchown(&file, Some(uid), Some(gid))?;
    } else if let Ok(old) = fs::metadata(&staged.target)
        && (old.uid() != Uid::effective().as_raw())
    {
        let (uid, gid) = (Uid::from_raw(old.uid()), Gid::from_raw(old.gid()));
        nix::unistd::fchown(&file, Some(uid), Some(gid))?;
    }
    let mode = match access.mode {
        Some(mode) => mode,
        None => fs::metadata(&staged.target)
            .map_or(0o644, |old| old.permissions().mode() & 0o7777),
    };
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()?;
    Ok(staged)
}

fn hidden(name: &OsStr) -> OsString {
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".staged");
    hidden
}

/// Removes what a killed run left staged for `target`, if anything.
pub fn sweep(target: &Path) {
    if let Ok(target) = resolve(target)
        && let (Some(dir), Some(name)) = (target.parent(), target.file_name())
    {
        let _ = fs::remove_file(dir.join(hidden(name)));
    }
}

/// Removes a file of ours for good; none there is as good.
pub(super) fn remove(target: &Path) -> io::Result<()> {
    match fs::remove_file(target) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
        Ok(()) => target.parent().map_or(Ok(()), sync_dir),
    }
}

impl Staged {
    /// Where the staged file lies, for its checker.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the target's place. Returns the folders that are still to be
    /// fsynced: several files share that.
    pub fn commit(mut self) -> io::Result<Vec<PathBuf>> {
        let folders = std::mem::take(&mut self.folders);
        match fs::rename(&self.path, &self.target) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {
                let bytes = fs::read(&self.path)?;
                let mut file = OpenOptions::new()
                    .write(true)
                    .truncate(true)
                    .open(&self.target)?;
                file.write_all(&bytes)?;
                file.sync_all()?;
                return Ok(folders);
            }
            Err(e) => return Err(e),
        }
        self.committed = true;
        Ok(folders)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.committed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes renames in `dir` durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn sync_dirs(dirs: &[PathBuf]) -> io::Result<()> {
    dirs.iter().try_for_each(|dir| sync_dir(dir))
}

/// Stages, commits and fsyncs one file of our own.
pub fn write_atomic(target: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_with(target, bytes, Access { mode: Some(mode), owner: None })
}

/// The same with any access.
pub fn write_with(
    target: &Path,
    bytes: &[u8],
    access: Access,
) -> io::Result<()> {
    sync_dirs(&stage(target, bytes, access)?.commit()?)
}

/// Creates `dir` and its parents, 0755; adds to `touched` every folder that
/// is to be fsynced for that.
fn create_dirs(dir: &Path, touched: &mut Vec<PathBuf>) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        create_dirs(parent, touched)?;
        match fs::create_dir(dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(e);
            }
            _ => {}
        }
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
        touched.push(parent.to_owned());
    }
    Ok(())
}

/// Creates a folder with the given access; says whether anything changed.
///
/// Errors: also when `dir` is a symbolic link, through which whoever owns the
/// folder above could give us another's folder to hand over.
pub fn ensure_dir(dir: &Path, access: Access) -> io::Result<bool> {
    if dir.is_symlink() {
        return Err(io::Error::other("a symbolic link is in its place"));
    }
    let existed = dir.is_dir();
    let mut touched = Vec::new();
    create_dirs(dir, &mut touched)?;
    sync_dirs(&touched)?;
    let metadata = fs::metadata(dir)?;
    let mut changed = !existed;
    if let Some((uid, gid)) = access.owner
        && (metadata.uid() != uid.as_raw())
    {
        nix::unistd::chown(dir, Some(uid), Some(gid))?;
        changed = true;
    }
    if let Some(mode) = access.mode
        && metadata.permissions().mode() & 0o7777 != mode
    {
        fs::set_permissions(dir, fs::Permissions::from_mode(mode))?;
        changed = true;
    }
    Ok(changed)
}

/// Follows symbolic links to the file that shall be replaced, which may not
/// exist yet.
fn resolve(target: &Path) -> io::Result<PathBuf> {
    let mut path = target.to_owned();
    for _ in 0..16 {
        match fs::read_link(&path) {
            Ok(link) => {
                let base = path.parent().unwrap_or(Path::new("/"));
                path = base.join(link);
            }
            // Not a link (EINVAL), or nothing there.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_stays_behind() {
        let dir = dir();
        let target = dir.path().join("a/b/file");
        write_atomic(&target, b"one", 0o640).unwrap();
        write_atomic(&target, b"two", 0o600).unwrap();
        let Present::File { bytes, mode, .. } = look(&target).unwrap() else {
            panic!("the file is there");
        };
        assert_eq!((bytes.as_slice(), mode), (&b"two"[..], 0o600));
        assert_eq!(fs::read_dir(dir.path().join("a/b")).unwrap().count(), 1);
    }

    #[test]
    fn uncommitted_means_untouched() {
        let dir = dir();
        let target = dir.path().join("file");
        write_atomic(&target, b"one", 0o600).unwrap();
        let staged = stage(&target, b"two", Access::default()).unwrap();
        assert!(staged.path().exists());
        drop(staged);
        assert_eq!(fs::read(&target).unwrap(), b"one");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn links_stay_and_what_they_point_at_changes() {
        let dir = dir();
        let real = dir.path().join("real");
        let link = dir.path().join("link");
        write_atomic(&real, b"one", 0o600).unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        write_atomic(&link, b"two", 0o600).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"two");
        let dangling = dir.path().join("dangling");
        std::os::unix::fs::symlink("later", &dangling).unwrap();
        write_atomic(&dangling, b"x", 0o600).unwrap();
        assert_eq!(fs::read(dir.path().join("later")).unwrap(), b"x");
    }

    #[test]
    fn an_existing_mode_is_kept_unless_one_is_asked_for() {
        let dir = dir();
        let target = dir.path().join("file");
        write_atomic(&target, b"one", 0o640).unwrap();
        stage(&target, b"two", Access::default()).unwrap().commit().unwrap();
        let mode = fs::metadata(&target).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
    }

    #[test]
    fn leftovers_and_traps_at_the_staged_name_are_replaced_not_followed() {
        let dir = dir();
        let target = dir.path().join("file");
        let victim = dir.path().join("victim");
        fs::write(&victim, "safe").unwrap();
        std::os::unix::fs::symlink(&victim, dir.path().join(".file.staged"))
            .unwrap();
        write_atomic(&target, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"safe");
    }

    #[test]
    fn a_folder_in_the_way_is_an_error() {
        let dir = dir();
        let target = dir.path().join("file");
        fs::create_dir(&target).unwrap();
        assert!(look(&target).is_err());
        assert!(write_atomic(&target, b"x", 0o600).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
