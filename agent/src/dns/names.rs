// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Domain names as keys: lower case, in uncompressed wire form. A parent is
//! then a suffix of the bytes, so walking up a name copies nothing.
//!
//! Names in their original spelling stay hickory's `Name`.

use std::borrow::Borrow;
use std::fmt;

use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use crate::model::dns::ZoneName;

/// A lower-case name in wire form, root label included (RFC 1035 §3.1).
///
/// Shape: at most 255 bytes; each label a length of 1 to 63 and its bytes;
/// a final zero.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WireName(Box<[u8]>);

impl WireName {
    /// The key of a name, whatever its case.
    pub(crate) fn from_name(name: &Name) -> Self {
        let mut wire = Vec::with_capacity(name.len() + 1);
        for label in name.iter() {
            // A label is 63 bytes at most; hickory checked that.
            wire.push(u8::try_from(label.len()).unwrap_or(63));
            wire.extend(label.iter().take(63).map(u8::to_ascii_lowercase));
        }
        wire.push(0);
        Self(wire.into_boxed_slice())
    }

    /// The key of a configured zone or suffix.
    pub(crate) fn from_zone(zone: &ZoneName) -> Self {
        let mut wire = Vec::with_capacity(zone.as_str().len() + 2);
        for label in zone.as_str().split('.').filter(|l| !l.is_empty()) {
            wire.push(u8::try_from(label.len()).unwrap_or(63));
            wire.extend(label.bytes().take(63));
        }
        wire.push(0);
        Self(wire.into_boxed_slice())
    }

    /// Reads a name from the front of `bytes`; `None` when it is malformed,
    /// compressed, or not in lower case.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut at = 0;
        loop {
            let len = usize::from(*bytes.get(at)?);
            at += 1;
            if len > 63 || at + len > 255 {
                return None;
            }
            if len == 0 {
                return Some(Self(bytes[..at].into()));
            }
            let label = bytes.get(at..at + len)?;
            if label.iter().any(u8::is_ascii_uppercase) {
                return None;
            }
            at += len;
        }
    }

    /// The bytes, root label included.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name itself, its parent, and so on up to the root.
    pub(crate) fn suffixes(&self) -> impl Iterator<Item = &[u8]> {
        suffixes(&self.0)
    }

    /// Whether this is `zone` or a name below it, by whole labels.
    pub(crate) fn is_within(&self, zone: &WireName) -> bool {
        self.suffixes().any(|suffix| suffix == zone.as_bytes())
    }

    /// The child `label` of the name `parent`; for wildcards.
    pub(crate) fn child(label: &[u8], parent: &[u8]) -> Self {
        let mut wire = Vec::with_capacity(1 + label.len() + parent.len());
        wire.push(u8::try_from(label.len()).unwrap_or(63));
        wire.extend_from_slice(label);
        wire.extend_from_slice(parent);
        Self(wire.into_boxed_slice())
    }

    /// Hickory's form of the name; always lower case.
    pub(crate) fn to_name(&self) -> Name {
        Name::read(&mut BinDecoder::new(&self.0))
            .expect("a WireName is well-formed")
    }
}

/// A wire-form name, its parent, and so on up to the root.
pub(crate) fn suffixes(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(wire);
    std::iter::from_fn(move || {
        let now = rest?;
        let len = usize::from(*now.first()?);
        rest = if len == 0 { None } else { now.get(1 + len..) };
        Some(now)
    })
}

impl Borrow<[u8]> for WireName {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for WireName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_name().fmt(f)
    }
}

impl fmt::Debug for WireName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(text: &str) -> WireName {
        WireName::from_name(&Name::from_ascii(text).unwrap())
    }

    #[test]
    fn parents_are_suffixes() {
        let name = wire("A.b.Example.");
        let up: Vec<String> = name
            .suffixes()
            .map(|s| WireName::read(s).unwrap().to_string())
            .collect();
        assert_eq!(up, ["a.b.example.", "b.example.", "example.", "."]);
    }

    #[test]
    fn zones_end_at_label_boundaries() {
        let zone =
            WireName::from_zone(&ZoneName::parse("dc1.cns.example").unwrap());
        assert!(wire("x.dc1.cns.example.").is_within(&zone));
        assert!(wire("DC1.cns.example.").is_within(&zone));
        assert!(!wire("xdc1.cns.example.").is_within(&zone));
        assert!(!wire("cns.example.").is_within(&zone));
        let root = WireName::from_zone(&ZoneName::parse(".").unwrap());
        assert!(wire("x.").is_within(&root));
    }

    #[test]
    fn malformed_bytes_are_no_name() {
        for bytes in
            [&b""[..], b"\x01", b"\x01a", b"\x40aaa\0", b"\xc0\x0c", b"\x01A\0"]
        {
            assert!(WireName::read(bytes).is_none(), "{bytes:?}");
        }
        let long = [&b"\x3f"[..], &[b'a'; 63]].concat().repeat(4);
        assert!(WireName::read(&[long, vec![0]].concat()).is_none());
        // The longest names there are, both in bytes and in labels.
        let longest =
            [&b"\x3e"[..], &[b'a'; 62]].concat().repeat(4)[..].to_vec();
        let longest = [&longest[..], b"\x01a\0"].concat();
        assert_eq!(longest.len(), 255);
        let most_labels = [b"\x01a".repeat(127), vec![0]].concat();
        for bytes in [longest, most_labels] {
            let name = WireName::read(&bytes).unwrap().to_name();
            assert_eq!(WireName::from_name(&name).as_bytes(), bytes);
        }
        assert_eq!(WireName::read(b"\0rest").unwrap().as_bytes(), b"\0");
    }
}
