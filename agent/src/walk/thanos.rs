// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a Thanos zone has on its data folder beside data: key, certificate
//! and authorities of gRPC between regions, made here or the operator's.

use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::kept::Kept;
use crate::apply::commit;
use crate::certgen::{Authority, RegionPaths, ensure_region, judge_given};
use crate::log::chain;
use crate::model::Thanos;
use crate::model::thanos::{IssuedTls, Tls};

/// Makes what is missing or ends, and judges what the operator brought.
/// `owner` is who runs Thanos; `None` leaves the files to whoever runs this.
pub(crate) fn keep(thanos: &Thanos, owner: Option<&str>) -> Kept {
    let mut kept = Kept::default();
    let Some(tls) = &thanos.tls else { return kept };
    let seen = match &tls.issued {
        Some(issued) => issue(tls, issued, owner),
        None => {
            kept.judged.extend(digest(&tls.ca));
            judge(tls)
        }
    };
    match seen {
        Ok(warnings) => kept.warnings = warnings,
        Err(reason) => {
            let daemons = [
                ("thanos-query", thanos.query.is_some()),
                ("thanos-query-global", thanos.query_global.is_some()),
            ];
            let name = "thanos/certificate between regions";
            for (daemon, _) in daemons.iter().filter(|(_, runs)| *runs) {
                kept.fail(name, daemon, reason.clone());
            }
        }
    }
    kept
}

fn issue(
    tls: &Tls,
    issued: &IssuedTls,
    owner: Option<&str>,
) -> Result<Vec<String>, String> {
    let owner = owner.map(commit::owner).transpose()?;
    let paths = RegionPaths {
        key: PathBuf::from(&tls.key),
        cert: PathBuf::from(&tls.cert),
        ca: PathBuf::from(&tls.ca),
        owner: owner.map(|(uid, gid)| (uid.as_raw(), gid.as_raw())),
    };
    let now = OffsetDateTime::now_utc();
    let made = Authority::parse(&issued.authority, &issued.private_key, now)
        .and_then(|authority| {
            ensure_region(&paths, &authority, &issued.names, now)
        });
    made.map(|zonal| zonal.warnings).map_err(|error| chain(&error))
}

fn judge(tls: &Tls) -> Result<Vec<String>, String> {
    let path = |text: &String| PathBuf::from(text);
    let (cert, key, ca) = (path(&tls.cert), path(&tls.key), path(&tls.ca));
    judge_given(&cert, &key, &ca, OffsetDateTime::now_utc())
        .map_err(|error| chain(&error))
}

fn digest(path: &str) -> Option<(String, String)> {
    match commit::look(Path::new(path)) {
        Ok(commit::Present::File { bytes, .. }) => {
            Some((path.to_owned(), commit::sha256(&bytes)))
        }
        _ => None,
    }
}

/// The files, to be looked at when one changes.
pub(super) fn files(thanos: &Thanos) -> Vec<PathBuf> {
    let Some(tls) = &thanos.tls else { return Vec::new() };
    [&tls.cert, &tls.key, &tls.ca].map(|p| Path::new(p).to_owned()).to_vec()
}
