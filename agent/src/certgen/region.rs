// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The certificates by which Thanos zones of several regions know each other:
//! both sides of a connection show one, and each is for client and server
//! alike.
//!
//! An authority, made once and kept in SAPI's metadata, vouches for all of
//! them; each zone signs its own. They are short of life because nobody
//! revokes them: who has to go loses the authority, which is then replaced.
//! That is done without a gap, for trust and signature are apart. Every
//! certificate of the bundle is trusted; the one that fits the private key
//! signs. So: put the new one beside the old everywhere, then the new key
//! everywhere, then take the old one away.
//!
//! A renewal keeps the private key, as in `ensure`, so that a pair which works
//! never turns into one that does not. The bundle is written before the pair.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SanType,
};
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};
use tracing::info;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::cert::{BACKDATED, EARLIEST_NOW, random_serial, sign_error};
use super::ensure::{
    folder_of, io_error, lock, mend_access, read_if_there, replace, sweep,
};
use super::server::{canonical, certified_names, read};
use super::{AccountKey, CertgenError, container};
use crate::model::Secret;

/// How long a zone's certificate lasts. A third of it is the time that an
/// agent may be dead before anyone notices by the queries.
const LIFETIME: Duration = Duration::days(30);

/// How long an authority lasts that is made here: to replace it is work in
/// every region.
const AUTHORITY_LIFETIME: Duration = Duration::days(3_650);

/// An authority that ends within this is worth a word.
const AUTHORITY_ENDING: Duration = Duration::days(90);

const CERTIFICATE: &str = "CERTIFICATE";

/// Where a zone's files lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionPaths {
    /// Private key, PEM, 0600.
    pub key: PathBuf,
    /// Certificate, PEM, 0600.
    pub cert: PathBuf,
    /// Who is trusted, PEM, 0600.
    pub ca: PathBuf,
    /// Numeric user and group of all three; `None` leaves them to whoever
    /// runs this.
    pub owner: Option<(u32, u32)>,
}

/// Who vouches for zones.
pub struct Authority {
    key: AccountKey,
    /// The certificate that fits the key, DER.
    signer: Vec<u8>,
    not_after: OffsetDateTime,
    /// All that are trusted, PEM.
    bundle: String,
}

/// The pair in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zonal {
    /// Any of the files changed.
    pub changed: bool,
    /// End of the certificate's life.
    pub not_after: OffsetDateTime,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// A new authority, PEM both.
#[derive(Clone, Debug)]
pub struct MadeAuthority {
    /// Its certificate.
    pub certificate: String,
    /// Its key.
    pub private_key: Secret<String>,
}

/// Makes an authority that lasts ten years and signs for zones alone.
///
/// Errors: `Clock` when `now` is before 2020, `Sign`.
pub fn make_authority(
    name: &str,
    now: OffsetDateTime,
) -> Result<MadeAuthority, CertgenError> {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
        .map_err(sign_error)?;
    let mut params = params(name, AUTHORITY_LIFETIME, now)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let cert = params.self_signed(&pair).map_err(sign_error)?;
    Ok(MadeAuthority {
        certificate: cert.pem(),
        private_key: Secret::new(pair.serialize_pem()),
    })
}

impl Authority {
    /// Reads a bundle of certificates and the key of one of them, PEM.
    ///
    /// Errors: those of [`AccountKey::parse`]; `Authority` when none of the
    /// certificates fits the key, or the one that does may not sign, now or
    /// at all.
    pub fn parse(
        certificates: &str,
        private_key: &Secret<String>,
        now: OffsetDateTime,
    ) -> Result<Self, CertgenError> {
        let bad = |why: String| CertgenError::Authority { why };
        // To sign with it.
        let key = AccountKey::parse(private_key.expose().as_bytes())?;
        let all = container::read_blocks(certificates.as_bytes(), CERTIFICATE)
            .map_err(|seen| bad(format!("has no certificate: saw {seen}")))?;
        let wanted = key.public_key_info();
        let mut signer = None;
        for der in &all {
            let (_, cert) = X509Certificate::from_der(der)
                .map_err(|e| bad(format!("is unreadable: {e}")))?;
            if cert.public_key().raw == wanted {
                let not_after = may_sign(&cert, now).map_err(bad)?;
                signer.get_or_insert((der.clone(), not_after));
            }
        }
        let (signer, not_after) = signer.ok_or_else(|| {
            bad("has no certificate that fits its private key".to_owned())
        })?;
        let bundle =
            all.iter().map(|der| container::write_block(der, CERTIFICATE));
        Ok(Self { key, signer, not_after, bundle: bundle.collect() })
    }
}

