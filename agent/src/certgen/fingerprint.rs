// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! MD5 fingerprint of an SSH public key: how CMON names the key that signed
//! a certificate.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use md5::{Digest as _, Md5};

/// MD5 over the SSH wire form (RFC 4253 §6.6) of a public key.
///
/// Prints as `MD5:` and unpadded base64, the spelling of a certificate's
/// issuer. MD5 is CMON's choice; nothing here relies on it being strong,
/// since CMON verifies the signature as well.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

/// Why a text is no MD5 fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an MD5 fingerprint: wanted is `MD5:` with unpadded base64 \
     or colon-separated hex, or the hex alone"
)]
pub struct BadFingerprint(String);

impl Fingerprint {
    /// Fingerprint of a key in SSH wire form, which is the decoded second
    /// word of a `.pub` line.
    pub fn of_ssh_blob(blob: &[u8]) -> Self {
        Self(Md5::digest(blob).into())
    }

    /// `b4:05:...`, as `ssh-keygen -l -E md5` prints it.
    pub fn colon_hex(&self) -> String {
        let pairs: Vec<String> =
            self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        pairs.join(":")
    }
}

/// Reads every spelling that CMON accepts.
impl FromStr for Fingerprint {
    type Err = BadFingerprint;

    fn from_str(text: &str) -> Result<Self, BadFingerprint> {
        let bytes = match text.strip_prefix("MD5:") {
            Some(rest) if !rest.contains(':') => {
                STANDARD_NO_PAD.decode(rest).ok()
            }
            Some(hex) => colon_hex(hex),
            None => colon_hex(text),
        };
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| BadFingerprint(text.chars().take(100).collect()))
    }
}

fn colon_hex(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &str| {
        let hex = pair.len() == 2
            && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
        if hex { u8::from_str_radix(pair, 16).ok() } else { None }
    };
    text.split(':').map(pair).collect()
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MD5:{}", STANDARD_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "b4:05:8b:4d:28:8c:e8:f2:9c:4f:cf:2c:2f:64:64:98";
    const BASE64: &str = "MD5:tAWLTSiM6PKcT88sL2RkmA";

    #[test]
    fn two_spellings_of_the_known_vector_are_one_value() {
        let value: Fingerprint = BASE64.parse().unwrap();
        assert_eq!(value, HEX.parse().unwrap());
        assert_eq!(value, format!("MD5:{HEX}").parse().unwrap());
        assert_eq!(value.to_string(), BASE64);
        assert_eq!(value.colon_hex(), HEX);
    }

    #[test]
    fn refuses_other_texts() {
        for text in [
            "",
            "MD5:",
            "MD5:tAWLTSiM6PKcT88sL2RkmA==",
            "MD5:tAWLTSiM6PKcT88sL2Rk",
            "SHA256:tAWLTSiM6PKcT88sL2RkmA",
            "b4:05",
            "b4:05:8b:4d:28:8c:e8:f2:9c:4f:cf:2c:2f:64:64:98:00",
            "b4:+5:8b:4d:28:8c:e8:f2:9c:4f:cf:2c:2f:64:64:98",
            "some CA",
        ] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text:?}");
        }
    }
}
