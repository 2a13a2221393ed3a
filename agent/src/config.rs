// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The agent's own configuration file: the keys of the Node agent, so that
//! existing zone setup keeps working, and ours beside them. Unknown keys
//! pass with a warning.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

pub mod dns;
pub mod forward;
pub mod secondary;

use dns::DnsSection;
use forward::ForwardSection;
use secondary::SecondarySection;

use crate::metadata::local::LocalManifestDirs;

/// Why the configuration file will not do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// The file could not be read.
    #[error("could not read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is not JSON of the right shape.
    #[error("{path} is not a config-agent configuration")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A value makes no sense.
    #[error("{path}: {key}: saw {seen}, wanted {wanted}")]
    Value {
        /// The file.
        path: PathBuf,
        /// Key.
        key: &'static str,
        /// Value seen.
        seen: String,
        /// Value wanted.
        wanted: &'static str,
    },
}

/// The file as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigFile {
    /// bunyan level name.
    pub log_level: String,
    /// Milliseconds between two polls of SAPI, before jitter.
    pub poll_interval: f64,
    /// Where SAPI is, unless the zone's metadata says so.
    pub sapi: SapiSection,
    /// Instance uuids; at most one, the zone's own when empty.
    pub instances: Vec<String>,
    /// Folders that hold `sapi_manifests`.
    pub local_manifest_dirs: LocalManifestDirs,
    /// Laid over SAPI's metadata, key by key.
    pub local_metadata: Map<String, Value>,

    /// Role; the zone's tag when absent.
    pub role: Option<String>,
    /// Everything of the zone lies below this.
    pub root: PathBuf,
    /// Folder with one folder of templates a role.
    pub templates_dir: PathBuf,
    /// Where the last good configuration, zones and records are kept; on the
    /// delegate dataset.
    pub state_dir: PathBuf,
    /// Where the status page answers; loopback.
    pub status_listen: SocketAddr,
    /// Where metrics and health are answered to other zones; when absent, at
    /// every admin and manta address of the zone, on `statusListen`'s port;
    /// nowhere when empty.
    pub metrics_listen: Option<Vec<SocketAddr>>,
    /// Where the embedded name server answers, programs of this zone alone;
    /// nowhere when empty. An address of IPv6 that the zone lacks is passed
    /// over.
    pub dns_listen: Vec<SocketAddr>,
    /// How the embedded name server answers.
    pub dns: DnsSection,
    /// Names that others answer: how they are asked and kept.
    pub forward: ForwardSection,
    /// Zones replicated: how, and which besides those of CNS.
    pub secondary: SecondarySection,
    /// Milliseconds after which a poll is unconditional: SAPI's ETag misses
    /// real changes.
    pub full_poll_interval: f64,
    /// Milliseconds one request to SAPI may take.
    pub request_timeout: f64,
    /// Milliseconds a post command may take.
    pub post_cmd_timeout: f64,
    /// The account's private key, when SAPI metadata does not carry it.
    pub account_key_file: Option<PathBuf>,
    /// Whatever else stands in the file.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// Section `sapi` of the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SapiSection {
    /// Base URL.
    pub url: Option<String>,
}

impl Default for ConfigFile {
    fn default() -> Self {
        Self {
            log_level: "info".to_owned(),
            // The Node agent's, raised to this when polls overran SAPI.
            poll_interval: 120_000.0,
            sapi: SapiSection::default(),
            instances: Vec::new(),
            local_manifest_dirs: LocalManifestDirs::default(),
            local_metadata: Map::new(),
            role: None,
            root: PathBuf::from("/"),
            templates_dir: PathBuf::from("/opt/triton/config-agent/templates"),
            state_dir: PathBuf::from("/data/config-agent"),
            status_listen: SocketAddr::from(([127, 0, 0, 1], 9165)),
            metrics_listen: None,
            dns_listen: vec![
                SocketAddr::from((Ipv4Addr::LOCALHOST, 53)),
                SocketAddr::from((Ipv6Addr::LOCALHOST, 53)),
            ],
            dns: DnsSection::default(),
            forward: ForwardSection::default(),
            secondary: SecondarySection::default(),
            full_poll_interval: 300_000.0,
            // SAPI loads every manifest one by one; on a busy headnode that
            // takes seconds.
            request_timeout: 30_000.0,
            post_cmd_timeout: 60_000.0,
            account_key_file: None,
            unknown: Map::new(),
        }
    }
}

