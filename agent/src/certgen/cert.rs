// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Writes and reads CMON client certificates, and decides when one has to be
//! replaced. Pure: time and bytes come in, bytes go out.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SerialNumber,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use time::OffsetDateTime;
use time::macros::datetime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use super::ensure::read_bounded;
use super::{AccountKey, CertgenError, Fingerprint, container};
use crate::model::Secret;

/// How long a certificate lasts: a year.
///
/// The agent renews with a third of it left, so a zone whose agent has died
/// keeps its targets for at least four months, ample time to notice. Upstream
/// takes ten years and never renews; then a renewal is an event nobody has
/// seen before. Life is not what protects here: to revoke, the signing key is
/// taken off the account.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(365 * 86_400);

/// CMON compares notBefore with its own clock, which may be behind ours.
pub(super) const BACKDATED: time::Duration = time::Duration::HOUR;

/// CMON reads two-digit years as 20yy, RFC 5280 reads 50 to 99 as 19yy; up to
/// here both agree.
const LATEST_NOT_AFTER: OffsetDateTime = datetime!(2049-12-31 23:59:59 UTC);

/// A clock before this has not been set yet.
pub(super) const EARLIEST_NOW: OffsetDateTime = datetime!(2020-01-01 00:00 UTC);

/// Extended key usage that makes CMON look at the issuer at all.
const CMON_PURPOSE: [u64; 10] = [1, 3, 6, 1, 4, 1, 38678, 1, 4, 2];

/// A new key with its certificate.
#[derive(Clone, Debug)]
pub struct Issued {
    /// PKCS#8 PEM, EC P-256.
    pub key_pem: Secret<String>,
    /// X.509 PEM.
    pub cert_pem: String,
    /// First moment of validity, an hour ago.
    pub not_before: OffsetDateTime,
    /// End of validity.
    pub not_after: OffsetDateTime,
}

/// Makes a new EC P-256 key and a certificate for it that is valid from an
/// hour before `now` until `lifetime` after it, but not into 2050.
///
/// Errors: `Login` when it does not fit a CN, `Clock` when `now` is before
/// 2020 or after 2049, `Sign`.
pub fn issue(
    account: &AccountKey,
    login: &str,
    lifetime: Duration,
    now: OffsetDateTime,
) -> Result<Issued, CertgenError> {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
        .map_err(sign_error)?;
    let signed = sign(account, &pair, login, lifetime, now)?;
    Ok(Issued {
        key_pem: Secret::new(pair.serialize_pem()),
        cert_pem: signed.cert_pem,
        not_before: signed.not_before,
        not_after: signed.not_after,
    })
}

/// A certificate alone.
pub(super) struct Signed {
    pub(super) cert_pem: String,
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
}

/// Signs a certificate over an existing client key.
pub(super) fn sign(
    account: &AccountKey,
    client: &rcgen::KeyPair,
    login: &str,
    lifetime: Duration,
    now: OffsetDateTime,
) -> Result<Signed, CertgenError> {
    if now < EARLIEST_NOW || now >= LATEST_NOT_AFTER {
        return Err(CertgenError::Clock { now });
    }
    // Certificates know whole seconds.
    let now = now
        .to_offset(time::UtcOffset::UTC)
        .replace_nanosecond(0)
        .expect("zero is a nanosecond");
    let not_before = now - BACKDATED;
    let not_after = time::Duration::try_from(lifetime)
        .ok()
        .and_then(|lifetime| now.checked_add(lifetime))
        .map_or(LATEST_NOT_AFTER, |end| end.min(LATEST_NOT_AFTER));

    let mut params = CertificateParams::default();
    params.distinguished_name = name(login_value(login)?);
    params.serial_number = Some(random_serial()?);
    params.not_before = not_before;
    params.not_after = not_after;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::Other(CMON_PURPOSE.to_vec()),
    ];
    let mut of_issuer = CertificateParams::default();
    let fingerprint = account.md5_fingerprint().to_string();
    of_issuer.distinguished_name = name(printable(&fingerprint)?);
    let issuer = Issuer::from_params(&of_issuer, account.pair());
    let cert = params.signed_by(client, &issuer).map_err(sign_error)?;
    Ok(Signed { cert_pem: cert.pem(), not_before, not_after })
}

pub(super) fn sign_error(error: rcgen::Error) -> CertgenError {
    CertgenError::Sign(Box::new(error))
}

fn name(common_name: DnValue) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn printable(text: &str) -> Result<DnValue, CertgenError> {
    let text = text.try_into().map_err(sign_error)?;
    Ok(DnValue::PrintableString(text))
}

/// PrintableString as upstream writes it. Logins may hold `_` and `@`, which
/// that type lacks; those go as UTF8String (assumed: CMON reads both).
fn login_value(login: &str) -> Result<DnValue, CertgenError> {
    let fits = (1..=64).contains(&login.len())
        && login.bytes().all(|byte| byte.is_ascii_graphic());
    if !fits {
        let login = login.chars().take(80).collect();
        return Err(CertgenError::Login { login });
    }
    Ok(printable(login)
        .unwrap_or_else(|_| DnValue::Utf8String(login.to_owned())))
}

/// 16 random bytes; positive and never shorter.
pub(super) fn random_serial() -> Result<SerialNumber, CertgenError> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|error| CertgenError::Sign(error.to_string().into()))?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertInfo {
    /// Login: the subject's first CN.
    pub subject_cn: String,
    /// The account key that signed, from the issuer's CN; `None` when the
    /// issuer is no MD5 fingerprint.
    pub issuer_fingerprint: Option<Fingerprint>,
    /// First moment of validity.
    pub not_before: OffsetDateTime,
    /// End of validity.
    pub not_after: OffsetDateTime,
    /// Serial number, colon hex.
    pub serial: String,
    /// Extended key usage names CMON.
    pub for_cmon: bool,
    /// The certified key: SubjectPublicKeyInfo in DER.
    pub public_key_info: Vec<u8>,
}

