// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Takes private key containers apart: PEM, and within it PKCS#1 (RFC 8017),
//! PKCS#8 (RFC 5958), SEC1 (RFC 5915) and OpenSSH (`PROTOCOL.key`). What is
//! found is rebuilt as one canonical PKCS#8, so that everything behind this
//! file sees a single form. No key is used here, only moved.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use num_bigint::BigUint;

use super::CertgenError;
use super::der::{self, Reader};
use super::key::KeyKind;

/// No key container comes near this size.
const MAX_BYTES: usize = 64 * 1024;

/// A private key as PKCS#8, with its type.
pub(super) struct Pkcs8 {
    pub(super) kind: KeyKind,
    pub(super) der: Vec<u8>,
}

/// Finds the private key in PEM bytes.
///
/// Lenient with the ways in which SAPI metadata is filled in: literal `\n`,
/// CRLF, indented lines, no newline at the end, other blocks before the key.
pub(super) fn read_private_key(pem: &[u8]) -> Result<Pkcs8, CertgenError> {
    if pem.len() > MAX_BYTES {
        let seen = format!("{} bytes", pem.len());
        return Err(CertgenError::NoPrivateKey { seen });
    }
    let text = unescaped(pem);
    let blocks = blocks(&text);
    let block = blocks
        .iter()
        .find(|block| block.label.ends_with("PRIVATE KEY"))
        .ok_or_else(|| CertgenError::NoPrivateKey {
            seen: describe(&text, &blocks),
        })?;
    let der = |container| block.decode(container);
    match block.label {
        "RSA PRIVATE KEY" => pkcs1(&der("PKCS#1")?, "PKCS#1"),
        "PRIVATE KEY" => pkcs8(&der("PKCS#8")?),
        "EC PRIVATE KEY" => sec1(&der("SEC1")?, None, "SEC1"),
        "OPENSSH PRIVATE KEY" => openssh(&der("OpenSSH")?),
        "ENCRYPTED PRIVATE KEY" => {
            Err(CertgenError::Encrypted { seen: "PKCS#8".to_owned() })
        }
        "DSA PRIVATE KEY" => {
            Err(CertgenError::UnsupportedKey { seen: "a DSA key".to_owned() })
        }
        label => {
            let seen = format!("a PEM block {label:?}");
            Err(CertgenError::NoPrivateKey { seen })
        }
    }
}

/// DER of the first block with this label. `Err` says what was seen.
pub(super) fn read_block(pem: &[u8], label: &str) -> Result<Vec<u8>, String> {
    read_some(pem, label, 1).map(|mut all| all.swap_remove(0))
}

/// DER of every block with this label, one at least. `Err` says what was
/// seen.
pub(super) fn read_blocks(
    pem: &[u8],
    label: &str,
) -> Result<Vec<Vec<u8>>, String> {
    read_some(pem, label, usize::MAX)
}

fn read_some(
    pem: &[u8],
    label: &str,
    most: usize,
) -> Result<Vec<Vec<u8>>, String> {
    if pem.len() > MAX_BYTES {
        return Err(format!("{} bytes", pem.len()));
    }
    let text = unescaped(pem);
    let blocks = blocks(&text);
    let found: Vec<_> =
        blocks.iter().filter(|block| block.label == label).collect();
    if found.is_empty() {
        return Err(describe(&text, &blocks));
    }
    found.into_iter().take(most).map(Block::bytes).collect()
}

/// A block as it is written, lines of 64 characters.
pub(super) fn write_block(der: &[u8], label: &str) -> String {
    let body = BASE64.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for (at, character) in body.chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}

fn unescaped(pem: &[u8]) -> String {
    let text = String::from_utf8_lossy(pem);
    text.replace("\\r", "\r").replace("\\n", "\n")
}

