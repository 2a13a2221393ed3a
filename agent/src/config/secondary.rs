// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Section `secondary` of the agent's file: how zones are replicated, and
//! zones of other primaries than CNS. Keys of TSIG stay in files of their
//! own, as `tsig-keygen` writes them, for root's eyes alone.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::dns::RefreshPolicy;
use crate::model::dns::{SecondaryZone, ZoneName};
use crate::model::primary::{Primary, TsigKey};

/// A key file is a few lines.
const MAX_KEY_FILE: u64 = 64 << 10;

/// The section as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SecondarySection {
    /// The zone's own address: transfers from CNS leave from it and NOTIFY is
    /// taken at its port 53. The admin NIC's when absent.
    pub address: Option<IpAddr>,
    /// Whether CNS can find us at that address at all.
    pub notify: bool,
    /// Whether the reverse zones that CNS lists are replicated, too.
    pub reverse_zones: bool,
    /// Whether differences are asked for, rather than whole zones.
    pub incremental: bool,
    /// Whether differences that do not fit are thrown away.
    pub strict_differences: bool,
    /// Milliseconds between two whole transfers for comparison, before
    /// jitter.
    pub full_every: f64,
    /// Bounds of a SOA's refresh and retry, milliseconds.
    pub refresh_min: f64,
    /// See `refresh_min`.
    pub refresh_max: f64,
    /// Bounds of a SOA's expire, milliseconds.
    pub expire_min: f64,
    /// See `expire_min`.
    pub expire_max: f64,
    /// Whether a zone past its expire is served.
    pub serve_expired: bool,
    /// Milliseconds for which a zone that lost much is not believed.
    pub hold_back: f64,
    /// "Much": fewer records left than this share, percent; 0: never.
    pub shrink_percent: usize,
    /// Zones besides those of CNS.
    pub zones: Vec<ZoneSection>,
}

/// A zone and its primaries, in order of preference.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ZoneSection {
    /// Name of the zone.
    pub name: ZoneName,
    /// Who serves it.
    pub primaries: Vec<PrimarySection>,
}

/// One primary.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrimarySection {
    /// Address.
    pub address: IpAddr,
    /// Port, 53 when absent.
    #[serde(default = "port")]
    pub port: u16,
    /// File of the TSIG key, as `tsig-keygen` writes it.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
}

fn port() -> u16 {
    53
}

impl Default for SecondarySection {
    /// What `RefreshPolicy` takes by default.
    fn default() -> Self {
        let policy = RefreshPolicy::default();
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        Self {
            address: None,
            notify: true,
            reverse_zones: false,
            incremental: policy.incremental,
            strict_differences: policy.strict_differences,
            full_every: ms(policy.full_every),
            refresh_min: ms(policy.interval_min),
            refresh_max: ms(policy.interval_max),
            expire_min: ms(policy.expire_min),
            expire_max: ms(policy.expire_max),
            serve_expired: policy.serve_expired,
            hold_back: ms(policy.hold_back),
            shrink_percent: policy.shrink_percent,
            zones: Vec::new(),
        }
    }
}

/// A year: what no time here exceeds.
const MAX_MS: f64 = 365.0 * 86_400_000.0;

impl SecondarySection {
    /// Key, value seen and value wanted of the first that makes no sense.
    pub(super) fn check(
        &self,
    ) -> Result<(), (&'static str, String, &'static str)> {
        for (key, ms) in [
            ("secondary.fullEvery", self.full_every),
            ("secondary.refreshMin", self.refresh_min),
            ("secondary.refreshMax", self.refresh_max),
            ("secondary.expireMin", self.expire_min),
            ("secondary.expireMax", self.expire_max),
            ("secondary.holdBack", self.hold_back),
        ] {
            if !(1.0..=MAX_MS).contains(&ms) {
                let wanted = "milliseconds, from 1 to a year";
                return Err((key, ms.to_string(), wanted));
            }
        }
        for (key, min, max) in [
            ("secondary.refreshMin", self.refresh_min, self.refresh_max),
            ("secondary.expireMin", self.expire_min, self.expire_max),
        ] {
            if min > max {
                let wanted = "no more than the matching ...Max";
                return Err((key, min.to_string(), wanted));
            }
        }
        if self.shrink_percent > 100 {
            let seen = self.shrink_percent.to_string();
            return Err(("secondary.shrinkPercent", seen, "from 0 to 100"));
        }
        Ok(())
    }

