// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Keeps a good key and certificate on disk.
//!
//! Daemons read two files, and no system renames two files at once. So a
//! renewal keeps the private key and replaces the certificate alone: one
//! rename, after which the pair fits as it did before. A pair that works is
//! therefore never turned into one that does not, wherever we are killed.
//! A new key is made only when there is none or it cannot be used: key first,
//! certificate second. Killed between the two, the next run finds a key that
//! lacks its certificate and signs one.
//!
//! Refused: a folder per version behind a symbolic link (daemons open two
//! paths through it one after the other, so it does not close the gap either,
//! and leaves old folders to sweep), and both in one file (not every daemon
//! takes that). To get a new key, remove the key file.
//!
//! Files are written beside their target under a fixed hidden name while a
//! lock is held, so a run that was killed leaves nothing to pile up. Blocking
//! calls on small files: call it where blocking is allowed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use time::OffsetDateTime;
use tracing::{info, warn};

use super::cert::{self, CertInfo, Found, RenewalReason};
use super::{AccountKey, CertgenError, DEFAULT_LIFETIME};

const MODE: u32 = 0o600;

/// Longer files are no key or certificate of ours.
const MAX_BYTES: u64 = 64 * 1024;

/// Where the pair lives, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertPaths {
    /// Private key, PEM, 0600.
    pub key: PathBuf,
    /// Certificate, PEM, 0600.
    pub cert: PathBuf,
    /// Numeric user and group of both files, so that the daemon can read
    /// them; `None` leaves them to whoever runs this.
    pub owner: Option<(u32, u32)>,
}

/// What [`ensure`] found or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ensured {
    /// Bytes changed: daemons that keep the pair in memory have to reload.
    pub changed: bool,
    /// Why they changed.
    pub reason: Option<RenewalReason>,
    /// The certificate now in force.
    pub info: CertInfo,
}

/// Makes sure that a certificate is there which CMON takes from `login` now
/// and for the next months; mode and owner too. Idempotent: a good pair is
/// only looked at. Missing folders are made.
///
/// Errors: `Io` when a file cannot be written (the pair in force stays),
/// `Busy` while another process does this, and those of
/// [`issue`](super::issue).
pub fn ensure(
    paths: &CertPaths,
    account: &AccountKey,
    login: &str,
    now: OffsetDateTime,
) -> Result<Ensured, CertgenError> {
    let judge = |found: &Found| {
        cert::needs_renewal(found, &account.md5_fingerprint(), login, now)
    };
    let seen = look(paths, account)?;
    if let (None, Found::Pair { info, .. }) = (judge(&seen.found), &seen.found)
    {
        let info = info.clone();
        mend_access(&paths.key, paths.owner)?;
        mend_access(&paths.cert, paths.owner)?;
        return Ok(Ensured { changed: false, reason: None, info });
    }

    let folder = folder_of(&paths.key);
    fs::create_dir_all(folder).map_err(io_error("create", folder))?;
    let folder = folder_of(&paths.cert);
    fs::create_dir_all(folder).map_err(io_error("create", folder))?;
    let _lock = lock(&paths.key)?;
    sweep(&paths.key)?;
    sweep(&paths.cert)?;
    // Looked at again: the holder before us may have done the work.
    let seen = look(paths, account)?;
    let reason = judge(&seen.found);
    if let (None, Found::Pair { info, .. }) = (&reason, &seen.found) {
        let info = info.clone();
        return Ok(Ensured { changed: false, reason, info });
    }
    let cert_pem = match &seen.key {
        Some(key) => {
            let signed =
                cert::sign(account, key.pair(), login, DEFAULT_LIFETIME, now)?;
            mend_access(&paths.key, paths.owner)?;
            signed.cert_pem
        }
        None => {
            let issued = cert::issue(account, login, DEFAULT_LIFETIME, now)?;
            // Exposed to be written, 0600.
            let key_pem = issued.key_pem.expose().as_bytes();
            replace(&paths.key, key_pem, paths.owner)?;
            issued.cert_pem
        }
    };
    replace(&paths.cert, cert_pem.as_bytes(), paths.owner)?;
    let info = cert::inspect(cert_pem.as_bytes())?;
    info!(
        %login,
        signed_by = %account.md5_fingerprint(),
        not_after = %info.not_after,
        new_key = seen.key.is_none(),
        reason = reason.as_ref().map(tracing::field::display),
        "client certificate issued"
    );
    Ok(Ensured { changed: true, reason, info })
}

/// What is on disk.
struct Seen {
    found: Found,
    /// The client key, when it can be used again.
    key: Option<AccountKey>,
}

