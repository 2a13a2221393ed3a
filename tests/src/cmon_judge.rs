// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! CMON's judgement of a client certificate, step by step, as a plain
//! function over plain data. It shares no code with the agent's `certgen`, so
//! that an error there cannot cancel out here. The HTTP side (401 for every
//! refusal) belongs to the CMON stand-in.
//!
//! Where CMON reads more than ring can verify (MD5 and SHA-512 signatures by
//! EC keys, DSA, P-521), the judgement is a refusal that says so.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use md5::{Digest as _, Md5};
use ring::signature as sig;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

use crate::datacenter::Facts;

/// Extended key usage that marks a certificate as made for CMON.
pub const CMON_PURPOSE: &str = "1.3.6.1.4.1.38678.1.4.2";

/// A subuser who holds the role named `administrator` of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Administrator {
    /// Login of the account whose role it is.
    pub account: String,
    /// Public keys of the subuser, in OpenSSH form.
    pub keys: Vec<String>,
}

/// Why CMON answers 401. One variant per step of the judgement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The client presented none.
    #[error("no client certificate")]
    NoCertificate,
    /// Not X.509, or a part that CMON's parser does not know.
    #[error("unreadable client certificate: {0}")]
    Unreadable(String),
    /// The subject has no CN to take the login from.
    #[error("subject without CN")]
    NoLogin,
    /// Now is outside [notBefore, notAfter).
    #[error("not in force now: {not_before} to {not_after}")]
    NotInForce {
        /// First moment of validity.
        not_before: OffsetDateTime,
        /// First moment after validity.
        not_after: OffsetDateTime,
    },
    /// The issuer's CN is no fingerprint.
    #[error("issuer {0:?} is no key fingerprint")]
    IssuerNoFingerprint(String),
    /// The issuer's CN is a fingerprint of another kind than MD5.
    #[error("issuer {0:?} is not an MD5 fingerprint")]
    IssuerNotMd5(String),
    /// No account has the login.
    #[error("no account {0:?}")]
    UnknownAccount(String),
    /// Neither the account nor an administrator of it has the key.
    #[error("key {key_id} is not on account {login:?}")]
    UnknownKey {
        /// Login from the subject.
        login: String,
        /// Fingerprint of the key that should have signed.
        key_id: KeyId,
    },
    /// The key did not sign this certificate.
    #[error("key {0} did not sign the certificate")]
    BadSignature(KeyId),
}

/// MD5 over the SSH wire form of a public key; prints as colon hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; 16]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let colon = if i == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Judges the presented leaf certificate; the login when it passes.
///
/// `leaf_der` is what the TLS handshake brought, in DER; the chain does not
/// matter. Source: CMON's certificate handler.
pub fn judge(
    leaf_der: Option<&[u8]>,
    facts: &Facts,
    now: OffsetDateTime,
) -> Result<String, Refusal> {
    judge_with(leaf_der, facts, &[], now)
}

/// As [`judge`], with subusers who may sign for an account.
pub fn judge_with(
    leaf_der: Option<&[u8]>,
    facts: &Facts,
    administrators: &[Administrator],
    now: OffsetDateTime,
) -> Result<String, Refusal> {
    let der = leaf_der.ok_or(Refusal::NoCertificate)?;
    let (_, cert) = X509Certificate::from_der(der)
        .map_err(|error| unreadable(&error.to_string()))?;
    if cert.signature_algorithm.algorithm.to_id_string() == RSA_PSS {
        return Err(unreadable("RSA-PSS signature"));
    }
    let mut key_id = subject_key_id(cert.public_key())?;
    let login = common_name(cert.subject()).ok_or(Refusal::NoLogin)?;

    if has_cmon_purpose(&cert)? {
        check_dates(&cert, now)?;
        if names_differ(cert.subject(), cert.issuer()) {
            let issuer = common_name(cert.issuer()).unwrap_or_default();
            key_id = parse_key_id(&issuer)?;
        }
    }

    let account = facts
        .account(&login)
        .ok_or_else(|| Refusal::UnknownAccount(login.clone()))?;
    let of_account = account.keys.iter();
    let of_administrators = administrators
        .iter()
        .filter(|a| a.account == login)
        .flat_map(|a| a.keys.iter());
    let key = of_account
        .chain(of_administrators)
        .filter_map(|line| SshKey::parse(line))
        .find(|key| key.id() == key_id)
        .ok_or_else(|| Refusal::UnknownKey { login: login.clone(), key_id })?;
    if !key.signed(&cert) {
        return Err(Refusal::BadSignature(key_id));
    }
    Ok(login)
}

