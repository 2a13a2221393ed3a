// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A zone's primaries, and the keys that some of them want transfers signed
//! with (TSIG, RFC 8945). CNS knows no keys.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::dns::ZoneName;
use crate::model::Secret;

/// One server a zone is transferred from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Primary {
    /// Where it answers SOA and transfers.
    pub address: SocketAddr,
    /// Signs what we ask, and must sign what it answers.
    pub key: Option<Arc<TsigKey>>,
    /// Ask from the zone's own NIC address, by which CNS knows us. Otherwise
    /// the system chooses.
    pub from_nic: bool,
}

impl Primary {
    /// Its address, which NOTIFY is known by.
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }
}

/// A CNS instance: no key, asked from the NIC that it knows.
impl From<SocketAddr> for Primary {
    fn from(address: SocketAddr) -> Self {
        Self { address, key: None, from_nic: true }
    }
}

impl PartialEq<SocketAddr> for Primary {
    fn eq(&self, address: &SocketAddr) -> bool {
        self.address == *address
    }
}

/// The algorithms we sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TsigAlgorithm {
    /// `hmac-sha256`.
    HmacSha256,
    /// `hmac-sha512`.
    HmacSha512,
}

impl TsigAlgorithm {
    /// Its name on the wire, without the final dot (RFC 8945 §6).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha512 => "hmac-sha512",
        }
    }
}

/// A key shared with a primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TsigKey {
    /// Both sides know it by this name.
    pub name: ZoneName,
    /// How it signs.
    pub algorithm: TsigAlgorithm,
    /// The bytes.
    pub secret: Secret<Vec<u8>>,
}

/// Why a text is no key; never says the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTsigKey(&'static str);

impl std::error::Error for BadTsigKey {}

impl fmt::Display for BadTsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A secret shorter than this protects nothing (RFC 8945 §8: as long as the
/// algorithm's output; we are content with half of SHA-256's).
const MIN_SECRET: usize = 16;

impl TsigKey {
    /// Reads what `tsig-keygen` prints and BIND, Knot's `keymgr -t` aside,
    /// reads:
    ///
    /// ```text
    /// key "NAME" { algorithm hmac-sha256; secret "BASE64"; };
    /// ```
    pub fn parse(text: &str) -> Result<Self, BadTsigKey> {
        let spaced = text.replace(['{', '}', ';'], " ");
        let mut words = spaced.split_whitespace().map(|w| w.trim_matches('"'));
        if words.next() != Some("key") {
            return Err(BadTsigKey("it does not begin with: key \"NAME\" {"));
        }
        let name = words.next().unwrap_or_default();
        let name = ZoneName::parse(name)
            .map_err(|_| BadTsigKey("the key's name is no domain name"))?;
        let (mut algorithm, mut secret) = (None, None);
        while let Some(word) = words.next() {
            let value = words.next().unwrap_or_default();
            match word {
                "algorithm" => algorithm = Some(value),
                "secret" => secret = Some(value),
                _ => return Err(BadTsigKey("it holds more than one key")),
            }
        }
        let algorithm = match algorithm.unwrap_or_default() {
            "hmac-sha256" => TsigAlgorithm::HmacSha256,
            "hmac-sha512" => TsigAlgorithm::HmacSha512,
            _ => {
                return Err(BadTsigKey(
                    "algorithm must be hmac-sha256 or hmac-sha512",
                ));
            }
        };
        let secret = STANDARD
            .decode(secret.unwrap_or_default())
            .map_err(|_| BadTsigKey("secret is not base64"))?;
        if secret.len() < MIN_SECRET {
            return Err(BadTsigKey("secret is shorter than 16 bytes"));
        }
        Ok(Self { name, algorithm, secret: Secret::new(secret) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tsig_keygen_prints_is_a_key() {
        let text = "key \"Ours.Example\" {\n\talgorithm hmac-sha512;\n\
            \tsecret \"MDEyMzQ1Njc4OWFiY2RlZg==\";\n};\n";
        let key = TsigKey::parse(text).unwrap();
        assert_eq!(key.name.as_str(), "ours.example");
        assert_eq!(key.algorithm, TsigAlgorithm::HmacSha512);
        assert_eq!(key.secret.expose(), b"0123456789abcdef");
        assert!(!format!("{key:?}").contains("MDEy"));
        for bad in [
            "",
            "key \"a b\" {}",
            "key k { algorithm hmac-md5; secret \"MDEyMzQ1Njc4OWFiY2RlZg==\"; };",
            "key k { algorithm hmac-sha256; secret \"MDEy\"; };",
            "key k { algorithm hmac-sha256; secret \"!\"; };",
            "key k { algorithm hmac-sha256; };",
            &text.repeat(2),
        ] {
            let error = TsigKey::parse(bad).unwrap_err().to_string();
            assert!(!error.contains("MDEy"), "{error}");
        }
    }
}