/// One PEM block (RFC 7468), its body still text.
struct Block<'a> {
    label: &'a str,
    body: Option<&'a str>,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, tail)) = rest.split_once("-----BEGIN ") {
        let Some((label, body)) = tail.split_once("-----") else { break };
        // Bounded, since a label ends up in messages.
        let plain = |c: char| c.is_ascii_alphanumeric() || c == ' ';
        if label.len() <= 40 && label.chars().all(plain) {
            let end = format!("-----END {label}-----");
            let body = body.split_once(&end).map(|(body, _)| body);
            found.push(Block { label, body });
        }
        rest = tail;
    }
    found
}

/// What to tell someone who gave us something else.
fn describe(text: &str, blocks: &[Block<'_>]) -> String {
    let text = text.trim_start();
    if !blocks.is_empty() {
        let labels: Vec<&str> =
            blocks.iter().map(|block| block.label).take(5).collect();
        format!("PEM of {}", labels.join(", "))
    } else if text.is_empty() {
        "nothing".to_owned()
    } else if text.starts_with("ssh-") || text.starts_with("ecdsa-") {
        "an SSH public key".to_owned()
    } else {
        "no PEM header".to_owned()
    }
}

/// Accepts padding or none: hand-copied metadata loses it at times.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl Block<'_> {
    fn bytes(&self) -> Result<Vec<u8>, String> {
        let body = self.body.ok_or("the END line is missing")?;
        let packed: String =
            body.chars().filter(|c| !c.is_whitespace()).collect();
        BASE64.decode(packed).map_err(|_| "it is not base64".to_owned())
    }

    fn decode(&self, container: &'static str) -> Result<Vec<u8>, CertgenError> {
        // RFC 1421 headers: what OpenSSL writes above an encrypted key.
        if self.body.is_some_and(|body| body.contains("ENCRYPTED")) {
            let seen = container.to_owned();
            return Err(CertgenError::Encrypted { seen });
        }
        self.bytes().map_err(|why| CertgenError::Damaged { container, why })
    }
}

fn damaged(container: &'static str, why: &str) -> CertgenError {
    CertgenError::Damaged { container, why: why.to_owned() }
}

fn unsupported(seen: &str) -> CertgenError {
    CertgenError::UnsupportedKey { seen: seen.to_owned() }
}

// Contents of OID elements.
const RSA_ENCRYPTION: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
const EC_PUBLIC_KEY: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
const P256: &[u8] = b"\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x2b\x81\x04\x00\x22";
const P521: &[u8] = b"\x2b\x81\x04\x00\x23";
const ED25519: &[u8] = b"\x2b\x65\x70";

fn pkcs1(der: &[u8], container: &'static str) -> Result<Pkcs8, CertgenError> {
    let read = || {
        let mut key = Reader::new(Reader::new(der).take(der::SEQUENCE)?);
        // 0: two primes.
        if !key.unsigned()?.is_empty() {
            return None;
        }
        let (n, e, d) = (key.unsigned()?, key.unsigned()?, key.unsigned()?);
        let (p, q) = (key.unsigned()?, key.unsigned()?);
        Some(RsaNumbers { n, e, d, p, q })
    };
    let numbers = read().ok_or_else(|| damaged(container, "bad DER"))?;
    numbers.pkcs8(container)
}

fn pkcs8(der: &[u8]) -> Result<Pkcs8, CertgenError> {
    let read = || {
        let mut info = Reader::new(Reader::new(der).take(der::SEQUENCE)?);
        info.unsigned()?;
        let mut algorithm = Reader::new(info.take(der::SEQUENCE)?);
        let oid = algorithm.take(der::OID)?;
        Some((oid, algorithm, info.take(der::OCTET_STRING)?))
    };
    let (oid, mut parameters, key) =
        read().ok_or_else(|| damaged("PKCS#8", "bad DER"))?;
    match oid {
        RSA_ENCRYPTION => pkcs1(key, "PKCS#8"),
        EC_PUBLIC_KEY => sec1(key, parameters.take(der::OID), "PKCS#8"),
        ED25519 => Reader::new(key)
            .take(der::OCTET_STRING)
            .and_then(ed25519)
            .ok_or_else(|| damaged("PKCS#8", "bad Ed25519 seed")),
        _ => Err(unsupported("a key of an unknown type in PKCS#8")),
    }
}