const RSA_PSS: &str = "1.2.840.113549.1.1.10";

fn unreadable(why: &str) -> Refusal {
    Refusal::Unreadable(why.to_owned())
}

/// The first CN; further RDNs are not looked at.
fn common_name(name: &X509Name<'_>) -> Option<String> {
    let cn = name.iter_common_name().next()?;
    cn.as_str().ok().map(str::to_owned)
}

/// Compares types and text; PrintableString and UTF8String are alike.
fn names_differ(a: &X509Name<'_>, b: &X509Name<'_>) -> bool {
    let parts = |name: &X509Name<'_>| -> Vec<(String, Vec<u8>)> {
        name.iter_attributes()
            .map(|at| (at.attr_type().to_id_string(), at.as_slice().to_vec()))
            .collect()
    };
    parts(a) != parts(b)
}

fn has_cmon_purpose(cert: &X509Certificate<'_>) -> Result<bool, Refusal> {
    let usage = cert
        .extended_key_usage()
        .map_err(|error| unreadable(&error.to_string()))?;
    Ok(usage.is_some_and(|usage| {
        usage.value.other.iter().any(|oid| oid.to_id_string() == CMON_PURPOSE)
    }))
}

/// In force from notBefore on and until just before notAfter.
fn check_dates(
    cert: &X509Certificate<'_>,
    now: OffsetDateTime,
) -> Result<(), Refusal> {
    // CMON reads a two-digit year as one of this century; RFC 5280 would
    // put 50 to 99 into the last one.
    let read = |at: &x509_parser::time::ASN1Time| {
        let date = at.to_datetime();
        if at.is_utctime() && date.year() < 2000 {
            date.replace_year(date.year() + 100).unwrap_or(date)
        } else {
            date
        }
    };
    let not_before = read(&cert.validity().not_before);
    let not_after = read(&cert.validity().not_after);
    if now < not_before || now >= not_after {
        return Err(Refusal::NotInForce { not_before, not_after });
    }
    Ok(())
}

/// Reads `MD5:` with unpadded base64 or colon hex, or bare colon hex.
fn parse_key_id(text: &str) -> Result<KeyId, Refusal> {
    let bad = || Refusal::IssuerNoFingerprint(text.to_owned());
    if text.starts_with("SHA") {
        return Err(Refusal::IssuerNotMd5(text.to_owned()));
    }
    let bytes = match text.strip_prefix("MD5:") {
        Some(rest) if rest.contains(':') => colon_hex(rest),
        Some(rest) => STANDARD_NO_PAD.decode(rest).ok(),
        None => colon_hex(text),
    };
    let bytes = bytes.ok_or_else(bad)?;
    Ok(KeyId(bytes.try_into().map_err(|_| bad())?))
}

fn colon_hex(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &str| {
        let hex = pair.len() == 2
            && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then(|| u8::from_str_radix(pair, 16).ok())?
    };
    text.split(':').map(pair).collect()
}

/// Key id of the certificate's own key.
fn subject_key_id(spki: &SubjectPublicKeyInfo<'_>) -> Result<KeyId, Refusal> {
    let parsed = spki
        .parsed()
        .map_err(|error| unreadable(&format!("subject key: {error}")))?;
    let oid = spki.algorithm.algorithm.to_id_string();
    let blob = match parsed {
        PublicKey::RSA(rsa) => {
            wire(&[b"ssh-rsa", &mpint(rsa.exponent), &mpint(rsa.modulus)])
        }
        PublicKey::EC(point) => {
            let curve = match point.key_size() {
                256 => "nistp256",
                384 => "nistp384",
                // 528 is P-521 rounded up to whole bytes.
                528 => "nistp521",
                bits => return Err(unreadable(&format!("curve of {bits}"))),
            };
            let kind = format!("ecdsa-sha2-{curve}");
            wire(&[kind.as_bytes(), curve.as_bytes(), point.data()])
        }
        PublicKey::Unknown(raw) if oid == "1.3.101.112" => {
            wire(&[b"ssh-ed25519", raw])
        }
        _ => return Err(unreadable(&format!("subject key of type {oid}"))),
    };
    Ok(KeyId(Md5::digest(&blob).into()))
}