/// Reads the first certificate of a PEM text. Its signature is not checked.
pub fn inspect(pem: &[u8]) -> Result<CertInfo, CertgenError> {
    let der = cert_der(pem)?;
    let cert = parse(&der)?;
    let for_cmon =
        cert.extended_key_usage()
            .map_err(|error| unreadable(&error))?
            .is_some_and(|usage| {
                usage.value.other.iter().any(|oid| {
                    oid.iter().is_some_and(|arcs| arcs.eq(CMON_PURPOSE))
                })
            });
    let issuer = common_name(cert.issuer()).unwrap_or_default();
    Ok(CertInfo {
        subject_cn: common_name(cert.subject())
            .ok_or_else(|| unreadable(&"its subject has no CN"))?,
        issuer_fingerprint: issuer.parse().ok(),
        not_before: cert.validity().not_before.to_datetime(),
        not_after: cert.validity().not_after.to_datetime(),
        serial: cert.raw_serial_as_string(),
        for_cmon,
        public_key_info: cert.public_key().raw.to_vec(),
    })
}

/// [`inspect`] on a file.
pub fn load(path: &Path) -> Result<CertInfo, CertgenError> {
    let pem = read_bounded(path).map_err(|source| CertgenError::Io {
        doing: "read",
        path: path.to_owned(),
        source,
    })?;
    inspect(&pem)
}

/// True when `account` made the certificate's signature.
pub(super) fn is_signed_by(pem: &[u8], account: &AccountKey) -> bool {
    let Ok(der) = cert_der(pem) else { return false };
    let Ok(cert) = parse(&der) else { return false };
    let info = account.public_key_info();
    let Ok((_, key)) = x509_parser::x509::SubjectPublicKeyInfo::from_der(&info)
    else {
        return false;
    };
    cert.verify_signature(Some(&key)).is_ok()
}

fn cert_der(pem: &[u8]) -> Result<Vec<u8>, CertgenError> {
    container::read_block(pem, "CERTIFICATE")
        .map_err(|seen| unreadable(&format!("saw {seen}")))
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertgenError> {
    let (_, cert) =
        X509Certificate::from_der(der).map_err(|error| unreadable(&error))?;
    Ok(cert)
}

fn unreadable(why: &dyn fmt::Display) -> CertgenError {
    CertgenError::Certificate { why: why.to_string() }
}

fn common_name(name: &X509Name<'_>) -> Option<String> {
    let cn = name.iter_common_name().next()?;
    cn.as_str().ok().map(str::to_owned)
}

/// What is on disk where the pair belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Key or certificate is not there.
    Missing,
    /// Key or certificate is there and cannot be used.
    Unreadable {
        /// What is wrong with it.
        why: String,
    },
    /// Both can be read.
    Pair {
        /// What the certificate says.
        info: CertInfo,
        /// The key is the certified one.
        key_fits: bool,
        /// The account key made the certificate's signature.
        signature_good: bool,
    },
}

/// Why a certificate has to be replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewalReason {
    /// There is none yet.
    #[error("missing")]
    Missing,
    /// It cannot be read.
    #[error("unreadable: {0}")]
    Unreadable(String),
    /// The private key is another one than the certified.
    #[error("the key does not fit the certificate")]
    KeyDoesNotFit,
    /// It was not made for CMON.
    #[error("the extended key usage lacks CMON")]
    NotForCmon,
    /// Another account key is named as issuer: the key was rotated.
    #[error("signed by another account key")]
    OtherAccountKey,
    /// The right key is named, but did not sign.
    #[error("the signature does not verify")]
    BadSignature,
    /// It is for another account.
    #[error("made for another login")]
    OtherLogin,
    /// Not valid yet: the clock was set back.
    #[error("not valid before {0}")]
    NotYetValid(OffsetDateTime),
    /// A third of its life is left, or less, or none.
    #[error("ends at {0}")]
    Ending(OffsetDateTime),
}

/// Decides whether what was found has to be replaced; `None` when it is good.
pub fn needs_renewal(
    found: &Found,
    account: &Fingerprint,
    login: &str,
    now: OffsetDateTime,
) -> Option<RenewalReason> {
    let (info, key_fits, signature_good) = match found {
        Found::Missing => return Some(RenewalReason::Missing),
        Found::Unreadable { why } => {
            return Some(RenewalReason::Unreadable(why.clone()));
        }
        Found::Pair { info, key_fits, signature_good } => {
            (info, *key_fits, *signature_good)
        }
    };
    let third = (info.not_after - info.not_before) / 3;
    let reason = if !key_fits {
        RenewalReason::KeyDoesNotFit
    } else if !info.for_cmon {
        RenewalReason::NotForCmon
    } else if info.issuer_fingerprint.as_ref() != Some(account) {
        RenewalReason::OtherAccountKey
    } else if !signature_good {
        RenewalReason::BadSignature
    } else if info.subject_cn != login {
        RenewalReason::OtherLogin
    } else if now < info.not_before {
        RenewalReason::NotYetValid(info.not_before)
    } else if info.not_after - now <= third {
        RenewalReason::Ending(info.not_after)
    } else {
        return None;
    };
    Some(reason)
}

#[cfg(test)]
#[path = "cert_tests.rs"]
mod tests;
