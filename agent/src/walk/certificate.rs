// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The CMON client certificate as part of a pass: whose key, for whom, where.

use std::path::Path;

use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::CertStatus;
use crate::certgen::{self, AccountKey, CertPaths};
use crate::config::ConfigFile;
use crate::model::Flavor;

/// Sees to the CMON client certificate.
pub(super) fn certificate(
    config: &ConfigFile,
    metadata: &Map<String, Value>,
    flavor: Flavor,
    tls: &Path,
) -> Result<CertStatus, String> {
    let chain = |e: certgen::CertgenError| crate::log::chain(&e);
    let key = account_key(metadata, flavor, config)?;
    let login = certgen::login_from_metadata(metadata, flavor);
    let paths = CertPaths {
        key: tls.join("cmon.key"),
        cert: tls.join("cmon.crt"),
        owner: Some(
            crate::apply::commit::owner("nobody")
                .map(|(uid, gid)| (uid.as_raw(), gid.as_raw()))?,
        ),
    };
    let now = OffsetDateTime::now_utc();
    let ensured = certgen::ensure(&paths, &key, &login, now).map_err(chain)?;
    Ok(CertStatus {
        login,
        fingerprint: key.md5_fingerprint().to_string(),
        not_after: ensured.info.not_after.into(),
    })
}

/// The account's private key: from metadata, from the configured file, or
/// from where today's zones keep it.
pub fn account_key(
    metadata: &Map<String, Value>,
    flavor: Flavor,
    config: &ConfigFile,
) -> Result<AccountKey, String> {
    let chain = |e: certgen::CertgenError| crate::log::chain(&e);
    if config.account_key_file.is_none()
        && let Some(pem) = certgen::account_key_from_metadata(metadata, flavor)
    {
        // To sign with it.
        return AccountKey::parse(pem.expose().as_bytes()).map_err(chain);
    }
    let path = match &config.account_key_file {
        Some(path) => path.clone(),
        None => {
            let path = certgen::account_key_file(flavor);
            config.root.join(path.trim_start_matches('/'))
        }
    };
    let pem = std::fs::read(&path).map_err(|error| {
        format!(
            "the account's key is neither in SAPI metadata nor in {}: {error}",
            path.display()
        )
    })?;
    AccountKey::parse(&pem).map_err(chain)
}
