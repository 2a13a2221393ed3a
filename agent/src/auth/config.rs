// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The sign-in proxy's own file, which the agent writes from SAPI metadata.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::account::Roles;
use super::trust::{Trust, is_pin};
use crate::model::Secret;

/// Largest file that is read, bytes.
const MOST: u64 = 1 << 20;

/// What the file says. All of it is there: defaults are the agent's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthConfig {
    /// Unix socket that nginx asks at.
    pub socket: PathBuf,
    /// Folder for keys, certificates that were seen first, sessions that were
    /// ended, and places that were signed in from; on the data folder.
    pub state: PathBuf,
    /// Users who may connect; empty is everybody whom the socket lets.
    pub peers: Vec<String>,
    /// What people see above the form.
    pub title: String,
    /// `debug`, `info`, `warn` or `error`; we say no less than `info`.
    pub log_level: String,
    /// UFDS.
    pub ufds: UfdsConfig,
    /// What UFDS' groups are to Grafana.
    pub roles: Roles,
    /// Whose e-mail address Grafana is told.
    pub email: Email,
    /// Seconds after which an unused session ends.
    pub session_idle_seconds: u64,
    /// Seconds after which any session ends.
    pub session_seconds: u64,
    /// Whether tokens of Grafana's service accounts may pass to its API.
    pub tokens: bool,
}

/// Where UFDS is, and who asks it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UfdsConfig {
    /// `host:port` of the master, the best address first.
    pub addresses: Vec<String>,
    /// DN of its root.
    pub bind_dn: String,
    /// Its password.
    #[serde(deserialize_with = "secret")]
    pub password: Secret<String>,
    /// Whose certificate it may show.
    pub trust: Trust,
}

/// Whose e-mail address Grafana is told. It looks people up by that first: who
/// takes over another's address there takes over his account here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Email {
    /// The first one that UFDS has.
    Ufds,
    /// One made of the account's uuid, that nobody can take over.
    Synthetic,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthConfigError {
    /// It cannot be read.
    #[error("could not read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// It is not what it must be.
    #[error("{} is no configuration of the sign-in proxy", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Cause; never shows a value of ours.
        #[source]
        source: serde_json::Error,
    },
    /// A value that cannot be.
    #[error("{}: {key} is {seen:?}, wanted {wanted}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// Its value.
        seen: String,
        /// What would do.
        wanted: &'static str,
    },
}

impl AuthConfig {
    /// Reads the file at `path`.
    pub fn load(path: &Path) -> Result<Self, AuthConfigError> {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MOST).read_to_end(&mut bytes))
            .map_err(|source| AuthConfigError::Read {
                path: path.to_owned(),
                source,
            })?;
        let config: Self =
            serde_json::from_slice(&bytes).map_err(|source| {
                AuthConfigError::Parse { path: path.to_owned(), source }
            })?;
        config.judge(path)?;
        Ok(config)
    }

    fn judge(&self, path: &Path) -> Result<(), AuthConfigError> {
        let bad = |key, seen: String, wanted| {
            let path = path.to_owned();
            Err(AuthConfigError::Value { path, key, seen, wanted })
        };
        if self.ufds.addresses.is_empty() {
            return bad("ufds.addresses", String::new(), "an address");
        }
        if let Trust::Pins(pins) = &self.ufds.trust
            && let Some(pin) = pins.iter().find(|pin| !is_pin(pin))
        {
            let wanted = "64 hex digits";
            return bad("ufds.trust.pins", pin.clone(), wanted);
        }
        let day = 86_400;
        let spans = [
            ("session_idle_seconds", self.session_idle_seconds, 30 * day),
            ("session_seconds", self.session_seconds, 30 * day),
        ];
        for (key, seconds, most) in spans {
            if !(1..=most).contains(&seconds) {
                let wanted = "1 second to 30 days";
                return bad(key, seconds.to_string(), wanted);
            }
        }
        Ok(())
    }
}

fn secret<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Secret<String>, D::Error> {
    String::deserialize(from).map(Secret::new)
}
