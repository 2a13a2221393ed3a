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
const SECRETS: [&str; 3] = ["secret_key", "admin_login", "admin_password"];

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

fn keep_secrets(folder: &Path, owner: Option<&str>) -> Result<(), String> {
    let owner = owner.map(commit::owner).transpose()?;
    for name in SECRETS {
        secrets::keep(&folder.join(name), owner).map_err(|e| chain(&e))?;
    }
    Ok(())
}