fn sec1(
    der: &[u8],
    outer_curve: Option<&[u8]>,
    container: &'static str,
) -> Result<Pkcs8, CertgenError> {
    let read = || {
        let mut key = Reader::new(Reader::new(der).take(der::SEQUENCE)?);
        key.unsigned()?;
        let secret = key.take(der::OCTET_STRING)?;
        let curve = key
            .take(der::CONTEXT_0)
            .and_then(|content| Reader::new(content).take(der::OID));
        let point = key.take(der::CONTEXT_1).and_then(|content| {
            // The first byte counts unused bits: none.
            Reader::new(content).take(der::BIT_STRING)?.strip_prefix(&[0])
        });
        Some((secret, curve, point))
    };
    let (secret, inner_curve, point) =
        read().ok_or_else(|| damaged(container, "bad DER"))?;
    let curve = outer_curve
        .or(inner_curve)
        .ok_or_else(|| damaged(container, "no curve named"))?;
    let point = point
        .ok_or_else(|| unsupported("an EC key without its public part"))?;
    ecdsa(curve, secret, point, container)
}

/// OpenSSH's own container, `openssh-key-v1`.
fn openssh(blob: &[u8]) -> Result<Pkcs8, CertgenError> {
    const NAME: &str = "OpenSSH";
    let cut_short = || damaged(NAME, "it ends too early");
    let blob = blob
        .strip_prefix(b"openssh-key-v1\0")
        .ok_or_else(|| damaged(NAME, "no openssh-key-v1 mark"))?;
    let mut outer = Wire(blob);
    let cipher = outer.string().ok_or_else(cut_short)?;
    if cipher != b"none" {
        let cipher: String =
            String::from_utf8_lossy(cipher).chars().take(40).collect();
        let seen = format!("OpenSSH, cipher {cipher:?}");
        return Err(CertgenError::Encrypted { seen });
    }
    let secret = |outer: &mut Wire<'_>| {
        let (_kdf, _options) = (outer.string()?, outer.string()?);
        (outer.u32()? == 1).then_some(())?;
        let _public = outer.string()?;
        Some(Wire(outer.string()?).0.to_vec())
    };
    let secret = secret(&mut outer).ok_or_else(cut_short)?;
    let mut inner = Wire(&secret);
    let (a, b) = (inner.u32(), inner.u32());
    if a.is_none() || a != b {
        return Err(damaged(NAME, "the check numbers differ"));
    }
    let kind = inner.string().ok_or_else(cut_short)?;
    match kind {
        b"ssh-rsa" => {
            let mut read = || {
                let (n, e, d) =
                    (inner.string()?, inner.string()?, inner.string()?);
                let _inverse = inner.string()?;
                let (p, q) = (inner.string()?, inner.string()?);
                Some(RsaNumbers { n, e, d, p, q })
            };
            read().ok_or_else(cut_short)?.pkcs8(NAME)
        }
        b"ssh-ed25519" => {
            let mut read = || {
                let _public = inner.string()?;
                // Seed and public key in one string.
                ed25519(inner.string()?.get(..32)?)
            };
            read().ok_or_else(cut_short)
        }
        kind if kind.starts_with(b"ecdsa-sha2-") => {
            let mut read =
                || Some((inner.string()?, inner.string()?, inner.string()?));
            let (curve, point, secret) = read().ok_or_else(cut_short)?;
            let curve = match curve {
                b"nistp256" => P256,
                b"nistp384" => P384,
                _ => P521,
            };
            ecdsa(curve, secret, point, NAME)
        }
        kind => {
            let kind: String =
                String::from_utf8_lossy(kind).chars().take(40).collect();
            Err(unsupported(&format!("an OpenSSH key of type {kind:?}")))
        }
    }
}

/// Reads RFC 4251 §5 strings and numbers.
struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    fn u32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*bytes))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u32()?).ok()?;
        let (string, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(string)
    }
}