fn look(paths: &CertPaths, account: &AccountKey) -> Result<Seen, CertgenError> {
    let mut problem = None;
    let mut unreadable = |path: &Path, why: String| {
        let why = format!("{}: {why}", path.display());
        problem.get_or_insert(Found::Unreadable { why });
    };
    let key_pem = read_if_there(&paths.key)?;
    let cert_pem = read_if_there(&paths.cert)?;
    let mut key = None;
    if let Some(bytes) = &key_pem {
        match bytes {
            Ok(pem) => match AccountKey::parse(pem) {
                Ok(parsed) => key = Some(parsed),
                Err(error) => unreadable(&paths.key, error.to_string()),
            },
            Err(why) => unreadable(&paths.key, why.clone()),
        }
    }
    let mut pair = None;
    match &cert_pem {
        Some(Ok(pem)) => match cert::inspect(pem) {
            Ok(info) => pair = Some((info, cert::is_signed_by(pem, account))),
            Err(error) => unreadable(&paths.cert, error.to_string()),
        },
        Some(Err(why)) => unreadable(&paths.cert, why.clone()),
        None => {}
    }
    let found = match (&key, pair) {
        (Some(key), Some((info, signature_good))) => {
            let key_fits = key.public_key_info() == info.public_key_info;
            Found::Pair { info, key_fits, signature_good }
        }
        _ => problem.unwrap_or(Found::Missing),
    };
    Ok(Seen { found, key })
}

/// `None` when nothing is there; the inner error tells what is there instead
/// of a small regular file and will be replaced.
pub(super) type Content = Option<Result<Vec<u8>, String>>;

pub(super) fn read_if_there(path: &Path) -> Result<Content, CertgenError> {
    match read_bounded(path) {
        Ok(bytes) => Ok(Some(Ok(bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Ok(Some(Err(error.to_string())))
        }
        Err(error) => Err(io_error("read", path)(error)),
    }
}

/// Reads a small regular file. Neither follows a symbolic link, which could
/// lead to someone else's file, nor waits on a pipe: both are `InvalidData`.
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let odd = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut bytes = Vec::new();
    open_plain(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_BYTES) {
        return Err(odd("longer than 64 KiB"));
    }
    Ok(bytes)
}

fn open_plain(path: &Path) -> io::Result<File> {
    let odd = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    if fs::symlink_metadata(path)?.is_symlink() {
        return Err(odd("a symbolic link"));
    }
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file =
        OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(odd("no regular file"));
    }
    Ok(file)
}

/// Sets mode and owner where they differ.
pub(super) fn mend_access(
    path: &Path,
    owner: Option<(u32, u32)>,
) -> Result<(), CertgenError> {
    let file = open_plain(path).map_err(io_error("open", path))?;
    let seen = file.metadata().map_err(io_error("look at", path))?;
    if seen.mode() & 0o7777 != MODE {
        warn!(path = %path.display(), mode = seen.mode() & 0o7777,
            "file mode mended");
        file.set_permissions(fs::Permissions::from_mode(MODE))
            .map_err(io_error("set the mode of", path))?;
    }
    give(&file, &seen, owner).map_err(io_error("set the owner of", path))
}

fn give(
    file: &File,
    seen: &fs::Metadata,
    owner: Option<(u32, u32)>,
) -> io::Result<()> {
    match owner {
        Some((uid, gid)) if (seen.uid(), seen.gid()) != (uid, gid) => {
            fchown(file, Some(uid), Some(gid))
        }
        _ => Ok(()),
    }
}

/// Holds others off while the pair is written; ends with the file's handle.
pub(super) fn lock(key: &Path) -> Result<File, CertgenError> {
    let path = beside(key, ".lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(&path)
        .map_err(io_error("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CertgenError::Busy { lock: path }),
        Err(TryLockError::Error(source)) => {
            Err(io_error("lock", &path)(source))
        }
    }
}

/// Removes what a killed run has staged; under the lock nobody uses it.
pub(super) fn sweep(path: &Path) -> Result<(), CertgenError> {
    let staged = beside(path, ".new");
    match fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("remove", &staged)(error))
        }
        _ => Ok(()),
    }
}

/// Puts `bytes` in place of `path`, whole or not at all.
pub(super) fn replace(
    path: &Path,
    bytes: &[u8],
    owner: Option<(u32, u32)>,
) -> Result<(), CertgenError> {
    let staged = beside(path, ".new");
    let written = stage(&staged, bytes, owner)
        .map_err(io_error("write", &staged))
        .and_then(|()| {
            fs::rename(&staged, path).map_err(io_error("replace", path))
        });
    if let Err(error) = written {
        // The first error says more than a failed clean-up would.
        let _ = fs::remove_file(&staged);
        return Err(error);
    }
    let folder = folder_of(path);
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io_error("sync", folder))
}

fn stage(
    staged: &Path,
    bytes: &[u8],
    owner: Option<(u32, u32)>,
) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(staged)?;
    // Whatever the umask took away.
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    let seen = file.metadata()?;
    give(&file, &seen, owner)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// `folder/.name<suffix>`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(suffix);
    path.with_file_name(name)
}

pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

pub(super) fn io_error(
    doing: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> CertgenError {
    let path = path.to_owned();
    move |source| CertgenError::Io { doing, path, source }
}

#[cfg(test)]
#[path = "ensure_tests.rs"]
mod tests;