/// RFC 4251 §5: strings with a four-byte length each.
fn wire(strings: &[&[u8]]) -> Vec<u8> {
    let mut blob = Vec::new();
    for string in strings {
        let len = u32::try_from(string.len()).expect("a key is short");
        blob.extend_from_slice(&len.to_be_bytes());
        blob.extend_from_slice(string);
    }
    blob
}

/// RFC 4251 §5: no needless leading zeros, one when the top bit is set.
fn mpint(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
    let bytes = &bytes[start..];
    let sign = bytes.first().is_some_and(|b| b & 0x80 != 0);
    let mut out = vec![0; usize::from(sign)];
    out.extend_from_slice(bytes);
    out
}

/// A public key of an account.
struct SshKey {
    blob: Vec<u8>,
}

impl SshKey {
    /// Reads a line such as `ssh-rsa AAAA... comment`.
    fn parse(line: &str) -> Option<Self> {
        let blob = STANDARD.decode(line.split_whitespace().nth(1)?).ok()?;
        Some(Self { blob })
    }

    fn id(&self) -> KeyId {
        KeyId(Md5::digest(&self.blob).into())
    }

    fn strings(&self) -> Option<Vec<&[u8]>> {
        let mut rest = self.blob.as_slice();
        let mut out = Vec::new();
        while !rest.is_empty() {
            let (len, tail) = rest.split_first_chunk::<4>()?;
            let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
            let (string, tail) = tail.split_at_checked(len)?;
            out.push(string);
            rest = tail;
        }
        Some(out)
    }

    /// True when this key made the certificate's signature.
    fn signed(&self, cert: &X509Certificate<'_>) -> bool {
        let message = cert.tbs_certificate.as_ref();
        let signature = cert.signature_value.data.as_ref();
        let algorithm = cert.signature_algorithm.algorithm.to_id_string();
        let Some(strings) = self.strings() else { return false };
        match strings.as_slice() {
            [b"ssh-rsa", e, n] => {
                let params = match algorithm.as_str() {
                    "1.2.840.113549.1.1.5" => {
                        &sig::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY
                    }
                    "1.2.840.113549.1.1.11" => {
                        &sig::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY
                    }
                    "1.2.840.113549.1.1.12" => &sig::RSA_PKCS1_2048_8192_SHA384,
                    "1.2.840.113549.1.1.13" => {
                        &sig::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY
                    }
                    _ => return false,
                };
                // ring wants the numbers without the sign byte.
                let n = n.strip_prefix(&[0]).unwrap_or(n);
                let e = e.strip_prefix(&[0]).unwrap_or(e);
                sig::RsaPublicKeyComponents { n, e }
                    .verify(params, message, signature)
                    .is_ok()
            }
            [_, curve @ (b"nistp256" | b"nistp384"), point] => {
                let params = match (*curve, algorithm.as_str()) {
                    (b"nistp256", ECDSA_SHA256) => &sig::ECDSA_P256_SHA256_ASN1,
                    (b"nistp256", ECDSA_SHA384) => &sig::ECDSA_P256_SHA384_ASN1,
                    (b"nistp384", ECDSA_SHA256) => &sig::ECDSA_P384_SHA256_ASN1,
                    (b"nistp384", ECDSA_SHA384) => &sig::ECDSA_P384_SHA384_ASN1,
                    _ => return false,
                };
                sig::UnparsedPublicKey::new(params, point)
                    .verify(message, signature)
                    .is_ok()
            }
            [b"ssh-ed25519", raw] if algorithm == "1.3.101.112" => {
                sig::UnparsedPublicKey::new(&sig::ED25519, raw)
                    .verify(message, signature)
                    .is_ok()
            }
            _ => false,
        }
    }
}

const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
const ECDSA_SHA384: &str = "1.2.840.10045.4.3.3";

#[cfg(test)]
#[path = "cmon_judge_tests.rs"]
mod tests;