/// What every RSA container holds; the rest follows from it.
struct RsaNumbers<'a> {
    n: &'a [u8],
    e: &'a [u8],
    d: &'a [u8],
    p: &'a [u8],
    q: &'a [u8],
}

impl RsaNumbers<'_> {
    /// Rebuilds RFC 8017 A.1.2. OpenSSH leaves the exponents out, and some
    /// generators put the smaller prime first, which ring does not take; so
    /// all derived numbers are computed anew.
    fn pkcs8(&self, container: &'static str) -> Result<Pkcs8, CertgenError> {
        let number = BigUint::from_bytes_be;
        let bits = number(self.n).bits();
        let kind = match u16::try_from(bits) {
            Ok(bits @ 2048..=4096) => KeyKind::Rsa { bits },
            _ => {
                return Err(unsupported(&format!("an RSA key of {bits} bits")));
            }
        };
        let (mut p, mut q) = (number(self.p), number(self.q));
        if p < q {
            std::mem::swap(&mut p, &mut q);
        }
        let one = BigUint::from(1u8);
        let prime_by_size = q > one && &p * &q == number(self.n);
        let inverse = if prime_by_size { q.modinv(&p) } else { None };
        let inverse = inverse
            .ok_or_else(|| damaged(container, "the primes do not fit"))?;
        let d = number(self.d);
        let numbers: Vec<Vec<u8>> = [
            BigUint::ZERO,
            number(self.n),
            number(self.e),
            d.clone(),
            p.clone(),
            q.clone(),
            &d % (&p - &one),
            &d % (&q - &one),
            inverse,
        ]
        .iter()
        .map(|number| der::integer(&number.to_bytes_be()))
        .collect();
        let parts: Vec<&[u8]> = numbers.iter().map(Vec::as_slice).collect();
        let key = der::element(der::SEQUENCE, &parts);
        let null: &[u8] = &[0x05, 0];
        Ok(Pkcs8 { kind, der: wrap(RSA_ENCRYPTION, null, &key) })
    }
}

fn ecdsa(
    curve: &[u8],
    secret: &[u8],
    point: &[u8],
    container: &'static str,
) -> Result<Pkcs8, CertgenError> {
    let (kind, size) = match curve {
        P256 => (KeyKind::EcdsaP256, 32),
        P384 => (KeyKind::EcdsaP384, 48),
        P521 => return Err(unsupported("an ECDSA P-521 key")),
        _ => return Err(unsupported("an EC key of an unknown curve")),
    };
    let secret = der::without_zeros(secret);
    if secret.len() > size {
        return Err(damaged(container, "the secret is too long"));
    }
    // Fixed width: containers differ in how they treat leading zeros.
    let mut scalar = vec![0; size - secret.len()];
    scalar.extend_from_slice(secret);
    let bits = der::element(der::BIT_STRING, &[&[0], point]);
    let key = der::element(
        der::SEQUENCE,
        &[
            &der::integer(&[1]),
            &der::element(der::OCTET_STRING, &[&scalar]),
            &der::element(der::CONTEXT_1, &[&bits]),
        ],
    );
    let parameters = der::element(der::OID, &[curve]);
    Ok(Pkcs8 { kind, der: wrap(EC_PUBLIC_KEY, &parameters, &key) })
}

fn ed25519(seed: &[u8]) -> Option<Pkcs8> {
    let seed: &[u8; 32] = seed.try_into().ok()?;
    let key = der::element(der::OCTET_STRING, &[seed]);
    Some(Pkcs8 { kind: KeyKind::Ed25519, der: wrap(ED25519, &[], &key) })
}

/// RFC 5958 OneAsymmetricKey, version 0.
fn wrap(oid: &[u8], parameters: &[u8], key: &[u8]) -> Vec<u8> {
    let oid = der::element(der::OID, &[oid]);
    der::element(
        der::SEQUENCE,
        &[
            &der::integer(&[]),
            &der::element(der::SEQUENCE, &[&oid, parameters]),
            &der::element(der::OCTET_STRING, &[key]),
        ],
    )
}