    /// The policy that follows.
    pub fn policy(&self) -> RefreshPolicy {
        let time = |ms: f64| Duration::from_secs_f64(ms / 1000.0);
        RefreshPolicy {
            incremental: self.incremental,
            strict_differences: self.strict_differences,
            full_every: time(self.full_every),
            interval_min: time(self.refresh_min),
            interval_max: time(self.refresh_max),
            expire_min: time(self.expire_min),
            expire_max: time(self.expire_max),
            serve_expired: self.serve_expired,
            hold_back: time(self.hold_back),
            shrink_percent: self.shrink_percent,
            ..RefreshPolicy::default()
        }
    }

    /// The zones with their keys read. A primary whose key cannot be used is
    /// left out: it would refuse us, or could be anyone. Problems come
    /// beside, one a primary.
    pub fn zones(&self) -> (Vec<SecondaryZone>, Vec<KeyFileError>) {
        let mut problems = Vec::new();
        let mut primary = |section: &PrimarySection| {
            let key = match &section.key_file {
                None => None,
                Some(path) => match read_key(path) {
                    Ok(key) => Some(Arc::new(key)),
                    Err(problem) => {
                        problems.push(problem);
                        return None;
                    }
                },
            };
            let address = SocketAddr::new(section.address, section.port);
            // Which of our addresses leads there, the system knows.
            Some(Primary { address, key, from_nic: false })
        };
        let zones = self
            .zones
            .iter()
            .map(|zone| SecondaryZone {
                name: zone.name.clone(),
                primaries: zone
                    .primaries
                    .iter()
                    .filter_map(&mut primary)
                    .collect(),
            })
            .collect();
        (zones, problems)
    }
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It could not be read.
    #[error("could not read the key file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Others can read it.
    #[error(
        "key file {}: saw mode {mode:o}, wanted 600: others can read the secret",
        path.display()
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is no key.
    #[error("key file {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why; the secret is not in it.
        #[source]
        source: crate::model::primary::BadTsigKey,
    },
}

fn read_key(path: &Path) -> Result<TsigKey, KeyFileError> {
    let read = |source| KeyFileError::Read { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(read)?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Mode { path: path.to_owned(), mode });
    }
    if metadata.len() > MAX_KEY_FILE {
        return Err(read(std::io::Error::other("it is above 64 KiB")));
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    TsigKey::parse(&text)
        .map_err(|source| KeyFileError::Parse { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

    fn section(value: serde_json::Value) -> SecondarySection {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn nothing_said_is_the_default_policy() {
        let policy = section(json!({})).policy();
        let default = RefreshPolicy::default();
        assert_eq!(format!("{policy:?}"), format!("{default:?}"));
        assert_eq!(section(json!({})).check(), Ok(()));
    }

    #[test]
    fn values_out_of_bounds_are_told() {
        for (key, value) in [
            ("fullEvery", json!(0)),
            ("refreshMin", json!(7_200_000)),
            ("expireMin", json!(f64::MAX)),
            ("shrinkPercent", json!(101)),
        ] {
            let (told, ..) =
                section(json!({ key: value })).check().unwrap_err();
            assert_eq!(told, format!("secondary.{key}"));
        }
    }

    #[test]
    fn zones_come_with_their_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k.key");
        let text = "key k { algorithm hmac-sha256; \
            secret \"MDEyMzQ1Njc4OWFiY2RlZg==\"; };";
        std::fs::write(&path, text).unwrap();
        let section = section(json!({"zones": [{
            "name": "other.example.test",
            "primaries": [
                {"address": "192.0.2.1", "keyFile": path},
                {"address": "2001:db8::1", "port": 5353},
            ],
        }]}));
        let mode = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, mode).unwrap();
        };
        mode(0o600);
        let (zones, problems) = section.zones();
        assert!(problems.is_empty(), "{problems:?}");
        let [first, second] = &zones[0].primaries[..] else { panic!() };
        assert_eq!(first.address, "192.0.2.1:53".parse().unwrap());
        assert_eq!(first.key.as_ref().unwrap().name.as_str(), "k");
        assert_eq!(second.address, "[2001:db8::1]:5353".parse().unwrap());
        assert!(second.key.is_none() && !second.from_nic);
        mode(0o644);
        let (zones, problems) = section.zones();
        assert_eq!(zones[0].primaries.len(), 1, "never without its key");
        assert!(problems[0].to_string().contains("saw mode 644"));
    }
}
