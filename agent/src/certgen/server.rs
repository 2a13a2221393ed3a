// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The certificate under which the zone's own web server answers people:
//! self-signed, made once, and the operator's to replace.
//!
//! Whose a pair is: beside it lies `made`, the fingerprints of what was made
//! here. A certificate among them is ours, to be renewed under the same key
//! when it ends or when the zone's names change. Any other is the operator's
//! and never touched, good or bad: a pair that does not fit is a fault, and
//! the server runs on with what it has read. The fingerprint is written before
//! its certificate, so a run that was killed in between leaves a line too many
//! and never a certificate of ours that we do not know again.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyUsagePurpose, SanType,
};
use ring::digest;
use time::{Duration, OffsetDateTime};
use tracing::{info, warn};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::cert::{BACKDATED, EARLIEST_NOW, random_serial, sign_error};
use super::ensure::{folder_of, io_error, lock, replace, sweep};
use super::{AccountKey, CertgenError, container};

/// Browsers take no certificate that lasts longer than 398 days.
const LIFETIME: Duration = Duration::days(397);

/// Renewed, or warned of, when so much is left.
const ENDING: Duration = Duration::days(30);

/// Longer files are no key and no chain, bytes.
const MAX_BYTES: u64 = 256 * 1024;

/// Fingerprints kept of what was made here.
const REMEMBERED: usize = 8;

/// Where the pair lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerPaths {
    /// Private key, PEM.
    pub key: PathBuf,
    /// Certificate, and those that vouch for it, PEM.
    pub cert: PathBuf,
    /// SHA-256 of the certificates made here, hex, one a line.
    made: PathBuf,
}

impl ServerPaths {
    /// The names of today's images, which operators know.
    pub fn new(folder: &Path) -> Self {
        Self {
            key: folder.join("key.pem"),
            cert: folder.join("cert.pem"),
            made: folder.join("made"),
        }
    }
}

/// The pair in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Made here.
    pub ours: bool,
    /// Bytes changed: the server has to read them.
    pub changed: bool,
    /// End of its life.
    pub not_after: OffsetDateTime,
    /// What the operator should know of a certificate of his.
    pub warnings: Vec<String>,
}

/// Makes sure that a key and a certificate for `names` (DNS names and
/// addresses, the first one also its CN) are there. Idempotent.
///
/// Errors: `Pair` and `Damaged` when what lies there is no pair, `Io` when it
/// cannot be read or written, `Busy` while another process does this. Nothing
/// is overwritten then.
pub fn ensure_server(
    paths: &ServerPaths,
    names: &[String],
    now: OffsetDateTime,
) -> Result<Served, CertgenError> {
    if let Some(served) = judge(paths, names, now)?.served {
        mend_mode(&paths.key)?;
        return Ok(served);
    }
    let folder = folder_of(&paths.key);
    fs::create_dir_all(folder).map_err(io_error("create", folder))?;
    let _lock = lock(&paths.key)?;
    for path in [&paths.key, &paths.cert, &paths.made] {
        sweep(path)?;
    }
    // Looked at again: the holder before us may have done the work.
    let found = judge(paths, names, now)?;
    if let Some(served) = found.served {
        return Ok(served);
    }
    let pair = match found.key {
        Some(key) => key,
        None => {
            let pair =
                rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
                    .map_err(sign_error)?;
            let pem = pair.serialize_pem();
            replace(&paths.key, pem.as_bytes(), None)?;
            AccountKey::parse(pem.as_bytes())?
        }
    };
    let (cert, not_after) = sign(pair.pair(), names, now)?;
    let mut made = found.made;
    made.push(fingerprint(cert.der()));
    let from = made.len().saturating_sub(REMEMBERED);
    let lines = format!("{}\n", made[from..].join("\n"));
    replace(&paths.made, lines.as_bytes(), None)?;
    replace(&paths.cert, cert.pem().as_bytes(), None)?;
    info!(?names, %not_after, "server certificate made");
    Ok(Served { ours: true, changed: true, not_after, warnings: Vec::new() })
}

/// When the certificates of a PEM file end, whoever brought it. The first one
/// is the server's; of authorities that are trusted, the last to end counts.
///
/// Errors: `Pair` when there is none or one cannot be read, `Io`.
pub fn ends(path: &Path) -> Result<Vec<OffsetDateTime>, CertgenError> {
    let unreadable = |why: String| CertgenError::Pair {
        why: format!("{} is no certificate: {why}", path.display()),
    };
    let pem = read(path)?
        .ok_or_else(|| unreadable("the file is not there".to_owned()))?;
    let all = container::read_blocks(&pem, "CERTIFICATE")
        .map_err(|seen| unreadable(format!("saw {seen}")))?;
    let end = |der: &Vec<u8>| {
        let (_, cert) = X509Certificate::from_der(der)
            .map_err(|error| unreadable(error.to_string()))?;
        Ok(cert.validity().not_after.to_datetime())
    };
    all.iter().map(end).collect()
}

/// What lies there.
struct Found {
    /// A pair to be left as it is.
    served: Option<Served>,
    /// A key to be used again.
    key: Option<AccountKey>,
    /// Fingerprints of ours.
    made: Vec<String>,
}