/// Whether an authority may sign now; until when.
fn may_sign(
    cert: &X509Certificate<'_>,
    now: OffsetDateTime,
) -> Result<OffsetDateTime, String> {
    if !cert.is_ca() {
        return Err("has a certificate that is no authority's".to_owned());
    }
    if let Ok(Some(usage)) = cert.key_usage()
        && !usage.value.key_cert_sign()
    {
        return Err("may not sign certificates by its key usage".to_owned());
    }
    let not_before = cert.validity().not_before.to_datetime();
    let not_after = cert.validity().not_after.to_datetime();
    if now < not_before || now >= not_after {
        return Err(format!(
            "is valid from {not_before} to {not_after}, and it is {now}"
        ));
    }
    Ok(not_after)
}

/// Makes sure that a key, a certificate for `names` (DNS names and addresses,
/// the first one also its CN) and the bundle are there, and good for a third
/// of a certificate's life at least. Idempotent.
///
/// Errors: `Io` when a file cannot be written (those in force stay), `Busy`
/// while another process does this, `Sign`, `Clock`.
pub fn ensure_region(
    paths: &RegionPaths,
    authority: &Authority,
    names: &[String],
    now: OffsetDateTime,
) -> Result<Zonal, CertgenError> {
    let mut warnings = Vec::new();
    if authority.not_after - now <= AUTHORITY_ENDING {
        let end = authority.not_after;
        warnings.push(format!("the authority between regions ends at {end}"));
    }
    let seen = look(paths, authority, names, now)?;
    if let (true, Some(not_after)) = (seen.bundle, seen.good) {
        for path in [&paths.key, &paths.cert, &paths.ca] {
            mend_access(path, paths.owner)?;
        }
        return Ok(Zonal { changed: false, not_after, warnings });
    }
    let folder = folder_of(&paths.key);
    fs::create_dir_all(folder).map_err(io_error("create", folder))?;
    let _lock = lock(&paths.key)?;
    for path in [&paths.key, &paths.cert, &paths.ca] {
        sweep(path)?;
    }
    // Looked at again: the holder before us may have done the work.
    let seen = look(paths, authority, names, now)?;
    if !seen.bundle {
        replace(&paths.ca, authority.bundle.as_bytes(), paths.owner)?;
    }
    let not_after = match (seen.good, seen.key) {
        (Some(not_after), _) => not_after,
        (None, Some(key)) => write_pair(paths, authority, &key, names, now)?,
        (None, None) => {
            let key = make_key(paths)?;
            write_pair(paths, authority, &key, names, now)?
        }
    };
    Ok(Zonal { changed: true, not_after, warnings })
}

/// What is on disk.
struct Seen {
    /// The bundle is as wanted.
    bundle: bool,
    /// A key that can be used again.
    key: Option<AccountKey>,
    /// End of a certificate that may stay.
    good: Option<OffsetDateTime>,
}

fn look(
    paths: &RegionPaths,
    authority: &Authority,
    names: &[String],
    now: OffsetDateTime,
) -> Result<Seen, CertgenError> {
    let ca = read_if_there(&paths.ca)?;
    let bundle = matches!(ca,
        Some(Ok(bytes)) if bytes == authority.bundle.as_bytes());
    let key = match read_if_there(&paths.key)? {
        Some(Ok(pem)) => AccountKey::parse(&pem).ok(),
        _ => None,
    };
    let good = match (&key, read_if_there(&paths.cert)?) {
        (Some(key), Some(Ok(pem))) => good(&pem, key, authority, names, now),
        _ => None,
    };
    Ok(Seen { bundle, key, good })
}