impl ConfigFile {
    /// Reads and checks the file at `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigFileError> {
        let text = std::fs::read(path).map_err(|source| {
            ConfigFileError::Read { path: path.to_owned(), source }
        })?;
        Self::parse(&text, path)
    }

    /// Checks the file's text; `path` is for messages.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self, ConfigFileError> {
        let file: Self = serde_json::from_slice(text).map_err(|source| {
            ConfigFileError::Parse { path: path.to_owned(), source }
        })?;
        let value = |key, seen: String, wanted| {
            Err(ConfigFileError::Value {
                path: path.to_owned(),
                key,
                seen,
                wanted,
            })
        };
        if crate::log::level(&file.log_level).is_none() {
            return value(
                "logLevel",
                file.log_level,
                "trace, debug, info, warn, error or fatal",
            );
        }
        for (key, milliseconds) in [
            ("pollInterval", file.poll_interval),
            ("fullPollInterval", file.full_poll_interval),
            ("requestTimeout", file.request_timeout),
            ("postCmdTimeout", file.post_cmd_timeout),
        ] {
            if !(1.0..=86_400_000.0).contains(&milliseconds) {
                return value(
                    key,
                    milliseconds.to_string(),
                    "milliseconds, from 1 to a day",
                );
            }
        }
        let checked = file.secondary.check().and_then(|()| file.dns.check());
        if let Err((key, seen, wanted)) = checked {
            return value(key, seen, wanted);
        }
        if let Err((key, seen, wanted)) = file.forward.check() {
            return value(key, seen, wanted);
        }
        if file.instances.len() > 1 {
            return value(
                "instances",
                format!("{} instances", file.instances.len()),
                "at most one: an agent serves the zone it runs in",
            );
        }
        if !file.status_listen.ip().is_loopback() {
            return value(
                "statusListen",
                file.status_listen.to_string(),
                "a loopback address",
            );
        }
        let listen = file.metrics_listen.iter().flatten();
        for address in listen {
            // Every address would take loopback's, which is the page's.
            if address.ip().is_unspecified() || *address == file.status_listen {
                return value(
                    "metricsListen",
                    address.to_string(),
                    "an address of the zone, other than statusListen",
                );
            }
        }
        Ok(file)
    }

    /// `pollInterval`.
    pub fn poll_interval(&self) -> Duration {
        milliseconds(self.poll_interval)
    }

    /// `fullPollInterval`.
    pub fn full_poll_interval(&self) -> Duration {
        milliseconds(self.full_poll_interval)
    }

    /// `requestTimeout`.
    pub fn request_timeout(&self) -> Duration {
        milliseconds(self.request_timeout)
    }

    /// `postCmdTimeout`.
    pub fn post_cmd_timeout(&self) -> Duration {
        milliseconds(self.post_cmd_timeout)
    }
}

fn milliseconds(value: f64) -> Duration {
    Duration::from_secs_f64(value / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile, ConfigFileError> {
        ConfigFile::parse(text.as_bytes(), Path::new("config.json"))
    }

    #[test]
    fn the_node_agents_file_is_taken_as_it_is() {
        let file = parse(
            r#"{"logLevel":"info","pollInterval":120000,
            "sapi":{"url":"http://sapi.dc1.example.test"},
            "localManifestDirs":["/opt/smartdc/demo"],"autoMetadata":{}}"#,
        )
        .unwrap();
        assert_eq!(file.poll_interval(), Duration::from_secs(120));
        assert_eq!(
            file.local_manifest_dirs.for_instance("x"),
            [PathBuf::from("/opt/smartdc/demo")]
        );
        assert!(file.unknown.contains_key("autoMetadata"));
        let file = parse(r#"{"localManifestDirs":{"u1":["/a"]}}"#).unwrap();
        assert_eq!(file.local_manifest_dirs.for_instance("u2").len(), 0);
    }

    #[test]
    fn faults_name_file_key_seen_and_wanted() {
        for (text, want) in [
            (
                r#"{"logLevel":"loud"}"#,
                "config.json: logLevel: saw loud, wanted trace",
            ),
            (r#"{"pollInterval":0}"#, "pollInterval: saw 0, wanted millis"),
            (r#"{"instances":["a","b"]}"#, "instances: saw 2 instances"),
            (r#"{"statusListen":"0.0.0.0:1"}"#, "wanted a loopback address"),
            (
                r#"{"metricsListen":["0.0.0.0:9165"]}"#,
                "metricsListen: saw 0.0.0.0:9165, wanted an address of",
            ),
            (
                r#"{"metricsListen":["127.0.0.1:9165"]}"#,
                "other than statusListen",
            ),
            (r#"{"pollInterval":"soon"}"#, "is not a config-agent"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
