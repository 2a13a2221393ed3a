// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a Grafana zone has on its data folder beside data: secrets and the
//! server's key and certificate. Whoever reads them waits while they are not
//! right, and runs on with what it has read before.

use std::path::Path;

use time::OffsetDateTime;

use super::secrets;
use crate::apply::commit;
use crate::certgen::{ServerPaths, ensure_server};
use crate::log::chain;
use crate::model::{Grafana, Paths};
use crate::render::Failed;

/// Files below `secrets` on the data folder; grafana.ini names them.
const SECRETS: [&str; 3] = ["secret_key", "admin_login", "admin_password"];

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// What is not right; holds back the daemon that reads it.
    pub(crate) failed: Vec<Failed>,
    /// What an operator should know.
    pub(crate) warnings: Vec<String>,
}

/// Makes what is missing, once, and judges what is there. `owner` is who runs
/// Grafana; `None` leaves the files to whoever runs this.
pub(crate) fn keep(
    grafana: &Grafana,
    paths: &Paths,
    owner: Option<&str>,
) -> Kept {
    let mut kept = Kept::default();
    let mut fail = |name: &str, daemon: &str, reason: String| {
        kept.failed.push(Failed {
            name: format!("grafana/{name}"),
            daemon: Some(daemon.to_owned()),
            reason,
        });
    };
    let folder = paths.data.join("secrets");
    if let Err(reason) = keep_secrets(&folder, owner) {
        fail("secrets", "grafana", reason);
    }
    let server = ServerPaths::new(&paths.tls);
    let now = OffsetDateTime::now_utc();
    match ensure_server(&server, &grafana.front.names, now) {
        Ok(served) => kept.warnings.extend(served.warnings),
        Err(error) => fail("server certificate", "nginx", chain(&error)),
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