/// End of a certificate's life, if it need not be replaced yet.
fn good(
    pem: &[u8],
    key: &AccountKey,
    authority: &Authority,
    names: &[String],
    now: OffsetDateTime,
) -> Option<OffsetDateTime> {
    let der = container::read_block(pem, CERTIFICATE).ok()?;
    let (_, cert) = X509Certificate::from_der(&der).ok()?;
    let (_, signer) = X509Certificate::from_der(&authority.signer).ok()?;
    let not_before = cert.validity().not_before.to_datetime();
    let not_after = cert.validity().not_after.to_datetime();
    let usage = cert.extended_key_usage().ok()??;
    let wanted: BTreeSet<String> =
        names.iter().map(|name| canonical(name)).collect();
    let stays = cert.public_key().raw == key.public_key_info()
        && cert.issuer().as_raw() == signer.subject().as_raw()
        && cert.verify_signature(Some(signer.public_key())).is_ok()
        && usage.value.server_auth
        && usage.value.client_auth
        && certified_names(&cert) == wanted
        && now >= not_before
        && not_after - now > (not_after - not_before) / 3;
    stays.then_some(not_after)
}

fn make_key(paths: &RegionPaths) -> Result<AccountKey, CertgenError> {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
        .map_err(sign_error)?;
    let pem = pair.serialize_pem();
    replace(&paths.key, pem.as_bytes(), paths.owner)?;
    AccountKey::parse(pem.as_bytes())
}

fn write_pair(
    paths: &RegionPaths,
    authority: &Authority,
    key: &AccountKey,
    names: &[String],
    now: OffsetDateTime,
) -> Result<OffsetDateTime, CertgenError> {
    let common = names.first().map_or("thanos", String::as_str);
    let mut params = params(common, LIFETIME, now)?;
    params.not_after = params.not_after.min(authority.not_after);
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
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    let signer = CertificateDer::from(authority.signer.as_slice());
    let issuer = Issuer::from_ca_cert_der(&signer, authority.key.pair())
        .map_err(sign_error)?;
    let not_after = params.not_after;
    let cert = params.signed_by(key.pair(), &issuer).map_err(sign_error)?;
    mend_access(&paths.key, paths.owner)?;
    replace(&paths.cert, cert.pem().as_bytes(), paths.owner)?;
    info!(?names, %not_after, "certificate between regions issued");
    Ok(not_after)
}

/// What every certificate here has; valid from an hour before `now`.
fn params(
    common_name: &str,
    lifetime: Duration,
    now: OffsetDateTime,
) -> Result<CertificateParams, CertgenError> {
    if now < EARLIEST_NOW {
        return Err(CertgenError::Clock { now });
    }
    // Certificates know whole seconds.
    let now = now
        .to_offset(time::UtcOffset::UTC)
        .replace_nanosecond(0)
        .expect("zero is a nanosecond");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // A CN holds 64 characters; nobody reads it while there are names.
    let short: String = common_name.chars().take(64).collect();
    params.distinguished_name.push(DnType::CommonName, short);
    params.serial_number = Some(random_serial()?);
    params.not_before = now - BACKDATED;
    params.not_after = now + lifetime;
    Ok(params)
}

/// Judges files that the operator brought: a daemon would not start with a
/// pair that does not fit, or with a bundle that holds nobody. Returns what
/// he should know.
///
/// Errors: `Pair`, `Damaged` and their kin, `Io`.
pub fn judge_given(
    cert: &Path,
    key: &Path,
    ca: &Path,
    now: OffsetDateTime,
) -> Result<Vec<String>, CertgenError> {
    let pair = |why: String| CertgenError::Pair { why };
    let there = |path: &Path| {
        let gone = || pair(format!("{} is not there", path.display()));
        read(path)?.ok_or_else(gone)
    };
    let parsed = AccountKey::parse(&there(key)?)?;
    let mut warnings = Vec::new();
    for (path, one) in [(cert, true), (ca, false)] {
        let none = |why: String| {
            pair(format!("{} is no certificate: {why}", path.display()))
        };
        let all = container::read_blocks(&there(path)?, CERTIFICATE)
            .map_err(|seen| none(format!("saw {seen}")))?;
        for (at, der) in all.iter().enumerate() {
            let (_, found) = X509Certificate::from_der(der)
                .map_err(|error| none(error.to_string()))?;
            let fits = found.public_key().raw == parsed.public_key_info();
            if one && at == 0 && !fits {
                return Err(pair(format!(
                    "{} is not the key of {}",
                    key.display(),
                    cert.display()
                )));
            }
            let end = found.validity().not_after.to_datetime();
            if end - now <= LIFETIME / 3 {
                warnings.push(format!("{} ends at {end}", path.display()));
            }
        }
    }
    Ok(warnings)
}

#[cfg(test)]
#[path = "region_tests.rs"]
mod tests;
