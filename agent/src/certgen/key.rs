// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The account's private key: read from any common container, able to sign,
//! named by its fingerprint. Its secret part never leaves this file.

use std::fmt;

use rcgen::{PublicKeyData as _, SignatureAlgorithm};
use rustls_pki_types::PrivatePkcs8KeyDer;

use super::der::{self, Reader};
use super::{CertgenError, Fingerprint, container};

/// Type of an account key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA; 2048 to 4096 bits.
    Rsa {
        /// Size of the modulus.
        bits: u16,
    },
    /// ECDSA over NIST P-256.
    EcdsaP256,
    /// ECDSA over NIST P-384.
    EcdsaP384,
    /// Ed25519.
    Ed25519,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA {bits}"),
            Self::EcdsaP256 => f.write_str("ECDSA P-256"),
            Self::EcdsaP384 => f.write_str("ECDSA P-384"),
            Self::Ed25519 => f.write_str("Ed25519"),
        }
    }
}

/// A private key that signs certificates for CMON. `Debug` shows type and
/// fingerprint only.
pub struct AccountKey {
    kind: KeyKind,
    pair: rcgen::KeyPair,
    fingerprint: Fingerprint,
}

impl AccountKey {
    /// Reads PEM: PKCS#1, PKCS#8, SEC1 or OpenSSH, unencrypted; RSA of 2048
    /// to 4096 bits, ECDSA P-256 or P-384, Ed25519.
    ///
    /// Literal `\n`, CRLF, indentation and a missing last newline are all
    /// right. Errors name what was seen and what is accepted.
    pub fn parse(pem: &[u8]) -> Result<Self, CertgenError> {
        let found = container::read_private_key(pem)?;
        let algorithm: &'static SignatureAlgorithm = match found.kind {
            KeyKind::Rsa { .. } => &rcgen::PKCS_RSA_SHA256,
            KeyKind::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyKind::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyKind::Ed25519 => &rcgen::PKCS_ED25519,
        };
        let der = PrivatePkcs8KeyDer::from(found.der.as_slice());
        let refused = |error: rcgen::Error| CertgenError::Damaged {
            container: "PEM",
            why: error.to_string(),
        };
        let pair =
            rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, algorithm)
                .map_err(refused)?;
        let blob =
            ssh_blob(found.kind, pair.public_key_raw()).ok_or_else(|| {
                CertgenError::Damaged {
                    container: "PEM",
                    why: "no public key".to_owned(),
                }
            })?;
        let fingerprint = Fingerprint::of_ssh_blob(&blob);
        Ok(Self { kind: found.kind, pair, fingerprint })
    }

    /// MD5 over the public key's SSH wire form; what CMON knows the key by.
    pub fn md5_fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Type and size.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Key pair in the form that signs.
    pub(super) fn pair(&self) -> &rcgen::KeyPair {
        &self.pair
    }

    /// SubjectPublicKeyInfo in DER.
    pub(super) fn public_key_info(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountKey")
            .field("kind", &self.kind)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// RFC 4253 §6.6 (RSA), RFC 5656 §3.1 (ECDSA), RFC 8709 §4 (Ed25519).
fn ssh_blob(kind: KeyKind, public: &[u8]) -> Option<Vec<u8>> {
    let mut blob = Vec::new();
    let mut string = |bytes: &[u8]| {
        let len = u32::try_from(bytes.len()).expect("a key is short");
        blob.extend_from_slice(&len.to_be_bytes());
        blob.extend_from_slice(bytes);
    };
    match kind {
        KeyKind::Rsa { .. } => {
            let key = Reader::new(public).take(der::SEQUENCE)?;
            let mut key = Reader::new(key);
            let (n, e) = (key.unsigned()?, key.unsigned()?);
            string(b"ssh-rsa");
            string(&der::signed(e));
            string(&der::signed(n));
        }
        KeyKind::EcdsaP256 => {
            string(b"ecdsa-sha2-nistp256");
            string(b"nistp256");
            string(public);
        }
        KeyKind::EcdsaP384 => {
            string(b"ecdsa-sha2-nistp384");
            string(b"nistp384");
            string(public);
        }
        KeyKind::Ed25519 => {
            string(b"ssh-ed25519");
            string(public);
        }
    }
    Some(blob)
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
