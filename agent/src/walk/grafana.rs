// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a Grafana zone has on its data folder beside data: secrets and the
//! server's key and certificate.

use std::path::Path;

use time::OffsetDateTime;

use super::kept::Kept;
use super::secrets;
use crate::apply::commit;
use crate::certgen::{ServerPaths, ensure_server};
use crate::log::chain;
use crate::model::{Grafana, Paths};

/// Files below `secrets` on the data folder; grafana.ini names them.
const SECRETS: [&str; 4] =
    ["secret_key", "admin_login", "admin_password", IDENTITY];

/// What the names of identity headers end with.
const IDENTITY: &str = "identity";

/// Makes what is missing, once, and judges what is there. `owner` is who runs
/// Grafana; `None` leaves the files to whoever runs this.
pub(crate) fn keep(
    grafana: &Grafana,
    paths: &Paths,
    owner: Option<&str>,
) -> Kept {
    let mut kept = Kept::default();
    let folder = paths.data.join("secrets");
    if let Err(reason) = keep_secrets(&folder, owner) {
        kept.fail("grafana/secrets", "grafana", reason);
    }
    if grafana.sign_in.is_none() {
        let reason = "nobody can sign in: SAPI has neither ufds_ldap_root_pw \
                      nor, of a master elsewhere, ufds_remote_ldap_root_pw";
        kept.fail("grafana/sign-in", "auth", reason.to_owned());
    }
    let server = ServerPaths::new(&paths.tls);
    let now = OffsetDateTime::now_utc();
    match ensure_server(&server, &grafana.front.names, now) {
        Ok(served) => kept.warnings.extend(served.warnings),
        Err(error) => {
            kept.fail("grafana/server certificate", "nginx", chain(&error));
        }
    }
    kept
}

/// The end of the identity headers' names, once it has been made.
pub(crate) fn identity(paths: &Paths) -> String {
    let path = paths.data.join("secrets").join(IDENTITY);
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // An operator may have brought one that no header could hold.
    match text.get(..32) {
        Some(end) if end.bytes().all(|b| b.is_ascii_hexdigit()) => {
            format!("-{end}")
        }
        _ => String::new(),
    }
}

fn keep_secrets(folder: &Path, owner: Option<&str>) -> Result<(), String> {
    let owner = owner.map(commit::owner).transpose()?;
    for name in SECRETS {
        secrets::keep(&folder.join(name), owner).map_err(|e| chain(&e))?;
    }
    Ok(())
}
