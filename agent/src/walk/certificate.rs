// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Certificates as part of a pass. CMON's client certificate: whose key, for
//! whom, where. Those of the zone's servers: when they end.

use std::path::Path;

use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::{CertStatus, ServedCertificate};
use crate::certgen::{self, AccountKey, CertPaths, ServerPaths};
use crate::config::ConfigFile;
use crate::model::{Flavor, Model};

/// Which of a file's ends counts.
type Which = fn(&[OffsetDateTime]) -> Option<OffsetDateTime>;

/// Reads the certificates that the zone's daemons show to others, and the
/// authorities by which they know others. One that cannot be read is in the
/// warnings: its daemon goes on with what it has.
pub(super) fn served(
    model: &Model,
    warnings: &mut Vec<String>,
) -> Vec<ServedCertificate> {
    let mut served = Vec::new();
    let mut look = |path: &Path, which: Which| match certgen::ends(path) {
        Ok(ends) => served.extend(which(&ends).map(|end| ServedCertificate {
            file: path.display().to_string(),
            not_after: end.into(),
        })),
        Err(error) => warnings.push(crate::log::chain(&error)),
    };
    let leaf: Which = |ends| ends.first().copied();
    // While an authority is replaced, the old and the new one are trusted.
    let last: Which = |ends| ends.iter().max().copied();
    if model.grafana.is_some() {
        look(&ServerPaths::new(&model.paths.tls).cert, leaf);
    }
    if let Some(tls) = model.thanos.as_ref().and_then(|t| t.tls.as_ref()) {
        look(Path::new(&tls.cert), leaf);
        look(Path::new(&tls.ca), last);
    }
    served
}

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

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use serde_json::json;

    use super::*;
    use crate::metadata::meaning::{Site, model};
    use crate::model::{Caps, Peers, Role};

    #[test]
    fn the_end_of_what_thanos_shows_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let metadata = json!({
            "datacenter_name": "dc1", "dns_domain": "t.test",
            "thanos_tls": {"cert": path("grpc.crt"), "key": path("grpc.key"),
                "ca": path("ca.crt")},
        });
        let site = Site {
            root: folder.path().to_owned(),
            role: Role::Thanos,
            flavor: Flavor::Triton,
            instance: "c0000000-0000-4000-8000-000000000001".to_owned(),
            cmon_domain: None,
            agent_address: ([127, 0, 0, 1], 9165).into(),
            caps: Caps::default(),
            compaction: true,
            peers: Peers::default(),
        };
        let model = model(metadata.as_object().unwrap(), &site).unwrap();
        let mut warnings = Vec::new();
        assert_eq!(served(&model, &mut warnings), []);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("grpc.crt is no certificate"));

        let early = time::macros::datetime!(2031-02-03 04:05:06 UTC);
        let late = time::macros::datetime!(2032-02-03 04:05:06 UTC);
        std::fs::write(path("grpc.crt"), until(early)).unwrap();
        std::fs::write(path("ca.crt"), until(early) + &until(late)).unwrap();
        let found = served(&model, &mut Vec::new());
        let [leaf, authorities] = found.as_slice() else { panic!("{found:?}") };
        assert!(leaf.file.ends_with("/grpc.crt"), "{leaf:?}");
        assert_eq!(leaf.not_after, SystemTime::from(early));
        assert!(authorities.file.ends_with("/ca.crt"), "{authorities:?}");
        assert_eq!(authorities.not_after, SystemTime::from(late));
    }

    /// A certificate that ends then, PEM.
    fn until(end: OffsetDateTime) -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["thanos.internal".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_after = end;
        params.self_signed(&key).unwrap().pem()
    }
}