fn judge(
    paths: &ServerPaths,
    names: &[String],
    now: OffsetDateTime,
) -> Result<Found, CertgenError> {
    let made = read(&paths.made)?.unwrap_or_default();
    let made: Vec<String> = String::from_utf8_lossy(&made)
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let pem = read(&paths.cert)?;
    let key = match (read(&paths.key)?, &pem) {
        (Some(key), _) => AccountKey::parse(&key)?,
        (None, None) => return Ok(Found { served: None, key: None, made }),
        (None, Some(_)) => {
            return Err(CertgenError::Pair {
                why: format!("{} is not there", paths.key.display()),
            });
        }
    };
    let Some(pem) = pem else {
        return Ok(Found { served: None, key: Some(key), made });
    };
    let unreadable = |why: String| CertgenError::Pair {
        why: format!("{} is no certificate: {why}", paths.cert.display()),
    };
    let der = container::read_block(&pem, "CERTIFICATE")
        .map_err(|seen| unreadable(format!("saw {seen}")))?;
    let (_, cert) = X509Certificate::from_der(&der)
        .map_err(|error| unreadable(error.to_string()))?;
    if cert.public_key().raw != key.public_key_info() {
        return Err(CertgenError::Pair {
            why: format!(
                "{} is not the key of {}",
                paths.key.display(),
                paths.cert.display()
            ),
        });
    }
    let not_before = cert.validity().not_before.to_datetime();
    let not_after = cert.validity().not_after.to_datetime();
    let certified = certified_names(&cert);
    let ours = made.contains(&fingerprint(&der));
    if ours {
        let wanted: BTreeSet<String> =
            names.iter().map(|name| canonical(name)).collect();
        let good = certified == wanted
            && now >= not_before
            && not_after - now > ENDING;
        if !good {
            return Ok(Found { served: None, key: Some(key), made });
        }
    }
    let mut warnings = Vec::new();
    if !ours && not_after - now <= ENDING {
        warnings.push(format!("the server's certificate ends at {not_after}"));
    }
    if !ours && certified.is_empty() {
        warnings.push(
            "the server's certificate has no subject alternative name: no \
             browser takes it for valid"
                .to_owned(),
        );
    }
    let served = Served { ours, changed: false, not_after, warnings };
    Ok(Found { served: Some(served), key: Some(key), made })
}

pub(super) fn certified_names(cert: &X509Certificate<'_>) -> BTreeSet<String> {
    let Ok(Some(names)) = cert.subject_alternative_name() else {
        return BTreeSet::new();
    };
    let names = names.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(canonical(name)),
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(IpAddr::from),
                _ => <[u8; 16]>::try_from(*bytes).ok().map(IpAddr::from),
            }
            .map(|address| address.to_string()),
            _ => None,
        })
        .collect()
}

pub(super) fn canonical(name: &str) -> String {
    match name.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => name.to_ascii_lowercase(),
    }
}

fn sign(
    key: &rcgen::KeyPair,
    names: &[String],
    now: OffsetDateTime,
) -> Result<(rcgen::Certificate, OffsetDateTime), CertgenError> {
    if now < EARLIEST_NOW {
        return Err(CertgenError::Clock { now });
    }
    let now = now
        .to_offset(time::UtcOffset::UTC)
        .replace_nanosecond(0)
        .expect("zero is a nanosecond");
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    // A CN holds 64 characters; nobody reads it while there are names.
    let common = names.first().filter(|name| name.len() <= 64);
    subject.push(DnType::CommonName, common.map_or("grafana", |name| name));
    params.distinguished_name = subject;
    let all: BTreeSet<String> =
        names.iter().map(|name| canonical(name)).collect();
    for name in all {
        params.subject_alt_names.push(match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => {
                SanType::DnsName(name.as_str().try_into().map_err(sign_error)?)
            }
        });
    }
    params.serial_number = Some(random_serial()?);
    params.not_before = now - BACKDATED;
    params.not_after = now + LIFETIME;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let not_after = params.not_after;
    Ok((params.self_signed(key).map_err(sign_error)?, not_after))
}

fn fingerprint(der: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, der);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a small file, through a link as well: the folder is root's.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, CertgenError> {
    // A pipe must not hold us up.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(io_error("read", path)(error)),
    };
    let mut bytes = Vec::new();
    let odd = |what| io_error("read", path)(io::Error::other(what));
    let metadata = file.metadata().map_err(io_error("read", path))?;
    if !metadata.is_file() {
        return Err(odd("no regular file"));
    }
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(io_error("read", path))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(odd("longer than 256 KiB"));
    }
    Ok(Some(bytes))
}

/// Nobody but root reads the key, whoever brought it.
fn mend_mode(key: &Path) -> Result<(), CertgenError> {
    let metadata = fs::metadata(key).map_err(io_error("look at", key))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    warn!(path = %key.display(), mode, "file mode mended");
    fs::set_permissions(key, fs::Permissions::from_mode(0o600))
        .map_err(io_error("set the mode of", key))
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
