// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Replicated zones with their primaries, and forward zones with their
//! upstreams: all that the embedded name server is told.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::primary::Primary;

/// A DNS zone's name: lower case, no trailing dot; the root is `"."`.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct ZoneName(String);

/// Why a text is no zone name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a DNS zone name")]
pub struct BadZoneName(String);

impl ZoneName {
    /// Checks and lower-cases `text`: labels of 1 to 63 letters, digits, `-`
    /// or `_`, 253 characters at most (RFC 1035 §2.3.4); `.` is the root.
    pub fn parse(text: &str) -> Result<Self, BadZoneName> {
        let bad = || BadZoneName(text.chars().take(300).collect());
        if text == "." {
            return Ok(Self(".".to_owned()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let label_ok = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| {
                    b.is_ascii_alphanumeric() || b == b'-' || b == b'_'
                })
        };
        if name.len() > 253 || !name.split('.').all(label_ok) {
            return Err(bad());
        }
        Ok(Self(name))
    }

    /// The name without a trailing dot; `.` for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ZoneName {
    type Error = BadZoneName;
    fn try_from(text: String) -> Result<Self, BadZoneName> {
        Self::parse(&text)
    }
}

impl From<ZoneName> for String {
    fn from(name: ZoneName) -> String {
        name.0
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A zone we hold a copy of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondaryZone {
    /// Name of the zone.
    pub name: ZoneName,
    /// Primaries in order of preference; may be empty while none is known
    /// (then the persisted version is served).
    pub primaries: Vec<Primary>,
}

/// Who answers behind a forward zone, which decides how rcodes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamKind {
    /// Triton's binder: REFUSED means "unknown here", NOTIMP means "no such
    /// type"; both mean "alive". Knows A, SRV and PTR only.
    Binder,
    /// An ordinary recursive resolver.
    Recursive,
}

/// Names under `suffix` are asked of `upstreams`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardZone {
    /// Names at or below this belong to the zone; the longest match wins.
    pub suffix: ZoneName,
    /// Upstream servers, any order.
    pub upstreams: Vec<SocketAddr>,
    /// What kind of server they are.
    pub kind: UpstreamKind,
    /// Whether a name that every upstream refuses is asked of the next
    /// shorter forward zone, rather than being taken for unknown.
    pub fallback: bool,
}

/// Names of our own making: `UUID.suffix` and `cmon.suffix` are aliases of
/// `target`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synthetic {
    /// Suffix of those names.
    pub suffix: ZoneName,
    /// A name with CMON's addresses.
    pub target: ZoneName,
}

/// The whole routing table of the embedded name server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// Zones answered from our own copies.
    pub secondaries: Vec<SecondaryZone>,
    /// Zones asked of others.
    pub forwards: Vec<ForwardZone>,
}
